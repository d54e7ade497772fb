use super::*;

const CAPS: Caps = Caps {
    argument: 16,
    command: 40,
};

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Command(Vec<Vec<u8>>),
    TooLarge(TooLarge),
    Broken(String),
}

/// Feeds `pieces` as a client session does, and checks that no more is kept than the caps allow.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(CAPS);
    let mut pending = Vec::new();
    let mut seen = Vec::new();
    for piece in pieces {
        pending.extend_from_slice(piece);
        loop {
            match decoder.next(&pending) {
                Decoded::Command => {
                    let args = decoder.args(&pending);
                    seen.push(Seen::Command(args.from(0).map(<[u8]>::to_vec).collect()));
                }
                Decoded::TooLarge(too_large) => seen.push(Seen::TooLarge(too_large)),
                Decoded::Incomplete => break,
                Decoded::Broken(error) => {
                    let mut text = Vec::new();
                    error.write_to(&mut text);
                    seen.push(Seen::Broken(String::from_utf8_lossy(&text).into_owned()));
                    return seen;
                }
            }
        }
        pending.drain(..decoder.used());
        decoder.rebase();
        assert!(pending.len() <= LINE_BYTES + 2 + piece.len());
    }
    seen
}

fn command(words: &[&str]) -> Seen {
    Seen::Command(words.iter().map(|word| word.as_bytes().to_vec()).collect())
}

fn broken(text: &str) -> Vec<Seen> {
    vec![Seen::Broken(text.to_string())]
}

#[test]
fn every_split_of_a_stream_reads_the_same() {
    let too_large = TooLarge::Argument {
        size: 20,
        limit: 16,
    };
    let stream: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\n*-1\r\n*3\r\n$3\r\nSET\r\n$20\r\n\
        01234567890123456789\r\n$4\r\n\r\n\r\n\r\necho \"a b\" 'c\\'d'\n*4\r\n$0\r\n\r\n$16\r\n0123456789abcdef\r\n\
        $16\r\n0123456789abcdef\r\n$16\r\n0123456789abcdef\r\n*1\r\n$4\r\nQUIT\r\n*1\r\nx\r\n";
    let expected = vec![
        command(&["GET", "a"]),
        command(&["PING"]),
        Seen::TooLarge(too_large),
        command(&["echo", "a b", "c'd"]),
        Seen::TooLarge(TooLarge::Command { limit: 40 }),
        command(&["QUIT"]),
        Seen::Broken("expected '$', got 'x'".to_string()),
    ];
    assert_eq!(feed([stream]), expected);
    assert_eq!(feed(stream.chunks(1)), expected);
    for first in 0..stream.len() {
        let (head, tail) = stream.split_at(first);
        assert_eq!(feed([head, tail]), expected, "cut at {first}");
        for second in 0..tail.len() {
            let (middle, end) = tail.split_at(second);
            assert_eq!(
                feed([head, middle, end]),
                expected,
                "cut at {first}, {second}"
            );
        }
    }
}

#[test]
fn errors_are_worded_as_redis_does() {
    let long = vec![b'1'; LINE_BYTES + 2];
    let with = |head: &[u8]| [head, &long].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"*1\r\n+PING\r\n".to_vec(), "expected '$', got '+'"),
        (b"*1\r\n\r\n".to_vec(), "expected '$', got ' '"),
        (b"*1\r$4\r\nPING\r\n".to_vec(), "expected '$', got '4'"),
        (b"*abc\r\n".to_vec(), "invalid multibulk length"),
        (b"*\r\n".to_vec(), "invalid multibulk length"),
        (b"*+1\r\n".to_vec(), "invalid multibulk length"),
        (b"* 1\r\n".to_vec(), "invalid multibulk length"),
        (b"*01\r\n".to_vec(), "invalid multibulk length"),
        (b"*1048577\r\n".to_vec(), "invalid multibulk length"),
        (
            b"*99999999999999999999\r\n".to_vec(),
            "invalid multibulk length",
        ),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$4x\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$600000000\r\n".to_vec(), "invalid bulk length"),
        (b"\"abc\r\n".to_vec(), "unbalanced quotes in request"),
        (b"'abc\r\n".to_vec(), "unbalanced quotes in request"),
        (b"\"abc\"d\r\n".to_vec(), "unbalanced quotes in request"),
        (
            b"echo a\"b c\"d\r\n".to_vec(),
            "unbalanced quotes in request",
        ),
        (with(b""), "too big inline request"),
        (with(b"*"), "too big mbulk count string"),
        (with(b"*1\r\n$"), "too big bulk count string"),
    ];
    for (stream, expected) in cases {
        assert_eq!(feed([&stream[..]]), broken(expected));
        assert_eq!(feed(stream.chunks(997)), broken(expected));
    }
}

#[test]
fn what_redis_takes_is_taken() {
    let cases: [(&[u8], Vec<Seen>); 9] = [
        (b"*1\rx$4\rxPINGxx", vec![command(&["PING"])]),
        (b"*-2147483649\r\nPING\r\n", vec![command(&["PING"])]),
        (b"*1\n$4\nPING\n", vec![]),
        (b"*1\r\n$536870912\r\n", vec![]),
        (
            b"echo \"\\x41\\xzz\\n\\q\\\"\"\n",
            vec![command(&["echo", "Axzz\nq\""])],
        ),
        (b"echo ''\n", vec![command(&["echo", ""])]),
        (b"echo a\"b c\" d\n", vec![command(&["echo", "ab c", "d"])]),
        (b" \t \r\n", vec![]),
        (b"*1\r\n$0\r\n\r\n", vec![command(&[""])]),
    ];
    for (stream, expected) in cases {
        assert_eq!(feed([stream]), expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn a_bulk_above_the_limit_is_not_buffered() {
    let mut stream = b"*2\r\n$3\r\nGET\r\n$1000000\r\n".to_vec();
    stream.resize(stream.len() + 1_000_002, b'x');
    stream.extend_from_slice(b"PING\r\n");
    let too_large = TooLarge::Argument {
        size: 1_000_000,
        limit: 16,
    };
    let expected = vec![Seen::TooLarge(too_large), command(&["PING"])];
    assert_eq!(feed(stream.chunks(1_000)), expected);
}

#[test]
fn any_bytes_read_the_same_however_they_are_cut() {
    arbtest::arbtest(|u| {
        let pieces: [&[u8]; 12] = [
            b"*", b"$", b"\r\n", b"1", b"3", b"-", b"GET", b"\"", b"'", b"\\x4", b" ", b"\0\xff",
        ];
        let mut stream = Vec::new();
        for _ in 0..u.int_in_range(0..=40)? {
            stream.extend_from_slice(u.choose(&pieces)?);
        }
        let whole = feed([&stream[..]]);
        let cut = u.int_in_range(1..=7)?;
        assert_eq!(feed(stream.chunks(cut)), whole);
        Ok(())
    });
    arbtest::arbtest(|u| {
        let stream: Vec<u8> = u.arbitrary()?;
        assert_eq!(feed(stream.chunks(1)), feed([&stream[..]]));
        Ok(())
    });
}

#[test]
fn integers_are_read_strictly() {
    let cases: [(&str, Option<i64>); 12] = [
        ("0", Some(0)),
        ("-0", None),
        ("007", None),
        ("+1", None),
        (" 1", None),
        ("", None),
        ("-", None),
        ("1a", None),
        ("-12", Some(-12)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("-9223372036854775808", Some(i64::MIN)),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_int(text.as_bytes()), expected, "{text:?}");
    }
}
