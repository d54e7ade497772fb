//! Rows on their way from the node to a reader on another thread.

use bytes::Bytes;
use rumormill_core::{
    Node, Now, TableId, Wall,
    errors::AnswersLater,
    io::Response as Answer,
    table::{
        Durability, Namespace, RowRef, ScanRange, Siblings, TableName, TableOp, TableRequest,
        Version,
    },
};

use crate::backend::Calls;
use crate::error::ApiError;

/// A row as a reader on another thread gets it.
pub(crate) struct Row {
    pub(crate) key: Bytes,
    pub(crate) content: Content,
}

/// The content of a row, by the table's rule for conflicts.
pub(crate) enum Content {
    Value {
        value: Bytes,
        expires: Option<Wall>,
        version: Version,
    },
    /// At least one of them.
    Siblings(Siblings),
}

impl Row {
    /// `None` when the value is only in the store.
    fn resident(row: &RowRef<'_>) -> Option<Row> {
        let content = match row.siblings() {
            Some(siblings) => Content::Siblings(siblings),
            None => Content::Value {
                value: row.value()?.clone(),
                expires: row.expires(),
                version: row.version(),
            },
        };
        let key = row.key().clone();
        Some(Row { key, content })
    }
}

/// Some rows of a table, in key order, as the node has them in memory.
pub(crate) struct Page {
    table: TableId,
    /// The keys, and the rows but for those whose values are only in the store.
    rows: Vec<(Bytes, Option<Row>)>,
    more: bool,
    /// Whether the rows may be shown only after a sync.
    gated: bool,
}

impl Page {
    /// The live row of a key.
    pub(crate) fn of_key(node: &Node, now: Now, table: TableId, key: &[u8]) -> Option<Page> {
        let row = node.view(now).get(table, key).row()?;
        Some(Page {
            table,
            rows: vec![(row.key().clone(), Row::resident(&row))],
            more: false,
            gated: row.seq() > node.durable() && is_synced(node, now, table),
        })
    }

    /// The rows in a range: at most `limit`, and about `bytes` bytes.
    pub(crate) fn of_range(
        node: &Node,
        now: Now,
        table: TableId,
        range: ScanRange<'_>,
        (limit, bytes): (usize, usize),
    ) -> Result<Page, AnswersLater> {
        let synced = is_synced(node, now, table);
        let mut page = Page {
            table,
            rows: Vec::new(),
            more: false,
            gated: false,
        };
        let mut size = 0;
        for row in node.view(now).scan(table, range)? {
            let resident = Row::resident(&row);
            size += row.key().len() + row.value_len();
            if let Some(Content::Siblings(siblings)) = resident.as_ref().map(|row| &row.content) {
                size += siblings.context.size();
            }
            if page.rows.len() == limit || (size > bytes && !page.rows.is_empty()) {
                page.more = true;
                break;
            }
            page.gated |= synced && row.seq() > node.durable();
            page.rows.push((row.key().clone(), resident));
        }
        Ok(page)
    }

    /// The key after which the next page begins, if there is one.
    pub(crate) fn next(&self) -> Option<Bytes> {
        let last = self.rows.last().filter(|_| self.more);
        last.map(|(key, _)| key.clone())
    }

    /// The rows once they may be shown, with values from the store. A row that is loaded is shown as it is then, and left out
    /// when it has gone.
    ///
    /// # Errors
    /// A value cannot be read, or the node does not serve.
    pub(crate) async fn complete(self, calls: &Calls) -> Result<Vec<Row>, ApiError> {
        if self.gated {
            calls.sync().await?;
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for (key, row) in self.rows {
            match row {
                Some(row) => rows.push(row),
                None => rows.extend(load(calls, self.table, key).await?),
            }
        }
        Ok(rows)
    }
}

/// Reads a row through the store; `None` when it has gone.
///
/// # Errors
/// The value cannot be read, or the node does not serve.
pub(crate) async fn load(
    calls: &Calls,
    table: TableId,
    key: Bytes,
) -> Result<Option<Row>, ApiError> {
    let request = TableRequest::new(table, TableOp::Get { key: key.clone() });
    let content = match calls.request(request.into()).await? {
        Answer::Row(Some(read)) => Content::Value {
            value: read.value,
            expires: read.expires,
            version: read.version,
        },
        Answer::Siblings(siblings) => Content::Siblings(siblings),
        _ => return Ok(None),
    };
    Ok(Some(Row { key, content }))
}

/// Whether what the table shows must be durable.
pub(crate) fn is_synced(node: &Node, now: Now, table: TableId) -> bool {
    let info = node.view(now).table_info(table);
    info.is_some_and(|info| info.options.durability == Durability::Sync)
}

pub(crate) fn user_table(name: String) -> TableName {
    TableName {
        namespace: Namespace::Usr,
        name,
    }
}
