//! What `docs/reliability.md` says was run is what `tests/report` runs, all of it, and held.

use std::collections::BTreeMap;

use super::{read, root};

const PAGE: &str = "docs/reliability.md";

/// The rows, by the name of the run.
fn rows() -> BTreeMap<String, Vec<String>> {
    let page = read(&root().join(PAGE));
    let table = page.split("<!-- report -->").nth(1).and_then(|rest| rest.split("<!-- /report -->").next());
    let table = table.expect("the page has a table of what was run");
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<String> = line.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect();
        (cells[0].trim_matches('`').to_owned(), cells)
    });
    rows.collect()
}

/// What the script runs when it is asked for nothing else.
fn names(script: &str) -> Vec<&str> {
    let list = script.split("|| NAMES=(").nth(1).and_then(|rest| rest.split(')').next());
    list.expect("the script has a list of runs").split_whitespace().collect()
}

#[test]
fn every_run_of_the_script_is_in_the_table_and_held() {
    let script = read(&root().join("tests/report"));
    let rows = rows();
    for name in names(&script) {
        assert!(rows.contains_key(name), "{PAGE} has no row of `tests/report {name}`: run it");
    }
    for (name, cells) in &rows {
        let [_, command, found, at] = &cells[..] else { panic!("{PAGE}: not four cells: {cells:?}") };
        let kind = name.trim_end_matches(|last: char| last.is_ascii_digit());
        assert!(
            script.contains(&format!("    {kind}) ")) || script.contains(&format!("    {kind}[")),
            "{PAGE}: tests/report runs no {name}"
        );
        assert!(!found.contains("**failed**"), "{PAGE}: {name} failed: mend it and run it again");
        assert!(!found.is_empty() && !command.is_empty() && at.contains(" min"), "{PAGE}: {cells:?}");
        assert!(!at.contains("changes"), "{PAGE}: {name} was run with changes that no commit has: {at}");
    }
}
