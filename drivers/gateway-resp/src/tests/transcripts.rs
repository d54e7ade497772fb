//! Transcripts of commands and replies, in both protocols.

use super::Talk;

#[test]
fn strings() {
    let two = [
        ("PING", "+PONG"),
        ("PING a", "$1 a"),
        (
            "PING a b",
            "-ERR wrong number of arguments for 'ping' command",
        ),
        ("ECHO", "-ERR wrong number of arguments for 'echo' command"),
        ("ECHO x", "$1 x"),
        ("SET a", "-ERR wrong number of arguments for 'set' command"),
        ("SET a 1", "+OK"),
        ("GET a", "$1 1"),
        ("get A", "$-1"),
        ("SET a 1 EX", "-ERR syntax error"),
        ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 1 EX -1", "-ERR invalid expire time in 'set' command"),
        (
            "SET a 1 EX abc",
            "-ERR value is not an integer or out of range",
        ),
        ("SET a 1 PX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 1 EX 10 PX 10", "-ERR syntax error"),
        ("SET a 1 NX XX", "-ERR syntax error"),
        ("SET a 1 NX", "$-1"),
        ("SET b 1 XX", "$-1"),
        ("SET a 2 GET", "$1 1"),
        ("SET nx 2 GET", "$-1"),
        ("SET nx2 2 NX GET", "$-1"),
        ("SET nx2 3 NX GET", "$1 2"),
        ("SET a 1 EX 10", "+OK"),
        ("SET a 1 KEEPTTL", "+OK"),
        ("TTL a", ":10"),
        ("SET a 1 KEEPTTL EX 5", "-ERR syntax error"),
        ("SET a 1 EXAT 1", "+OK"),
        ("GET a", "$-1"),
        (
            "SET a 1 EX 9223372036854775807",
            "-ERR invalid expire time in 'set' command",
        ),
        ("SET a 1 foo", "-ERR syntax error"),
        ("SETNX a 1", ":1"),
        ("SETNX a 1", ":0"),
        ("SETEX a 0 1", "-ERR invalid expire time in 'setex' command"),
        (
            "SETEX a x 1",
            "-ERR value is not an integer or out of range",
        ),
        ("SETEX a 10 1", "+OK"),
        (
            "PSETEX a 0 1",
            "-ERR invalid expire time in 'psetex' command",
        ),
        ("PSETEX a 10000 1", "+OK"),
        ("TTL a", ":10"),
        ("GETDEL a", "$1 1"),
        ("GETDEL a", "$-1"),
        (
            "MSET a",
            "-ERR wrong number of arguments for 'mset' command",
        ),
        (
            "MSET a 1 b",
            "-ERR wrong number of arguments for 'mset' command",
        ),
        ("MSET a 1 b 2", "+OK"),
        ("MGET a b c", "*3 $1 1 $1 2 $-1"),
        ("STRLEN a", ":1"),
        ("STRLEN none", ":0"),
        ("SET e ''", "+OK"),
        ("GET e", "$0"),
    ];
    Talk::new().expect(&two);
    // The replies that differ in the newer protocol.
    let three = [
        (8, "_"),
        (16, "_"),
        (17, "_"),
        (19, "_"),
        (20, "_"),
        (27, "_"),
        (39, "_"),
        (43, "*3 $1 1 $1 2 _"),
    ];
    in_resp3(&two, &three);
}

