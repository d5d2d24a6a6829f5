//! What a master writes to its log: one line for each fact that an operator would act on, the hot path at `debug`.
//!
//! Ids go by the names they have in the protocol, in every process: agent_id, framework_id, offer_id, task_id,
//! operation_id, run_id.

use master_core::Note;
use proto::agent::AgentState;
use proto::agent_link::{ToAgent, ToAgentKind};
use proto::operator::EventKind;
use proto::task::{Exit, TaskState};
use tracing::{debug, error, info, warn};

use crate::read_model::Passed;

/// Something that an operator would act on.
pub(crate) fn note(note: &Note) {
    match note {
        Note::Refused { caller, code, message } => warn!(caller, code = code.as_str(), message, "refused"),
        Note::Accepted { framework, operation, index, tasks } => {
            info!(framework_id = %framework, operation_id = %operation, index, tasks, "accept committed");
        }
        Note::Agent { agent, state } => match state {
            AgentState::Active | AgentState::Disconnected => {
                info!(agent_id = %agent, state = state.as_str(), "agent");
            }
            AgentState::Unreachable | AgentState::Gone => {
                warn!(agent_id = %agent, state = state.as_str(), "agent lost");
            }
        },
        Note::Framework { framework, what } => info!(framework_id = %framework, what, "framework"),
        Note::Peer { from, why } => warn!(peer = from, why, "a peer's message was refused"),
        Note::Books { what } => error!(what, "the allocator refused a fact"),
        Note::Unreadable { index, why } => error!(index, why, "a committed entry cannot be read"),
    }
}

/// Whether a change is worth a line above `debug`: whoever writes it lets go of the read model first.
pub(crate) fn is_news(passed: &Passed) -> bool {
    matches!(&passed.event.kind, EventKind::TaskChanged(task)
        if passed.ended && passed.leads && ended_badly(task.status.state))
}

/// A change was folded into the read model. An ordinary task leaves no line above `debug`.
pub(crate) fn passed(passed: &Passed) {
    match &passed.event.kind {
        EventKind::OfferMade(offer) => debug!(
            offer_id = %offer.id, framework_id = %offer.framework, agent_id = %offer.agent,
            role = %offer.role, "offer made"
        ),
        EventKind::OfferEnded(ended) => debug!(offer_id = %ended.offer, how = ?ended.how, "offer ended"),
        EventKind::TaskChanged(task) => {
            let status = &task.status;
            let run = status.run.map(|run| run.to_string()).unwrap_or_default();
            if is_news(passed) {
                let exit = status.exit.map(|exit| match exit {
                    Exit::Code(code) => format!("code {code}"),
                    Exit::Signal(signal) => format!("signal {signal}"),
                });
                info!(
                    framework_id = %task.framework, task_id = %task.info.id, agent_id = %task.agent, run_id = run,
                    state = status.state.as_str(), reason = ?status.reason, exit = exit.unwrap_or_default(),
                    message = status.message, "task ended badly"
                );
            } else {
                debug!(
                    framework_id = %task.framework, task_id = %task.info.id, agent_id = %task.agent, run_id = run,
                    state = status.state.as_str(), "task"
                );
            }
        }
        EventKind::Snapshot(_)
        | EventKind::AgentChanged(_)
        | EventKind::FrameworkChanged(_)
        | EventKind::FrameworkRemoved(_)
        | EventKind::RoleChanged(_) => {}
    }
}

/// An agent is told something.
pub(crate) fn told_agent(message: &ToAgent) {
    match &message.kind {
        ToAgentKind::Launch(launch) => {
            for run in &launch.runs {
                debug!(framework_id = %run.framework, task_id = %run.task.id, run_id = %run.run, "launch");
            }
        }
        ToAgentKind::Kill(kill) => debug!(run_id = %kill.run, "kill"),
        ToAgentKind::DestroyVolumes(destroy) => {
            for volume in &destroy.volumes {
                debug!(role = %volume.role, volume_id = %volume.id, birth = volume.birth, "destroy volume");
            }
        }
        ToAgentKind::Registered(_)
        | ToAgentKind::Acknowledge(_)
        | ToAgentKind::Shutdown(_)
        | ToAgentKind::Redirect(_)
        | ToAgentKind::Masters(_)
        | ToAgentKind::Heartbeat => {}
    }
}

/// A kill that was asked for and a task that was never started for a passing reason are no mishaps.
fn ended_badly(state: TaskState) -> bool {
    match state {
        TaskState::Failed
        | TaskState::Error
        | TaskState::Lost
        | TaskState::Gone
        | TaskState::GoneByOperator => true,
        TaskState::Finished
        | TaskState::Killed
        | TaskState::Dropped
        | TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Unreachable
        | TaskState::Unknown => false,
    }
}
