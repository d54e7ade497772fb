//! The commands: one table, sorted by name, and who executes them.

mod connection;
mod hashes;
mod keys;
mod pubsub;
mod scan;
mod server;
mod strings;

use rumormill_core::WriteError;

use crate::encoder::Version;
use crate::session::Call;

/// A command. `arity` counts the name; negative means at least that many.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) arity: i32,
    pub(crate) group: &'static str,
    pub(crate) writes: bool,
    /// First and last key argument and the step between keys, 0 for none.
    pub(crate) keys: (i64, i64, i64),
    pub(crate) run: fn(&mut Call<'_>),
}

macro_rules! commands {
    ($($name:literal $arity:literal $group:ident $mode:ident $keys:tt $run:path;)*) => {
        /// All commands, sorted by name.
        pub(crate) const COMMANDS: &[Command] = &[$(Command {
            name: $name,
            arity: $arity,
            group: stringify!($group),
            writes: matches!(stringify!($mode).as_bytes(), b"write"),
            keys: $keys,
            run: $run,
        }),*];
    };
}

commands! {
    "client" -2 connection read (0, 0, 0) connection::client;
    "command" -1 server read (0, 0, 0) server::command;
    "config" -2 server read (0, 0, 0) server::config;
    "dbsize" 1 server read (0, 0, 0) server::dbsize;
    "del" -2 generic write (1, -1, 1) keys::del;
    "echo" 2 connection read (0, 0, 0) connection::echo;
    "exists" -2 generic read (1, -1, 1) keys::exists;
    "expire" -3 generic write (1, 1, 1) keys::expire;
    "expireat" -3 generic write (1, 1, 1) keys::expireat;
    "flushall" -1 server write (0, 0, 0) server::flush;
    "flushdb" -1 server write (0, 0, 0) server::flush;
    "get" 2 string read (1, 1, 1) strings::get;
    "getdel" 2 string write (1, 1, 1) strings::getdel;
    "hdel" -3 hash write (1, 1, 1) hashes::hdel;
    "hello" -1 connection read (0, 0, 0) connection::hello;
    "hexists" 3 hash read (1, 1, 1) hashes::hexists;
    "hget" 3 hash read (1, 1, 1) hashes::hget;
    "hgetall" 2 hash read (1, 1, 1) hashes::hgetall;
    "hkeys" 2 hash read (1, 1, 1) hashes::hkeys;
    "hlen" 2 hash read (1, 1, 1) hashes::hlen;
    "hmget" -3 hash read (1, 1, 1) hashes::hmget;
    "hscan" -3 hash read (1, 1, 1) scan::hscan;
    "hset" -4 hash write (1, 1, 1) hashes::hset;
    "hvals" 2 hash read (1, 1, 1) hashes::hvals;
    "info" -1 server read (0, 0, 0) server::info;
    "keys" 2 generic read (0, 0, 0) keys::keys;
    "mget" -2 string read (1, -1, 1) strings::mget;
    "mset" -3 string write (1, -1, 2) strings::mset;
    "persist" 2 generic write (1, 1, 1) keys::persist;
    "pexpire" -3 generic write (1, 1, 1) keys::pexpire;
    "ping" -1 connection read (0, 0, 0) connection::ping;
    "psubscribe" -2 pubsub read (0, 0, 0) pubsub::psubscribe;
    "pttl" 2 generic read (1, 1, 1) keys::pttl;
    "punsubscribe" -1 pubsub read (0, 0, 0) pubsub::punsubscribe;
    "quit" -1 connection read (0, 0, 0) connection::quit;
    "randomkey" 1 generic read (0, 0, 0) keys::randomkey;
    "reset" 1 connection read (0, 0, 0) connection::reset;
    "rumormill" -2 server read (0, 0, 0) server::rumormill;
    "scan" -2 generic read (0, 0, 0) scan::scan;
    "select" 2 connection read (0, 0, 0) connection::select;
    "set" -3 string write (1, 1, 1) strings::set;
    "setex" 4 string write (1, 1, 1) strings::setex;
    "setnx" 3 string write (1, 1, 1) strings::setnx;
    "strlen" 2 string read (1, 1, 1) strings::strlen;
    "subscribe" -2 pubsub read (0, 0, 0) pubsub::subscribe;
    "ttl" 2 generic read (1, 1, 1) keys::ttl;
    "type" 2 generic read (1, 1, 1) keys::key_type;
    "unlink" -2 generic write (1, -1, 1) keys::del;
    "unsubscribe" -1 pubsub read (0, 0, 0) pubsub::unsubscribe;
}

