use serde_json::Value;

use crate::support::{code, rumormill, text};

#[test]
fn a_number_of_nodes_that_is_none_is_refused() {
    for nodes in ["", "1", "5000", "8,", "8,x", "-3"] {
        let mut command = rumormill();
        command.args(["sim", "scale", &format!("--nodes={nodes}")]);
        let output = command.output().expect("it runs");
        assert_eq!(code(&output), 2, "{nodes:?}");
        assert!(text(&output.stderr).contains("--nodes"), "{nodes:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn each_size_has_all_figures_with_bound_and_goal() {
    let mut command = rumormill();
    command.args(["sim", "scale", "--nodes", "2,3", "--json"]);
    let output = command.output().expect("it runs");
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let clusters = report["clusters"].as_array().expect("a list");
    let sizes: Vec<u64> = clusters
        .iter()
        .filter_map(|one| one["nodes"].as_u64())
        .collect();
    assert_eq!(sizes, [2, 3]);
    for (cluster, others) in clusters.iter().zip([1.0, 2.0]) {
        let figures = cluster["figures"].as_array().expect("a list");
        let copies = figures.iter().find(|one| one["name"] == "copies per write");
        let copies = copies.expect("a figure");
        assert_eq!(copies["value"].as_f64(), Some(others));
        assert_eq!(copies["bound"].as_f64(), Some(others));
        assert_eq!(copies["met"], true);
        assert!(figures.iter().any(|one| one["unit"] == "us"));
    }
}
