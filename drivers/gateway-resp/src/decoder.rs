//! Requests out of a stream that is cut anywhere: arrays of bulks, and inline commands.

/// Longest inline command or length line, in bytes.
pub const LINE_BYTES: usize = 64 << 10;
/// Most arguments of one command.
pub const MAX_ARGS: i64 = 1 << 20;
/// Longest bulk that a header may announce, in bytes; beyond it the client is closed.
pub const MAX_BULK: i64 = 512 << 20;

/// The kept parts of a command. A longer one is skipped without being buffered, and only that command fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Longest single argument, in bytes.
    pub argument: usize,
    /// Longest sum of all arguments of one command, in bytes; below 4 GiB.
    pub command: usize,
}

/// The outcome of [`Decoder::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A command with one argument or more: [`Decoder::args`].
    Command,
    /// A command that was skipped because it exceeds the caps.
    TooLarge(TooLarge),
    /// More bytes are needed.
    Incomplete,
    /// The stream is broken: answer, then close.
    Broken(ProtocolError),
}

/// Which cap a skipped command exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// One argument is too long.
    #[error("an argument has {size} bytes, the limit is {limit}")]
    Argument {
        /// Its length in bytes.
        size: usize,
        /// The cap in bytes.
        limit: usize,
    },
    /// All arguments together are too long.
    #[error("the arguments together have more bytes than the limit of {limit}")]
    Command {
        /// The cap in bytes.
        limit: usize,
    },
}

/// Why a stream cannot be read on. Prints as Redis words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A bulk began with something else.
    ExpectedBulk(u8),
    /// The number of arguments is none or above [`MAX_ARGS`].
    ArgumentCount,
    /// The length of a bulk is none, negative or above [`MAX_BULK`].
    BulkLength,
    /// An inline command ends inside quotes, or something follows a closing quote.
    Quotes,
    /// An inline command is longer than [`LINE_BYTES`].
    LongInline,
    /// The number of arguments is longer than [`LINE_BYTES`].
    LongCount,
    /// The length of a bulk is longer than [`LINE_BYTES`].
    LongLength,
}

impl ProtocolError {
    /// Appends the text, which may hold any byte that the client sent.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let text: &[u8] = match self {
            ProtocolError::ExpectedBulk(got) => {
                out.extend_from_slice(b"expected '$', got '");
                out.push(if matches!(got, b'\r' | b'\n') {
                    b' '
                } else {
                    got
                });
                b"'"
            }
            ProtocolError::ArgumentCount => b"invalid multibulk length",
            ProtocolError::BulkLength => b"invalid bulk length",
            ProtocolError::Quotes => b"unbalanced quotes in request",
            ProtocolError::LongInline => b"too big inline request",
            ProtocolError::LongCount => b"too big mbulk count string",
            ProtocolError::LongLength => b"too big bulk count string",
        };
        out.extend_from_slice(text);
    }
}

/// The arguments of a command, the name first; borrowed from the stream.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    data: &'a [u8],
    ranges: &'a [(u32, u32)],
}

impl<'a> Args<'a> {
    /// How many there are, the name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// One argument; empty beyond the last.
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.ranges
            .get(index)
            .map_or(&[], |range| self.slice(range))
    }

    /// The arguments from `index` on.
    pub fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let this = *self;
        let rest = self.ranges.get(index..).unwrap_or(&[]);
        rest.iter().map(move |range| this.slice(range))
    }

    /// A copy that outlives the stream.
    pub fn to_words(&self) -> Words {
        let (mut data, mut ranges) = (Vec::new(), Vec::with_capacity(self.len()));
        for word in self.from(0) {
            let from = data.len() as u32;
            data.extend_from_slice(word);
            ranges.push((from, data.len() as u32));
        }
        Words { data, ranges }
    }

    fn slice(&self, &(from, to): &(u32, u32)) -> &'a [u8] {
        self.data.get(from as usize..to as usize).unwrap_or(&[])
    }
}

/// The arguments of a command, owned.
#[derive(Clone, Debug, Default)]
pub struct Words {
    data: Vec<u8>,
    ranges: Vec<(u32, u32)>,
}

impl Words {
    /// The arguments.
    pub fn args(&self) -> Args<'_> {
        Args {
            data: &self.data,
            ranges: &self.ranges,
        }
    }

    /// Bytes of memory that they take.
    pub fn footprint(&self) -> usize {
        self.data.capacity() + 8 * self.ranges.capacity()
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Inline,
    Count,
    Length,
    Body(usize),
    Skip(usize),
    /// The command is carried out in pieces.
    Kept,
    Done,
}

