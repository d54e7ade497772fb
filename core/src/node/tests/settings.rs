//! Settings of the whole cluster.

use std::string::{String, ToString};

use super::*;
use crate::table::{Mode, sys};

const INTERVAL: &str = "detector.probe_interval";
const TIMEOUT: &str = "detector.probe_timeout";

impl Lab {
    fn set(&mut self, i: usize, name: &str, value: &str) -> Result<Seq, SettingError> {
        let now = self.now;
        self.node(i).change_settings(now, &[(name, Some(value))])
    }

    fn unset(&mut self, i: usize, name: &str) {
        let now = self.now;
        self.node(i).change_settings(now, &[(name, None)]).unwrap();
    }

    /// The value in force and where it comes from, on every node.
    fn in_force(&mut self, name: &str) -> Vec<(String, SettingSource)> {
        let info = |node: &Node| node.setting(name).map(|info| (info.value, info.source));
        self.nodes
            .iter()
            .flatten()
            .map(info)
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// Writes a row as another version might.
    fn write_raw(&mut self, i: usize, name: &str, value: &str) {
        let now = self.now;
        let node = self.node(i);
        let value = Bytes::copy_from_slice(value.as_bytes());
        node.fx.set_now(now);
        node.modes.gossip.replica_mut().write_sys(
            &mut node.shared.rows(&mut node.fx),
            sys::SETTINGS,
            name.as_bytes(),
            value,
        );
        self.quiesce();
    }

    fn cut_off(&mut self, node: usize) {
        self.cut = Box::new(move |from, to, _| from == node || to == node);
    }

    fn ignored(&self, name: &str) -> Vec<usize> {
        let about =
            |event: &Event| matches!(event, Event::SettingIgnored { name: n, .. } if *n == name);
        let events = self.events.iter().filter(|(_, event)| about(event));
        events.map(|(node, _)| *node).collect()
    }

    /// Returns the milliseconds until another member takes a silent node for dead.
    fn detection(&mut self, node: usize) -> u64 {
        let begun = self.now.mono;
        self.events.clear();
        self.cut_off(node);
        let dead = self.nodes[node].as_ref().map(Node::id).unwrap();
        let down = |(at, event): &(usize, Event)| *at != node && *event == Event::MemberDown(dead);
        while !self.events.iter().any(down) {
            self.run(10);
        }
        self.now.mono.since(begun).as_millis() as u64
    }
}

fn formed(count: usize) -> Lab {
    let mut lab = Lab::new(count, Storage::Ordered, true);
    lab.run(5_000);
    lab
}

fn cluster(value: &str, nodes: usize) -> Vec<(String, SettingSource)> {
    std::vec![(value.to_string(), SettingSource::Cluster); nodes]
}

fn default(value: &str, nodes: usize) -> Vec<(String, SettingSource)> {
    std::vec![(value.to_string(), SettingSource::Default); nodes]
}

#[test]
fn a_setting_is_in_force_at_once_and_on_every_member_on_receipt() {
    let mut lab = formed(3);
    lab.set(1, INTERVAL, " 200 ms").unwrap();
    assert_eq!(lab.in_force(INTERVAL)[1], cluster("200ms", 1)[0]);
    assert_eq!(lab.in_force(INTERVAL)[0], default("1s", 1)[0]);
    lab.quiesce();
    assert_eq!(lab.in_force(INTERVAL), cluster("200ms", 3));
    for node in lab.nodes.iter().flatten() {
        let timing = &node.config().timing;
        assert_eq!(timing.probe_interval, Duration::from_millis(200));
    }
    lab.unset(2, INTERVAL);
    lab.quiesce();
    assert_eq!(lab.in_force(INTERVAL), default("1s", 3));
    let changes = lab.events.iter();
    let changes = changes.filter(|(_, event)| matches!(event, Event::SettingChanged { .. }));
    assert_eq!(changes.count(), 6, "each node was told of each change once");
}

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let mut lab = formed(2);
    let name = INTERVAL;
    assert_eq!(
        lab.set(0, "gossip.nonsense", "1"),
        Err(SettingError::Unknown {
            name: "gossip.nonsense".into()
        })
    );
    let old = "gossip.probe_interval";
    let error = lab.set(0, old, "1s").unwrap_err();
    let (name_then, to) = (old.into(), INTERVAL);
    let renamed = SettingError::Renamed {
        name: name_then,
        to,
    };
    assert_eq!(error, renamed);
    assert_eq!(
        error.to_string(),
        "gossip.probe_interval is called detector.probe_interval"
    );
    for mode in [Mode::Strong, Mode::Quorum] {
        let name = std::format!("{mode}.luck");
        let error = lab.set(0, &name, "1");
        assert_eq!(error, Err(SettingError::ModeNotBuilt { name, mode }));
    }
    assert_eq!(
        lab.set(0, name, "soon"),
        Err(SettingError::Malformed {
            name,
            value: "soon".into(),
            expected: SettingKind::Duration.expected(),
        })
    );
    let error = lab.set(0, name, "2h").unwrap_err();
    assert_eq!(
        error.to_string(),
        "detector.probe_interval is from 10ms to 1m, not 2h"
    );
    lab.set(0, name, "200ms").unwrap();
    assert_eq!(
        lab.set(0, TIMEOUT, "200ms"),
        Err(SettingError::Conflict {
            low: TIMEOUT,
            high: name
        })
    );
    let now = lab.now;
    let changes = [("limits.requests", Some("100")), (name, Some("never"))];
    assert!(lab.node(0).change_settings(now, &changes).is_err());
    lab.quiesce();
    assert_eq!(lab.in_force("limits.requests"), default("65536", 2));
    assert_eq!(lab.in_force(TIMEOUT), default("300ms", 2));
    assert_eq!(lab.in_force(name), cluster("200ms", 2));
}

