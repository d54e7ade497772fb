//! `settings`: what can be changed for the whole cluster at run time.

use serde_json::Value;

use super::describe::{list, show, text};
use crate::cli::{ServerArgs, Settings};
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::Client;
use crate::table::document;

pub(crate) fn run(what: Option<Settings>, server: &ServerArgs) -> Result<(), Failure> {
    match what {
        None => show_all(server),
        Some(Settings::List(server)) => show_all(&server),
        Some(Settings::Get { name, server }) => get(&name, &server),
        Some(Settings::Set {
            name,
            value,
            server,
        }) => match value.is_empty() {
            true => Err(Failure::Usage("a value has at least one character".into())),
            false => change(&name, &value, &server),
        },
        // To the Redis protocol an empty value is none.
        Some(Settings::Unset { name, server }) => change(&name, "", &server),
    }
}

fn show_all(server: &ServerArgs) -> Result<(), Failure> {
    let document = document(&mut Client::connect(&server.addr)?, "SETTINGS")?;
    if server.json {
        return print_line(&document.to_string());
    }
    let rows = list(&document, "settings").iter().map(|setting| {
        let column = |name: &str| text(&setting[name]);
        // A value that the cluster has set and that is not in force is told where its source would be.
        let source = match &setting["ignored"] {
            Value::String(why) => format!("{}; ignored: {why}", column("source")),
            _ => column("source"),
        };
        let range = format!("{} to {}", column("min"), column("max"));
        let (name, value) = (column("name"), column("value"));
        vec![
            name,
            value,
            source,
            column("default"),
            range,
            column("help"),
        ]
    });
    show(
        &["name", "value", "source", "default", "range", "what it is"],
        rows,
    )
}

fn get(name: &str, server: &ServerArgs) -> Result<(), Failure> {
    let mut client = Client::connect(&server.addr)?;
    let setting = find(&mut client, name)?;
    print_line(&match server.json {
        true => setting.to_string(),
        false => text(&setting["value"]),
    })
}

fn change(name: &str, value: &str, server: &ServerArgs) -> Result<(), Failure> {
    let mut client = Client::connect(&server.addr)?;
    let command: [&[u8]; 4] = [b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()];
    client.call(&command)?.accepted()?;
    match server.json {
        true => print_line(&find(&mut client, name)?.to_string()),
        false => Ok(()),
    }
}

/// A setting as it stands on the node.
fn find(client: &mut Client, name: &str) -> Result<Value, Failure> {
    let document = document(client, "SETTINGS")?;
    let mut settings = list(&document, "settings").iter();
    let found = settings.find(|setting| setting["name"] == name);
    let missing = || Failure::Not(format!("no setting {name:?}"));
    found.cloned().ok_or_else(missing)
}
