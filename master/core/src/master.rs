//! The switchboard: each input to its verb. No decision is taken here.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use master_raft::{ConfState, Image, Raft, Recovered, Role};
use master_registry::Registry;
use proto::agent_link::{ToAgent, ToAgentKind, ToMaster};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::{AgentId, Epoch, MasterId};
use proto::log::{Batch as LogBatch, Entry};
use proto::operator::ReplyKind;
use proto::refusal::{Code, Refusal};
use proto::scheduler::{Call, CallKind, Event, EventKind, Redirect};
use proto::wire::Wire;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Haste, Instant, Machine, Now, Outbox};

use crate::audited::Calling;
use crate::batch::{Batch, Pending};
use crate::committed::{Touched, second_half, show, show_everything};
use crate::config::{BATCHES_IN_FLIGHT, Config, GATHER_WHEN_BUSY, OFFER_INTERVAL_WHEN_BUSY, SILENCE_LIMIT};
use crate::desk::Desk;
use crate::input::{Input, LinkId, OperatorCall, SessionId, Ticket};
use crate::leading::{Deadline, Leading};
use crate::output::{Note, Output, Saved};
use crate::verbs::{
    accept, acknowledge, expire, interest, kill, lose_agent, offer, operate, reconcile, register, rights,
    subscribe, take_lead, teardown, update, volumes,
};

pub use master_raft::Unfit;

/// A master: consensus, the registry it keeps, and, while it leads, everything else.
pub struct Master {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    registry: Registry,
    applied: u64,
    /// The number of the last event that was told.
    told: u64,
    leading: Option<Leading>,
    pub(crate) leader: Option<MasterId>,
    pub(crate) term: u64,
    pub(crate) batch: Batch,
    /// What waits for consensus to say how far the log is committed, by the question; and how many ever did.
    questions: BTreeMap<u64, Question>,
    asked: u64,
    /// When each of the other masters was heard last.
    pub(crate) heard: BTreeMap<MasterId, Instant>,
    /// The members of the group of the frameworks' state, and the version of the list that they are going by.
    pub(crate) store: Option<(ConfState, u64)>,
    /// The version of the list of masters of which this leader has said that it is reached, and until when it does not say so
    /// again.
    pub(crate) settled: (u64, Instant),
    /// A committed entry could not be read: nothing may be applied behind it.
    broken: bool,
}

/// Who asked how far the log is committed.
enum Question {
    /// They want all of it.
    Save(Ticket),
    /// They want to read.
    Confirm(Ticket),
    /// An order would be refused, as far as was known when it came.
    Order(Ticket, Caller, OperatorCall),
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

