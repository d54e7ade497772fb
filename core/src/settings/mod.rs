//! Settings: what can be changed for a whole cluster at run time. A setting's row in `sys.settings` overrides the node's own
//! configuration; an empty row, and a row that makes no sense here, leave it in force.

mod registry;
mod value;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub(crate) use self::registry::Tunables;
use self::registry::{REGISTRY, RULES, Rule, Setting};
pub use self::value::SettingKind;
use crate::config::Config;
use crate::error::SettingError;
use crate::table::Mode;

/// Where a setting's effective value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingSource {
    /// Neither the configuration nor the cluster sets it.
    Default,
    /// This node's configuration.
    Config,
    /// The cluster: it holds on every member.
    Cluster,
}

impl SettingSource {
    /// `default`, `config` or `cluster`.
    pub const fn name(self) -> &'static str {
        match self {
            SettingSource::Default => "default",
            SettingSource::Config => "config",
            SettingSource::Cluster => "cluster",
        }
    }
}

/// A setting as it stands on one node. Values are text in the one form that is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingInfo {
    /// Its name.
    pub name: &'static str,
    /// The kind of its values.
    pub kind: SettingKind,
    /// The unit of a count.
    pub unit: &'static str,
    /// The value in force here.
    pub value: String,
    /// Where that comes from.
    pub source: SettingSource,
    /// The value in force here when the cluster sets nothing: this node's configuration.
    pub base: String,
    /// The value in force while none is set.
    pub default: String,
    /// The smallest value that can be set.
    pub min: String,
    /// The largest.
    pub max: String,
    /// The part of a node that it changes.
    pub affects: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Why the value that the cluster has set is not in force.
    pub ignored: Option<String>,
}

impl SettingInfo {
    /// The one form of a value's text.
    ///
    /// # Errors
    /// [`SettingError::Malformed`] and [`SettingError::OutOfRange`].
    pub fn canonical(&self, text: &str) -> Result<String, SettingError> {
        let value = REGISTRY[place(self.name)?].read(text)?;
        Ok(self.kind.print(value))
    }
}

