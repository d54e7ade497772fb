//! Merging of siblings, against a model that keeps whole histories.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use arbitrary::Unstructured;
use arbtest::arbtest;
use bytes::Bytes;

use super::*;
use crate::id::{Actor, NodeId};

type Known = BTreeSet<Dot>;

/// All that members may know: of each write what its author had seen, closed under having seen.
#[derive(Default)]
struct Model {
    histories: BTreeMap<Dot, Known>,
    deletes: Known,
}

impl Model {
    /// The values left of the writes in `known`: those that none of these has seen.
    fn live(&self, known: &Known) -> Known {
        let replaced: Known = known
            .iter()
            .flat_map(|dot| self.histories[dot].clone())
            .collect();
        let left = known.difference(&replaced);
        left.filter(|dot| !self.deletes.contains(dot))
            .copied()
            .collect()
    }
}

/// A member's row of the one key, and which writes made it.
#[derive(Clone, Default)]
struct Replica {
    row: SiblingRow,
    known: Known,
}

fn live(row: &SiblingRow) -> Known {
    row.live().map(|(version, _)| version.origin).collect()
}

/// A write by `at`, with what some earlier reader has seen or with nothing.
fn write(
    u: &mut Unstructured<'_>,
    (at, counter): (usize, u64),
    replica: &mut Replica,
    reads: &[(Vector, Known)],
    model: &mut Model,
) -> arbitrary::Result<()> {
    let (seen, mut history) = match u.ratio(2, 3)? && !reads.is_empty() {
        true => u.choose(reads)?.clone(),
        false => Default::default(),
    };
    let actor = Actor {
        node: NodeId(at as u64),
        boot: 7,
    };
    let dot = Dot { actor, counter };
    // Deletes that are here are taken in, with what they had seen.
    for version in replica.row.versions() {
        if version.value.is_none() {
            history.extend(model.histories[&version.origin].clone());
            history.insert(version.origin);
        }
    }
    let deletes = !seen.as_slice().is_empty() && u.ratio(1, 3)?;
    let value = (!deletes).then(|| Bytes::from(counter.to_le_bytes().to_vec()));
    let version = Sibling {
        origin: dot,
        dot,
        clock: Hlc(u.int_in_range(1..=9)?),
        value,
    };
    replica.row.write(version, &seen);
    replica.known.insert(dot);
    replica.known.extend(&history);
    model.histories.insert(dot, history);
    if deletes {
        model.deletes.insert(dot);
    }
    Ok(())
}

/// Rows that three members come to have by writes, and by rows that arrive late, twice and in any order.
fn replicas(u: &mut Unstructured<'_>) -> arbitrary::Result<(Vec<Replica>, Model)> {
    let mut replicas = std::vec![Replica::default(); 3];
    let (mut sent, mut reads, mut model) = (Vec::new(), Vec::new(), Model::default());
    for counter in 1..=u.int_in_range(0..=14)? {
        let at = u.choose_index(3)?;
        if u.ratio(1, 2)? {
            write(u, (at, counter), &mut replicas[at], &reads, &mut model)?;
            sent.push(replicas[at].clone());
        } else if !sent.is_empty() {
            let theirs: &Replica = u.choose(&sent)?;
            replicas[at].row.merge(&theirs.row, |_| false);
            replicas[at].known.extend(&theirs.known);
        }
        let replica = &replicas[at];
        reads.push((replica.row.seen().clone(), replica.known.clone()));
    }
    Ok((replicas, model))
}

fn merged(rows: &[&SiblingRow]) -> SiblingRow {
    let mut out = SiblingRow::default();
    for row in rows {
        out.merge(row, |_| false);
    }
    out
}

#[test]
fn a_row_shows_exactly_what_no_writer_that_saw_it_has_replaced() {
    arbtest(|u| {
        let (replicas, model) = replicas(u)?;
        for replica in &replicas {
            assert_eq!(live(&replica.row), model.live(&replica.known));
            if !replica.known.is_empty() {
                let form = replica.row.encode();
                assert_eq!(SiblingRow::decode(&form), Ok(replica.row.clone()));
                assert!(form.len() <= replica.row.len() && SiblingRow::decode(&form[1..]).is_err());
            }
        }
        Ok(())
    });
}

#[test]
fn merging_siblings_is_commutative_associative_and_idempotent() {
    arbtest(|u| {
        let (replicas, model) = replicas(u)?;
        let [a, b, c] = [&replicas[0].row, &replicas[1].row, &replicas[2].row];
        let all = merged(&[a, b, c]);
        assert_eq!(merged(&[c, b, a]), all, "order does not matter");
        assert_eq!(
            merged(&[a, &merged(&[b, c])]),
            all,
            "grouping does not matter"
        );
        assert_eq!(
            merged(&[&all, &all, a, c]),
            all,
            "repetition does not matter"
        );
        let known = replicas
            .iter()
            .flat_map(|replica| replica.known.clone())
            .collect();
        assert_eq!(
            live(&all),
            model.live(&known),
            "and nothing is lost or comes back"
        );
        Ok(())
    });
}

#[test]
fn what_has_forgotten_merges_like_what_has_not() {
    arbtest(|u| {
        let (replicas, _) = replicas(u)?;
        let rows: Vec<&SiblingRow> = replicas.iter().map(|replica| &replica.row).collect();
        // All have everything; some have forgotten what was replaced.
        let all = merged(&rows);
        let mut forgotten = all.clone();
        forgotten.forget_replaced(|_| true);
        assert!(!forgotten.has_garbage(|_| true));
        assert_eq!(live(&merged(&[&all, &forgotten])), live(&all));
        assert_eq!(live(&merged(&[&forgotten, &all])), live(&all));
        Ok(())
    });
}

#[test]
fn bytes_from_outside_are_no_panic() {
    arbtest(|u| {
        let bytes: Vec<u8> = u.arbitrary()?;
        let mut form = std::vec![FORM];
        form.extend(bytes);
        if let Ok(row) = SiblingRow::decode(&form) {
            assert_eq!(SiblingRow::decode(&row.encode()), Ok(row));
        }
        Ok(())
    });
}
