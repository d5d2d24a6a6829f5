//! Why does it wait? The allocator answers for demands, the registry for tasks. Nobody guesses.

use proto::agent::AgentState;
use proto::explain::Explanation;
use proto::id::FrameworkId;
use proto::operator::Explain;
use proto::refusal::{Code, Refusal};
use proto::task::TaskState;

use super::operate::names;
use crate::desk::Desk;

pub(crate) fn explain(d: &Desk<'_>, what: &Explain) -> Result<Vec<Explanation>, Refusal> {
    match what {
        Explain::Framework(name) => {
            let mut all = Vec::new();
            for id in frameworks(d, name)? {
                all.extend(super::why::framework(d, &id, None));
            }
            Ok(all)
        }
        Explain::Demand(demand) => {
            let mut all = Vec::new();
            for id in frameworks(d, &demand.framework)? {
                all.extend(super::why::framework(d, &id, Some(&demand.demand)));
            }
            if all.is_empty() {
                let message = format!("framework {} declares no demand {}", demand.framework, demand.demand);
                return Err(Refusal::new(Code::NotFound, message));
            }
            Ok(all)
        }
        Explain::Task(task) => {
            let mut all = Vec::new();
            let of_framework = |id: &FrameworkId| task.framework.is_empty() || names(d, id, &task.framework);
            for framework in d.registry.frameworks().filter(|f| of_framework(&f.record.id)) {
                let id = &framework.record.id;
                if let Some(record) = d.registry.task(&(id.clone(), task.task.clone())) {
                    all.push(running(d, record));
                }
                let ended = framework.ended().rev().find(|record| record.info.id == task.task);
                all.extend(ended.map(|record| over(d, record)));
            }
            if all.is_empty() {
                return Err(Refusal::new(Code::NotFound, format!("there is no task {}", task.task)));
            }
            Ok(all)
        }
    }
}

fn frameworks(d: &Desk<'_>, name: &str) -> Result<Vec<FrameworkId>, Refusal> {
    let found: Vec<FrameworkId> =
        d.registry.frameworks().map(|f| f.record.id.clone()).filter(|id| names(d, id, name)).collect();
    if found.is_empty() {
        return Err(Refusal::new(Code::NotFound, format!("there is no framework {name}")));
    }
    Ok(found)
}

fn running(d: &Desk<'_>, record: &proto::log::TaskRecord) -> Explanation {
    let agent = d.registry.agent(&record.agent);
    let hostname = agent.map(|agent| agent.info.hostname.clone()).unwrap_or_default();
    let linked = d.l.agents.link_of(&record.agent).is_some();
    let state =
        record.status.run.and_then(|run| d.l.tasks.latest(run)).map_or(record.status.state, |s| s.state);
    let unreachable = agent.is_some_and(|agent| agent.state == AgentState::Unreachable);
    let (code, verdict) = if unreachable {
        ("agent-unreachable", format!("its agent {hostname} is out of sight; it may still run"))
    } else if !linked {
        ("agent-disconnected", format!("its agent {hostname} is not connected; it is told when it is back"))
    } else if state == TaskState::Staging {
        ("staging", format!("accepted; agent {hostname} was told and has not said that it started"))
    } else if record.kill_grace.is_some() {
        ("killing", format!("agent {hostname} was asked to end it"))
    } else {
        ("running", format!("it is {} on {hostname}", state.as_str()))
    };
    Explanation {
        subject: format!("task {}", record.info.id),
        code: code.to_owned(),
        verdict,
        funnel: Vec::new(),
        nearest: Vec::new(),
        help: Vec::new(),
    }
}

fn over(d: &Desk<'_>, record: &proto::log::TaskRecord) -> Explanation {
    let agent = d.registry.agent(&record.agent);
    let hostname = agent.map(|agent| agent.info.hostname.clone()).unwrap_or_default();
    let status = &record.status;
    let gap = if status.message.is_empty() { "" } else { ": " };
    Explanation {
        subject: format!("task {}", record.info.id),
        code: status.state.as_str().to_owned(),
        verdict: format!("it ended as {} on {hostname}{gap}{}", status.state.as_str(), status.message),
        funnel: Vec::new(),
        nearest: Vec::new(),
        help: Vec::new(),
    }
}
