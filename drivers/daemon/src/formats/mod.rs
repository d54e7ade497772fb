//! Rows as lines of a file.

mod detect;
mod json;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cli::{Conflict, Durability, ExportFormat, Format};
use crate::table::Row;

pub(crate) use detect::detect;
pub(crate) use json::{Text, write_begin, write_end, write_for_request, write_row};

/// Why a line is refused.
pub(crate) type Reason = Cow<'static, str>;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A row.
    Row(FileRow),
    /// The rows of a table begin, or why they cannot.
    Begin(Result<Begin, String>),
    /// The rows of a table are over.
    End(End),
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRow {
    pub(crate) key: Vec<u8>,
    pub(crate) content: Content,
}

/// The content of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A value, and when it expires, in milliseconds since the Unix epoch.
    Value {
        value: Vec<u8>,
        expires_ms: Option<u64>,
    },
    /// The values of a key in a table that keeps siblings, one or more.
    Siblings(Vec<Vec<u8>>),
}

/// A table whose rows begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) table: String,
    pub(crate) conflict: Conflict,
    pub(crate) durability: Durability,
}

/// A table whose rows are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) table: String,
    /// How many there were.
    pub(crate) rows: u64,
}

/// Reads a line without its end; `None` for an empty one, which is skipped.
///
/// # Errors
/// Why the line is refused.
pub(crate) fn parse(format: Format, line: &[u8], number: u64) -> Result<Option<Line>, Reason> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Ok(None);
    }
    let line = match format {
        Format::Lines => plain(parse_line(line)?, number.to_string().into_bytes()),
        Format::Tsv => {
            let (key, value) = parse_tsv(line)?;
            plain(key, value)
        }
        Format::Jsonl => json::line(line)?,
    };
    match &line {
        Line::Row(row) if row.key.is_empty() => Err("an empty key".into()),
        _ => Ok(Some(line)),
    }
}

fn plain(key: Vec<u8>, value: Vec<u8>) -> Line {
    let expires_ms = None;
    let content = Content::Value { value, expires_ms };
    Line::Row(FileRow { key, content })
}

/// A line of plain text, which is a key.
fn parse_line(line: &[u8]) -> Result<Vec<u8>, Reason> {
    if line.contains(&b'\t') {
        return Err("a tab in a file of plain lines".into());
    }
    if line.iter().any(u8::is_ascii_control) {
        return Err("a control character in a file of plain lines".into());
    }
    match std::str::from_utf8(line) {
        Ok(_) => Ok(line.to_vec()),
        Err(_) => Err("not UTF-8, in a file of plain lines".into()),
    }
}

/// Any bytes but a tab and the ends of lines, which stand escaped.
fn parse_tsv(line: &[u8]) -> Result<Row, Reason> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let (Some(key), Some(value)) = (fields.next(), fields.next()) else {
        return Err("no tab".into());
    };
    if fields.next().is_some() {
        return Err("a second tab: within a value it is written \\t".into());
    }
    if line.contains(&b'\r') {
        return Err("a carriage return within the line: within a value it is written \\r".into());
    }
    Ok((unescape(key), unescape(value)))
}

/// Returns the bytes before the first row of a file: an empty line where its key would make the file look like one of another form.
pub(crate) fn before(format: ExportFormat, row: &Row) -> &'static [u8] {
    match detect::is_mistaken(&write(format, row)) {
        true => b"\n",
        false => b"",
    }
}

/// A row of a key and a value as a line, its end included.
pub(crate) fn write(format: ExportFormat, (key, value): &Row) -> Vec<u8> {
    match format {
        ExportFormat::Tsv => {
            let mut line = Vec::with_capacity(key.len() + value.len() + 2);
            escape(key, &mut line);
            line.push(b'\t');
            escape(value, &mut line);
            line.push(b'\n');
            line
        }
        ExportFormat::Jsonl => format!("{}\n", row_json(key, value)).into_bytes(),
    }
}

/// A row as JSON.
pub(crate) fn row_json(key: &[u8], value: &[u8]) -> Value {
    json!({ "key": to_json(key), "value": to_json(value) })
}

/// Bytes as JSON: text, or `{"base64":"..."}`.
pub(crate) fn to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_string()),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// Bytes of JSON that a server sent: text, or `{"base64":"..."}`.
pub(crate) fn from_json(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(object) if object.len() == 1 => {
            STANDARD.decode(object.get("base64")?.as_str()?).ok()
        }
        _ => None,
    }
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\\' => out.extend(b"\\\\"),
            byte => out.push(*byte),
        }
    }
}

