//! The sources: what each file opens with and is called, where unsafe code and waiting may stand, which lints hold.

use std::path::Path;

use super::{files, packages, read, shown};

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = files("", ".rs")
        .into_iter()
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| shown(&path))
        .collect();
    assert!(silent.is_empty(), "open these with `//!` and one sentence: {silent:?}");
}

/// The lines of a file that are test code, with their numbers: all of a test file, else what follows `#[cfg(test)]`.
fn test_lines(name: &str, text: &str) -> Vec<(usize, String)> {
    let whole = name.contains("tests/") || name.ends_with("tests.rs");
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned()));
    if whole {
        lines.collect()
    } else {
        lines.skip_while(|(_, line)| !line.contains("#[cfg(test)]")).collect()
    }
}

#[test]
fn no_test_sleeps() {
    let naps = ["sleep", "sleep_until", "sleep_ms"].map(|nap| format!("{nap}("));
    let mut looked_at = 0;
    for path in files("", ".rs") {
        let name = shown(&path);
        for (at, line) in test_lines(&name, &read(&path)) {
            looked_at += 1;
            let sleeps = naps.iter().any(|nap| line.contains(nap.as_str()));
            // The one place to wait in is a loop that looks again until a deadline, and says so.
            assert!(
                !sleeps || line.contains("// eventually"),
                "{name}:{at} sleeps: wait for the event itself"
            );
        }
    }
    assert!(looked_at > 10_000, "{looked_at} lines of tests were found");
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

/// The keeper is a shell round the kernel's process calls, and the fuzzer counts what the compiler tells it.
const UNSAFE_ROOMS: [&str; 2] = ["agent/keeper/", "tests/fuzz/counters/"];

#[test]
fn unsafe_stays_in_its_room() {
    for path in files("", ".rs") {
        let name = shown(&path);
        if UNSAFE_ROOMS.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        let text = read(&path);
        let marker = ["unsafe", " {"].concat();
        assert!(!text.contains(&marker), "{name} holds unsafe code; only {UNSAFE_ROOMS:?} may");
    }
}

#[test]
fn what_counts_for_the_fuzzer_is_in_no_program() {
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        let lists = |dependency: &serde_json::Value| dependency["name"] == "tests-fuzz-counters";
        let listed = package["dependencies"].as_array().expect("dependencies").iter().any(lists);
        assert!(
            !listed || name == "tests-fuzz",
            "{name} lists tests-fuzz-counters, which is for the fuzzer alone"
        );
    }
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    for package in packages() {
        let path = Path::new(package["manifest_path"].as_str().expect("a path"));
        let (manifest, name) = (read(path), shown(path));
        // The crates with unsafe code cannot take over `forbid`; they have lints of their own, and a reason for each block.
        if UNSAFE_ROOMS.iter().any(|room| name.strip_suffix("Cargo.toml") == Some(*room)) {
            assert!(
                manifest.contains("undocumented_unsafe_blocks = \"warn\""),
                "{name}: unsafe code says why"
            );
            continue;
        }
        assert!(
            manifest.contains("\n[lints]\nworkspace = true\n"),
            "{name}: add `[lints]` with `workspace = true`"
        );
    }
}
