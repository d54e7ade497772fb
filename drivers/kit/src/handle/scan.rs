//! Rows of a table: one, or page by page.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use rumormill_core::{
    Node, Now, TableId,
    errors::AnswersLater,
    io::Response,
    table::{Durability, Row, RowRef, ScanRange, Siblings},
};

use super::{Error, unanswerable};

/// Rows of one page at most.
const PAGE_ROWS: usize = 1_000;

/// Bytes of one page, exceeded only by a single larger row.
const PAGE_BYTES: usize = 1 << 20;

/// Some rows of a table, in key order: at most 1,000, and no more than 1 MiB unless a single one is larger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows {
    /// Keys and rows.
    pub rows: Vec<(Bytes, Row)>,
    /// The key after which the next page begins; `None` on the last one.
    pub next: Option<Bytes>,
}

/// Which keys a page has, owned.
pub(super) struct Bounds {
    from: Bytes,
    until: Option<Bytes>,
    after: Option<Bytes>,
}

impl Bounds {
    /// The keys of a range from the one after `after` on.
    pub(super) fn of(range: &impl RangeBounds<Bytes>, after: Option<Bytes>) -> Self {
        let (from, after) = match range.start_bound() {
            Bound::Included(from) => (from.clone(), after),
            Bound::Excluded(from) => (Bytes::new(), after.max(Some(from.clone()))),
            Bound::Unbounded => (Bytes::new(), after),
        };
        let until = match range.end_bound() {
            Bound::Included(last) => Some([last, &b"\0"[..]].concat().into()),
            Bound::Excluded(until) => Some(until.clone()),
            Bound::Unbounded => None,
        };
        Bounds { from, until, after }
    }

    pub(super) fn range(&self) -> ScanRange<'_> {
        ScanRange {
            prefix: &[],
            from: &self.from,
            until: self.until.as_deref(),
            after: self.after.as_deref(),
        }
    }
}

/// A page as the node has it in memory.
#[derive(Debug)]
pub(super) struct Page {
    /// Keys in order, and the rows but for those whose values are only in the store: each is read with a request, and left out
    /// when it has gone.
    pub(super) rows: Vec<(Bytes, Option<Row>)>,
    /// The key after which the next page begins.
    pub(super) next: Option<Bytes>,
    /// Whether it may be shown only after a sync.
    pub(super) gated: bool,
}

impl Page {
    /// The first page of a range. O(log rows + rows of the page).
    pub(super) fn of(
        node: &Node,
        now: Now,
        table: TableId,
        range: ScanRange<'_>,
    ) -> Result<Page, AnswersLater> {
        let view = node.view(now);
        let info = view.table_info(table);
        let sync = info.is_some_and(|info| info.options.durability == Durability::Sync);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
            gated: false,
        };
        let mut size = 0;
        for row in view.scan(table, range)? {
            size += row.key().len() + row.value_len();
            if page.rows.len() == PAGE_ROWS || (size > PAGE_BYTES && !page.rows.is_empty()) {
                page.next = page.rows.last().map(|(key, _)| key.clone());
                break;
            }
            page.gated |= sync && row.seq() > node.durable();
            page.rows.push((row.key().clone(), owned(&row)));
        }
        Ok(page)
    }
}

fn owned(row: &RowRef<'_>) -> Option<Row> {
    Some(Row {
        value: row.value()?.clone(),
        expires: row.expires(),
        version: row.version(),
    })
}

/// The answer to a [`TableOp::Get`](rumormill_core::table::TableOp::Get) for one value.
pub(super) fn row(response: Response) -> Result<Option<Row>, Error> {
    match response {
        Response::Row(row) => Ok(row),
        Response::Siblings(siblings) if siblings.values.len() > 1 => Err(Error::Siblings),
        Response::Siblings(siblings) => {
            let only = siblings.values.into_iter().next();
            Ok(only.map(|(value, version)| Row {
                value,
                expires: None,
                version,
            }))
        }
        other => unanswerable("a read", &other),
    }
}

/// The answer to the same, for siblings.
pub(super) fn siblings(response: Response) -> Result<Option<Siblings>, Error> {
    match response {
        Response::Siblings(siblings) => Ok(Some(siblings)),
        Response::Row(None) => Ok(None),
        Response::Row(Some(_)) => Err(Error::NoSiblings),
        other => unanswerable("a read", &other),
    }
}
