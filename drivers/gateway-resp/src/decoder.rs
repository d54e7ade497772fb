//! Requests out of a byte stream: arrays of bulks and inline commands, resumable at any byte.

use std::fmt;

/// Longest header or inline line, in bytes, as in Redis.
const LINE_MAX: usize = 64 << 10;

/// Most arguments of one command, as in Redis.
const ARGS_MAX: i64 = 1 << 20;

/// Longest bulk that a header may announce, as in Redis (`proto-max-bulk-len`).
const BULK_MAX: i64 = 512 << 20;

/// Why a stream is no stream of requests. The client gets the text and is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The count of an array is no number or too large.
    MultibulkLength,
    /// The length of a bulk is no number or too large.
    BulkLength,
    /// Something else than a bulk where a bulk belongs.
    ExpectedBulk(u8),
    /// A header without an end.
    HeaderTooLong,
    /// An inline command without an end.
    InlineTooLong,
    /// An inline command whose quotes do not match.
    Quotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            ProtocolError::MultibulkLength => f.write_str("invalid multibulk length"),
            ProtocolError::BulkLength => f.write_str("invalid bulk length"),
            ProtocolError::ExpectedBulk(got) => {
                write!(f, "expected '$', got '{}'", char::from(*got))
            }
            ProtocolError::HeaderTooLong => f.write_str("too big mbulk count string"),
            ProtocolError::InlineTooLong => f.write_str("too big inline request"),
            ProtocolError::Quotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// The arguments of one command, borrowed from the decoder.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [(usize, usize)],
}

impl<'a> Args<'a> {
    /// How many there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none; never for a command.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, empty when there is none.
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.ranges
            .get(index)
            .map_or(&[], |(from, to)| &self.bytes[*from..*to])
    }

    /// The arguments from `index` on.
    pub fn from(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let ranges = self.ranges.get(index..).unwrap_or_default();
        ranges.iter().map(move |(from, to)| &bytes[*from..*to])
    }
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A command, to be read with [`Decoder::args`].
    Command,
    /// A command with a bulk of this many bytes, beyond the limit. The bulk was skipped; the other arguments are there.
    Oversize(usize),
    /// The stream ends within a command.
    Incomplete,
}

/// The decoder of one client. Owns no memory while the client is idle. Linear in the bytes, however they are cut.
pub struct Decoder {
    buf: Vec<u8>,
    /// Where parsing goes on.
    at: usize,
    /// How far a line end was looked for.
    scanned: usize,
    /// Arguments of the present array still to come; `None` between commands.
    missing: Option<i64>,
    /// The length of the bulk at hand.
    bulk: Option<usize>,
    /// Bytes of the bulk at hand to throw away.
    skip: Option<usize>,
    oversize: Option<usize>,
    ranges: Vec<(usize, usize)>,
    /// Arguments of an inline command, unquoted.
    inline: Vec<u8>,
    is_inline: bool,
    bulk_limit: usize,
    /// Bytes that all arguments of one command may have.
    command_limit: usize,
}

impl Decoder {
    /// A decoder that skips bulks of more than `bulk_limit` bytes.
    pub fn new(bulk_limit: usize) -> Self {
        Decoder {
            buf: Vec::new(),
            at: 0,
            scanned: 0,
            missing: None,
            bulk: None,
            skip: None,
            oversize: None,
            ranges: Vec::new(),
            inline: Vec::new(),
            is_inline: false,
            bulk_limit,
            command_limit: bulk_limit.saturating_mul(2).max(64 << 20),
        }
    }

    /// Takes in a piece of the stream.
    pub fn feed(&mut self, input: &[u8]) {
        let mut skipped = 0;
        if let Some(left) = self.skip.as_mut().filter(|_| self.buf.len() == self.at) {
            skipped = (*left).min(input.len());
            *left -= skipped;
        }
        self.buf.extend_from_slice(&input[skipped..]);
    }

