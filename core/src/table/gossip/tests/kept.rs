//! Rejoining by what differs: a member keeps rows of which it sends the dots alone.

use std::collections::BTreeSet;

use arbitrary::Unstructured;
use arbtest::arbtest;

use super::*;
use crate::error::TableError;
use crate::table::changes::Entry;
use crate::table::{Conflict, Durability, TableOptions};
use crate::wire::ClassContext;

/// The course of a rejoin.
struct Course {
    meant: Paged,
    /// Rows of users' tables that came.
    rows: usize,
    /// Dots that came alone.
    kept: u64,
    /// Sessions that were asked for.
    sessions: usize,
    /// The most dots in one page.
    most: u64,
}

/// How many dots contexts name.
fn dots(contexts: &[ClassContext]) -> u64 {
    let actors = contexts.iter().flat_map(|class| &class.actors);
    let runs = actors.flat_map(|(_, runs)| runs);
    runs.map(|(low, high)| high - low + 1).sum()
}

/// Has a node ask another for what differs until it has rejoined. `under` is done once the first session is asked for.
fn rejoin_under(
    client: &mut Machine,
    server: &mut Machine,
    under: impl FnOnce(&mut Machine, &mut Machine),
) -> Course {
    let mut course = Course {
        meant: Paged::Merged,
        rows: 0,
        kept: 0,
        sessions: 0,
        most: 0,
    };
    let mut said = client.pull(server.me);
    let mut under = Some(under);
    while !said.is_empty() {
        for (_, msg) in said {
            course.sessions += usize::from(matches!(msg, GossipMessage::Pull(_)));
            server.hear(client.me, msg);
        }
        if let Some(under) = under.take() {
            under(client, server);
        }
        for page in server.pages() {
            let sys = |row: &&crate::wire::Row| !page.rows.tables[row.table as usize].is_sys();
            course.rows += page.rows.rows.iter().filter(sys).count();
            course.kept += dots(&page.kept);
            course.most = course.most.max(dots(&page.kept));
            course.meant = client.hear(server.me, GossipMessage::Page(page));
        }
        // A member that is to be asked again is asked in the next turn.
        client.act(Gossip::tick);
        said = client.sent();
    }
    client.end_turn();
    course
}

fn rejoin(client: &mut Machine, server: &mut Machine) -> Course {
    rejoin_under(client, server, |_, _| ())
}

/// Returns the rows that were dropped and those that were written again.
fn counts(course: &Course) -> (u64, u64) {
    match &course.meant {
        Paged::Rejoined(done) => (done.dropped, done.proposed),
        _ => panic!("no rejoin"),
    }
}

impl Machine {
    /// Is a full member from now on.
    fn enters(&mut self) {
        self.is_rejoining = false;
        self.gossip.became_full();
    }

    /// Covers what another holds, without its rows: as a node does that has lost them.
    fn loses(&mut self, contexts: &Contexts) {
        self.act(|gossip, env| gossip.replica_mut().adopt(env.fx, contexts, Hlc(0)));
    }

    fn put_until(&mut self, key: &str, expires: Wall) {
        let (key, value) = (key.as_bytes(), Bytes::from_static(b"v"));
        let expires = Some(expires);
        let write = Write::Put {
            key,
            value,
            expires,
        };
        self.write(TABLE, write);
    }