#[test]
fn both_sides_of_a_rule_can_change_together() {
    let mut lab = formed(2);
    let now = lab.now;
    let changes = [(TIMEOUT, Some("2s")), (INTERVAL, Some("10s"))];
    lab.node(1).change_settings(now, &changes).unwrap();
    lab.quiesce();
    assert_eq!(lab.in_force(TIMEOUT), cluster("2s", 2));
    assert_eq!(lab.in_force(INTERVAL), cluster("10s", 2));
}

#[test]
fn a_request_is_answered_when_the_change_is_durable() {
    let mut lab = formed(2);
    let ask = |value: &str| Request::ChangeSettings {
        changes: std::vec![(INTERVAL.to_string(), Some(value.to_string()))],
    };
    for (token, value) in [(1, "2s"), (2, "2h")] {
        let now = lab.now;
        let input = Input::Request {
            token: Token(token),
            deadline: None,
            request: ask(value),
        };
        lab.node(0).handle(now, input);
    }
    lab.quiesce();
    assert_eq!(lab.replies[&Token(1)], Ok(Response::SettingsChanged));
    assert!(matches!(
        lab.replies[&Token(2)],
        Err(RequestError::Setting(SettingError::OutOfRange { .. }))
    ));
    assert_eq!(lab.in_force(INTERVAL), cluster("2s", 2));
}

#[test]
fn each_member_goes_back_to_its_own_configuration() {
    let mut lab = Lab::configured(2, |i, config| {
        config.timing.probe_interval = Duration::from_millis([1_000, 700][i]);
    });
    lab.run(4_000);
    let apart = lab.in_force(INTERVAL);
    assert_eq!(apart[1], ("700ms".to_string(), SettingSource::Config));
    lab.set(0, INTERVAL, "300ms").unwrap();
    lab.quiesce();
    assert_eq!(lab.in_force(INTERVAL), cluster("300ms", 2));
    lab.unset(0, INTERVAL);
    lab.quiesce();
    assert_eq!(lab.in_force(INTERVAL), apart);
}

#[test]
fn a_shorter_interval_shortens_detection() {
    let usual = formed(3).detection(2);
    let mut lab = formed(3);
    lab.set(0, INTERVAL, "100ms").unwrap();
    lab.quiesce();
    let quick = lab.detection(2);
    assert!(
        usual > 4_000 && quick < 1_000,
        "{usual} ms, then {quick} ms"
    );
}

#[test]
fn a_shorter_interval_counts_at_once_even_after_a_long_one() {
    let mut lab = formed(3);
    lab.set(0, INTERVAL, "1m").unwrap();
    lab.run(120_000);
    lab.set(0, INTERVAL, "100ms").unwrap();
    lab.quiesce();
    for node in lab.nodes.iter().flatten() {
        let next = node.next_deadline().unwrap().at;
        assert!(next.since(lab.now.mono) <= Duration::from_millis(100));
    }
    assert!(lab.detection(2) < 1_000);
}

