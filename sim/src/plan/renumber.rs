//! Which nodes a plan names, and plans with one machine less.

use super::{Action, Entry, Fault, FaultWhat, Plan, SettingChange};

impl Plan {
    /// The plan without a machine: those behind it move up, and what was done to it is left out.
    #[must_use]
    pub fn without_machine(&self, machine: usize) -> Plan {
        let renumber = |node: usize| (node != machine).then(|| node - usize::from(node > machine));
        let mut out = self.clone();
        out.machines.remove(machine);
        let entries = self.entries.iter();
        out.entries = entries
            .filter_map(|entry| entry.renumbered(&renumber))
            .collect();
        out
    }
}

impl Entry {
    fn renumbered(&self, renumber: &impl Fn(usize) -> Option<usize>) -> Option<Entry> {
        let action = match &self.action {
            Action::Op(op) => Action::Op(op.clone()),
            Action::Move { client, node } => Action::Move {
                client: *client,
                node: renumber(*node)?,
            },
            Action::Define { node, table } => Action::Define {
                node: renumber(*node)?,
                table: *table,
            },
            Action::Set(change) => Action::Set(SettingChange {
                node: renumber(change.node)?,
                ..change.clone()
            }),
            Action::Fault(fault) => Action::Fault(Fault {
                for_us: fault.for_us,
                what: fault.what.renumbered(renumber)?,
            }),
        };
        Some(Entry {
            at_us: self.at_us,
            action,
        })
    }
}

impl FaultWhat {
    /// The same fault by other numbers; `None` when nothing of it is left.
    fn renumbered(&self, renumber: &impl Fn(usize) -> Option<usize>) -> Option<FaultWhat> {
        let mut out = self.clone();
        let (groups, one) = out.nodes_mut();
        for group in groups.into_iter().flatten() {
            *group = group.iter().filter_map(|node| renumber(*node)).collect();
            if group.is_empty() {
                return None;
            }
        }
        if let Some(node) = one {
            *node = renumber(*node)?;
        }
        Some(out)
    }

    /// The same fault against another node, if it names a single one.
    pub(crate) fn striking(&self, struck: usize) -> FaultWhat {
        let mut out = self.clone();
        if let (_, Some(node)) = out.nodes_mut() {
            *node = struck;
        }
        out
    }

    /// The nodes it strikes, of a cut one side, and of a cut the other side. None when it strikes all.
    pub(crate) fn nodes(&self) -> [Vec<usize>; 2] {
        let mut own = self.clone();
        let (groups, one) = own.nodes_mut();
        let one = one.map(|node| vec![*node]);
        let [left, right] = groups.map(|group| group.map(core::mem::take).unwrap_or_default());
        [one.unwrap_or(left), right]
    }

    /// The groups and the single node that the fault names.
    fn nodes_mut(&mut self) -> ([Option<&mut Vec<usize>>; 2], Option<&mut usize>) {
        match self {
            FaultWhat::Loss { .. }
            | FaultWhat::Dup { .. }
            | FaultWhat::Reorder { .. }
            | FaultWhat::Corrupt { .. } => ([None, None], None),
            FaultWhat::Partition { left, right }
            | FaultWhat::Partial { left, right }
            | FaultWhat::Bridge { left, right }
            | FaultWhat::Flap { left, right, .. }
            | FaultWhat::OneWay {
                from: left,
                to: right,
            } => ([Some(left), Some(right)], None),
            FaultWhat::Delay { node, .. }
            | FaultWhat::Congest { node }
            | FaultWhat::Crash { node, .. }
            | FaultWhat::Wipe { node }
            | FaultWhat::Older { node }
            | FaultWhat::Restart { node }
            | FaultWhat::ShortDisk { node }
            | FaultWhat::Pause { node }
            | FaultWhat::Slow { node, .. }
            | FaultWhat::Leave { node }
            | FaultWhat::FailDisk { node }
            | FaultWhat::SlowDisk { node, .. }
            | FaultWhat::FullDisk { node }
            | FaultWhat::Rot { node, .. }
            | FaultWhat::Vanish { node, .. }
            | FaultWhat::Evict { node, .. }
            | FaultWhat::Skew { node, .. } => ([None, None], Some(node)),
        }
    }
}
