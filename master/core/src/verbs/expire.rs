//! A deadline has passed.

use proto::log::Entry;
use proto::scheduler::RescindReason;

use crate::batch::Pending;
use crate::config::FRAMEWORK_RETURN;
use crate::desk::Desk;
use crate::leading::Deadline;
use crate::output::Output;

pub(crate) fn expire(d: &mut Desk<'_>, deadline: Deadline) {
    match deadline {
        Deadline::Offer(id) => d.rescind(id, RescindReason::Expired),
        Deadline::Agent(id) => super::lose_agent::lose(d, id),
        Deadline::Drain(id) => super::drain::due(d, &id),
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
            if d.registry.awaits_agents() {
                // It may be waiting, as all do until the agents have come.
                return d.after(Deadline::Framework(id), FRAMEWORK_RETURN);
            }
            let deadline_ms = framework.record.deadline_ms;
            let table = &d.l.frameworks;
            if table.get(&id).is_some_and(|standing| standing.session.is_some())
                || table.subscribing.values().any(|subscribing| *subscribing == id)
            {
                // It is back, or about to be. If its session ends before the log knows, the timer starts again.
                return;
            }
            if deadline_ms == 0 {
                // The old leader's framework has not come to the new one: its timer starts now.
                return super::subscribe::start_timer(d, &id);
            }
            if deadline_ms > d.at_ms() {
                return d.at(Deadline::Framework(id), deadline_ms);
            }
            d.batch.propose(Entry::FrameworkRemoved(id), Pending::Nothing);
        }
        Deadline::Lazy => {}
        Deadline::Heartbeat => super::beat::beat(d),
    }
}
