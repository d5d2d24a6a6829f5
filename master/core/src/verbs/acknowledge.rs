//! A framework has taken an update in: the agent may forget it, once the log knows what it said.

use proto::agent_link::{Acknowledge as AcknowledgeRun, ToAgentKind};
use proto::id::{AgentId, FrameworkId, RunId};
use proto::refusal::{Code, Refusal};
use proto::scheduler::Acknowledge;

use crate::desk::Desk;

pub(crate) fn acknowledge(d: &mut Desk<'_>, id: &FrameworkId, call: Acknowledge) {
    let Acknowledge { task, run, sequence } = call;
    // Only what was told to this framework can be acknowledged by it: others' runs are not in its list.
    let Some(agent) = d.l.tasks.acknowledge(id, run, sequence) else {
        if d.registry.task_of_run(run).is_some_and(|record| record.framework != *id) {
            let refusal = Refusal::new(Code::Denied, format!("run {run} is of another framework"));
            d.audit_refused(Some(id), &refusal, 1);
        }
        return;
    };
    let _ = task;
    if d.l.tasks.is_ending(run) {
        // A crash now must find the end at the agent or in the log.
        d.l.tasks.park(run, agent, sequence);
    } else {
        pass_on(d, &agent, run, sequence);
    }
}

/// Tells the agent. If it is not connected it will send the update again and be acknowledged then.
pub(crate) fn pass_on(d: &mut Desk<'_>, agent: &AgentId, run: RunId, sequence: u64) {
    d.tell_agent(agent, ToAgentKind::Acknowledge(AcknowledgeRun { run, sequence }));
}