    fn write(&mut self, table: TableId, write: Write<'_>) {
        let written = self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.write(&mut env.rows(), table, write)
        });
        written.unwrap();
    }

    /// Ends the rows that have expired by then.
    fn ends(&mut self, at: Wall) {
        self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.end_expired(&mut env.rows(), at.as_millis(), usize::MAX)
        });
    }

    fn flush_all(&mut self) {
        self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.flush_table(&mut env.rows(), None, None);
        });
    }

    fn table(&mut self, name: &str) -> TableId {
        let named = self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.table(env.catalog, name, true)
        });
        named.unwrap()
    }

    fn create(&mut self, name: &str, conflict: Conflict, durability: Durability) {
        let options = TableOptions {
            conflict,
            durability,
        };
        let created: Result<_, TableError> = self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.create_table(&mut env.rows(), name, options)
        });
        created.unwrap();
    }

    /// Returns the tables and keys that watchers are told of from a place in the log on; `None` where they are told to read a table anew.
    fn told_since(&self, from: u64) -> Option<BTreeSet<(TableId, Bytes)>> {
        let (rows, catalog) = (self.gossip.replica().rows(), &self.shared.catalog);
        let mut told = BTreeSet::new();
        for (number, entry) in self.shared.changes.since(from) {
            match entry {
                Entry::Freed { table, key, .. } => {
                    told.insert((catalog.public(*table), key.clone()));
                }
                Entry::Row { slot, .. } => {
                    let row = rows.row(*slot).filter(|row| row.arrival == number);
                    told.extend(row.map(|row| (catalog.public(row.table), row.key.clone())));
                }
                Entry::Flushed { .. } | Entry::FlushedAll => return None,
            }
        }
        Some(told)
    }

    /// Returns what readers see of a key.
    fn seen(&mut self, table: TableId, key: &str) -> Option<Value> {
        let (replica, catalog) = (self.gossip.replica(), &self.shared.catalog);
        let slot = replica.rows().find(catalog.home(table), key.as_bytes())?;
        let row = replica.rows().row(slot)?;
        let shown = !row.value.is_dead() && !replica.rows().is_hidden(slot);
        shown.then(|| row.value.clone())
    }
}

/// Makes two members with stores that have the same rows, the second of which begins to rejoin.
fn pair(rows: usize) -> (Machine, Machine) {
    let (mut one, mut two) = (Machine::with_store(1, 2), Machine::with_store(2, 2));
    for row in 0..rows {
        one.put(&std::format!("k{row}"), "v");
    }
    fetch(&mut two, &mut one);
    assert!(two.has_seen(&one.contexts()));
    two.end_durable_turn();
    two.sent();
    two.is_rejoining = true;
    (one, two)
}

#[test]
fn what_differs_comes_and_no_other_row_is_written() {
    let (mut one, mut two) = pair(10_000);
    for row in 0..5 {
        one.put(&std::format!("k{row}"), "newer");
        one.put(&std::format!("new{row}"), "v");
    }
    (5..8).for_each(|row| one.delete(&std::format!("k{row}")));
    two.disk.clear();
    let from = two.shared.changes.next();
    let course = rejoin(&mut two, &mut one);
    assert_eq!(counts(&course), (0, 0));
    assert_eq!((course.rows, course.kept, course.sessions), (13, 9_992, 1));
    assert_eq!(course.most, 4_096, "a page looks at no more dots");
    assert_eq!((two.get("k1"), two.get("new1")), (Some("newer"), Some("v")));
    assert_eq!((two.get("k6"), two.get("k9")), (None, Some("v")));
    assert!(two.has_seen(&one.contexts()) && one.has_seen(&two.contexts()));
    assert_eq!(two.told_since(from).unwrap().len(), 13);
    two.end_durable_turn();
    two.sent();
    // The rows that came, and the coverage of one actor.
    assert_eq!(two.disk.len(), 14);
}

#[test]
pub(crate) fn a_delete_that_was_freed_meanwhile_takes_its_row_and_is_told() {
    let (mut one, mut two) = pair(3);
    one.delete("k1");
    one.end_durable_turn();
    let (seen, clock) = (one.contexts(), one.clock());
    one.claims(2, &seen, clock);
    one.end_turn();
    one.sent();
    assert_eq!(one.tombstones(), 0);
    let from = two.shared.changes.next();
    let course = rejoin(&mut two, &mut one);
    assert_eq!((counts(&course), course.rows, course.kept), ((1, 0), 0, 2));
    assert!(two.row("k1").is_none() && two.get("k2") == Some("v"));
    let told = two.told_since(from).unwrap().into_iter();
    let told: Vec<Bytes> = told.map(|(_, key)| key).collect();
    assert_eq!(
        told,
        [Bytes::from("k1")],
        "watchers are told of it, and of no other"
    );
}

