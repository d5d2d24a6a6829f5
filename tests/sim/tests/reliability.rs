//! `docs/reliability.md` says what is true: every checker and every mutant stands there. `STOA_REGENERATE=1` writes the
//! table of mutants anew.

use std::fs;
use std::path::PathBuf;

use tests_sim::mutants::table;

const OPENS: &str = "<!-- mutants -->\n";
const CLOSES: &str = "<!-- /mutants -->";

fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn page() -> String {
    fs::read_to_string(here("../../docs/reliability.md")).expect("the page is there")
}

#[test]
fn the_table_of_mutants_is_that_of_the_page() {
    let page = page();
    let (before, rest) = page.split_once(OPENS).expect("a table begins");
    let (there, behind) = rest.split_once(CLOSES).expect("a table ends");
    let wanted = format!("\n{}\n", table());
    if std::env::var_os("STOA_REGENERATE").is_some() {
        let text = format!("{before}{OPENS}{wanted}{CLOSES}{behind}");
        return fs::write(here("../../docs/reliability.md"), text).expect("the page is written");
    }
    assert_eq!(there, wanted, "STOA_REGENERATE=1 cargo test -p tests-sim --test reliability");
}

#[test]
fn every_promise_has_a_row_and_every_checker_stands_in_one() {
    let page = page();
    for promise in 1..=15 {
        assert!(page.contains(&format!("| P{promise} |")), "P{promise} has no row");
    }
    let mut looked_at = 0;
    for entry in fs::read_dir(here("src/check")).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        looked_at += 1;
        assert!(name == "mod.rs" || page.contains(&format!("`check/{name}`")), "{name} has no row");
    }
    assert!(looked_at > 10, "{looked_at} checkers were found");
}
