//! CONFIG: the settings of the cluster, and what clients of Redis ask for.

use rumormill_core::{errors::SettingError, settings::setting_name};

use super::{Ctx, Outcome, Sub};
use crate::decoder::Args;
use crate::encoder;
use crate::glob::Pattern;
use crate::refusal::Refusal;

pub(super) const CONFIG: &[Sub] = &[
    ("get", 3, usize::MAX, get),
    ("set", 4, usize::MAX, set),
    ("resetstat", 2, 2, |ctx, _| {
        ctx.client.shared.stats.reset();
        ctx.ok()
    }),
];

/// The values that clients and tools ask for. Fixed, as they are not ours.
const FIXED: [(&str, &str); 6] = [
    ("save", ""),
    ("appendonly", "no"),
    ("maxmemory", "0"),
    ("databases", "1"),
    ("notify-keyspace-events", "KEg$hx"),
    ("timeout", "0"),
];

/// Most patterns of one `CONFIG GET`.
const PATTERNS: usize = 64;

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() - 2 > PATTERNS {
        return Err(format!("TOOLARGE a CONFIG GET has at most {PATTERNS} patterns").into());
    }
    for name in args.from(2).map(|name| text(name).to_ascii_lowercase()) {
        // Nothing answers to an older name, which a program must not take for a setting that is not there.
        if let Err(renamed @ SettingError::Renamed { .. }) = setting_name(&name) {
            return Err(format!("ERR {renamed}").into());
        }
    }
    let patterns: Vec<Pattern> = args
        .from(2)
        .map(|pattern| ctx.pattern(&pattern.to_ascii_lowercase()))
        .collect::<Result<_, Refusal>>()?;
    let mut work = 0;
    let mut asked = |name: &str| {
        let mut patterns = patterns.iter();
        patterns.any(|pattern| pattern.matches(name.as_bytes(), &mut work))
    };
    let fixed = FIXED.into_iter().map(|(name, value)| (name, value.into()));
    let settings = ctx.node.settings().into_iter();
    let settings = settings.map(|setting| (setting.name, setting.value));
    let found: Vec<(&str, String)> = fixed
        .chain(settings)
        .filter(|(name, _)| asked(name))
        .collect();
    ctx.client.work.spend(work);
    let proto = ctx.client.proto;
    encoder::map(ctx.out(), proto, found.len());
    found.into_iter().try_for_each(|(name, value)| {
        ctx.bulk(name.as_bytes())?;
        ctx.bulk(value.as_bytes())
    })
}

/// Names and values in turn, all or nothing. An empty value gives a setting back to each member's own configuration.
fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(Refusal::Text(
            "ERR wrong number of arguments for 'config|set' command",
        ));
    }
    let words: Vec<String> = args.from(2).map(text).collect();
    let mut changes: Vec<(String, Option<&str>)> = Vec::new();
    for pair in words.chunks_exact(2) {
        let (name, value) = (pair[0].to_ascii_lowercase(), pair[1].as_str());
        if changes.iter().any(|(other, _)| *other == name) {
            return Err(failed(&name, "duplicate parameter"));
        }
        if FIXED.iter().any(|(fixed, _)| *fixed == name) {
            return Err(failed(&name, "can't set immutable config"));
        }
        changes.push((name, (!value.is_empty()).then_some(value)));
    }
    let changes: Vec<(&str, Option<&str>)> = changes
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let seq = ctx.node.change_settings(ctx.now, &changes)?;
    if seq > ctx.node.durable() {
        ctx.replies.hold(seq);
    }
    ctx.ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(name: &str, why: &str) -> Refusal {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into()
}

impl From<SettingError> for Refusal {
    fn from(error: SettingError) -> Self {
        let why = error.to_string();
        match error {
            SettingError::Unknown { name } => {
                // A reply is one line.
                let name = name.escape_default();
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
                    .into()
            }
            SettingError::Renamed { name, .. } => failed(&name, &why),
            SettingError::ModeNotBuilt { name, .. } => {
                failed(&name.escape_default().to_string(), &why)
            }
            SettingError::Malformed { name, .. } | SettingError::OutOfRange { name, .. } => {
                failed(name, &why.escape_debug().to_string())
            }
            SettingError::Conflict { low, .. } => failed(low, &why),
            SettingError::Write(error) => error.into(),
            _ => format!("ERR {why}").into(),
        }
    }
}
