//! Why a framework or a demand waits: the allocator's answer in names, with the agents that only the registry remembers.

use proto::agent::AgentState;
use proto::explain::{Explanation, FunnelStep, Verdict};
use proto::id::{DemandId, FrameworkId};

use crate::desk::Desk;

/// What stands in the way of a framework: of one demand, or of all it declares. Empty when there is no such demand.
pub(crate) fn framework(d: &Desk<'_>, id: &FrameworkId, only: Option<&DemandId>) -> Vec<Explanation> {
    let mut told = d.l.allocator.explain(id, only, &|id| name(d, id), d.now.monotonic);
    if told.is_empty() {
        told.extend(unknown(d, id, only));
    }
    // An agent out of sight is not in the pool, and people ask why it gives nothing.
    let strange = d
        .registry
        .agents()
        .filter(|agent| agent.state != AgentState::Gone && d.l.agents.pooled(&agent.info.id).is_none());
    let strange: Vec<&str> = strange.map(|agent| agent.info.hostname.as_str()).collect();
    for explanation in &mut told {
        if let [all, active, ..] = &mut explanation.funnel[..] {
            all.left += strange.len() as u64;
            let room = FunnelStep::NAMES_MAX.saturating_sub(active.fell_out.len());
            active.fell_out.extend(strange.iter().take(room).map(|name| (*name).to_owned()));
        }
        if explanation.code == Verdict::Disconnected.code() {
            explanation.verdict.push_str("; its tasks run on until its failover timeout");
        }
    }
    told
}

/// What the allocator has nothing to say about: a leader learns demands from the framework, and none when it is away.
fn unknown(d: &Desk<'_>, id: &FrameworkId, only: Option<&DemandId>) -> Option<Explanation> {
    let connected = d.l.frameworks.get(id).is_some_and(|standing| standing.session.is_some());
    let (verdict, words) = match (connected, only) {
        (true, Some(_)) => return None,
        (true, None) => (Verdict::WantsNothing, "it takes offers in no role"),
        (false, _) => (Verdict::Disconnected, "the framework is not connected"),
    };
    let name = name(d, id);
    let subject = match only {
        Some(demand) => format!("demand {demand} of {name}"),
        None => format!("framework {name}"),
    };
    Some(Explanation {
        subject,
        code: verdict.code().to_owned(),
        verdict: words.to_owned(),
        funnel: Vec::new(),
        nearest: Vec::new(),
        help: Vec::new(),
    })
}

/// A framework's name; with its id where several have that name.
fn name(d: &Desk<'_>, id: &FrameworkId) -> String {
    let Some(framework) = d.registry.framework(id) else { return id.to_string() };
    let name = &framework.record.info.name;
    let alike = d.registry.frameworks().filter(|other| other.record.info.name == *name).count();
    if alike > 1 { format!("{name} ({id})") } else { name.clone() }
}
