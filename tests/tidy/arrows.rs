//! The walls: which crate may know which.

use std::collections::BTreeSet;
use std::fs;

use super::{packages, rewrites, root};

/// The arrows between the crates of the workspace, `from -> to`, dev-dependencies apart.
fn arrows() -> BTreeSet<String> {
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut arrows = BTreeSet::new();
    for package in &packages {
        let from = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            if names.contains(to) && dependency["kind"].as_str() != Some("dev") {
                arrows.insert(format!("{from} -> {to}"));
            }
        }
    }
    arrows
}

#[test]
fn the_arrows_are_those_of_the_plan() {
    let path = root().join("docs/arrows.txt");
    let arrows: String = arrows().into_iter().map(|arrow| arrow + "\n").collect();
    if rewrites() {
        fs::write(&path, &arrows).expect("docs/arrows.txt is written");
    }
    let planned = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        planned, arrows,
        "the arrows between crates changed: write a decision in docs/decisions, draw it in docs/architecture.md, \
         then STOA_REGENERATE=1 cargo test --test tidy"
    );
}

#[test]
fn the_wings_meet_on_the_wire_only() {
    let wing = |name: &str| match name.split('-').next().unwrap_or(name) {
        "master" => Some("master"),
        "agent" => Some("agent"),
        "framework" => Some("framework-sdk"),
        "frameworks" => Some("frameworks"),
        _ => None,
    };
    for arrow in arrows() {
        let (from, to) = arrow.split_once(" -> ").expect("an arrow");
        if from == "stoa" || from.starts_with("tests-") {
            continue;
        }
        if let (Some(a), Some(b)) = (wing(from), wing(to)) {
            let guest = a == "frameworks" && b == "framework-sdk";
            assert!(a == b || guest, "{arrow}: wings do not know each other; let them meet in proto");
        }
    }
}
