//! The switchboard: each input to its verb. No decision is taken here.

use std::collections::BTreeMap;
use std::time::Duration;

use master_raft::{Bearing, Raft, Recovered, Role};
use master_registry::Registry;
use proto::agent_link::{ToAgent, ToAgentKind, ToMaster};
use proto::caller::Caller;
use proto::id::{AgentId, Epoch, MasterId};
use proto::refusal::{Code, Refusal};
use proto::scheduler::{Call, CallKind, Event, EventKind, Redirect};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Haste, Instant, Machine, Now, Outbox};

use crate::audited::Calling;
use crate::batch::Batch;
use crate::config::{BATCHES_IN_FLIGHT, Config, GATHER_WHEN_BUSY, OFFER_INTERVAL_WHEN_BUSY, SILENCE_LIMIT};
use crate::consensus::Question;
use crate::desk::Desk;
use crate::input::{Input, LinkId, SessionId};
use crate::leading::{Deadline, Leading};
use crate::output::{Note, Output};
use crate::verbs::{
    accept, acknowledge, expire, interest, kill, lose_agent, offer, reconcile, register, subscribe, teardown,
    update, volumes,
};

pub use master_raft::Unfit;

/// A master: consensus, the registry it keeps, and, while it leads, everything else.
pub struct Master {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) registry: Registry,
    pub(crate) applied: u64,
    /// The number of the last event that was told.
    pub(crate) told: u64,
    pub(crate) leading: Option<Leading>,
    pub(crate) leader: Option<MasterId>,
    pub(crate) term: u64,
    pub(crate) batch: Batch,
    /// What waits for consensus to say how far the log is committed, by the question; and how many ever did.
    pub(crate) questions: BTreeMap<u64, Question>,
    pub(crate) asked: u64,
    /// When each of the other masters was heard last.
    pub(crate) heard: BTreeMap<MasterId, Instant>,
    /// Where the group of the frameworks' state is.
    pub(crate) store: Option<Bearing>,
    /// The version of the list of masters of which this leader has said that it is reached, and until when it does not say so
    /// again.
    pub(crate) settled: (u64, Instant),
    /// A committed entry could not be read: nothing may be applied behind it.
    pub(crate) broken: bool,
}

impl Master {
    /// A master as it was when its disk was last written. The first `settle` brings its registry back.
    pub fn recover(config: Config, recovered: Recovered) -> Result<Master, Unfit> {
        let founders = config.members.keys().filter(|_| config.founds);
        let voters: Vec<_> = founders.map(|id| master_raft::NodeId(id.0)).collect();
        let id = master_raft::NodeId(config.id.0);
        let mut raft_config = master_raft::Config::new(id, &voters, config.seed);
        raft_config.snapshot_after_bytes = config.snapshot_after_bytes;
        let raft = Raft::recover(raft_config, recovered)?;
        Ok(Master {
            config,
            raft,
            registry: Registry::default(),
            applied: 0,
            told: 0,
            leading: None,
            leader: None,
            term: 0,
            batch: Batch::default(),
            questions: BTreeMap::new(),
            asked: 0,
            heard: BTreeMap::new(),
            store: None,
            settled: (0, Instant::default()),
            broken: false,
        })
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// How consensus stands, for operators and metrics.
    pub fn raft_status(&self) -> master_raft::Status {
        self.raft.status()
    }

    /// The part it plays in consensus.
    pub fn role(&self) -> Role {
        self.raft.role()
    }

    /// What the log remembers, as far as it is applied.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Up to where the log is applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn leader_address(&self) -> String {
        self.leader.and_then(|id| self.address_of(id)).unwrap_or_default()
    }

