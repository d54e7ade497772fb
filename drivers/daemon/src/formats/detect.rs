//! Which form a file has, and which it must not have.

use std::path::Path;

use crate::cli::Format;

/// UTF-8 text may begin with it; it is no part of the text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How programs that compress begin their files, and what unpacks them.
const COMPRESSED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "gzip -dc"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"\xfd7zXZ\0", "xz", "xz -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
    (b"BZh", "bzip2", "bzip2 -dc"),
];
/// The bytes after the level in a bzip2 file: three letters alone would be a word.
const BZIP2_BLOCK: &[u8] = b"1AY&SY";

/// So many bytes tell UTF-16 without a mark: every second one is 0.
const UTF16_BYTES: usize = 8;
/// So many lines tell CSV.
const CSV_LINES: usize = 100;
/// The separators of CSV fields.
const SEPARATORS: [u8; 3] = [b',', b';', b'|'];

/// The form of a file, and how many bytes come before its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) format: Format,
    pub(crate) skip: usize,
}

/// A form that is not read. Nothing of the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    /// It is compressed: with what, and what unpacks it.
    #[error("compressed with {0}: unpack it, as in {1} FILE | rumormill import -")]
    Compressed(&'static str, &'static str),
    /// It has two bytes a character.
    #[error("UTF-16 text: rewrite it, as in iconv -f UTF-16 -t UTF-8 FILE | rumormill import -")]
    Utf16,
    /// It is one JSON array, or looks so.
    #[error(
        "begins with [ as a JSON array does: rewrite it with one object a line, as in \
         jq -c '.[]' FILE | rumormill import -, or take the lines as they are with --format lines"
    )]
    JsonArray,
    /// Its fields are separated by this.
    #[error(
        "looks like CSV, fields separated by {0:?}: write a tab between key and value, or take each \
         whole line for a key with --format lines"
    )]
    Csv(char),
    /// It begins as XML, HTML and such do.
    #[error("begins with < as XML and HTML do: take the lines as they are with --format lines")]
    Markup,
}

/// Finds the form of a file by its beginning, unless it is given or its name tells. A form that is given or named wins over a guess,
/// and not over the marks that only compressed files and UTF-16 begin with.
///
/// # Errors
/// A form that is not read.
pub(crate) fn detect(
    given: Option<Format>,
    file: &Path,
    beginning: &[u8],
) -> Result<Form, Foreign> {
    if let Some(foreign) = marked(beginning) {
        return Err(foreign);
    }
    let skip = match beginning.starts_with(MARK) {
        true => MARK.len(),
        false => 0,
    };
    let text = &beginning[skip..];
    let first = lines(text).next().unwrap_or_default();
    let begins_with = first.trim_ascii_start().first();
    let named = given.or_else(|| by_name(file));
    let format = match (named, begins_with) {
        (Some(Format::Jsonl), Some(b'[')) => return Err(Foreign::JsonArray),
        (Some(format), _) => format,
        (None, Some(b'{')) => Format::Jsonl,
        (None, _) if text.contains(&b'\t') => Format::Tsv,
        (None, Some(b'[')) => return Err(Foreign::JsonArray),
        (None, Some(b'<')) => return Err(Foreign::Markup),
        (None, _) => match separator(text) {
            Some(separator) => return Err(Foreign::Csv(separator)),
            None => Format::Lines,
        },
    };
    Ok(Form { format, skip })
}

/// Whether a file that begins so is taken for one of another form: an empty line before it prevents that.
pub(super) fn is_mistaken(beginning: &[u8]) -> bool {
    marked(beginning).is_some() || beginning.starts_with(MARK)
}

/// The form that only such a file has at its beginning.
fn marked(beginning: &[u8]) -> Option<Foreign> {
    let compressed = COMPRESSED.iter().find(|(magic, name, _)| {
        let is_block = || beginning.get(4..10) == Some(BZIP2_BLOCK);
        beginning.starts_with(magic) && (*name != "bzip2" || is_block())
    });
    if let Some((_, name, how)) = compressed {
        return Some(Foreign::Compressed(name, how));
    }
    let has_mark = beginning.starts_with(b"\xff\xfe") || beginning.starts_with(b"\xfe\xff");
    let some = &beginning[..beginning.len().min(UTF16_BYTES)];
    let alternates = |zeros: usize| {
        let mut bytes = some.iter().enumerate();
        some.len() >= 4 && bytes.all(|(at, byte)| (at % 2 == zeros) == (*byte == 0))
    };
    (has_mark || alternates(0) || alternates(1)).then_some(Foreign::Utf16)
}

