//! What `docs/reliability.md` says was run is what `tests/report` runs, all of it, and held.

use std::collections::BTreeMap;
use std::process::Command;

use super::{read, root};

const PAGE: &str = "docs/reliability.md";

/// The rows, by the name of the run: command, what came of it, and when.
fn rows() -> BTreeMap<String, [String; 3]> {
    let page = read(&root().join(PAGE));
    let table = page.split("<!-- report -->").nth(1).and_then(|rest| rest.split("<!-- /report -->").next());
    let table = table.expect("the page has a table of what was run");
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [name, command, found, at] = cells[..] else { panic!("{PAGE}: not four cells: {line}") };
        (name.trim_matches('`').to_owned(), [command.trim_matches('`'), found, at].map(str::to_owned))
    });
    rows.collect()
}

/// What the script runs when it is asked for nothing else.
fn commands() -> BTreeMap<String, String> {
    let said = Command::new(root().join("tests/report")).arg("--commands").output().expect("the script runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8(said.stdout).expect("words");
    text.lines().filter_map(|line| line.split_once('\t')).map(|(n, c)| (n.to_owned(), c.to_owned())).collect()
}

#[test]
fn every_run_of_the_script_is_in_the_table_and_held() {
    let (rows, commands) = (rows(), commands());
    assert!(commands.len() > 5, "{commands:?}");
    for (name, command) in &commands {
        let row =
            rows.get(name).unwrap_or_else(|| panic!("{PAGE} has no row of `tests/report {name}`: run it"));
        assert_eq!(
            row[0], *command,
            "{PAGE}: `tests/report {name}` runs another command by now: run it again"
        );
    }
    for (name, [_, found, at]) in &rows {
        let is_part = name.strip_prefix("year-").is_some();
        assert!(is_part || commands.contains_key(name), "{PAGE}: tests/report runs no {name}");
        assert!(!found.contains("**failed**"), "{PAGE}: {name} failed: mend it and run it again");
        assert!(!found.is_empty() && at.contains(" min"), "{PAGE}: {name}: {found}, {at}");
        assert!(!at.contains("changes"), "{PAGE}: {name} was run with changes that no commit has: {at}");
    }
}
