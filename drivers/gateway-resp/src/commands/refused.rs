//! Commands that Redis has and this store refuses, with the reason.

const COUNTS: &str = "would lose counts: two members that write one row of a gossip table at once keep one of the two results. Only strong tables can do it";
const TYPES: &str = "is not supported: there are strings and hashes only";
const ATOMIC: &str =
    "is not supported: rows of a gossip table are written one by one, on every member";
const SCRIPTS: &str = "is not supported: a script would run on this member alone, while others write the same rows. A lock or a counter by script needs strong tables, which are to come; a gossip table gives one lock to two clients";
const MESSAGES: &str = "is not supported: channels carry keyspace notifications only";

const REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "incr",
            "incrby",
            "incrbyfloat",
            "decr",
            "decrby",
            "hincrby",
            "hincrbyfloat",
            "append",
            "setrange",
            "setbit",
            "bitfield",
        ],
        COUNTS,
    ),
    (
        &[
            "lpush",
            "rpush",
            "lpushx",
            "rpushx",
            "lpop",
            "rpop",
            "llen",
            "lrange",
            "lindex",
            "lset",
            "lrem",
            "ltrim",
            "linsert",
            "lmove",
            "blpop",
            "brpop",
            "blmove",
            "sadd",
            "srem",
            "spop",
            "smembers",
            "sismember",
            "scard",
            "sscan",
            "zadd",
            "zrem",
            "zrange",
            "zscore",
            "zcard",
            "zpopmin",
            "zpopmax",
            "zscan",
            "zincrby",
            "xadd",
            "xread",
            "xrange",
            "xlen",
            "pfadd",
            "pfcount",
            "geoadd",
        ],
        TYPES,
    ),
    (&["rename", "renamenx", "msetnx", "copy"], ATOMIC),
    (
        &[
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
            "function",
            "script",
        ],
        SCRIPTS,
    ),
    (&["publish", "spublish", "ssubscribe"], MESSAGES),
];

/// The error that answers a command of that name, `None` when Redis does not know it either.
pub(super) fn reason(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let (_, why) = REFUSED
        .iter()
        .find(|(names, _)| names.contains(&&name[..]))?;
    Some(format!("ERR {} {why}", name.to_ascii_uppercase()))
}

/// Whether this is a browser that was lured here: Redis closes it without a word.
pub(super) fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
