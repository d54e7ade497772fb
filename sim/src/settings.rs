//! The operator changes settings of the cluster, and programs create tables.

use crate::host::open_table;
use crate::hurt::Hurt;
use crate::plan::{SettingChange, Table};
use crate::trace::{Field, Weight};
use crate::world::World;

impl World {
    /// An operator asks a node, or the next one that answers.
    pub(crate) fn change_setting(&mut self, change: &SettingChange) {
        let answers = |node: usize| !self.hosts[node].hurts.has(Hurt::Paused);
        let Some(node) = self.running_where(change.node, answers) else {
            return self.count("settings_nowhere");
        };
        let value = change.value.as_deref();
        let changes = [(change.name, value)];
        let result = self.with_node(node, |running, now| running.change_settings(now, &changes));
        let verb = match (result, value) {
            (Some(Ok(_)), Some(_)) => "setting_set",
            (Some(Ok(_)), None) => "setting_unset",
            _ => "setting_refused",
        };
        self.count(verb);
        let fields = [
            Field::Word("name", change.name),
            Field::Bytes("value", value.unwrap_or("").as_bytes()),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, verb, &fields);
    }

    /// A program has a node, or the next one that answers, create a table.
    pub(crate) fn define(&mut self, node: usize, table: Table) {
        let answers = |node: usize| !self.hosts[node].hurts.has(Hurt::Paused);
        let Some(node) = self.running_where(node, answers) else {
            return self.count("definitions_nowhere");
        };
        let result = self.with_node(node, |running, now| open_table(running, now, table));
        let verb = match result {
            Some(Ok(_)) => "table_defined",
            _ => "definition_refused",
        };
        self.count(verb);
        let fields = [Field::Word("table", table.name())];
        self.trace
            .event(self.now_us, node, Weight::Story, verb, &fields);
    }
}
