use super::*;

fn shape(seed: u64) -> Shape {
    Shape {
        seed,
        nodes: 3,
        active_us: 57_000_000,
        faults: FaultSet::ALL,
        ops_per_s: None,
    }
}

fn check(plan: &Plan) {
    assert!(plan.entries.is_sorted_by_key(|entry| entry.at_us));
    let times = WARM_UP_US..plan.stop_us;
    assert!(
        plan.entries
            .iter()
            .all(|entry| times.contains(&entry.at_us))
    );
}

#[test]
fn every_requested_kind_is_in_the_plan() {
    for seed in 0..50 {
        let plan = Plan::from_seed(&shape(seed));
        assert_eq!(plan.kinds(), FaultSet::ALL, "seed {seed}");
        check(&plan);
    }
}

#[test]
fn any_bytes_are_a_plan() {
    arbtest::arbtest(|u| {
        let shape = Shape {
            nodes: u.int_in_range(1..=7)?,
            ..shape(0)
        };
        let plan = Plan::draw(u, &shape)?;
        assert_eq!(plan.machines.len(), shape.nodes);
        check(&plan);
        Ok(())
    });
}

#[test]
fn a_seed_always_gives_the_same_text() {
    let text = Plan::from_seed(&shape(7)).to_string();
    assert_eq!(text, Plan::from_seed(&shape(7)).to_string());
    assert_ne!(text, Plan::from_seed(&shape(8)).to_string());
}

#[test]
fn a_swarm_has_all_sorts() {
    let plans: Vec<Plan> = (0..500).map(Plan::swarm).collect();
    plans.iter().for_each(check);
    let share = |what: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| what(plan)).count();
    assert!((35..110).contains(&share(&|plan| plan.kinds() == FaultSet::NONE)));
    assert!((1..10).contains(&share(&|plan| plan.machines.len() > 7)));
    assert!((150..400).contains(&share(&|plan| plan.codec)));
    for kind in FaultKind::ALL {
        assert!(share(&|plan| plan.count(kind) > 0) > 50, "{}", kind.name());
    }
}

#[test]
fn a_logarithmic_draw_keeps_its_bounds() {
    arbtest::arbtest(|u| {
        let low = u.int_in_range(1..=5_000)?;
        let high = u.int_in_range(low..=u64::MAX)?;
        let got = draw_log(u, low, high)?;
        assert!((low..=high).contains(&got));
        Ok(())
    });
}
