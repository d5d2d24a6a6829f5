//! Why a framework or a demand waits: the allocator's answer in names, with the agents and tasks that only the registry
//! remembers, and with what a leader has not learned yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use master_allocator::{Absent, Away, Outside, TaskUse};
use proto::agent::AgentState;
use proto::caller::Caller;
use proto::demand::Demand;
use proto::explain::{Explanation, Verdict, Waiting};
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::operator::Supposed;
use proto::refusal::{Code, Refusal};

use super::{drain, rights};
use crate::desk::Desk;
use crate::validate;

/// For so long a leader says of whom it waits to hear: then whoever is not back is told of as away.
const YOUNG: Duration = Duration::from_secs(60);

/// For so long a leader says that it counts times from its own beginning.
const NEW: Duration = Duration::from_secs(3600);

/// Has the allocator asked with everything that only the master knows.
pub(crate) fn asked<T>(d: &Desk<'_>, answer: impl FnOnce(&Outside<'_>) -> T) -> T {
    let names = names(d);
    let absent = absent(d);
    let outside = Outside {
        name: &|id| names.get(id).cloned().unwrap_or_else(|| id.to_string()),
        away: &|id| Away { linked: d.l.agents.link_of(id).is_some(), drains: drain::is_draining(d, id) },
        tasks: &|id| uses(d, id),
        absent: &absent,
    };
    answer(&outside)
}

/// What frameworks are called; with their ids where several have the same name.
fn names<'d>(d: &Desk<'d>) -> BTreeMap<&'d FrameworkId, String> {
    let registry = d.registry;
    let mut alike: BTreeMap<&str, u32> = BTreeMap::new();
    registry.frameworks().for_each(|f| *alike.entry(f.record.info.name.as_str()).or_default() += 1);
    let called = |id: &FrameworkId, name: &str| match alike.get(name) {
        Some(1) => name.to_owned(),
        _ => format!("{name} ({id})"),
    };
    let all = registry.frameworks().map(|f| &f.record).chain(registry.removed_frameworks());
    all.map(|record| (&record.id, called(&record.id, &record.info.name))).collect()
}

/// Agents that are known and not in the pool: out of sight, or not heard of since this leader began.
fn absent(d: &Desk<'_>) -> Vec<Absent> {
    let registry = d.registry;
    let strange = registry
        .agents()
        .filter(|agent| agent.state != AgentState::Gone && d.l.agents.pooled(&agent.info.id).is_none());
    strange
        .map(|record| Absent {
            info: Arc::new(record.info.clone()),
            total: record.total.clone(),
            used: uses(d, &record.info.id),
            drains: record.drain.is_some(),
        })
        .collect()
}

fn uses(d: &Desk<'_>, agent: &AgentId) -> Vec<TaskUse> {
    let all = d.registry.tasks_on(agent).map(|record| TaskUse {
        framework: record.framework.clone(),
        task: record.info.id.clone(),
        role: record.role.clone(),
        resources: record.info.resources.clone(),
    });
    all.collect()
}

/// What stands in the way of a framework: of one demand, or of all it declares. Empty when there is no such demand.
pub(crate) fn framework(d: &Desk<'_>, id: &FrameworkId, only: Option<&DemandId>) -> Vec<Explanation> {
    let mut told = asked(d, |outside| d.l.allocator.explain(id, only, outside, d.now.monotonic));
    if told.is_empty() {
        told.extend(unknown(d, id, only));
    }
    let gone = d.registry.agents().filter(|agent| agent.state == AgentState::Gone).count();
    let refused = d.l.frameworks.get(id).and_then(|standing| standing.refused_demands.as_ref());
    let not_granted = not_granted(d, id);
    let not_known = not_known_yet(d);
    for explanation in &mut told {
        if explanation.code == Verdict::Disconnected.code() {
            match &not_granted {
                Some(refusal) => {
                    explanation.code = Verdict::NotGranted.code().to_owned();
                    explanation.verdict = format!("it was cut off: {}", refusal.message);
                    // To connect would not help: it would be refused.
                    (explanation.help, explanation.tried) = (Vec::new(), Vec::new());
                    explanation.notes.push(refusal.help.clone());
                }
                None => explanation.verdict.push_str("; its tasks run on until its failover timeout"),
            }
        }
        if explanation.code == Verdict::NoAgents.code() && gone > 0 {
            let were = if gone == 1 { "was" } else { "were" };
            explanation.verdict.push_str(&format!("; {gone} {were} declared gone"));
        }
        if let Some(why) = refused {
            explanation.notes.push(format!(
                "what the framework said last of its demands was refused ({why}): what it said before counts"
            ));
        }
        explanation.notes.extend(not_known.clone());
    }
    told
}

