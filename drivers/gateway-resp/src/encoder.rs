//! Replies, written straight into a client's buffer.

use std::io::Write as _;

/// The version of the protocol that a client chose with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// RESP2.
    #[default]
    Two,
    /// RESP3.
    Three,
}

/// Appends `+text`.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text.as_bytes());
}

/// Appends `-text`; what would end the line becomes a space.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    let from = out.len();
    line(out, b'-', text);
    let end = out.len() - 2;
    for byte in &mut out[from..end] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

/// Appends an integer.
pub fn int(out: &mut Vec<u8>, value: i64) {
    match usize::try_from(value) {
        Ok(value) => header(out, b':', value),
        Err(_) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, ":{value}\r\n");
        }
    }
}

/// Appends bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 26);
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends text that is to be shown as it is.
pub fn verbatim(out: &mut Vec<u8>, proto: Proto, text: &[u8]) {
    match proto {
        Proto::Two => bulk(out, text),
        Proto::Three => {
            header(out, b'=', text.len() + 4);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends nothing, as a value.
pub fn nil(out: &mut Vec<u8>, proto: Proto) {
    out.extend_from_slice(match proto {
        Proto::Two => b"$-1\r\n",
        Proto::Three => b"_\r\n",
    });
}

/// Appends nothing, in the place of an array.
pub fn nil_array(out: &mut Vec<u8>, proto: Proto) {
    out.extend_from_slice(match proto {
        Proto::Two => b"*-1\r\n",
        Proto::Three => b"_\r\n",
    });
}

/// Begins an array of `len` values.
pub fn array(out: &mut Vec<u8>, len: usize) {
    header(out, b'*', len);
}

/// Begins a map of `len` pairs; in RESP2 an array of twice as many values.
pub fn map(out: &mut Vec<u8>, proto: Proto, len: usize) {
    match proto {
        Proto::Two => header(out, b'*', len * 2),
        Proto::Three => header(out, b'%', len),
    }
}

/// Begins a set of `len` values.
pub fn set(out: &mut Vec<u8>, proto: Proto, len: usize) {
    match proto {
        Proto::Two => header(out, b'*', len),
        Proto::Three => header(out, b'~', len),
    }
}

/// Begins a message of `len` values that answers no command.
pub fn push(out: &mut Vec<u8>, proto: Proto, len: usize) {
    match proto {
        Proto::Two => header(out, b'*', len),
        Proto::Three => header(out, b'>', len),
    }
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    if let digit @ 0..10 = number {
        out.extend_from_slice(&[kind, b'0' + digit as u8, b'\r', b'\n']);
        return;
    }
    let mut text = [0u8; 23];
    let mut at = text.len() - 2;
    text[at..].copy_from_slice(b"\r\n");
    let mut rest = number;
    while rest > 0 {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    at -= 1;
    text[at] = kind;
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_reply_has_its_form() {
        assert_eq!(text(|out| simple(out, "OK")), "+OK\r\n");
        assert_eq!(text(|out| error(out, b"ERR a\r\nb")), "-ERR a  b\r\n");
        assert_eq!(text(|out| int(out, 0)), ":0\r\n");
        assert_eq!(text(|out| int(out, i64::MAX)), ":9223372036854775807\r\n");
        assert_eq!(text(|out| int(out, i64::MIN)), ":-9223372036854775808\r\n");
        assert_eq!(
            text(|out| header(out, b'*', usize::MAX)),
            "*18446744073709551615\r\n"
        );
        assert_eq!(
            text(|out| bulk(out, b"0123456789")),
            "$10\r\n0123456789\r\n"
        );
        assert_eq!(text(|out| nil(out, Proto::Two)), "$-1\r\n");
        assert_eq!(text(|out| nil(out, Proto::Three)), "_\r\n");
        assert_eq!(text(|out| map(out, Proto::Two, 6)), "*12\r\n");
        assert_eq!(text(|out| map(out, Proto::Three, 6)), "%6\r\n");
        assert_eq!(text(|out| push(out, Proto::Three, 3)), ">3\r\n");
        assert_eq!(text(|out| set(out, Proto::Three, 3)), "~3\r\n");
    }
}
