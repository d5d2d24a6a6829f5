//! Every command of the README and of docs/ is tried on a real cluster, as a reader would who types it in.

mod by_hand;
mod page;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use page::{Block, Kind, Mark};

use crate::cluster::{Cluster, eventually, examples};

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the docs, the README first.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages.insert(0, root().join("README.md"));
    pages
}

#[test]
fn every_command_in_the_docs_works() {
    let mut tried = 0;
    for path in pages() {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let blocks = page::blocks(&text).unwrap_or_else(|why| panic!("{name}, {why}"));
        if blocks.iter().any(|block| block.kind != Kind::Text) {
            tried += 1;
            Reader::new(&name).reads(&blocks);
        }
    }
    assert!(tried >= 2, "the README and the benchmarks have commands; were the pages found?");
}

#[test]
fn every_command_that_a_sentence_names_is_there() {
    let mut texts: Vec<(String, String)> =
        pages().iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect();
    for code in proto::refusal::Code::ALL {
        texts.push((format!("the help of {}", code.as_str()), code.help().to_owned()));
    }
    let mut named = 0;
    for (place, text) in texts {
        for command in page::named_commands(&text) {
            named += 1;
            by_hand::check(&command).unwrap_or_else(|why| panic!("{place}: `{command}`: {why}"));
        }
    }
    assert!(named > 5, "{named} commands were found in sentences");
}

#[test]
fn from_the_readme_to_a_first_task_takes_less_than_a_minute() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = page::blocks(&text).unwrap();
    let first = blocks.iter().position(|block| matches!(block.kind, Kind::Commands(Mark::Prints(_))));
    let first = first.expect("the README runs a command on the pool");
    let reader = Reader::new("README.md.first");
    let begun = Instant::now();
    let took = reader.reads_until(&blocks[..=first], || begun.elapsed());
    // The binary is built: that takes minutes, and is not ours. A minute is for the reader; the machine has ten seconds.
    assert!(took < Duration::from_secs(10), "from the first command to the end of the first task: {took:?}");
}

/// Somebody who goes through one page, with a clone of their own and two terminals.
struct Reader {
    page: String,
    cluster: Cluster,
    /// Where their clone is: only what a build leaves there.
    clone: PathBuf,
    /// The aliases typed so far: a terminal keeps them from block to block.
    aliases: String,
}

/// A command that goes on; whatever happens, it ends with the test.
struct Going {
    child: Child,
    out: PathBuf,
}

impl Going {
    fn said(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([signal, "--", &group]).status();
    }

    fn ended(&mut self, what: &str) -> ExitStatus {
        eventually(what, PATIENCE, || self.child.try_wait().unwrap())
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("-KILL");
            let _ = self.child.wait();
        }
    }
}

