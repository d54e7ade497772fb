//! Subscribing to keyspace notifications.

use crate::session::Call;

/// Channels and patterns of one client.
const MAX: usize = 1_024;

pub(crate) fn subscribe(call: &mut Call<'_>) {
    add(call, "subscribe", false);
}

pub(crate) fn psubscribe(call: &mut Call<'_>) {
    add(call, "psubscribe", true);
}

pub(crate) fn unsubscribe(call: &mut Call<'_>) {
    remove(call, "unsubscribe", false);
}

pub(crate) fn punsubscribe(call: &mut Call<'_>) {
    remove(call, "punsubscribe", true);
}

fn add(call: &mut Call<'_>, what: &str, pattern: bool) {
    if call.state.subscriptions.count() + call.args.len() > MAX {
        return call.error(&format!("ERR a client has at most {MAX} subscriptions"));
    }
    if !call.state.subscriptions.any() {
        call.state.subscriptions.cursor = Some(call.node.view(call.now).cursor());
    }
    for name in call.args.from(1) {
        let subscriptions = &mut call.state.subscriptions;
        let set = if pattern {
            &mut subscriptions.patterns
        } else {
            &mut subscriptions.channels
        };
        set.insert(name.to_vec());
        confirm(call, what, Some(name));
    }
}

fn remove(call: &mut Call<'_>, what: &str, pattern: bool) {
    let subscriptions = &mut call.state.subscriptions;
    let set = if pattern {
        &mut subscriptions.patterns
    } else {
        &mut subscriptions.channels
    };
    let names: Vec<Vec<u8>> = match call.args.len() {
        1 => set.iter().cloned().collect(),
        _ => call.args.from(1).map(<[u8]>::to_vec).collect(),
    };
    if names.is_empty() {
        return confirm(call, what, None);
    }
    for name in names {
        let subscriptions = &mut call.state.subscriptions;
        let set = if pattern {
            &mut subscriptions.patterns
        } else {
            &mut subscriptions.channels
        };
        set.remove(&name);
        confirm(call, what, Some(&name));
    }
}

fn confirm(call: &mut Call<'_>, what: &str, name: Option<&[u8]>) {
    let count = call.state.subscriptions.count() as i64;
    let mut out = call.out();
    out.push(3);
    out.bulk(what.as_bytes());
    out.optional(name);
    out.integer(count);
}
