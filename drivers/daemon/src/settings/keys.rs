//! The registry of keys: name, what is allowed, what it means.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rumormill_store::Options;

use super::{OnStop, Settings};

/// One setting.
pub(crate) struct Key {
    /// Its name in a file. The flag has dashes instead, the variable is `RUMORMILL_` and the name in capitals.
    pub(crate) name: &'static str,
    /// The allowed values, as the rest of a sentence.
    pub(crate) allowed: &'static str,
    /// The texts of one that may be given several times.
    pub(super) list: Option<fn(&mut Settings) -> &mut Vec<String>>,
    pub(super) apply: fn(&mut Settings, &str) -> Option<()>,
}

impl Key {
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    pub(crate) fn variable(&self) -> String {
        format!("RUMORMILL_{}", self.name.to_uppercase())
    }
}

const fn key(
    name: &'static str,
    allowed: &'static str,
    apply: fn(&mut Settings, &str) -> Option<()>,
) -> Key {
    Key {
        name,
        allowed,
        list: None,
        apply,
    }
}

const LISTENER: &str = "HOST:PORT or PORT, an IP address and a port from 0 (any free one) to 65535";
const OPTIONAL_LISTENER: &str =
    "HOST:PORT or PORT, an IP address and a port from 0 (any free one) to 65535, or off";