/// The form that the end of a file's name tells.
fn by_name(file: &Path) -> Option<Format> {
    let end = file.extension()?.to_str()?.to_ascii_lowercase();
    match end.as_str() {
        "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
        "tsv" | "tab" => Some(Format::Tsv),
        _ => None,
    }
}

/// The lines that are not empty.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.trim_ascii().is_empty())
}

/// Returns the separator of fields, if every line has the same number of it outside quotes.
fn separator(text: &[u8]) -> Option<char> {
    let whole = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => &text[..end],
        None => text,
    };
    let counts = |separator: u8| {
        let mut counts = lines(whole)
            .take(CSV_LINES)
            .map(move |line| outside_quotes(line, separator));
        let first = counts.next().unwrap_or(0);
        first > 0 && counts.all(|count| count == first)
    };
    let found = SEPARATORS.into_iter().find(|separator| counts(*separator));
    found.map(char::from)
}

fn outside_quotes(line: &[u8], separator: u8) -> usize {
    let mut quoted = false;
    let mut count = 0;
    for byte in line {
        quoted ^= *byte == b'"';
        count += usize::from(!quoted && *byte == separator);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(beginning: &[u8]) -> Result<Format, Foreign> {
        detect(None, Path::new("-"), beginning).map(|form| form.format)
    }

    #[test]
    fn the_beginning_tells_the_form() {
        assert_eq!(of(b"\n {\"key\":1}\n"), Ok(Format::Jsonl));
        assert_eq!(of(b"a\nb\tc\n"), Ok(Format::Tsv));
        assert_eq!(of(b"a\nb\n"), Ok(Format::Lines));
        assert_eq!(of(b""), Ok(Format::Lines));
        assert_eq!(of(b"Paris, France\nBern\n"), Ok(Format::Lines));
        assert_eq!(of(b"BZhou\nBZhao\n"), Ok(Format::Lines));
    }

    #[test]
    fn a_form_that_is_not_read_is_refused() {
        let compressed = [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\0", "zstd"),
            (b"\xfd7zXZ\0\0", "xz"),
            (b"PK\x03\x04\x14", "zip"),
            (b"BZh91AY&SY\0", "bzip2"),
        ];
        for (beginning, expected) in compressed {
            let found = of(beginning);
            let given = detect(Some(Format::Tsv), Path::new("-"), beginning);
            assert!(
                matches!(found, Err(Foreign::Compressed(name, _)) if name == expected),
                "{found:?}"
            );
            assert_eq!(given.err(), found.err());
        }
        let utf16 = [&b"\xff\xfea\0"[..], b"\xfe\xff\0a", b"a\0b\0c\0", b"\0a\0b"];
        for beginning in utf16 {
            assert_eq!(of(beginning), Err(Foreign::Utf16));
        }
        assert_eq!(of(b"[{\"key\":1}]"), Err(Foreign::JsonArray));
        assert_eq!(of(b"<?xml?>\n"), Err(Foreign::Markup));
        assert_eq!(of(b"key,value\na,1\nb,2\n"), Err(Foreign::Csv(',')));
        assert_eq!(of(b"a;\"x;y\"\nb;z\ncut of"), Err(Foreign::Csv(';')));
        assert_eq!(of(b"a,1"), Err(Foreign::Csv(',')));
    }

    #[test]
    fn names_and_flags_win_over_a_guess() {
        let named = |name: &str, text: &[u8]| detect(None, Path::new(name), text);
        let format = |found: Result<Form, Foreign>| found.map(|form| form.format);
        assert_eq!(format(named("rows.tsv", b"a,1\n")), Ok(Format::Tsv));
        assert_eq!(format(named("rows.JSONL", b"a\tb\n")), Ok(Format::Jsonl));
        let array = named("rows.json", b"[\n{}]");
        assert_eq!(array, Err(Foreign::JsonArray));
        let given = detect(Some(Format::Lines), Path::new("rows.csv"), b"a,1\n");
        assert_eq!(format(given), Ok(Format::Lines));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let form = detect(None, Path::new("-"), b"\xef\xbb\xbf{\"key\":1}\n");
        let expected = Form {
            format: Format::Jsonl,
            skip: 3,
        };
        assert_eq!(form, Ok(expected));
    }
}
