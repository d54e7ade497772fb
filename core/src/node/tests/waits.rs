//! Nodes that are no full members yet: they say what they wait for, and begin a cluster only when they were told to.

use std::string::String;
use std::vec::Vec;

use super::*;
use crate::link::Refusal;

impl Lab {
    /// Nodes with these seeds, none of which knows a cluster.
    fn seekers(seeds: &[&[&str]], change: impl Fn(&mut Config)) -> Lab {
        let mut lab = Lab::new(seeds.len(), Storage::Ordered, false);
        (0..seeds.len()).for_each(|i| lab.stop(i));
        for (i, seeds) in seeds.iter().enumerate() {
            lab.disks[i].clear();
            lab.configs[i].seeds = seeds.iter().map(ToString::to_string).collect();
            change(&mut lab.configs[i]);
            lab.start(i);
        }
        lab
    }

    pub(super) fn phase_of(&self, i: usize) -> &'static str {
        self.nodes[i].as_ref().unwrap().phase().name()
    }

    /// Returns the things that a node waits for, in words.
    fn awaits_in_words(&self, i: usize) -> Vec<String> {
        let status = self.nodes[i].as_ref().unwrap().status(self.now);
        let awaits = status.awaits;
        awaits.iter().map(ToString::to_string).collect()
    }

    /// After how many seconds it said what it waits for.
    fn told_after(&self, i: usize) -> Vec<u64> {
        let events = self.events.iter().filter(|(at, _)| *at == i);
        let secs = events.filter_map(|(_, event)| match event {
            Event::Waits { secs, awaits, .. } => {
                assert!(!awaits.is_empty());
                Some(*secs)
            }
            _ => None,
        });
        secs.collect()
    }

    fn founded(&self, i: usize) -> bool {
        self.events.contains(&(i, Event::Founded))
    }
}

#[test]
pub(super) fn a_node_whose_seed_leads_back_to_it_says_so_and_begins_a_cluster_only_when_told_to() {
    let mut lab = Lab::seekers(&[&["0"]], |_| ());
    lab.put(0, "k", "v");
    lab.run(100_000);
    assert_eq!(lab.phase_of(0), "joining", "it begins nothing by itself");
    assert_eq!(lab.awaits_in_words(0), ["0 leads back to this node"]);
    let told = lab.told_after(0);
    assert!(
        told.len() == 4 && told[0] < 8 && told[3] >= 70,
        "told soon, and then less and less often: {told:?}"
    );
    // The next boot has the same seed, and knows no more.
    lab.stop(0);
    lab.start(0);
    lab.run(20_000);
    assert_eq!(lab.phase_of(0), "joining", "it begins nothing by itself");
    lab.stop(0);
    lab.configs[0].seeds.clear();
    lab.start(0);
    lab.run(1_000);
    assert_eq!(lab.phase_of(0), "member", "started without seeds");
    assert!(lab.founded(0) && lab.awaits_in_words(0).is_empty());
    assert_eq!(lab.get(0, "k"), value("v"));
    lab.delete(0, "k");
    lab.run(2_000);
    assert_eq!(lab.tombstones(), [0], "deletes are freed");
}

#[test]
fn a_node_that_was_told_to_begins_a_cluster_when_its_seeds_lead_to_no_member() {
    let mut lab = Lab::seekers(&[&["0", "9"], &["0"]], |config| {
        config.found = config.addr == "0";
    });
    lab.stop(1);
    lab.run(2_800);
    assert_eq!(lab.phase_of(0), "joining", "a member may answer yet");
    lab.run(400);
    assert_eq!(lab.phase_of(0), "member");
    assert!(lab.founded(0));
    lab.start(1);
    lab.run(3_000);
    assert_eq!((lab.phase_of(0), lab.phase_of(1)), ("member", "member"));
    assert_eq!(lab.node(0).cluster(), lab.node(1).cluster());
    // With its disk lost it comes back into the cluster that is there, and begins none beside it.
    lab.stop(0);
    lab.disks[0].clear();
    lab.configs[0].seeds = std::vec!["1".to_string(), "0".to_string()];
    lab.events.clear();
    lab.start(0);
    lab.run(10_000);
    assert_eq!(lab.node(0).cluster(), lab.node(1).cluster());
    assert_eq!(lab.phase_of(0), "member");
    assert!(!lab.founded(0));
}

