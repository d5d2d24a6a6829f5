//! The sandbox of a task, which may put anything there, and the files that tasks may fetch of an agent's machine.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agent::sandbox_files::{Output, Start};
use agent_containerizer::{RunId, SandboxDir, escape, open_local};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::engine::tree;
use crate::scratch::Scratch;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

/// What stands outside, and must never be read.
const CANARY: &[u8] = b"canary-outside-of-the-sandbox";
const NAMES: [&str; 8] =
    ["stdout", "stdout.1", "stdout.2", "stdout.3", "stderr", "other", "dir/inner", "stdout.1024"];
const ENTRIES_MAX: usize = 16;

thread_local! {
    static DIR: Scratch = Scratch::new("sandbox");
}

/// Makes what a task could make; field 1 is the name, 2 what it is, 3 its content or where it leads.
fn put(sandbox: &Path, secret: &Path, entry: &[u8]) {
    let path = sandbox.join(NAMES[(tree::number(entry, 1) % NAMES.len() as u64) as usize]);
    let content = tree::bytes(entry, 3);
    let target = || PathBuf::from(std::ffi::OsStr::from_bytes(content));
    // What cannot be made a task could not make either.
    let _ = match tree::number(entry, 2) % 8 {
        // Not through a link, nor into a pipe that nobody reads.
        0 => fs::remove_file(&path)
            .or(Ok(()))
            .and_then(|()| fs::File::create_new(&path).and_then(|mut file| file.write_all(content))),
        1 => symlink(target(), &path),
        2 => symlink(secret, &path),
        3 => fs::hard_link(secret, &path),
        4 => fs::create_dir_all(&path),
        5 => mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).map_err(Into::into),
        6 => fs::remove_file(&path),
        _ => fs::create_dir_all(sandbox.join("dir")),
    };
}

/// A sandbox beside a secret; the root of it is nobody's business.
fn house(dir: &Scratch) -> Result<(PathBuf, PathBuf), String> {
    dir.clear();
    let (sandbox, secret) = (dir.path().join("sandbox"), dir.path().join("secret"));
    fs::create_dir(&sandbox).and_then(|()| fs::write(&secret, CANARY)).map_err(|error| error.to_string())?;
    Ok((sandbox, secret))
}

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY)
}

pub(super) const OUTPUT: Target = Target::new(
    "output",
    "whatever a task puts into its sandbox, its output is read to an end and nothing outside is",
    Kind::Wire,
    output,
);

/// Fields 1: entries of the sandbox. Fields 2 and 3: where reading begins, in lines or bytes. Fields 4: entries made meanwhile.
fn output(input: &[u8]) -> Verdict {
    DIR.with(|dir| {
        let (sandbox, secret) = house(dir)?;
        let entries =
            |kind| tree::messages(input).filter(move |(number, _)| *number == kind).take(ENTRIES_MAX);
        entries(1).for_each(|(_, entry)| put(&sandbox, &secret, entry));
        // A file that the task itself wrote may hold the same words.
        if has_canary(input) {
            return Ok(Taken::No);
        }
        let start = match (tree::number(input, 2), tree::number(input, 3)) {
            (0, 0) => Start::Beginning,
            (lines, 0) => Start::Tail(lines),
            (_, bytes) => Start::Offset(bytes),
        };
        let Ok(mut output) = Output::open(&sandbox, "stdout", start) else { return Ok(Taken::No) };
        let mut meanwhile = entries(4);
        let mut read = Vec::new();
        for _ in 0..200 {
            let before = output.position();
            match output.next() {
                Ok(Some(bytes)) => {
                    ensure(!bytes.is_empty(), || "nothing is read and more is promised".to_owned())?;
                    read.extend_from_slice(bytes);
                    let passed = bytes.len() as u64;
                    ensure(output.position() == before + passed, || {
                        "the position is not where it is".to_owned()
                    })?;
                }
                Ok(None) | Err(_) => match meanwhile.next() {
                    Some((_, entry)) => put(&sandbox, &secret, entry),
                    None => {
                        ensure(!has_canary(&read), || "what is outside is read".to_owned())?;
                        return Ok(if read.is_empty() { Taken::No } else { Taken::Yes });
                    }
                },
            }
        }
        Err("it never comes to an end".to_owned())
    })
}

pub(super) const PATHS: Target = Target::new(
    "paths",
    "no name of a framework, a task or a file leads out of its directory, and no two are one",
    Kind::Wire,
    paths,
);

/// Fields 1: entries of the directory that files may come from. Field 2: a path. Fields 5 and 6: names.
fn paths(input: &[u8]) -> Verdict {
    DIR.with(|dir| {
        let (root, secret) = house(dir)?;
        if has_canary(input) {
            return Ok(Taken::No);
        }
        // A second name of a file in there is the operator's own doing.
        let entries =
            tree::messages(input).filter(|(kind, entry)| *kind == 1 && tree::number(entry, 2) % 8 != 3);
        entries.take(ENTRIES_MAX).for_each(|(_, entry)| put(&root, &secret, entry));
        let mut taken = Taken::No;
        let rest = String::from_utf8_lossy(tree::bytes(input, 2)).into_owned();
        for path in [rest.clone(), format!("{}/{rest}", root.display())] {
            let Ok(mut file) = open_local(std::slice::from_ref(&root), &path) else { continue };
            let mut read = Vec::new();
            file.read_to_end(&mut read).map_err(|error| error.to_string())?;
            ensure(!has_canary(&read), || format!("{path:?} leads out of the directory"))?;
            taken = Taken::Yes;
        }
        let text = |field| String::from_utf8_lossy(tree::bytes(input, field)).into_owned();
        let (one, other) = (text(5), text(6));
        let names = (escape(&one), escape(&other));
        ensure((names.0 == names.1) == (one == other), || {
            format!("{one:?} and {other:?} are both {}", names.0)
        })?;
        let sandbox = SandboxDir::new(&one, &other, RunId([7; 16])).path(&root);
        let parts: Vec<_> =
            sandbox.strip_prefix(&root).map_err(|error| error.to_string())?.components().collect();
        let plain =
            parts.iter().all(|part| matches!(part, std::path::Component::Normal(name) if name.len() <= 255));
        ensure(parts.len() == 4 && plain, || format!("{one:?} of {other:?} is in {}", sandbox.display()))?;
        Ok(if one.is_empty() { taken } else { Taken::Yes })
    })
}
