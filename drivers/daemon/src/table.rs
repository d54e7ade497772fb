//! A table as the Redis protocol shows it: `default` holds the strings, any other table is a hash.

use rumormill_core::table::Mode;
use serde_json::Value;

use crate::failure::Failure;
use crate::resp::{Client, Reply};

/// Rows asked for at once.
const PAGE: &[u8] = b"1000";

/// So many names of tables are shown.
const NAMES: usize = 20;

/// A key and its value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// A table by its name.
#[derive(Clone, Debug)]
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(name: &str) -> Result<Table, Failure> {
        if name.is_empty() {
            return Err(Failure::Usage("a table name has at least one byte".into()));
        }
        Mode::built(name).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Table(name.to_string()))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Whether the table keeps siblings, as the node knows it: their contexts have no place in the Redis protocol.
    pub(crate) fn keeps_siblings(&self, client: &mut Client) -> Result<bool, Failure> {
        // Its options are fixed.
        Ok(!self.is_default() && self.info(client)?["conflict"] == "siblings")
    }

    /// Whether the node knows the table. It always knows `default`.
    pub(crate) fn exists(&self, client: &mut Client) -> Result<bool, Failure> {
        Ok(self.is_default() || !self.info(client)?.is_null())
    }

    /// Makes sure that the node knows the table: one whose name is mistyped must not look like one without rows.
    ///
    /// # Errors
    /// When it does not, with the tables that it knows.
    pub(crate) fn must_exist(&self, client: &mut Client) -> Result<(), Failure> {
        if self.exists(client)? {
            return Ok(());
        }
        let document = document(client, "TABLES")?;
        let all = document["tables"].as_array().map_or(&[][..], Vec::as_slice);
        let of_users = all.iter().filter(|table| table["namespace"] == "usr");
        let names = of_users.filter_map(|table| table["name"].as_str());
        let names: Vec<&str> = names.take(NAMES).collect();
        let others = match names.is_empty() {
            true => "none".to_string(),
            false => names.join(", "),
        };
        let name = &self.0;
        Err(Failure::Not(format!(
            "there is no table {name:?}; there are: {others}"
        )))
    }

    /// The node's description of the table; null when it knows none of that name.
    pub(crate) fn info(&self, client: &mut Client) -> Result<Value, Failure> {
        let command: [&[u8]; 3] = [b"RUMORMILL", b"TABLE", self.0.as_bytes()];
        let Reply::Bulk(Some(text)) = client.call(&command)?.accepted()? else {
            return Err(unexpected());
        };
        serde_json::from_slice(&text).map_err(|_| unexpected())
    }

    fn is_default(&self) -> bool {
        self.0 == "default"
    }

    /// The command that reads a row.
    pub(crate) fn get<'a>(&'a self, key: &'a [u8]) -> Vec<&'a [u8]> {
        match self.is_default() {
            true => vec![b"GET", key],
            false => vec![b"HGET", self.0.as_bytes(), key],
        }
    }

    /// The command that writes a row.
    pub(crate) fn put<'a>(&'a self, key: &'a [u8], value: &'a [u8]) -> Vec<&'a [u8]> {
        match self.is_default() {
            // SET would replace the hash whose name is the key, and with it another table.
            true => vec![b"RUMORMILL", b"SET", key, value],
            false => vec![b"HSET", self.0.as_bytes(), key, value],
        }
    }

    /// The command that deletes a row.
    pub(crate) fn del<'a>(&'a self, key: &'a [u8]) -> Vec<&'a [u8]> {
        match self.is_default() {
            true => vec![b"RUMORMILL", b"DEL", key],
            false => vec![b"HDEL", self.0.as_bytes(), key],
        }
    }

    /// Calls `each` with every row whose key begins with `prefix`, page by page.
    pub(crate) fn scan(
        &self,
        client: &mut Client,
        prefix: &str,
        mut each: impl FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let pattern = glob_of_prefix(prefix);
        let mut cursor = b"0".to_vec();
        loop {
            let mut command: Vec<&[u8]> = match self.is_default() {
                true => vec![b"SCAN", &cursor],
                false => vec![b"HSCAN", self.0.as_bytes(), &cursor],
            };
            command.extend([b"COUNT", PAGE]);
            if !prefix.is_empty() {
                command.extend([b"MATCH", pattern.as_slice()]);
            }
            let (next, flat) = page_of(client.call(&command)?.accepted()?)?;
            let rows = match self.is_default() {
                true => values_of(client, flat)?,
                false => pairs_of(flat)?,
            };
            for row in rows {
                each(row)?;
            }
            if next == b"0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// The cursor and the elements of a reply to SCAN or HSCAN.
fn page_of(reply: Reply) -> Result<(Vec<u8>, Vec<Reply>), Failure> {
    let Reply::Array(parts) = reply else {
        return Err(unexpected());
    };
    let Ok([Reply::Bulk(Some(cursor)), Reply::Array(items)]) = <[Reply; 2]>::try_from(parts) else {
        return Err(unexpected());
    };
    Ok((cursor, items))
}

/// A key among the elements of a reply.
fn key_of(item: Reply) -> Result<Vec<u8>, Failure> {
    match item {
        Reply::Bulk(Some(key)) => Ok(key),
        _ => Err(unexpected()),
    }
}

/// A value among the elements of a reply, `None` when its row is gone by now.
fn value_of(item: Reply) -> Result<Option<Vec<u8>>, Failure> {
    match item {
        Reply::Bulk(value) => Ok(value),
        Reply::Error(text) if text.starts_with("GONE ") => Ok(None),
        // A value that cannot be read must not look like a row that is not there.
        Reply::Error(text) if !text.starts_with("WRONGTYPE ") => Err(Failure::Refused(text)),
        _ => Ok(None),
    }
}

/// The values of plain strings; what is a hash, or gone by now, is left out.
fn values_of(client: &mut Client, keys: Vec<Reply>) -> Result<Vec<Row>, Failure> {
    let keys: Vec<Vec<u8>> = keys.into_iter().map(key_of).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut command: Vec<&[u8]> = vec![b"MGET"];
    command.extend(keys.iter().map(Vec::as_slice));
    let Reply::Array(values) = client.call(&command)?.accepted()? else {
        return Err(unexpected());
    };
    let mut rows = Vec::with_capacity(keys.len());
    for (key, value) in keys.into_iter().zip(values) {
        rows.extend(value_of(value)?.map(|value| (key, value)));
    }
    Ok(rows)
}

fn pairs_of(flat: Vec<Reply>) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::with_capacity(flat.len() / 2);
    let mut items = flat.into_iter();
    while let Some(key) = items.next() {
        let key = key_of(key)?;
        let value = value_of(items.next().ok_or_else(unexpected)?)?;
        rows.extend(value.map(|value| (key, value)));
    }
    Ok(rows)
}

/// A pattern that matches what begins with `prefix`, whatever the prefix holds.
fn glob_of_prefix(prefix: &str) -> Vec<u8> {
    let mut pattern = Vec::new();
    for byte in prefix.bytes() {
        if b"*?[]\\^".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

/// Asks the node for one of its documents.
pub(crate) fn document(client: &mut Client, name: &str) -> Result<Value, Failure> {
    filtered(client, name, &[])
}

/// Asks the node for a part of one of its documents.
pub(crate) fn filtered(
    client: &mut Client,
    name: &str,
    filter: &[&[u8]],
) -> Result<Value, Failure> {
    let mut command: Vec<&[u8]> = vec![b"RUMORMILL", name.as_bytes()];
    command.extend(filter);
    match client.call(&command)?.accepted()? {
        Reply::Bulk(Some(text)) => serde_json::from_slice(&text).map_err(|_| unexpected()),
        _ => Err(unexpected()),
    }
}

/// A reply whose shape no Redis listener gives.
pub(crate) fn unexpected() -> Failure {
    Failure::Refused("the server gave a reply of another shape than Redis does".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_strings_and_the_rest_is_hashes() {
        let strings = Table::new("default").expect("a name");
        assert_eq!(
            strings.put(b"k", b"v"),
            [&b"RUMORMILL"[..], b"SET", b"k", b"v"]
        );
        let hash = Table::new("t").expect("a name");
        assert_eq!(hash.get(b"k"), [&b"HGET"[..], b"t", b"k"]);
        assert!(Table::new("").is_err());
        let strong = Table::new("strong:t").expect_err("there are none yet");
        assert!(strong.to_string().contains("not built yet"), "{strong}");
    }

    #[test]
    fn a_row_that_is_gone_is_left_out_and_one_that_cannot_be_read_is_told() {
        let bulk = |text: &str| Reply::Bulk(Some(text.into()));
        let error = |text: &str| Reply::Error(text.into());
        let flat = vec![
            bulk("a"),
            bulk("1"),
            bulk("b"),
            error("GONE it was deleted"),
        ];
        let rows = pairs_of(flat).expect("rows");
        assert_eq!(rows, [(b"a".to_vec(), b"1".to_vec())]);
        let flat = vec![bulk("a"), error("UNREADABLE it is damaged")];
        assert!(matches!(pairs_of(flat), Err(Failure::Refused(why)) if why.contains("damaged")));
    }

    #[test]
    fn a_prefix_matches_itself_only() {
        assert_eq!(glob_of_prefix("a*[b"), b"a\\*\\[b*");
    }
}
