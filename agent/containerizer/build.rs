//! Builds the keeper as a static program of its own, to be embedded in this crate.
//!
//! It is built apart (its own target directory, its own flags) because it must be small and need nothing on the machine,
//! whatever the agent is built like: an agent's debug build embeds the same keeper as its release build.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The keeper runs for months beside every agent: small counts, the last per cent of speed is the kernel's anyway.
const RUSTFLAGS: &str = "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static\u{1f}-Cpanic=abort";

const PROFILE: [(&str, &str); 6] = [
    ("OPT_LEVEL", "s"),
    ("LTO", "fat"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("STRIP", "symbols"),
    ("DEBUG", "false"),
];

/// Variables of the outer build that would make the inner one something else.
const OUTER: [&str; 13] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "TARGET",
    "HOST",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
    "OUT_DIR",
    "CLIPPY_ARGS",
];

const OUTER_PREFIXES: [&str; 9] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_PROFILE_",
    "CARGO_BUILD_",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_",
    "CARGO_PRIMARY_PACKAGE",
];

fn main() {
    let manifest_dir = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    let keeper = manifest_dir.join("../keeper");
    let out = PathBuf::from(var("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", keeper.join("src").display());
    println!("cargo::rerun-if-changed={}", keeper.join("Cargo.toml").display());

    let target = var("TARGET");
    let target_dir = out.join("keeper");
    let mut build = Command::new(var("CARGO"));
    build.args(["build", "--release", "--package", "agent-keeper", "--bin", "stoa-keeper"]);
    build.arg("--manifest-path").arg(keeper.join("Cargo.toml"));
    // With a named target the flags below are not applied to build scripts, which cannot be static everywhere.
    build.arg("--target").arg(&target).arg("--target-dir").arg(&target_dir);
    if has_lock_file(&manifest_dir) {
        build.arg("--locked");
    }
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let linker_of_target = name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER");
        let outer = OUTER.contains(&name) || OUTER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if outer && !linker_of_target {
            build.env_remove(name);
        }
    }
    build.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS);
    for (name, value) in PROFILE {
        build.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let status = build.status().expect("cargo can be run");
    assert!(status.success(), "the keeper did not build: {status}");

    let built = target_dir.join(&target).join("release/stoa-keeper");
    let embedded = out.join("stoa-keeper");
    fs::copy(&built, &embedded).expect("the built keeper can be copied");
    let bytes = fs::metadata(&embedded).expect("the copy is there").len();
    assert!(bytes < 1_500_000, "the keeper has grown to {bytes} bytes; it is to stay below 1.5 MB");
    println!("cargo::rustc-env=STOA_KEEPER_PROGRAM={}", embedded.display());
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// Whether the workspace has pinned its dependencies.
fn has_lock_file(from: &Path) -> bool {
    from.ancestors().any(|dir| dir.join("Cargo.lock").exists())
}