/// Commands of Redis that a last-writer-wins table cannot do honestly: members that change a value at once would lose changes.
const LOSSY: &[&str] = &[
    "append",
    "decr",
    "decrby",
    "hincrby",
    "hincrbyfloat",
    "incr",
    "incrby",
    "incrbyfloat",
    "linsert",
    "lpop",
    "lpush",
    "lpushx",
    "lrem",
    "lset",
    "ltrim",
    "rpop",
    "rpush",
    "rpushx",
    "sadd",
    "setbit",
    "setrange",
    "spop",
    "srem",
    "zadd",
    "zincrby",
    "zrem",
];

/// The command of that name, in whatever case. O(log commands), without allocation.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0u8; 16];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let at = COMMANDS
        .binary_search_by(|command| command.name.as_bytes().cmp(lower))
        .ok()?;
    COMMANDS.get(at)
}

/// Executes one command.
pub(crate) fn dispatch(call: &mut Call<'_>) {
    let name = call.args.get(0);
    let Some(command) = find(name) else {
        return unknown(call);
    };
    let count = call.args.len() as i32;
    if (command.arity > 0 && count != command.arity) || count < -command.arity {
        return call.command_error(command);
    }
    let listens = call.state.subscriptions.any() && call.state.version == Version::Two;
    if listens
        && !matches!(command.group, "pubsub")
        && !matches!(command.name, "ping" | "quit" | "reset")
    {
        let text = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            command.name
        );
        return call.error(&text);
    }
    (command.run)(call);
}

fn unknown(call: &mut Call<'_>) {
    let name = String::from_utf8_lossy(call.args.get(0)).into_owned();
    let lower = name.to_ascii_lowercase();
    if LOSSY.contains(&lower.as_str()) {
        return call.error(&format!(
            "NOTSUPPORTED '{lower}' would lose updates: the members of a last-writer-wins table change a value without \
             asking each other"
        ));
    }
    let mut args = String::new();
    for arg in call.args.from(1) {
        if args.len() >= 128 {
            break;
        }
        let room = 128 - args.len();
        args.push('\'');
        args.push_str(&String::from_utf8_lossy(&arg[..arg.len().min(room)]));
        args.push_str("' ");
    }
    let shown: String = name.chars().take(128).collect();
    call.error(&format!(
        "ERR unknown command '{shown}', with args beginning with: {args}"
    ));
}

/// A refused write as the client reads it.
pub(crate) fn refused(error: &WriteError) -> String {
    let code = match error {
        WriteError::KeyTooLarge { .. } | WriteError::ValueTooLarge { .. } => "TOOLARGE",
        WriteError::Busy { .. } => "BUSY",
        WriteError::StoreStalled => "NOSPACE",
        WriteError::Leaving => "LEAVING",
        WriteError::ReadOnlyTable => "READONLY",
        _ => "ERR",
    };
    format!("{code} {error}")
}

/// Whether an argument is this word, in whatever case.
pub(crate) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in COMMANDS {
            let upper = command.name.to_ascii_uppercase();
            assert_eq!(
                find(upper.as_bytes()).map(|found| found.name),
                Some(command.name)
            );
        }
        assert!(find(b"nonsense").is_none());
        assert!(find(&[b'x'; 100]).is_none());
    }
}
