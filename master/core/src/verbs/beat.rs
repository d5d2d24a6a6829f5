//! Everybody is told that the leader is there.

use proto::agent_link::ToAgentKind;
use proto::scheduler::EventKind;

use crate::config::HEARTBEAT_INTERVAL;
use crate::desk::Desk;
use crate::leading::Deadline;

pub(crate) fn beat(d: &mut Desk<'_>) {
    let links: Vec<_> = d.l.agents.links().collect();
    for link in links {
        d.tell_link(link, ToAgentKind::Heartbeat);
    }
    let sessions: Vec<_> = d.l.frameworks.sessions().map(|(session, _)| session).collect();
    for session in sessions {
        d.tell_session(session, EventKind::Heartbeat);
    }
    d.after(Deadline::Heartbeat, HEARTBEAT_INTERVAL);
}