#[test]
pub(crate) fn writes_under_the_session_are_written_again_over_what_the_member_keeps() {
    let (mut one, mut two) = pair(4);
    let course = rejoin_under(&mut two, &mut one, |two, _| {
        two.put("k0", "mine");
        two.delete("k1");
        two.put("k2", "mine");
        two.delete("k2");
    });
    assert_eq!((course.rows, course.kept, course.sessions), (0, 4, 1));
    let deleted = two.row("k1").map(|row| row.value.is_dead());
    assert_eq!(deleted, Some(true), "the delete is proposed");
    assert_eq!(counts(&course), (0, 3));
    two.enters();
    fetch(&mut one, &mut two);
    assert_eq!(
        (one.get("k0"), one.get("k1"), one.get("k2"), one.get("k3")),
        (Some("mine"), None, None, Some("v"))
    );
}

#[test]
pub(crate) fn a_row_that_was_lost_is_asked_for_again() {
    let (mut one, mut two) = pair(3);
    one.put("lost", "v");
    two.loses(&one.contexts());
    let course = rejoin(&mut two, &mut one);
    assert_eq!(two.get("lost"), Some("v"), "it has come");
    assert!(two.has_marked(Mark::RejoinAgain));
    // The row of that dot alone, beside the dots of all others twice.
    assert_eq!((course.sessions, course.rows, course.kept), (2, 1, 4 + 3));
    assert_eq!(counts(&course), (0, 0));
}

#[test]
fn more_writes_under_the_session_than_are_remembered_cost_another_session() {
    let (mut one, mut two) = pair(3);
    two.config.limits.session_replaced = 1;
    let config = two.config.clone();
    two.gossip.retime(two.fx.now().mono, &config);
    let course = rejoin_under(&mut two, &mut one, |two, _| {
        two.delete("k0");
        two.delete("k1");
    });
    assert_eq!((course.sessions, course.rows), (2, 1));
    assert_eq!(counts(&course), (0, 2));
}

#[test]
fn pages_that_come_twice_and_out_of_order_bring_what_differs() {
    let (mut one, mut two) = pair(10_000);
    one.delete("k0");
    one.put("new", "v");
    for (_, msg) in two.pull(1) {
        one.hear(2, msg);
    }
    let mut pages = one.pages();
    assert_eq!(pages.len(), 3);
    pages.reverse();
    let twice = pages.into_iter().flat_map(|page| [page.clone(), page]);
    let meant: Vec<Paged> = twice
        .map(|page| two.hear(1, GossipMessage::Page(page)))
        .collect();
    let done = meant
        .iter()
        .filter(|paged| matches!(paged, Paged::Rejoined(_)));
    assert_eq!(done.count(), 1);
    assert_eq!(
        (two.get("k0"), two.get("new"), two.get("k9999")),
        (None, Some("v"), Some("v"))
    );
    assert!(two.has_seen(&one.contexts()));
}

#[test]
fn a_row_that_was_replaced_before_the_session_is_compared_with_the_one_it_replaced() {
    let (mut one, mut two) = pair(3);
    two.put("k0", "mine");
    two.delete("k1");
    let course = rejoin(&mut two, &mut one);
    assert_eq!((course.sessions, course.rows), (2, 2));
    assert_eq!(counts(&course), (0, 2));
    assert_eq!((two.get("k0"), two.get("k1")), (Some("mine"), None));
    two.enters();
    fetch(&mut one, &mut two);
    assert_eq!((one.get("k0"), one.get("k1")), (Some("mine"), None));
}

