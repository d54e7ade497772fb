//! Reads the action of a plan's entry from its words.

use rumormill_core::{
    errors::SettingError,
    settings::{SettingInfo, setting_name, settings_by_default},
};

use super::error::{PlanError, PlanErrorKind as Kind};
use super::fields::Fields;
use super::value::{Millis, Time};
use super::words::{Line, Word, list};
use crate::faults::FaultKind;
use crate::plan::{Action, Fault, FaultWhat, MIN_FLAP_US, Op, OpVerb, SettingChange, Table};

/// The verbs of clients with their fields.
const CLIENT_VERBS: [(&str, &[&str]); 5] = [
    ("put", &["client", "table", "key", "ttl"]),
    ("delete", &["client", "table", "key"]),
    ("get", &["client", "table", "key"]),
    ("flush", &["client", "table"]),
    ("move", &["client", "node"]),
];

/// The verbs of operators with their fields.
const SETTING_VERBS: [(&str, &[&str]); 2] = [
    ("set", &["node", "name", "value"]),
    ("unset", &["node", "name"]),
];

/// The verb of a program that creates a table, with its fields.
const DEFINE: (&str, &[&str]) = ("define", &["node", "table"]);

/// The tables that have options.
const DEFINED: [Table; 3] = [Table::Sync, Table::Memory, Table::Siblings];

/// The fields of a fault besides how long it lasts.
const fn fault_fields(kind: FaultKind) -> &'static [&'static str] {
    match kind {
        FaultKind::Loss | FaultKind::Dup | FaultKind::Corrupt => &["for", "rate"],
        FaultKind::Reorder => &["for", "rate", "by"],
        FaultKind::Delay | FaultKind::Slow | FaultKind::SlowDisk => &["for", "node", "by"],
        FaultKind::Congest | FaultKind::Wipe | FaultKind::Pause | FaultKind::Leave => {
            &["for", "node"]
        }
        FaultKind::Older | FaultKind::Restart | FaultKind::ShortDisk => &["for", "node"],
        FaultKind::FailDisk | FaultKind::FullDisk => &["for", "node"],
        FaultKind::Rot => &["for", "node", "bits"],
        FaultKind::Vanish => &["for", "node", "rows"],
        FaultKind::Evict => &["for", "node", "force"],
        FaultKind::Partition | FaultKind::Partial | FaultKind::Bridge => &["for", "left", "right"],
        FaultKind::Flap => &["for", "left", "right", "every"],
        FaultKind::OneWay => &["for", "from", "to"],
        FaultKind::Crash => &["for", "node", "clean"],
        FaultKind::Skew => &["for", "node", "by", "drift"],
    }
}

/// All verbs with their fields.
#[cfg(test)]
pub(super) fn verbs() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let faults = FaultKind::ALL.map(|kind| (kind.name(), fault_fields(kind)));
    let others = CLIENT_VERBS.into_iter().chain(SETTING_VERBS);
    let others = others.chain([DEFINE]);
    others.chain(faults)
}

/// Reads the action of an entry.
pub(super) fn action(line: &Line<'_>, verb: Word<'_>, nodes: usize) -> Result<Action, PlanError> {
    if let Some((name, known)) = SETTING_VERBS.iter().find(|(name, _)| *name == verb.text) {
        let fields = Fields::read(line, 2, known, nodes)?;
        return setting(*name == "set", &fields).map(Action::Set);
    }
    if verb.text == DEFINE.0 {
        let fields = Fields::read(line, 2, DEFINE.1, nodes)?;
        let table = fields.need("table")?;
        return Ok(Action::Define {
            node: fields.node("node")?,
            table: table.one_of(&DEFINED.map(|table| (table.name(), table)))?,
        });
    }
    let clients = CLIENT_VERBS.iter().find(|(name, _)| *name == verb.text);
    if let Some((name, known)) = clients {
        return client_action(name, &Fields::read(line, 2, known, nodes)?);
    }
    let kinds = FaultKind::ALL.into_iter();
    let Some(kind) = kinds.clone().find(|kind| kind.name() == verb.text) else {
        let clients = CLIENT_VERBS.iter().chain(&SETTING_VERBS);
        let clients = clients.chain([&DEFINE]).map(|(name, _)| *name);
        let expected = list(clients.chain(kinds.map(FaultKind::name)));
        return Err(verb.error(Kind::UnknownVerb, expected));
    };
    let fields = Fields::read(line, 2, fault_fields(kind), nodes)?;
    Ok(Action::Fault(Fault {
        for_us: fields.time("for")?,
        what: fault(kind, &fields)?,
    }))
}

fn client_action(verb: &str, fields: &Fields<'_>) -> Result<Action, PlanError> {
    let client = fields.number("client", 'c')?;
    if verb == "move" {
        let node = fields.node("node")?;
        return Ok(Action::Move { client, node });
    }
    let table = fields.need("table")?;
    let table = table.one_of(&Table::ALL.map(|table| (table.name(), table)))?;
    let key = || fields.number("key", 'k');
    let verb = match (verb, fields.find("ttl")) {
        ("put", None) => OpVerb::Put { key: key()? },
        ("put", Some(ttl)) => {
            let form = "whole milliseconds, such as 250ms or 3s";
            let Millis(ttl_ms) = ttl.value(ttl.text.parse(), form, "at most a year, 8760h")?;
            OpVerb::PutFor {
                key: key()?,
                ttl_ms,
            }
        }
        ("delete", _) => OpVerb::Delete { key: key()? },
        ("get", _) => OpVerb::Get { key: key()? },
        _ => OpVerb::Flush,
    };
    Ok(Action::Op(Op {
        client,
        table,
        verb,
    }))
}

