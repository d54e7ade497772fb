//! Commands about the connection itself.

use super::is;
use crate::decoder::parse_int;
use crate::encoder::Version;
use crate::notify::Subscriptions;
use crate::session::Call;

pub(crate) fn ping(call: &mut Call<'_>) {
    if call.args.len() > 2 {
        return call.wrong_arity("ping");
    }
    let text = (call.args.len() == 2).then(|| call.args.get(1));
    let listens = call.state.subscriptions.any() && call.state.version == Version::Two;
    let mut out = call.out();
    match text {
        _ if listens => {
            out.array(2);
            out.bulk(b"pong");
            out.bulk(text.unwrap_or_default());
        }
        Some(text) => out.bulk(text),
        None => out.simple("PONG"),
    }
}

pub(crate) fn echo(call: &mut Call<'_>) {
    let text = call.args.get(1);
    call.out().bulk(text);
}

pub(crate) fn quit(call: &mut Call<'_>) {
    call.ok();
    call.state.quit = true;
}

pub(crate) fn reset(call: &mut Call<'_>) {
    call.state.name.clear();
    call.state.version = Version::Two;
    call.state.subscriptions = Subscriptions::default();
    call.out().simple("RESET");
}

pub(crate) fn select(call: &mut Call<'_>) {
    match parse_int(call.args.get(1)) {
        Some(0) => call.ok(),
        Some(_) => call.error("ERR DB index is out of range"),
        None => call.error("ERR value is not an integer or out of range"),
    }
}

pub(crate) fn hello(call: &mut Call<'_>) {
    let mut version = call.state.version;
    let mut name = None;
    if call.args.len() > 1 {
        version = match parse_int(call.args.get(1)) {
            Some(2) => Version::Two,
            Some(3) => Version::Three,
            Some(_) => return call.error("NOPROTO unsupported protocol version"),
            None => return call.error("ERR Protocol version is not an integer or out of range"),
        };
        let mut at = 2;
        while at < call.args.len() {
            let option = call.args.get(at);
            if is(option, "auth") && at + 2 < call.args.len() {
                return call.error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?",
                );
            } else if is(option, "setname") && at + 1 < call.args.len() {
                name = Some(call.args.get(at + 1).to_vec());
                at += 2;
            } else {
                let option = String::from_utf8_lossy(option).into_owned();
                return call.error(&format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
    }
    if let Some(name) = name {
        if !is_name(&name) {
            return bad_name(call);
        }
        call.state.name = name;
    }
    call.state.version = version;
    let id = call.state.id as i64;
    let mut out = call.out();
    out.map(7);
    out.bulk(b"server");
    out.bulk(b"rumormill");
    out.bulk(b"version");
    out.bulk(env!("CARGO_PKG_VERSION").as_bytes());
    out.bulk(b"proto");
    out.integer(if version == Version::Two { 2 } else { 3 });
    out.bulk(b"id");
    out.integer(id);
    out.bulk(b"mode");
    out.bulk(b"standalone");
    out.bulk(b"role");
    out.bulk(b"master");
    out.bulk(b"modules");
    out.array(0);
}

fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn bad_name(call: &mut Call<'_>) {
    call.error("ERR Client names cannot contain spaces, newlines or special characters.");
}

pub(crate) fn client(call: &mut Call<'_>) {
    let (sub, count) = (call.args.get(1), call.args.len());
    match count {
        3 if is(sub, "setname") => {
            let name = call.args.get(2);
            if !is_name(name) {
                return bad_name(call);
            }
            call.state.name = name.to_vec();
            call.ok();
        }
        2 if is(sub, "getname") => {
            let name = (!call.state.name.is_empty()).then(|| call.state.name.clone());
            call.out().optional(name.as_deref());
        }
        4 if is(sub, "setinfo") => {
            let option = call.args.get(2);
            if is(option, "lib-name") || is(option, "lib-ver") {
                call.ok();
            } else {
                let option = String::from_utf8_lossy(option).into_owned();
                call.error(&format!("ERR Unrecognized option '{option}'"));
            }
        }
        2 if is(sub, "id") => {
            let id = call.state.id as i64;
            call.out().integer(id);
        }
        _ => {
            let sub = String::from_utf8_lossy(sub).into_owned();
            let known = ["setname", "getname", "setinfo", "id"]
                .iter()
                .any(|name| is(sub.as_bytes(), name));
            if known {
                call.wrong_arity(&format!("client|{}", sub.to_ascii_lowercase()));
            } else {
                call.error(&format!("ERR unknown subcommand '{sub}'. Try CLIENT HELP."));
            }
        }
    }
}
