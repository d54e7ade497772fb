use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::{Node, code, rumormill, text};

/// A `serve` that must end by itself, having said one line.
fn refused(mut command: Command) -> (i32, String) {
    let output: Output = command.output().expect("it runs");
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (code(&output), said)
}

fn serve(args: &[&str]) -> Command {
    let mut command = rumormill();
    command.args([
        "serve", "--listen", "0", "--redis", "0", "--http", "0", "--log", "error",
    ]);
    command.args(args);
    command
}

#[test]
fn a_wrong_setting_stops_before_anything_is_touched() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("r.toml");
    let data = root.path().join("data");
    let cases = [
        (
            "probe_interval_ms = 5",
            vec!["probe_interval_ms", "\"5\"", "10 to 60000"],
        ),
        (
            "redis = \"somewhere\"",
            vec!["redis", "\"somewhere\"", "HOST:PORT", "off"],
        ),
        (
            "log = \"loud\"",
            vec!["log", "\"loud\"", "error, warn, info, debug, trace and off"],
        ),
        ("log = \"info,lsm_tree=loud\"", vec!["log", "TARGET=LEVEL"]),
        ("colour = 1", vec!["unknown key colour", "= 1", "listen"]),
        ("memory = ", vec!["line 1"]),
    ];
    for (wrong, parts) in cases {
        fs::write(&file, wrong).expect("written");
        let mut command = rumormill();
        command
            .args(["serve", "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(&data);
        let (code, said) = refused(command);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(&file.display().to_string()), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is missing in {said}");
        }
        assert!(!data.exists());
    }
    let mut command = serve(&[]);
    command.env("RUMORMILL_SUSPICION_MULT", "0");
    let (code, said) = refused(command);
    assert_eq!(code, 2);
    assert!(
        said.contains("RUMORMILL_SUSPICION_MULT") && said.contains("1 to 100"),
        "{said}"
    );
}

#[test]
fn the_outcome_of_the_settings_can_be_printed() {
    let mut command = serve(&["--print-config", "--zone", "flag"]);
    command
        .env("RUMORMILL_ZONE", "env")
        .env("RUMORMILL_NAME", "env")
        .env("PORT", "9000");
    let output = command.output().expect("it runs");
    let said = text(&output.stdout);
    let line = |key: &str| {
        said.lines()
            .find(|line| line.starts_with(key))
            .unwrap_or("")
            .to_string()
    };
    assert!(line("zone = \"flag\"").ends_with("# flag --zone"), "{said}");
    assert!(
        line("name = \"env\"").ends_with("# environment RUMORMILL_NAME"),
        "{said}"
    );
    assert!(
        line("http = \"127.0.0.1:0\"").ends_with("# flag --http"),
        "{said}"
    );
}

#[test]
fn a_taken_port_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    for listener in ["--listen", "--redis", "--http"] {
        let mut command = rumormill();
        command
            .args(["serve", "--log", "error", "--data-dir"])
            .arg(root.path().join("data"));
        for other in ["--listen", "--redis", "--http"] {
            command.args([other, if other == listener { &addr } else { "0" }]);
        }
        let (code, said) = refused(command);
        assert_eq!(code, 1);
        assert!(said.contains(&addr) && said.contains("taken"), "{said}");
    }
}

#[test]
fn an_unusable_data_directory_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("file");
    fs::write(&file, "no directory").expect("written");
    let below = file.join("data").display().to_string();
    let (code, said) = refused(serve(&["--data-dir", &below]));
    assert_eq!(code, 1);
    assert!(said.contains(&below), "{said}");
}

#[test]
fn two_processes_do_not_share_a_data_directory() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("data");
    let first = Node::start("one", &dir, None);
    let dir = dir.display().to_string();
    let (code, said) = refused(serve(&["--data-dir", &dir]));
    assert_eq!(code, 1);
    assert!(said.contains(&dir) && said.contains("in use"), "{said}");
    assert_eq!(first.request("GET", "/healthz", "").0, 200);
}
