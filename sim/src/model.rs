//! The answers to clients: every accepted operation, its promise, and the loss that a crash may have caused.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rumormill_core::table::Version;

use crate::checkers::{Contents, RowState};
use crate::clock::is_beyond_drift;
use crate::plan::Table;

/// The effect of an operation on its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It wrote this value.
    Put(Bytes),
    /// It wrote this value, and the key expires at this time, in milliseconds of wall time.
    PutFor(Bytes, u64),
    /// It deleted the key.
    Delete,
}

impl Effect {
    /// The value written.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Effect::Put(value) | Effect::PutFor(value, _) => Some(value),
            Effect::Delete => None,
        }
    }
}

/// One accepted operation.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it was accepted, in virtual microseconds.
    pub at_us: u64,
    /// The node that accepted it.
    pub node: usize,
    /// The version it got.
    pub version: Version,
    /// Its effect.
    pub effect: Effect,
    /// Whether the client has been told that it is done.
    pub acked: bool,
    /// The acceptor stopped before its disk had it, or where no disk was to have it. If that was after the acknowledgement, only a table that does
    /// not sync first may be missing it.
    pub at_risk: bool,
    /// The acceptor lost all it had stored, or never stored anything and stopped: where no other member had the operation yet,
    /// no member has it now. Not even a table that syncs first can promise more than the disk it synced to.
    pub forgotten: bool,
    /// The acceptor had lost the definition of a table that syncs first, knew it by its name alone, and acknowledged at once.
    pub undefined: bool,
    /// Its key had vanished from a disk, and the node of that disk has not repaired it until later.
    pub lost: bool,
    /// It removed every row of its table up to its clock, whichever key it has.
    pub flush: bool,
    /// The acceptor had not joined its cluster, or left it before another member had everything. What it accepted is proposed to the cluster when it joins, under a fresh clock:
    /// a put as new as the joining, a delete perhaps not at all, for where no other member has the key nothing is left of it.
    pub alone: bool,
    /// A node that went alone held its row, hidden: it proposes that anew when it returns, under a clock above all that was freed meanwhile.
    pub renewed: bool,
    table: Table,
}

/// The rows of a node that takes them along: also hidden ones, which are proposed like any others.
#[derive(Debug)]
pub struct Held {
    /// The rows that it shows.
    pub shown: Contents,
    /// The rows that are hidden.
    pub hidden: Vec<(Table, Bytes, Version)>,
}

/// An operation as it was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// By which node.
    pub node: usize,
    /// Its version.
    pub version: Version,
    /// Its effect.
    pub effect: Effect,
    /// Whether the node had not joined its cluster yet.
    pub alone: bool,
}

/// All that clients were told.
#[derive(Debug, Default)]
pub struct Model {
    ops: Vec<Told>,
    keys: BTreeMap<(Table, Bytes), Vec<usize>>,
    /// The flushes of each table.
    flushes: BTreeMap<Table, Vec<usize>>,
    /// Keys that vanished from a disk and have not been repaired, with the nodes whose it was.
    lost: BTreeMap<(Table, Bytes), BTreeSet<usize>>,
    /// A node may have written rows again under a clock so far ahead that not every member follows it.
    rewritten_beyond_drift: bool,
}

impl Model {
    /// An operation was accepted, on one key or on a whole table. Returns its number. The caller tells later when it is
    /// acknowledged.
    pub fn accepted(&mut self, table: Table, key: Option<&Bytes>, op: Accepted) -> usize {
        let number = self.ops.len();
        let Accepted {
            at_us,
            node,
            version,
            effect,
            alone,
        } = op;
        self.ops.push(Told {
            at_us,
            node,
            version,
            effect,
            acked: false,
            at_risk: false,
            forgotten: false,
            undefined: false,
            lost: false,
            flush: key.is_none(),
            alone,
            renewed: false,
            table,
        });
        match key {
            Some(key) => self.keys.entry((table, key.clone())).or_default(),
            None => self.flushes.entry(table).or_default(),
        }
        .push(number);
        number
    }

    /// An operation on one key is part of a flush: in a table with siblings it removes what is not above its clock.
    pub(crate) fn is_flush(&mut self, number: usize) {
        self.ops[number].flush = true;
    }

    /// The acceptor had lost the definition of the table, and takes it for one that syncs now and then.
    pub(crate) fn is_undefined(&mut self, number: usize) {
        self.ops[number].undefined = true;
    }

