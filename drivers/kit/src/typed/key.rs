//! Keys as bytes in their own order.

use bytes::Bytes;

use super::{Part, Undecodable};

/// Ends a key of any length that stands before another one.
const END: [u8; 2] = [0, 0];

/// Follows a zero byte that is part of such a key, so that it does not end there.
const GOES_ON: u8 = 0xff;

/// How a key is written. Encodings have to be in the order of the keys, byte by byte, and different for different keys. What a key is
/// [borrowed](std::borrow::Borrow) as, such as `str` for `String`, has the same encoding. The empty one is refused by the node.
///
/// ```
/// use rumormill_kit::typed::{EncodeKey, Key};
///
/// #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
/// struct Level(i32);
///
/// impl EncodeKey for Level {
///     const WIDTH: Option<usize> = i32::WIDTH;
///     fn encode(&self, out: &mut Vec<u8>) {
///         self.0.encode(out);
///     }
/// }
///
/// impl Key for Level {
///     fn decode(bytes: &[u8]) -> Option<Self> {
///         i32::decode(bytes).map(Level)
///     }
/// }
/// ```
pub trait EncodeKey {
    /// The length of every encoding in bytes, if all have the same: then no end is written where another key follows in a pair.
    const WIDTH: Option<usize> = None;

    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A key that can be read again.
pub trait Key: EncodeKey + Sized {
    /// The key of an encoding; `None` when it is the encoding of no key.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

pub(super) fn encode<K: EncodeKey + ?Sized>(key: &K) -> Bytes {
    let mut out = Vec::new();
    key.encode(&mut out);
    out.into()
}

/// Writes the bytes that the encodings of all pairs with this first key begin with, and no others.
pub(super) fn encode_first<K: EncodeKey + ?Sized>(key: &K, out: &mut Vec<u8>) {
    if K::WIDTH.is_some() {
        return key.encode(out);
    }
    let mut plain = Vec::new();
    key.encode(&mut plain);
    for byte in plain {
        out.push(byte);
        if byte == 0 {
            out.push(GOES_ON);
        }
    }
    out.extend(END);
}

pub(super) fn decode<K: Key>(key: &Bytes) -> Result<K, Undecodable> {
    K::decode(key).ok_or_else(|| Undecodable {
        key: key.clone(),
        part: Part::Key,
        why: "it is no encoding of a key of this table".to_owned(),
    })
}

/// The first key of a pair, and the encoding of the second.
fn decode_first<K: Key>(bytes: &[u8]) -> Option<(K, &[u8])> {
    if let Some(width) = K::WIDTH {
        let (first, rest) = bytes.split_at_checked(width)?;
        return Some((K::decode(first)?, rest));
    }
    let (mut plain, mut rest) = (Vec::new(), bytes);
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if byte == 0 {
            let (&sign, after) = rest.split_first()?;
            rest = after;
            match sign {
                GOES_ON => {}
                0 => return Some((K::decode(&plain)?, rest)),
                _ => return None,
            }
        }
        plain.push(byte);
    }
}

/// Big-endian; of signed ones the sign is flipped, so that the negative come first.
macro_rules! integers {
    ($($unsigned:ident $signed:ident)*) => { $(
        impl EncodeKey for $unsigned {
            const WIDTH: Option<usize> = Some(size_of::<$unsigned>());

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend(self.to_be_bytes());
            }
        }

        impl Key for $unsigned {
            fn decode(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map($unsigned::from_be_bytes)
            }
        }

        impl EncodeKey for $signed {
            const WIDTH: Option<usize> = $unsigned::WIDTH;

            fn encode(&self, out: &mut Vec<u8>) {
                (self.cast_unsigned() ^ $signed::MIN.cast_unsigned()).encode(out);
            }
        }

        impl Key for $signed {
            fn decode(bytes: &[u8]) -> Option<Self> {
                let flipped = $unsigned::decode(bytes)?.cast_signed();
                Some(flipped ^ $signed::MIN)
            }
        }
    )* };
}

integers! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 }

impl EncodeKey for [u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl EncodeKey for str {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_bytes().encode(out);
    }
}

/// Implements keys that are the bytes of the type they are borrowed as.
macro_rules! bytes {
    ($($type:ident as $borrowed:ty, $decode:expr;)*) => { $(
        impl EncodeKey for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                <$borrowed>::encode(self, out);
            }
        }

        impl Key for $type {
            fn decode(bytes: &[u8]) -> Option<Self> {
                $decode(bytes)
            }
        }
    )* };
}

/// Bytes of any length.
type ByteVec = Vec<u8>;

bytes! {
    String as str, |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    ByteVec as [u8], |bytes: &[u8]| Some(bytes.to_vec());
    Bytes as [u8], |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
}

impl<const N: usize> EncodeKey for [u8; N] {
    const WIDTH: Option<usize> = Some(N);

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Key for [u8; N] {
    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

/// In the order of the first keys, and of the second where those are equal.
impl<A: EncodeKey, B: EncodeKey> EncodeKey for (A, B) {
    const WIDTH: Option<usize> = match (A::WIDTH, B::WIDTH) {
        (Some(a), Some(b)) => Some(a + b),
        _ => None,
    };

    fn encode(&self, out: &mut Vec<u8>) {
        encode_first(&self.0, out);
        self.1.encode(out);
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = decode_first(bytes)?;
        Some((first, B::decode(rest)?))
    }
}
