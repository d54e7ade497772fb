//! Commands about the server.

use rumormill_core::TableId;

use super::{COMMANDS, Command, find, is, refused};
use crate::session::Call;

pub(crate) fn dbsize(call: &mut Call<'_>) {
    let size = keys_in_all(call);
    call.out().integer(size as i64);
}

fn keys_in_all(call: &Call<'_>) -> u64 {
    call.node.view(call.now).len(TableId::DEFAULT) + call.hash_names().len() as u64
}

pub(crate) fn flush(call: &mut Call<'_>) {
    let valid = match call.args.len() {
        1 => true,
        2 => is(call.args.get(1), "async") || is(call.args.get(1), "sync"),
        _ => false,
    };
    if !valid {
        return call.syntax_error();
    }
    match call.node.flush_all(call.now) {
        Ok(accepted) => {
            call.acknowledges(&accepted);
            call.ok();
        }
        Err(error) => call.error(&refused(&error)),
    }
}

pub(crate) fn config(call: &mut Call<'_>) {
    if !is(call.args.get(1), "get") {
        return call.error("NOTSUPPORTED settings are read-only in this version");
    }
    if call.args.len() < 3 {
        return call.wrong_arity("config|get");
    }
    // What programs ask before they trust a server with data.
    let known = [
        ("save", ""),
        ("appendonly", "yes"),
        ("maxmemory", "0"),
        ("databases", "1"),
    ];
    let wanted: Vec<_> = known
        .iter()
        .filter(|(name, _)| {
            call.args
                .from(2)
                .any(|pattern| crate::glob::matches(pattern, name.as_bytes()))
        })
        .collect();
    let mut out = call.out();
    out.map(wanted.len());
    for (name, value) in wanted {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
}

pub(crate) fn command(call: &mut Call<'_>) {
    let (sub, count) = (call.args.get(1), call.args.len());
    match count {
        1 => {
            call.out().array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| describe(call, command));
        }
        2 if is(sub, "count") => call.out().integer(COMMANDS.len() as i64),
        _ if is(sub, "docs") => {
            let named: Vec<&Command> = call.args.from(2).filter_map(find).collect();
            let shown: Vec<&Command> = if count == 2 {
                COMMANDS.iter().collect()
            } else {
                named
            };
            call.out().map(shown.len());
            for command in shown {
                let mut out = call.out();
                out.bulk(command.name.as_bytes());
                out.map(1);
                out.bulk(b"group");
                out.bulk(command.group.as_bytes());
            }
        }
        _ => {
            let sub = String::from_utf8_lossy(sub).into_owned();
            call.error(&format!(
                "ERR unknown subcommand '{sub}'. Try COMMAND HELP."
            ));
        }
    }
}

fn describe(call: &mut Call<'_>, command: &Command) {
    let mut out = call.out();
    out.array(6);
    out.bulk(command.name.as_bytes());
    out.integer(i64::from(command.arity));
    out.array(1);
    out.simple(if command.writes { "write" } else { "readonly" });
    let (first, last, step) = command.keys;
    out.integer(first);
    out.integer(last);
    out.integer(step);
}

pub(crate) fn info(call: &mut Call<'_>) {
    let status = call.node.status(call.now);
    let keys = keys_in_all(call);
    let clients = *call.state.connected.borrow();
    let sections = [
        (
            "server",
            format!(
                "redis_version:7.0.0\r\nrumormill_version:{}\r\nredis_mode:standalone\r\nprocess_id:{}\r\n",
                env!("CARGO_PKG_VERSION"),
                std::process::id()
            ),
        ),
        ("clients", format!("connected_clients:{clients}\r\n")),
        (
            "persistence",
            format!(
                "loading:0\r\nasync_loading:0\r\nstore_stalled:{}\r\n",
                u8::from(status.stalled)
            ),
        ),
        (
            "replication",
            format!(
                "role:master\r\nconnected_slaves:0\r\nlinks:{}\r\n",
                status.links
            ),
        ),
        (
            "rumormill",
            format!(
                "node_id:{}\r\nname:{}\r\ncluster:{}\r\nstanding:{}\r\nmembers:{}\r\nrows:{}\r\ntombstones:{}\r\n",
                status.id,
                status.name,
                status.cluster,
                status.standing,
                status.members,
                status.rows,
                status.tombstones
            ),
        ),
        (
            "keyspace",
            if keys == 0 {
                String::new()
            } else {
                format!("db0:keys={keys},expires=0,avg_ttl=0\r\n")
            },
        ),
    ];
    let everything = call.args.len() == 1
        || call.args.from(1).any(|wanted| {
            ["all", "default", "everything"]
                .iter()
                .any(|word| is(wanted, word))
        });
    let mut text = String::new();
    for (name, body) in sections {
        if everything || call.args.from(1).any(|wanted| is(wanted, name)) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let (first, rest) = name.split_at(1);
            text.push_str(&format!("# {}{rest}\r\n{body}", first.to_ascii_uppercase()));
        }
    }
    call.out().verbatim(&text);
}

/// `RUMORMILL STATUS|MEMBERS|TABLES`: JSON, for the command line.
pub(crate) fn rumormill(call: &mut Call<'_>) {
    let topic = String::from_utf8_lossy(call.args.get(1)).to_ascii_lowercase();
    match (call.state.describe)(call.node, call.now, &topic) {
        Some(json) => call.out().bulk(json.as_bytes()),
        None => call.error(&format!("ERR unknown subcommand '{topic}'")),
    }
}