/// The effect that a change of the rows had here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the node has to act on it"]
pub(crate) enum Verdict {
    /// Another value is in force.
    Changed { name: &'static str, value: String },
    /// A value that was set is not in force.
    Ignored { name: &'static str, why: String },
}

/// The rows that this version understands, and what is in force.
pub(crate) struct Settings {
    base: Tunables,
    effective: Tunables,
    /// By place in the registry; `Err` is a text that is no value within the bounds, as only another version writes it.
    rows: BTreeMap<usize, Result<u64, String>>,
    ignored: BTreeMap<usize, String>,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Self {
        let base = Tunables {
            timing: config.timing.clone(),
            limits: config.limits.clone(),
        };
        Settings {
            effective: base.clone(),
            base,
            rows: BTreeMap::new(),
            ignored: BTreeMap::new(),
        }
    }

    pub(crate) fn effective(&self) -> &Tunables {
        &self.effective
    }

    /// A row of `sys.settings` is here. Names of other versions are left alone.
    pub(crate) fn row_changed(&mut self, key: &[u8], value: Option<&[u8]>) -> Vec<Verdict> {
        let name = core::str::from_utf8(key).unwrap_or("");
        let Some(at) = registry::find(name) else {
            return Vec::new();
        };
        match value {
            None | Some([]) => self.rows.remove(&at),
            Some(text) => {
                let text = String::from_utf8_lossy(text);
                let read = REGISTRY[at].read(&text).map_err(|error| error.to_string());
                self.rows.insert(at, read)
            }
        };
        self.derive()
    }

    /// Derives what is in force from the rows and the base, whatever was in force before.
    fn derive(&mut self) -> Vec<Verdict> {
        let mut ignored = BTreeMap::new();
        let mut effective = self.base.clone();
        let broken = broken(|at| self.rows.get(&at)?.as_ref().ok().copied());
        for (at, row) in &self.rows {
            let rule = broken.iter().find(|(places, _)| places.contains(at));
            match (row, rule) {
                (Err(why), _) => drop(ignored.insert(*at, why.clone())),
                (Ok(_), Some((_, rule))) => drop(ignored.insert(*at, rule.to_string())),
                (Ok(value), None) => (REGISTRY[*at].set)(&mut effective, *value),
            }
        }
        let mut verdicts = Vec::new();
        for (at, setting) in REGISTRY.iter().enumerate() {
            let name = setting.name;
            if (setting.get)(&effective) != (setting.get)(&self.effective) {
                let value = setting.kind.print((setting.get)(&effective));
                verdicts.push(Verdict::Changed { name, value });
            }
            if let Some(why) = ignored.get(&at)
                && self.ignored.get(&at) != Some(why)
            {
                let why = why.clone();
                verdicts.push(Verdict::Ignored { name, why });
            }
        }
        self.effective = effective;
        self.ignored = ignored;
        verdicts
    }

    /// The rows that a change asks for: name and canonical text, empty to unset. Whether the cluster may have them all.
    ///
    /// # Errors
    /// [`SettingError`] for the first change that is refused.
    pub(crate) fn plan(
        &self,
        changes: &[(&str, Option<&str>)],
    ) -> Result<Vec<(&'static str, String)>, SettingError> {
        let mut wanted = BTreeMap::new();
        for (name, text) in changes {
            let at = place(name)?;
            let value = text.map(|text| REGISTRY[at].read(text)).transpose()?;
            wanted.insert(at, value);
        }
        let after = |at: usize| match wanted.get(&at) {
            Some(value) => *value,
            None => self.rows.get(&at)?.as_ref().ok().copied(),
        };
        let touched = |(places, _): &&([usize; 2], &Rule)| {
            let mut places = places.iter();
            places.any(|at| wanted.get(at).is_some_and(Option::is_some))
        };
        if let Some((_, rule)) = broken(after).iter().find(touched) {
            return Err(SettingError::Conflict {
                low: rule.low,
                high: rule.high,
            });
        }
        let text = |(at, value): (usize, Option<u64>)| {
            let setting = &REGISTRY[at];
            let text = value.map(|value| setting.kind.print(value));
            (setting.name, text.unwrap_or_default())
        };
        Ok(wanted.into_iter().map(text).collect())
    }

    /// One setting.
    ///
    /// # Errors
    /// [`SettingError::Unknown`], [`SettingError::Renamed`] and [`SettingError::ModeNotBuilt`].
    pub(crate) fn info(&self, name: &str) -> Result<SettingInfo, SettingError> {
        place(name).map(|at| self.describe(at))
    }

    pub(crate) fn infos(&self) -> Vec<SettingInfo> {
        (0..REGISTRY.len()).map(|at| self.describe(at)).collect()
    }

    fn describe(&self, at: usize) -> SettingInfo {
        let setting = &REGISTRY[at];
        let (base, default) = ((setting.get)(&self.base), default(setting));
        let print = |value: u64| setting.kind.print(value);
        let ignored = self.ignored.get(&at).cloned();
        SettingInfo {
            name: setting.name,
            kind: setting.kind,
            unit: setting.unit,
            value: print((setting.get)(&self.effective)),
            source: if self.rows.contains_key(&at) && ignored.is_none() {
                SettingSource::Cluster
            } else if base == default {
                SettingSource::Default
            } else {
                SettingSource::Config
            },
            base: print(base),
            default: print(default),
            min: print(setting.min),
            max: print(setting.max),
            affects: setting.affects,
            help: setting.help,
            ignored,
        }
    }

    /// Asserts that what is in force follows from the rows and the base alone.
    pub(crate) fn check(&self) {
        let mut again = Settings {
            base: self.base.clone(),
            effective: self.base.clone(),
            rows: self.rows.clone(),
            ignored: BTreeMap::new(),
        };
        again.derive();
        assert!(
            again.effective == self.effective && again.ignored == self.ignored,
            "settings follow from their rows"
        );
    }
}

/// Returns the name of a setting, as all settings have theirs.
///
/// # Errors
/// [`SettingError::Unknown`], [`SettingError::Renamed`] and [`SettingError::ModeNotBuilt`].
pub fn setting_name(name: &str) -> Result<&'static str, SettingError> {
    place(name).map(|at| REGISTRY[at].name)
}

/// Returns all settings by name, with their defaults, as a node has them that nothing has configured.
pub fn settings_by_default() -> Vec<SettingInfo> {
    Settings::new(&Config::new("", "")).infos()
}

impl Setting {
    /// The value of a text, within the bounds.
    fn read(&self, text: &str) -> Result<u64, SettingError> {
        let value = self
            .kind
            .parse(text)
            .ok_or_else(|| SettingError::Malformed {
                name: self.name,
                value: shown(text),
                expected: self.kind.expected(),
            })?;
        if !(self.min..=self.max).contains(&value) {
            return Err(SettingError::OutOfRange {
                name: self.name,
                value: shown(text),
                min: self.kind.print(self.min),
                max: self.kind.print(self.max),
            });
        }
        Ok(value)
    }
}

fn default(setting: &Setting) -> u64 {
    (setting.get)(&Tunables::default())
}

fn place(name: &str) -> Result<usize, SettingError> {
    if let Some(at) = registry::find(name) {
        return Ok(at);
    }
    if let Some(to) = registry::renamed(name) {
        let name = shown(name);
        return Err(SettingError::Renamed { name, to });
    }
    let prefix = name.split_once('.').map(|(prefix, _)| prefix);
    let mut modes = [Mode::Strong, Mode::Quorum].into_iter();
    let name = shown(name);
    match modes.find(|mode| prefix == Some(mode.as_str())) {
        Some(mode) => Err(SettingError::ModeNotBuilt { name, mode }),
        None => Err(SettingError::Unknown { name }),
    }
}

/// Returns the rules that the values set by the cluster break, each with the two settings it is about.
fn broken(set: impl Fn(usize) -> Option<u64>) -> Vec<([usize; 2], &'static Rule)> {
    let mut out = Vec::new();
    for rule in RULES {
        let places = (registry::find(rule.low), registry::find(rule.high));
        let (Some(low), Some(high)) = places else {
            continue;
        };
        if let (Some(small), Some(large)) = (set(low), set(high))
            && small >= large
        {
            out.push(([low, high], rule));
        }
    }
    out
}

impl core::fmt::Display for Rule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (low, high) = (self.low, self.high);
        write!(f, "{low} has to be less than {high}")
    }
}

/// Cuts a client's text to the length that an error may repeat.
fn shown(text: &str) -> String {
    const SHOWN: usize = 64;
    text.chars().take(SHOWN).collect()
}
