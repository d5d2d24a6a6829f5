//! Writes inputs to begin with, a file for each target, for `tests/fuzz/run keep --more DIR`: messages made up from the
//! contracts, the files of the guides, and what the programs of this house write themselves.

#[path = "../../../../proto/tests/wire/messages.rs"]
mod messages;

mod scripts;
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use messages::Messages;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message;
use tests_fuzz::engine::{corpus, tree};
use tests_fuzz::targets::wire;

/// How many messages of each kind are made up.
const MESSAGES: usize = 60;

/// Inputs by the names of their targets.
type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds DIR");
        std::process::exit(2);
    };
    let mut seeds = Seeds::new();
    made_up(&mut seeds);
    documented(&mut seeds);
    written::all(&mut seeds);
    fs::create_dir_all(&dir)?;
    for (name, inputs) in seeds {
        let lines: Vec<String> = inputs.iter().map(|input| corpus::escape(input) + "\n").collect();
        fs::write(dir.join(format!("{name}.txt")), lines.concat())?;
        println!("{name}: {}", inputs.len());
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Messages that keep the rules of the contracts, of each kind that a target reads.
fn made_up(seeds: &mut Seeds) {
    let messages = Messages::of_the_contracts(&root().join("proto/v1"));
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut some = |package: &str, message: &str| -> Vec<Vec<u8>> {
        let kinds = messages.of(&messages.descriptor(&format!("stoa.v1.{package}.{message}")));
        (0..MESSAGES)
            .map(|_| kinds.new_tree(&mut runner).expect("no filter rejects it").current().encode_to_vec())
            .collect()
    };
    for (name, kinds) in wire::FAMILIES {
        for ((package, message), number) in kinds.iter().zip(1..) {
            for bytes in some(package, message) {
                let mut input = Vec::new();
                tree::put_bytes(&mut input, number, &bytes);
                seeds.entry(name).or_default().push(input);
            }
        }
    }
    let fields = [
        ("registry", 1, "log", "Registry"),
        ("registry", 2, "log", "Batch"),
        ("store", 1, "store_log", "Image"),
        ("store", 2, "store_log", "Batch"),
        ("ledger", 2, "ledger", "Record"),
        ("backup", 2, "backup", "Backup"),
    ];
    for (name, field, package, message) in fields {
        for bytes in some(package, message) {
            let mut input = Vec::new();
            tree::put_bytes(&mut input, field, &bytes);
            seeds.entry(name).or_default().push(input);
        }
    }
    scripts::all(seeds, &mut some);
}

/// The files that the guides show.
fn documented(seeds: &mut Seeds) {
    let pages = fs::read_dir(root().join("docs/guide")).expect("the guides are there").flatten();
    let mut pages: Vec<PathBuf> =
        pages.map(|page| page.path()).filter(|path| path.extension() == Some("md".as_ref())).collect();
    pages.sort();
    for page in pages {
        let text = fs::read_to_string(page).expect("a page");
        for block in text.split("\n```").skip(1) {
            let (head, body) = block.split_once('\n').unwrap_or_default();
            let target = match head.split(' ').next() {
                Some("toml") if head.ends_with(" stoa.toml") => "settings",
                Some("toml") => "job-toml",
                Some("yaml") => "job-yaml",
                Some(_) | None => continue,
            };
            seeds.entry(target).or_default().push(body.as_bytes().to_vec());
        }
    }
}
