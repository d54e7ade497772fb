//! The keys of stored records, as far as the world reads them in the store's documented form.

use bytes::Bytes;
use rumormill_core::RowClass;

/// The table and key of a row of a user's table: `r`, domain, length of the table's name, name, key.
pub(crate) fn user_row(record: &Bytes) -> Option<(&str, Bytes)> {
    let [b'r', domain, len, ..] = record[..] else {
        return None;
    };
    let end = 3 + usize::from(len);
    let table = std::str::from_utf8(record.get(3..end)?).ok()?;
    (domain != RowClass::Sys as u8).then(|| (table, record.slice(end..)))
}

/// Whether the record is a durable context.
pub(crate) fn is_context(record: &Bytes) -> bool {
    record.starts_with(b"c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_users_are_rows() {
        let record = |domain: RowClass| {
            let head = [b'r', domain as u8, 4];
            Bytes::from([&head[..], b"safe", b"k7"].concat())
        };
        let row = record(RowClass::UsrDurable);
        assert_eq!(user_row(&row), Some(("safe", Bytes::from("k7"))));
        assert_eq!(user_row(&record(RowClass::Sys)), None);
        assert_eq!(user_row(&row.slice(..6)), None, "the name is cut short");
        let context = Bytes::from("c");
        assert!(user_row(&context).is_none() && is_context(&context) && !is_context(&row));
    }
}
