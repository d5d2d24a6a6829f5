//! `Desk`: what a verb works with, and the few things that every verb says.

use std::time::Duration;

use master_allocator::{Account, Change};
use master_registry::Registry;
use proto::agent_link::{ToAgent, ToAgentKind};
use proto::demand::Filter;
use proto::id::{AgentId, FrameworkId, OfferId, OperationId};
use proto::operator::{EventKind as Changed, OfferEnd, OfferEnded};
use proto::refusal::Refusal;
use proto::scheduler::{Answer, Event, EventKind, Outcome, Rescind, RescindReason};
use proto::task::TaskStatus;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

use crate::audited::Calling;
use crate::batch::Batch;
use crate::config::Config;
use crate::input::{LinkId, SessionId, Ticket};
use crate::leading::{Deadline, Leading};
use crate::output::{Note, Output};
use crate::tables::offers::OpenOffer;
use crate::views;

/// What a verb works with. It may read the registry and change it only by proposing.
pub(crate) struct Desk<'a> {
    pub config: &'a Config,
    pub registry: &'a Registry,
    pub l: &'a mut Leading,
    pub batch: &'a mut Batch,
    pub now: Now,
    pub out: &'a mut Outbox<Output>,
    /// What a framework has asked for, while that is being carried out.
    pub calling: Option<Calling<'a>>,
}