    fn leader_address(&self) -> String {
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
        self.at_desk_for(now, Some(calling), out, |d| {
            if let CallKind::Subscribe(inner) = kind {
                return subscribe::subscribe(d, session, caller, inner);
            }
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

    // === operators ===

    /// The right that a call needs.
    fn action(caller: &Caller, call: &OperatorCall) -> Option<Action> {
        match call {
            OperatorCall::Raft | OperatorCall::Explain(_) => Some(Action::Read),
            OperatorCall::KillTask(_) => Some(Action::KillTask),
            OperatorCall::SetQuota(_) | OperatorCall::SetWeight(_) => Some(Action::SetRole),
            OperatorCall::TeardownFramework(_) => Some(Action::TeardownFramework),
            OperatorCall::MarkAgentGone(_) => Some(Action::MarkAgentGone),
            OperatorCall::DrainAgent(_) | OperatorCall::ResumeAgent(_) => Some(Action::DrainAgent),
            OperatorCall::OperateAgent(_) => Some(Action::Reserve),
            OperatorCall::SetSecret(_) | OperatorCall::RemoveSecret(_) => Some(Action::SetSecret),
            OperatorCall::CreateToken(_) => Some(Action::CreateToken),
            OperatorCall::ChangeMasters(_) | OperatorCall::CancelMasters | OperatorCall::TransferLead(_) => {
                Some(Action::ChangeMasters)
            }
            OperatorCall::Principals | OperatorCall::SetRights(_) => Some(Action::SetRights),
            OperatorCall::CanI(asked) if asked.principal.as_ref().is_some_and(|other| other != caller) => {
                Some(Action::SetRights)
            }
            OperatorCall::DryRun(order) => Self::action(caller, order),
            // Everybody may know of themselves; and the token is the right.
            OperatorCall::CanI(_) | OperatorCall::WhoAmI | OperatorCall::RedeemToken { .. } => None,
        }
    }

    /// What can be answered from the log alone: by the leader, and by whoever knows none.
    fn answer(&self, now: Now, caller: &Caller, call: &OperatorCall) -> Option<ReplyKind> {
        if matches!(call, OperatorCall::Raft) {
            return Some(ReplyKind::Raft(self.members(now)));
        }
        if self.leading.is_none() && !self.leader_address().is_empty() {
            return None;
        }
        match call {
            OperatorCall::WhoAmI => Some(ReplyKind::Principal(rights::view(&self.registry, caller))),
            OperatorCall::Principals => Some(ReplyKind::Principals(rights::all(&self.registry))),
            OperatorCall::CanI(asked) => {
                Some(rights::can_i(&self.registry, &self.config.root_tasks, caller, asked))
            }
            OperatorCall::Raft
            | OperatorCall::Explain(_)
            | OperatorCall::KillTask(_)
            | OperatorCall::SetQuota(_)
            | OperatorCall::SetWeight(_)
            | OperatorCall::TeardownFramework(_)
            | OperatorCall::MarkAgentGone(_)
            | OperatorCall::DrainAgent(_)
            | OperatorCall::ResumeAgent(_)
            | OperatorCall::OperateAgent(_)
            | OperatorCall::DryRun(_)
            | OperatorCall::SetRights(_)
            | OperatorCall::ChangeMasters(_)
            | OperatorCall::CancelMasters
            | OperatorCall::TransferLead(_)
            | OperatorCall::SetSecret(_)
            | OperatorCall::RemoveSecret(_)
            | OperatorCall::CreateToken(_)
            | OperatorCall::RedeemToken { .. } => None,
        }
    }

    fn operator(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        call: OperatorCall,
        out: &mut Outbox<Output>,
    ) {
        let action = Self::action(caller, &call);
        if let Some(Err(refusal)) = action.map(|action| authorize(caller, &action)) {
            out.push(Output::Note(Note::Refused {
                caller: caller.to_string(),
                code: refusal.code,
                message: refusal.message.clone(),
            }));
            return out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
        }
        if let Some(kind) = self.answer(now, caller, &call) {
            return out.push(Output::Reply { ticket, kind });
        }
        // Whoever leads otherwise is asked next; and if nobody does, this is why.
        if let Some(refusal) = self.has_no_room().filter(|_| !matches!(call, OperatorCall::Explain(_))) {
            return out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
        }
        self.order(now, ticket, caller, call, false, out);
    }

    /// Carries an order out, or asks first whether what stands in its way is so as of now.
    fn order(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        call: OperatorCall,
        sure: bool,
        out: &mut Outbox<Output>,
    ) {
        if self.leading.is_none() {
            let kind = ReplyKind::Redirect(self.leader_address());
            return out.push(Output::Reply { ticket, kind });
        }
        if self.operate_masters(now, ticket, caller, &call, out) {
            return;
        }
        let again = self.at_desk(now, out, |d| operate::operate(d, ticket, caller, call, sure)).flatten();
        if let Some(call) = again {
            self.ask(now, Question::Order(ticket, caller.clone(), call));
        }
    }

    // === consensus ===

    fn consensus(&mut self, now: Now, out: &mut Outbox<Output>) {
        let mut said = Outbox::new();
        self.raft.settle(now, &mut said);
        for output in said.take() {
            match output {
                master_raft::Output::Send { to, bytes } => out.push(Output::ToPeer { to, bytes }),
                master_raft::Output::SendSnapshot { to, bytes, index } => {
                    out.push(Output::SnapshotToPeer { to, bytes, index });
                }
                master_raft::Output::Persist(persist) => out.push(Output::Persist(persist)),
                master_raft::Output::Commit { index, tag, data, .. } => {
                    self.commit(now, index, tag, &data, out)
                }
                master_raft::Output::InstallSnapshot { index, image, .. } => {
                    self.install(now, index, &image, out);
                }
                master_raft::Output::Role(role) => self.part(now, role, out),
                master_raft::Output::Dropped { tag, .. } => {
                    // Only with the lead itself: proposals are bounded in number and size. Frameworks send the same
                    // operation ids to the next leader; people are told.
                    for (_, pending) in self.batch.land(tag).into_iter().flatten() {
                        tell_lost(pending, out);
                    }
                }
                master_raft::Output::SnapshotWanted { index } => {
                    // The index may be one of consensus itself; the registry is what all outputs before this made it.
                    if !self.broken {
                        let image = Image::Bytes(Bytes::from(self.registry.to_image()));
                        let taken = master_raft::Input::SnapshotTaken { index, image };
                        self.raft.step(now, taken, &mut Outbox::new());
                    }
                }
                master_raft::Output::ReadReady { tag, .. } => self.answer_question(now, tag, true, out),
                // Told when it is woken.
                master_raft::Output::ReadDropped { .. }
                | master_raft::Output::Members { .. }
                | master_raft::Output::MembersChanged { .. } => {}
                master_raft::Output::Refused { from, why } => {
                    out.push(Output::Note(Note::Peer { from: from.0, why: format!("{why:?}") }));
                }
            }
        }
    }

    /// An entry is committed: it is applied, and what waited for it goes on.
    fn commit(&mut self, now: Now, index: u64, tag: Option<u64>, data: &[u8], out: &mut Outbox<Output>) {
        let own = tag.and_then(|tag| self.batch.land(tag));
        if data.is_empty() || self.broken {
            return;
        }
        let batch = match LogBatch::decode(data) {
            Ok(batch) => batch,
            Err(bad) => {
                self.broken = true;
                return out.push(Output::Note(Note::Unreadable { index, why: bad.to_string() }));
            }
        };
        let mut pendings = own.into_iter().flatten().map(|(_, pending)| pending);
        let mut ordinal = 0;
        let mut masters = false;
        for entry in batch.entries {
            masters |= matches!(entry, Entry::MastersChanged(_) | Entry::MastersSettled(_));
            let pending = pendings.next().unwrap_or(Pending::Nothing);
            ordinal = if mutants::is(Mutant::ReuseRun) { 0 } else { ordinal };
            if self.leading.is_some() {
                // The second half reads the entry and what came of it.
                let effect = self.registry.apply(index, batch.at_ms, &mut ordinal, entry.clone());
                self.at_desk(now, out, |d| second_half(d, index, &entry, pending, effect));
            } else {
                let touched = Touched::of(&entry);
                let effect = self.registry.apply(index, batch.at_ms, &mut ordinal, entry);
                show(&self.registry, &touched, effect, out);
            }
        }
        self.applied = index;
        if masters {
            self.roster_changed(now, out);
        }
        self.tell_history(out);
        out.push(Output::Applied(index));
    }

    /// Asks consensus how far the log is committed.
    fn ask(&mut self, now: Now, question: Question) {
        self.asked += 1;
        self.questions.insert(self.asked, question);
        let ask = master_raft::Input::ReadIndex { tag: self.asked };
        self.raft.step(now, ask, &mut Outbox::new());
    }

    /// Everything that was committed when it was asked for is applied by now, or nobody could say what is.
    fn answer_question(&mut self, now: Now, tag: u64, confirmed: bool, out: &mut Outbox<Output>) {
        let confirmed = confirmed && !self.broken;
        match self.questions.remove(&tag) {
            Some(Question::Save(ticket)) => {
                let image = || Bytes::from(self.registry.to_image());
                let whole = || Saved { index: self.applied, term: self.term, image: image() };
                out.push(Output::Saved { ticket, saved: confirmed.then(whole) });
            }
            Some(Question::Confirm(ticket)) => out.push(Output::Confirmed { ticket, confirmed }),
            Some(Question::Order(ticket, caller, call)) if confirmed => {
                self.order(now, ticket, &caller, call, true, out);
            }
            Some(Question::Order(ticket, ..)) => {
                let message = "no majority of the masters has confirmed that this one leads";
                let kind = ReplyKind::Refused(Refusal::new(Code::Unavailable, message));
                out.push(Output::Reply { ticket, kind });
            }
            None => {}
        }
    }

    /// What the log tells that was not told yet.
    fn tell_history(&mut self, out: &mut Outbox<Output>) {
        let events: Vec<_> = self.registry.history_after(self.told).cloned().collect();
        if let Some(newest) = events.last() {
            self.told = newest.sequence;
            out.push(Output::Happened(events));
        }
    }

    fn install(&mut self, now: Now, index: u64, image: &Image, out: &mut Outbox<Output>) {
        let Image::Bytes(bytes) = image else { return };
        match Registry::from_image(bytes) {
            Ok(registry) => {
                self.registry = registry;
                self.applied = index;
                self.roster_changed(now, out);
                self.tell_history(out);
                out.push(Output::Applied(index));
                show_everything(&self.registry, out);
            }
            Err(bad) => {
                self.broken = true;
                out.push(Output::Note(Note::Unreadable { index, why: bad.to_string() }));
            }
        }
    }

    fn part(&mut self, now: Now, role: Role, out: &mut Outbox<Output>) {
        match role {
            Role::Leader { term } => {
                self.term = term;
                self.leader = Some(self.config.id);
                self.leading = Some(Leading::new(Epoch(term), &self.config));
                self.at_desk(now, out, take_lead::take_lead);
            }
            Role::Follower { leader, term } => {
                self.term = term;
                self.leader = leader.map(|id| MasterId(id.0));
                self.step_down(out);
            }
            Role::Candidate { term } => {
                self.term = term;
                self.leader = None;
                self.step_down(out);
            }
        }
        out.push(Output::Part { term: self.term, leads: self.leading.is_some(), leader: self.leader });
    }

    /// Everything that only a leader knows is gone; whoever is connected looks for the next one.
    fn step_down(&mut self, out: &mut Outbox<Output>) {
        let Some(l) = self.leading.take() else { return };
        self.settled = (0, Instant::default());
        let redirect = Redirect { leader_address: self.leader_address() };
        for (session, _) in l.frameworks.sessions() {
            let kind = EventKind::Redirect(redirect.clone());
            out.push(Output::ToFramework { session, event: Event { sequence: 0, kind } });
            out.push(Output::CloseFramework { session });
        }
        for link in l.agents.links() {
            let kind = ToAgentKind::Redirect(redirect.clone());
            out.push(Output::ToAgent { link, message: ToAgent { epoch: l.epoch, kind } });
            out.push(Output::CloseAgent { link });
        }
        for pending in self.batch.abandon() {
            tell_lost(pending, out);
        }
        show_everything(&self.registry, out);
    }
}

/// Whoever waited for a commit that will not be told any more.
fn tell_lost(pending: Pending, out: &mut Outbox<Output>) {
    if let Pending::Reply { ticket } = pending {
        let refusal = Refusal::new(Code::LeaderLost, "the leader changed before this was committed");
        out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
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
            Input::StoreMembers { members, list } => self.store_members(now, members, list),
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
            | Input::StoreMembers { .. }
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

    /// What was gathered goes to consensus, in few and large pieces.
    fn propose(&mut self, now: Now) {
        let Some(l) = self.leading.as_ref() else { return };
        let lazy_due = self.batch.lazy_len() > 0
            && l.deadlines.get(&Deadline::Lazy).is_none_or(|at| at <= now.monotonic);
        if !(self.batch.is_urgent() || lazy_due) || self.batch.in_flight() >= BATCHES_IN_FLIGHT {
            return;
        }
        // While the lead is handed over nothing is proposed: it would be dropped, and if the other does not take the lead
        // nobody would be told.
        if !self.raft.takes_proposals() {
            return;
        }
        if let Some(l) = self.leading.as_mut() {
            l.deadlines.cancel(&Deadline::Lazy);
        }
        for (tag, data) in self.batch.take(now.wall.as_millis()) {
            let mut said = Outbox::new();
            self.raft.step(now, master_raft::Input::Propose { tag, data }, &mut said);
            debug_assert!(said.is_empty(), "proposing says nothing before settling");
        }
    }
}
