//! What can be said of a command without running it: the program, its subcommands and its flags are there.

use std::process::Command;

use super::{is_executable, root};

/// Checks one line, or says what is not there.
pub fn check(line: &str) -> Result<(), String> {
    // A word in quotes is what is between them, as a shell has it.
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let (program, args) = words.split_first().ok_or("it is empty")?;
    let own = args.iter().position(|arg| *arg == "--").map_or(args, |at| &args[..at]);
    let passed = args.iter().position(|arg| *arg == "--").map_or(&[][..], |at| &args[at + 1..]);
    match *program {
        "stoa" | "target/release/stoa" => stoa(own),
        "cargo" => {
            cargo(own)?;
            let runs_stoa =
                own.first() == Some(&"run") && !own.iter().any(|arg| matches!(*arg, "-p" | "--package"));
            if runs_stoa { stoa(passed.split(|arg| *arg == "--").next().unwrap_or_default()) } else { Ok(()) }
        }
        path => match path.strip_prefix("target/release/") {
            Some(built) => is_built(built, "bin"),
            None if is_executable(&root().join(path)) => Ok(()),
            None => Err(format!("{path} is not an executable file of the repository")),
        },
    }
}

/// `--help` at the end makes clap read all that stands before it, and do nothing.
fn stoa(args: &[&str]) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_stoa")).args(args).arg("--help").output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("stoa does not take this: {said}")) }
}

fn cargo(args: &[&str]) -> Result<(), String> {
    let (verb, flags) = args.split_first().ok_or("cargo does what?")?;
    if !matches!(*verb, "build" | "run" | "test" | "bench") {
        return Err(format!("this test does not know `cargo {verb}`"));
    }
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match *flag {
            "--release" | "--workspace" | "-q" | "--examples" => {}
            "--profile" => is_a_profile(flags.next().ok_or("--profile names none")?)?,
            "--features" => is_a_feature(flags.next().ok_or("--features names none")?)?,
            "-p" | "--package" => is_a_package(flags.next().ok_or("-p names no package")?)?,
            "--example" => is_built(flags.next().ok_or("--example names none")?, "example")?,
            other => return Err(format!("this test does not know the flag {other} of cargo")),
        }
    }
    Ok(())
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

fn is_a_package(name: &str) -> Result<(), String> {
    let metadata = metadata();
    let mut packages = metadata["packages"].as_array().expect("packages").iter();
    let there = packages.any(|package| package["name"] == name);
    there.then_some(()).ok_or(format!("there is no package {name}"))
}

fn is_a_profile(name: &str) -> Result<(), String> {
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace is there");
    let there = workspace.lines().any(|line| line == format!("[profile.{name}]"));
    there.then_some(()).ok_or(format!("there is no profile {name}"))
}

fn is_a_feature(name: &str) -> Result<(), String> {
    let metadata = metadata();
    let mut packages = metadata["packages"].as_array().expect("packages").iter();
    let there = packages.any(|package| !package["features"][name].is_null());
    there.then_some(()).ok_or(format!("no package has a feature {name}"))
}

/// Whether some package has a target of this kind.
fn is_built(name: &str, kind: &str) -> Result<(), String> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let mut targets = packages.iter().flat_map(|package| package["targets"].as_array().expect("targets"));
    let there = targets.any(|target| target["name"] == name && target["kind"][0] == kind);
    there.then_some(()).ok_or(format!("nothing builds a {kind} {name}"))
}

#[test]
fn what_is_not_there_is_found_without_running_it() {
    for line in [
        "stoa up --masters 3",
        "stoa run --count 1000 -- true --any",
        "cargo run --release -- up --agents 1",
        "cargo build --release -p stoa -p tests-bench",
        "cargo run --release -p master-storage --example persist_rate",
        "cargo run -p tests-sim --features mutants -- mutants",
        "cargo run --profile sim -p tests-sim -- soak --hours 8766",
        "target/release/tests-bench",
        "tests/run",
    ] {
        assert_eq!(check(line), Ok(()), "{line}");
    }
    for line in [
        "stoa up --mastres 3",
        "stoa dance",
        "cargo run --release -- upp",
        "cargo build -p tests-benches",
        "cargo build --relaese",
        "cargo run -p tests-sim --features mutant -- mutants",
        "cargo run --profile simm -p tests-sim -- soak 1",
        "cargo run -p master-storage --example persist_rates",
        "target/release/tests-benches",
        "tests/runs",
        "README.md",
    ] {
        assert!(check(line).is_err(), "{line} passes");
    }
}