impl Reader {
    fn new(page: &str) -> Reader {
        let cluster = Cluster::prepared(&format!("docs-{}", page.replace(['/', '.'], "-")), &[]);
        let clone = cluster.dir().join("clone");
        let release = clone.join("target/release");
        fs::create_dir_all(&release).unwrap();
        symlink(env!("CARGO_BIN_EXE_stoa"), release.join("stoa")).unwrap();
        let bin = cluster.dir().join("bin");
        fs::create_dir_all(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_stoa"), bin.join("stoa")).unwrap();
        // Cargo has built what this test runs (examples with all tests of the workspace); here `cargo run` only runs it.
        let cargo = bin.join("cargo");
        fs::write(
            &cargo,
            format!(
                "#!/bin/sh\ncase \"$*\" in\n\
                 'run --release -- '*) shift 3; exec {built} \"$@\" ;;\n\
                 'run --release -p framework-sdk --example '*) exec {examples}/$6 ;;\n\
                 esac\necho \"not here: cargo $*\"; exit 64\n",
                built = env!("CARGO_BIN_EXE_stoa"),
                examples = examples().display()
            ),
        )
        .unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        Reader { page: page.to_owned(), cluster, clone, aliases: String::new() }
    }

    fn reads(self, blocks: &[Block]) {
        self.reads_until(blocks, || ());
    }

    /// Reads, and says how things stand when all is read and nothing is ended yet.
    fn reads_until<T>(mut self, blocks: &[Block], then: impl FnOnce() -> T) -> T {
        for block in blocks {
            let place = format!("{}, line {}", self.page, block.line);
            match &block.kind {
                Kind::Text => {}
                Kind::File(name) => {
                    let used = blocks.iter().any(|other| {
                        matches!(other.kind, Kind::Commands(_)) && other.text.contains(name.as_str())
                    });
                    assert!(used, "{place}: no command of the page names {name}");
                    fs::write(self.clone.join(name), &block.text).unwrap();
                }
                Kind::Excerpt(file) => {
                    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
                    assert!(
                        source.contains(&block.text),
                        "{place}: {file} does not hold this, word for word"
                    );
                }
                Kind::Commands(mark) => self.types(&place, &block.text, mark),
            }
        }
        let stands = then();
        if self.cluster.is_up() {
            self.cluster.down_leaves_nothing();
        }
        stands
    }

    fn types(&mut self, place: &str, text: &str, mark: &Mark) {
        let lines = page::command_lines(text);
        assert!(!lines.is_empty(), "{place}: no command");
        match mark {
            Mark::Run => {
                self.runs(place, text);
            }
            Mark::Prints(wanted) => {
                let said = self.runs(place, text);
                assert!(said.contains(wanted.as_str()), "{place} does not print {wanted:?} but:\n{said}");
            }
            Mark::Cluster => {
                assert_eq!(lines.len(), 1, "{place}: one command starts the cluster");
                assert!(!self.cluster.is_up(), "{place}: this page has a cluster already");
                let mut shell = self.shell(&format!("exec {}", lines[0]));
                shell.stderr(std::process::Stdio::inherit());
                self.cluster.up_by(shell);
            }
            Mark::Until(wanted) => {
                self.needs_a_cluster();
                for line in &lines {
                    let mut going = self.starts(&format!("{}{line}", self.aliases));
                    eventually(&format!("{place}: `{line}` prints {wanted:?}"), PATIENCE, || {
                        let said = going.said();
                        let ended = going.child.try_wait().unwrap();
                        assert!(
                            ended.is_none() || said.contains(wanted.as_str()),
                            "{place}: `{line}` ended before it printed {wanted:?}:\n{said}"
                        );
                        said.contains(wanted.as_str()).then_some(())
                    });
                    going.signal("-INT");
                    going.ended(&format!("{place}: Ctrl-C ends `{line}`"));
                }
            }
            Mark::ByFile(file) => {
                let script = fs::read_to_string(root().join(file)).unwrap_or_default();
                for line in &lines {
                    by_hand::check(line).unwrap_or_else(|why| panic!("{place}: `{line}`: {why}"));
                    let there = script.lines().any(|there| there.trim() == line);
                    assert!(there, "{place}: {file} does not run `{line}`");
                }
            }
            Mark::ByHand => {
                for line in &lines {
                    by_hand::check(line).unwrap_or_else(|why| panic!("{place}: `{line}`: {why}"));
                }
            }
        }
    }

    /// Runs a whole block in one shell that stops at the first failure.
    fn runs(&mut self, place: &str, text: &str) -> String {
        if text.contains("stoa") {
            self.needs_a_cluster();
        }
        let mut going = self.starts(&format!("set -e\n{}{text}", self.aliases));
        let status = going.ended(&format!("{place}: the end of\n{text}"));
        let said = going.said();
        assert!(status.success(), "{place} ends with {status}:\n{text}\nand says:\n{said}");
        for line in page::command_lines(text).iter().filter(|line| line.starts_with("alias ")) {
            self.aliases.push_str(line);
            self.aliases.push('\n');
        }
        said
    }

    fn needs_a_cluster(&mut self) {
        if !self.cluster.is_up() {
            self.cluster.up_again();
        }
    }

    /// A shell in the clone, in a process group of its own, as a terminal starts a command.
    fn shell(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = self.cluster.command("sh");
        shell
            .args(["-c", script])
            .current_dir(&self.clone)
            .env("PATH", format!("{}:{path}", self.cluster.dir().join("bin").display()))
            .process_group(0);
        shell
    }

    fn starts(&self, script: &str) -> Going {
        let out = self.cluster.dir().join("said");
        let file = fs::File::create(&out).unwrap();
        let child = self
            .shell(script)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("a shell starts");
        Going { child, out }
    }
}

/// Whether a file of the repository may be executed.
fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
