//! Which framework speaks on which session, and what it was told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::caller::Caller;
use proto::demand::Demand;
use proto::id::{FrameworkId, OperationId};
use proto::role::Role;
use proto::scheduler::{Event, EventKind, Resume, Subscribe};
use proto_machine::Instant;
use proto_machine::mutants::{self, Mutant};

use crate::config::{REFUSE_AFTER_EXPIRY, REFUSE_DOUBLINGS, RESUME_EVENTS};
use crate::input::SessionId;

/// The leader's picture of one framework.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub session: Option<SessionId>,
    /// The last sequence told.
    sequence: u64,
    /// What was told lately, for a resume.
    told: VecDeque<Event>,
    pub suppressed: BTreeSet<Role>,
    pub demands: Vec<Demand>,
    pub demand_driven: bool,
    /// Why what it said last of its demands was refused; what it said before counts.
    pub refused_demands: Option<String>,
    /// How often in a row it let its offers run out, and since when the last time counts.
    ignored: Option<(u32, Instant)>,
    /// Operations proposed and not yet committed: a repetition waits for the same answer.
    pub in_flight: BTreeSet<OperationId>,
    /// The latest of its instances that asked for a session: the log may not know it yet.
    pub fence: u64,
    /// It was torn down; it stays here until its last task has ended.
    pub removed: bool,
}

/// Frameworks by id, and the other way round by session.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_id: BTreeMap<FrameworkId, Standing>,
    by_session: BTreeMap<SessionId, FrameworkId>,
    /// Sessions whose Subscribe waits for the log, and as which framework.
    pub subscribing: BTreeMap<SessionId, FrameworkId>,
    /// Sessions whose Subscribe waits until what it is answered by is sure to be so as of now.
    pub held: BTreeMap<SessionId, Held>,
}

/// A Subscribe that waits.
#[derive(Debug)]
pub(crate) struct Held {
    pub caller: Caller,
    pub call: Subscribe,
    /// A majority has confirmed since it came how far the log is.
    pub confirmed: bool,
}

impl Standing {
    /// An offer that was held for so long ran out: for how long the framework is not to get it again. Each hold counts
    /// once, however many offers ran out with it. Without this, frameworks that never answer can keep the pieces of an
    /// agent apart for ever: when one is free, another is held.
    pub fn let_expire(&mut self, now: Instant, held: Duration) -> Duration {
        let (times, since) = match self.ignored {
            None => (0, now),
            Some((times, since)) if now.since(since) >= held => (times.saturating_add(1), now),
            Some(before) => before,
        };
        self.ignored = Some((times, since));
        held.max(REFUSE_AFTER_EXPIRY).saturating_mul(1 << times.min(REFUSE_DOUBLINGS))
    }

    /// It has answered an offer.
    pub fn answers(&mut self) {
        self.ignored = None;
    }

    /// Puts an event into the stream and hands it out numbered.
    pub fn tell(&mut self, kind: EventKind) -> Event {
        self.sequence += 1;
        let event = Event { sequence: self.sequence, kind };
        self.told.push_back(event.clone());
        while self.told.len() > RESUME_EVENTS {
            self.told.pop_front();
        }
        event
    }

    /// What follows the resume point, if all of it is still here.
    pub fn since(&self, resume: Resume) -> Option<Vec<Event>> {
        if resume.sequence > self.sequence {
            return None;
        }
        let missing = usize::try_from(self.sequence - resume.sequence).ok()?;
        let start = self.told.len().checked_sub(missing)?;
        Some(self.told.iter().skip(start).cloned().collect())
    }
}

impl Table {
    /// One framework's standing, made if it is new.
    pub fn standing(&mut self, id: &FrameworkId) -> &mut Standing {
        self.by_id.entry(id.clone()).or_default()
    }

    /// One framework's standing.
    pub fn get(&self, id: &FrameworkId) -> Option<&Standing> {
        self.by_id.get(id)
    }

    /// One framework's standing.
    pub fn get_mut(&mut self, id: &FrameworkId) -> Option<&mut Standing> {
        self.by_id.get_mut(id)
    }

    /// Binds a framework to a session; returns the session it replaces.
    pub fn connect(&mut self, id: &FrameworkId, session: SessionId) -> Option<SessionId> {
        let old = self.standing(id).session.replace(session).filter(|old| *old != session);
        let forgets = mutants::is(Mutant::ForgetFence) || mutants::is(Mutant::SlowFence);
        if let Some(old) = old.filter(|_| !forgets) {
            self.by_session.remove(&old);
        }
        self.by_session.insert(session, id.clone());
        old
    }

    /// Forgets a session; returns the framework that spoke on it.
    pub fn disconnect(&mut self, session: SessionId) -> Option<FrameworkId> {
        self.subscribing.remove(&session);
        self.held.remove(&session);
        let id = self.by_session.remove(&session)?;
        let standing = self.by_id.get_mut(&id);
        if standing.as_ref().is_some_and(|standing| standing.session != Some(session)) {
            // It is not the one that stands.
            return None;
        }
        if let Some(standing) = standing {
            standing.session = None;
        }
        Some(id)
    }

    /// Forgets a framework.
    pub fn remove(&mut self, id: &FrameworkId) -> Option<Standing> {
        let standing = self.by_id.remove(id)?;
        if let Some(session) = standing.session {
            self.by_session.remove(&session);
        }
        Some(standing)
    }

    /// The framework on a session.
    pub fn on(&self, session: SessionId) -> Option<&FrameworkId> {
        self.by_session.get(&session)
    }

    /// All sessions with their frameworks.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &FrameworkId)> {
        self.by_session.iter().map(|(session, id)| (*session, id))
    }

    /// The sessions to which it was not said yet whether they stand, and that are not in the log's hands.
    pub fn waiting(&self) -> impl Iterator<Item = SessionId> {
        self.held.keys().copied()
    }
}
