//! The settings of `serve`: one registry of keys, read from a file, the environment and flags, weakest first.
//!
//! Every value is text until its key's parser has taken it, so that a wrong one is refused in the same words wherever it
//! stood: where, which key, which value, and what is allowed.

mod keys;
mod print;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use keys::{KEYS, Key};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// None was given.
    Default,
    /// `PORT` in the environment gave a port.
    Port,
    /// A file.
    File(PathBuf),
    /// A variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Port => f.write_str("environment PORT"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A setting that stops `serve` before it listens. One line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SettingError(String);

impl SettingError {
    fn value(origin: &Origin, key: &str, value: &str, allowed: &str) -> Self {
        SettingError(format!(
            "{origin}: {key} = {value:?} is not allowed: {allowed}"
        ))
    }
}

/// The end of a node that is asked to end by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStop {
    /// It stops, and comes back as the same member.
    Stop,
    /// It leaves the cluster.
    Leave,
}

impl OnStop {
    /// Returns its name: `stop` or `leave`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            OnStop::Stop => "stop",
            OnStop::Leave => "leave",
        }
    }
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) cluster_name: String,
    pub(crate) zone: String,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) memory: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<String>,
    pub(crate) redis: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) join: Vec<String>,
    pub(crate) http_host: Vec<String>,
    pub(crate) found: bool,
    pub(crate) ready_early: bool,
    pub(crate) log: String,
    pub(crate) value_bytes: u64,
    pub(crate) key_bytes: u64,
    pub(crate) resident_value: Option<u32>,
    pub(crate) client_output: u64,
    pub(crate) clients_output: u64,
    pub(crate) clock_drift_ms: u64,
    pub(crate) probe_interval_ms: u64,
    pub(crate) probe_timeout_ms: u64,
    pub(crate) suspicion_mult: u64,
    pub(crate) sync_interval_ms: u64,
    pub(crate) store_log_bytes: u64,
    /// Bytes per second; 0 for never.
    pub(crate) store_scrub_rate: u64,
    pub(crate) leave_timeout_ms: u64,
    on_stop: Option<OnStop>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Settings {
            name: None,
            cluster_name: "rumormill".into(),
            zone: String::new(),
            data_dir: None,
            memory: false,
            listen: local(7400),
            advertise: None,
            redis: Some(local(7401)),
            http: Some(local(7402)),
            join: Vec::new(),
            http_host: Vec::new(),
            found: false,
            ready_early: false,
            log: "info,lsm_tree=off".into(),
            value_bytes: 1 << 20,
            key_bytes: 64 << 10,
            resident_value: None,
            client_output: 1 << 20,
            clients_output: 512 << 20,
            clock_drift_ms: 300_000,
            probe_interval_ms: 1_000,
            probe_timeout_ms: 300,
            suspicion_mult: 4,
            sync_interval_ms: 1_000,
            store_log_bytes: rumormill_store::Options::LOG_BYTES,
            store_scrub_rate: 1 << 20,
            leave_timeout_ms: 3_000,
            on_stop: None,
            origins: BTreeMap::new(),
        }
    }
}

