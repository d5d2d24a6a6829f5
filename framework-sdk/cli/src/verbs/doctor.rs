//! `stoa doctor`: looks at the cluster from here, and says of each thing that is not well what to do about it.

mod pool;
pub(super) mod vitals;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use proto::agent::AgentState;
use proto::attributes::AttributeValue;
use proto::operator::{
    AgentView, Call, EventsAfter, FrameworkView, List, OfferView, Raft, ReplyKind, RoleView,
};
use proto::quantities::Quantities;
use proto::roster::Standing;
use proto_grpc::PeerRole;
use proto_pki::Credentials;
use serde::Serialize;

use super::{list, other_answer, written};
use crate::args::{Form, FormArgs};
use crate::client::{AskError, Client};
use crate::duration::show_duration;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::table::Tone;
use crate::terminal::Terminal;
use vitals::Whose;

/// A certificate that ends sooner is to be replaced.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a master may take to answer from here.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A member that is this many entries behind is not just a moment behind.
const BEHIND_MAX: u64 = 10_000;
/// Names in one line.
const NAMES_MAX: usize = 5;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    pub verdict: Verdict,
    what: String,
    /// What to do; empty when it is well.
    fix: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub verdict: Verdict,
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst of all is the verdict.
    pub fn of(checks: Vec<Check>) -> Report {
        let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
        Report { verdict, checks }
    }
}

pub(super) fn ok(name: &'static str, what: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Ok, what: what.into(), fix: String::new() }
}

pub(super) fn warn(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Warn, what: what.into(), fix: fix.into() }
}

pub(super) fn fail(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Fail, what: what.into(), fix: fix.into() }
}

/// Looks at everything; the exit code is 1 when something fails.
pub async fn run(client: &Client, args: &FormArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let mut checks = vec![certificate(client.credentials(), terminal.now_ms())];
    let mut led = false;
    let mut doors: Vec<Whose> = Vec::new();
    match client.ask(Call::Raft).await {
        Ok(reply) => {
            let ReplyKind::Raft(raft) = reply.kind else {
                return Err(other_answer("the group of masters").into());
            };
            let asked = raft.members.iter().map(|member| reachable(client, &member.address));
            checks.extend(join_all(asked).await);
            doors.extend(raft.members.iter().filter(|member| member.alive).map(|member| Whose {
                name: format!("master {}", member.id),
                address: member.address.clone(),
                role: PeerRole::Master,
            }));
            led = raft.members.iter().any(|member| member.leader);
            checks.push(quorum(&raft));
            checks.extend(behind(&raft));
        }
        Err(error) => checks.push(nobody(error)),
    }
    let seen;
    // Without a leader the lists are as old as its loss, or cannot be had; what fails above says so.
    if led {
        let agents = list::<AgentView>(client, List::default()).await?.items;
        checks.extend(of_agents(&agents));
        doors.extend(agents.iter().filter(|agent| agent.state == AgentState::Active).map(|agent| Whose {
            name: agent.info.id.to_string(),
            address: agent.info.address.clone(),
            role: PeerRole::Agent,
        }));
        let (pool, pages) = tokio::join!(
            of_pool(client, &agents, terminal.now_ms()),
            vitals::look(doors, client.credentials(), terminal.clock)
        );
        checks.extend(pool?);
        seen = pages;
    } else {
        seen = vitals::look(doors, client.credentials(), terminal.clock).await;
    }
    if !seen.is_empty() {
        checks.extend(vitals::checks(&seen, terminal.now_ms()));
        checks.extend(master_versions(&seen));
    }
    let report = Report::of(checks);
    let verdict = report.verdict;
    let colours = terminal.colours;
    let text = written(args.output, &document("Doctor", &report), || text(&report, colours))?;
    terminal.print(&text)?;
    if args.output == Form::Text && verdict == Verdict::Ok {
        terminal.note("all is well, as far as it can be seen from here");
    }
    Ok(if verdict == Verdict::Fail { Exit::Bad } else { Exit::Ok })
}

