//! What the guide says of exit codes and of JSON is what the commands do.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use framework_sdk_cli::EXIT_CODES;
use serde_json::Value;

fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_guide_has_the_table_of_exit_codes() {
    let page = page("running.md");
    let mut codes = 0;
    for line in EXIT_CODES.lines().skip(1) {
        let (code, meaning) = line.trim().split_once("  ").expect("a code and its meaning");
        let row = |line: &str| line.replace("`stoa status`", "`status`") == format!("| {code} | {meaning} |");
        assert!(page.lines().any(row), "docs/guide/running.md has no line `| {code} | {meaning} |`");
        codes += 1;
    }
    assert_eq!(codes, 9);
}

#[test]
fn the_guide_has_every_kind_of_event() {
    let page = page("events.md");
    for kind in proto::operator::EVENT_KINDS {
        let row = format!("`{kind}`");
        assert!(
            page.lines().any(|line| line.starts_with("| `") && line.contains(&row)),
            "docs/guide/events.md: {kind}"
        );
    }
}

/// The names of an object's fields.
fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// The names in the first column of a section's table.
fn documented(page: &str, section: &str) -> BTreeSet<String> {
    let from = page.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section}"));
    let text = &page[from + 4..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn the_guide_has_every_field_of_explanations() {
    let page = page("json.md");
    let golden = |name: &str| -> Value {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let told = golden("explain-task.json");
    assert_eq!(told["kind"], "ExplanationList");
    assert_eq!(names(&told["items"][0]), documented(&page, "Explanation"));
    // What stands inside of a field is in the words beside it, or below the table.
    let said = |names: BTreeSet<String>| {
        names
            .iter()
            .for_each(|name| assert!(page.contains(&format!("`{name}`")), "docs/guide/json.md: {name}"));
    };
    let item = &told["items"][0];
    let inner = [&item["funnel"][0], &item["nearest"][0], &item["tried"][0], &item["tried"][0]["steps"][0]];
    inner.into_iter().for_each(|inner| said(names(inner)));
    let sum = golden("explain-summary.json");
    assert_eq!(sum["kind"], "WaitingSummary");
    let head = BTreeSet::from(["apiVersion", "kind"].map(str::to_owned));
    let fields: BTreeSet<String> = names(&sum).difference(&head).cloned().collect();
    assert_eq!(fields, documented(&page, "WaitingSummary"));
    said(names(&sum["groups"][0]));
    said(names(&sum["best"]));
}

#[test]
fn the_guide_has_every_field_of_every_noun() {
    let page = page("json.md");
    for (golden, section) in [
        ("get-agents.json", "Agent"),
        ("get-tasks.json", "Task"),
        ("get-frameworks.json", "Framework"),
        ("get-offers.json", "Offer"),
        ("get-roles.json", "Role"),
        ("get-reservations.json", "Reservation"),
        ("get-volumes.json", "Volume"),
    ] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(golden);
        let list: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(list["apiVersion"], "stoa/v1", "{golden}");
        assert_eq!(list["kind"], format!("{section}List"), "{golden}");
        let head: BTreeSet<String> =
            ["apiVersion", "kind", "as_of", "from_leader", "items"].map(str::to_owned).into();
        assert_eq!(names(&list), head, "{golden}");
        assert_eq!(names(&list["items"][0]), documented(&page, section), "docs/guide/json.md, {section}");
    }
}