/// The settings given on the command line: key and text, in order.
pub(crate) type Flags = Vec<(&'static str, String)>;

/// Reads a variable of the environment.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Puts the three sources together.
    ///
    /// # Errors
    /// The first value that is not allowed, an unknown key of the file, or a file that cannot be read.
    pub(crate) fn resolve(
        file: Option<&Path>,
        env: Environment<'_>,
        flags: &Flags,
    ) -> Result<Settings, SettingError> {
        let mut settings = Settings::default();
        settings.take_port(env)?;
        if let Some(path) = file {
            settings.take_file(path)?;
        }
        for key in KEYS {
            let name = key.variable();
            if let Some(text) = env(&name) {
                settings.take_list(key, &Origin::Environment(name), &text)?;
            }
        }
        for key in KEYS {
            let given: Vec<&str> = flags
                .iter()
                .filter(|(name, _)| *name == key.name)
                .map(|(_, text)| text.as_str())
                .collect();
            if !given.is_empty() {
                settings.take(key, &Origin::Flag(key.flag()), &given)?;
            }
        }
        settings.check_pairs()?;
        Ok(settings)
    }

    /// Where the value of a key came from.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Returns the end that a signal asks for. A node that keeps nothing never comes back as the same member, so it leaves, unless it was
    /// told otherwise.
    pub(crate) fn on_stop(&self) -> OnStop {
        let by_storage = match self.memory {
            true => OnStop::Leave,
            false => OnStop::Stop,
        };
        self.on_stop.unwrap_or(by_storage)
    }

    /// The directory of the store: by name if there is one, else by the peers' port, so that several nodes started in one
    /// place do not meet in one directory.
    pub(crate) fn store_dir(&self) -> Option<PathBuf> {
        if self.memory {
            return None;
        }
        let chosen = self.data_dir.clone();
        Some(chosen.unwrap_or_else(|| {
            let own = match &self.name {
                Some(name) => name.clone(),
                None => self.listen.port().to_string(),
            };
            Path::new("rumormill-data").join(own)
        }))
    }

    /// Returns the names under which HTTP clients may ask: those given, and the one by which others reach this node. Any name, where none
    /// is given and other machines may connect: an operator that opens the port to them guards it by other means, and they may know this
    /// one by any name.
    pub(crate) fn http_names(&self) -> Option<Arc<[String]>> {
        let is_open = self.http.is_some_and(|addr| !addr.ip().is_loopback());
        if is_open && self.http_host.is_empty() {
            return None;
        }
        let advertised = self.advertise.as_deref();
        let advertised = advertised.and_then(|addr| addr.rsplit_once(':'));
        let advertised = advertised.map(|(host, _)| host.to_string());
        Some(self.http_host.iter().cloned().chain(advertised).collect())
    }

    /// A TOML file that gives these settings, with the origin of each.
    pub(crate) fn to_toml(&self) -> String {
        print::to_toml(self)
    }

    /// `PORT=p` means HTTP p, Redis p-1, peers p-2.
    fn take_port(&mut self, env: Environment<'_>) -> Result<(), SettingError> {
        let Some(text) = env("PORT").filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        let port: u16 = text.parse().ok().filter(|port| *port >= 3).ok_or_else(|| {
            let origin = Origin::Environment("PORT".into());
            SettingError(format!(
                "{origin}: {text:?} is not allowed: a port from 3 to 65535"
            ))
        })?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        self.http = Some(local(port));
        self.redis = Some(local(port - 1));
        self.listen = local(port - 2);
        for key in ["http", "redis", "listen"] {
            self.origins.insert(key, Origin::Port);
        }
        Ok(())
    }

    fn take_file(&mut self, path: &Path) -> Result<(), SettingError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingError(format!("{shown}: cannot be read: {error}")))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].lines().count().max(1));
            SettingError(format!("{shown}: line {line}: {}", error.message()))
        })?;
        let origin = Origin::File(path.to_path_buf());
        for (name, value) in &table {
            let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
                let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                let known = known.join(", ");
                SettingError(format!(
                    "{shown}: unknown key {name} = {value}; known are {known}"
                ))
            })?;
            let texts = texts_of(value)
                .filter(|texts| key.list.is_some() || texts.len() == 1)
                .filter(|_| key.list.is_some() || !value.is_array())
                .ok_or_else(|| {
                    SettingError::value(&origin, name, &value.to_string(), key.allowed)
                })?;
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            self.take(key, &origin, &texts)?;
        }
        Ok(())
    }

    fn take_list(&mut self, key: &Key, origin: &Origin, text: &str) -> Result<(), SettingError> {
        let texts: Vec<&str> = match key.list {
            Some(_) => text
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .collect(),
            None => vec![text],
        };
        self.take(key, origin, &texts)
    }

    /// Replaces whatever a weaker source gave.
    fn take(&mut self, key: &Key, origin: &Origin, texts: &[&str]) -> Result<(), SettingError> {
        if let Some(list) = key.list {
            list(self).clear();
        }
        for text in texts {
            (key.apply)(self, text)
                .ok_or_else(|| SettingError::value(origin, key.name, text, key.allowed))?;
        }
        self.origins.insert(key.name, origin.clone());
        Ok(())
    }

    fn check_pairs(&self) -> Result<(), SettingError> {
        if self.memory && self.data_dir.is_some() {
            return Err(SettingError::value(
                &self.origin("memory"),
                "memory",
                "true",
                "a node with a data_dir keeps its rows there; give one of the two",
            ));
        }
        if self.probe_timeout_ms >= self.probe_interval_ms {
            return Err(SettingError::value(
                &self.origin("probe_timeout_ms"),
                "probe_timeout_ms",
                &self.probe_timeout_ms.to_string(),
                "less than probe_interval_ms",
            ));
        }
        Ok(())
    }
}

fn texts_of(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(flag) => Some(vec![flag.to_string()]),
        toml::Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().map(str::to_string))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
