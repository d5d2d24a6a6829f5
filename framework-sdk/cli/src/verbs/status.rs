//! `stoa status`: is the cluster well? In words and as an exit code.

use proto::operator::{Call, Raft, Reply, ReplyKind, Status};
use proto::quantities::Quantities as Amounts;
use serde::Serialize;

use super::{other_answer, written};
use crate::args::{Form, StatusArgs};
use crate::client::{AskError, Client};
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::used_of;
use crate::shapes::{Quantities, document};
use crate::sheet::Sheet;
use crate::table::Tone;
use crate::terminal::Terminal;

/// How well the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Everything that was there is there.
    Healthy,
    /// It works, but something is missing.
    Degraded,
    /// Nothing can be ordered.
    Down,
}

#[derive(Debug, Serialize)]
struct Shape {
    health: Health,
    /// What is wrong, in words.
    problems: Vec<String>,
    leader: Option<u64>,
    term: u64,
    masters: u64,
    masters_alive: u64,
    agents_active: u64,
    agents_lost: u64,
    frameworks_connected: u64,
    frameworks_disconnected: u64,
    tasks_running: u64,
    total: Quantities,
    used: Quantities,
}

/// Says how the cluster is.
pub async fn run(client: &Client, args: &StatusArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let (status, raft) = match ask(client, args.stale).await {
        Ok(Answers { status, mut raft, as_of, from_leader }) => {
            if args.stale {
                super::say_as_of(as_of, from_leader, terminal);
            }
            // A follower that has a leader hears that one only: of the others it can say nothing bad.
            if !from_leader && raft.members.iter().any(|member| member.leader && member.alive) {
                raft.members.iter_mut().for_each(|member| member.alive = true);
            }
            (status, raft)
        }
        Err(Stop::Failed(failure)) if failure.exit == Exit::Unavailable => {
            return down(*failure, args.output, terminal);
        }
        Err(stop) => return Err(stop),
    };
    let (health, text) = render(&status, &raft, args.output, terminal.colours)?;
    terminal.print(&text)?;
    Ok(health.exit())
}

struct Answers {
    status: Status,
    raft: Raft,
    as_of: u64,
    from_leader: bool,
}