impl Desk<'_> {
    /// Carries out what a framework asked for earlier.
    pub fn for_call<T>(&mut self, calling: Calling<'_>, verb: impl FnOnce(&mut Desk<'_>) -> T) -> T {
        let Desk { config, registry, now, .. } = *self;
        let (l, batch, out) = (&mut *self.l, &mut *self.batch, &mut *self.out);
        verb(&mut Desk { config, registry, l, batch, now, out, calling: Some(calling) })
    }

    /// The time of day, in milliseconds since 1970.
    pub fn at_ms(&self) -> u64 {
        self.now.wall.as_millis()
    }

    /// Tells the allocator a fact; offers are made at the end of the turn.
    pub fn change(&mut self, change: Change) {
        self.l.allocate = true;
        // Facts are many and refusals a fault of ours: the fact itself is kept for the note in debug builds only.
        let said = cfg!(debug_assertions).then(|| change.clone());
        if !self.l.allocator.apply(self.now.monotonic, change) {
            self.out.push(Output::Note(Note::Books { what: format!("{said:?}") }));
        }
    }

    /// Tells a framework, now or when it resumes.
    pub fn tell(&mut self, framework: &FrameworkId, kind: EventKind) {
        let Some(standing) = self.l.frameworks.get_mut(framework) else { return };
        let event = standing.tell(kind);
        if let Some(session) = standing.session {
            self.out.push(Output::ToFramework { session, event });
        }
    }

    /// Tells a session outside of any framework's stream.
    pub fn tell_session(&mut self, session: SessionId, kind: EventKind) {
        self.out.push(Output::ToFramework { session, event: Event { sequence: 0, kind } });
    }

    /// Tells an agent; false when it is not connected.
    pub fn tell_agent(&mut self, agent: &AgentId, kind: ToAgentKind) -> bool {
        let Some(link) = self.l.agents.link_of(agent) else { return false };
        self.tell_link(link, kind);
        true
    }

    /// Tells whoever is on a link.
    pub fn tell_link(&mut self, link: LinkId, kind: ToAgentKind) {
        let message = ToAgent { epoch: self.l.epoch, kind };
        self.out.push(Output::ToAgent { link, message });
    }

    /// The one answer to a call.
    pub fn answer(&mut self, framework: &FrameworkId, operation: OperationId, outcome: Outcome) {
        if let Some(standing) = self.l.frameworks.get_mut(framework) {
            standing.in_flight.remove(&operation);
        }
        self.tell(framework, EventKind::Answer(Answer { operation, outcome }));
    }

    /// The answer to a call that needs no log.
    pub fn done(&mut self, framework: &FrameworkId, operation: Option<OperationId>) {
        if let Some(operation) = operation {
            self.answer(framework, operation, Outcome::Committed(0));
        }
    }

    /// The answer to a call that is not carried out.
    pub fn refuse(&mut self, framework: &FrameworkId, operation: Option<OperationId>, refusal: Refusal) {
        let note = Note::Refused {
            caller: framework.to_string(),
            code: refusal.code,
            message: refusal.message.clone(),
        };
        self.out.push(Output::Note(note));
        self.audit_refused(Some(framework), &refusal, 1);
        if let Some(operation) = operation {
            self.answer(framework, operation, Outcome::Refused(refusal));
        }
    }

    /// The answer to an operator.
    pub fn reply(&mut self, ticket: Ticket, kind: proto::operator::ReplyKind) {
        self.out.push(Output::Reply { ticket, kind });
    }

    /// Tells everybody who watches.
    pub fn changed(&mut self, kind: Changed) {
        self.out.push(Output::Changed(kind));
    }

    /// Tells a framework a status that the agent will repeat until it is acknowledged, or that needs none.
    pub fn update(&mut self, framework: &FrameworkId, status: TaskStatus) {
        if let Some(run) = status.run
            && status.sequence > 0
        {
            self.l.tasks.await_acknowledgement(framework, run, &status);
        }
        self.tell(framework, EventKind::Update(status));
    }

    /// Shows a task to everybody who watches, with its latest status.
    pub fn show_task(&mut self, key: &master_registry::TaskKey) {
        let Some(record) = self.registry.task(key) else { return };
        let latest = record.status.run.and_then(|run| self.l.tasks.latest(run));
        let view = views::task(self.registry, record, latest);
        self.changed(Changed::TaskChanged(view));
    }

    /// Shows an agent to everybody who watches.
    pub fn show_agent(&mut self, id: &AgentId) {
        let Some(record) = self.registry.agent(id) else { return };
        let view = views::agent(record, self.l.agents.link_of(id).is_some());
        self.out.push(Output::Note(Note::Agent { agent: id.clone(), state: view.state }));
        self.changed(Changed::AgentChanged(view));
    }

    /// Shows a framework to everybody who watches.
    pub fn show_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.registry.framework(id) else { return };
        let view = views::framework(framework, self.l.frameworks.get(id));
        self.changed(Changed::FrameworkChanged(view));
    }

    /// Ends an offer: it is out of the table, off the clock, and everybody who watches knows how.
    /// What becomes of its resources is the caller's to tell the allocator.
    pub fn end_offer(&mut self, id: OfferId, how: OfferEnd) -> Option<OpenOffer> {
        let offer = self.l.offers.take(id)?;
        self.l.deadlines.cancel(&Deadline::Offer(id));
        self.changed(Changed::OfferEnded(OfferEnded { offer: id, how }));
        match how {
            OfferEnd::Accepted | OfferEnd::Declined => {
                self.l.frameworks.standing(&offer.framework).answers();
            }
            OfferEnd::Rescinded | OfferEnd::Expired => {}
        }
        Some(offer)
    }

    /// Takes an offer back and frees what was in it.
    pub fn rescind(&mut self, id: OfferId, reason: RescindReason) {
        let how = match reason {
            RescindReason::Expired => OfferEnd::Expired,
            RescindReason::AgentLost
            | RescindReason::ResourcesChanged
            | RescindReason::DemandChanged
            | RescindReason::Operator => OfferEnd::Rescinded,
        };
        let Some(offer) = self.end_offer(id, how) else { return };
        if !mutants::is(Mutant::ForgetRescind) {
            self.tell(&offer.framework, EventKind::Rescind(Rescind { offer: id, reason }));
        }
        let held = self.config.offer_timeout;
        let refuse = (reason == RescindReason::Expired)
            .then(|| self.l.frameworks.standing(&offer.framework).let_expire(self.now.monotonic, held));
        self.recover(offer, refuse);
    }

    /// Frees what was offered; with a filter, the agent is not offered to the framework again for so long.
    pub fn recover(&mut self, offer: OpenOffer, refuse: Option<Duration>) {
        let OpenOffer { framework, agent, role, resources, demand, .. } = offer;
        let until = refuse.map(|refuse| self.now.monotonic + refuse.min(Filter::MAX));
        self.change(match until {
            Some(until) => Change::Declined { framework, role, agent, resources, demand, until },
            None => {
                let from = Account::Offered;
                Change::Recovered { framework, role, agent, resources, from, demand }
            }
        });
    }

    /// The time of day that comes in so long, for a deadline that outlives a leader. Never 0, which says that there is none.
    pub fn deadline_ms(&self, within: Duration) -> u64 {
        self.at_ms().saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)).max(1)
    }

    /// Sets a deadline at a time of day; with a clock that was set back it is only later.
    pub fn at(&mut self, deadline: Deadline, deadline_ms: u64) {
        self.after(deadline, Duration::from_millis(deadline_ms.saturating_sub(self.at_ms())));
    }

    /// Sets a deadline from now.
    pub fn after(&mut self, deadline: Deadline, wait: Duration) {
        self.l.deadlines.set(deadline, self.now.monotonic + wait);
    }
}
