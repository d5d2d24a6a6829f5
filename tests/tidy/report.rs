//! What `docs/reliability.md` says was run is what `tests/report` runs, and held.

use super::{read, root};

const PAGE: &str = "docs/reliability.md";

fn rows() -> Vec<String> {
    let page = read(&root().join(PAGE));
    let table = page.split("<!-- report -->").nth(1).and_then(|rest| rest.split("<!-- /report -->").next());
    let table = table.expect("the page has a table of what was run");
    table.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

#[test]
fn every_run_of_the_report_is_one_of_the_script_and_held() {
    let script = read(&root().join("tests/report"));
    for row in rows() {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [name, command, found, at] = cells[..] else { panic!("{PAGE}: not four cells: {row}") };
        let kind = name.trim_matches('`').trim_end_matches(|last: char| last.is_ascii_digit());
        assert!(
            script.contains(&format!("    {kind}) ")) || script.contains(&format!("    {kind}[")),
            "{PAGE}: tests/report runs no {name}"
        );
        assert!(!found.contains("**failed**"), "{PAGE}: {name} failed: mend it and run it again");
        assert!(!found.is_empty() && !command.is_empty() && at.contains(" min"), "{PAGE}: {row}");
        assert!(!at.contains("changes"), "{PAGE}: {name} was run with changes that no commit has: {at}");
    }
}
