//! Every line of every master's audit log, checked against the one before and against what the others have seen.

use std::path::Path;

use futures::future::join_all;
use proto::operator::AuditRead;
use proto_audit::files::{self, Place};
use proto_audit::{Broken, Checker, Found, Seal};
use serde::Serialize;

use super::{Source, passed_over, read, sources};
use crate::args::AuditVerifyArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::table::{Cell, Table};
use crate::terminal::Terminal;
use crate::verbs::written;

/// What was found, in JSON.
#[derive(Debug, Serialize)]
struct Shape {
    /// Whether all of it is whole.
    whole: bool,
    entries: u64,
    logs: Vec<LogShape>,
}

#[derive(Debug, Serialize)]
struct LogShape {
    /// Null where nobody knows whose it is.
    master: Option<u64>,
    /// How many entries are kept.
    entries: u64,
    first: u64,
    last: u64,
    /// Up to where others have seen it as it is; 0: nobody has.
    sealed: u64,
    /// To be given to a later run as `--head`; null where nothing is there, or it is broken.
    head: Option<String>,
    /// What is wrong, and where first; null where nothing is.
    broken: Option<BrokenShape>,
    /// Why it was not checked; null where it was.
    unanswered: Option<String>,
}

#[derive(Debug, Serialize)]
struct BrokenShape {
    sequence: u64,
    what: String,
}

/// One log while it is read.
#[derive(Default)]
struct Log {
    checker: Checker,
    /// What it says of others' logs.
    seals: Vec<Seal>,
    broken: Option<Broken>,
    unanswered: Option<String>,
}

// === impl Log ===

impl Log {
    fn take(&mut self, lines: &[String]) {
        for line in lines {
            if self.broken.is_some() {
                return;
            }
            match self.checker.take(line) {
                Ok(entry) => self.seals.extend(entry.witnessed()),
                Err(broken) => self.broken = Some(broken),
            }
        }
    }

    fn seal(&mut self, seal: Seal) {
        if let Err(broken) = self.checker.seal(seal) {
            self.broken.get_or_insert(broken);
        }
    }

    fn end(self) -> LogShape {
        let Log { checker, broken, unanswered, .. } = self;
        let master = checker.master();
        let ended = match (broken, &unanswered) {
            (Some(broken), _) => Err(broken),
            (None, Some(_)) => Ok(Found::default()),
            (None, None) => checker.end(),
        };
        let found = ended.clone().unwrap_or_default();
        let there = ended.is_ok() && found.entries > 0;
        let head =
            there.then(|| master.map(|master| Seal { master, head: found.head }.to_string())).flatten();
        LogShape {
            master,
            entries: found.entries,
            first: found.first,
            last: found.head.sequence,
            sealed: found.sealed,
            head,
            broken: ended
                .err()
                .map(|broken| BrokenShape { sequence: broken.sequence, what: broken.to_string() }),
            unanswered,
        }
    }
}

/// What the masters give.
pub(super) async fn verify(
    client: &Client,
    args: &AuditVerifyArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let mut sources = sources(client).await?;
    let mut logs: Vec<Log> = sources
        .iter()
        .map(|source| Log { checker: Checker::new(Some(source.master.0)), ..Log::default() })
        .collect();
    fetch(&mut sources, &mut logs).await?;
    let seals = seals(&logs, args);
    // What others have seen may be younger than what was read before: the rest of each is read once more.
    fetch(&mut sources, &mut logs).await?;
    conclude(logs, &seals, args, terminal)
}

/// Reads on in each log, to its present end.
async fn fetch(sources: &mut [Source], logs: &mut [Log]) -> Result<(), Stop> {
    let reading = sources.iter_mut().zip(logs).map(|(source, log)| async move {
        loop {
            if log.unanswered.is_some() || log.broken.is_some() {
                return Ok(());
            }
            match read(&source.client, AuditRead { from: source.next, ..AuditRead::default() }).await {
                Ok(lines) => {
                    source.next = Some(lines.next);
                    log.take(&lines.lines);
                    if !lines.more {
                        return Ok(());
                    }
                }
                Err(stop) => log.unanswered = Some(passed_over(stop)?),
            }
        }
    });
    join_all(reading).await.into_iter().collect()
}

/// Copies of audit directories. It needs no cluster.
pub(crate) fn verify_copies(args: &AuditVerifyArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let mut logs = Vec::with_capacity(args.dirs.len());
    for dir in &args.dirs {
        let mut log = Log { checker: Checker::new(None), ..Log::default() };
        read_copy(dir, &mut log).map_err(|error| {
            let message = format!("cannot read {}: {error}", dir.display());
            Failure::not_found(
                message,
                "name the directory `audit` of a master's data directory, or a copy of it",
            )
        })?;
        logs.push(log);
    }
    let seals = seals(&logs, args);
    conclude(logs, &seals, args, terminal)
}

fn read_copy(dir: &Path, log: &mut Log) -> std::io::Result<()> {
    if files::segments(dir)?.is_empty() {
        return Err(std::io::Error::other("it holds no audit log"));
    }
    let mut place = Place::default();
    loop {
        let page = files::read(dir, place, |_| true)?;
        log.take(&page.lines);
        if !page.more {
            return Ok(());
        }
        place = page.next;
    }
}

/// What each says of the others, and whoever looks himself.
fn seals(logs: &[Log], args: &AuditVerifyArgs) -> Vec<Seal> {
    logs.iter().flat_map(|log| &log.seals).chain(&args.heads).copied().collect()
}

fn conclude(
    mut logs: Vec<Log>,
    seals: &[Seal],
    args: &AuditVerifyArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    for log in &mut logs {
        seals.iter().for_each(|seal| log.seal(*seal));
    }
    let logs: Vec<LogShape> = logs.into_iter().map(Log::end).collect();
    let exit = if logs.iter().any(|log| log.broken.is_some()) {
        Exit::Bad
    } else if logs.iter().any(|log| log.unanswered.is_some()) {
        Exit::Unavailable
    } else {
        Exit::Ok
    };
    let shape = Shape { whole: exit == Exit::Ok, entries: logs.iter().map(|log| log.entries).sum(), logs };
    let colours = terminal.colours;
    let text = written(args.output, &document("AuditVerification", &shape), || sheet(&shape, colours))?;
    terminal.print(&text)?;
    Ok(exit)
}

fn sheet(shape: &Shape, colours: bool) -> String {
    let name =
        |log: &LogShape| log.master.map_or_else(|| "a log".to_owned(), |master| format!("master {master}"));
    let mut text = String::new();
    for log in &shape.logs {
        match (&log.broken, &log.unanswered) {
            (Some(broken), _) => {
                text.push_str(&format!("BROKEN: {}: {}\n", name(log), broken.what));
            }
            (None, Some(why)) => {
                text.push_str(&format!("NOT CHECKED: {}: {}\n", name(log), crate::escape::escaped(why)))
            }
            (None, None) => {}
        }
    }
    if shape.whole {
        text.push_str(&format!("OK: {} entries of {} masters\n", shape.entries, shape.logs.len()));
    }
    let mut table = Table::new(vec!["MASTER", "ENTRIES", "FIRST", "SEALED", "HEAD"]);
    for log in &shape.logs {
        table.push(vec![
            Cell::new(log.master.map(|master| master.to_string()).unwrap_or_default()),
            Cell::new(log.entries.to_string()),
            Cell::new(log.first.to_string()),
            Cell::new(log.sealed.to_string()),
            Cell::new(log.head.as_deref().unwrap_or_default()),
        ]);
    }
    text + &table.render(colours)
}
