//! Rows from the wire.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{ActorIx, Arrival, Replica};
use crate::config::MAX_ROW_BYTES;
use crate::refusals::Refusal;
use crate::table::catalog::Catalog;
use crate::table::siblings::SiblingRow;
use crate::table::{Hlc, Mode, RowClass};
use crate::wire;

impl Replica {
    /// Interns what a batch names.
    ///
    /// # Errors
    /// The reason to refuse the batch; nothing was merged.
    pub(crate) fn intern_batch(
        &mut self,
        catalog: &mut Catalog,
        batch: wire::RowBatch,
    ) -> Result<Vec<Arrival>, Refusal> {
        let mut classes = Vec::with_capacity(batch.tables.len());
        for table in &batch.tables {
            let class = RowClass::from_u8(table.class).ok_or(Refusal::UnknownClass)?;
            let fits = (1..=usize::from(u8::MAX)).contains(&table.name.len());
            if !fits || class != RowClass::Sys && Mode::of(&table.name) != Mode::Gossip {
                return Err(Refusal::BadTableName);
            }
            if class == RowClass::Sys && catalog.find(class, &table.name).is_none() {
                return Err(Refusal::UnknownSystemTable);
            }
            classes.push(class);
        }
        for row in &batch.rows {
            let sane = (row.table as usize) < batch.tables.len()
                && (row.actor as usize) < batch.actors.len()
                && row.counter != 0
                && row.counter < u64::MAX
                && row.clock <= Hlc::MAX.0
                && !row.key.is_empty()
                && row.key.len() + row.value.as_ref().map_or(0, Bytes::len) <= MAX_ROW_BYTES;
            if !sane {
                return Err(Refusal::BadRow);
            }
        }
        let siblings = read_siblings(&batch, &classes)?;
        let actors: Vec<ActorIx> = batch
            .actors
            .iter()
            .map(|actor| self.coverage.intern(*actor))
            .collect();
        let mut tables = Vec::with_capacity(classes.len());
        for (class, table) in classes.iter().zip(&batch.tables) {
            let id = catalog.intern(*class, &table.name);
            self.make_room(catalog, id);
            tables.push(id);
        }
        let arrivals = batch.rows.into_iter().zip(siblings);
        let arrivals = arrivals.map(|(row, siblings)| Arrival {
            table: tables[row.table as usize],
            actor: actors[row.actor as usize],
            counter: row.counter,
            clock: Hlc(row.clock),
            expires: row.expires,
            key: row.key,
            value: row.value,
            siblings,
        });
        Ok(arrivals.collect())
    }
}

/// The versions of each row whose row class keeps siblings; the row itself stands for one of them.
fn read_siblings(
    batch: &wire::RowBatch,
    classes: &[RowClass],
) -> Result<Vec<Option<Box<SiblingRow>>>, Refusal> {
    let read = |row: &wire::Row| {
        if !classes[row.table as usize].has_siblings() {
            return Ok(None);
        }
        let form = row.value.as_ref().ok_or(Refusal::BadSiblings)?;
        let siblings = SiblingRow::decode(form)?;
        let actor = batch.actors[row.actor as usize];
        let stands = siblings.versions().iter().any(|version| {
            let (dot, clock) = (version.dot, version.clock.0);
            (dot.actor, dot.counter, clock) == (actor, row.counter, row.clock)
        });
        match stands && row.expires == 0 {
            true => Ok(Some(Box::new(siblings))),
            false => Err(Refusal::BadSiblings),
        }
    };
    batch.rows.iter().map(read).collect()
}