/// A backslash before anything else stands for itself.
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let meant = match (byte, rest.peek()) {
            (b'\\', Some(b't')) => b'\t',
            (b'\\', Some(b'n')) => b'\n',
            (b'\\', Some(b'r')) => b'\r',
            (b'\\', Some(b'\\')) => b'\\',
            _ => {
                out.push(byte);
                continue;
            }
        };
        rest.next();
        out.push(meant);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arbitrary::Unstructured;

    use super::*;

    fn line_of((key, value): &Row) -> Line {
        plain(key.clone(), value.clone())
    }

    /// Bytes of all sorts: any, and any text.
    fn bytes(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
        match u.ratio(1, 2)? {
            true => u.arbitrary(),
            false => u.arbitrary::<String>().map(String::into_bytes),
        }
    }

    fn row(u: &mut Unstructured<'_>) -> arbitrary::Result<FileRow> {
        let mut key = bytes(u)?;
        if key.is_empty() {
            key.push(u.arbitrary()?);
        }
        let content = match u.ratio(1, 2)? {
            true => Content::Value {
                value: bytes(u)?,
                expires_ms: u.arbitrary()?,
            },
            false => {
                let count = u.int_in_range(1..=4)?;
                let mut siblings = (0..count)
                    .map(|_| bytes(u))
                    .collect::<Result<Vec<_>, _>>()?;
                siblings.sort_unstable();
                Content::Siblings(siblings)
            }
        };
        Ok(FileRow { key, content })
    }

    #[test]
    fn a_line_of_json_is_the_row_again() {
        arbtest::arbtest(|u| {
            let row = row(u)?;
            let (mut line, mut sent) = (Vec::new(), Vec::new());
            write_row(&row, &mut line).expect("memory");
            write_for_request(&row, &mut sent).expect("memory");
            let text = line.strip_suffix(b"\n").expect("an end");
            assert!(!text.contains(&b'\n') && std::str::from_utf8(text).is_ok());
            for form in [text, &sent] {
                let read = parse(Format::Jsonl, form, 1);
                assert_eq!(read, Ok(Some(Line::Row(row.clone()))));
            }
            Ok(())
        });
    }

    #[test]
    fn a_line_is_refused_or_means_one_thing() {
        arbtest::arbtest(|u| {
            let mut line = Vec::new();
            write_row(&row(u)?, &mut line).expect("memory");
            // A line that is like one of a row, and is none as a rule.
            let at = u.choose_index(line.len())?;
            match u.int_in_range(0..=2)? {
                0 => line[at] = u.arbitrary()?,
                1 => drop(line.remove(at)),
                _ => line.insert(at, *u.choose(b"{}[]\",:\\0a")?),
            }
            if let Ok(Some(Line::Row(read))) = parse(Format::Jsonl, &line, 1) {
                let mut again = Vec::new();
                write_row(&read, &mut again).expect("memory");
                let text = again.strip_suffix(b"\n").expect("an end");
                let Ok(Some(Line::Row(row))) = parse(Format::Jsonl, text, 1) else {
                    panic!("what was read is no row any more");
                };
                let mut third = Vec::new();
                write_row(&row, &mut third).expect("memory");
                assert_eq!(again, third);
            }
            Ok(())
        });
    }

    #[test]
    fn every_row_survives_both_forms() {
        let rows: [Row; 4] = [
            (b"k".to_vec(), b"v".to_vec()),
            (b"\t\n\r\\".to_vec(), b"\\t\\\\".to_vec()),
            (vec![0xff, 0], vec![]),
            ("\u{e9}".into(), b"a\\".to_vec()),
        ];
        for row in rows {
            for (out, back) in [
                (ExportFormat::Tsv, Format::Tsv),
                (ExportFormat::Jsonl, Format::Jsonl),
            ] {
                let line = write(out, &row);
                let line = line.strip_suffix(b"\n").expect("an end");
                assert_eq!(parse(back, line, 1), Ok(Some(line_of(&row))));
            }
        }
    }

    #[test]
    fn a_first_key_that_looks_like_another_form_survives() {
        for key in [&b"\xef\xbb\xbfk"[..], b"\x1f\x8b", b"\xff\xfe", b"a\0b\0"] {
            let row = (key.to_vec(), b"v".to_vec());
            let mut file = before(ExportFormat::Tsv, &row).to_vec();
            file.extend(write(ExportFormat::Tsv, &row));
            let form = detect(None, Path::new("-"), &file).expect("a form");
            let rest = file[form.skip..].split(|byte| *byte == b'\n');
            let mut rows = rest.filter_map(|line| parse(form.format, line, 1).expect("a row"));
            assert_eq!(rows.next(), Some(line_of(&row)));
        }
        assert_eq!(before(ExportFormat::Tsv, &(b"k".to_vec(), vec![])), b"");
    }

    #[test]
    fn bad_lines_are_refused_with_a_reason() {
        let refused = |format, line: &[u8]| {
            let found = parse(format, line, 1);
            found.expect_err("no row").into_owned()
        };
        assert_eq!(refused(Format::Tsv, b"word"), "no tab");
        assert_eq!(refused(Format::Tsv, b"\tv"), "an empty key");
        assert!(refused(Format::Tsv, b"a\tb\tc").starts_with("a second tab"));
        assert!(refused(Format::Tsv, b"a\tb\rc\td").starts_with("a second tab"));
        assert!(refused(Format::Tsv, b"a\tb\rc").starts_with("a carriage return"));
        assert!(refused(Format::Lines, b"a\tb").starts_with("a tab"));
        assert!(refused(Format::Lines, b"a\0").starts_with("a control character"));
        assert!(refused(Format::Lines, b"\xe9t\xe9").starts_with("not UTF-8"));
        assert_eq!(
            parse(Format::Lines, b"word\r", 7),
            Ok(Some(line_of(&(b"word".to_vec(), b"7".to_vec()))))
        );
        assert_eq!(parse(Format::Tsv, b"\r", 1), Ok(None));
    }
}
