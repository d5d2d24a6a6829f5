//! The pure crates: no clock, disk, thread, door or random order, by what they list, name and lint.

use std::path::Path;

use super::{files, packages, read, root, shown};

/// The folders of the crates that hold machines and their words. `proto/wire` is generated and as pure, but not linted.
const PURE: [&str; 11] = [
    "proto",
    "proto/machine",
    "master/allocator",
    "master/registry",
    "master/store",
    "master/store/core",
    "master/raft",
    "master/core",
    "agent/core",
    "framework-sdk/core",
    "tests/history",
];

/// What reaches the world, wherever it stands in a pure crate's sources.
const FORBIDDEN: [&str; 15] = [
    "tokio::",
    "tonic::",
    "async fn",
    "async move",
    "async {",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "SystemTime",
    "std::time::Instant",
    "thread_rng",
    "HashMap",
    "HashSet",
];

#[test]
fn pure_crates_cannot_see_the_world() {
    for folder in PURE.into_iter().chain(["proto/wire"]) {
        let sources = files(&format!("{folder}/src"), ".rs");
        assert!(!sources.is_empty(), "{folder} has no sources: mend the list in tests/tidy/pure.rs");
        for path in sources {
            for (at, line) in read(&path).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if let Some(word) = FORBIDDEN.iter().find(|word| code.contains(**word)) {
                    panic!(
                        "{}:{} names {word}: a machine takes time and randomness as inputs and keeps ordered maps",
                        shown(&path),
                        at + 1
                    );
                }
            }
        }
    }
}

#[test]
fn pure_crates_list_nothing_that_sees_the_world() {
    let worldly =
        ["tokio", "tokio-stream", "tonic", "futures", "rand", "rustix", "libc", "sysinfo", "tracing"];
    for package in packages() {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let folder = Path::new(manifest).parent().map(shown).unwrap_or_default();
        if !PURE.contains(&folder.as_str()) {
            continue;
        }
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let name = dependency["name"].as_str().expect("a name");
            assert!(
                dependency["kind"].as_str() == Some("dev") || !worldly.contains(&name),
                "{folder}/Cargo.toml lists {name}: a pure crate says what is to be done, a shell does it"
            );
        }
    }
}

#[test]
fn pure_crates_are_linted_alike() {
    let model = read(&root().join("agent/core/clippy.toml"));
    for (at, line) in model.lines().enumerate().filter(|(_, line)| line.contains("path =")) {
        assert!(line.contains("reason ="), "agent/core/clippy.toml:{} says no reason", at + 1);
    }
    for folder in PURE {
        let path = root().join(folder).join("clippy.toml");
        let same = path.exists() && read(&path) == model;
        assert!(
            same,
            "{folder}/clippy.toml is not that of agent/core: copy it, every pure crate has the same"
        );
    }
    for needed in
        ["std::time::Instant::now", "std::thread::spawn", "std::fs::read", "std::collections::HashMap"]
    {
        assert!(model.contains(needed), "agent/core/clippy.toml no longer forbids {needed}");
    }
}

#[test]
fn the_lints_of_a_pure_crate_reach_no_other() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let folder = Path::new(manifest).parent().expect("a folder");
        // Clippy takes the nearest clippy.toml upward from the manifest.
        let nearest = folder
            .ancestors()
            .take_while(|above| above.starts_with(root()))
            .find(|above| above.join("clippy.toml").exists());
        let ruled = nearest.map(shown).filter(|above| PURE.contains(&above.as_str()));
        let name = shown(folder);
        assert!(
            ruled.as_ref().is_none_or(|above| *above == name),
            "{name} is linted by {ruled:?}/clippy.toml: give it a clippy.toml of its own"
        );
    }
}
