//! Why does it wait? The allocator answers for what wants agents, the registry for tasks and agents. Nobody guesses: what
//! this leader has not learned yet is said, too.

use proto::agent::AgentState;
use proto::explain::{Explanation, Verdict};
use proto::id::FrameworkId;
use proto::log::{AgentRecord, TaskRecord};
use proto::operator::{Explain, ReplyKind, TaskRef};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::task::{Exit, TaskState, TaskStatus};

use super::operate::names;
use super::why;
use crate::desk::Desk;

pub(crate) fn explain(d: &Desk<'_>, what: &Explain) -> Result<ReplyKind, Refusal> {
    let told = match what {
        Explain::Framework(name) => of_framework(d, name)?,
        Explain::Demand(demand) => {
            let mut all = Vec::new();
            for id in frameworks(d, &demand.framework)? {
                all.extend(why::framework(d, &id, Some(&demand.demand)));
            }
            if all.is_empty() {
                let message = format!("framework {} declares no demand {}", demand.framework, demand.demand);
                return Err(Refusal::new(Code::NotFound, message)
                    .with_help("`stoa explain framework` shows all that it declares"));
            }
            all
        }
        Explain::Task(task) => of_task(d, task)?,
        Explain::Role(role) => of_role(d, role),
        Explain::Agent(name) => of_agent(d, name)?,
        Explain::Supposed(supposed) => why::supposed(d, supposed, frameworks(d, &supposed.framework)?)?,
        Explain::Summary => return Ok(ReplyKind::Waiting(why::waiting(d))),
    };
    Ok(ReplyKind::Explain(told))
}

fn said(subject: String, verdict: Verdict, words: String) -> Explanation {
    Explanation { subject, code: verdict.code().to_owned(), verdict: words, ..Explanation::default() }
}

// --- frameworks and roles ---

fn of_framework(d: &Desk<'_>, name: &str) -> Result<Vec<Explanation>, Refusal> {
    let missing = match frameworks(d, name) {
        Ok(ids) => return Ok(ids.iter().flat_map(|id| why::framework(d, id, None)).collect()),
        Err(missing) => missing,
    };
    let removed = d.registry.removed_frameworks().filter(|r| r.id.as_str() == name || r.info.name == name);
    let told: Vec<Explanation> = removed
        .map(|record| {
            let running = d.registry.tasks_of(&record.id).count();
            let left = match running {
                0 => String::new(),
                n => format!("; {n} of its tasks have not ended yet"),
            };
            let words = format!(
                "it is over: it was torn down, by itself or by an operator, or did not come back within its failover \
                 timeout{left}"
            );
            let subject = format!("framework {} ({})", record.info.name, record.id);
            said(subject, Verdict::FrameworkRemoved, words)
        })
        .collect();
    if told.is_empty() { Err(missing) } else { Ok(told) }
}

fn frameworks(d: &Desk<'_>, name: &str) -> Result<Vec<FrameworkId>, Refusal> {
    let found: Vec<FrameworkId> =
        d.registry.frameworks().map(|f| f.record.id.clone()).filter(|id| names(d, id, name)).collect();
    if found.is_empty() {
        return Err(Refusal::new(Code::NotFound, format!("there is no framework {name}")));
    }
    Ok(found)
}

fn of_role(d: &Desk<'_>, role: &Role) -> Vec<Explanation> {
    let mut told = why::asked(d, |outside| d.l.allocator.explain_role(role, outside, d.now.monotonic));
    if let Some(sum) = told.first_mut() {
        sum.notes.extend(why::not_known_yet(d));
    }
    told
}

// --- agents ---

fn of_agent(d: &Desk<'_>, name: &str) -> Result<Vec<Explanation>, Refusal> {
    let found = d.registry.agents().filter(|a| a.info.id.as_str() == name || a.info.hostname == name);
    let told: Vec<Explanation> = found.map(|record| agent(d, record)).collect();
    if told.is_empty() {
        return Err(Refusal::new(Code::NotFound, format!("there is no agent {name}")));
    }
    Ok(told)
}

