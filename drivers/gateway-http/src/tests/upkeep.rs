//! Checkpoints and passes over the store's files, begun and told over HTTP.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode};
use rumormill_core::Storage;
use serde_json::json;

use super::lab::Lab;
use crate::{Ended, Running, Upkeep, UpkeepError, UpkeepState};

/// A store that notes what it is told, and ends nothing.
#[derive(Debug, Default)]
struct Noted {
    dirs: Mutex<Vec<PathBuf>>,
    rates: Mutex<Vec<u64>>,
}

impl Upkeep for Noted {
    fn begin_checkpoint(&self, dir: &Path) -> Result<u64, UpkeepError> {
        let mut dirs = self.dirs.lock().expect("no panic");
        if !dirs.is_empty() {
            return Err(UpkeepError::Busy);
        }
        dirs.push(dir.into());
        Ok(1)
    }

    fn checkpoints(&self) -> UpkeepState {
        let dirs = self.dirs.lock().expect("no panic");
        let running = |dir: &PathBuf| Running {
            number: 1,
            dir: Some(dir.display().to_string()),
            done: 3,
            total: 7,
        };
        UpkeepState {
            running: dirs.first().map(running),
            last: None,
        }
    }

    fn begin_scrub(&self, rate: u64) -> Result<u64, UpkeepError> {
        self.rates.lock().expect("no panic").push(rate);
        Ok(2)
    }

    fn scrubs(&self) -> UpkeepState {
        let last = Ended {
            number: 2,
            rows: Some(9),
            faults: vec!["db/tree/tables/1: its checksum is wrong; it held 3 rows".into()],
            ..Ended::default()
        };
        UpkeepState {
            running: None,
            last: Some(last),
        }
    }
}

fn with_store() -> (Lab, Arc<Noted>) {
    let noted = Arc::new(Noted::default());
    let store: Arc<dyn Upkeep> = noted.clone();
    let lab = Lab::with_settings(
        Storage::Ordered,
        |_| (),
        |settings| settings.upkeep = Some(store),
    );
    (lab, noted)
}

#[test]
fn a_checkpoint_is_begun_once_and_told() {
    let (lab, noted) = with_store();
    let begin = |body: &str| lab.send_json(Method::POST, "/v1/checkpoints", body);
    let none = json!({"running": null, "last": null});
    assert_eq!(lab.get("/v1/checkpoints").json(), none);
    let dir = std::env::temp_dir().join("c");
    let body = json!({ "dir": dir }).to_string();
    let answer = begin(&body);
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json(), json!({"number": 1}));
    let told = lab.get("/v1/checkpoints").json();
    assert_eq!(told["running"]["dir"], json!(dir));
    assert_eq!(
        (&told["running"]["done"], &told["running"]["total"]),
        (&json!(3), &json!(7))
    );
    assert_eq!(begin(&body).code(), "in_progress");
    assert_eq!(*noted.dirs.lock().expect("no panic"), [dir]);
}

#[test]
fn a_path_that_is_not_absolute_or_a_body_that_says_more_is_refused() {
    let (lab, noted) = with_store();
    let begin = |body: &str| lab.send_json(Method::POST, "/v1/checkpoints", body);
    assert_eq!(begin(r#"{"dir":"backups"}"#).code(), "bad_parameter");
    assert_eq!(begin(r#"{"dir":"/b","force":true}"#).code(), "bad_json");
    assert_eq!(begin("{}").code(), "bad_json");
    let plain = lab.send(Method::POST, "/v1/checkpoints", r#"{"dir":"/b"}"#);
    assert_eq!(plain.code(), "unsupported_media_type");
    assert!(noted.dirs.lock().expect("no panic").is_empty());
}

#[test]
fn a_pass_is_begun_at_a_rate_and_its_faults_are_told() {
    let (lab, noted) = with_store();
    for body in ["{}", r#"{"rate":1000}"#] {
        let answer = lab.send_json(Method::POST, "/v1/scrub", body);
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
    assert_eq!(*noted.rates.lock().expect("no panic"), [0, 1000]);
    let last = lab.get("/v1/scrub").json()["last"].clone();
    assert_eq!(last["rows"], 9);
    let fault = last["faults"][0].as_str().expect("a fault");
    assert!(fault.contains("it held 3 rows"), "{fault}");
}

#[test]
fn a_node_in_memory_has_no_store_to_care_for() {
    let lab = Lab::new(Storage::None);
    for path in ["/v1/checkpoints", "/v1/scrub"] {
        let answer = lab.get(path);
        assert_eq!(answer.status, StatusCode::CONFLICT);
        assert_eq!(answer.code(), "no_storage");
        let answer = lab.send_json(
            Method::POST,
            path,
            r#"{"dir":"/b"}"#.get(..).filter(|_| path.contains("check")).unwrap_or("{}"),
        );
        assert_eq!(answer.code(), "no_storage");
    }
}