    /// The arguments of the command that [`Decoder::decode`] found.
    pub fn args(&self) -> Args<'_> {
        let bytes = if self.is_inline {
            &self.inline
        } else {
            &self.buf
        };
        Args {
            bytes,
            ranges: &self.ranges,
        }
    }

    /// Gives back the memory of commands that are done. Call it when the input is used up.
    pub fn compact(&mut self) {
        let done = if self.missing.is_none() { self.at } else { 0 };
        if done == self.buf.len() {
            self.buf = Vec::new();
        } else {
            self.buf.drain(..done);
        }
        if self.missing.is_none() {
            self.inline = Vec::new();
            self.ranges.clear();
        }
        self.at -= done;
        self.scanned = self.scanned.saturating_sub(done);
    }

    /// Looks for the next command.
    ///
    /// # Errors
    /// [`ProtocolError`]; nothing more can be decoded.
    pub fn decode(&mut self) -> Result<Decoded, ProtocolError> {
        loop {
            if self.missing.is_none() {
                self.ranges.clear();
                self.oversize = None;
                self.is_inline = false;
                let Some(first) = self.buf.get(self.at) else {
                    return Ok(Decoded::Incomplete);
                };
                if *first != b'*' {
                    match self.decode_inline()? {
                        Some(true) => return Ok(Decoded::Command),
                        Some(false) => continue,
                        None => return Ok(Decoded::Incomplete),
                    }
                }
                let Some(line) = self.line(ProtocolError::HeaderTooLong)? else {
                    return Ok(Decoded::Incomplete);
                };
                let count =
                    parse_int(&self.buf[line.0 + 1..line.1]).filter(|count| *count <= ARGS_MAX);
                let count = count.ok_or(ProtocolError::MultibulkLength)?;
                if count <= 0 {
                    continue;
                }
                self.missing = Some(count);
            }
            if !self.decode_bulks()? {
                return Ok(Decoded::Incomplete);
            }
            self.missing = None;
            return Ok(self.oversize.map_or(Decoded::Command, Decoded::Oversize));
        }
    }

    /// The next line, without its end; `None` when its end has not arrived.
    fn line(&mut self, too_long: ProtocolError) -> Result<Option<(usize, usize)>, ProtocolError> {
        let from = self.scanned.max(self.at);
        let Some(found) = self.buf[from..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buf.len();
            return if self.buf.len() - self.at > LINE_MAX {
                Err(too_long)
            } else {
                Ok(None)
            };
        };
        let end = from + found;
        let start = self.at;
        self.at = end + 1;
        let text_end = if end > start && self.buf[end - 1] == b'\r' {
            end - 1
        } else {
            end
        };
        if text_end - start > LINE_MAX {
            Err(too_long)
        } else {
            Ok(Some((start, text_end)))
        }
    }

    /// Whether all bulks of the present array are there.
    fn decode_bulks(&mut self) -> Result<bool, ProtocolError> {
        while self.missing.is_some_and(|missing| missing > 0) {
            if let Some(left) = self.skip {
                let here = left.min(self.buf.len() - self.at);
                self.buf.drain(self.at..self.at + here);
                if left > here {
                    self.skip = Some(left - here);
                    return Ok(false);
                }
                self.skip = None;
                self.argument((self.at, self.at));
                continue;
            }
            let Some(len) = self.bulk else {
                if !self.decode_header()? {
                    return Ok(false);
                }
                continue;
            };
            if self.buf.len() - self.at < len + 2 {
                return Ok(false);
            }
            self.argument((self.at, self.at + len));
            self.at += len + 2;
            self.bulk = None;
        }
        Ok(true)
    }

    fn decode_header(&mut self) -> Result<bool, ProtocolError> {
        match self.buf.get(self.at) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedBulk(*other)),
        }
        let Some((start, end)) = self.line(ProtocolError::BulkLength)? else {
            return Ok(false);
        };
        let len = parse_int(&self.buf[start + 1..end]).filter(|len| (0..=BULK_MAX).contains(len));
        let len = len.ok_or(ProtocolError::BulkLength)? as usize;
        let used: usize = self.ranges.iter().rev().take(1).map(|range| range.1).sum();
        if len > self.bulk_limit || used + len > self.command_limit {
            self.oversize = Some(len.max(self.oversize.unwrap_or(0)));
            self.skip = Some(len + 2);
        } else {
            self.bulk = Some(len);
        }
        Ok(true)
    }

    fn argument(&mut self, range: (usize, usize)) {
        self.ranges.push(range);
        self.missing = self.missing.map(|missing| missing - 1);
    }

    /// Whether the line had a command; `None` when it has not arrived whole.
    fn decode_inline(&mut self) -> Result<Option<bool>, ProtocolError> {
        let Some((start, end)) = self.line(ProtocolError::InlineTooLong)? else {
            return Ok(None);
        };
        self.inline.clear();
        self.is_inline = true;
        split_quoted(&self.buf[start..end], &mut self.inline, &mut self.ranges)?;
        Ok(Some(!self.ranges.is_empty()))
    }
}

/// Splits a line as a shell would: `"..."` with escapes, `'...'` without.
fn split_quoted(
    line: &[u8],
    out: &mut Vec<u8>,
    ranges: &mut Vec<(usize, usize)>,
) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        let blank = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        rest = &rest[blank..];
        if rest.is_empty() {
            return Ok(());
        }
        let from = out.len();
        while let Some((&byte, tail)) = rest.split_first() {
            if byte.is_ascii_whitespace() || byte == 0 {
                break;
            }
            rest = match byte {
                b'"' | b'\'' => unquote(byte, tail, out)?,
                _ => {
                    out.push(byte);
                    tail
                }
            };
        }
        ranges.push((from, out.len()));
        if rest.first() == Some(&0) {
            return Ok(());
        }
    }
}

/// Copies up to the closing quote, after which a blank or the end must come.
fn unquote<'a>(
    quote: u8,
    mut rest: &'a [u8],
    out: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [b'\\', b'x', high, low, tail @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(high) << 4 | digit(low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] if quote == b'"' => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => {
                out.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] if *byte == quote => {
                let closed = tail.first().is_none_or(|next| next.is_ascii_whitespace());
                return if closed {
                    Ok(tail)
                } else {
                    Err(ProtocolError::Quotes)
                };
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
            [] => return Err(ProtocolError::Quotes),
        }
    }
}

