//! Bugs put in on purpose stay where they are looked for: no build but the simulator's own can have them.

use std::path::Path;

use super::{packages, read, root, shown};

/// The one crate that has them, and the one that may ask for them.
const HAS: &str = "proto-machine";
const ASKS: &str = "tests-sim";

#[test]
fn no_build_but_the_simulators_can_have_mutants() {
    let mut have = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a name").to_owned();
        for (feature, turns_on) in package["features"].as_object().expect("features") {
            let turns_on: Vec<&str> =
                turns_on.as_array().expect("a list").iter().filter_map(|on| on.as_str()).collect();
            let theirs = feature == "mutants" || turns_on.iter().any(|on| on.contains("mutants"));
            assert!(!theirs || feature != "default", "{name} has mutants by default");
            assert!(
                !theirs || [HAS, ASKS].contains(&&*name),
                "{name} has the feature {feature} = {turns_on:?}"
            );
            have.extend(theirs.then(|| name.clone()));
        }
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let asks =
                dependency["features"].as_array().is_some_and(|on| on.iter().any(|on| on == "mutants"));
            assert!(!asks, "{name} always has the mutants of {}", dependency["name"]);
            let simulator = dependency["name"] == ASKS;
            assert!(!simulator, "{name} depends on the simulator, whose features it would share");
        }
    }
    have.sort();
    assert_eq!(have, [HAS, ASKS], "mend this test when mutants move");
}

#[test]
fn a_release_build_refuses_mutants() {
    let path = root().join("proto/machine/src/mutants.rs");
    let text = read(&path);
    let refuses = "#[cfg(all(feature = \"mutants\", not(debug_assertions)))]\ncompile_error!";
    assert!(text.contains(refuses), "{} must refuse to be built for release", shown(Path::new(&path)));
}
