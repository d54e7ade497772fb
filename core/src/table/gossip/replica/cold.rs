//! Rows whose values are only in the store: when a value leaves memory, and what a load brought back.
//!
//! A value that is longer than [`Config::resident_value`](crate::Config::resident_value) leaves once its batch is durable, and so does every
//! value whose row is hidden because it has expired, where that limit is set. The row keeps its version, and a record counts only if it says the same: so a value that was loaded is that of the row,
//! whatever was written meanwhile.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use bytes::Bytes;

use super::record::{self, GossipRecord};
use super::rows::VersionKey;
use super::{Replica, Value};
use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::{Seq, TableId};
use crate::io::Record;
use crate::store::seal;
use crate::table::RowClass;
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::env::RowEnv;

/// Where a row is: its table and key.
pub(crate) type Place = (TableId, Bytes);

/// A value from the store, and the version it is of.
pub(crate) type Loaded = (VersionKey, Bytes);

/// Values that were loaded for a purpose, by row.
pub(crate) type Values = BTreeMap<Place, Loaded>;

/// The outcome of a load.
pub(crate) enum Thawed {
    /// The row has been replaced, or has gone: nothing had to be loaded.
    Needless,
    /// The value of the row.
    Value(Loaded),
    /// The row was replaced after the load was issued, and that value left memory too: the record may be the older one.
    Stale,
    /// There is a row and no value.
    Failed(ReadError),
}

/// Values that leave memory with the batches that store them, oldest first.
pub(super) struct Cooling {
    /// Longer values do not stay; `None` keeps all.
    limit: Option<u32>,
    due: VecDeque<(Seq, Slot, u64)>,
}

impl Cooling {
    pub(super) fn new(limit: Option<u32>) -> Self {
        Cooling {
            limit,
            due: VecDeque::new(),
        }
    }

    /// Whether a value has to leave once it is stored. The store's own rows stay: the node reads them itself.
    pub(super) fn applies(&self, fx: &Effects, class: RowClass, value: Option<&Bytes>) -> bool {
        self.limit
            .zip(value)
            .is_some_and(|(limit, value)| value.len() > limit as usize)
            && Self::may_leave(fx, class)
    }

    /// Whether a value has to leave once it is stored, since its row is hidden.
    pub(super) fn applies_hidden(&self, fx: &Effects, class: RowClass) -> bool {
        self.limit.is_some() && Self::may_leave(fx, class)
    }

    fn may_leave(fx: &Effects, class: RowClass) -> bool {
        class == RowClass::UsrDurable && fx.has_storage()
    }

    /// The version that arrived as `number` leaves memory when batch `seq` is durable.
    pub(super) fn push(&mut self, seq: Seq, slot: Slot, number: u64) {
        self.due.push_back((seq, slot, number));
    }
}

impl Replica {
    /// Everything up to `upto` is durable: claims may say so, and large values leave memory.
    pub(crate) fn stored(&mut self, upto: Seq) {
        self.coverage.stored(upto);
        while let Some(&(seq, slot, number)) = self.cooling.due.front()
            && seq <= upto
        {
            self.cooling.due.pop_front();
            let current = self.rows.row(slot).map(|row| row.arrival);
            if current == Some(number) {
                self.rows.update(slot, |row| row.value.cool());
            }
        }
    }

    /// The value of a row leaves memory if it has to, because it is large or hidden: at once, or with the batch that stores it.
    pub(super) fn cool_stored(&mut self, env: &RowEnv<'_>, slot: Slot) {
        let Some(row) = self.rows.row(slot) else {
            return;
        };
        let Some(value) = row.value.resident() else {
            return;
        };
        let class = env.catalog.class(row.table);
        let leaves = self.rows.is_hidden(slot) && self.cooling.applies_hidden(env.fx, class);
        if !leaves && !self.cooling.applies(env.fx, class, Some(value)) {
            return;
        }
        if row.seq <= env.fx.durable() {
            self.rows.update(slot, |row| row.value.cool());
        } else {
            self.cooling.push(row.seq, slot, row.arrival);
        }
    }

    /// The version of a row whose value is only in the store.
    pub(crate) fn cold_version(&self, (table, key): &Place) -> Option<VersionKey> {
        let row = self.rows.get(*table, key)?;
        row.value.is_cold().then(|| row.version_key())
    }

    /// The key of a row's record.
    pub(crate) fn record_key(&self, catalog: &Catalog, (table, key): &Place) -> Bytes {
        super::record::row_key(catalog.class(*table), catalog.name(*table), key)
    }

    /// Judges what a load brought that was issued for version `issued`.
    pub(crate) fn thaw(
        &self,
        catalog: &Catalog,
        place: &Place,
        issued: VersionKey,
        result: Result<Option<Bytes>, String>,
    ) -> Thawed {
        let Some(current) = self.cold_version(place) else {
            return Thawed::Needless;
        };
        match self.read_record(catalog, place, result) {
            Ok((version, value)) if version == current => Thawed::Value((version, value)),
            _ if issued != current => Thawed::Stale,
            Ok(_) => Thawed::Failed(ReadError::Damaged {
                why: "another version than the row's",
            }),
            Err(error) => Thawed::Failed(error),
        }
    }

    fn read_record(
        &self,
        catalog: &Catalog,
        place: &Place,
        result: Result<Option<Bytes>, String>,
    ) -> Result<Loaded, ReadError> {
        let value = result.map_err(ReadError::Store)?;
        let value = value.ok_or(ReadError::Missing)?;
        let key = self.record_key(catalog, place);
        let damaged = |why| ReadError::Damaged { why };
        let record = Record { key, value };
        let body = seal::open(&record).map_err(|_| damaged("checksum or form"))?;
        match record::read(&record.key, body) {
            Some(GossipRecord::Row { actor, row, .. }) => {
                let actor = self.coverage.find(actor).ok_or(damaged("unknown writer"))?;
                let version = (row.clock, actor, row.counter);
                let value = row.value.resident().cloned();
                Ok((version, value.ok_or(damaged("no value"))?))
            }
            Some(GossipRecord::Covered { .. } | GossipRecord::FreedOn { .. }) => {
                Err(damaged("no row"))
            }
            None => Err(damaged("checksum or form")),
        }
    }

    /// The value of a row: the resident one, or the loaded one of the same version.
    pub(crate) fn value_of<'a>(
        row: &'a super::StoredRow,
        loaded: Option<&'a Loaded>,
    ) -> Option<&'a Bytes> {
        match &row.value {
            Value::Resident(value) => Some(value),
            Value::Cold(_) => loaded
                .filter(|(version, _)| *version == row.version_key())
                .map(|(_, value)| value),
            Value::Dead | Value::Siblings(_) => None,
        }
    }
}
