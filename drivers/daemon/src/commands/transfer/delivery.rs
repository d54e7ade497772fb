//! Rows on their way to a node: one request after the other on one connection, so that rows of a key keep their order.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::refused::Refused;
use crate::commands::http::{Answer, Ask, Connection};
use crate::failure::Failure;
use crate::formats::{self, FileRow};
use crate::table::unexpected;

/// Rows and bytes of one request; a single larger row may exceed the bytes.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// How long each answer may take: the node may have to wait for a disk that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a node may be busy without taking a row.
const BUSY: Duration = Duration::from_secs(30);

/// Rows of one table that go together.
pub(super) struct Batch {
    path: Arc<str>,
    /// Rows in JSON with commas between them.
    rows: Vec<u8>,
    /// Where each begins, and the line that it came from.
    places: Vec<(usize, u64)>,
}

impl Batch {
    /// An empty one for the table with this path.
    pub(super) fn new(path: &Arc<str>) -> Batch {
        Batch {
            path: Arc::clone(path),
            rows: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Adds the row of a line.
    ///
    /// # Errors
    /// None in practice: memory takes everything.
    pub(super) fn push(&mut self, row: &FileRow, line: u64) -> Result<(), Failure> {
        if !self.places.is_empty() {
            self.rows.push(b',');
        }
        self.places.push((self.rows.len(), line));
        formats::write_for_request(row, &mut self.rows).map_err(Failure::output)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether no row of so many bytes is to be added.
    pub(super) fn is_full_for(&self, bytes: usize) -> bool {
        let is_over = self.rows.len() + bytes > BATCH_BYTES;
        self.places.len() >= BATCH_ROWS || (is_over && !self.is_empty())
    }

    /// The request for all rows from this one on.
    fn body_from(&self, first: usize) -> Vec<u8> {
        let begin = self.places.get(first).map_or(0, |(begin, _)| *begin);
        [b"{\"rows\":[", &self.rows[begin..], b"]}"].concat()
    }

    fn line_of(&self, row: usize) -> u64 {
        self.places.get(row).map_or(0, |(_, line)| *line)
    }
}

/// The outcome of rows that were sent.
#[derive(Default)]
pub(super) struct Delivered {
    pub(super) written: u64,
    /// Siblings that were there.
    pub(super) present: u64,
    pub(super) expired: u64,
    pub(super) refused: Refused,
    /// The last line before which no row is left.
    pub(super) up_to: u64,
}

/// The node's words for how far it came.
#[derive(Deserialize)]
struct Done {
    /// The first row that was not tried, if there is one.
    row: Option<usize>,
    written: u64,
    present: u64,
    expired: u64,
    refused: Vec<RefusedRow>,
}

#[derive(Deserialize)]
struct RefusedRow {
    row: usize,
    message: String,
}

#[derive(Deserialize)]
struct Stopped {
    error: Done,
}

/// Sends what comes in to its end, or until the node takes no more.
pub(super) fn deliver(endpoint: &str, inbox: Receiver<Batch>) -> (Delivered, Result<(), Failure>) {
    let mut connection = Connection::new(endpoint, PATIENCE);
    let mut delivered = Delivered::default();
    for batch in inbox {
        if let Err(failure) = delivered.send(&mut connection, &batch) {
            return (delivered, Err(failure));
        }
    }
    (delivered, Ok(()))
}

impl Delivered {
    /// Sends a batch; from the row on that met a busy node again and again.
    fn send(&mut self, connection: &mut Connection, batch: &Batch) -> Result<(), Failure> {
        let (mut first, mut pause) = (0, Duration::from_millis(5));
        let mut since = Instant::now();
        loop {
            let body = batch.body_from(first);
            let ask = Ask::new("POST", &batch.path).header("Content-Type", "application/json");
            let answer = connection.ask(&ask.body(&body))?;
            match answer.status {
                200 => {
                    let done = serde_json::from_slice(&answer.body).map_err(|_| unexpected())?;
                    self.count(batch, first, done);
                    self.up_to = batch.line_of(batch.places.len() - 1);
                    return Ok(());
                }
                // The body of a row that goes alone because of its size.
                413 if batch.places.len() == 1 => {
                    self.refused
                        .add(&answer.refusal().to_string(), batch.line_of(0));
                    self.up_to = batch.line_of(0);
                    return Ok(());
                }
                _ => {}
            }
            let Ok(Stopped { error: done }) = serde_json::from_slice(&answer.body) else {
                return Err(answer.refusal());
            };
            let came = done.row.unwrap_or(0);
            self.count(batch, first, done);
            if came > 0 {
                self.up_to = batch.line_of(first + came - 1);
                (since, pause) = (Instant::now(), Duration::from_millis(5));
            }
            first += came;
            if first >= batch.places.len() || !is_busy(&answer) || since.elapsed() > BUSY {
                return Err(answer.refusal());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    fn count(&mut self, batch: &Batch, first: usize, done: Done) {
        self.written += done.written;
        self.present += done.present;
        self.expired += done.expired;
        for row in done.refused {
            self.refused
                .add(&row.message, batch.line_of(first + row.row));
        }
    }
}

/// Whether the node takes more in a moment.
fn is_busy(answer: &Answer) -> bool {
    let document = answer.json().unwrap_or_default();
    document["error"]["code"] == "busy"
}
