//! Many rows in one request, with absolute expiries and with siblings: the way of an import.
//!
//! The rows are written in their order, in jobs of the loop that are bounded. A row that cannot be written is named in the answer, and
//! the others are written. A node that takes no more writes ends the request at a row: the error says which, and nothing after it was
//! tried, so that a client goes on from there and no row overtakes a later one of its key.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use bytes::Bytes;
use rumormill_core::{
    MAX_SIBLING_BYTES, Node, Now, TableId, Wall,
    errors::WriteError,
    table::{Conflict, Write},
};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::page::is_synced;
use crate::query::Query;
use crate::rows::{below_root, table_name};
use crate::text::Text;

/// Rows of one request at most, and siblings of one row: as many as a setting may allow.
const MAX_ROWS: usize = 1_000;
const MAX_SIBLINGS: usize = 1_024;

/// The longest key that a setting may allow, in bytes.
const KEY_BYTES: usize = 64 << 10;

/// Writes, and bytes that they move, in one job of the loop; the last write of a job may exceed the bytes.
const JOB_WRITES: usize = 128;
const JOB_BYTES: usize = 256 << 10;

/// Rows to be written.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRows {
    /// The rows, 1,000 at most. They are written in this order.
    #[serde(deserialize_with = "bounded::<_, _, MAX_ROWS>")]
    #[schema(max_items = 1000)]
    rows: Vec<NewRow>,
}

/// A row to be written: a key, and either a value or siblings.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRow {
    /// The key.
    key: Text,
    /// The value. In a table that keeps siblings it is one more of them.
    value: Option<Text>,
    /// When the row expires, in milliseconds since the Unix epoch; absent for never. A row that has expired is not written.
    expires_ms: Option<u64>,
    /// Values of the key in a table that keeps siblings, each as often as the key is to have it. Those that the key lacks are written beside
    /// all that it has, so that the same request again changes nothing.
    #[serde(default, deserialize_with = "some_siblings")]
    #[schema(min_items = 1, max_items = 1024)]
    siblings: Option<Vec<Text>>,
}

/// The outcome for rows that were to be written.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct RowsWritten {
    /// Rows that were written.
    written: u64,
    /// Rows with siblings that the keys had already.
    present: u64,
    /// Rows that had expired.
    expired: u64,
    /// Rows that were refused.
    refused: Vec<RefusedRow>,
}

/// A row that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedRow {
    /// Its place in the request, from 0.
    row: u64,
    /// For programs: the code that a PUT of the row would get.
    #[schema(value_type = String, example = "key_too_large")]
    code: &'static str,
    /// For people.
    message: String,
}

