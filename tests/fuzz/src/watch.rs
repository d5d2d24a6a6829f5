//! Each target in a process of its own: one that dies or never ends is a finding too, and the input is known.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::corpus;
use crate::engine::hunt::{Enough, Found, Hunt, Report};
use crate::engine::trial;
use crate::scratch::WITHIN;
use crate::target::Target;

/// A thread of a server has so much stack.
const STACK_BYTES: usize = 2 << 20;
/// An input that takes longer never ends.
const HANGS_AFTER: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_secs(1);

// === the child ===

/// The input that is being run, for whoever outlives this process.
#[derive(Debug)]
struct Current {
    file: File,
    buffer: Vec<u8>,
    number: u64,
}

impl Current {
    fn set(&mut self, input: &[u8]) {
        self.number += 1;
        self.buffer.clear();
        self.buffer.extend(self.number.to_le_bytes());
        self.buffer.extend((input.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(input);
        self.file.write_all_at(&self.buffer, 0).expect("the input is written down before it is run");
    }
}

/// The number of an input and the input.
fn current(path: &Path) -> Option<(u64, Vec<u8>)> {
    let bytes = fs::read(path).ok()?;
    let number = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let length = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?) as usize;
    Some((number, bytes.get(16..16 + length)?.to_vec()))
}

/// What [`watch`] starts: hunts, and says on the standard output what came of it.
pub fn child(target: &'static Target, enough: Enough, seed: u64, dir: &Path) -> io::Result<()> {
    let path = dir.join(target.name);
    let mut current = Current { file: File::create(path)?, buffer: Vec::new(), number: 0 };
    let kept = corpus::read(target.name)?;
    let hunting = move || {
        trial::note_panics();
        Hunt::new(target, seed, kept, &mut |input| current.set(input)).go(enough)
    };
    let hunter = thread::Builder::new().stack_size(STACK_BYTES).spawn(hunting)?;
    let report = hunter.join().map_err(|_| io::Error::other("the fuzzer itself panicked"))?;
    let Report { runs, taken, edges_before, edges, found, .. } = report;
    for Found { why, input } in found {
        println!("found\t{}\t{}", corpus::escape(why.as_bytes()), corpus::escape(&input));
    }
    println!("done\t{runs}\t{taken}\t{edges_before}\t{edges}");
    Ok(())
}

// === the parent ===

/// What came of one target.
#[derive(Debug)]
pub struct Outcome {
    /// As the child said, with what it did not live to say.
    pub report: Report,
    /// How long it took.
    pub time: Duration,
}

/// Runs a target in a process of its own.
pub fn watch(target: &Target, enough: Enough, seed: u64, dir: &Path) -> io::Result<Outcome> {
    let began = Instant::now();
    let (which, much) = match enough {
        Enough::Time(time) => ("--millis", time.as_millis() as u64),
        Enough::Runs(runs) => ("--runs", runs),
    };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["child", target.name, which, &much.to_string(), "--seed", &seed.to_string(), "--dir"])
        .arg(dir)
        .env(WITHIN, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut report = Report::default();
    let path = dir.join(target.name);
    let said = listen(&mut child, &path, &mut report)?;
    if let Some(why) = said {
        let (_, input) = current(&path).unwrap_or_default();
        report.found.push(Found { why, input });
    }
    Ok(Outcome { report, time: began.elapsed() })
}

/// Takes in what the child says. Why it did not end as it should, if so.
fn listen(child: &mut Child, path: &Path, report: &mut Report) -> io::Result<Option<String>> {
    let (lines, heard) = mpsc::channel();
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let mut stderr = child.stderr.take().ok_or_else(|| io::Error::other("no output"))?;
    let reader = thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    let words = thread::spawn(move || {
        let mut words = String::new();
        let _ = stderr.read_to_string(&mut words);
        words
    });
    let (mut last, mut since) = (0, Instant::now());
    let mut done = false;
    loop {
        match heard.recv_timeout(LOOK_EVERY) {
            Ok(line) => done |= take(&line, report),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let number = current(path).map_or(0, |(number, _)| number);
                if number != last {
                    (last, since) = (number, Instant::now());
                } else if since.elapsed() > HANGS_AFTER && !done {
                    child.kill()?;
                    child.wait()?;
                    report.runs = last;
                    return Ok(Some(format!("it has not ended after {} s", HANGS_AFTER.as_secs())));
                }
            }
        }
    }
    let status = child.wait()?;
    let _ = reader.join();
    let words = words.join().unwrap_or_default();
    if done && status.success() {
        return Ok(None);
    }
    report.runs = current(path).map_or(0, |(number, _)| number);
    Ok(Some(format!("the process died ({status}): {}", words.trim())))
}

/// A line of the child; whether it was the last.
fn take(line: &str, report: &mut Report) -> bool {
    let parts: Vec<&str> = line.split('\t').collect();
    match parts[..] {
        ["found", why, input] => {
            let text = |line: &str| corpus::unescape(line).unwrap_or_default();
            let why = String::from_utf8_lossy(&text(why)).into_owned();
            report.found.push(Found { why, input: text(input) });
            false
        }
        ["done", runs, taken, before, edges] => {
            report.runs = runs.parse().unwrap_or_default();
            report.taken = taken.parse().unwrap_or_default();
            report.edges_before = before.parse().unwrap_or_default();
            report.edges = edges.parse().unwrap_or_default();
            true
        }
        _ => false,
    }
}
