//! The docs: links lead somewhere, and every code that a person may meet is explained.

use std::collections::BTreeSet;

use std::path::Path;

use super::{files, packages, read, root, shown};

fn pages() -> Vec<std::path::PathBuf> {
    let mut pages = files("docs", ".md");
    pages.push(root().join("README.md"));
    pages
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (target, section) = link.split_once('#').unwrap_or((link, ""));
            let path =
                if target.is_empty() { page.clone() } else { page.parent().expect("a folder").join(target) };
            assert!(path.exists(), "{} links to {target}, which is not there", shown(&page));
            let there = section.is_empty() || sections(&read(&path)).any(|known| known == section);
            assert!(there, "{} links to {link}, and that page has no such section", shown(&page));
        }
    }
}

/// The sections of a page, as links name them.
fn sections(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    titles.map(|title| {
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        title.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
    })
}

/// What a page writes as code within its sentences.
pub(crate) fn in_backticks(text: &str) -> Vec<String> {
    let blocks_apart = text.split("```").step_by(2);
    blocks_apart.flat_map(|prose| prose.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn paths_in_the_docs_are_there() {
    let sources: Vec<String> = files("", ".rs").iter().map(|path| shown(path)).collect();
    let rooms = ["agent", "docs", "framework-sdk", "frameworks", "master", "proto", "tests"];
    let mut looked_at = 0;
    for page in pages() {
        for word in in_backticks(&read(&page)) {
            let whole = word.split_once('/').is_some_and(|(room, _)| rooms.contains(&room));
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let file = plain
                && word.contains('/')
                && Path::new(&word).extension().is_some_and(|ending| ending == "rs");
            if !plain || !(whole || file) {
                continue;
            }
            looked_at += 1;
            // A page that has named the folder may go on with the rest of the path.
            let there = root().join(&word).exists()
                || file && sources.iter().any(|path| path.ends_with(&format!("/{word}")));
            assert!(there, "{} names {word}, which is not there", shown(&page));
        }
    }
    assert!(looked_at > 30, "{looked_at} paths were found");
}

#[test]
fn every_crate_is_on_the_map() {
    let map = read(&root().join("docs/architecture.md"));
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let folder = manifest.parent().map(shown).unwrap_or_default();
        let there = folder.is_empty()
            || in_backticks(&map).iter().any(|word| word.trim_end_matches("/src") == folder);
        assert!(there, "docs/architecture.md does not say what `{folder}` is: add it to the code map");
    }
}

/// One part of the page of codes.
fn reasons(part: &str) -> String {
    let page = read(&root().join("docs/guide/reasons.md"));
    let rest = page.split(&format!("\n## {part}\n")).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("docs/guide/reasons.md has no part `## {part}`"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

fn assert_explained(page: &str, code: &str) {
    let section = page.split(&format!("### {code}\n")).nth(1);
    let text = section.and_then(|rest| rest.split("\n#").next()).unwrap_or_default();
    assert!(
        text.trim().len() > 20,
        "docs/guide/reasons.md has no section `### {code}` that says what it means"
    );
}

#[test]
fn every_refusal_is_explained() {
    let page = reasons("Refusals");
    for code in proto::refusal::Code::ALL {
        assert!(!code.help().is_empty(), "{} has no help line", code.as_str());
        assert_explained(&page, code.as_str());
    }
}

/// The texts that follow `opening` in a file, up to a quotation mark, from `from` to the end of that function.
fn words_in(file: &str, from: &str, opening: &str) -> BTreeSet<String> {
    let text = read(&root().join(file));
    let body = text.split(from).nth(1).unwrap_or_else(|| panic!("{file} has no `{from}`: mend this test"));
    let body = body.split("\n}\n").next().unwrap_or_default();
    let words = body.split(opening).skip(1).filter_map(|rest| rest.split('"').next());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_verdicts_are_those_of_the_guide() {
    use proto::explain::Verdict;
    let page = reasons("Verdicts");
    let codes: BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| verdict.code()).collect();
    assert_eq!(codes.len(), Verdict::ALL.len(), "each has a code of its own");
    assert!(codes.len() < 30, "nobody learns so many: {}", codes.len());
    codes.iter().for_each(|code| assert_explained(&page, code));
    let titles: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(titles, codes, "docs/guide/reasons.md, Verdicts");
}

#[test]
fn the_kinds_of_remedies_are_those_of_the_guide() {
    let page = reasons("What would help");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let kinds = proto::explain::RemedyKind::ALL.iter().map(|kind| kind.code());
    assert_eq!(rows.collect::<Vec<_>>(), kinds.collect::<Vec<_>>(), "docs/guide/reasons.md");
}

#[test]
fn every_reason_of_a_status_is_explained() {
    let codes = words_in("proto/src/task.rs", "impl StatusReason {", "=> \"");
    assert!(codes.len() > 15, "the reasons were not found: {codes:?}");
    let page = reasons("Reasons of a task's status");
    codes.iter().for_each(|code| assert_explained(&page, code));
}