#[test]
fn expiry() {
    let two = [
        ("SET a 1 PX 100000", "+OK"),
        ("PERSIST a", ":1"),
        ("PERSIST a", ":0"),
        ("TTL a", ":-1"),
        ("PTTL a", ":-1"),
        ("TTL none", ":-2"),
        ("EXPIRETIME a", ":-1"),
        ("EXPIRETIME none", ":-2"),
        ("EXPIRE a 10", ":1"),
        ("EXPIRE a 10 NX", ":0"),
        ("EXPIRE a 11 XX GT", ":1"),
        ("EXPIRE a 20 GT", ":1"),
        ("EXPIRE a 30 LT", ":0"),
        ("EXPIRE a 5 LT", ":1"),
        ("TTL a", ":5"),
        (
            "EXPIRE a 10 NX XX",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "EXPIRE a 10 GT LT",
            "-ERR GT and LT options at the same time are not compatible",
        ),
        ("EXPIRE a 10 FOO", "-ERR Unsupported option FOO"),
        ("EXPIRE a x", "-ERR value is not an integer or out of range"),
        ("EXPIRE none 10", ":0"),
        (
            "EXPIRE a 9223372036854775807",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "PEXPIRE a 9223372036854775807",
            "-ERR invalid expire time in 'pexpire' command",
        ),
        ("PEXPIRE a 10000", ":1"),
        ("TTL a", ":10"),
        ("GET a", "$1 1"),
        ("EXPIREAT a 33333333333", ":1"),
        ("EXPIRETIME a", ":33333333333"),
        ("PEXPIREAT a 33333333333000", ":1"),
        ("PEXPIRETIME a", ":33333333333000"),
        ("EXPIRE a -1", ":1"),
        ("GET a", "$-1"),
        ("EXPIREAT a 1", ":0"),
    ];
    Talk::new().expect(&two);
    // The replies that differ in the newer protocol.
    let three = [(30, "_")];
    in_resp3(&two, &three);
}

#[test]
fn keys() {
    let two = [
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
        ("SET a 1", "+OK"),
        ("SET b 1", "+OK"),
        ("EXISTS a a b c", ":3"),
        ("TYPE a", "+string"),
        ("TYPE none", "+none"),
        ("KEYS", "-ERR wrong number of arguments for 'keys' command"),
        ("KEYS a*", "*1 $1 a"),
        ("KEYS x?", "*0"),
        ("DBSIZE", ":2"),
        ("DEL a b c", ":2"),
        ("UNLINK a", ":0"),
        ("RANDOMKEY", "$-1"),
        ("SET only 1", "+OK"),
        ("RANDOMKEY", "$4 only"),
        ("FLUSHALL x", "-ERR syntax error"),
        ("FLUSHDB SYNC ASYNC", "-ERR syntax error"),
        ("FLUSHALL ASYNC", "+OK"),
        ("FLUSHDB SYNC", "+OK"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
        ("SCAN 0", "*2 $1 0 *0"),
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN 0 TYPE foo", "*2 $1 0 *0"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        (
            "SCAN 0 COUNT x",
            "-ERR value is not an integer or out of range",
        ),
        ("SCAN 0 MATCH", "-ERR syntax error"),
        ("SCAN 0 NOVALUES", "-ERR syntax error"),
        ("SET s 1", "+OK"),
        ("SCAN 0", "*2 $1 0 *1 $1 s"),
        ("SCAN 0 TYPE string", "*2 $1 0 *1 $1 s"),
        ("SCAN 0 TYPE hash", "*2 $1 0 *0"),
        ("SCAN 0 MATCH t* COUNT 100", "*2 $1 0 *0"),
    ];
    Talk::new().expect(&two);
    // The replies that differ in the newer protocol.
    let three = [(12, "_")];
    in_resp3(&two, &three);
}

#[test]
fn hashes() {
    let two = [
        (
            "HSET h",
            "-ERR wrong number of arguments for 'hset' command",
        ),
        (
            "HSET h a 1 b",
            "-ERR wrong number of arguments for 'hset' command",
        ),
        ("HSET h a 1", ":1"),
        ("HSET h a 1 b 2", ":1"),
        ("HMSET h b 3", "+OK"),
        ("HGET h a", "$1 1"),
        ("HGET h z", "$-1"),
        ("HGET n z", "$-1"),
        ("HMGET h a z", "*2 $1 1 $-1"),
        ("HMGET n a b", "*2 $-1 $-1"),
        ("HSETNX h a 9", ":0"),
        ("HSETNX h c 9", ":1"),
        ("HSTRLEN h c", ":1"),
        ("HSTRLEN h z", ":0"),
        ("HDEL h z", ":0"),
        ("HDEL h c z", ":1"),
        ("HDEL n z", ":0"),
        ("HLEN h", ":2"),
        ("HLEN n", ":0"),
        ("HEXISTS h a", ":1"),
        ("HEXISTS h z", ":0"),
        ("HKEYS h", "*2 $1 a $1 b"),
        ("HVALS h", "*2 $1 1 $1 3"),
        ("HGETALL h", "*4 $1 a $1 1 $1 b $1 3"),
        ("HGETALL n", "*0"),
        ("HKEYS n", "*0"),
        ("TYPE h", "+hash"),
        ("EXISTS h", ":1"),
        ("KEYS *", "*1 $1 h"),
        ("SCAN 0", "*2 $1 0 *1 $1 h"),
        ("DBSIZE", ":1"),
        ("TTL h", ":-1"),
        ("PERSIST h", ":0"),
    ];
    Talk::new().expect(&two);
    // The replies that differ in the newer protocol.
    let three = [
        (6, "_"),
        (7, "_"),
        (8, "*2 $1 1 _"),
        (9, "*2 _ _"),
        (23, "%2 $1 a $1 1 $1 b $1 3"),
        (24, "%0"),
    ];
    in_resp3(&two, &three);
}

