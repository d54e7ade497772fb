use std::fs;

use super::*;

fn resolve(
    file: &str,
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Settings, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("r.toml");
    fs::write(&path, file).expect("written");
    let look_up = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_string())
    };
    let flags: Flags = flags
        .iter()
        .map(|(key, text)| (*key, text.to_string()))
        .collect();
    Settings::resolve(Some(&path), &look_up, &flags).map_err(|error| {
        error
            .to_string()
            .replace(&path.display().to_string(), "r.toml")
    })
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let file = "name = \"f\"\nzone = \"f\"\nredis = 1\njoin = [\"f:1\", \"g:2\"]\nmemory = true\nready_early = true\nfound = true";
    let env = [
        ("RUMORMILL_NAME", "e"),
        ("RUMORMILL_ZONE", "e"),
        ("RUMORMILL_JOIN", "e:1, e:2"),
    ];
    let settings = resolve(file, &env, &[("name", "x"), ("http", "off")]).expect("allowed");
    assert_eq!(settings.name.as_deref(), Some("x"));
    assert_eq!(settings.zone, "e");
    assert_eq!(
        settings.redis,
        Some("127.0.0.1:1".parse().expect("an address"))
    );
    assert_eq!(settings.http, None);
    assert_eq!(settings.join, ["e:1", "e:2"]);
    assert_eq!(settings.origin("name"), Origin::Flag("name".into()));
    assert_eq!(
        settings.origin("zone"),
        Origin::Environment("RUMORMILL_ZONE".into())
    );
    assert_eq!(settings.origin("log"), Origin::Default);
    let joined = resolve(file, &env, &[("join", "a:1"), ("join", "b:1")]).expect("allowed");
    assert_eq!(joined.join, ["a:1", "b:1"]);
}

#[test]
fn port_gives_three_ports_and_is_the_weakest() {
    let settings = resolve("redis = \"127.0.0.1:5\"", &[("PORT", "8888")], &[]).expect("allowed");
    assert_eq!(settings.http.map(|addr| addr.port()), Some(8888));
    assert_eq!(settings.redis.map(|addr| addr.port()), Some(5));
    assert_eq!(settings.listen.port(), 8886);
    assert_eq!(settings.store_dir(), Some("rumormill-data/8886".into()));
    let bad = resolve("", &[("PORT", "2")], &[]).expect_err("refused");
    assert_eq!(
        bad,
        "environment PORT: \"2\" is not allowed: a port from 3 to 65535"
    );
}

#[test]
fn a_refusal_names_place_key_value_and_range() {
    let cases: [(&str, &str); 8] = [
        (
            "probe_interval_ms = 5",
            "r.toml: probe_interval_ms = \"5\" is not allowed: a whole number from 10 to 60000",
        ),
        (
            "memory = \"maybe\"",
            "r.toml: memory = \"maybe\" is not allowed: true or false",
        ),
        (
            "http = [\"1\"]",
            "r.toml: http = \"[\\\"1\\\"]\" is not allowed: HOST:PORT or PORT",
        ),
        (
            "join = [1]",
            "r.toml: join = \"[1]\" is not allowed: HOST:PORT of a member's",
        ),
        (
            "colour = \"red\"",
            "r.toml: unknown key colour = \"red\"; known are name, cluster_name",
        ),
        ("name = \"a\"\nzone = ", "r.toml: line 2: "),
        (
            "name = \"../a\"",
            "r.toml: name = \"../a\" is not allowed: 1 to 255 bytes",
        ),
        (
            "listen = 70000",
            "r.toml: listen = \"70000\" is not allowed",
        ),
    ];
    for (file, expected) in cases {
        let error = resolve(file, &[], &[]).expect_err(file);
        assert!(error.starts_with(expected), "{file}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    let env = resolve("", &[("RUMORMILL_VALUE_BYTES", "0")], &[]).expect_err("refused");
    assert!(
        env.starts_with("environment RUMORMILL_VALUE_BYTES: value_bytes = \"0\""),
        "{env}"
    );
    let env = resolve("", &[("RUMORMILL_RESIDENT_VALUE", "many")], &[]).expect_err("refused");
    assert!(
        env.ends_with("a whole number from 0 to 33554432, or off"),
        "{env}"
    );
    let flag = resolve("", &[], &[("join", "nowhere")]).expect_err("refused");
    assert!(
        flag.starts_with("flag --join: join = \"nowhere\""),
        "{flag}"
    );
    let pair = resolve("memory = true\ndata_dir = \"x\"", &[], &[]).expect_err("refused");
    assert!(pair.contains("give one of the two"), "{pair}");
}

#[test]
fn http_is_served_under_the_names_given_and_the_advertised_one() {
    let file = "http_host = [\"KV.example.\"]\nadvertise = \"kv-0.kv:7400\"\njoin = [\"f:1\"]";
    let names = |settings: Settings| settings.http_names().expect("names").to_vec();
    let settings = resolve(file, &[], &[]).expect("allowed");
    assert_eq!(settings.join, ["f:1"]);
    assert_eq!(names(settings), ["kv.example", "kv-0.kv"]);
    let env = [("RUMORMILL_HTTP_HOST", "a, b")];
    let settings = resolve(file, &env, &[]).expect("allowed");
    assert_eq!(names(settings), ["a", "b", "kv-0.kv"]);
    let open = ("http", "0.0.0.0:7402");
    let names = |flags: &[(&'static str, &str)]| {
        let settings = resolve("", &[], flags).expect("allowed");
        settings.http_names().map(|names| names.to_vec())
    };
    assert_eq!(names(&[open]), None);
    assert_eq!(
        names(&[open, ("http_host", "kv")]),
        Some(vec!["kv".to_string()])
    );
    for bad in ["", ".", "a:1", "a b", "http://a"] {
        assert!(resolve("", &[], &[("http_host", bad)]).is_err(), "{bad:?}");
    }
}

#[test]
fn the_printed_settings_give_the_same_again() {
    let flags = [
        ("name", "a\"b"),
        ("join", "h:1"),
        ("http_host", "kv"),
        ("http", "off"),
        ("listen", "0.0.0.0:0"),
    ];
    let settings = resolve("", &[], &flags).expect("allowed");
    let printed = settings.to_toml();
    let again = resolve(&printed, &[], &[]).expect("its own words");
    assert_eq!(again.name, settings.name);
    assert_eq!(again.join, settings.join);
    assert_eq!(again.http_host, ["kv"]);
    assert_eq!((again.http, again.listen), (settings.http, settings.listen));
    assert_eq!(again.store_dir(), settings.store_dir());
    for (file, expected) in [("", None), ("resident_value = 4096", Some(4096))] {
        let printed = resolve(file, &[], &[]).expect("allowed").to_toml();
        let again = resolve(&printed, &[], &[]).expect("its own words");
        assert_eq!(again.resident_value, expected);
    }
    assert!(printed.contains("# flag --http"), "{printed}");
}