/// Write many rows.
///
/// Rows are refused one by one: with the codes of a PUT, and with `keeps_no_siblings`, when a row has siblings and the table keeps none. The
/// answer names them, and the others are written. An error that is about the node ends the request: it has the place of the row where it
/// came as `row`, and `written`, `present`, `expired` and `refused` for the rows before. Nothing after these was tried: send the rest
/// again, from `row` on. Once the answer is there, all rows of a table with the durability `sync` are durable.
#[utoipa::path(post, path = "/v1/usr/{table}", tag = "rows", operation_id = "write_rows",
    params(("table" = String, Path, description = "The table; it comes into being with its first row")),
    request_body = NewRows,
    responses((status = 200, description = "No row is left to be tried", body = RowsWritten),
              (status = 400, description = "`bad_json`, `bad_parameter`, `bad_table_name`, `mode_not_built`: nothing was written"),
              (status = 409, description = "`clock_ahead`"),
              (status = 413, description = "`value_too_large`: the body, with the limit; nothing was written"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 501, description = "`answers_later`: the rows of this table are written one by one"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn write_rows(
    State(gateway): State<Gateway>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RowsWritten>, ApiError> {
    Query::parse(uri.query(), &[])?;
    let table = table_name(below_root(&uri))?;
    let limit = body_limit(gateway.value_bytes(&headers).await?);
    let new: NewRows = gateway.read_json(&headers, body, limit).await?;
    let items: Result<Vec<Item>, ApiError> = new.rows.into_iter().enumerate().map(item).collect();
    let items: Arc<[Item]> = items?.into();
    let mut progress = Progress::default();
    while progress.next < items.len() && progress.failed.is_none() {
        let (table, items) = (table.clone(), Arc::clone(&items));
        let job = move |node: &mut Node, now: Now| progress.go_on(node, now, &table, &items);
        progress = gateway.calls.with(job).await?;
    }
    if progress.gated {
        gateway.calls.sync().await?;
    }
    progress.answer().map(Json)
}

/// The longest body, in bytes: one row of the longest value that is as long in JSON as can be, or the siblings of a key in base64.
fn body_limit(value_bytes: usize) -> usize {
    let row = value_bytes.saturating_add(KEY_BYTES);
    let in_json = row.saturating_mul(6).saturating_add(body::SMALL_BODY);
    in_json.max(2 * MAX_SIBLING_BYTES)
}

/// A row of a request, checked.
struct Item {
    key: Bytes,
    content: Content,
}

enum Content {
    Value {
        value: Bytes,
        expires: Option<Wall>,
    },
    /// At least one.
    Siblings(Vec<Bytes>),
}

/// Checks the form of a row.
///
/// # Errors
/// `bad_json`, with the place of the row.
fn item((at, row): (usize, NewRow)) -> Result<Item, ApiError> {
    let bad = |why: &str| ApiError::bad_json(format!("row {at}: {why}"));
    let bytes = |text: &Text| text.to_bytes().map_err(|why| bad(&why));
    let content = match (&row.value, &row.siblings) {
        (Some(value), None) => Content::Value {
            value: bytes(value)?,
            expires: row.expires_ms.map(Wall::from_millis),
        },
        (None, Some(_)) if row.expires_ms.is_some() => {
            return Err(bad("rows with siblings do not expire"));
        }
        (None, Some(siblings)) if !siblings.is_empty() => {
            Content::Siblings(siblings.iter().map(bytes).collect::<Result<_, _>>()?)
        }
        _ => return Err(bad("a row has either a value or one sibling or more")),
    };
    Ok(Item {
        key: bytes(&row.key)?,
        content,
    })
}

/// How far a request has come.
#[derive(Default)]
struct Progress {
    done: RowsWritten,
    /// The first row that is left to be tried.
    next: usize,
    /// Whether siblings of that row were written.
    begun: bool,
    /// Whether the answer has to wait for a sync.
    gated: bool,
    /// Why no more rows are tried.
    failed: Option<ApiError>,
}

/// A job of the loop.
struct Job<'a> {
    node: &'a mut Node,
    now: Now,
    table: TableId,
    /// Whether the table keeps siblings.
    keeps: bool,
    /// Writes and bytes that are left of the job.
    writes: usize,
    bytes: usize,
}

impl<'a> Job<'a> {
    /// A job on the table of this name.
    ///
    /// # Errors
    /// The node takes no write to this table.
    fn new(node: &'a mut Node, now: Now, name: &str) -> Result<Self, ApiError> {
        let table = node.table_to_write(name)?;
        if node.view(now).answers_later(table) {
            return Err(WriteError::AnsweredLater.into());
        }
        let info = node.view(now).table_info(table);
        let keeps = info.is_some_and(|info| info.options.conflict == Conflict::Siblings);
        Ok(Job {
            node,
            now,
            table,
            keeps,
            writes: JOB_WRITES,
            bytes: JOB_BYTES,
        })
    }

    /// Counts work that moves so many bytes.
    fn spend(&mut self, bytes: usize) {
        self.writes = self.writes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_over(&self) -> bool {
        self.writes == 0 || self.bytes == 0
    }

    fn put(&mut self, key: &[u8], value: &Bytes, expires: Option<Wall>) -> Result<(), Refused> {
        let value = value.clone();
        let write = Write::Put {
            key,
            value,
            expires,
        };
        let written = self.node.write(self.now, self.table, write);
        written.map(drop).map_err(Refused::from)
    }

    /// The values of a key in a table that keeps siblings.
    fn siblings_of(&self, key: &[u8]) -> Vec<Bytes> {
        let found = self.node.view(self.now).get(self.table, key);
        let siblings = found.row().and_then(|row| row.siblings());
        let values = siblings.into_iter().flat_map(|siblings| siblings.values);
        values.map(|(value, _)| value).collect()
    }
}

impl Progress {
    /// Writes rows until the job is as long as it may be, the rows are all done, or the node takes no more. At least one write is
    /// done, or a row without one.
    fn go_on(mut self, node: &mut Node, now: Now, name: &str, items: &[Item]) -> Progress {
        let mut job = match Job::new(node, now, name) {
            Ok(job) => job,
            Err(error) => {
                self.failed = Some(error);
                return self;
            }
        };
        while let Some(item) = items.get(self.next)
            && !job.is_over()
        {
            match self.step(&mut job, item) {
                Ok(true) => self.next += 1,
                Ok(false) => break,
                Err(Refused::Row(error)) => self.refuse(error),
                Err(Refused::Request(error)) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        // Also where nothing was written: the answer says that siblings are there.
        let shown = self.begun || self.done.written + self.done.present > 0;
        self.gated |= shown && is_synced(job.node, now, job.table);
        self
    }

    /// Writes a row, and returns whether all of it is done: with siblings the job may be over before.
    fn step(&mut self, job: &mut Job<'_>, item: &Item) -> Result<bool, Refused> {
        let key = &item.key;
        match &item.content {
            Content::Value {
                expires: Some(at), ..
            } if *at <= job.now.wall && !job.keeps => {
                job.spend(0);
                self.done.expired += 1;
                Ok(true)
            }
            Content::Value { value, expires } => {
                job.spend(key.len() + value.len());
                job.put(key, value, *expires)?;
                self.done.written += 1;
                Ok(true)
            }
            Content::Siblings(values) if job.keeps => self.add_siblings(job, key, values),
            Content::Siblings(_) => {
                job.spend(0);
                Err(Refused::Row(keeps_no_siblings()))
            }
        }
    }

    /// Writes the values that the key lacks, and returns whether all are there.
    fn add_siblings(
        &mut self,
        job: &mut Job<'_>,
        key: &[u8],
        values: &[Bytes],
    ) -> Result<bool, Refused> {
        let present = job.siblings_of(key);
        let mut size: usize = present.iter().map(Bytes::len).sum();
        job.spend(size);
        for (at, value) in lacking(values, &present).into_iter().enumerate() {
            if at > 0 && job.is_over() {
                return Ok(false);
            }
            // A write takes the siblings that are there into its record.
            size += value.len();
            job.spend(size);
            job.put(key, value, None)?;
            self.begun = true;
        }
        match std::mem::take(&mut self.begun) {
            true => self.done.written += 1,
            false => self.done.present += 1,
        }
        Ok(true)
    }

    fn refuse(&mut self, error: ApiError) {
        self.begun = false;
        self.done.refused.push(RefusedRow {
            row: self.next as u64,
            code: error.code(),
            message: error.message().to_string(),
        });
        self.next += 1;
    }

    fn answer(self) -> Result<RowsWritten, ApiError> {
        let Some(error) = self.failed else {
            return Ok(self.done);
        };
        let done = self.done;
        let refused: Vec<_> = done.refused.iter().map(RefusedRow::to_json).collect();
        Err(error
            .with("row", self.next)
            .with("written", done.written)
            .with("present", done.present)
            .with("expired", done.expired)
            .with("refused", refused))
    }
}

impl RefusedRow {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "row": self.row, "code": self.code, "message": self.message })
    }
}

/// Why a row was not written.
enum Refused {
    /// The row itself.
    Row(ApiError),
    /// The node takes no rows at all.
    Request(ApiError),
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::EmptyKey
            | WriteError::KeyTooLarge { .. }
            | WriteError::ValueTooLarge { .. }
            | WriteError::LastClock
            | WriteError::TooManySiblings { .. }
            | WriteError::SiblingsTooLarge { .. }
            | WriteError::ExpiryUnsupported => Refused::Row(error.into()),
            _ => Refused::Request(error.into()),
        }
    }
}

