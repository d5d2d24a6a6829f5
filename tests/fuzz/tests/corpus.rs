//! Every input that is kept goes through its target once more: what was found stays mended.

use std::collections::BTreeSet;
use std::fs;

use tests_fuzz::engine::hunt::{Enough, Hunt};
use tests_fuzz::engine::{corpus, trial};
use tests_fuzz::target::{Kind, Taken, Target, Verdict, ensure};
use tests_fuzz::targets;

#[test]
fn what_was_kept_keeps_its_promises_and_some_of_it_is_taken() {
    for target in targets::ALL {
        let kept = corpus::read(target.name).expect("a corpus");
        assert!(kept.len() > 3, "{}: nothing is kept; tests/fuzz/run keep {0}", target.name);
        let mut taken = 0;
        for input in kept {
            match trial::run(target, &input) {
                Ok(ended) => taken += usize::from(ended.taken == Taken::Yes),
                Err(why) => panic!("{}: {why}\n{}", target.name, corpus::escape(&input)),
            }
        }
        assert!(taken > 0, "{}: nothing that is kept is taken", target.name);
    }
}

#[test]
fn corpora_and_targets_are_the_same() {
    let names: BTreeSet<String> = targets::ALL.iter().map(|target| format!("{}.txt", target.name)).collect();
    assert_eq!(names.len(), targets::ALL.len(), "two targets have one name");
    let dir = corpus::path("x").parent().expect("a folder").to_owned();
    let files = fs::read_dir(dir).expect("the corpora").flatten();
    let files: BTreeSet<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(files, names);
}

#[test]
fn an_input_is_one_line_that_a_shell_takes_between_quotes_and_reads_back() {
    for input in [&b"it's"[..], b"\\'", b"\\\\x27'", b"# no remark", b"\n\t\r\"\0\xff", b""] {
        let line = corpus::escape(input);
        assert!(!line.contains(['\'', '\n']) && !line.starts_with('#'), "{line}");
        assert_eq!(corpus::unescape(&line).as_deref(), Some(input), "{line}");
    }
}

/// Breaks a promise for one input in many millions, which looking at what it is compared with gives away.
const BROKEN: Target = Target::new("broken", "it is not", Kind::Bytes, |input| -> Verdict {
    ensure(!input.windows(3).any(|three| three == b"\xff\xff\xff"), || "three of them".to_owned())?;
    assert!(input.first() != Some(&7), "seven");
    Ok(Taken::Yes)
});

#[test]
fn what_is_broken_is_found_and_the_same_seed_finds_the_same() {
    let hunt = || {
        let mut silent = |_: &[u8]| {};
        Hunt::new(&BROKEN, 3, vec![b"\xff\xfe\xff abc".to_vec()], &mut silent).go(Enough::Runs(200_000))
    };
    trial::note_panics();
    let (first, again) = (hunt(), hunt());
    let whys = |report: &tests_fuzz::engine::hunt::Report| {
        report.found.iter().map(|found| (found.why.clone(), found.input.clone())).collect::<Vec<_>>()
    };
    assert_eq!(whys(&first), whys(&again));
    assert!(first.found.iter().any(|found| found.why == "three of them"), "{:?}", whys(&first));
    assert!(first.found.iter().any(|found| found.why.ends_with("seven")), "{:?}", whys(&first));
}

/// `STOA_REGENERATE=1` writes it anew.
#[test]
fn the_page_lists_the_targets() {
    const OPENS: &str = "<!-- fuzz targets -->\n";
    const CLOSES: &str = "<!-- /fuzz targets -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability.md");
    let page = fs::read_to_string(path).expect("the page is there");
    let (before, rest) = page.split_once(OPENS).expect("a table begins");
    let (there, behind) = rest.split_once(CLOSES).expect("a table ends");
    let rows = targets::ALL.iter().map(|target| format!("| `{}` | {} |\n", target.name, target.about));
    let wanted = format!("\n| target | what must be true |\n|---|---|\n{}\n", rows.collect::<String>());
    if std::env::var_os("STOA_REGENERATE").is_some() {
        let text = format!("{before}{OPENS}{wanted}{CLOSES}{behind}");
        return fs::write(path, text).expect("the page is written");
    }
    assert_eq!(there, wanted, "STOA_REGENERATE=1 cargo test -p tests-fuzz --test corpus");
}
