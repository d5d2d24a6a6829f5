//! The fault matrix of `docs/reliability.md` names tests that are there.

use super::docs::in_backticks;
use super::{read, root};

const PAGE: &str = "docs/reliability.md";

fn rows() -> Vec<String> {
    let page = read(&root().join(PAGE));
    let table = page.split("<!-- matrix -->").nth(1).and_then(|rest| rest.split("<!-- /matrix -->").next());
    let table = table.expect("the page has a matrix");
    table.lines().filter(|line| line.starts_with("| F")).map(str::to_owned).collect()
}

/// Whether a test, a scenario or a mutant of this name is there.
fn is_there(name: &str) -> bool {
    if let Some(scenario) = name.strip_prefix("tests-hosts ") {
        let listed =
            read(&root().join("tests/hosts/src/scenarios.rs")).contains(&format!("    \"{scenario}\" \""));
        let command = read(&root().join("tests/hosts/src/main.rs")).contains(&format!("[\"{scenario}\", "));
        return listed || command;
    }
    if let Some(bench) = name.strip_prefix("tests-bench ") {
        // One that is in the matrix is run with everything else.
        return read(&root().join("tests/run")).contains(&format!("-p tests-bench -- {bench} "));
    }
    if let Some(mutant) = name.strip_prefix("mutant ") {
        return read(&root().join(PAGE)).contains(&format!("| `{mutant}` |"));
    }
    let Some((file, test)) = name.split_once(": ") else { return false };
    let path = root().join(file);
    path.exists() && read(&path).contains(&format!("fn {test}("))
}

#[test]
fn every_row_of_the_fault_matrix_is_made_by_tests_that_are_there() {
    let rows = rows();
    assert!(rows.len() > 20, "{} rows were found", rows.len());
    for row in rows {
        let made_by = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default().to_owned();
        let names = in_backticks(&made_by);
        assert!(!names.is_empty(), "nothing makes this fault: {row}");
        for name in names {
            assert!(is_there(&name), "{PAGE} names `{name}`, which is not there");
        }
    }
    assert!(
        !is_there("tests-bench no-such")
            && !is_there("tests-hosts no-such")
            && !is_there("tests/e2e/faults.rs: no_such")
    );
}