    /// The client was told that it is done.
    pub fn acked(&mut self, number: usize) {
        self.ops[number].acked = true;
    }

    /// The acceptor lost its power before its disk had the operation.
    pub fn at_risk(&mut self, number: usize) {
        self.ops[number].at_risk = true;
    }

    /// The node lost all it had stored.
    pub fn forgot(&mut self, node: usize) {
        for op in self.ops.iter_mut().filter(|op| op.node == node) {
            op.forgotten = true;
        }
    }

    /// The node lost what it had stored since this moment.
    pub fn forgot_since(&mut self, node: usize, since_us: u64) {
        let lost = |op: &&mut Told| op.node == node && op.at_us >= since_us;
        for op in self.ops.iter_mut().filter(lost) {
            op.forgotten = true;
        }
    }

    /// The node lost what it had stored of this moment.
    pub fn forgot_at(&mut self, node: usize, at_us: u64) {
        let lost = |op: &&mut Told| op.node == node && op.at_us == at_us;
        for op in self.ops.iter_mut().filter(lost) {
            op.forgotten = true;
        }
    }

    /// No member that runs has the definition of a table that this node had: its rows are not shown until the table is created again.
    pub fn forgot_table(&mut self, node: usize, table: Table) {
        let lost = |op: &&mut Told| op.node == node && op.table == table;
        for op in self.ops.iter_mut().filter(lost) {
            op.forgotten = true;
        }
    }

    /// The node's record of this key is damaged: what it had accepted may be nowhere else.
    pub fn forgot_key(&mut self, node: usize, table: Table, key: &Bytes) {
        let numbers = self.keys.get(&(table, key.clone()));
        for number in numbers.into_iter().flatten() {
            let op = &mut self.ops[*number];
            op.forgotten |= op.node == node;
        }
    }

    /// A node lacks this key and does not know it. Until it has repaired itself others may take over what it covers without having the
    /// row: what was written may be dropped, and what it replaced may come back. Only that all agree in the end is promised.
    pub fn lost_key(&mut self, node: usize, table: Table, key: &Bytes) {
        let nodes = self.lost.entry((table, key.clone())).or_default();
        nodes.insert(node);
    }

    /// A node has repaired itself and shows this: its keys there are whole again. What was done to them until now stays without promise.
    pub fn repaired(&mut self, node: usize, shown: &Contents) {
        let (keys, ops) = (&self.keys, &mut self.ops);
        self.lost.retain(|place, nodes| {
            if shown.get(place.0, &place.1).is_some() {
                nodes.remove(&node);
            }
            if nodes.is_empty() {
                let numbers = keys.get(place).into_iter().flatten();
                numbers.for_each(|number| ops[*number].lost = true);
            }
            !nodes.is_empty()
        });
    }

    /// Whether the key vanished from a disk and has not been repaired.
    pub fn is_lost(&self, table: Table, key: &Bytes) -> bool {
        !self.lost.is_empty() && self.lost.contains_key(&(table, key.clone()))
    }

    /// The node took along what it had accepted and what else it held, and proposes it anew when it returns.
    pub fn went_alone(&mut self, node: usize, held: Option<&Held>) {
        for op in self.ops.iter_mut().filter(|op| op.node == node) {
            op.alone = true;
        }
        for (table, key, version) in held.iter().flat_map(|held| &held.hidden) {
            let numbers = self.keys.get(&(*table, key.clone()));
            for number in numbers.into_iter().flatten() {
                self.ops[*number].renewed |= self.ops[*number].version == *version;
            }
        }
        for ((table, key), numbers) in &self.keys {
            let row = held.and_then(|held| held.shown.get(*table, key));
            let version = row.map(|row| row.version);
            for number in numbers {
                // Any of the siblings it holds may be of this operation.
                let held = *table == Table::Siblings && row.is_some();
                self.ops[*number].alone |= held || Some(self.ops[*number].version) == version;
            }
        }
    }

    /// A node joins or rejoins, and may write rows again under a clock so far ahead that not every member follows it.
    pub(crate) fn rewritten_beyond_drift(&mut self) {
        self.rewritten_beyond_drift = true;
    }

    /// A node lost its memory, and with it possibly the last copy of a row that it had accepted and that is kept only there.
    pub fn stopped(&mut self, node: usize) {
        let of_memory = |op: &&mut Told| op.node == node && op.table == Table::Memory && !op.flush;
        for op in self.ops.iter_mut().filter(of_memory) {
            op.at_risk = true;
        }
    }

