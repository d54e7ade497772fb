//! Lines of JSON: rows, and the lines before and after the rows of a table. Bytes are text where they are UTF-8, and else
//! `{"base64":"..."}`. Anything more is refused, since it would be lost.

use std::fmt;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::{Begin, Content, End, FileRow, Line, Reason};
use crate::cli::{self, Conflict, Durability};

/// The name and the version of the form.
const FORMAT: &str = "rumormill";
const VERSION: u64 = 1;

/// So much of an unknown field's name is shown, in characters.
const SHOWN: usize = 40;
const BYTES: &str = "text or {\"base64\":\"...\"}";
/// Siblings of a row at most: as many as a setting of the cluster may allow.
const MAX_SIBLINGS: usize = 1_024;

/// Reads a line.
///
/// # Errors
/// Why the line is refused.
pub(super) fn line(line: &[u8]) -> Result<Line, Reason> {
    let fields: Fields = serde_json::from_slice(line).map_err(|error| {
        if !error.is_data() {
            return Reason::from("not JSON");
        }
        let text = error.to_string();
        match text.rsplit_once(" at line ") {
            // The place is within the line, and the same fault is one reason wherever it stands.
            Some((why, _)) if !why.starts_with("invalid ") => why.to_string().into(),
            _ => format!("a row is an object of key and value, each {BYTES}").into(),
        }
    })?;
    match (&fields.format, &fields.end) {
        (Some(_), _) => Ok(Line::Begin(fields.begin())),
        (None, Some(_)) => fields.end().map(Line::End),
        (None, None) => fields.row().map(Line::Row),
    }
}

/// Writes a row as a line, its end included. The siblings of a key are in the order of their bytes.
///
/// # Errors
/// The output's.
pub(crate) fn write_row(row: &FileRow, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Form { row, packed: false })?;
    out.write_all(b"\n")
}

/// Writes a row as a part of a request to a node: as in a file, and never much longer than the row.
///
/// # Errors
/// The output's.
pub(crate) fn write_for_request(row: &FileRow, out: &mut impl Write) -> io::Result<()> {
    Ok(serde_json::to_writer(out, &Form { row, packed: true })?)
}

/// Writes the line before the rows of a table.
///
/// # Errors
/// The output's.
pub(crate) fn write_begin(begin: &Begin, out: &mut impl Write) -> io::Result<()> {
    let (table, conflict) = (json!(begin.table), cli::word(begin.conflict));
    let durability = cli::word(begin.durability);
    writeln!(
        out,
        "{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"table\":{table},\"conflict\":\"{conflict}\",\"durability\":\"{durability}\"}}"
    )
}

/// Writes the line after the rows of a table.
///
/// # Errors
/// The output's.
pub(crate) fn write_end(end: &End, out: &mut impl Write) -> io::Result<()> {
    let (table, rows) = (json!(end.table), end.rows);
    writeln!(out, "{{\"end\":{table},\"rows\":{rows}}}")
}

/// The fields of a line, each as often as once.
#[derive(Default)]
struct Fields {
    key: Option<Text>,
    value: Option<Text>,
    siblings: Option<Siblings>,
    expires_ms: Option<Number>,
    format: Option<Name>,
    version: Option<Number>,
    table: Option<Name>,
    conflict: Option<Name>,
    durability: Option<Name>,
    end: Option<Name>,
    rows: Option<Number>,
    /// The first field of another name.
    unknown: Option<String>,
}

impl Fields {
    fn row(self) -> Result<FileRow, Reason> {
        let of_tables = [
            ("table", self.table.is_some()),
            ("version", self.version.is_some()),
            ("conflict", self.conflict.is_some()),
            ("durability", self.durability.is_some()),
            ("rows", self.rows.is_some()),
        ];
        let other = of_tables.into_iter().find(|(_, is_there)| *is_there);
        if let Some(name) = self.unknown.or(other.map(|(name, _)| name.to_string())) {
            let why = "a row has key, value or siblings, and expires_ms";
            return Err(format!("an unknown field {name:?}: {why}").into());
        }
        let Some(Text(key)) = self.key else {
            return Err("no field \"key\"".into());
        };
        let content = match (self.value, self.siblings, self.expires_ms) {
            (Some(_), Some(_), _) => return Err("both a value and siblings".into()),
            (None, Some(_), Some(_)) => return Err("siblings that expire".into()),
            (None, Some(Siblings(siblings)), None) => Content::Siblings(siblings),
            (Some(Text(value)), None, expires) => Content::Value {
                value,
                expires_ms: expires.map(|Number(number)| number),
            },
            (None, None, _) => return Err("no field \"value\"".into()),
        };
        Ok(FileRow { key, content })
    }

