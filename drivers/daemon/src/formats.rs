//! Rows as lines of a file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cli::{ExportFormat, Format};
use crate::table::Row;

/// The form of a file, by its beginning.
pub(crate) fn detect(beginning: &[u8]) -> Format {
    let first = beginning
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    match first {
        Some(line) if line.trim_ascii_start().starts_with(b"{") => Format::Jsonl,
        _ if beginning.contains(&b'\t') => Format::Tsv,
        _ => Format::Lines,
    }
}

/// The row on a line without its end; `None` for an empty line, which is skipped.
///
/// # Errors
/// Why the line is refused.
pub(crate) fn parse(format: Format, line: &[u8], number: u64) -> Result<Option<Row>, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Ok(None);
    }
    let (key, value) = match format {
        Format::Lines if line.contains(&b'\t') => return Err("a tab in a file of plain lines"),
        Format::Lines => (line.to_vec(), number.to_string().into_bytes()),
        Format::Tsv => {
            let tab = line
                .iter()
                .position(|byte| *byte == b'\t')
                .ok_or("no tab")?;
            (unescape(&line[..tab]), unescape(&line[tab + 1..]))
        }
        Format::Jsonl => {
            let document: Value = serde_json::from_slice(line).map_err(|_| "not JSON")?;
            let part = |name: &str| document.get(name).and_then(from_json);
            let key = part("key").ok_or("no key that is text or base64")?;
            (key, part("value").ok_or("no value that is text or base64")?)
        }
    };
    match key.is_empty() {
        true => Err("an empty key"),
        false => Ok(Some((key, value))),
    }
}

/// A row as a line, its end included.
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

/// Bytes of JSON: text, `{"base64":"..."}`.
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
    use super::*;

    #[test]
    fn the_beginning_tells_the_form() {
        assert_eq!(detect(b"\n {\"key\":1}\n"), Format::Jsonl);
        assert_eq!(detect(b"a\nb\tc\n"), Format::Tsv);
        assert_eq!(detect(b"a\nb\n"), Format::Lines);
        assert_eq!(detect(b""), Format::Lines);
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
                assert_eq!(parse(back, line, 1), Ok(Some(row.clone())));
            }
        }
    }

    #[test]
    fn bad_lines_are_refused_with_a_reason() {
        assert_eq!(parse(Format::Tsv, b"word", 1), Err("no tab"));
        assert_eq!(parse(Format::Tsv, b"\tv", 1), Err("an empty key"));
        assert_eq!(parse(Format::Jsonl, b"{", 1), Err("not JSON"));
        assert!(parse(Format::Jsonl, b"{\"key\":\"a\"}", 1).is_err());
        assert!(parse(Format::Lines, b"a\tb", 1).is_err());
        assert_eq!(
            parse(Format::Lines, b"word\r", 7),
            Ok(Some((b"word".to_vec(), b"7".to_vec())))
        );
        assert_eq!(parse(Format::Tsv, b"\r", 1), Ok(None));
    }
}