#[test]
fn what_each_seed_has_come_to_is_told() {
    // None of them begins a cluster.
    let mut lab = Lab::seekers(&[&["1", "9", "0"], &["0"]], |config| {
        config.timing.found_patience = Duration::MAX;
    });
    lab.run(30_000);
    let waits = lab.awaits_in_words(0);
    for text in [
        "1 looks for a cluster itself",
        "9 cannot be reached",
        "0 leads back to this node",
    ] {
        assert!(waits.iter().any(|one| one == text), "{text}: {waits:?}");
    }
    let failed = |refusal: Refusal| {
        let state = SeedState::Failed(LinkError::Refused(refusal));
        let addr = "9".to_string();
        Awaits::Seed { addr, state }.to_string()
    };
    let theirs = "staging".to_string();
    let name = failed(Refusal::ClusterName { theirs });
    assert_eq!(name, "9 no link: the peer belongs to cluster \"staging\"");
    let version = failed(Refusal::Version { theirs: (7, 8) });
    assert_eq!(version, "9 no link: the peer speaks wire versions 7 to 8");
    let proof = failed(Refusal::Proof);
    let why = "9 no link: the proof belongs to another handshake: a recording, or an echo";
    assert_eq!(proof, why);
    // A node that begins one later is joined.
    lab.stop(1);
    lab.configs[1].seeds.clear();
    lab.start(1);
    lab.run(10_000);
    assert_eq!((lab.phase_of(0), lab.phase_of(1)), ("member", "member"));
    assert_eq!(lab.awaits_in_words(0), Vec::<String>::new());
}

#[test]
fn a_seed_of_another_cluster_with_members_is_told() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let other = lab.nodes.len();
    for (at, seeds) in [(other, &[][..]), (other + 1, &["2"])] {
        let mut config = Config::new(&std::format!("m{at}"), &at.to_string());
        config.storage = Storage::Ordered;
        config.seeds = seeds.iter().map(ToString::to_string).collect();
        lab.join(config);
    }
    lab.run(5_000);
    assert_ne!(lab.node(0).cluster(), lab.node(other).cluster());
    // Its store tells of a cluster that has members, and its seed leads into another.
    lab.stop(1);
    lab.stop(0);
    lab.configs[1].seeds = std::vec!["2".to_string()];
    lab.start(1);
    lab.run(10_000);
    let state = lab.node(1).cluster.seed_states();
    assert_eq!(state, [("2".to_string(), SeedState::OtherCluster)]);
}

#[test]
fn a_node_that_is_rejoining_names_the_members_it_waits_for() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    let now = lab.now;
    let (token, deadline, request) = (Token(1), None, Request::Leave);
    lab.node(1).handle(
        now,
        Input::Request {
            token,
            deadline,
            request,
        },
    );
    lab.run(5_000);
    (0..3).for_each(|i| lab.stop(i));
    lab.events.clear();
    lab.start(1);
    lab.run(20_000);
    assert_eq!(lab.phase_of(1), "rejoining");
    let waits = lab.awaits_in_words(1);
    for name in ["n0", "n2"] {
        let says = |text: &String| text.starts_with(name) && text.ends_with("does not answer");
        assert!(waits.iter().any(says), "{name}: {waits:?}");
    }
    assert!(!lab.told_after(1).is_empty());
    lab.start(0);
    lab.run(10_000);
    assert_eq!(lab.phase_of(1), "member");
}

#[test]
fn a_node_that_began_a_cluster_and_loses_the_member_it_joins_goes_on_as_what_it_was() {
    let mut lab = Lab::seekers(&[&[], &[]], |_| ());
    lab.put(1, "theirs", "v");
    lab.run(1_000);
    // No rows reach the one that joins.
    lab.cut = Box::new(|_, to, msg| {
        to == 0
            && matches!(
                msg,
                crate::wire::Message::Gossip(crate::wire::GossipMessage::Page(_))
            )
    });
    let (token, deadline) = (Token(1), None);
    let (now, addr) = (lab.now, "1".to_string());
    let request = Request::Join { addr };
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(0).handle(now, input);
    lab.run(1_000);
    assert_eq!(lab.phase_of(0), "joining");
    lab.put(0, "mine", "v");
    lab.stop(1);
    lab.run(2_000);
    assert_eq!(lab.phase_of(0), "joining", "it may come back");
    lab.run(3_000);
    assert_eq!(lab.phase_of(0), "member");
    lab.cut = Box::new(|_, _, _| false);
    lab.start(1);
    lab.run(10_000);
    assert_eq!((lab.phase_of(0), lab.phase_of(1)), ("member", "member"));
    assert_eq!(lab.node(0).cluster(), lab.node(1).cluster());
    for key in ["mine", "theirs"] {
        assert_eq!((lab.get(0, key), lab.get(1, key)), (value("v"), value("v")));
    }
}