#[test]
fn a_member_that_is_asked_in_vain_twice_is_asked_for_everything() {
    let (mut one, mut two) = pair(3);
    one.put("lost", "v");
    two.loses(&one.contexts());
    let mut said = two.pull(1);
    let mut asked = Vec::new();
    while !said.is_empty() {
        for (_, msg) in said {
            if let GossipMessage::Pull(pull) = &msg {
                asked.push(matches!(pull.basis, PullBasis::Compare(_)));
                // Each time another row is lost when the pages come.
                one.put(&std::format!("lost{}", asked.len()), "v");
                two.loses(&one.contexts());
            }
            one.hear(2, msg);
        }
        for page in one.pages() {
            two.hear(1, GossipMessage::Page(page));
        }
        two.act(Gossip::tick);
        said = two.sent();
    }
    assert_eq!(asked, [true, true, false]);
    let rows = ["k0", "lost", "lost1", "lost2", "lost3"].map(|key| two.get(key));
    assert_eq!(rows, [Some("v"); 5]);
}

/// Makes a pair of which one has ended a row that the other hides.
fn ended(at: impl FnOnce(&mut Machine, &mut Machine, Wall)) -> (Machine, Machine, Course) {
    let (mut one, mut two) = pair(1);
    two.is_rejoining = false;
    let expires = Wall::from_millis(BEGIN_MS + 1_000);
    one.put_until("k", expires);
    fetch(&mut two, &mut one);
    two.is_rejoining = true;
    one.wait(Duration::from_secs(2));
    two.wait(Duration::from_secs(2));
    at(&mut one, &mut two, expires);
    let course = rejoin(&mut two, &mut one);
    (one, two, course)
}

#[test]
pub(crate) fn a_row_that_has_ended_at_the_member_ends() {
    let (_one, two, course) = ended(|one, _, at| one.ends(at));
    assert!(two.row("k").unwrap().value.is_dead(), "it ends here too");
    assert_eq!((course.sessions, course.rows, course.kept), (1, 1, 1));
}

#[test]
pub(crate) fn a_row_that_has_ended_here_alone_comes_back() {
    let (one, two, course) = ended(|_, two, at| two.ends(at));
    assert!(!one.row("k").unwrap().value.is_dead());
    let here = two.row("k").map(|row| row.value.is_dead());
    assert_eq!(here, Some(false), "it has not ended for the member");
    assert_eq!(course.sessions, 2);
}

#[test]
fn kept_rows_go_with_a_drop_marker_that_is_written_under_the_session() {
    // More than the pages that are on their way when the table is flushed.
    let (mut one, mut two) = pair(20_000);
    let course = rejoin_under(&mut two, &mut one, |_, one| {
        one.flush_all();
        one.put("after", "v");
    });
    assert_eq!(counts(&course).1, 0);
    assert_eq!((course.kept, course.sessions), (4 * 4_096, 1));
    assert_eq!((two.get("k0"), two.get("k19999")), (None, None));
    fetch_as_member(&mut two, &mut one);
    assert_eq!(two.get("after"), Some("v"));
}

#[test]
fn a_flush_under_the_session_takes_what_the_member_keeps() {
    let (mut one, mut two) = pair(3);
    let course = rejoin_under(&mut two, &mut one, |two, _| {
        two.flush_all();
        two.put("k1", "after");
        // Rows that the marker hides are not removed before they are compared: without them all dots would be lacking.
        two.end_turn();
    });
    assert_eq!((counts(&course), course.sessions), ((0, 1), 1));
    assert_eq!(
        ["k0", "k1", "k2"].map(|key| two.get(key)),
        [None, Some("after"), None]
    );
}

#[test]
fn a_hint_of_more_dots_than_a_node_names_is_refused() {
    let asked = |runs: u64| {
        let (mut one, mut two) = pair(3);
        let mut said = two.pull(1);
        let runs = (0..runs).map(|run| (2 * run + 1, 2 * run + 1)).collect();
        let hint = Vec::from([ClassContext {
            class: RowClass::UsrDurable as u8,
            actors: Vec::from([(actor(1), runs)]),
        }]);
        let (_, GossipMessage::Pull(mut pull)) = said.remove(0) else {
            panic!("it asks with something else");
        };
        pull.basis = PullBasis::Compare(hint);
        let from = (link_to(2), NodeId(2));
        let heard = one.act(|gossip, env| gossip.on_message(env, from, GossipMessage::Pull(pull)));
        heard.err()
    };
    assert_eq!(asked(65_536), None);
    assert_eq!(asked(65_537), Some(Refusal::BadKept));
}