fn agent(d: &Desk<'_>, record: &AgentRecord) -> Explanation {
    let subject = format!("agent {}", record.info.hostname);
    let tasks = d.registry.tasks_on(&record.info.id).count();
    let mut told = match record.state {
        AgentState::Gone => {
            let words = "it was declared gone: it gets no work and never will again".to_owned();
            said(subject, Verdict::AgentGone, words)
        }
        AgentState::Unreachable => {
            let words = "it is out of sight: it was silent for too long; when it is back it is offered again";
            said(subject, Verdict::AgentUnreachable, words.to_owned())
        }
        AgentState::Active | AgentState::Disconnected => {
            let told = why::asked(d, |outside| {
                d.l.allocator.explain_agent(&record.info.id, outside, d.now.monotonic)
            });
            told.unwrap_or_else(|| {
                said(subject, Verdict::AgentDisconnected, "it is not connected".to_owned())
            })
        }
    };
    if let Some(drain) = &record.drain
        && record.state != AgentState::Gone
    {
        let reason = if drain.reason.is_empty() { String::new() } else { format!(" ({})", drain.reason) };
        told.verdict.push_str(&format!("; {} said that it gets no new work{reason}", drain.by));
    }
    if tasks > 0 && told.code != Verdict::AgentGone.code() {
        let run = if tasks == 1 { "1 task is on it".to_owned() } else { format!("{tasks} tasks are on it") };
        told.notes.push(run);
    }
    told.notes.extend(why::not_known_yet(d));
    told
}

// --- tasks ---

fn of_task(d: &Desk<'_>, task: &TaskRef) -> Result<Vec<Explanation>, Refusal> {
    let mut all = Vec::new();
    let of_framework = |id: &FrameworkId| task.framework.is_empty() || names(d, id, &task.framework);
    for framework in d.registry.frameworks().filter(|f| of_framework(&f.record.id)) {
        let id = &framework.record.id;
        if let Some(record) = d.registry.task(&(id.clone(), task.task.clone())) {
            all.push(alive(d, record));
        }
        let ended = framework.ended().rev().find(|record| record.info.id == task.task);
        all.extend(ended.map(|record| over(d, record, &record.status)));
    }
    if all.is_empty() {
        let message = format!("there is no task {}", task.task);
        return Err(Refusal::new(Code::NotFound, message).with_help(
            "`stoa get tasks --all` lists them, of ended ones the last 1000 of a framework; what waits for an agent is no \
             task yet: `stoa explain --summary` has it",
        ));
    }
    Ok(all)
}

fn hostname(d: &Desk<'_>, record: &TaskRecord) -> String {
    d.registry.agent(&record.agent).map(|agent| agent.info.hostname.clone()).unwrap_or_default()
}

fn alive(d: &Desk<'_>, record: &TaskRecord) -> Explanation {
    let hostname = hostname(d, record);
    let latest = record.status.run.and_then(|run| d.l.tasks.latest(run)).unwrap_or(&record.status);
    if latest.state.is_terminal() {
        let mut told = over(d, record, latest);
        told.notes.push("its end is on its way into the log".to_owned());
        return told;
    }
    let agent = d.registry.agent(&record.agent);
    let linked = d.l.agents.link_of(&record.agent).is_some();
    let unreachable = agent.is_some_and(|agent| agent.state == AgentState::Unreachable);
    let age = d.at_ms().saturating_sub(record.accepted_ms) / 1000;
    let (verdict, words) = if unreachable {
        (Verdict::AgentUnreachable, format!("its agent {hostname} is out of sight; it may still run"))
    } else if !linked {
        let words = format!("its agent {hostname} is not connected; it is told when it is back");
        (Verdict::AgentDisconnected, words)
    } else if record.kill_grace.is_some() {
        let grace = record.kill_grace.unwrap_or_default().as_secs();
        (Verdict::Killing, format!("agent {hostname} was asked to end it, within {grace} s of grace"))
    } else if latest.state == TaskState::Staging {
        let words =
            format!("accepted {age} s ago; agent {hostname} was told and has not said that it started");
        (Verdict::Staging, words)
    } else {
        (Verdict::Running, format!("it is {} on {hostname}", latest.state.as_str()))
    };
    let mut told = said(format!("task {}", record.info.id), verdict, words);
    if agent.is_some_and(|agent| agent.drain.is_some()) {
        told.notes.push(format!("its agent {hostname} drains"));
    }
    told
}

fn over(d: &Desk<'_>, record: &TaskRecord, status: &TaskStatus) -> Explanation {
    let mut words = format!("it ended as {} on {}", status.state.as_str(), hostname(d, record));
    let how = match status.exit {
        Some(Exit::Code(code)) => format!("exit code {code}"),
        Some(Exit::Signal(signal)) => format!("signal {signal}"),
        None => String::new(),
    };
    let reason = status.reason.code().to_owned();
    for part in [how, reason, status.message.clone()].into_iter().filter(|part| !part.is_empty()) {
        words.push_str(if words.contains(": ") { ", " } else { ": " });
        words.push_str(&part);
    }
    said(format!("task {}", record.info.id), Verdict::Ended, words)
}