/// Every setting, in the order in which they are printed.
pub(crate) const KEYS: &[Key] = &[
    key(
        "name",
        "1 to 255 bytes without control characters or slashes",
        |s, text| {
            s.name = Some(name(text)?);
            Some(())
        },
    ),
    key(
        "cluster_name",
        "1 to 255 bytes without control characters or slashes",
        |s, text| {
            s.cluster_name = name(text)?;
            Some(())
        },
    ),
    key(
        "zone",
        "at most 255 bytes without control characters",
        |s, text| {
            let fits = text.len() <= 255 && !text.chars().any(char::is_control);
            s.zone = fits.then(|| text.to_string())?;
            Some(())
        },
    ),
    key("data_dir", "a path", |s, text| {
        s.data_dir = Some((!text.is_empty()).then(|| text.into())?);
        Some(())
    }),
    key("memory", "true or false", |s, text| {
        s.memory = text.parse().ok()?;
        Some(())
    }),
    key("listen", LISTENER, |s, text| {
        s.listen = listener(text)?;
        Some(())
    }),
    key(
        "advertise",
        "HOST:PORT where peers reach this node, a port from 1 to 65535",
        |s, text| {
            s.advertise = Some(endpoint(text)?);
            Some(())
        },
    ),
    key("redis", OPTIONAL_LISTENER, |s, text| {
        s.redis = optional_listener(text)?;
        Some(())
    }),
    key("http", OPTIONAL_LISTENER, |s, text| {
        s.http = optional_listener(text)?;
        Some(())
    }),
    Key {
        name: "join",
        allowed: "HOST:PORT of a member's peers listener, a port from 1 to 65535",
        list: Some(|s| &mut s.join),
        apply: |s, text| {
            s.join.push(endpoint(text)?);
            Some(())
        },
    },
    Key {
        name: "http_host",
        allowed: "a host name without a port, 1 to 255 letters, digits, dots, hyphens and underscores",
        list: Some(|s| &mut s.http_host),
        apply: |s, text| {
            s.http_host.push(host_name(text)?);
            Some(())
        },
    },
    key("found", "true or false", |s, text| {
        s.found = text.parse().ok()?;
        Some(())
    }),
    key("ready_early", "true or false", |s, text| {
        s.ready_early = text.parse().ok()?;
        Some(())
    }),
    key(
        "log",
        "one of error, warn, info, debug, trace and off, or directives TARGET=LEVEL with commas between them, as in info,lsm_tree=off",
        |s, text| {
            s.log = is_log_filter(text).then(|| text.to_string())?;
            Some(())
        },
    ),
    key(
        "value_bytes",
        "a whole number from 1 to 33554432",
        |s, text| {
            s.value_bytes = number(text, 1, 32 << 20)?;
            Some(())
        },
    ),
    key("key_bytes", "a whole number from 1 to 65536", |s, text| {
        s.key_bytes = number(text, 1, 64 << 10)?;
        Some(())
    }),
    key(
        "resident_value",
        "a whole number from 0 to 33554432, or off",
        |s, text| {
            s.resident_value = match text {
                "off" => None,
                text => Some(u32::try_from(number(text, 0, 32 << 20)?).ok()?),
            };
            Some(())
        },
    ),
    key(
        "client_output",
        "a whole number from 16384 to 1073741824",
        |s, text| {
            s.client_output = number(text, 16 << 10, 1 << 30)?;
            Some(())
        },
    ),
    key(
        "clients_output",
        "a whole number from 1048576 to 1099511627776",
        |s, text| {
            s.clients_output = number(text, 1 << 20, 1 << 40)?;
            Some(())
        },
    ),
    key(
        "clock_drift_ms",
        "a whole number from 1 to 86400000",
        |s, text| {
            s.clock_drift_ms = number(text, 1, 86_400_000)?;
            Some(())
        },
    ),
    key(
        "probe_interval_ms",
        "a whole number from 10 to 60000",
        |s, text| {
            s.probe_interval_ms = number(text, 10, 60_000)?;
            Some(())
        },
    ),
    key(
        "probe_timeout_ms",
        "a whole number from 1 to 59999",
        |s, text| {
            s.probe_timeout_ms = number(text, 1, 59_999)?;
            Some(())
        },
    ),
    key(
        "suspicion_mult",
        "a whole number from 1 to 100",
        |s, text| {
            s.suspicion_mult = number(text, 1, 100)?;
            Some(())
        },
    ),
    key(
        "sync_interval_ms",
        "a whole number from 1 to 60000",
        |s, text| {
            s.sync_interval_ms = number(text, 1, 60_000)?;
            Some(())
        },
    ),
    key(
        "store_log_bytes",
        "a whole number from 1048576 to 1073741824",
        |s, text| {
            s.store_log_bytes = number(
                text,
                *Options::LOG_BYTES_RANGE.start(),
                *Options::LOG_BYTES_RANGE.end(),
            )?;
            Some(())
        },
    ),
    key(
        "store_scrub_rate",
        "a whole number from 1024 to 1099511627776, or off",
        |s, text| {
            s.store_scrub_rate = match text {
                "off" => 0,
                text => number(text, 1 << 10, 1 << 40)?,
            };
            Some(())
        },
    ),
    key(
        "leave_timeout_ms",
        "a whole number from 1 to 3000",
        |s, text| {
            s.leave_timeout_ms = number(text, 1, 3_000)?;
            Some(())
        },
    ),
    key("on_stop", "stop or leave", |s, text| {
        let ways = [OnStop::Stop, OnStop::Leave];
        s.on_stop = Some(ways.into_iter().find(|way| way.name() == text)?);
        Some(())
    }),
];

fn name(text: &str) -> Option<String> {
    let fits = (1..=255).contains(&text.len()) && text != "." && text != "..";
    let plain = !text
        .chars()
        .any(|c| c.is_control() || c == '/' || c == '\\');
    (fits && plain).then(|| text.to_string())
}

fn host_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let fits = (1..=255).contains(&text.len());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (fits && plain).then(|| text.to_ascii_lowercase())
}

fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|number| (min..=max).contains(number))
}

fn listener(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse() {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    }
    text.parse().ok()
}

fn optional_listener(text: &str) -> Option<Option<SocketAddr>> {
    match text {
        "off" => Some(None),
        text => listener(text).map(Some),
    }
}

fn endpoint(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(inner) => inner.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => !host.is_empty() && !host.contains([':', '/', ' ']),
    };
    (port != 0 && host_fits).then(|| text.to_string())
}

/// Whether the text says what is logged. A bare word that is no level would be the name of a target, of which everything is logged: it is a
/// level that is mistyped.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_directive = |part: &str| part.contains(['=', '[', ']']) || is_level(part.trim());
    let parses = tracing_subscriber::EnvFilter::builder().parse(text).is_ok();
    parses && text.split(',').all(is_directive)
}