/// The decoder of one client. It owns no stream: the caller keeps the bytes from [`Decoder::used`] on, tells
/// [`Decoder::rebase`], and shows them again with more behind them. Every byte is looked at once.
#[derive(Debug)]
pub struct Decoder {
    caps: Caps,
    state: State,
    /// Where the command at hand begins; arguments are counted from here.
    start: usize,
    /// The end of the bytes read.
    pos: usize,
    /// Where the search for the end of a line goes on.
    searched: usize,
    left: usize,
    bytes: usize,
    args: Vec<(u32, u32)>,
    /// An inline command without its quotes.
    inline: Vec<u8>,
    is_inline: bool,
    too_large: Option<TooLarge>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub const fn new(caps: Caps) -> Self {
        Decoder {
            caps,
            state: State::Start,
            start: 0,
            pos: 0,
            searched: 0,
            left: 0,
            bytes: 0,
            args: Vec::new(),
            inline: Vec::new(),
            is_inline: false,
            too_large: None,
        }
    }

    /// Other caps hold from the next argument on.
    pub fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// The arguments of the command that [`Decoder::next`] just found in `window`.
    pub fn args<'a>(&'a self, window: &'a [u8]) -> Args<'a> {
        let data = if self.is_inline {
            &self.inline
        } else {
            window.get(self.start..).unwrap_or(&[])
        };
        Args {
            data,
            ranges: &self.args,
        }
    }

    /// How many bytes at the front of the window are not needed any more.
    pub fn used(&self) -> usize {
        match self.state {
            State::Done | State::Start => self.pos,
            _ => self.start,
        }
    }

    /// The command that [`Decoder::next`] just found was not carried out: its bytes are still needed, and it is found again.
    pub fn put_back(&mut self) {
        self.pos = self.start;
        self.begin();
    }

    /// The command that [`Decoder::next`] just found is carried out in pieces: its bytes are needed, and [`Decoder::args`] shows
    /// its arguments, until [`Decoder::done`].
    pub fn keep(&mut self) {
        self.state = State::Kept;
    }

    /// The command that was kept is carried out.
    pub fn done(&mut self) {
        self.state = State::Done;
    }

    /// The caller dropped the [used](Decoder::used) bytes; the arguments of a finished command are gone with them.
    pub fn rebase(&mut self) {
        let used = self.used();
        if matches!(self.state, State::Done) {
            self.begin();
        }
        self.pos -= used;
        self.start = 0;
        self.searched = self.searched.saturating_sub(used);
    }

    /// Gives back memory that a large command needed.
    pub fn shrink(&mut self) {
        self.args.shrink_to(64);
        self.inline.shrink_to(0);
    }

    /// Bytes of memory that it takes.
    pub fn footprint(&self) -> usize {
        self.inline.capacity() + size_of::<(u32, u32)>() * self.args.capacity()
    }

    /// Looks for the next command in `window`.
    pub fn next(&mut self, window: &[u8]) -> Decoded {
        match self.advance(window) {
            Ok(decoded) => decoded,
            Err(error) => Decoded::Broken(error),
        }
    }

    fn begin(&mut self) {
        self.state = State::Start;
        self.start = self.pos;
        self.searched = self.pos;
        self.bytes = 0;
        self.is_inline = false;
        self.args.clear();
    }

    fn advance(&mut self, window: &[u8]) -> Result<Decoded, ProtocolError> {
        if matches!(self.state, State::Done) {
            self.begin();
        }
        loop {
            match self.state {
                State::Start => {
                    let Some(&first) = window.get(self.pos) else {
                        return Ok(Decoded::Incomplete);
                    };
                    self.start = self.pos;
                    self.searched = self.pos;
                    self.state = if first == b'*' {
                        State::Count
                    } else {
                        State::Inline
                    };
                }
                State::Inline => {
                    let Some(line) = self.line(window, b'\n', ProtocolError::LongInline)? else {
                        return Ok(Decoded::Incomplete);
                    };
                    self.split(line)?;
                    if !self.args.is_empty() {
                        self.state = State::Done;
                        return Ok(Decoded::Command);
                    }
                    self.begin();
                }
                State::Count => {
                    if !self.count(window)? {
                        return Ok(Decoded::Incomplete);
                    }
                }
                State::Length => {
                    if !self.length(window)? {
                        return Ok(Decoded::Incomplete);
                    }
                }
                State::Body(length) => {
                    if window.len() < self.pos + length + 2 {
                        return Ok(Decoded::Incomplete);
                    }
                    let from = self.pos - self.start;
                    // The caps keep a command far below 4 GiB.
                    self.args.push((from as u32, (from + length) as u32));
                    self.pos += length + 2;
                    if let Some(decoded) = self.argument_done() {
                        return Ok(decoded);
                    }
                }
                State::Skip(length) => {
                    let here = length.min(window.len().saturating_sub(self.pos));
                    self.pos += here;
                    self.start = self.pos;
                    self.searched = self.pos;
                    if here < length {
                        self.state = State::Skip(length - here);
                        return Ok(Decoded::Incomplete);
                    }
                    if let Some(decoded) = self.argument_done() {
                        return Ok(decoded);
                    }
                }
                State::Kept => return Ok(Decoded::Incomplete),
                State::Done => self.begin(),
            }
        }
    }

