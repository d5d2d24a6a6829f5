//! The docs: links lead somewhere, and every code that a person may meet is explained.

use std::collections::BTreeSet;

use super::{files, read, root, shown};

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut pages = files("docs", ".md");
    pages.push(root().join("README.md"));
    for page in pages {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(target);
            assert!(path.exists(), "{} links to {target}, which is not there", shown(&page));
        }
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
fn every_verdict_is_explained() {
    let mut codes = words_in("proto/src/explain.rs", "impl Verdict {", "=> \"");
    for file in files("master/core/src/verbs", ".rs") {
        codes.extend(
            read(&file)
                .split("code: \"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .map(str::to_owned),
        );
    }
    assert!(codes.len() > 12, "the verdicts were not found: {codes:?}");
    let page = reasons("Verdicts");
    codes.iter().for_each(|code| assert_explained(&page, code));
}

#[test]
fn every_reason_of_a_status_is_explained() {
    let codes = words_in("framework-sdk/cli/src/nouns/task.rs", "fn reason(", "=> \"");
    assert!(codes.len() > 15, "the reasons were not found: {codes:?}");
    let page = reasons("Reasons of a task's status");
    codes.iter().for_each(|code| assert_explained(&page, code));
}