    /// Every key that was ever written, with its operations in the order they were accepted.
    pub fn keys(&self) -> impl Iterator<Item = (Table, &Bytes, History<'_>)> {
        self.keys.iter().map(|((table, key), numbers)| {
            (
                *table,
                key,
                History {
                    model: self,
                    numbers,
                    flushes: self.flushes.get(table).map_or(&[], Vec::as_slice),
                    lost: self.is_lost(*table, key),
                },
            )
        })
    }

    /// The operations on one key, if there were any.
    pub fn history(&self, table: Table, key: &Bytes) -> Option<History<'_>> {
        let numbers = self.keys.get(&(table, key.clone()))?;
        Some(History {
            model: self,
            numbers,
            flushes: self.flushes.get(&table).map_or(&[], Vec::as_slice),
            lost: self.is_lost(table, key),
        })
    }

    /// Whether deletes may be kept to the end: one, or a row that may end as one, has a clock so far ahead that no member's own clock follows.
    /// Guarantees, "Deletes": a delete is freed by claims with clocks that are not below its own. "Rejoining": what a node writes again in a rejoin
    /// gets new clocks, which no client is told.
    pub(crate) fn keeps_deletes(&self) -> bool {
        // A row with siblings has the clock of its last write, and keeps what earlier ones have replaced as deletes.
        let removes = |op: &&Told| {
            let is_end = matches!(op.effect, Effect::Delete | Effect::PutFor(..));
            is_end || op.table == Table::Siblings
        };
        let removing = self.ops.iter().filter(removes);
        let mut beyond = removing.filter(|op| is_beyond_drift(op.version.clock, op.at_us));
        self.rewritten_beyond_drift || beyond.next().is_some()
    }

    /// Operations accepted.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing was accepted.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// The operations on one key.
#[derive(Clone, Copy)]
pub struct History<'a> {
    model: &'a Model,
    numbers: &'a [usize],
    flushes: &'a [usize],
    /// Whether the key vanished from a disk and has not been repaired.
    lost: bool,
}