fn setting(sets: bool, fields: &Fields<'_>) -> Result<SettingChange, PlanError> {
    let node = fields.node("node")?;
    let word = fields.need("name")?;
    let all = settings_by_default();
    let known = all.iter().find(|setting| setting.name == word.text);
    let Some(known) = known else {
        let expected = match setting_name(word.text) {
            Err(renamed @ SettingError::Renamed { .. }) => renamed.to_string(),
            Err(reserved @ SettingError::ModeNotBuilt { .. }) => reserved.to_string(),
            _ => list(all.iter().map(|setting| setting.name)),
        };
        return Err(word.error(Kind::BadWord, expected));
    };
    let value = match sets {
        true => Some(setting_value(known, fields.need("value")?)?),
        false => None,
    };
    let name = known.name;
    Ok(SettingChange { node, name, value })
}

fn setting_value(setting: &SettingInfo, word: Word<'_>) -> Result<String, PlanError> {
    setting.canonical(word.text).map_err(|error| match error {
        SettingError::OutOfRange { min, max, .. } => {
            word.error(Kind::OutOfRange, format!("{min} to {max}"))
        }
        _ => word.error(Kind::BadWord, setting.kind.expected()),
    })
}

fn fault(kind: FaultKind, fields: &Fields<'_>) -> Result<FaultWhat, PlanError> {
    let node = || fields.node("node");
    let by_us = || fields.time("by");
    Ok(match kind {
        FaultKind::Loss => FaultWhat::Loss {
            ppm: fields.rate()?,
        },
        FaultKind::Dup => FaultWhat::Dup {
            ppm: fields.rate()?,
        },
        FaultKind::Corrupt => FaultWhat::Corrupt {
            ppm: fields.rate()?,
        },
        FaultKind::Reorder => FaultWhat::Reorder {
            ppm: fields.rate()?,
            by_us: by_us()?,
        },
        FaultKind::Delay => FaultWhat::Delay {
            node: node()?,
            by_us: by_us()?,
        },
        FaultKind::Slow => FaultWhat::Slow {
            node: node()?,
            by_us: by_us()?,
        },
        FaultKind::SlowDisk => FaultWhat::SlowDisk {
            node: node()?,
            by_us: by_us()?,
        },
        FaultKind::Congest => FaultWhat::Congest { node: node()? },
        FaultKind::Wipe => FaultWhat::Wipe { node: node()? },
        FaultKind::Older => FaultWhat::Older { node: node()? },
        FaultKind::Restart => FaultWhat::Restart { node: node()? },
        FaultKind::ShortDisk => FaultWhat::ShortDisk { node: node()? },
        FaultKind::Pause => FaultWhat::Pause { node: node()? },
        FaultKind::Leave => FaultWhat::Leave { node: node()? },
        FaultKind::FailDisk => FaultWhat::FailDisk { node: node()? },
        FaultKind::FullDisk => FaultWhat::FullDisk { node: node()? },
        FaultKind::Rot => FaultWhat::Rot {
            node: node()?,
            bits: fields.count("bits")?,
        },
        FaultKind::Vanish => FaultWhat::Vanish {
            node: node()?,
            rows: fields.count("rows")?,
        },
        FaultKind::Evict => FaultWhat::Evict {
            node: node()?,
            force: fields.flag("force")?,
        },
        FaultKind::Crash => FaultWhat::Crash {
            node: node()?,
            clean: fields.flag("clean")?,
        },
        FaultKind::Skew => FaultWhat::Skew {
            node: node()?,
            by_ms: fields.offset("by")?,
            ppm: fields.drift("drift")?,
        },
        FaultKind::Partition
        | FaultKind::OneWay
        | FaultKind::Partial
        | FaultKind::Bridge
        | FaultKind::Flap => cut(kind, fields)?,
    })
}

/// A fault of two groups of nodes.
fn cut(kind: FaultKind, fields: &Fields<'_>) -> Result<FaultWhat, PlanError> {
    if kind == FaultKind::OneWay {
        let (from, to) = (fields.nodes("from")?, fields.nodes("to")?);
        return Ok(FaultWhat::OneWay { from, to });
    }
    let (left, right) = (fields.nodes("left")?, fields.nodes("right")?);
    Ok(match kind {
        FaultKind::Partial => FaultWhat::Partial { left, right },
        FaultKind::Bridge => FaultWhat::Bridge { left, right },
        FaultKind::Flap => {
            let word = fields.need("every")?;
            let every_us = word.time()?;
            if every_us < MIN_FLAP_US {
                let least = format!("at least {}", Time(MIN_FLAP_US));
                return Err(word.error(Kind::OutOfRange, least));
            }
            FaultWhat::Flap {
                left,
                right,
                every_us,
            }
        }
        _ => FaultWhat::Partition { left, right },
    })
}
