//! Once faults and writes have stopped, all nodes show the same rows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rumormill_core::{
    Node, NodeId, NodeStatus, Now,
    members::{MemberInfo, MemberState, NodePhase},
    settings::SettingSource,
};

use super::{Contents, MAX_VIOLATIONS, Violation};

/// The checker's name in reports.
pub const NAME: &str = "convergence";

/// Compares every node with the first one. `contents` is by node; a node that is down has none and is a violation itself.
pub fn check(at_us: u64, contents: &[Option<Contents>]) -> Vec<Violation> {
    let mut out = Vec::new();
    let mut report = |text: String| {
        if out.len() < MAX_VIOLATIONS {
            out.push(Violation {
                checker: NAME,
                at_us,
                text,
            });
        }
    };
    let mut first: Option<(usize, &Contents)> = None;
    for (node, contents) in contents.iter().enumerate() {
        match (contents, first) {
            (None, _) => report(format!("n{node} is not running at the end")),
            (Some(contents), None) => first = Some((node, contents)),
            (Some(contents), Some((other, expected))) => {
                for text in differences(expected, other, contents, node) {
                    report(text);
                }
            }
        }
    }
    out
}

/// Whether all nodes run and show the same.
pub fn holds(contents: &[Option<Contents>]) -> bool {
    contents
        .iter()
        .all(|one| one.is_some() && *one == contents[0])
}

/// Rows that some running node shows and another does not, or not with that version.
pub fn apart(contents: &[Option<Contents>]) -> u64 {
    let running: Vec<&Contents> = contents.iter().flatten().collect();
    let keys: BTreeSet<(&str, &Bytes)> = running
        .iter()
        .flat_map(|contents| contents.rows().map(|(table, key, _)| (table, key)))
        .collect();
    let differs = |&(table, key): &(&str, &Bytes)| {
        let mut shown = running
            .iter()
            .map(|contents| contents.0.get(table).and_then(|rows| rows.get(key)));
        let first = shown.next();
        shown.any(|row| Some(row) != first)
    };
    keys.into_iter().filter(differs).count() as u64
}

fn differences(
    left: &Contents,
    left_node: usize,
    right: &Contents,
    right_node: usize,
) -> Vec<String> {
    let mut out = Vec::new();
    let mut compare =
        |from: &Contents, from_node: usize, to: &Contents, to_node: usize, both: bool| {
            for (table, key, row) in from.rows() {
                let other = to.0.get(table).and_then(|rows| rows.get(key));
                let key = key.escape_ascii();
                match other {
                    None => out.push(format!(
                        "{table}/{key} is {} on n{from_node} and absent on n{to_node}",
                        row.shown()
                    )),
                    Some(other) if both && other != row => out.push(format!(
                        "{table}/{key} is {} on n{from_node} and {} on n{to_node}",
                        row.shown(),
                        other.shown()
                    )),
                    Some(_) => {}
                }
            }
        };
    compare(left, left_node, right, right_node, true);
    compare(right, right_node, left, left_node, false);
    out
}

/// The view that one node has of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// The machine.
    pub node: usize,
    /// The members it takes for alive, by name.
    pub alive: Vec<String>,
    /// The members it knows and does not take for alive, by name.
    pub not_alive: Vec<String>,
    /// Its phase, as it says.
    pub phase: NodePhase,
    /// Deletes it still remembers and has no reason to.
    pub tombstones: u64,
    /// For which members it keeps them, and why.
    pub waits: Vec<String>,
    /// Rows that it has and does not show, with the reason.
    pub strays: Vec<String>,
    /// The settings that it takes for set by the cluster: each with its value, or why it is not in force.
    pub settings: BTreeMap<&'static str, String>,
}