async fn ask(client: &Client, stale: bool) -> Result<Answers, Stop> {
    let (raft_call, status_call) =
        if stale { (Call::RaftHere, Call::StatusHere) } else { (Call::Raft, Call::Status) };
    // First what a master that has just started leaves to the leader: by then it knows who leads.
    let status = match client.ask(status_call).await.map(|reply| reply.kind) {
        Ok(ReplyKind::Status(status)) => Some(status),
        Ok(_) => return Err(other_answer("the status").into()),
        // Some masters say nothing without a leader; what is known is worth showing.
        Err(AskError::NoLeader(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let Reply { as_of, from_leader, kind } = client.ask(raft_call).await?;
    let ReplyKind::Raft(raft) = kind else {
        return Err(other_answer("the group of masters").into());
    };
    let status = status.unwrap_or_else(|| unled(&raft));
    Ok(Answers { status, raft, as_of, from_leader })
}

fn unled(raft: &Raft) -> Status {
    let count = |alive: usize| u64::try_from(alive).unwrap_or(u64::MAX);
    Status {
        masters: count(raft.members.len()),
        masters_alive: count(raft.members.iter().filter(|member| member.alive).count()),
        ..Status::default()
    }
}

fn down(failure: Failure, form: Form, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    if form == Form::Text {
        terminal.print(&format!("{}\n", Tone::Bad.paint("down", terminal.colours)))?;
        failure.report(false, terminal);
        return Ok(Exit::DOWN);
    }
    #[derive(Serialize)]
    struct Down {
        health: Health,
        problems: Vec<String>,
    }
    let shape = Down { health: Health::Down, problems: vec![failure.message] };
    let text = written(form, &document("Status", shape), String::new)?;
    terminal.print(&text)?;
    Ok(Exit::DOWN)
}

// === impl Health ===

impl Health {
    fn exit(self) -> Exit {
        match self {
            Health::Healthy => Exit::Ok,
            Health::Degraded => Exit::Bad,
            Health::Down => Exit::DOWN,
        }
    }

    fn word(self) -> (&'static str, Tone) {
        match self {
            Health::Healthy => ("healthy", Tone::Good),
            Health::Degraded => ("degraded", Tone::Warn),
            Health::Down => ("down", Tone::Bad),
        }
    }
}

/// The verdict and its problems.
fn judge(status: &Status, raft: &Raft) -> (Health, Vec<String>) {
    let mut problems = Vec::new();
    let led = raft.members.iter().any(|member| member.leader && member.alive);
    if !led {
        problems.push("no master leads: nothing can be ordered, running tasks go on".to_owned());
    }
    let missing: Vec<String> = raft
        .members
        .iter()
        .filter(|member| !member.alive)
        .map(|member| format!("master {} at {} is not heard", member.id, member.address))
        .collect();
    problems.extend(missing);
    match status.agents_lost {
        0 => {}
        1 => problems.push("1 agent is out of sight".to_owned()),
        lost => problems.push(format!("{lost} agents are out of sight")),
    }
    if led && status.agents_active == 0 {
        problems.push("no agent is connected: nothing can run".to_owned());
    }
    let health = match (led, problems.is_empty()) {
        (false, _) => Health::Down,
        (true, false) => Health::Degraded,
        (true, true) => Health::Healthy,
    };
    (health, problems)
}

/// The answer in this form.
pub fn render(status: &Status, raft: &Raft, form: Form, colours: bool) -> Result<(Health, String), Stop> {
    let (health, problems) = judge(status, raft);
    let leader = raft.members.iter().find(|member| member.leader);
    let shape = Shape {
        health,
        problems: problems.clone(),
        leader: leader.map(|member| member.id.0),
        term: raft.term,
        masters: status.masters,
        masters_alive: status.masters_alive,
        agents_active: status.agents_active,
        agents_lost: status.agents_lost,
        frameworks_connected: status.frameworks_connected,
        frameworks_disconnected: status.frameworks_disconnected,
        tasks_running: status.tasks_running,
        total: (&status.total).into(),
        used: (&status.used).into(),
    };
    let text = written(form, &document("Status", shape), || {
        let (word, tone) = health.word();
        let mut text = format!("{}\n", tone.paint(word, colours));
        for problem in &problems {
            text.push_str(&format!("  - {}\n", crate::escape::escaped(problem)));
        }
        let mut sheet = Sheet::default();
        sheet
            .fact(
                "Masters",
                match leader {
                    Some(leader) => format!(
                        "{} of {} heard, {} leads in term {}",
                        status.masters_alive, status.masters, leader.id, raft.term
                    ),
                    None => format!("{} of {} heard", status.masters_alive, status.masters),
                },
            )
            .fact("Agents", counted(status.agents_active, "active", status.agents_lost, "lost"))
            .fact(
                "Frameworks",
                counted(
                    status.frameworks_connected,
                    "connected",
                    status.frameworks_disconnected,
                    "disconnected",
                ),
            )
            .fact("Tasks", format!("{} running", status.tasks_running))
            .fact("Used", used(&status.used, &status.total));
        text.push_str(&sheet.render());
        text
    })?;
    Ok((health, text))
}

fn counted(good: u64, good_word: &str, bad: u64, bad_word: &str) -> String {
    if bad == 0 { format!("{good} {good_word}") } else { format!("{good} {good_word}, {bad} {bad_word}") }
}

/// `cpus 1.5/4  mem 1GiB/8GiB`: whatever the pool has any of.
fn used(used: &Amounts, total: &Amounts) -> String {
    let parts = total.iter().map(|(scalar, _)| format!("{scalar} {}", used_of(&scalar, used, total)));
    parts.collect::<Vec<_>>().join(", ")
}
