//! What `stoa sdk new` writes: an author's first five minutes, outside of this repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::cluster::Cluster;

/// The tests of a template may take so long, builds aside.
const LIMIT: Duration = Duration::from_secs(5);

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    said(&output)
}

/// A template in a directory of its own.
fn made(cluster: &Cluster, language: &str) -> PathBuf {
    let dir = cluster.path("my-framework");
    let made = cluster.stoa(&["sdk", "new", language, &dir.display().to_string()]);
    assert_eq!(made.code, 0, "{made:?}");
    dir
}

/// Runs its tests, which are five, and says how long they took.
fn tests_of(dir: &Path, command: &mut Command) -> (Duration, String) {
    let begun = Instant::now();
    let said = succeeds(command.current_dir(dir));
    (begun.elapsed(), said)
}

#[test]
fn a_new_framework_in_rust_passes_its_five_tests_in_five_seconds() {
    let cluster = Cluster::prepared("template-rust", &[]);
    let dir = made(&cluster, "rust");
    // Where this workspace is built: what both need, with the versions of the lock file that came along, is there already.
    let target = Path::new(env!("CARGO_BIN_EXE_stoa")).ancestors().nth(2).unwrap();
    let cargo = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(args).arg("--offline").env("CARGO_TARGET_DIR", target);
        command
    };
    succeeds(cargo(&["build", "--tests", "--bins"]).current_dir(&dir));
    let (took, said) = tests_of(&dir, &mut cargo(&["test", "--test", "framework"]));
    assert!(said.contains("test result: ok. 5 passed"), "{said}");
    assert!(took < LIMIT, "the five tests took {took:?}");
    let program = target.join("debug/my-framework").display().to_string();
    let card = cluster.stoa(&["sdk", "conformance", "--only", "failover", &program]);
    assert_eq!(card.code, 0, "{card:?}");
}

#[test]
fn a_new_framework_in_python_passes_its_five_tests_in_five_seconds() {
    let cluster = Cluster::prepared("template-python", &[]);
    let dir = made(&cluster, "python");
    // The first time it installs what the SDK needs.
    succeeds(Command::new("./python").args(["-c", "import stoa"]).current_dir(&dir));
    let (took, said) =
        tests_of(&dir, Command::new("./python").args(["-m", "unittest", "discover", "-s", "tests"]));
    assert!(said.contains("Ran 5 tests"), "{said}");
    assert!(took < LIMIT, "the five tests took {took:?}");
    let program = dir.join("python").display().to_string();
    let script = dir.join("framework.py").display().to_string();
    let card = cluster.stoa(&["sdk", "conformance", "--only", "failover", "--", &program, &script]);
    assert_eq!(card.code, 0, "{card:?}");
}

#[test]
fn a_template_is_refused_where_it_cannot_be() {
    let cluster = Cluster::prepared("template-refused", &[]);
    let dir = made(&cluster, "python");
    let again = cluster.stoa(&["sdk", "new", "python", &dir.display().to_string()]);
    assert_eq!(again.code, 6, "{again:?}");
    assert!(again.err.contains("there already"), "{again:?}");
    let named = cluster.stoa(&["sdk", "new", "rust", &cluster.path("My Framework").display().to_string()]);
    assert_eq!(named.code, 2, "{named:?}");
    assert!(named.err.contains("my-framework"), "{named:?}");
    let dir = cluster.path("other").display().to_string();
    let sdk = cluster.stoa(&["sdk", "new", "rust", &dir, "--sdk", "/"]);
    assert_eq!(sdk.code, 3, "{sdk:?}");
    assert!(!cluster.path("other").exists(), "nothing is left half made");
    let cobol = cluster.stoa(&["sdk", "new", "cobol", &dir]);
    assert_eq!(cobol.code, 2, "{cobol:?}");
    assert!(cobol.err.contains("rust, python, go, java"), "{cobol:?}");
}