pub(super) fn text(report: &Report, colours: bool) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let (word, tone) = match check.verdict {
            Verdict::Ok => ("ok  ", Tone::Good),
            Verdict::Warn => ("warn", Tone::Warn),
            Verdict::Fail => ("fail", Tone::Bad),
        };
        let what = crate::escape::escaped(&check.what);
        text.push_str(&format!("{}  {}: {what}\n", tone.paint(word, colours), check.name));
        if !check.fix.is_empty() {
            text.push_str(&format!("      fix: {}\n", crate::escape::escaped(&check.fix)));
        }
    }
    text
}

pub(super) fn certificate(credentials: &Credentials, now_ms: u64) -> Check {
    let name = "certificate";
    let fix = "get a new one: `stoa token create --kind user --name NAME`, then `stoa join TOKEN`";
    let left = match credentials.expires_ms() {
        Ok(expires_ms) => Duration::from_millis(expires_ms.saturating_sub(now_ms)),
        Err(error) => return fail(name, format!("this context's cannot be read: {error}"), fix),
    };
    let left_words = show_duration(Duration::from_secs(left.as_secs()));
    match left {
        Duration::ZERO => fail(name, "this context's is out of time", fix),
        left if left < EXPIRES_SOON => warn(name, format!("this context's ends in {left_words}"), fix),
        _ => ok(name, format!("this context's is good for {left_words}")),
    }
}

pub(super) fn nobody(error: AskError) -> Check {
    let Failure { message, hint, .. } = Failure::from(error);
    let fix = if hint.is_empty() { "start the masters, and look at their logs".to_owned() } else { hint };
    fail("masters", message, fix)
}

pub(super) async fn reachable(client: &Client, address: &str) -> Check {
    let name = "reachable";
    match client.only(address).with_patience(PATIENCE).ask(Call::RaftHere).await {
        Ok(_) => ok(name, format!("the master at {address} answers")),
        Err(error) => fail(
            name,
            format!("the master at {address} does not answer here: {}", Failure::from(error).message),
            "is its process running (`stoa up` and its log say why not), and does a firewall let this machine in?",
        ),
    }
}

fn quorum(raft: &Raft) -> Check {
    let name = "quorum";
    // Who joins does not vote yet.
    let voters = || raft.members.iter().filter(|member| member.standing != Standing::Joins);
    let (all, alive) = (voters().count(), voters().filter(|member| member.alive).count());
    let needed = all / 2 + 1;
    let heard = format!("{alive} of {all} masters are heard");
    let start = "start the ones that are missing; `stoa raft status` names them";
    if !raft.members.iter().any(|member| member.leader) || alive < needed {
        return fail(name, format!("{heard}, and nothing can be ordered without {needed}"), start);
    }
    match alive - needed {
        0 if all == alive => warn(
            name,
            format!("{heard}: the loss of one stops all orders"),
            "add masters until there are three: `stoa raft add HOST:PORT`",
        ),
        0 => warn(name, format!("{heard}: the loss of one more stops all orders"), start),
        spare => ok(name, format!("{heard}: {spare} may be lost")),
    }
}

fn behind(raft: &Raft) -> Option<Check> {
    let newest = raft.members.iter().map(|member| member.matched).max()?;
    let late = |matched: u64| matched > 0 && newest.saturating_sub(matched) > BEHIND_MAX;
    let member = raft.members.iter().find(|member| late(member.matched))?;
    Some(warn(
        "log",
        format!("master {} is {} entries behind", member.id, newest - member.matched),
        "is its disk slow or full? its log and `fsync` metrics say",
    ))
}

/// A few of many names.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    let shown = all.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What of isolation is not in force: cgroup controllers, namespaces and so on.
fn isolation_off(agent: &AgentView) -> Vec<&str> {
    let off = |(name, value): (&'_ String, &AttributeValue)| {
        matches!(value, AttributeValue::Text(word) if word == "off") && name.starts_with("isolation/")
    };
    let all = agent.info.attributes.0.iter().filter(|(name, value)| off((name, value)));
    all.filter_map(|(name, _)| name.strip_prefix("isolation/")).collect()
}

