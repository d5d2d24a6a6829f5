//! A page of the docs as a test reads it: its fenced blocks, each with the mark that says how it is held true.
//!
//! A mark is a comment on the line above the fence. Without one, a `sh` block is run and must succeed.
//!
//! | mark | what is checked |
//! |---|---|
//! | `<!-- runs: cluster -->` | the one command starts the cluster of the page, which stays to the page's end |
//! | `<!-- runs: prints "TEXT" -->` | the block is run, succeeds, and prints the text |
//! | `<!-- runs: until "TEXT" -->` | each line goes on until it prints the text, and Ctrl-C ends it |
//! | `<!-- runs: by FILE -->` | the script FILE has these lines: it is what runs them |
//! | `<!-- runs: by hand -->` | too heavy for a test: programs, subcommands and flags exist |
//! | `<!-- runs: as in FILE -->` | the block stands word for word in FILE, which is compiled |
//!
//! A `console` block is a session on several machines, with prompts and answers: its commands are held as those by hand.

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

/// What a block is, and how it is held true.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands.
    Commands(Mark),
    /// A file that the reader saves under this name.
    File(String),
    /// Code that stands in this file.
    Excerpt(String),
    /// A drawing or an output: nothing to run.
    Text,
}

/// How commands are held true.
#[derive(Debug, PartialEq, Eq)]
pub enum Mark {
    Run,
    Cluster,
    Prints(String),
    Until(String),
    ByFile(String),
    ByHand,
}

const MARK: &str = "<!-- runs:";

/// The blocks of a page, or where and why it cannot be read.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut mark: Option<(usize, &str)> = None;
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(rest) = line.strip_prefix(MARK) {
            let rest = rest.strip_suffix("-->").ok_or(format!("line {}: a mark is one line", at + 1))?;
            mark = Some((at, rest.trim()));
            continue;
        }
        let Some(info) = line.strip_prefix("```").or_else(|| line.strip_prefix("~~~")) else {
            if mark.take().is_some() {
                return Err(format!("line {at}: a mark stands directly above its block"));
            }
            continue;
        };
        let mut text = String::new();
        let fence = &line[..3];
        loop {
            let (_, line) = lines.next().ok_or(format!("line {}: the block is never closed", at + 1))?;
            if line.trim() == fence {
                break;
            }
            text.push_str(line.get(indent..).unwrap_or(line.trim_start()));
            text.push('\n');
        }
        let kind =
            kind(info, mark.take().map(|(_, mark)| mark)).map_err(|why| format!("line {}: {why}", at + 1))?;
        if info == "console" {
            text = prompted(&text);
        }
        blocks.push(Block { line: at + 1, kind, text });
    }
    if mark.is_some() {
        return Err("the last line is a mark without a block".to_owned());
    }
    Ok(blocks)
}

fn kind(info: &str, mark: Option<&str>) -> Result<Kind, String> {
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default();
    let name = words.next();
    match (language, name, mark) {
        ("sh", None, mark) => Ok(Kind::Commands(mark.map_or(Ok(Mark::Run), commands)?)),
        ("toml" | "yaml", Some(name), None) => Ok(Kind::File(name.to_owned())),
        ("toml" | "yaml", None, None) => {
            Err(format!("a job file says its name in the fence: ```{language} web.{language}"))
        }
        ("text", None, None) => Ok(Kind::Text),
        ("console", None, None) => Ok(Kind::Commands(Mark::ByHand)),
        (_, None, Some(mark)) => match mark.strip_prefix("as in ") {
            Some(file) => Ok(Kind::Excerpt(file.to_owned())),
            None => Err(format!("a block of {language:?} cannot be marked {mark:?}")),
        },
        _ => Err(format!(
            "a test cannot hold a block of {info:?}: commands are ```sh, job files ```toml NAME or ```yaml NAME, \
             drawings and outputs ```text, and code is marked `<!-- runs: as in FILE -->`"
        )),
    }
}