#[test]
fn a_suspicion_that_runs_already_ends_by_the_new_patience() {
    let mut lab = formed(3);
    lab.set(0, "detector.suspicion_mult", "100").unwrap();
    lab.quiesce();
    lab.cut_off(2);
    lab.run(10_000);
    let suspected = |lab: &Lab, state| {
        let node = lab.nodes[0].as_ref().unwrap();
        node.members().iter().any(|member| member.state == state)
    };
    assert!(suspected(&lab, MemberState::Suspect));
    lab.set(0, "detector.suspicion_mult", "2").unwrap();
    lab.quiesce();
    assert!(suspected(&lab, MemberState::Down));
}

#[test]
fn the_next_boot_begins_with_what_is_stored() {
    let mut lab = formed(2);
    lab.set(0, INTERVAL, "3s").unwrap();
    lab.quiesce();
    for i in [0, 1] {
        lab.stop(i);
    }
    lab.start(1);
    assert_eq!(lab.in_force(INTERVAL), cluster("3s", 1));
    let node = lab.nodes[1].as_ref().unwrap();
    assert_eq!(node.config().timing.probe_interval, Duration::from_secs(3));
}

#[test]
fn values_that_exclude_each_other_after_a_merge_are_ignored_by_all() {
    let mut lab = formed(3);
    lab.cut_off(2);
    lab.set(0, INTERVAL, "200ms").unwrap();
    lab.set(2, TIMEOUT, "250ms").unwrap();
    lab.quiesce();
    assert_eq!(lab.in_force(TIMEOUT)[2], cluster("250ms", 1)[0]);
    lab.cut = Box::new(|_, _, _| false);
    lab.run(10_000);
    assert_eq!(lab.in_force(INTERVAL), default("1s", 3));
    assert_eq!(lab.in_force(TIMEOUT), default("300ms", 3));
    for name in [INTERVAL, TIMEOUT] {
        let mut told = lab.ignored(name);
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2], "{name}");
    }
    let info = lab.node(1).setting(TIMEOUT).unwrap();
    assert_eq!(
        info.ignored.as_deref(),
        Some("detector.probe_timeout has to be less than detector.probe_interval")
    );
    lab.unset(1, TIMEOUT);
    lab.quiesce();
    assert_eq!(lab.in_force(INTERVAL), cluster("200ms", 3));
}

#[test]
fn rows_of_another_version_are_kept_and_left_alone() {
    let mut lab = formed(2);
    lab.write_raw(0, "gossip.not_yet", "7");
    lab.write_raw(0, INTERVAL, "5h");
    assert_eq!(lab.in_force(INTERVAL), default("1s", 2));
    assert_eq!(lab.ignored(INTERVAL), [0, 1]);
    let table = TableName {
        namespace: Namespace::Sys,
        name: "settings".into(),
    };
    let (node, now) = (lab.nodes[1].as_ref().unwrap(), lab.now);
    let table = node.find_table(&table).unwrap();
    let row = node.view(now).get(table, b"gossip.not_yet").row();
    assert_eq!(row.unwrap().value().unwrap(), "7");
}

#[test]
fn limits_count_at_once() {
    let mut lab = formed(2);
    lab.set(0, "limits.key_bytes", "16").unwrap();
    lab.set(0, "limits.change_log", "256").unwrap();
    lab.quiesce();
    let now = lab.now;
    let key = [b'k'; 17];
    let write = Write::Delete { key: &key };
    assert_eq!(
        lab.node(1).write(now, TableId::DEFAULT, write),
        Err(WriteError::KeyTooLarge {
            size: 17,
            limit: 16
        })
    );
    let node = lab.node(1);
    let begin = node.view(now).cursor();
    for i in 0..300 {
        lab.put(1, &std::format!("k{i}"), "v");
    }
    let now = lab.now;
    let node = lab.node(1);
    let read = node.view(now).changes(TableId::DEFAULT, begin, 1);
    assert!(read.is_err(), "300 changes do not fit into a log of 256");
}

#[test]
fn a_node_that_is_leaving_takes_no_settings() {
    let mut lab = formed(2);
    lab.cut_off(0);
    let now = lab.now;
    let input = Input::Request {
        token: Token(1),
        deadline: None,
        request: Request::Leave,
    };
    lab.node(0).handle(now, input);
    assert_eq!(
        lab.set(0, INTERVAL, "2s"),
        Err(SettingError::Write(WriteError::Leaving))
    );
}
