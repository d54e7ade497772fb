use super::*;
use crate::plan::OpVerb;

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

/// Whether two steps of one node's clock, of which none lasts for long, come so close that they are one long step.
fn has_touching_steps(plan: &Plan) -> bool {
    let mut free_us = vec![0; plan.machines.len()];
    plan.entries.iter().any(|entry| {
        let Action::Fault(Fault { for_us, what }) = &entry.action else {
            return false;
        };
        let FaultWhat::Skew { node, .. } = *what else {
            return false;
        };
        let touches = entry.at_us < free_us[node];
        free_us[node] = entry.at_us + for_us + 60_000_000;
        touches
    })
}

#[test]
fn a_long_swarm_has_all_sorts() {
    let plans: Vec<Plan> = (0..500).map(Plan::long).collect();
    plans.iter().for_each(check);
    for plan in &plans {
        assert!((2..=6).contains(&plan.machines.len()));
        assert!((60_000_000..=300_000_000).contains(&plan.stop_us));
        assert!(!has_touching_steps(plan), "{plan}");
    }
    let share = |what: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| what(plan)).count();
    let kinds = [
        (FaultKind::Skew, 400),
        (FaultKind::Leave, 300),
        (FaultKind::Crash, 350),
        (FaultKind::OneWay, 50),
        (FaultKind::Partial, 50),
        (FaultKind::Bridge, 50),
        (FaultKind::Partition, 50),
        (FaultKind::Evict, 100),
        (FaultKind::Wipe, 50),
    ];
    for (kind, least) in kinds {
        let found = share(&|plan| plan.count(kind) > 0);
        assert!(found > least, "{}: {found}", kind.name());
    }
    let mut machines = plans.iter().flat_map(|plan| &plan.machines);
    assert!(machines.any(|machine| !machine.disk));
    assert!(
        share(&|plan| plan
            .machines
            .iter()
            .any(|machine| machine.start_us > WARM_UP_US))
            > 150
    );
    let outlives = |entry: &Entry| match &entry.action {
        Action::Op(op) => matches!(op.verb, OpVerb::PutFor { ttl_ms, .. } if ttl_ms > 300_000),
        _ => false,
    };
    assert!(share(&|plan| plan.entries.iter().any(outlives)) > 450);
    assert!(share(&|plan| plan.entries.len() > 2_000) == 0);
}

#[test]
fn a_profile_has_one_name() {
    for profile in Profile::ALL {
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
    let unknown = "short".parse::<Profile>().unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown profile \"short\": expected gossip or long or names"
    );
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