#[test]
fn a_hash_is_no_string_and_a_string_no_hash() {
    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let two = [
        ("HSET h a 1", ":1"),
        ("GET h", WRONG_TYPE),
        ("STRLEN h", WRONG_TYPE),
        ("GETDEL h", WRONG_TYPE),
        ("SETNX h 1", ":0"),
        ("SET h 1 NX", "$-1"),
        ("SET h 1 GET", WRONG_TYPE),
        ("SET s 1", "+OK"),
        ("HSET s a 1", WRONG_TYPE),
        ("HGET s a", WRONG_TYPE),
        ("HDEL s a", WRONG_TYPE),
        ("HLEN s", WRONG_TYPE),
        ("HGETALL s", WRONG_TYPE),
        ("HSCAN s 0", WRONG_TYPE),
    ];
    Talk::new().expect(&two);
    // In the newer protocol nothing is another reply.
    in_resp3(&two, &[(5, "_")]);
}

#[test]
fn hashes_are_scanned_and_go_with_their_last_field() {
    Talk::new().expect(&[
        ("HSET h a 1 b 3", ":2"),
        ("HSCAN h 0", "*2 $1 0 *4 $1 a $1 1 $1 b $1 3"),
        ("HSCAN h x", "-ERR invalid cursor"),
        ("HSCAN h 0 MATCH a", "*2 $1 0 *2 $1 a $1 1"),
        ("HSCAN h 0 COUNT 0", "-ERR syntax error"),
        (
            "HSCAN h 0 COUNT x",
            "-ERR value is not an integer or out of range",
        ),
        ("HSCAN h 0 FOO", "-ERR syntax error"),
        ("HSCAN h 0 MATCH", "-ERR syntax error"),
        ("HSCAN n 0", "*2 $1 0 *0"),
        ("DEL h", ":1"),
        ("TYPE h", "+none"),
        ("HSET h a 1", ":1"),
        ("SET h 1", "+OK"),
        ("GET h", "$1 1"),
        (
            "HLEN h",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("DEL h", ":1"),
        ("HSET h a 1", ":1"),
        ("HDEL h a", ":1"),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn connection() {
    let two = [
        ("SELECT 0", "+OK"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("SELECT 99", "-ERR DB index is out of range"),
        (
            "CLIENT",
            "-ERR wrong number of arguments for 'client' command",
        ),
        (
            "CLIENT FOO",
            "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.",
        ),
        (
            "CLIENT SETNAME",
            "-ERR wrong number of arguments for 'client|setname' command",
        ),
        (
            "CLIENT SETNAME 'a b'",
            "-ERR Client names cannot contain spaces, newlines or special characters.",
        ),
        ("CLIENT SETNAME ab", "+OK"),
        ("CLIENT GETNAME", "$2 ab"),
        ("CLIENT SETNAME ''", "+OK"),
        ("CLIENT GETNAME", "$-1"),
        (
            "CLIENT ID x",
            "-ERR wrong number of arguments for 'client|id' command",
        ),
        (
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        ),
        ("AUTH default x", "+OK"),
        (
            "AUTH a b",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        ),
        ("AUTH a b c", "-ERR syntax error"),
        (
            "FOO",
            "-ERR unknown command 'FOO', with args beginning with:",
        ),
        (
            "FOO a b c",
            "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' 'c'",
        ),
        (
            "foo 'a b' c",
            "-ERR unknown command 'foo', with args beginning with: 'a b' 'c'",
        ),
        (
            "\"a\\nb\" c",
            "-ERR unknown command 'a b', with args beginning with: 'c'",
        ),
        ("CONFIG GET save", "*2 $4 save $0"),
        ("CONFIG GET appendonly", "*2 $10 appendonly $2 no"),
        ("CONFIG GET nope", "*0"),
        (
            "CONFIG GET",
            "-ERR wrong number of arguments for 'config|get' command",
        ),
        (
            "COMMAND FOO",
            "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.",
        ),
        (
            "COMMAND COUNT x",
            "-ERR wrong number of arguments for 'command|count' command",
        ),
        ("COMMAND DOCS nope", "*0"),
        ("COMMAND INFO nope", "*1 *-1"),
        ("HELLO 1", "-NOPROTO unsupported protocol version"),
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        (
            "HELLO x",
            "-ERR Protocol version is not an integer or out of range",
        ),
        (
            "HELLO 3 AUTH a b",
            "-WRONGPASS invalid username-password pair or user is disabled.",
        ),
        ("HELLO 2 AUTH", "-ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ("INFO foo", "$0"),
    ];
    Talk::new().expect(&two);
    // The replies that differ in the newer protocol.
    let three = [
        (10, "_"),
        (20, "%1 $4 save $0"),
        (21, "%1 $10 appendonly $2 no"),
        (22, "%0"),
        (26, "%0"),
        (27, "*1 _"),
        (34, "=4 txt:"),
    ];
    in_resp3(&two, &three);
}

#[test]
fn subscriptions() {
    let two = [
        (
            "SUBSCRIBE",
            "-ERR wrong number of arguments for 'subscribe' command",
        ),
        (
            "SUBSCRIBE a b",
            "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2",
        ),
        ("PSUBSCRIBE c*", "*3 $10 psubscribe $2 c* :3"),
        ("UNSUBSCRIBE a", "*3 $11 unsubscribe $1 a :2"),
        ("PUNSUBSCRIBE x", "*3 $12 punsubscribe $1 x :2"),
        ("UNSUBSCRIBE", "*3 $11 unsubscribe $1 b :1"),
        ("PUNSUBSCRIBE", "*3 $12 punsubscribe $2 c* :0"),
        ("UNSUBSCRIBE", "*3 $11 unsubscribe $-1 :0"),
        (
            "SUBSCRIBE a a",
            "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 a :1",
        ),
        (
            "GET x",
            "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        ),
        ("PING", "*2 $4 pong $0"),
        ("PING a", "*2 $4 pong $1 a"),
        (
            "HSET x",
            "-ERR wrong number of arguments for 'hset' command",
        ),
        ("RESET", "+RESET"),
        ("GET x", "$-1"),
    ];
    Talk::new().expect(&two);
    // The replies that differ in the newer protocol.
    let three = [
        (1, ">3 $9 subscribe $1 a :1 >3 $9 subscribe $1 b :2"),
        (2, ">3 $10 psubscribe $2 c* :3"),
        (3, ">3 $11 unsubscribe $1 a :2"),
        (4, ">3 $12 punsubscribe $1 x :2"),
        (5, ">3 $11 unsubscribe $1 b :1"),
        (6, ">3 $12 punsubscribe $2 c* :0"),
        (7, ">3 $11 unsubscribe _ :0"),
        (8, ">3 $9 subscribe $1 a :1 >3 $9 subscribe $1 a :1"),
        (9, "_"),
        (10, "+PONG"),
        (11, "$1 a"),
    ];
    in_resp3(&two, &three);
}

/// Says the same again after `HELLO 3`.
fn in_resp3(two: &[(&str, &str)], changes: &[(usize, &str)]) {
    let mut transcript = two.to_vec();
    for (place, reply) in changes {
        transcript[*place].1 = reply;
    }
    let mut talk = Talk::new();
    talk.say("HELLO 3");
    talk.expect(&transcript);
}

#[test]
fn the_driver_describes_the_node() {
    Talk::new().expect(&[
        ("RUMORMILL NAME", "$1 a"),
        ("rumormill what", "-ERR unknown subcommand 'what'"),
    ]);
}