    /// Runs a verb, if this master leads.
    pub(crate) fn at_desk<T>(
        &mut self,
        now: Now,
        out: &mut Outbox<Output>,
        verb: impl FnOnce(&mut Desk<'_>) -> T,
    ) -> Option<T> {
        self.at_desk_for(now, None, out, verb)
    }

    /// The same for a call of a framework.
    fn at_desk_for<T>(
        &mut self,
        now: Now,
        calling: Option<Calling<'_>>,
        out: &mut Outbox<Output>,
        verb: impl FnOnce(&mut Desk<'_>) -> T,
    ) -> Option<T> {
        let (config, registry) = (&self.config, &self.registry);
        let l = self.leading.as_mut()?;
        let mut desk = Desk { config, registry, l, batch: &mut self.batch, now, out, calling };
        Some(verb(&mut desk))
    }

    // === frameworks ===

    fn framework(
        &mut self,
        now: Now,
        session: SessionId,
        caller: &Caller,
        call: Call,
        out: &mut Outbox<Output>,
    ) {
        if self.leading.is_none() {
            if let Some(roster) = self.registry.roster() {
                let kind = EventKind::Masters(roster.doors());
                out.push(Output::ToFramework { session, event: Event { sequence: 0, kind } });
            }
            let kind = EventKind::Redirect(Redirect { leader_address: self.leader_address() });
            out.push(Output::ToFramework { session, event: Event { sequence: 0, kind } });
            return out.push(Output::CloseFramework { session });
        }
        let Call { operation, kind } = call;
        let calling = Calling { session, caller, call: kind.word() };
        if let CallKind::Subscribe(inner) = kind {
            let subscribe = |d: &mut Desk<'_>| subscribe::subscribe(d, session, caller, inner);
            if self.at_desk_for(now, Some(calling), out, subscribe) == Some(true) {
                self.ask(now, Question::Subscribe(session));
            }
            return;
        }
        self.at_desk_for(now, Some(calling), out, |d| {
            let Some(id) = d.l.frameworks.on(session).cloned() else {
                if d.l.frameworks.subscribing.contains_key(&session)
                    || d.l.frameworks.held.contains_key(&session)
                {
                    let refusal = Refusal::new(Code::Conflict, "the session is not subscribed yet")
                        .with_help("wait for Subscribed before the next call");
                    return subscribe::fault(d, session, &caller.to_string(), refusal);
                }
                let refusal = Refusal::new(Code::Conflict, "the first call of a session must be Subscribe");
                return subscribe::fault(d, session, &caller.to_string(), refusal);
            };
            let stands = d.l.frameworks.get(&id).and_then(|standing| standing.session) == Some(session);
            if stands || !mutants::is(Mutant::SlowFence) {
                d.after(Deadline::Session(session), SILENCE_LIMIT);
            }
            match kind {
                CallKind::Subscribe(_) | CallKind::Heartbeat => {}
                CallKind::Accept(inner) => accept::accept(d, &id, operation, inner),
                CallKind::Decline(inner) => accept::decline(d, &id, operation, inner),
                CallKind::Suppress(inner) => interest::suppress(d, &id, operation, inner),
                CallKind::Revive(inner) => interest::revive(d, &id, operation, inner),
                CallKind::UpdateDemands(inner) => interest::demand(d, &id, operation, inner),
                CallKind::Kill(inner) => kill::kill(d, &id, operation, inner),
                CallKind::Acknowledge(inner) => acknowledge::acknowledge(d, &id, inner),
                CallKind::Reconcile(inner) => reconcile::reconcile(d, &id, operation, inner),
                CallKind::UpdateFramework(inner) => subscribe::update(d, &id, operation, inner),
                CallKind::Teardown => teardown::teardown(d, &id, operation),
            }
        });
    }

    // === agents ===

    fn agent(
        &mut self,
        now: Now,
        link: LinkId,
        agent: &AgentId,
        message: ToMaster,
        out: &mut Outbox<Output>,
    ) {
        if self.leading.is_none() {
            if let Some(roster) = self.registry.roster() {
                let kind = ToAgentKind::Masters(roster.doors());
                out.push(Output::ToAgent { link, message: ToAgent { epoch: Epoch(0), kind } });
            }
            let redirect = proto::scheduler::Redirect { leader_address: self.leader_address() };
            let message = ToAgent { epoch: Epoch(0), kind: ToAgentKind::Redirect(redirect) };
            out.push(Output::ToAgent { link, message });
            return out.push(Output::CloseAgent { link });
        }
        self.at_desk(now, out, |d| match message {
            ToMaster::Register(inner) => register::register(d, link, agent, inner),
            ToMaster::Update(inner) => {
                // What comes on a link that was replaced comes again on the new one.
                if d.l.agents.on(link) == Some(agent) {
                    d.after(Deadline::Link(link), SILENCE_LIMIT);
                    update::update(d, agent, inner);
                }
            }
            ToMaster::Heartbeat => {
                if d.l.agents.on(link) == Some(agent) {
                    d.after(Deadline::Link(link), SILENCE_LIMIT);
                }
            }
            ToMaster::VolumesDestroyed(inner) => {
                if d.l.agents.on(link) == Some(agent) {
                    d.after(Deadline::Link(link), SILENCE_LIMIT);
                    volumes::destroyed(d, agent, inner);
                }
            }
        });
    }
}

impl Machine for Master {
    type Input = Input;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Raft(input) => {
                if let master_raft::Input::Peer { from, .. } = &input {
                    self.heard.insert(MasterId(from.0), now.monotonic);
                }
                let mut said = Outbox::new();
                self.raft.step(now, input, &mut said);
                for output in said.take() {
                    if let master_raft::Output::Refused { from, why } = output {
                        out.push(Output::Note(Note::Peer { from: from.0, why: format!("{why:?}") }));
                    }
                }
            }
            Input::Framework { session, caller, call } => self.framework(now, session, &caller, call, out),
            Input::FrameworkClosed { session } => {
                self.at_desk(now, out, |d| subscribe::close(d, session));
            }
            Input::Agent { link, agent, message } => self.agent(now, link, &agent, message, out),
            Input::AgentClosed { link } => {
                self.at_desk(now, out, |d| lose_agent::unlink(d, link));
            }
            Input::Save { ticket } => self.ask(now, Question::Save(ticket)),
            Input::Confirm { ticket } => self.ask(now, Question::Confirm(ticket)),
            Input::StoreMembers(store) => self.store_members(now, store),
            Input::Operator { ticket, caller, call } => self.operator(now, ticket, &caller, call, out),
        }
    }