/// What would come of demands that one of these frameworks, which have the name that was said, has not declared.
pub(crate) fn supposed(
    d: &Desk<'_>,
    asked_for: &Supposed,
    named: Vec<FrameworkId>,
) -> Result<Vec<Explanation>, Refusal> {
    let standing = |id: &FrameworkId| d.l.frameworks.get(id);
    let is_here = |id: &&FrameworkId| standing(id).is_some_and(|standing| standing.session.is_some());
    let here: Vec<&FrameworkId> = named.iter().filter(is_here).collect();
    let id = match (here.as_slice(), named.as_slice()) {
        ([one], _) => *one,
        ([], [one]) => one,
        _ => {
            let name = &asked_for.framework;
            let message = format!("{name} may be any of {} frameworks; name it by its id", named.len());
            return Err(Refusal::new(Code::Invalid, message));
        }
    };
    let demands = &asked_for.demands;
    if demands.is_empty() || demands.len() > Supposed::DEMANDS_MAX {
        let (n, most) = (demands.len(), Supposed::DEMANDS_MAX);
        return Err(Refusal::new(
            Code::Invalid,
            format!("demands has {n} entries; suppose 1 to {most} at once"),
        ));
    }
    let Some(record) = d.registry.framework(id).map(|framework| &framework.record) else {
        return Err(Refusal::new(Code::NotFound, format!("there is no framework {id}")));
    };
    // As if it took offers in their roles.
    let mut info = record.info.clone();
    info.roles.extend(demands.iter().map(|demand| demand.role.clone()));
    validate::demands(demands, &info)?;
    let declared = standing(id).map(|standing| standing.demands.as_slice()).unwrap_or_default();
    if let Some(used) = demands.iter().find(|demand| declared.iter().any(|own| own.id == demand.id)) {
        let message = format!("demands[{0}].id is declared already; suppose it under another", used.id);
        return Err(Refusal::new(Code::Invalid, message));
    }
    let principal = record.principal.parse::<Caller>().ok();
    let refusal = |demand: &Demand| {
        let roles = std::slice::from_ref(&demand.role);
        principal.as_ref().and_then(|principal| rights::takes(d.registry, principal, roles).err())
    };
    let (granted, mut told): (Vec<&Demand>, Vec<Option<Explanation>>) = (
        demands.iter().filter(|demand| refusal(demand).is_none()).collect(),
        demands.iter().map(|demand| refusal(demand).map(|why| may_not(d, id, demand, &why))).collect(),
    );
    let granted: Vec<Demand> = granted.into_iter().cloned().collect();
    let mut answers =
        asked(d, |outside| d.l.allocator.explain_supposed(id, &granted, outside, d.now.monotonic));
    let known = !answers.is_empty();
    let mut answers = answers.drain(..);
    for (slot, demand) in told.iter_mut().zip(demands).filter(|(slot, _)| slot.is_none()) {
        *slot = if known { answers.next() } else { unknown(d, id, Some(&demand.id)) };
    }
    let not_known = not_known_yet(d);
    let told = told.into_iter().flatten().map(|mut explanation| {
        explanation.notes.extend(not_known.clone());
        explanation
    });
    Ok(told.collect())
}

/// A demand in a role in which its framework may have nothing.
fn may_not(d: &Desk<'_>, id: &FrameworkId, demand: &Demand, why: &Refusal) -> Explanation {
    let name = names(d).remove(id).unwrap_or_else(|| id.to_string());
    Explanation {
        subject: format!("demand {} of {name}", demand.id),
        code: Verdict::NotGranted.code().to_owned(),
        verdict: why.message.clone(),
        notes: vec![why.help.clone()],
        ..Explanation::default()
    }
}

/// Why a framework may not come back with the roles that it has.
fn not_granted(d: &Desk<'_>, id: &FrameworkId) -> Option<Refusal> {
    let record = &d.registry.framework(id)?.record;
    let principal: Caller = record.principal.parse().ok()?;
    rights::takes(d.registry, &principal, &record.info.roles).err()
}

/// What the allocator has nothing to say about: a leader learns demands from the framework, and none when it is away.
fn unknown(d: &Desk<'_>, id: &FrameworkId, only: Option<&DemandId>) -> Option<Explanation> {
    let connected = d.l.frameworks.get(id).is_some_and(|standing| standing.session.is_some());
    let (verdict, words) = match (connected, only) {
        (true, Some(_)) => return None,
        (true, None) => (Verdict::WantsNothing, "it takes offers in no role"),
        (false, _) => (Verdict::Disconnected, "the framework is not connected"),
    };
    let name = names(d).remove(id).unwrap_or_else(|| id.to_string());
    let subject = match only {
        Some(demand) => format!("demand {demand} of {name}"),
        None => format!("framework {name}"),
    };
    Some(Explanation {
        subject,
        code: verdict.code().to_owned(),
        verdict: words.to_owned(),
        ..Explanation::default()
    })
}

/// All that waits.
pub(crate) fn waiting(d: &Desk<'_>) -> Waiting {
    let mut all = asked(d, |outside| d.l.allocator.waiting(outside, d.now.monotonic));
    let leads_for = d.now.monotonic.since(d.l.since);
    if leads_for < NEW && all.demands > 0 {
        let seconds = leads_for.as_secs();
        all.notes.push(format!("times are counted since this master leads, which is {seconds} s"));
    }
    all.notes.extend(not_known_yet(d));
    all
}

/// Of whom a new leader has not heard yet: what they have and want is in no answer.
pub(crate) fn not_known_yet(d: &Desk<'_>) -> Option<String> {
    let leads_for = d.now.monotonic.since(d.l.since);
    if leads_for > YOUNG {
        return None;
    }
    let agents =
        d.registry.agents().filter(|a| a.state == AgentState::Active && !d.l.agents.was_linked(&a.info.id));
    let session = |id: &FrameworkId| d.l.frameworks.get(id).is_some_and(|s| s.session.is_some());
    // One that went away before has a deadline; one that was there is expected back.
    let frameworks = d.registry.frameworks().filter(|f| f.record.deadline_ms == 0 && !session(&f.record.id));
    let (agents, frameworks) = (agents.count(), frameworks.count());
    (agents + frameworks > 0).then(|| {
        format!(
            "this master leads since {} s and has not heard from {agents} agents and {frameworks} frameworks that were \
             there before: what they have and want is not in this answer",
            leads_for.as_secs()
        )
    })
}