fn fetch_as_member(client: &mut Machine, server: &mut Machine) {
    client.enters();
    fetch(client, server);
}

#[test]
fn a_page_keeps_no_more_than_it_was_asked_for() {
    let refused = |change: fn(&mut Page)| {
        let (mut one, mut two) = pair(3);
        one.put("new", "v");
        for (_, msg) in two.pull(1) {
            one.hear(2, msg);
        }
        let mut page = one.pages().remove(0);
        change(&mut page);
        let from = (link_to(1), NodeId(1));
        let heard = two.act(|gossip, env| gossip.on_message(env, from, GossipMessage::Page(page)));
        heard.err()
    };
    fn of(page: &mut Page) -> &mut Vec<(u64, u64)> {
        &mut page.kept[0].actors[0].1
    }
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|page| of(page)[0].1 = 4), Some(Refusal::BadKept));
    assert_eq!(
        refused(|page| of(page).push((2, 3))),
        Some(Refusal::BadRuns)
    );
    assert_eq!(
        refused(|page| page.kept[0].class = 3),
        Some(Refusal::BadKept)
    );
    assert_eq!(
        refused(|page| page.kept[0].class = 9),
        Some(Refusal::UnknownClass)
    );
    assert_eq!(
        refused(|page| page.last.as_mut().unwrap().contexts.clear()),
        Some(Refusal::BadKept)
    );
}

/// The tables of the random histories: one of each row class of users.
const TABLES: [(&str, Conflict, Durability); 4] = [
    ("default", Conflict::LastWriterWins, Durability::Periodic),
    ("memory", Conflict::LastWriterWins, Durability::Memory),
    ("siblings", Conflict::Siblings, Durability::Periodic),
    ("fleeting", Conflict::Siblings, Durability::Memory),
];

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Does something at one of two machines, as the bytes say.
fn step(u: &mut Unstructured<'_>, machine: &mut Machine) -> arbitrary::Result<()> {
    let (name, conflict, _) = u.choose(&TABLES)?;
    let table = machine.table(name);
    let key = u.choose(&KEYS)?.as_bytes();
    let siblings = *conflict == Conflict::Siblings;
    let expires = u.ratio(1, 4)? && !siblings;
    let now = machine.fx.now().wall;
    let write = match u.ratio(1, 3)? && !siblings {
        true => Write::Delete { key },
        false => Write::Put {
            key,
            value: Bytes::from(std::vec![u.arbitrary::<u8>()?]),
            expires: expires.then_some(now + Duration::from_secs(1)),
        },
    };
    machine.write(table, write);
    Ok(())
}

/// Something that happens to both, or to one without a write.
fn event(u: &mut Unstructured<'_>, one: &mut Machine, two: &mut Machine) -> arbitrary::Result<()> {
    match u.int_in_range(0..=9)? {
        0 => drop(fetch(one, two)),
        1 | 2 => drop(fetch(two, one)),
        // A disk that has lost rows.
        3 => two.loses(&one.contexts()),
        4 => {
            one.wait(Duration::from_secs(2));
            two.wait(Duration::from_secs(2));
            for machine in [&mut *one, &mut *two] {
                let now = machine.fx.now().wall;
                machine.act(Gossip::tick);
                if u.arbitrary()? {
                    machine.ends(now);
                }
            }
        }
        5 => {
            let (seen, clock) = (one.contexts(), one.clock());
            one.end_durable_turn();
            one.claims(2, &seen, clock);
            one.end_turn();
        }
        6 if u.ratio(1, 4)? => one.flush_all(),
        7 if u.ratio(1, 4)? => two.flush_all(),
        _ => {}
    }
    one.sent();
    two.sent();
    Ok(())
}

