//! Settings of the cluster through CONFIG.

use super::Talk;

#[test]
fn settings_are_got_and_set() {
    let mut talk = Talk::new();
    for (line, reply) in [
        (
            "CONFIG GET detector.probe_interval",
            "*2 $23 detector.probe_interval $2 1s",
        ),
        ("CONFIG SET detector.probe_interval 200ms", "+OK"),
        (
            "config get DETECTOR.PROBE_I*",
            "*2 $23 detector.probe_interval $5 200ms",
        ),
        (
            "CONFIG SET Limits.Key_Bytes 2048 detector.suspicion_mult 7",
            "+OK",
        ),
        (
            "CONFIG GET limits.key_bytes detector.suspicion_mult",
            "*4 $23 detector.suspicion_mult $1 7 $16 limits.key_bytes $4 2KiB",
        ),
        ("CONFIG SET detector.probe_interval \"\"", "+OK"),
        (
            "CONFIG GET detector.probe_interval",
            "*2 $23 detector.probe_interval $2 1s",
        ),
        ("CONFIG RESETSTAT", "+OK"),
        ("CONFIG GET nothing", "*0"),
    ] {
        assert_eq!(talk.say(line), reply, "{line}");
    }
}

#[test]
fn what_is_refused_says_why_and_nothing_is_set() {
    let mut talk = Talk::new();
    for (line, reply) in [
        (
            "CONFIG SET gossip.nonsense 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'gossip.nonsense'",
        ),
        (
            "CONFIG SET gossip.probe_interval 1s",
            "-ERR CONFIG SET failed (possibly related to argument 'gossip.probe_interval') - gossip.probe_interval is called detector.probe_interval",
        ),
        (
            "CONFIG GET gossip.probe_interval",
            "-ERR gossip.probe_interval is called detector.probe_interval",
        ),
        (
            "CONFIG SET strong.luck 1",
            "-ERR CONFIG SET failed (possibly related to argument 'strong.luck') - \"strong.luck\" would be a setting of strong tables, which are not built yet",
        ),
        (
            "CONFIG SET detector.suspicion_mult 7 detector.probe_interval 2h",
            "-ERR CONFIG SET failed (possibly related to argument 'detector.probe_interval') - detector.probe_interval is from 10ms to 1m, not 2h",
        ),
        (
            "CONFIG SET save \"\"",
            "-ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable config",
        ),
        (
            "CONFIG SET limits.requests 100 limits.requests 200",
            "-ERR CONFIG SET failed (possibly related to argument 'limits.requests') - duplicate parameter",
        ),
        (
            "CONFIG SET detector.suspicion_mult",
            "-ERR wrong number of arguments for 'config|set' command",
        ),
        (
            "CONFIG SET a b c",
            "-ERR wrong number of arguments for 'config|set' command",
        ),
        (
            "CONFIG GET detector.suspicion_mult",
            "*2 $23 detector.suspicion_mult $1 4",
        ),
    ] {
        assert_eq!(talk.say(line), reply, "{line}");
    }
    let split = b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$1\r\n1\r\n";
    let refused = "-ERR Unknown option or number of arguments for CONFIG SET - ";
    assert_eq!(talk.send(split), [refused, r"'a\\r\\nb' "].concat());
}

#[test]
fn the_reply_waits_until_the_change_is_durable() {
    let mut talk = Talk::stored();
    assert_eq!(talk.say("CONFIG SET detector.suspicion_mult 7"), "");
    talk.turn(true);
    assert_eq!(talk.read(), "+OK ");
}

#[test]
fn the_longest_value_follows_its_setting_even_within_a_pipeline() {
    let mut talk = Talk::with(|config| config.limits.value_bytes = 1024);
    let set = format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000\r\n{}\r\n",
        "x".repeat(2000)
    );
    let refused = |talk: &mut Talk| talk.send(set.as_bytes()).starts_with("-TOOLARGE");
    talk.say("CONFIG SET limits.key_bytes 1024");
    assert!(refused(&mut talk));
    let pipeline = ["CONFIG SET limits.value_bytes 2KiB\n", &set].concat();
    assert_eq!(talk.send(pipeline.as_bytes()), "+OK +OK ");
    talk.say("CONFIG SET limits.value_bytes 1KiB");
    assert!(refused(&mut talk));
}
