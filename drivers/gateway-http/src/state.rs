//! The whole state as one JSON document, streamed: no more than a page is held in memory.

use std::collections::BTreeMap;
use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use rumormill_core::{
    TableId,
    table::{Namespace, ScanRange},
};
use serde_json::{Value, json};
use smol::stream;

use crate::backend::Calls;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::page::{Content, Page};
use crate::report;
use crate::siblings::SiblingList;
use crate::text;

/// Rows and row bytes of one page.
const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 256 << 10;

/// The whole state as one document: `{"sys":{"members":{...},"tables":{...},...},"usr":{table:{key:value}}}`.
///
/// A key that is no UTF-8 appears as `base64:` and its base64, such a value as `{"base64":"..."}`. In a table that keeps
/// siblings the value is `{"siblings":[{"value","version"}],"context"}`. A table whose mode answers later is `null`. Rows written while the
/// document is read may or may not be in it. When a stored value is damaged or the node stops, the connection is cut before
/// the document ends.
#[utoipa::path(get, path = "/v1/state", tag = "cluster", operation_id = "read_state",
    responses((status = 200, description = "The document", body = Object, content_type = "application/json"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn document(
    State(gateway): State<Gateway>,
) -> Result<impl IntoResponse, ApiError> {
    let (head, tables) = head(&gateway.calls).await?;
    let writer = Writer {
        calls: gateway.calls,
        phase: Phase::Head(head),
        tables,
        first: true,
    };
    let pages = stream::unfold(Some(writer), |writer| async {
        let mut writer = writer?;
        match writer.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(writer))),
            Ok(None) => None,
            // The connection is cut, so that no client takes half a document for a whole one.
            Err(_) => Some((Err(io::Error::from(io::ErrorKind::BrokenPipe)), None)),
        }
    });
    Ok((
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(pages),
    ))
}

/// The tables to tell; one that answers later has no rows here, and is told as `null`.
type Names = std::vec::IntoIter<(Option<TableId>, String)>;

struct Writer {
    calls: Calls,
    phase: Phase,
    tables: Names,
    first: bool,
}

enum Phase {
    Head(String),
    NextTable,
    Rows {
        table: TableId,
        after: Option<Bytes>,
    },
    Done,
}

impl Writer {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Head(head) => {
                self.phase = Phase::NextTable;
                Ok(Some(Bytes::from(head)))
            }
            Phase::NextTable => match self.tables.next() {
                Some((table, name)) => {
                    let comma = if std::mem::take(&mut self.first) {
                        ""
                    } else {
                        ","
                    };
                    let begun = match table {
                        Some(_) => "{",
                        None => "null",
                    };
                    self.phase = match table {
                        Some(table) => Phase::Rows { table, after: None },
                        None => Phase::NextTable,
                    };
                    let name = Value::String(name);
                    Ok(Some(Bytes::from(format!("{comma}{name}:{begun}"))))
                }
                None => Ok(Some(Bytes::from_static(b"}}"))),
            },
            Phase::Rows { table, after } => self.rows(table, after).await.map(Some),
            Phase::Done => Ok(None),
        }
    }

    async fn rows(&mut self, table: TableId, after: Option<Bytes>) -> Result<Bytes, ApiError> {
        let mut comma = after.is_some();
        let page = self
            .calls
            .with(move |node, now| {
                let range = ScanRange {
                    prefix: b"",
                    after: after.as_deref(),
                    ..ScanRange::default()
                };
                Page::of_range(node, now, table, range, (PAGE_ROWS, PAGE_BYTES))
            })
            .await??;
        let next = page.next();
        let mut out = String::new();
        for row in &page.complete(&self.calls).await? {
            if std::mem::replace(&mut comma, true) {
                out.push(',');
            }
            out.push_str(&Value::String(text::to_member_name(&row.key).into_owned()).to_string());
            out.push(':');
            let value = match &row.content {
                Content::Value { value, .. } => text::to_json(value),
                Content::Siblings(siblings) => json!(SiblingList::from(siblings)),
            };
            out.push_str(&value.to_string());
        }
        self.phase = match next {
            Some(last) => Phase::Rows {
                table,
                after: Some(last),
            },
            None => {
                out.push('}');
                Phase::NextTable
            }
        };
        Ok(Bytes::from(out))
    }
}

async fn head(calls: &Calls) -> Result<(String, Names), ApiError> {
    calls
        .with(|node, now| {
            let members = report::members(node);
            let members: BTreeMap<_, _> = members.iter().map(|m| (m.id.as_str(), m)).collect();
            let tables = report::tables(node, now);
            let tables: BTreeMap<_, _> = tables
                .iter()
                .filter(|t| t.namespace == "usr")
                .map(|t| (&t.name, t))
                .collect();
            let sys = json!({
                "members": members,
                "settings": report::settings(node),
                "status": report::status(node, now),
                "tables": tables,
            });
            let infos = node.view(now).tables();
            let users = infos
                .into_iter()
                .filter(|info| info.namespace == Namespace::Usr);
            let names: Vec<_> = users
                .map(|info| (info.rows.map(|_| info.id), info.name.to_string()))
                .collect();
            (format!("{{\"sys\":{sys},\"usr\":{{"), names.into_iter())
        })
        .await
}
