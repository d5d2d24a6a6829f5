//! `stoa audit tail|verify`: what the masters have written down of who did what, and whether it is all there.

mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use proto::id::MasterId;
use proto::operator::{AuditCall, AuditLines, AuditPlace, AuditRead, Call, ReplyKind};
use proto_audit::{Entry, Verdict};
use serde::Serialize;

use super::{json_line, other_answer};
use crate::args::{AuditTailArgs, AuditVerb, EventForm};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::table::{Cell, Table, Tone, Widths};
use crate::terminal::Terminal;

pub(crate) use verify::verify_copies;

/// How long a master lets the question wait for its next entry; so long what comes is gathered, to be put in order.
const WAIT: Duration = Duration::from_secs(1);
/// How long one master of several may take: the others are asked in any case.
const PATIENCE: Duration = Duration::from_secs(4);

/// An entry in JSON: the line as it stands in the master's file, as a document.
#[derive(Debug, Serialize)]
struct Shape<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// Also where it is one.
    count: u64,
}

/// Tail or verify.
pub async fn run(client: &Client, verb: &AuditVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    match verb {
        AuditVerb::Tail(args) => tail(client, args, terminal).await,
        AuditVerb::Verify(args) if args.dirs.is_empty() => verify::verify(client, args, terminal).await,
        AuditVerb::Verify(args) => verify_copies(args, terminal),
    }
}

/// A master whose log is read.
struct Source {
    master: MasterId,
    client: Client,
    /// Where to go on; `None`: it has not answered yet.
    next: Option<AuditPlace>,
}

/// Every master of the group, as any of them knows it.
async fn sources(client: &Client) -> Result<Vec<Source>, Stop> {
    let ReplyKind::Raft(raft) = client.ask(Call::RaftHere).await?.kind else {
        return Err(other_answer("the masters").into());
    };
    let source = |member: proto::operator::MemberView| Source {
        master: member.id,
        client: client.only(&member.address).with_patience(PATIENCE),
        next: None,
    };
    Ok(raft.members.into_iter().map(source).collect())
}

/// Some lines of one master.
async fn read(client: &Client, asked: AuditRead) -> Result<AuditLines, Stop> {
    match client.ask(Call::Audit(AuditCall::Read(asked))).await {
        Ok(reply) => match reply.kind {
            ReplyKind::Audit(lines) => Ok(lines),
            _ => Err(other_answer("its audit log").into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The failure of one master among several: passed over, unless it says that we may not.
fn passed_over(stop: Stop) -> Result<String, Stop> {
    match stop {
        Stop::Failed(failure) if failure.exit == Exit::Unavailable => Ok(failure.message),
        stop => Err(stop),
    }
}

async fn tail(client: &Client, args: &AuditTailArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let mut sources = sources(client).await?;
    let mut silent: BTreeMap<MasterId, String> = BTreeMap::new();
    let (mut widths, mut headed) = (Widths::default(), false);
    loop {
        let first = !headed;
        let asked = |source: &Source| AuditRead {
            from: source.next,
            last: if source.next.is_none() { args.last } else { 0 },
            wait: if source.next.is_none() { Duration::ZERO } else { WAIT },
            principal: args.principal.clone(),
            denied: args.denied,
        };
        let answers = join_all(sources.iter().map(|source| read(&source.client, asked(source)))).await;
        let mut entries = Vec::new();
        let mut answered = 0;
        for (source, answer) in sources.iter_mut().zip(answers) {
            match answer {
                Ok(lines) => {
                    answered += 1;
                    silent.remove(&source.master);
                    source.next = Some(lines.next);
                    for line in &lines.lines {
                        match Entry::parse(line) {
                            Ok(entry) => entries.push(entry),
                            Err(_) => terminal.note(&format!(
                                "master {}: a line is no entry; `stoa audit verify` says more",
                                source.master
                            )),
                        }
                    }
                }
                Err(stop) => {
                    let why = passed_over(stop)?;
                    if silent.insert(source.master, why.clone()).is_none() {
                        terminal.note(&format!("master {}: {why}", source.master));
                    }
                }
            }
        }
        if answered == 0 && first {
            return Err(nobody(&silent).into());
        }
        entries.sort_by_key(|entry| (entry.at_ms, entry.master, entry.sequence));
        if first {
            entries.drain(..entries.len().saturating_sub(args.last as usize));
        }
        if first || !entries.is_empty() {
            terminal.print(&text(&entries, args.output, &mut widths, first, terminal)?)?;
            headed = true;
        }
        if !args.follow {
            return Ok(Exit::Ok);
        }
        if answered == 0 {
            tokio::time::sleep(WAIT).await;
        }
    }
}

fn nobody(silent: &BTreeMap<MasterId, String>) -> Failure {
    let whys: Vec<String> = silent.iter().map(|(master, why)| format!("master {master}: {why}")).collect();
    Failure::unavailable(whys.join("; "), "is the cluster up? see `stoa status`")
}

fn text(
    entries: &[Entry],
    form: EventForm,
    widths: &mut Widths,
    headed: bool,
    terminal: &Terminal<'_>,
) -> Result<String, Stop> {
    if form == EventForm::Json {
        let line = |entry| json_line(&document("AuditEntry", Shape { entry, count: entry.count }));
        return entries.iter().map(line).collect();
    }
    let mut table = Table::new(vec![
        "AGE", "MASTER", "ENTRY", "WHO", "FROM", "CALL", "OBJECT", "VERDICT", "TIMES", "MESSAGE",
    ]);
    for entry in entries {
        let verdict = match (entry.verdict, entry.code.as_str()) {
            (Verdict::Done, _) => Cell::toned("done", Tone::Good),
            (Verdict::Denied, code) => Cell::toned(code, Tone::Bad),
            (Verdict::Unknown, code) => Cell::toned(format!("unknown {code}").trim(), Tone::Warn),
        };
        table.push(vec![
            Cell::new(crate::duration::show_age(entry.at_ms, terminal.now_ms())),
            Cell::new(entry.master.to_string()),
            Cell::new(entry.sequence.to_string()),
            Cell::new(&entry.who),
            Cell::new(&entry.from),
            Cell::new(&entry.call),
            Cell::new(&entry.object),
            verdict,
            Cell::new(entry.count.to_string()),
            Cell::new(&entry.message),
        ]);
    }
    Ok(table.render_on(widths, headed, terminal.colours))
}
