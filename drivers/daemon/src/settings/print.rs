//! The outcome as a file that can be read again.

use std::fmt::Write;

use super::{KEYS, Settings};

pub(super) fn to_toml(settings: &Settings) -> String {
    let mut out = String::new();
    for key in KEYS {
        let value = value(settings, key.name);
        let origin = settings.origin(key.name);
        let line = match value {
            Some(value) => format!("{} = {value}", key.name),
            None => format!("# {} is not set", key.name),
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{line:<40} # {origin}");
    }
    out
}

fn value(s: &Settings, key: &str) -> Option<toml::Value> {
    let text = |text: &str| Some(toml::Value::String(text.to_string()));
    let number = |number: u64| {
        Some(toml::Value::Integer(
            i64::try_from(number).unwrap_or(i64::MAX),
        ))
    };
    let list = |texts: &[String]| {
        let texts = texts.iter().cloned().map(toml::Value::String);
        Some(toml::Value::Array(texts.collect()))
    };
    let listener = |addr: Option<std::net::SocketAddr>| {
        Some(toml::Value::String(
            addr.map_or("off".to_string(), |addr| addr.to_string()),
        ))
    };
    match key {
        "name" => s.name.as_deref().and_then(text),
        "cluster_name" => text(&s.cluster_name),
        "zone" => text(&s.zone),
        "data_dir" => match &s.data_dir {
            Some(dir) => text(&dir.display().to_string()),
            None => s
                .store_dir()
                .and_then(|dir| text(&dir.display().to_string())),
        },
        "memory" => Some(toml::Value::Boolean(s.memory)),
        "listen" => listener(Some(s.listen)),
        "advertise" => s.advertise.as_deref().and_then(text),
        "redis" => listener(s.redis),
        "http" => listener(s.http),
        "join" => list(&s.join),
        "http_host" => list(&s.http_host),
        "found" => Some(toml::Value::Boolean(s.found)),
        "ready_early" => Some(toml::Value::Boolean(s.ready_early)),
        "log" => text(&s.log),
        "value_bytes" => number(s.value_bytes),
        "key_bytes" => number(s.key_bytes),
        "resident_value" => match s.resident_value {
            Some(bytes) => number(u64::from(bytes)),
            None => text("off"),
        },
        "client_output" => number(s.client_output),
        "clients_output" => number(s.clients_output),
        "clock_drift_ms" => number(s.clock_drift_ms),
        "probe_interval_ms" => number(s.probe_interval_ms),
        "probe_timeout_ms" => number(s.probe_timeout_ms),
        "suspicion_mult" => number(s.suspicion_mult),
        "sync_interval_ms" => number(s.sync_interval_ms),
        "store_log_bytes" => number(s.store_log_bytes),
        "store_scrub_rate" => match s.store_scrub_rate {
            0 => text("off"),
            rate => number(rate),
        },
        "leave_timeout_ms" => number(s.leave_timeout_ms),
        "on_stop" => text(s.on_stop().name()),
        _ => None,
    }
}
