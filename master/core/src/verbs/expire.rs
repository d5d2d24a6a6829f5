//! A deadline has passed.

use std::time::Duration;

use proto::log::Entry;
use proto::scheduler::RescindReason;

use crate::batch::Pending;
use crate::desk::Desk;
use crate::leading::Deadline;
use crate::output::Output;

pub(crate) fn expire(d: &mut Desk<'_>, deadline: Deadline) {
    match deadline {
        Deadline::Offer(id) => d.rescind(id, RescindReason::Expired),
        Deadline::Agent(id) => super::lose_agent::lose(d, id),
        Deadline::Link(link) => {
            d.out.push(Output::CloseAgent { link });
            super::lose_agent::unlink(d, link);
        }
        Deadline::Session(session) => {
            d.out.push(Output::CloseFramework { session });
            super::subscribe::close(d, session);
        }
        Deadline::Framework(id) => {
            let Some(framework) = d.registry.framework(&id) else { return };
            let deadline_ms = framework.record.deadline_ms;
            if d.l.frameworks.get(&id).is_some_and(|standing| standing.session.is_some()) {
                return;
            }
            if deadline_ms == 0 {
                // The old leader's framework has not come to the new one: its timer starts now.
                return start_timer(d, &id);
            }
            if deadline_ms > d.at_ms() {
                let wait = Duration::from_millis(deadline_ms - d.at_ms());
                return d.after(Deadline::Framework(id), wait);
            }
            d.batch.propose(Entry::FrameworkRemoved(id), Pending::Nothing);
        }
        Deadline::Lazy => {}
        Deadline::Heartbeat => super::beat::beat(d),
    }
}

fn start_timer(d: &mut Desk<'_>, id: &proto::id::FrameworkId) {
    let Some(framework) = d.registry.framework(id) else { return };
    let timeout = framework.record.info.failover_timeout;
    let wait_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let entry = Entry::FrameworkDisconnected(proto::log::FrameworkDisconnected {
        framework: id.clone(),
        deadline_ms: d.at_ms().saturating_add(wait_ms).max(1),
    });
    d.batch.propose(entry, Pending::Nothing);
    d.after(Deadline::Framework(id.clone()), timeout);
}
