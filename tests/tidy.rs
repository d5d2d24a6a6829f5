//! The rules of the house, as tests: each failure says how to mend it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the workspace that git would track, below `under`, with this ending.
fn files(under: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(under)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "gen" | "node_modules") {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The arrows between the crates of the workspace, `from -> to`, dev-dependencies apart.
fn arrows() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut arrows = BTreeSet::new();
    for package in packages {
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
    if std::env::var_os("STOA_REGENERATE").is_some() {
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

const PURE: [&str; 9] = [
    "proto/src",
    "proto/machine/src",
    "master/allocator/src",
    "master/registry/src",
    "master/raft/src",
    "master/core/src",
    "agent/core/src",
    "framework-sdk/core/src",
    "proto/wire/src",
];

#[test]
fn pure_crates_cannot_see_the_world() {
    let forbidden = [
        "tokio::",
        "tonic::",
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "SystemTime",
        "std::time::Instant",
        "thread_rng",
        "HashMap",
        "HashSet",
    ];
    for folder in PURE {
        for path in files(folder, ".rs") {
            let text = fs::read_to_string(&path).expect("a source file reads");
            for (at, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if let Some(word) = forbidden.iter().find(|word| code.contains(**word)) {
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
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = files("", ".rs")
        .into_iter()
        .filter(|path| !fs::read_to_string(path).is_ok_and(|text| text.starts_with("//!")))
        .map(|path| shown(&path))
        .collect();
    assert!(silent.is_empty(), "open these with `//!` and one sentence: {silent:?}");
}

#[test]
fn no_test_sleeps() {
    let naps = [["thread::", "sleep("].concat(), ["time::", "sleep("].concat()];
    for path in files("", ".rs") {
        let name = shown(&path);
        if !name.contains("tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file reads");
        for (at, line) in text.lines().enumerate() {
            let sleeps = naps.iter().any(|nap| line.contains(nap.as_str()));
            assert!(
                !sleeps || line.contains("eventually"),
                "{name}:{} sleeps: wait for the event itself",
                at + 1
            );
        }
    }
}

#[test]
fn no_room_is_called_helper() {
    for path in files("", ".rs") {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        for bad in ["util", "utils", "helper", "helpers", "common", "misc", "manager", "handler"] {
            assert!(name != bad, "{}: name it after what it is for", shown(&path));
        }
    }
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut pages = files("docs", ".md");
    pages.push(root().join("README.md"));
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page reads");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(target);
            assert!(path.exists(), "{} links to {target}, which is not there", shown(&page));
        }
    }
}

#[test]
fn every_reason_code_is_documented() {
    let page = fs::read_to_string(root().join("docs/guide/reasons.md")).unwrap_or_default();
    for code in proto::refusal::Code::ALL {
        assert!(!code.help().is_empty(), "{} has no help line", code.as_str());
        assert!(
            page.contains(&format!("### {}\n", code.as_str())),
            "docs/guide/reasons.md has no section `### {}`",
            code.as_str()
        );
    }
}

#[test]
fn unsafe_stays_in_its_room() {
    for path in files("", ".rs") {
        let name = shown(&path);
        if name.starts_with("agent/keeper/") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file reads");
        let marker = ["unsafe", " {"].concat();
        assert!(!text.contains(&marker), "{name} holds unsafe code; only agent/keeper may");
    }
}