fn keeps_no_siblings() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "keeps_no_siblings",
        "a row with siblings, in a table that keeps none",
    )
}

/// Returns the values that are wanted more often than they are present, each as often as it lacks, shorter ones first.
/// O(n log n) comparisons.
fn lacking<'a>(wanted: &'a [Bytes], present: &[Bytes]) -> Vec<&'a Bytes> {
    let order = |a: &&Bytes, b: &&Bytes| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    let mut wanted: Vec<&Bytes> = wanted.iter().collect();
    let mut present: Vec<&Bytes> = present.iter().collect();
    wanted.sort_unstable_by(order);
    present.sort_unstable_by(order);
    let mut present = present.into_iter().peekable();
    wanted.retain(|value| {
        while present
            .next_if(|other| order(other, value).is_lt())
            .is_some()
        {}
        present.next_if_eq(value).is_none()
    });
    wanted
}

/// Reads a list of at most `MAX` elements.
fn bounded<'de, D, T, const MAX: usize>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(next) = list.next_element()? {
                if all.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                all.push(next);
            }
            Ok(all)
        }
    }

    input.deserialize_seq(Bounded::<T, MAX>(std::marker::PhantomData))
}

fn some_siblings<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<Text>>, D::Error> {
    bounded::<_, _, MAX_SIBLINGS>(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lack_as_often_as_they_are_wanted_more() {
        let bytes = |all: &[&'static str]| -> Vec<Bytes> {
            all.iter()
                .map(|text| Bytes::from_static(text.as_bytes()))
                .collect()
        };
        let of = |wanted: &[&'static str], present: &[&'static str]| -> Vec<String> {
            let (wanted, present) = (bytes(wanted), bytes(present));
            let lacking = lacking(&wanted, &present);
            lacking
                .iter()
                .map(|value| String::from_utf8_lossy(value).into())
                .collect()
        };
        assert_eq!(of(&["b", "a", "a"], &[]), ["a", "a", "b"]);
        assert_eq!(of(&["b", "a", "a"], &["a", "c"]), ["a", "b"]);
        assert_eq!(of(&["a", "long", ""], &["a", "", "a", "long"]), [""; 0]);
        assert_eq!(of(&["b"], &["a", "c", "bb"]), ["b"]);
    }
}
