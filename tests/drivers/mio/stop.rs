//! `shutdown` stops a node as a member that comes back.

use rumormill_core::members::MemberState;

use super::*;

/// Probes so seldom that only a goodbye tells within the patience of a test that a peer has gone.
fn probes_seldom(config: &mut Config) {
    config.timing.probe_interval = Duration::from_secs(600);
    config.timing.probe_timeout = Duration::from_secs(300);
}

/// Returns how a node sees its only peer, and the peer's id.
fn peer_of(running: &Running) -> Option<(MemberState, String)> {
    let members = running.handle.blocking().members().unwrap();
    let mut others = members.into_iter().filter(|member| !member.me);
    others
        .next()
        .map(|member| (member.state, member.id.to_string()))
}

#[test]
fn a_shutdown_syncs_and_says_goodbye_and_the_node_comes_back_as_the_same_member() {
    let store = MemoryStore::new();
    let a = start(Options::new(any()), NoClients, probes_seldom);
    let seed = a.peers.to_string();
    let configure = |config: &mut Config| {
        probes_seldom(config);
        config.storage = Storage::Ordered;
        config.timing.sync_interval = Duration::from_secs(600);
        config.seeds.push(seed.clone());
    };
    let b = start_on(store.clone(), Options::new(any()), NoClients, configure);
    wait("each other", || {
        peer_of(&a).is_some() && b.handle.with(|node, _| node.is_full()).unwrap()
    });
    let (_, id) = peer_of(&a).unwrap();
    put(&b.handle, b"k", b"v".to_vec());
    b.handle.blocking().shutdown().unwrap();
    let exit = b.thread.join().unwrap();
    assert!(matches!(exit, Exit::Stopped(seq) if seq.0 > 0), "{exit:?}");
    wait("the goodbye", || {
        peer_of(&a) == Some((MemberState::Down, id.clone()))
    });
    assert_eq!(get(&a.handle, b"k").unwrap(), "v", "it was pushed before");
    store.crash();
    let b = start_on(store, Options::new(any()), NoClients, configure);
    assert_eq!(get(&b.handle, b"k").unwrap(), "v", "it was synced");
    wait("its return", || {
        peer_of(&a) == Some((MemberState::Alive, id.clone()))
    });
    b.end();
    a.end();
}

#[test]
fn a_stop_that_takes_too_long_is_cut_after_its_last_sync() {
    let store = MemoryStore::new();
    let mut options = Options::new(any());
    options.stop_timeout = Duration::ZERO;
    let configure = |config: &mut Config| {
        config.storage = Storage::Ordered;
        config.timing.sync_interval = Duration::from_secs(600);
    };
    let a = start_on(store.clone(), options, NoClients, configure);
    put(&a.handle, b"k", b"v".to_vec());
    let exit = a.end();
    assert!(matches!(exit, Exit::StopCut), "{exit:?}");
    store.crash();
    let a = start_on(store, Options::new(any()), NoClients, configure);
    assert_eq!(get(&a.handle, b"k").unwrap(), "v");
    a.end();
}