impl ClusterView {
    /// Asks a node. Members in `gone` will never come back. Deletes may have to be kept for good where `keeps_deletes` says so, for a member whose
    /// disk was lost (guarantees, "Deletes": a member that is down keeps them until it is evicted), and for members without a disk that are as many
    /// as those that run ("Eviction and resumption": then nothing is a majority): a new boot ends its old one with a majority alone.
    pub fn read(
        index: usize,
        node: &Node,
        now: Now,
        (gone, keeps_deletes): (&BTreeSet<NodeId>, bool),
    ) -> Self {
        let status = node.status(now);
        let (mut alive, mut not_alive) = (Vec::new(), Vec::new());
        let members = node.members();
        let left = |member: &&MemberInfo| member.state == MemberState::Left;
        let ghosts = members
            .iter()
            .filter(|member| gone.contains(&member.id) && !left(member));
        let (stored, forgotten) = ghosts.partition::<Vec<_>, _>(|member| member.stores);
        let running = status
            .members
            .saturating_sub(stored.len() + forgotten.len());
        let keeps_deletes = keeps_deletes || !stored.is_empty() || forgotten.len() >= running;
        // Guarantees, "Siblings": rows of a writer that is gone are moved once it was evicted or has left.
        let waits_for_gone = !stored.is_empty() || !forgotten.is_empty();
        // Guarantees, "Which durability": a definition that is not synced may be lost, and with it the meaning of rows written under it.
        let strays = status.strays.iter().filter(|strays| strays.defined);
        let strays = strays.filter(|_| !waits_for_gone);
        let strays = strays.map(ToString::to_string).collect();
        for member in members
            .into_iter()
            .filter(|member| !gone.contains(&member.id))
        {
            let side = if member.state == MemberState::Alive {
                &mut alive
            } else {
                &mut not_alive
            };
            side.push(member.name);
        }
        alive.sort();
        let phase = status.phase;
        let tombstones = if keeps_deletes { 0 } else { status.tombstones };
        ClusterView {
            node: index,
            alive,
            not_alive,
            phase,
            tombstones,
            waits: waits(&status),
            strays,
            settings: cluster_settings(node),
        }
    }
}

/// Tells for which members a node keeps deletes, and why.
pub fn waits(status: &NodeStatus) -> Vec<String> {
    let waits = status.waiting_for.iter();
    waits
        .map(|wait| format!("{}: {}", wait.node, wait.why))
        .collect()
}

/// Returns the settings in force here because of the cluster, without the node's own configuration.
fn cluster_settings(node: &Node) -> BTreeMap<&'static str, String> {
    let settings = node.settings().into_iter();
    let set = settings.filter_map(|setting| match setting.ignored {
        Some(why) => Some((setting.name, why)),
        None if setting.source == SettingSource::Cluster => Some((setting.name, setting.value)),
        None => None,
    });
    set.collect()
}

/// Once faults have stopped, every node is a member, takes every other for alive, has forgotten its deletes, since all members
/// have them, and has the settings that all have.
pub fn check_members(at_us: u64, views: &[ClusterView]) -> Vec<Violation> {
    let mut out = Vec::new();
    for view in views {
        let node = view.node;
        let mut report = |text: String| {
            out.push(Violation {
                checker: NAME,
                at_us,
                text,
            })
        };
        if view.phase != NodePhase::Member {
            report(format!("n{node} is {}", view.phase));
        }
        if !view.not_alive.is_empty() || view.alive.len() != views.len() {
            let (alive, rest) = (view.alive.join(","), view.not_alive.join(","));
            report(format!("n{node} holds {alive} for alive, and not {rest}"));
        }
        if view.tombstones > 0 {
            report(format!(
                "n{node} still remembers {} deletes: {:?}",
                view.tombstones, view.waits
            ));
        }
        for waiting in &view.strays {
            report(format!("n{node} does not show rows of {waiting}"));
        }
        if let Some(first) = views.first()
            && view.settings != first.settings
        {
            let (ours, theirs) = (&view.settings, &first.settings);
            let other = first.node;
            report(format!(
                "n{node} has the settings {ours:?} and n{other} {theirs:?}"
            ));
        }
    }
    out.truncate(MAX_VIOLATIONS);
    out
}