async fn of_pool(client: &Client, agents: &[AgentView], now_ms: u64) -> Result<Vec<Check>, Stop> {
    let (frameworks, offers, roles, events) = tokio::join!(
        list::<FrameworkView>(client, List::default()),
        list::<OfferView>(client, List::default()),
        list::<RoleView>(client, List::default()),
        client.ask(Call::Events(EventsAfter::default()))
    );
    let (frameworks, offers, roles) = (frameworks?.items, offers?.items, roles?.items);
    let mut total = Quantities::ZERO;
    let there = agents.iter().filter(|agent| agent.state == AgentState::Active);
    there.for_each(|agent| total.add(&agent.total.quantities()));
    let mut checks = vec![
        pool::of_frameworks(&frameworks),
        pool::of_offers(&offers, now_ms),
        pool::of_roles(&roles, &total),
    ];
    // Masters of before events say so; then nobody can tell.
    if let Ok(reply) = events
        && let ReplyKind::Events(events) = reply.kind
    {
        checks.extend(pool::of_events(&events, now_ms));
    }
    Ok(checks)
}

fn master_versions(seen: &[vitals::Seen]) -> Option<Check> {
    let own = env!("CARGO_PKG_VERSION");
    let other = |seen: &&vitals::Seen| {
        let page = seen.page.as_ref().ok().filter(|_| seen.whose.role == PeerRole::Master);
        page.and_then(|page| page.label("build_info", "version")).is_some_and(|version| version != own)
    };
    let others = names(seen.iter().filter(other).map(|seen| seen.whose.name.as_str()));
    (!others.is_empty()).then(|| {
        warn(
            "versions",
            format!("of another version than this `stoa` ({own}): {others}"),
            "start the masters with the new binary, one after the other, followers first",
        )
    })
}

fn of_agents(agents: &[AgentView]) -> Vec<Check> {
    let ids = |wanted: &dyn Fn(&AgentView) -> bool| -> Option<String> {
        let found = names(agents.iter().filter(|agent| wanted(agent)).map(|agent| agent.info.id.as_str()));
        (!found.is_empty()).then_some(found)
    };
    let live = |agent: &AgentView| agent.state == AgentState::Active;
    let mut checks = Vec::new();
    let lost = |agent: &AgentView| matches!(agent.state, AgentState::Disconnected | AgentState::Unreachable);
    match (ids(&lost), agents.iter().filter(|agent| live(agent)).count()) {
        (Some(lost), _) => checks.push(fail(
            "agents",
            format!("out of sight: {lost}"),
            "start them, or look at their logs; one that will never be back: `stoa agent gone NAME`",
        )),
        (None, 0) => checks.push(fail(
            "agents",
            "none is connected: nothing can run",
            "`stoa token create --kind agent`, then `stoa agent --join TOKEN` on a machine",
        )),
        (None, live) => checks.push(ok("agents", format!("{live} are connected"))),
    }
    if let Some(draining) = ids(&|agent| live(agent) && agent.drain.is_some()) {
        checks.push(warn(
            "drains",
            format!("no new work for: {draining}"),
            "when they are ready: `stoa agent resume NAME`",
        ));
    }
    let kept = |agent: &&AgentView| lost(agent) && agent.total.volumes().next().is_some();
    let out_of_reach: Vec<String> = agents
        .iter()
        .filter(kept)
        .flat_map(|agent| {
            agent.total.volumes().map(|(role, id)| format!("{id} of {role} on {}", agent.info.id))
        })
        .collect();
    if !out_of_reach.is_empty() {
        checks.push(warn(
            "volumes",
            format!("out of reach with their agents: {}", names(out_of_reach.iter().map(String::as_str))),
            "start the agent: what is on them is on its disk; `stoa agent gone NAME` gives it up for good",
        ));
    }
    let less = |agent: &AgentView| live(agent) && !isolation_off(agent).is_empty();
    if let Some(less) = ids(&less) {
        let off: BTreeSet<&str> = agents.iter().flat_map(isolation_off).collect();
        let off = off.into_iter().collect::<Vec<_>>().join(", ");
        checks.push(warn(
            "isolation",
            format!("off ({off}) on: {less}"),
            "the agent's log says why; run it as root, with cgroups and namespaces that it may use",
        ));
    }
    let own = env!("CARGO_PKG_VERSION");
    if let Some(other) = ids(&|agent| live(agent) && agent.info.version != own) {
        checks.push(warn(
            "versions",
            format!("of another version than this `stoa` ({own}): {other}"),
            "start the agent's process again with the new binary; its tasks run on",
        ));
    }
    checks
}