    /// Reads how many arguments follow; false when the line has not arrived whole.
    fn count(&mut self, window: &[u8]) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(window, b'\r', ProtocolError::LongCount)? else {
            return Ok(false);
        };
        match parse_int(line.get(1..).unwrap_or(&[])) {
            Some(count) if count > MAX_ARGS => return Err(ProtocolError::ArgumentCount),
            Some(count) if count > 0 => {
                self.left = count as usize;
                self.state = State::Length;
            }
            Some(_) => self.begin(),
            None => return Err(ProtocolError::ArgumentCount),
        }
        Ok(true)
    }

    /// Reads how long the next argument is; false when the line has not arrived whole.
    fn length(&mut self, window: &[u8]) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(window, b'\r', ProtocolError::LongLength)? else {
            return Ok(false);
        };
        let first = line.first().copied().unwrap_or(b'\r');
        if first != b'$' {
            return Err(ProtocolError::ExpectedBulk(first));
        }
        match parse_int(&line[1..]) {
            Some(length) if (0..=MAX_BULK).contains(&length) => self.announced(length as usize),
            _ => return Err(ProtocolError::BulkLength),
        }
        Ok(true)
    }

    /// A bulk of `length` bytes follows.
    fn announced(&mut self, length: usize) {
        self.bytes += length;
        if self.too_large.is_none() {
            if length > self.caps.argument {
                let (size, limit) = (length, self.caps.argument);
                self.too_large = Some(TooLarge::Argument { size, limit });
            } else if self.bytes > self.caps.command {
                let limit = self.caps.command;
                self.too_large = Some(TooLarge::Command { limit });
            }
        }
        self.state = if self.too_large.is_some() {
            self.args.clear();
            State::Skip(length + 2)
        } else {
            State::Body(length)
        };
    }

    fn argument_done(&mut self) -> Option<Decoded> {
        self.left -= 1;
        if self.left > 0 {
            self.state = State::Length;
            self.searched = self.pos;
            return None;
        }
        self.state = State::Done;
        Some(match self.too_large.take() {
            Some(too_large) => Decoded::TooLarge(too_large),
            None => Decoded::Command,
        })
    }

    /// The line from [`Decoder::pos`] on without its end. After a carriage return one byte is taken as the line feed,
    /// whatever it is, as Redis does.
    fn line<'a>(
        &mut self,
        window: &'a [u8],
        end: u8,
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let rest = window.get(self.searched..).unwrap_or(&[]);
        let room = LINE_BYTES.saturating_sub(self.searched - self.pos) + 1;
        let found = rest.iter().take(room).position(|&byte| byte == end);
        let Some(found) = found else {
            if rest.len() >= room {
                return Err(too_long);
            }
            self.searched = window.len();
            return Ok(None);
        };
        let at = self.searched + found;
        let after = if end == b'\r' { at + 2 } else { at + 1 };
        if after > window.len() {
            self.searched = at;
            return Ok(None);
        }
        let line = &window[self.pos..at];
        self.pos = after;
        self.searched = after;
        Ok(Some(line))
    }

    fn split(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        self.is_inline = true;
        self.args.clear();
        self.inline.clear();
        let mut rest = line;
        while let Some(tail) = skip_space(rest) {
            let from = self.inline.len();
            rest = unquote(tail, &mut self.inline).ok_or(ProtocolError::Quotes)?;
            self.args.push((from as u32, self.inline.len() as u32));
        }
        Ok(())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn skip_space(line: &[u8]) -> Option<&[u8]> {
    let from = line.iter().position(|&byte| !is_space(byte))?;
    line.get(from..)
}

/// Appends the first word of `line`, which does not begin with a space, and returns what follows it.
fn unquote<'a>(line: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = quoted(line, at + 1, byte, out)?;
                return match line.get(at) {
                    Some(&next) if !is_space(next) => None,
                    _ => line.get(at..),
                };
            }
            _ if is_space(byte) => break,
            _ => out.push(byte),
        }
        at += 1;
    }
    line.get(at..)
}

/// Appends what stands in quotes from `at` on; the place after the closing quote, `None` if there is none.
fn quoted(line: &[u8], mut at: usize, quote: u8, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        let byte = *line.get(at)?;
        at += 1;
        if byte == quote {
            return Some(at);
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        if quote == b'\'' {
            if line.get(at) == Some(&b'\'') {
                out.push(b'\'');
                at += 1;
            } else {
                out.push(b'\\');
            }
            continue;
        }
        let hex = |byte: Option<&u8>| byte.and_then(|&byte| (byte as char).to_digit(16));
        if line.get(at) == Some(&b'x')
            && let (Some(high), Some(low)) = (hex(line.get(at + 1)), hex(line.get(at + 2)))
        {
            out.push((high * 16 + low) as u8);
            at += 3;
            continue;
        }
        out.push(match *line.get(at)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'a' => 7,
            other => other,
        });
        at += 1;
    }
}

/// A decimal integer as Redis reads one: an optional minus, no plus, no leading zero, no space.
pub fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    digits.iter().try_fold(0i64, |sum, &digit| {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        let sum = sum.checked_mul(10)?;
        if negative {
            sum.checked_sub(digit)
        } else {
            sum.checked_add(digit)
        }
    })
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
