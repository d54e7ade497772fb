//! Encodings: their order, and what does not decode.

use std::fmt::Debug;

use arbtest::arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{Error, Key, Part, key, value};

/// Keys of any kind come back, and their encodings are in their order.
fn keeps_order<K: Key + Ord + Debug + for<'a> Arbitrary<'a>>() {
    arbtest::arbtest(|u: &mut Unstructured<'_>| {
        let (a, b): (K, K) = (u.arbitrary()?, u.arbitrary()?);
        let (left, right) = (key::encode(&a), key::encode(&b));
        assert_eq!(left.cmp(&right), a.cmp(&b), "{a:?} {b:?}");
        assert_eq!(K::decode(&left), Some(a));
        if let Some(width) = K::WIDTH {
            assert_eq!(left.len(), width);
        }
        Ok(())
    })
    .budget_ms(200);
}

#[test]
fn encodings_are_in_the_order_of_the_keys() {
    keeps_order::<u8>();
    keeps_order::<i16>();
    keeps_order::<u32>();
    keeps_order::<i64>();
    keeps_order::<i128>();
    keeps_order::<String>();
    keeps_order::<Vec<u8>>();
    keeps_order::<[u8; 3]>();
    keeps_order::<(i8, u64)>();
    keeps_order::<(String, i32)>();
    keeps_order::<(Vec<u8>, Vec<u8>)>();
    keeps_order::<((Vec<u8>, u8), String)>();
}

#[test]
fn the_edges_of_integers_and_zeros_in_pairs_are_in_order() {
    let ascending = [i64::MIN, -256, -1, 0, 1, 255, i64::MAX].map(|key| key::encode(&key));
    assert!(ascending.is_sorted());
    assert_eq!(ascending[3][..], [0x80, 0, 0, 0, 0, 0, 0, 0]);
    let pairs: [(&[u8], u8); 6] = [
        (b"", 9),
        (b"\0", 0),
        (b"\0\xff", 0),
        (b"a", 9),
        (b"a\0", 0),
        (b"a\x01", 0),
    ];
    let encoded = pairs.map(|(first, second)| key::encode(&(first.to_vec(), second)));
    assert!(encoded.is_sorted(), "{encoded:?}");
}

#[test]
fn what_is_no_key_is_told_with_its_bytes() {
    fn fails<K: Key + Debug>(bytes: &'static [u8]) {
        let error = key::decode::<K>(&Bytes::from_static(bytes)).unwrap_err();
        assert_eq!((&error.key[..], error.part), (bytes, Part::Key));
    }
    fails::<u32>(b"abc");
    fails::<i8>(b"");
    fails::<String>(b"\xff");
    fails::<[u8; 2]>(b"abc");
    fails::<(String, u8)>(b"no end");
    fails::<(String, u8)>(b"a\0\x01b");
    fails::<(String, u8)>(b"a\0\0");
    fails::<(u16, u8)>(b"a");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New {
    #[serde(default)]
    age: u8,
    name: String,
}

fn read<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, String> {
    let key = Bytes::from_static(b"k");
    value::decode(&key, bytes).map_err(|error| {
        assert_eq!((error.key, error.part), (key, Part::Value));
        error.why
    })
}

#[test]
fn fields_have_names_so_that_types_may_grow() {
    let name = || "ada".to_owned();
    let old = value::encode(&Old { name: name() }).unwrap();
    assert_eq!(old, &b"\x81\xa4name\xa3ada"[..]);
    let (age, name_of_new) = (0, name());
    let new = New {
        age,
        name: name_of_new,
    };
    assert_eq!(read(&old), Ok(new));
    let new = value::encode(&New {
        age: 7,
        name: name(),
    });
    assert_eq!(read(&new.unwrap()), Ok(Old { name: name() }));
}

#[test]
fn a_value_of_another_type_is_told_and_so_is_one_that_goes_on() {
    assert!(read::<Old>(b"\x07").is_err());
    assert!(read::<Old>(b"\x81\xa4name\xa3a").is_err());
    // `hello` begins with the integer 104.
    let text = read::<u8>(b"hello").unwrap_err();
    assert_eq!(text, "4 bytes follow the value");
    assert_eq!(read::<Option<u8>>(b"\xc0"), Ok(None));
    let hostile = [0x91; 100_000];
    assert!(read::<serde::de::IgnoredAny>(&hostile).is_err());
}

struct Never;

impl Serialize for Never {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("it never does"))
    }
}

#[test]
fn a_value_that_does_not_encode_says_why() {
    let error = value::encode(&Never).unwrap_err();
    assert!(matches!(&error, Error::Encode { why } if why == "it never does"));
}
