use super::{PlanError, PlanErrorKind as Kind};
use crate::faults::FaultSet;
use crate::plan::{Action, Plan, Shape};

const SMALL: &str = "\
seed 7
codec on
node n0 start=0s
node n1 start=20ms disk=no
stop 20s

3.012s put client=c1 table=default key=k3 ttl=450ms
3.5s move client=c1 node=n0
4s partition left=n0 right=n1 for=2.5s
4s skew node=n1 by=-1.024s drift=+300ppm for=1m
4s set node=n1 name=detector.probe_interval value=200ms
4s unset node=n0 name=limits.sessions
4.000001s loss rate=0.0977% for=750us
";

#[test]
fn what_is_printed_reads_back() {
    arbtest::arbtest(|u| {
        let shape = Shape {
            seed: u.arbitrary()?,
            nodes: u.int_in_range(1..=9)?,
            active_us: u.int_in_range(5_000_000..=40_000_000)?,
            faults: FaultSet::ALL,
            ops_per_s: None,
        };
        let seed = u.arbitrary()?;
        let named = Plan::names(seed);
        for plan in [
            Plan::draw(u, &shape)?,
            Plan::swarm(seed),
            Plan::long(seed),
            named,
        ] {
            let text = plan.to_string();
            assert_eq!(text.parse::<Plan>(), Ok(plan), "{text}");
        }
        Ok(())
    });
}

#[test]
fn comments_blanks_and_other_units_do_not_matter() {
    let plan: Plan = SMALL.parse().unwrap();
    assert_eq!(plan.to_string(), SMALL.replace("for=1m", "for=60s"));
    let loose = "
        # a plan by hand
        stop 20000ms
        node n0 start=0h   # the founder
        node n1 disk=no start=0.02s
        seed 7\tcodec on
    ";
    let loose = loose.replace('\t', "\n");
    let mut bare = plan;
    bare.entries.clear();
    assert_eq!(loose.parse::<Plan>(), Ok(bare));
}

#[test]
fn any_text_is_a_plan_or_an_error() {
    arbtest::arbtest(|u| {
        let mut text: Vec<char> = SMALL.chars().collect();
        for _ in 0..u.int_in_range(1..=4)? {
            let at = u.choose_index(text.len())?;
            text[at] = u.arbitrary()?;
        }
        let text: String = text.into_iter().collect();
        if let Ok(plan) = text.parse::<Plan>() {
            assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
        }
        Ok(())
    });
}

/// Replaces a part of the small plan and reads it.
fn broken(from: &str, to: &str) -> PlanError {
    assert!(SMALL.contains(from));
    SMALL.replacen(from, to, 1).parse::<Plan>().unwrap_err()
}

#[test]
fn an_error_says_where_and_what() {
    for (from, to, line, column, kind, found) in [
        ("move", "mvoe", 8, 6, Kind::UnknownVerb, "mvoe"),
        ("codec on", "codex on", 2, 1, Kind::UnknownVerb, "codex"),
        ("right=", "rihgt=", 9, 22, Kind::UnknownField, "rihgt"),
        (" right=n1", "", 9, 30, Kind::Missing, "the end of the line"),
        ("3.5s", "3s", 8, 1, Kind::TimeGoesBack, "3s"),
        ("right=n1", "right=n2", 9, 28, Kind::NoSuchNode, "n2"),
        ("left=n0", "left=n0,n0", 9, 22, Kind::Repeated, "n0"),
        ("0.0977%", "101%", 13, 21, Kind::OutOfRange, "101%"),
        ("0.0977%", "0.00001%", 13, 21, Kind::BadWord, "0.00001%"),
        ("2.5s", "99999h", 9, 35, Kind::OutOfRange, "99999h"),
        ("4.000001s", "20s", 13, 1, Kind::OutOfRange, "20s"),
        (
            "+300ppm",
            "+600000ppm",
            10,
            34,
            Kind::OutOfRange,
            "+600000ppm",
        ),
        ("200ms", "2h", 11, 51, Kind::OutOfRange, "2h"),
        ("200ms", "200", 11, 51, Kind::BadWord, "200"),
        (
            "probe_interval",
            "luck",
            11,
            21,
            Kind::BadWord,
            "detector.luck",
        ),
        ("seed 7", "seed -7", 1, 6, Kind::BadWord, "-7"),
        ("seed 7", "codec on", 2, 1, Kind::Repeated, "codec"),
        ("node n1", "node n2", 4, 6, Kind::BadWord, "n2"),
        ("default", "deflaut", 7, 28, Kind::BadWord, "deflaut"),
        ("stop 20s", "", 7, 1, Kind::Missing, "3.012s"),
    ] {
        let error = broken(from, to);
        let got = (error.line, error.column, error.kind, error.found.as_str());
        assert_eq!(got, (line, column, kind, found), "{error}");
        assert!(!error.expected.is_empty());
    }
    assert_eq!(
        broken("right=n1", "right=n2").to_string(),
        "line 9, column 28: no such node \"n2\", expected one of n0 to n1"
    );
    let long = broken("right=n1", &format!("right={}", "x".repeat(50)));
    let (shown, said) = ("x".repeat(40), long.to_string());
    assert!(said.contains(&format!("{shown:?}, expected")), "{said}");
    let renamed = broken("detector.probe_interval", "gossip.probe_interval");
    let said = "gossip.probe_interval is called detector.probe_interval";
    assert_eq!(renamed.expected, said);
    let reserved = broken("detector.probe_interval", "strong.luck");
    assert!(reserved.expected.contains("strong tables"), "{reserved}");
    let empty = "".parse::<Plan>().unwrap_err();
    assert_eq!((empty.kind, empty.line), (Kind::Missing, 1));
}

#[test]
fn an_entry_prints_alone() {
    let plan: Plan = SMALL.parse().unwrap();
    let Action::Op(op) = &plan.entries[0].action else {
        panic!("the first entry is an operation");
    };
    assert_eq!(
        op.to_string(),
        "put client=c1 table=default key=k3 ttl=450ms"
    );
}

const DOCS: &str = include_str!("../../../docs/plans.md");

#[test]
fn the_docs_name_every_verb_with_its_fields() {
    let entry = |verb: &str| {
        let start = format!("| `{verb} ");
        let line = DOCS.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("the docs lack {verb}"))
    };
    for (verb, fields) in super::action::verbs() {
        let line = entry(verb);
        for field in fields {
            assert!(line.contains(&format!(" {field}=")), "{verb} {field}");
        }
    }
    for limit in crate::plan::Caps::NAMES {
        assert!(DOCS.contains(&format!("`{limit}`")), "{limit}");
    }
    for profile in crate::plan::Profile::ALL {
        assert!(DOCS.contains(&format!("| `{profile}` |")), "{profile}");
    }
}

#[test]
fn the_plan_in_the_docs_is_one() {
    let from = DOCS.find("seed 1\n").unwrap();
    let text = DOCS[from..].split("```").next().unwrap();
    let plan: Plan = text.parse().unwrap();
    assert_eq!(plan.to_string(), text);
}
