//! `stoa sdk conformance`: the frameworks of this house earn every mark, as processes of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

const STOA: &str = env!("CARGO_BIN_EXE_stoa");

/// The report card of a framework.
fn card(more: &[&str]) -> serde_json::Value {
    let output = Command::new(STOA).args(["sdk", "conformance", "-o", "json"]).args(more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let card = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(output.status.code(), Some(i32::from(card_failed(&card))), "{card:#}");
    card
}

fn card_failed(card: &serde_json::Value) -> bool {
    card["passed"] != true
}

/// The smallest framework: a test of the workspace has built it, one of this package alone has not.
fn hello() -> PathBuf {
    let path = Path::new(STOA).with_file_name("examples").join("hello");
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "-p", "framework-sdk", "--example", "hello"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    path
}

#[test]
fn the_smallest_framework_earns_every_mark() {
    let card = card(&[hello().to_str().unwrap()]);
    assert!(!card_failed(&card), "{card:#}");
}

#[test]
fn the_jobs_framework_earns_every_mark() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance.toml");
    std::fs::write(&file, "name = \"web\"\ncommand = \"true\"\ninstances = 3\ncpus = 0.1\nmem = \"64MiB\"\n")
        .unwrap();
    let work = format!("{STOA} job apply {}", file.display());
    let script = format!(
        "exec {STOA} framework jobs --data-dir \"$STOA_DATA\" --credentials \"$STOA_CONTEXT\" \
         $(sed 's/^/--master=/' \"$STOA_CONTEXT/masters\")"
    );
    let card = card(&["--principal", "jobs", "--work", &work, "--", "sh", "-c", &script]);
    assert!(!card_failed(&card), "{card:#}");
}

#[test]
fn a_framework_that_dies_is_failed_with_its_last_words() {
    let only = ["--only", "hoarding", "--patience", "2s", "--"];
    let card = card(&[only.as_slice(), &["sh", "-c", "echo out of luck >&2"]].concat());
    assert!(card_failed(&card));
    let check = &card["checks"][0];
    assert_eq!((&check["check"], &check["mark"]), (&"hoarding".into(), &"failed".into()), "{card:#}");
    assert!(check["seen"].as_str().unwrap().contains("out of luck"), "{card:#}");
    assert!(check["advice"].as_str().unwrap().contains("decline"), "{card:#}");
}
