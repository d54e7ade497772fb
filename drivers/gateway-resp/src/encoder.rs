//! Replies as bytes, in both versions of the protocol.

/// The version a client has chosen with `HELLO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RESP2, until said otherwise.
    Two,
    /// RESP3: maps, sets, nulls and pushes have types of their own.
    Three,
}

/// Appends replies to a buffer.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Encoder<'a> {
    /// An encoder for this version of the protocol.
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> Self {
        Encoder { out, version }
    }

    fn head(&mut self, kind: u8, number: i64) {
        self.out.push(kind);
        self.number(number);
        self.out.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, number: i64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            self.out.push(b'-');
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    /// A status.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error; line ends in it become blanks.
    pub fn error(&mut self, text: &str) {
        self.out.push(b'-');
        self.out.extend(
            text.bytes()
                .map(|byte| if byte < b' ' { b' ' } else { byte }),
        );
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.head(b':', number);
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// No value.
    pub fn null(&mut self) {
        match self.version {
            Version::Two => self.out.extend_from_slice(b"$-1\r\n"),
            Version::Three => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// A bulk string or no value.
    pub fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// The head of an array of `len` replies.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len as i64);
    }

    /// The head of a map of `pairs` pairs of replies.
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Two => self.array(2 * pairs),
            Version::Three => self.head(b'%', pairs as i64),
        }
    }

    /// The head of a push of `len` replies.
    pub fn push(&mut self, len: usize) {
        match self.version {
            Version::Two => self.array(len),
            Version::Three => self.head(b'>', len as i64),
        }
    }

    /// A long text for people.
    pub fn verbatim(&mut self, text: &str) {
        match self.version {
            Version::Two => self.bulk(text.as_bytes()),
            Version::Three => {
                self.head(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }
}