    fn begin(self) -> Result<Begin, String> {
        let text = |name: Option<Name>| name.map(|Name(text)| text);
        let (format, version) = (text(self.format), self.version.map(|Number(n)| n));
        if format.as_deref() != Some(FORMAT) {
            return Err(format!("a table begins in another format than {FORMAT:?}"));
        }
        match version {
            Some(VERSION) => {}
            Some(other) => {
                return Err(format!(
                    "a table begins in version {other} of the format, and this program reads {VERSION}"
                ));
            }
            None => return Err("a table begins without the version of its format".into()),
        }
        let of_rows = self.key.is_some() || self.value.is_some() || self.siblings.is_some();
        if self.unknown.is_some() || of_rows || self.expires_ms.is_some() || self.end.is_some() {
            return Err("a table begins with a field more".into());
        }
        let (Some(table), Some(conflict), Some(durability)) =
            (text(self.table), text(self.conflict), text(self.durability))
        else {
            return Err("a table begins without its name, conflict or durability".into());
        };
        Ok(Begin {
            table,
            conflict: cli::of_word::<Conflict>(&conflict)
                .ok_or_else(|| format!("{conflict:?} is no rule for conflicts"))?,
            durability: cli::of_word::<Durability>(&durability)
                .ok_or_else(|| format!("{durability:?} is no durability"))?,
        })
    }

    fn end(self) -> Result<End, Reason> {
        let of_rows = self.key.is_some() || self.value.is_some() || self.siblings.is_some();
        let of_begins =
            self.table.is_some() || self.conflict.is_some() || self.durability.is_some();
        let others = self.expires_ms.is_some() || self.version.is_some() || self.unknown.is_some();
        match (self.end, self.rows) {
            (Some(Name(table)), Some(Number(rows))) if !(of_rows || of_begins || others) => {
                Ok(End { table, rows })
            }
            _ => Err("the end of a table has its name and the number of its rows".into()),
        }
    }

    /// Reads the value of a field.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "key" => once(&mut self.key, name, map),
            "value" => once(&mut self.value, name, map),
            "siblings" => once(&mut self.siblings, name, map),
            "expires_ms" => once(&mut self.expires_ms, name, map),
            "format" => once(&mut self.format, name, map),
            "version" => once(&mut self.version, name, map),
            "table" => once(&mut self.table, name, map),
            "conflict" => once(&mut self.conflict, name, map),
            "durability" => once(&mut self.durability, name, map),
            "end" => once(&mut self.end, name, map),
            "rows" => once(&mut self.rows, name, map),
            _ => {
                let shown = || name.chars().take(SHOWN).collect();
                self.unknown.get_or_insert_with(shown);
                map.next_value::<IgnoredAny>().map(drop)
            }
        }
    }
}

fn once<'de, T, A>(slot: &mut Option<T>, name: &str, map: &mut A) -> Result<(), A::Error>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    match slot.replace(map.next_value()?) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom(format!("the field {name:?} twice"))),
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            fields.take(&name, &mut map)?;
        }
        Ok(fields)
    }
}

/// A whole number.
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(input);
        number
            .map(Number)
            .map_err(|_| D::Error::custom("a number that is no whole one, or is negative"))
    }
}

/// A word or a name.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input).map(Name)
    }
}

/// The values of a key: one or more.
struct Siblings(Vec<Vec<u8>>);

impl<'de> Deserialize<'de> for Siblings {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_seq(ListOfTexts).map(Siblings)
    }
}

struct ListOfTexts;

impl<'de> Visitor<'de> for ListOfTexts {
    type Value = Vec<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Vec<u8>>, A::Error> {
        let mut all = Vec::new();
        while let Some(Text(bytes)) = list.next_element()? {
            if all.len() == MAX_SIBLINGS {
                let why = format!("more than {MAX_SIBLINGS} siblings");
                return Err(A::Error::custom(why));
            }
            all.push(bytes);
        }
        match all.is_empty() {
            true => Err(A::Error::custom("an empty list of siblings")),
            false => Ok(all),
        }
    }
}

/// Bytes, as text or in base64.
pub(crate) struct Text(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TextOrBase64)
    }
}

