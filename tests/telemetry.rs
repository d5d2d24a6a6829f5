//! Logs and metrics keep their promises: ids have one name each, and every metric is documented.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sources of the house: what is built into the binary.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder reads").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                if !["target", "tests", "gen", "benches", "examples"].iter().any(|skipped| name == *skipped) {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = vec![root().join("main.rs")];
    for wing in ["proto", "master", "agent", "framework-sdk", "frameworks"] {
        walk(&root().join(wing), &mut found);
    }
    let shown = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    found.iter().map(|path| (shown(path), fs::read_to_string(path).expect("a file reads"))).collect()
}

/// The arguments of each call of a macro, up to the parenthesis that closes it.
fn calls<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("{name}!(");
    let mut calls = Vec::new();
    for (at, _) in text.match_indices(&start) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + start.len()..];
        let (mut depth, mut in_text, mut escaped) = (1, false, false);
        for (end, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if in_text => escaped = true,
                '"' => in_text = !in_text,
                '(' | '[' | '{' if !in_text => depth += 1,
                ')' | ']' | '}' if !in_text => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                calls.push(&rest[..end]);
                break;
            }
        }
    }
    calls
}

/// The names of the fields of a log line: what stands before `=`, or alone, at the top of its arguments.
fn fields(arguments: &str) -> Vec<String> {
    let (mut depth, mut in_text) = (0, false);
    let mut parts = vec![String::new()];
    for c in arguments.chars() {
        match c {
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' | ']' | '}' if !in_text => depth -= 1,
            ',' if depth == 0 && !in_text => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let name = |part: &String| {
        let name = part.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
    };
    parts.iter().filter_map(name).collect()
}

#[test]
fn the_reader_of_log_lines_reads_them() {
    let text = "debug!(run_id = %run, count, how = ?f(a, b), \"a line, with a comma\"); my_info!(agent)";
    let found = calls(text, "debug");
    assert_eq!(found.len(), 1);
    assert_eq!(fields(found[0]), ["run_id", "count", "how"]);
    assert!(calls(text, "info").is_empty(), "another macro's name is longer");
}

#[test]
fn ids_go_by_the_same_names_in_every_log() {
    let others =
        ["agent", "framework", "offer", "task", "operation", "run", "master_number", "taskid", "runid"];
    let mut lines = 0;
    for (path, text) in sources() {
        for level in ["trace", "debug", "info", "warn", "error"] {
            for call in calls(&text, level) {
                lines += 1;
                for field in fields(call) {
                    let last = field.rsplit('.').next().unwrap_or_default();
                    assert!(
                        !others.contains(&last),
                        "{path}: a log line names an id `{field}`; call it agent_id, framework_id, offer_id, task_id, \
                         operation_id or run_id, as the protocol does: {call}"
                    );
                }
            }
        }
    }
    assert!(lines > 30, "log lines are found: {lines}");
}

/// The names of the metrics in the sources.
fn metrics() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, text) in sources() {
        for kind in ["counter", "gauge", "histogram"] {
            for call in calls(&text, &format!("metrics::{kind}")) {
                let name = call.trim().strip_prefix('"').and_then(|rest| rest.split('"').next());
                let name =
                    name.unwrap_or_else(|| panic!("{path}: a metric's name is not plain text: {call}"));
                let ending = match kind {
                    "counter" => name.ends_with("_total"),
                    "histogram" => name.ends_with("_seconds") || name.ends_with("_inputs"),
                    _ => !name.ends_with("_total"),
                };
                assert!(ending, "{path}: {name} does not end as a {kind} does: noun_verb_unit");
                names.insert(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn every_metric_is_on_its_page_and_the_other_way_round() {
    let page = fs::read_to_string(root().join("docs/guide/metrics.md")).expect("docs/guide/metrics.md reads");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split(['`', '{']).next())
        .map(str::to_owned)
        .collect();
    let known = metrics();
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/guide/metrics.md has no line for {missing:?}");
    let gone: Vec<_> = documented.difference(&known).collect();
    assert!(gone.is_empty(), "docs/guide/metrics.md has lines for metrics that nobody measures: {gone:?}");
}
