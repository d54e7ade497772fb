//! Settings of the whole cluster: written by any member, in force on every member that has the row.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use crate::error::SettingError;
use crate::id::{Seq, TableId};
use crate::io::Event;
use crate::marks::Mark;
use crate::settings::{SettingInfo, Verdict};
use crate::table::env::RowEnv;
use crate::table::gossip::Gossip;
use crate::table::sys;
use crate::time::Now;

impl Node {
    /// Changes settings for the whole cluster, all or none: `Some` sets one, `None` gives it back to each member's own configuration. They are in force
    /// here at once, and on every other member when the row arrives. The answer is the batch that makes them durable. Of two changes of one setting the
    /// later counts. A node that belongs to no cluster yet takes its settings along when it joins one; where both have set one, the newer value wins.
    ///
    /// # Errors
    /// [`SettingError`] for the first change that is refused; nothing was changed.
    pub fn change_settings(
        &mut self,
        now: Now,
        changes: &[(&str, Option<&str>)],
    ) -> Result<Seq, SettingError> {
        self.fx.set_now(now);
        // A fault of the change itself comes first: another try would not help.
        let rows = self.settings.plan(changes)?;
        self.admit(TableId::DEFAULT, false)?;
        let mut seq = Seq(0);
        for (name, text) in rows {
            let mut env = self.shared.rows(&mut self.fx);
            let gossip = &mut self.modes.gossip;
            seq = seq.max(write_setting(&mut env, gossip, name, text));
        }
        self.after_input();
        Ok(seq)
    }

    /// Every setting as it stands here, by name.
    pub fn settings(&self) -> Vec<SettingInfo> {
        self.settings.infos()
    }

    /// One setting as it stands here.
    ///
    /// # Errors
    /// [`SettingError::Unknown`].
    pub fn setting(&self, name: &str) -> Result<SettingInfo, SettingError> {
        self.settings.info(name)
    }

    /// A row of `sys.settings` is here, from whichever member.
    pub(super) fn setting_row_changed(&mut self, key: &Bytes) {
        let row = self.modes.gossip.sys_row(sys::SETTINGS, key);
        let value = row.as_ref().map(|row| &row.value[..]);
        let verdicts = self.settings.row_changed(key, value);
        let mut changed = false;
        for verdict in verdicts {
            match verdict {
                Verdict::Changed { name, value } => {
                    changed = true;
                    self.fx.mark(Mark::SettingChanged);
                    self.fx.event(Event::SettingChanged { name, value });
                }
                Verdict::Ignored { name, why } => {
                    self.fx.mark(Mark::SettingIgnored);
                    self.fx.event(Event::SettingIgnored { name, why });
                }
            }
        }
        if changed {
            self.retune();
        }
    }

    /// Passes the values in force to every part that holds a copy, and to timers that are set already.
    fn retune(&mut self) {
        let now = self.fx.now().mono;
        let tunables = self.settings.effective();
        self.config.timing = tunables.timing.clone();
        self.config.limits = tunables.limits.clone();
        let (timing, limits) = (&self.config.timing, &self.config.limits);
        self.detector.retime(now, timing.clone());
        self.cluster.links.retime(now, timing.clone());
        self.modes.retime(&mut self.shared, now, &self.config);
        self.loads.set_limit(limits.load_queue);
        let sync_by = now + timing.sync_interval;
        self.sync_at = self.sync_at.map(|at| at.min(sync_by));
    }
}

/// Writes the row of a setting. Rows of this table are never deleted: an empty one says that the setting is not set.
fn write_setting(env: &mut RowEnv<'_>, gossip: &mut Gossip, name: &str, text: String) -> Seq {
    let row = gossip.sys_row(sys::SETTINGS, name.as_bytes());
    let stands = match &row {
        Some(row) => row.value == text.as_bytes(),
        None => text.is_empty(),
    };
    if stands {
        return row.map_or(Seq(0), |row| row.seq);
    }
    env.fx.sync_this_turn();
    let (key, value) = (name.as_bytes(), Bytes::from(text.into_bytes()));
    gossip.write_sys(env, sys::SETTINGS, key, value).seq
}
