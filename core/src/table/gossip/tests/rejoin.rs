//! Rejoining: a node that is rejoining compares its rows with all that a member holds.

use super::*;

impl Machine {
    /// Begins to rejoin, with what it has.
    fn begins_rejoining(&mut self) {
        self.is_rejoining = true;
        self.gossip.on_rejoining();
    }
}

/// Makes two members that have the same rows.
fn pair(keys: &[&str]) -> (Machine, Machine) {
    let (mut one, mut two) = (Machine::new(1, 2), Machine::new(2, 2));
    for key in keys {
        one.put(key, "v");
    }
    fetch(&mut two, &mut one);
    assert!(two.has_seen(&one.contexts()));
    (one, two)
}

/// Has a machine free its only delete, which the other member claims.
fn free(machine: &mut Machine) {
    let (seen, clock) = (machine.contexts(), machine.clock());
    machine.claims(2, &seen, clock);
    machine.end_turn();
    machine.sent();
    assert_eq!(machine.tombstones(), 0);
}

#[test]
fn a_row_that_the_member_has_deleted_goes_and_one_that_it_does_not_know_is_written_again() {
    let (mut one, mut two) = pair(&["old", "kept"]);
    two.begins_rejoining();
    two.put("new", "w");
    one.wait(Duration::from_secs(5));
    one.delete("old");
    let deleted = one.clock();
    free(&mut one);
    let Paged::Rejoined(done) = fetch(&mut two, &mut one) else {
        panic!("no rejoin");
    };
    assert_eq!((done.with, done.dropped, done.proposed), (NodeId(1), 1, 1));
    assert_eq!((two.get("old"), two.get("kept")), (None, Some("v")));
    let again = two.row("new").unwrap();
    assert_eq!(again.counter, 2);
    assert!(again.clock > deleted, "below what the member has freed");
}

#[test]
fn a_member_that_lacks_what_a_node_held_is_put_off_for_half_a_minute() {
    let (mut one, mut two) = pair(&["k"]);
    two.put("only", "w");
    two.begins_rejoining();
    // Without any member nothing says that there is none with more.
    two.wait(Duration::from_secs(60));
    assert!(matches!(fetch(&mut two, &mut one), Paged::Behind));
    assert_eq!(two.get("only"), Some("w"));
    two.wait(Duration::from_secs(29));
    assert!(matches!(fetch(&mut two, &mut one), Paged::Behind));
    two.wait(Duration::from_secs(1));
    assert!(matches!(fetch(&mut two, &mut one), Paged::Rejoined(_)));
}

#[test]
fn nothing_is_merged_before_all_of_the_member_is_here() {
    let (mut one, mut two) = pair(&["k"]);
    two.begins_rejoining();
    one.delete("k");
    one.config.limits.rows_per_message = 1;
    let config = one.config.clone();
    one.gossip.retime(one.fx.now().mono, &config);
    one.put("l", "w");
    for (_, msg) in two.pull(1) {
        one.hear(2, msg);
    }
    let pages = one.pages();
    assert!(pages.len() > 1);
    for page in pages {
        assert_eq!((two.get("k"), two.get("l")), (Some("v"), None));
        two.hear(1, GossipMessage::Page(page));
    }
    assert_eq!((two.get("k"), two.get("l")), (None, Some("w")));
}

#[test]
pub(crate) fn coverage_of_what_the_member_lacks_is_forgotten() {
    let (mut one, mut two) = pair(&["k"]);
    let mut three = Machine::new(3, 3);
    two.meets(3);
    three.put("third", "w");
    let push = three.pushes();
    for msg in push.clone() {
        two.hear(3, msg);
    }
    let seen = three.contexts();
    assert!(two.has_seen(&seen));
    two.is_rejoining = true;
    assert!(matches!(fetch(&mut two, &mut one), Paged::Rejoined(_)));
    assert!(
        !two.has_seen(&seen),
        "the row of another would pass for obsolete"
    );
}

/// Makes a pair whose second member has written a row while it was rejoining, the value of which is in its store alone.
fn cold_pair() -> (Machine, Machine) {
    let mut config = Config::new("2", "a");
    config.storage = Storage::Ordered;
    config.resident_value = Some(4);
    let (mut one, mut two) = (Machine::new(1, 2), Machine::with(config, 2, 2));
    one.put("k", "v");
    fetch(&mut two, &mut one);
    two.begins_rejoining();
    two.put("new", "a long value");
    two.end_durable_turn();
    two.sent();
    assert_eq!(two.get("new"), None);
    assert!(matches!(fetch(&mut two, &mut one), Paged::Merged));
    assert_eq!(two.gossip.rejoins_through(), Some(link_to(1)));
    assert!(two.act(Gossip::loads_due).is_none());
    two.sent();
    assert_eq!(two.asked.len(), 1);
    (one, two)
}

#[test]
fn a_value_that_is_only_in_the_store_is_loaded_before_its_row_is_written_again() {
    let (_one, mut two) = cold_pair();
    let (load, query) = two.asked.remove(0);
    let found = two.disk.get(&query).cloned();
    let done = two.act(|gossip, env| gossip.loaded(env, load, Ok(found)));
    let done = done.unwrap();
    assert_eq!((done.dropped, done.proposed), (0, 1));
    assert_eq!(two.get("new"), Some("a long value"));
    assert_eq!(two.gossip.rejoins_through(), None);
}

#[test]
fn a_value_that_cannot_be_read_is_lost_and_ends_the_wait() {
    let (_one, mut two) = cold_pair();
    let (load, _) = two.asked.remove(0);
    let failed = Err("an error of the disk".into());
    let done = two.act(|gossip, env| gossip.loaded(env, load, failed));
    let done = done.unwrap();
    assert_eq!((done.dropped, done.proposed), (1, 0));
    assert!(two.row("new").is_none());
}

#[test]
fn a_rejoin_that_waits_ends_with_its_link() {
    let (_one, mut two) = cold_pair();
    two.act(|gossip, env| gossip.link_gone(env, link_to(1)));
    assert_eq!(two.gossip.rejoins_through(), None);
    let (load, query) = two.asked.remove(0);
    let found = two.disk.get(&query).cloned();
    let done = two.act(|gossip, env| gossip.loaded(env, load, Ok(found)));
    assert!(done.is_none());
    assert!(two.get("new").is_none() && two.is_rejoining);
}
