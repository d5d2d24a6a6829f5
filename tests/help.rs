//! `stoa help`: every command says what it is for, with an example.

use std::process::Command;

fn help(words: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stoa")).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "stoa {} --help", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands below one, as its help lists them.
fn below(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let words = list.take_while(|line| line.starts_with("  ") && !line.trim().is_empty());
    words
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_an_example() {
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(words) = waiting.pop() {
        let text = help(&words);
        let name = format!("stoa {}", words.join(" "));
        let examples =
            text.split("Examples:").nth(1).unwrap_or_else(|| panic!("{name} --help has no example:\n{text}"));
        assert!(examples.contains("  stoa "), "{name}: {examples}");
        seen += 1;
        waiting.extend(below(&text).into_iter().map(|word| [words.clone(), vec![word]].concat()));
    }
    assert!(seen > 20, "commands are found: {seen}");
}

#[test]
fn a_slip_of_the_pen_is_pointed_out() {
    for (line, said) in [
        (vec!["gett", "tasks"], "get"),
        (vec!["get", "pods"], "agents"),
        (vec!["token", "create"], "--kind"),
        (vec!["master", "--data-dir", "d", "--member", "one"], "NUMBER=HOST:PORT"),
        (vec!["join", "SJ1.x", "--master", "h:1", "--as", "agent/a1", "--dir", "d"], "--join"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_stoa")).args(&line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line:?}: {text}");
        assert!(text.contains(said), "{line:?}: {text}");
    }
}