/// A decimal integer as Redis reads it: an optional minus, digits, nothing else, no leading zeros.
pub(crate) fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 || (digits[0] == b'0' && text.len() > 1) {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(digit)?
        } else {
            value.checked_add(digit)?
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Commands = Vec<Result<Vec<Vec<u8>>, String>>;

    fn decode_pieces(pieces: &[&[u8]], limit: usize) -> Commands {
        let mut decoder = Decoder::new(limit);
        let mut out = Vec::new();
        for piece in pieces {
            decoder.feed(piece);
            loop {
                match decoder.decode() {
                    Ok(Decoded::Command) => {
                        out.push(Ok(decoder.args().from(0).map(<[u8]>::to_vec).collect()));
                    }
                    Ok(Decoded::Oversize(len)) => out.push(Err(format!("oversize {len}"))),
                    Ok(Decoded::Incomplete) => break,
                    Err(error) => {
                        out.push(Err(error.to_string()));
                        return out;
                    }
                }
            }
            decoder.compact();
        }
        out
    }

    const STREAMS: &[(&[u8], usize)] = &[
        (
            b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n",
            100,
        ),
        (
            b"PING\r\n  set \"a b\\x41\\n\" 'c\\'d'\r\n\r\n*0\r\n*-1\r\nGET x\n",
            100,
        ),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\nQUIT\r\n", 100),
        (
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello world!\r\n*1\r\n$4\r\nPING\r\n",
            10,
        ),
        (b"*1\r\n:4\r\n", 100),
        (b"*x\r\n", 100),
        (b"*2\r\n$3\r\nGET\r\n$-1\r\n", 100),
        (b"*1\r\n$629145600\r\n", 100),
        (b"set \"unbalanced\r\n", 100),
    ];

    #[test]
    fn every_split_of_a_stream_gives_the_same_commands() {
        for (stream, limit) in STREAMS {
            let whole = decode_pieces(&[stream], *limit);
            assert!(!whole.is_empty());
            for cut in 0..=stream.len() {
                let (a, b) = stream.split_at(cut);
                assert_eq!(
                    decode_pieces(&[a, b], *limit),
                    whole,
                    "cut at {cut} of {stream:?}"
                );
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(decode_pieces(&bytes, *limit), whole);
        }
    }

    #[test]
    fn streams_mean_what_redis_says() {
        let text = |stream: usize| decode_pieces(&[STREAMS[stream].0], STREAMS[stream].1);
        assert_eq!(
            text(1)[1],
            Ok(vec![b"set".to_vec(), b"a bA\n".to_vec(), b"c'd".to_vec()])
        );
        assert_eq!(text(3)[0], Err("oversize 12".into()));
        assert_eq!(text(3)[1], Ok(vec![b"PING".to_vec()]));
        let errors = [
            (4, "expected '$', got ':'"),
            (5, "invalid multibulk length"),
            (6, "invalid bulk length"),
            (7, "invalid bulk length"),
            (8, "unbalanced quotes in request"),
        ];
        for (stream, error) in errors {
            assert_eq!(
                text(stream).last(),
                Some(&Err(format!("Protocol error: {error}")))
            );
        }
        let long = vec![b'x'; LINE_MAX + 2];
        assert_eq!(
            decode_pieces(&[&long], 10),
            [Err("Protocol error: too big inline request".into())]
        );
    }

    #[test]
    fn an_oversize_bulk_is_not_buffered() {
        let mut decoder = Decoder::new(1_000);
        decoder.feed(b"*2\r\n$3\r\nGET\r\n$100000000\r\n");
        assert_eq!(decoder.decode(), Ok(Decoded::Incomplete));
        for _ in 0..1_000 {
            decoder.feed(&[b'x'; 100_000]);
            assert_eq!(decoder.decode(), Ok(Decoded::Incomplete));
            assert!(decoder.buf.len() < 1_000);
        }
        decoder.feed(b"\r\n");
        assert_eq!(decoder.decode(), Ok(Decoded::Oversize(100_000_000)));
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        arbtest::arbtest(|u| {
            let mut stream = Vec::new();
            for _ in 0..u.int_in_range(0..=6)? {
                let pieces: [&[u8]; 7] = [
                    b"*2\r\n",
                    b"$3\r\n",
                    b"GET",
                    b"\r\n",
                    b"\"",
                    b"*",
                    b"$99999\r\n",
                ];
                stream.extend_from_slice(u.choose(&pieces)?);
                stream.extend_from_slice(&u.arbitrary::<[u8; 3]>()?);
            }
            let cut = u.int_in_range(0..=stream.len())?;
            let (a, b) = stream.split_at(cut);
            assert_eq!(decode_pieces(&[a, b], 50), decode_pieces(&[&stream], 50));
            Ok(())
        });
    }
}
