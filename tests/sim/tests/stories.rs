//! The golden transcripts of `tests/stories`: what everybody says when it matters. `STOA_REGENERATE=1` writes them anew;
//! the diff is what is to be reviewed.

use std::fs;
use std::path::PathBuf;

use tests_sim::story::{RULE, play};

fn story(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../stories").join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}.txt cannot be read: {error}"));
    let (script, golden) = text.split_once(RULE).unwrap_or((&text, ""));
    let transcript = play(script).unwrap_or_else(|why| panic!("{name}: {why}"));
    if std::env::var_os("STOA_REGENERATE").is_some() {
        fs::write(&path, format!("{script}{RULE}{transcript}")).expect("the story is written");
        return;
    }
    assert!(!golden.is_empty(), "{name} has no transcript yet: STOA_REGENERATE=1 cargo test -p tests-sim");
    let differs = golden.lines().zip(transcript.lines()).position(|(a, b)| a != b);
    assert!(
        golden == transcript,
        "{name} goes differently, first in line {differs:?} of the transcript; if that is right, \
         STOA_REGENERATE=1 cargo test -p tests-sim and review the diff. It goes now:\n{transcript}"
    );
}

#[test]
fn one_offer() {
    story("one_offer");
}

#[test]
fn agent_dies_between_accept_and_launch() {
    story("agent_dies_between_accept_and_launch");
}

#[test]
fn leader_dies_with_launches_in_flight() {
    story("leader_dies_with_launches_in_flight");
}

#[test]
fn framework_fails_over() {
    story("framework_fails_over");
}

#[test]
fn offer_expires() {
    story("offer_expires");
}
