use super::*;

fn measured(nodes: usize, seed: u64, count: usize) -> (Vec<Figure>, u64) {
    let mut lab = Lab::new(nodes, seed);
    let figures = stages()
        .iter()
        .take(count)
        .flat_map(|stage| (stage.run)(&mut lab).figures)
        .collect();
    (figures, lab.hash())
}

#[test]
fn a_seed_is_one_run() {
    assert_eq!(measured(8, 1, 4), measured(8, 1, 4));
    assert_ne!(measured(4, 1, 1).1, measured(4, 2, 1).1);
}

#[test]
fn a_small_cluster_meets_its_bounds() {
    let (figures, _) = measured(8, 1, stages().len());
    let value = |name: &str| {
        let figure = figures.iter().find(|figure| figure.name == name);
        let figure = figure.unwrap_or_else(|| panic!("no figure {name}"));
        figure.value.unwrap_or_else(|| panic!("{name} never came"))
    };
    // One write at a time goes to each of the others once, by the shortest way.
    assert_eq!(value("copies per write"), 7.0);
    assert!((0.9..1.1).contains(&value("delivery p50")));
    assert!((1.1..=1.2).contains(&value("delivery p99")));
    // A probe and an ack for each period; a message has at least its header.
    assert!((1.9..2.1).contains(&value("idle, messages sent per node")));
    let idle = value("idle, bytes sent per node");
    assert!((60.0..200.0).contains(&idle), "{idle}");
    let bytes = value("burst, bytes per write");
    assert!((7.0 * 272.0..7.0 * 320.0).contains(&bytes), "{bytes}");
    // Every twentieth copy is lost and sent again, at least.
    assert!(value("5 % loss, copies per write") > 7.0);
    assert!(value("after a partition, rows agree") > 0.0);
    let detected = [
        "death, first suspected p50",
        "death, first declared p50",
        "death, known everywhere p50",
    ];
    let detected = detected.map(value);
    assert!(detected[0] > 0.0 && detected.is_sorted(), "{detected:?}");
}

#[test]
fn what_never_came_misses_its_goal() {
    let figure = Figure::new("x", "s", None).goal(Goal::Limit(1.0));
    assert_eq!((figure.met(), figure.limit()), (Some(false), Some(1.0)));
    let figure = Figure::new("x", "s", Some(3.6)).bound(2.0);
    assert_eq!(figure.met(), None);
    assert_eq!(
        figure.clone().goal(Goal::TimesAnd(1.3, 1.0)).met(),
        Some(true)
    );
    assert_eq!(figure.goal(Goal::Times(1.3)).met(), Some(false));
}

#[test]
fn percentiles_are_values_that_occurred() {
    let mut values: Vec<u64> = (1..=100).rev().collect();
    let at = |values: &mut [u64], per_mille| figure::percentile(values, per_mille);
    assert_eq!(at(&mut values, 500), Some(50));
    assert_eq!(at(&mut values, 990), Some(99));
    assert_eq!(at(&mut values, 1_000), Some(100));
    assert_eq!(at(&mut [], 500), None);
}
