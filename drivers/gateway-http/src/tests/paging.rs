use axum::http::Method;
use rumormill_core::{Storage, TableId, table::Write};

use super::lab::Lab;
use super::streams::Watch;
use crate::Backend;

fn fill(lab: &Lab, keys: &[Vec<u8>]) {
    let keys = keys.to_vec();
    let filled = lab.backend.with(move |node, now| {
        for key in &keys {
            let write = Write::Put {
                key,
                value: "v".into(),
                expires: None,
            };
            node.write(now, TableId::DEFAULT, write).expect("accepted");
        }
    });
    smol::block_on(filled).expect("the node runs");
}

fn delete(lab: &Lab, key: &[u8]) {
    let key = key.to_vec();
    let deleted = lab.backend.with(move |node, now| {
        let write = Write::Delete { key: &key };
        node.write(now, TableId::DEFAULT, write).expect("accepted");
    });
    smol::block_on(deleted).expect("the node runs");
}

fn keys(page: &serde_json::Value) -> Vec<Vec<u8>> {
    let rows = page["rows"].as_array().expect("rows");
    let key = |row: &serde_json::Value| row["key"].as_str().expect("text").as_bytes().to_vec();
    rows.iter().map(key).collect()
}

/// Keys as long as can be: with one beginning, and with different ones.
fn long_keys() -> Vec<Vec<u8>> {
    let mut keys = vec![b"a".to_vec(), b"z".to_vec()];
    for n in 0..30_u8 {
        let mut key = vec![b'm'; 60_000 + usize::from(n % 3)];
        key.extend(format!("{n:02}").into_bytes());
        keys.push(key);
        keys.push(vec![b'b' + n % 10; 513 + usize::from(n)]);
    }
    keys.sort();
    keys
}

#[test]
fn long_keys_hide_nothing_from_a_listing() {
    let lab = Lab::new(Storage::None);
    let all = long_keys();
    fill(&lab, &all);
    let mut path = "/v1/usr/default?limit=1".to_string();
    let mut seen = Vec::new();
    loop {
        let page = lab.get(&path).json();
        seen.extend(keys(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        assert!(next.len() < 800, "{}", next.len());
        path = next.to_string();
    }
    assert!(
        seen == all,
        "{} of {} keys, or another order",
        seen.len(),
        all.len()
    );
}

#[test]
fn a_page_that_ended_at_a_key_that_has_gone_hides_nothing() {
    let lab = Lab::new(Storage::None);
    let all = long_keys();
    fill(&lab, &all);
    let mut path = "/v1/usr/default?limit=7&prefix=m".to_string();
    let mut seen = Vec::new();
    loop {
        let page = lab.get(&path).json();
        let listed = keys(&page);
        delete(&lab, listed.last().expect("a row"));
        seen.extend(listed);
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = next.to_string();
    }
    seen.sort();
    seen.dedup();
    let wanted: Vec<_> = all.into_iter().filter(|key| key[0] == b'm').collect();
    assert!(seen == wanted, "{} of {}", seen.len(), wanted.len());
}

#[test]
fn a_page_means_the_same_on_another_member() {
    let (first, second) = (Lab::new(Storage::None), Lab::new(Storage::None));
    let all = long_keys();
    fill(&first, &all);
    fill(&second, &all);
    let mut path = "/v1/usr/default?limit=5".to_string();
    let mut seen = Vec::new();
    for member in [&first, &second].into_iter().cycle() {
        let page = member.get(&path).json();
        seen.extend(keys(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = next.to_string();
    }
    assert!(seen == all, "{} of {}", seen.len(), all.len());
}

#[test]
fn pages_of_two_boots_give_no_cursor() {
    let lab = Lab::new(Storage::None);
    let keys: Vec<Vec<u8>> = (0..4_u8).map(|n| vec![b'a' + n]).collect();
    fill(&lab, &keys);
    let page = lab.get("/v1/usr/default?limit=2").json();
    assert!(page["cursor"].is_string());
    let next = page["next"].as_str().expect("a next page");
    let (path, place) = next.split_once("page=").expect("a place");
    let place = crate::place::Place::parse(place.as_bytes()).expect("a place");
    let other = crate::place::Place::new(
        crate::watch::EventId {
            boot: place.begun.boot ^ 1,
            ..place.begun
        },
        b"b",
    );
    let page = lab.get(&format!("{path}page={}", other.encode())).json();
    assert_eq!(page["rows"][0]["key"], "c");
    assert!(page["cursor"].is_null(), "{page}");
}

#[test]
fn a_place_that_was_tampered_with_is_refused() {
    let lab = Lab::new(Storage::None);
    fill(&lab, &[b"a".to_vec(), b"b".to_vec()]);
    let page = lab.get("/v1/usr/default?limit=1").json();
    let next = page["next"].as_str().expect("a next page").to_string();
    assert_eq!(keys(&lab.get(&next).json()), [b"b".to_vec()]);
    let (path, place) = next.split_once("page=").expect("a place");
    let longer = format!("{next}A");
    let shorter = &next[..next.len() - 1];
    let other = format!("{path}page=B{}", &place[1..]);
    for bad in [
        &longer,
        shorter,
        &other,
        "/v1/usr/default?page=",
        "/v1/usr/default?page=%ff",
    ] {
        assert_eq!(lab.get(bad).code(), "bad_parameter", "{bad}");
    }
    let both = format!("{next}&after=a");
    assert_eq!(lab.get(&both).code(), "bad_parameter");
    let long = format!("/v1/usr/default?prefix={}", "p".repeat(50_000));
    assert_eq!(lab.get(&long).code(), "bad_parameter");
}

#[test]
fn a_watch_from_the_cursor_of_a_listing_misses_nothing() {
    let lab = Lab::new(Storage::None);
    let all: Vec<Vec<u8>> = (0..9_u8).map(|n| vec![b'a' + n]).collect();
    fill(&lab, &all);
    let mut path = "/v1/usr/default?limit=3".to_string();
    let cursor = loop {
        let page = lab.get(&path).json();
        // While the listing is read, a row that was listed changes.
        lab.send(Method::PUT, "/v1/usr/default/a", path.clone());
        match page["next"].as_str() {
            Some(next) => path = next.to_string(),
            None => break page["cursor"].as_str().expect("a cursor").to_string(),
        }
    };
    let path = format!("/v1/usr/default?watch&cursor={cursor}");
    let mut watch = Watch::open(&lab, &path, None);
    assert_eq!(watch.next().name, "ready");
    let change = watch.next();
    assert_eq!(
        (change.name.as_str(), &change.data["key"]),
        ("put", &"a".into())
    );
}