impl<'a> History<'a> {
    /// The operations on the key, oldest acceptance first, then the flushes of its table.
    pub fn ops(self) -> impl Iterator<Item = &'a Told> {
        let numbers = self.numbers.iter().chain(self.flushes);
        numbers.map(|number| &self.model.ops[*number])
    }

    /// The same with their numbers.
    pub fn numbered(self) -> impl Iterator<Item = (usize, &'a Told)> {
        let numbers = self.numbers.iter().chain(self.flushes);
        numbers.map(|number| (*number, &self.model.ops[*number]))
    }

    /// Whether the store promised to keep this operation, or something newer.
    ///
    /// The guarantees allow each exception:
    /// - "Writes": one that was not acknowledged may have taken effect, or not;
    /// - rule 9: a node that was alone proposes rows, and a delete leaves none where no member has the key;
    /// - "Damage": what a disk lost without an error comes back as a repair and no promise;
    /// - "Which durability": what a node accepted may go with its disk, what was not synced with its power, and what is in memory with its
    ///   process, where no other member had it yet; what is synced first stays. "Damage": a node that has lost the definition of a table has it by its
    ///   name until it has rejoined, and so synced now and then; where it alone had the definition, rows are not shown without it.
    pub fn promised(self, op: &Told) -> bool {
        let holds = !op.alone || op.effect != Effect::Delete;
        op.acked
            && holds
            && !self.lost
            && !op.lost
            && !op.forgotten
            && match op.table {
                // A flush writes rows of the store's own tables, and those are synced like periodic ones.
                _ if op.flush => !op.at_risk,
                Table::Periodic | Table::Siblings | Table::Memory => !op.at_risk,
                Table::Sync => !op.undefined || !op.at_risk,
            }
    }

    /// The operation that wrote this value: no two write the same.
    pub fn writer(self, value: &Bytes) -> Option<&'a Told> {
        self.ops().find(|op| op.effect.value() == Some(value))
    }

    /// The operation that wrote a row: by its value, or by its version where the value is only on a disk and was not read.
    pub fn author(self, row: &RowState) -> Option<&'a Told> {
        match &row.value {
            Some(value) => self.writer(value),
            None => self.ops().find(|op| op.version == row.version),
        }
    }

    /// The newest operation that the store promised to keep.
    pub fn newest_promised(self) -> Option<&'a Told> {
        self.ops()
            .filter(|op| self.promised(op))
            .max_by_key(|op| op.version)
    }

    /// Whether an operation that is newer than `version`, or became so by joining or by a rejoin, may have removed the key. `expired` says of a
    /// write whether its row may have ended. Guarantees, "Rejoining": what is proposed in a rejoin is newer than anything freed, and a
    /// hidden row is proposed as any other.
    pub fn may_be_gone(self, version: Version, expired: impl Fn(&Told) -> bool) -> bool {
        self.ops().any(|op| {
            // A flush goes by the clock alone.
            let flushed = op.flush && op.version.clock >= version.clock;
            let removes = op.effect == Effect::Delete || expired(op);
            let newer = op.alone || op.renewed || flushed || op.version > version;
            newer && removes
        })
    }

    /// Whether `put` was deleted again where it was accepted, before its acceptor joined: nothing is left of either. Rule 9: a node proposes the
    /// rows that it has.
    pub fn was_undone(self, put: &Told) -> bool {
        let undoes = |op: &Told| {
            op.node == put.node && op.version > put.version && op.effect == Effect::Delete
        };
        put.alone && self.ops().any(|op| op.alone && undoes(op))
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Actor, NodeId, table::Hlc};

    use super::*;
    use crate::clock::Clock;

    /// Tells the model of an operation of a node on one key, whose clock is so many seconds ahead. Returns its number.
    fn told(
        model: &mut Model,
        (table, node): (Table, usize),
        ahead_s: u64,
        effect: Effect,
    ) -> usize {
        let wall = Clock::default().now(0).wall + std::time::Duration::from_secs(ahead_s);
        let actor = Actor {
            node: NodeId(node as u64),
            boot: 1,
        };
        let op = Accepted {
            at_us: 0,
            node,
            version: Version {
                clock: Hlc::at(wall),
                actor,
                counter: model.len() as u64,
            },
            effect,
            alone: false,
        };
        let number = model.accepted(table, Some(&Bytes::from("k")), op);
        model.acked(number);
        number
    }

    fn promised(model: &Model, table: Table, number: usize) -> bool {
        let history = model.history(table, &Bytes::from("k")).unwrap();
        history.promised(&model.ops[number])
    }

    #[test]
    fn what_is_kept_in_memory_only_is_promised_until_the_node_that_accepted_it_stops() {
        let mut model = Model::default();
        let put = || Effect::Put("v".into());
        let first = told(&mut model, (Table::Memory, 0), 0, put());
        model.stopped(1);
        assert!(promised(&model, Table::Memory, first));
        model.stopped(0);
        let second = told(&mut model, (Table::Memory, 0), 1, put());
        assert!(!promised(&model, Table::Memory, first));
        assert!(promised(&model, Table::Memory, second));
    }

    #[test]
    fn only_the_node_that_accepted_a_write_alone_undoes_it_alone() {
        for (deleter, undone) in [(0, true), (1, false)] {
            let mut model = Model::default();
            let put = told(&mut model, (Table::Sync, 0), 0, Effect::Put("v".into()));
            told(&mut model, (Table::Sync, deleter), 1, Effect::Delete);
            for node in 0..2 {
                model.went_alone(node, None);
            }
            let history = model.history(Table::Sync, &Bytes::from("k")).unwrap();
            assert_eq!(history.was_undone(&model.ops[put]), undone);
        }
    }

    #[test]
    fn deletes_are_kept_to_the_end_where_what_removes_has_a_clock_that_no_member_follows() {
        const FAR: u64 = 1_000;
        let (put, expires) = (Effect::Put("v".into()), Effect::PutFor("v".into(), 1));
        for (ahead_s, table, effect, kept) in [
            (FAR, Table::Sync, put.clone(), false),
            (FAR, Table::Siblings, put.clone(), true),
            (1, Table::Siblings, put, false),
            (FAR, Table::Sync, expires, true),
            (FAR, Table::Sync, Effect::Delete, true),
            (1, Table::Sync, Effect::Delete, false),
        ] {
            let mut model = Model::default();
            told(&mut model, (table, 0), ahead_s, effect);
            assert_eq!(model.keeps_deletes(), kept);
            model.rewritten_beyond_drift();
            assert!(model.keeps_deletes());
        }
    }
}
