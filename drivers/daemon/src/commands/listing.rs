//! The rows of a table over HTTP, page by page, in the order of their keys.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http::{self, Ask, Connection};
use crate::failure::Failure;
use crate::table::{Table, unexpected};

/// Rows asked for at once.
const LIMIT: u32 = 1000;

/// The header by which a node that is no full member says so.
const PHASE: &str = "x-rumormill-state";

/// How long each read of a page may take: its values may have to come from a disk that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pages of a table that are left to read.
pub(super) struct Pages {
    connection: Connection,
    next: Option<String>,
    /// The node's word for its phase while it is no full member.
    phase: Option<String>,
}

#[derive(Deserialize)]
struct Page<R> {
    rows: Vec<R>,
    next: Option<String>,
}

impl Pages {
    /// All rows whose keys begin with `prefix`.
    pub(super) fn new(endpoint: &str, table: &Table, prefix: &str) -> Pages {
        let (table, prefix) = (http::percent(table.name()), http::percent(prefix));
        Pages {
            connection: Connection::new(endpoint, PATIENCE),
            next: Some(format!("/v1/usr/{table}?prefix={prefix}&limit={LIMIT}")),
            phase: None,
        }
    }

    /// The next rows; `None` after the last page. Rows may come twice where one was deleted between two pages.
    pub(super) fn next_page<R: DeserializeOwned>(&mut self) -> Result<Option<Vec<R>>, Failure> {
        let Some(path) = self.next.take() else {
            return Ok(None);
        };
        let answer = self.connection.ask(&Ask::new("GET", &path))?;
        if answer.status != 200 {
            return Err(answer.refusal());
        }
        if let Some(phase) = answer.header(PHASE) {
            self.phase = Some(phase.to_string());
        }
        let page: Page<R> = serde_json::from_slice(&answer.body).map_err(|_| unexpected())?;
        let is_path = |path: &String| path.bytes().all(|byte| byte.is_ascii_graphic());
        match &page.next {
            Some(next) if !is_path(next) => return Err(unexpected()),
            _ => self.next = page.next,
        }
        Ok(Some(page.rows))
    }

    /// The phase of a node that may lack rows, since it was no full member when it gave some page.
    pub(super) fn phase(&self) -> Option<&str> {
        self.phase.as_deref()
    }
}