/// The rows of users' tables in words, and what was seen.
type Held = (Vec<String>, Contexts);

/// Returns all that a machine holds of users' tables.
fn held(machine: &mut Machine) -> Held {
    let mut rows = Vec::new();
    for (name, ..) in TABLES {
        let table = machine.table(name);
        for key in KEYS {
            let replica = machine.gossip.replica();
            let Some(row) = replica.get(&machine.shared.catalog, table, key.as_bytes()) else {
                continue;
            };
            let (actor, expires) = (replica.actor(row.actor), row.expires);
            let version = (row.clock, actor, row.counter, expires);
            rows.push(std::format!("{name} {key} {version:?} {:?}", row.value));
        }
    }
    let sum = machine.gossip.replica().live_sum();
    rows.push(std::format!("{sum} {}", machine.tombstones()));
    (rows, machine.contexts())
}

/// Returns what readers see of each key.
fn shown(machine: &mut Machine) -> Vec<((TableId, Bytes), Option<Value>)> {
    let tables = TABLES.map(|(name, ..)| machine.table(name));
    let places = tables
        .into_iter()
        .flat_map(|table| KEYS.map(|key| (table, key)));
    let shown = places.map(|(table, key)| ((table, Bytes::from(key)), machine.seen(table, key)));
    shown.collect()
}

/// Plays a history, at whose end the second of two machines rejoins, and asks for what differs or for everything. Returns what it holds then, and
/// the course of the rejoin.
fn play(data: &[u8], asks: Asking) -> arbitrary::Result<(Held, Course)> {
    let mut u = Unstructured::new(data);
    let (mut one, mut two) = (Machine::with_store(1, 2), Machine::with_store(2, 2));
    for (name, conflict, durability) in &TABLES[1..] {
        one.create(name, *conflict, *durability);
    }
    fetch(&mut two, &mut one);
    for _ in 0..u.int_in_range(0..=40)? {
        match u.arbitrary()? {
            true => step(&mut u, &mut one)?,
            false => step(&mut u, &mut two)?,
        }
        if u.ratio(1, 2)? {
            event(&mut u, &mut one, &mut two)?;
        }
    }
    one.end_durable_turn();
    two.end_durable_turn();
    one.sent();
    two.sent();
    two.is_rejoining = true;
    two.gossip.asking = asks;
    let before = shown(&mut two);
    let from = two.shared.changes.next();
    let under = u.int_in_range(0..=4)?;
    let mut written = Ok(());
    let course = rejoin_under(&mut two, &mut one, |two, _| {
        written = (0..under).try_for_each(|_| step(&mut u, two));
    });
    written?;
    if let Some(told) = two.told_since(from) {
        let after = shown(&mut two);
        for ((place, before), after) in before.into_iter().zip(after) {
            let is_told = told.contains(&place);
            assert!(
                before == after.1 || is_told,
                "watchers are told of {place:?}"
            );
        }
    }
    two.gossip.check();
    Ok((held(&mut two), course))
}

#[test]
pub(crate) fn what_differs_makes_the_same_of_a_node_as_everything_would() {
    let (mut kept, mut again, mut dropped, mut proposed) = (0, 0, 0, 0);
    arbtest(|u| {
        let data = u.bytes(u.len())?;
        let (rows, course) = play(data, Asking::Covered)?;
        let (all, whole) = play(data, Asking::Nothing)?;
        assert_eq!(rows, all);
        let done = counts(&course);
        assert_eq!(done, counts(&whole));
        assert!(whole.kept == 0 && course.sessions <= 3);
        kept += course.kept;
        again += course.sessions - 1;
        (dropped, proposed) = (dropped + done.0, proposed + done.1);
        Ok(())
    })
    .budget_ms(2_000)
    .size_min(64)
    .size_max(1_024);
    assert!(kept > 0 && again > 0 && dropped > 0 && proposed > 0);
}