struct TextOrBase64;

impl<'de> Visitor<'de> for TextOrBase64 {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BYTES)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.as_bytes().to_vec()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name != "base64" || found.is_some() {
                return Err(A::Error::custom(format!("an object that is not {BYTES}")));
            }
            found = Some(map.next_value::<String>()?);
        }
        let text =
            found.ok_or_else(|| A::Error::custom(format!("an object that is not {BYTES}")))?;
        let bytes = STANDARD.decode(text);
        bytes.map(Text).map_err(|_| A::Error::custom("bad base64"))
    }
}

/// A row as JSON.
struct Form<'a> {
    row: &'a FileRow,
    /// Whether text that JSON makes longer is in base64.
    packed: bool,
}

impl Serialize for Form<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let packed = self.packed;
        let shown = |bytes| Shown { bytes, packed };
        let mut map = output.serialize_map(None)?;
        map.serialize_entry("key", &shown(&self.row.key))?;
        match &self.row.content {
            Content::Value { value, expires_ms } => {
                map.serialize_entry("value", &shown(value))?;
                if let Some(expires_ms) = expires_ms {
                    map.serialize_entry("expires_ms", expires_ms)?;
                }
            }
            Content::Siblings(siblings) => {
                let mut siblings: Vec<&Vec<u8>> = siblings.iter().collect();
                siblings.sort_unstable();
                let siblings: Vec<_> = siblings.into_iter().map(|bytes| shown(bytes)).collect();
                map.serialize_entry("siblings", &siblings)?;
            }
        }
        map.end()
    }
}

