//! The values of many keys, read as the client reads them.

use rumormill_core::TableId;
use rumormill_kit::client_session::Flow;

use super::{AHEAD, AHEAD_BYTES, in_place};
use crate::client::{Ctx, Job, Piece};
use crate::decoder::Args;
use crate::refusal::{Refusal, RowKey};
use crate::work;

/// Keys in one piece.
const PIECE: usize = 2_048;

/// The values of the keys among the arguments from `at` on; how many there are was said already.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) table: TableId,
    pub(crate) at: usize,
}

impl Values {
    /// The next rows that have to be loaded.
    fn ahead(&self, ctx: &Ctx<'_>, args: Args<'_>) -> Vec<RowKey> {
        let mut rows: Vec<RowKey> = Vec::new();
        let mut bytes = 0;
        for key in args.from(self.at).take(4 * AHEAD) {
            let Some(row) = ctx.row(self.table, key) else {
                continue;
            };
            if row.value().is_some() || row.sibling_count() > 1 {
                continue;
            }
            bytes += row.value_len();
            if !rows.is_empty() && (bytes > AHEAD_BYTES || rows.len() == AHEAD) {
                break;
            }
            let place = (self.table, row.key().clone());
            if !rows.contains(&place) {
                rows.push(place);
            }
        }
        rows
    }
}

impl Job for Values {
    fn pump(&mut self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Piece, Refusal> {
        for _ in 0..PIECE {
            if self.at >= args.len() {
                return Ok(Piece::Done);
            }
            if ctx.replies.is_full() {
                return Ok(Piece::Pause(Flow::Full));
            }
            if ctx.client.work.is_spent() {
                break;
            }
            ctx.client.work.spend(work::ROW);
            let said = ctx.value(self.table, args.get(self.at));
            if in_place(said, ctx.replies).is_err() {
                return Ok(Piece::Needs(self.ahead(ctx, args)));
            }
            self.at += 1;
        }
        Ok(Piece::Pause(Flow::Yield))
    }
}
