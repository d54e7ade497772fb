//! Rot: bits of stored records flip, and the node finds out when it reads them or starts.

use bytes::Bytes;
use rumormill_core::store::RecordKind;

use crate::faults::FaultKind;
use crate::host::Host;
use crate::injection::Ending;
use crate::plan::{FaultWhat, Table};
use crate::trace::{Field, Weight};
use crate::world::World;

impl World {
    pub(crate) fn begin_rot(&mut self, number: usize, what: &FaultWhat, node: usize, bits: u32) {
        self.finish_turn();
        let Some(node) = self.member_with_disk(node) else {
            return self.try_again(number);
        };
        let host = &mut self.hosts[node];
        let struck = host.disk.rot(self.now_us, bits, may_rot);
        let (stored, logged) = (struck.keys.len() as u64, struck.written_us.len() as u64);
        if stored + logged == 0 {
            return self.try_again(number);
        }
        host.ties.rotten = Some(host.boot);
        self.observers.on_bits_flipped(node);
        self.outdate_copies(node);
        self.strikes(number, what, node);
        self.course.endings.insert(number, Ending::Reboot(node));
        self.count_by(FaultKind::Rot.name(), stored + logged);
        self.count_by("bits_of_the_log", logged);
        let fields = [
            Field::Num("bits", stored + logged),
            Field::Num("logged", logged),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "rots", &fields);
        // Only this disk may have held it: no other member need have synced what a client was told.
        for (table, key) in struck.keys.iter().filter_map(row_of) {
            self.observers.on_rot(node, table, &key);
        }
        for at_us in struck.written_us {
            self.observers.on_batch_rot(node, at_us);
        }
        // Whatever else no other member has is proposed anew.
        let held = self.held(node);
        self.observers.on_went_alone(node, held.as_ref());
    }

    /// Whether the node runs on a disk that has rotted: it may be unable to read a value, and has to say so.
    pub(crate) fn has_rotted(&self, node: usize) -> bool {
        let host = &self.hosts[node];
        host.ties.rotten == Some(host.boot)
    }

    /// Notes the tables that keep siblings and are not defined any more, as a node starts from a disk that has rotted: no member that runs has their
    /// definition.
    pub(crate) fn definitions_lost(&mut self, node: usize) {
        if self.hosts[node].ties.rotten.is_none() {
            return;
        }
        let defines = |host: &Host, at: usize| {
            let id = host.opened().get(at);
            let view = host
                .node
                .as_ref()
                .map(|running| running.view(host.now(self.now_us)));
            let info = id.zip(view).and_then(|(id, view)| view.table_info(*id));
            info.is_some_and(|info| info.explicit)
        };
        for (at, table) in Table::ALL.into_iter().enumerate() {
            let is_lost = !self.hosts.iter().any(|host| defines(host, at));
            if table == Table::Siblings && is_lost {
                self.observers.on_definition_lost(node, table);
            }
        }
    }

    /// An operator restarts a node whose disk has rotted, unless it has been restarted since.
    pub(crate) fn reboot_rotten(&mut self, node: usize) {
        self.finish_turn();
        let host = &self.hosts[node];
        if host.node.is_none() && host.disk.has_failed() {
            // It has met the damage by itself, and halted.
            return self.start(node);
        }
        if host.node.is_none() || !self.has_rotted(node) {
            return;
        }
        let keep = self.hosts[node].disk.unsynced();
        self.power_off(node, keep, true);
        self.trace
            .event(self.now_us, node, Weight::Story, "reboot", &[]);
        self.break_links(node, true);
        self.start(node);
    }
}

/// Whether bits of a record of the tables may flip: of rows of users' tables and of contexts.
fn may_rot(key: &Bytes) -> bool {
    matches!(RecordKind::of(key), RecordKind::Context { .. }) || row_of(key).is_some()
}

/// The table and key of a stored row of a client.
pub(crate) fn row_of(record: &Bytes) -> Option<(Table, Bytes)> {
    let (name, key) = RecordKind::of(record).user_row()?;
    let key = record.slice_ref(key);
    let mut tables = Table::ALL.into_iter();
    let table = tables.find(|table| table.name() == name)?;
    Some((table, key))
}