    fn wake(&mut self, now: Now, out: &mut Outbox<Output>) {
        if self.raft.wake_at().is_some_and(|at| at <= now.monotonic) {
            let mut said = Outbox::new();
            self.raft.wake(now, &mut said);
            for output in said.take() {
                if let master_raft::Output::ReadDropped { tag } = output {
                    self.answer_question(now, tag, false, out);
                }
            }
        }
        // What is due at once again waits for the next turn: the log must get its word in between.
        for _ in 0..self.leading.as_ref().map_or(0, |l| l.deadlines.len()) {
            let due = self.leading.as_mut().and_then(|l| l.deadlines.pop_due(now.monotonic));
            let Some(deadline) = due else { break };
            self.at_desk(now, out, |d| expire::expire(d, deadline));
        }
    }

    fn settle(&mut self, now: Now, out: &mut Outbox<Output>) {
        self.settle_roster(now);
        // Committing may gather new changes (an agent comes in, a framework is cut off): they go out in this turn too.
        for _ in 0..4 {
            self.propose(now);
            self.consensus(now, out);
            if !self.batch.is_urgent() || self.batch.in_flight() >= BATCHES_IN_FLIGHT {
                break;
            }
        }
        if self.offers_due().is_some_and(|at| at <= now.monotonic) {
            self.at_desk(now, out, |d| {
                d.l.allocate = false;
                d.l.offered_at = now.monotonic;
                offer::offer(d);
            });
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let leading = self.leading.as_ref();
        let deadline = leading.and_then(|l| l.deadlines.next());
        [self.raft.wake_at(), deadline, self.offers_due()].into_iter().flatten().min()
    }

    /// What is said of tasks can wait; consensus, a launch, a kill, or an answer never waits behind it.
    fn haste(input: &Input) -> Haste {
        match input {
            Input::Raft(_) => Haste::Overtakes,
            Input::Agent { message: ToMaster::Update(_), .. } => Haste::Waits,
            Input::Framework { call: Call { kind: CallKind::Acknowledge(_), .. }, .. } => Haste::Waits,
            Input::Agent { .. }
            | Input::Framework { .. }
            | Input::FrameworkClosed { .. }
            | Input::AgentClosed { .. }
            | Input::Save { .. }
            | Input::Confirm { .. }
            | Input::StoreMembers(_)
            | Input::Operator { .. } => Haste::Now,
        }
    }

    fn gathers_for(&self, now: Instant) -> Duration {
        match &self.leading {
            Some(l) if l.is_busy(self.registry.task_count(), now) => GATHER_WHEN_BUSY,
            Some(_) | None => Duration::ZERO,
        }
    }
}

impl Master {
    /// When offers are to be made: as soon as there is a reason, but in a busy pool not at once again.
    fn offers_due(&self) -> Option<Instant> {
        let l = self.leading.as_ref()?;
        let wanted = if l.allocate { Some(l.offered_at) } else { l.allocator.wake_at() }?;
        let earliest = l.offered_at + OFFER_INTERVAL_WHEN_BUSY;
        Some(if l.is_busy(self.registry.task_count(), l.offered_at) { wanted.max(earliest) } else { wanted })
    }
}