fn commands(mark: &str) -> Result<Mark, String> {
    let quoted = |rest: &str| {
        rest.strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let known = match mark.split_once(' ') {
        None if mark == "cluster" => Some(Mark::Cluster),
        Some(("prints", rest)) => quoted(rest).map(Mark::Prints),
        Some(("until", rest)) => quoted(rest).map(Mark::Until),
        Some(("by", "hand")) => Some(Mark::ByHand),
        Some(("by", file)) => Some(Mark::ByFile(file.to_owned())),
        _ => None,
    };
    known.ok_or(format!("the mark {mark:?} is unknown; tests/e2e/docs/page.rs lists them"))
}

/// What was typed in a session: behind the prompts, but for what only sets the shell's variables.
fn prompted(text: &str) -> String {
    let typed = text.lines().filter_map(|line| line.strip_prefix("$ "));
    typed.filter(|line| !line.starts_with("export ")).map(|line| format!("{line}\n")).collect()
}

/// The commands of a block, without comments and empty lines; a line that ends in `\` goes on in the next.
pub fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    joined
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// The commands that a text names within its sentences, in backticks.
pub fn named_commands(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let spans = prose.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>());
    let commands = spans.filter(|words| words.len() > 1 && matches!(words[0], "stoa" | "cargo"));
    commands.map(|words| words.join(" ")).collect()
}

#[test]
fn marks_say_how_a_block_is_held() {
    let page = "text\n```sh\nstoa up\n```\n<!-- runs: until \"ready\" -->\n```sh\na\n```\n```toml web.toml\nx = 1\n```\n";
    let blocks = blocks(page).unwrap();
    let kinds: Vec<&Kind> = blocks.iter().map(|block| &block.kind).collect();
    assert_eq!(
        kinds,
        [
            &Kind::Commands(Mark::Run),
            &Kind::Commands(Mark::Until("ready".to_owned())),
            &Kind::File("web.toml".to_owned())
        ]
    );
    assert_eq!((blocks[1].line, blocks[1].text.as_str()), (6, "a\n"));
}

#[test]
fn a_session_is_what_was_typed_in_it() {
    let page = "```console\n$ stoa up\nready\n$ export A=b\n$ stoa status\n```\n";
    let blocks = blocks(page).unwrap();
    assert_eq!(
        (&blocks[0].kind, blocks[0].text.as_str()),
        (&Kind::Commands(Mark::ByHand), "stoa up\nstoa status\n")
    );
}

#[test]
fn a_page_that_hides_something_is_refused() {
    for (page, why) in [
        ("<!-- runs: never -->\n```sh\na\n```\n", "unknown"),
        ("<!-- runs: until ready -->\n```sh\na\n```\n", "unknown"),
        ("<!-- runs: by hand -->\n\n```sh\na\n```\n", "directly above"),
        ("```\nstoa get agents\n```\n", "cannot hold"),
        ("```bash\nstoa get agents\n```\n", "cannot hold"),
        ("```toml\nname = 1\n```\n", "its name"),
        ("<!-- runs: by hand -->\n```rust\nfn main() {}\n```\n", "cannot be marked"),
        ("```sh\nstoa get agents\n", "never closed"),
        ("<!-- runs: by hand -->", "without a block"),
    ] {
        let said = blocks(page).expect_err(page);
        assert!(said.contains(why), "{page:?} is refused for another reason: {said}");
    }
}

#[test]
fn commands_are_read_as_a_shell_would() {
    assert_eq!(command_lines("# one\na b   # c\n\nc \\\n  d\n"), ["a b", "c    d"]);
}

#[test]
fn commands_in_sentences_are_found() {
    let text = "`stoa` is run by `stoa\nup`.\n```sh\nstoa get\n```\nSee `x` and `cargo bench -p a`.\n";
    assert_eq!(named_commands(text), ["stoa up", "cargo bench -p a"]);
}