struct Shown<'a> {
    bytes: &'a [u8],
    packed: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let is_long = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
        match std::str::from_utf8(self.bytes) {
            Ok(text) if !(self.packed && self.bytes.iter().any(is_long)) => {
                output.serialize_str(text)
            }
            _ => {
                let mut map = output.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.bytes))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &[u8]) -> Result<FileRow, Reason> {
        line(text).map(|line| match line {
            Line::Row(row) => row,
            Line::Begin(_) | Line::End(_) => panic!("no row"),
        })
    }

    fn row_of(key: Vec<u8>, value: Vec<u8>) -> FileRow {
        FileRow {
            key,
            content: Content::Value {
                value,
                expires_ms: None,
            },
        }
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        let refused = |line: &str| row(line.as_bytes()).expect_err(line).into_owned();
        assert_eq!(refused("{"), "not JSON");
        assert_eq!(refused("{\"key\":\"a\",\"value\":\"b\"} x"), "not JSON");
        assert_eq!(refused("{\"key\":\"a\"}"), "no field \"value\"");
        assert_eq!(refused("{\"value\":\"a\"}"), "no field \"key\"");
        for name in ["ttl", "table", "rows"] {
            let value = if name == "table" { "\"t\"" } else { "3" };
            let more = format!("{{\"key\":\"a\",\"value\":\"b\",\"{name}\":{value}}}");
            let why = "a row has key, value or siblings, and expires_ms";
            let expected = format!("an unknown field \"{name}\": {why}");
            assert_eq!(refused(&more), expected);
        }
        let twice = "{\"key\":\"a\",\"key\":\"b\",\"value\":\"c\"}";
        assert_eq!(refused(twice), "the field \"key\" twice");
        let twice = "{\"key\":\"a\",\"value\":{\"base64\":\"YQ==\",\"base64\":\"Yg==\"}}";
        assert!(refused(twice).starts_with("an object that is not text"));
        let bad = "{\"key\":\"a\",\"value\":{\"base64\":\"%\"}}";
        assert_eq!(refused(bad), "bad base64");
        for other in ["3", "null", "[]", "true"] {
            let line = format!("{{\"key\":\"a\",\"value\":{other}}}");
            assert!(refused(&line).starts_with("a row is an object"), "{line}");
        }
        assert!(refused("[1]").starts_with("a row is an object"));
    }

    #[test]
    fn expiries_and_siblings_have_one_form() {
        let refused = |rest: &str| {
            let line = format!("{{\"key\":\"a\",{rest}}}");
            row(line.as_bytes()).expect_err(&line).into_owned()
        };
        for number in ["-1", "1.5", "\"1\"", "null", "18446744073709551616"] {
            let why = refused(&format!("\"value\":\"b\",\"expires_ms\":{number}"));
            assert!(why.starts_with("a number that is no whole one"), "{why}");
        }
        assert_eq!(refused("\"expires_ms\":1"), "no field \"value\"");
        assert_eq!(refused("\"siblings\":[]"), "an empty list of siblings");
        assert!(refused("\"siblings\":\"b\"").starts_with("a row is an object"));
        assert!(refused("\"siblings\":[1]").starts_with("a row is an object"));
        let both = refused("\"siblings\":[\"b\"],\"value\":\"c\"");
        assert_eq!(both, "both a value and siblings");
        let expire = refused("\"siblings\":[\"b\"],\"expires_ms\":1");
        assert_eq!(expire, "siblings that expire");
        let many = vec!["\"b\""; MAX_SIBLINGS + 1].join(",");
        let many = refused(&format!("\"siblings\":[{many}]"));
        assert_eq!(many, "more than 1024 siblings");
    }

    #[test]
    fn siblings_are_written_in_the_order_of_their_bytes() {
        let found = row(b"{\"key\":\"k\",\"siblings\":[{\"base64\":\"/w==\"},\"b\",\"\",\"ab\"]}");
        let mut out = Vec::new();
        write_row(&found.expect("a row"), &mut out).expect("memory");
        let expected = b"{\"key\":\"k\",\"siblings\":[\"\",\"ab\",\"b\",{\"base64\":\"/w==\"}]}\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn text_and_base64_are_bytes() {
        let found = row(b"{\"value\":{\"base64\":\"/wA=\"},\"key\":\"a\\tb\"}");
        assert_eq!(found, Ok(row_of(b"a\tb".to_vec(), vec![0xff, 0])));
        // Text in base64 is the same bytes, and comes out as text.
        let found = row(b"{\"key\":{\"base64\":\"YQ==\"},\"value\":\"\"}").expect("a row");
        let mut out = Vec::new();
        write_row(&found, &mut out).expect("memory");
        assert_eq!(out, b"{\"key\":\"a\",\"value\":\"\"}\n");
    }

    #[test]
    fn a_request_is_never_much_longer_than_its_row() {
        let values: [&[u8]; 4] = [&[0; 3000], &[b'"'; 3000], &[0xff; 3000], &[b'a'; 3000]];
        for value in values {
            let mut out = Vec::new();
            let sent = row_of(b"k".to_vec(), value.to_vec());
            write_for_request(&sent, &mut out).expect("memory");
            assert!(out.len() < 4_100, "{}", out.len());
            assert_eq!(row(&out), Ok(sent));
        }
    }

    #[test]
    fn a_table_begins_and_ends_with_a_line() {
        let begin = Begin {
            table: "a\"b".into(),
            conflict: Conflict::Siblings,
            durability: Durability::Sync,
        };
        let mut out = Vec::new();
        write_begin(&begin, &mut out).expect("memory");
        let text = "{\"format\":\"rumormill\",\"version\":1,\"table\":\"a\\\"b\",\"conflict\":\"siblings\",\"durability\":\"sync\"}\n";
        assert_eq!(String::from_utf8_lossy(&out), text);
        assert_eq!(line(&out), Ok(Line::Begin(Ok(begin))));
        let end = End {
            table: "a\"b".into(),
            rows: 3,
        };
        let mut out = Vec::new();
        write_end(&end, &mut out).expect("memory");
        assert_eq!(out, b"{\"end\":\"a\\\"b\",\"rows\":3}\n");
        assert_eq!(line(&out), Ok(Line::End(end)));
        assert!(line(b"{\"end\":\"a\"}").is_err());
        for more in ["more", "key", "version", "expires_ms"] {
            let text = format!("{{\"end\":\"a\",\"rows\":1,\"{more}\":2}}");
            assert!(line(text.as_bytes()).is_err(), "{text}");
        }
        for (from, to, part) in [
            ("\"version\":1", "\"version\":2", "version 2"),
            ("\"version\":1,", "", "without the version"),
            ("rumormill", "other", "another format"),
            ("siblings", "first", "no rule"),
            ("sync", "never", "no durability"),
            ("\"table\":\"a\\\"b\",", "", "without its name"),
            ("\"version\"", "\"more\":1,\"version\"", "a field more"),
        ] {
            let Ok(Line::Begin(Err(why))) = line(text.replace(from, to).as_bytes()) else {
                panic!("{to} was taken");
            };
            assert!(why.contains(part), "{why}");
        }
    }
}
