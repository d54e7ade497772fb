//! Members that meet only through others are alive to each other, and what is deleted is forgotten by all of them.

use std::collections::BTreeSet;

use super::{MAX_VIOLATIONS, Violation};

/// The checker's name in reports.
pub const NAME: &str = "neighbours";

/// The view of one node while some ways are cut.
#[derive(Clone, Debug)]
pub struct View {
    /// The machine.
    pub node: usize,
    /// The machines whose present nodes it takes for dead.
    pub down: BTreeSet<usize>,
    /// Deletes it still remembers and has no reason to.
    pub tombstones: u64,
    /// For which members it keeps them, and why.
    pub waits: Vec<String>,
}

/// Whether every machine has a way to every other, if only through others.
pub fn all_connected(nodes: usize, reaches: impl Fn(usize, usize) -> bool) -> bool {
    let mut found = BTreeSet::from([0]);
    let mut open = vec![0];
    while let Some(from) = open.pop() {
        for to in (0..nodes).filter(|to| reaches(from, *to) && reaches(*to, from)) {
            if found.insert(to) {
                open.push(to);
            }
        }
    }
    found.len() >= nodes
}

/// Judges nodes that have been connected so for long. Guarantees, "Members": a node asks one of the living about one of the dead, so no member is
/// dead to another with which it shares a neighbour. Between members further apart accusations and refutations go on for ever.
pub fn check(at_us: u64, views: &[View], reaches: impl Fn(usize, usize) -> bool) -> Vec<Violation> {
    let meet = |a: usize, b: usize| reaches(a, b) && reaches(b, a);
    let mut out = Vec::new();
    let mut report = |text: String| {
        out.push(Violation {
            checker: NAME,
            at_us,
            text,
        });
    };
    for view in views {
        let node = view.node;
        for other in &view.down {
            let mut between = views.iter().map(|view| view.node);
            let shared = between.find(|third| meet(node, *third) && meet(*third, *other));
            if let Some(third) = shared.filter(|third| *third != node && third != other) {
                report(format!(
                    "n{node} takes n{other} for dead, which n{third} meets"
                ));
            } else if meet(node, *other) {
                report(format!("n{node} takes n{other} for dead and can meet it"));
            }
        }
        if view.tombstones > 0 {
            let (kept, waits) = (view.tombstones, &view.waits);
            report(format!(
                "n{node} still remembers {kept} deletes, though all members are connected: {waits:?}"
            ));
        }
    }
    out.truncate(MAX_VIOLATIONS);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(node: usize, down: &[usize], tombstones: u64) -> View {
        View {
            node,
            down: down.iter().copied().collect(),
            tombstones,
            waits: Vec::new(),
        }
    }

    /// A line of four.
    fn line(a: usize, b: usize) -> bool {
        a.abs_diff(b) <= 1
    }

    #[test]
    fn a_node_with_a_common_neighbour_is_not_dead_and_one_without_may_be() {
        let views = |down: &[usize]| [view(0, down, 0), view(1, &[], 0), view(2, &[], 0)];
        assert_eq!(check(0, &views(&[2]), line).len(), 1);
        assert_eq!(check(0, &views(&[1]), line).len(), 1);
        let far = [
            view(0, &[3], 0),
            view(1, &[], 0),
            view(2, &[], 0),
            view(3, &[0], 0),
        ];
        assert!(check(0, &far, line).is_empty());
        assert_eq!(check(0, &[view(0, &[], 2)], line).len(), 1);
    }

    #[test]
    fn a_line_is_connected_and_two_halves_are_not() {
        assert!(all_connected(4, line));
        assert!(!all_connected(4, |a, b| (a < 2) == (b < 2)));
    }
}
