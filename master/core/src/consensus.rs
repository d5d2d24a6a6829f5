//! What consensus says and is asked: entries that are committed, images, who leads, how far the log is.

use bytes::Bytes;
use master_raft::{Image, Role};
use master_registry::Registry;
use proto::agent_link::{ToAgent, ToAgentKind};
use proto::caller::Caller;
use proto::id::{Epoch, MasterId};
use proto::log::{Batch as LogBatch, Entry};
use proto::operator::ReplyKind;
use proto::refusal::{Code, Refusal};
use proto::scheduler::{Event, EventKind, Redirect};
use proto::wire::Wire;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Instant, Machine, Now, Outbox};

use crate::batch::Pending;
use crate::committed::{Touched, second_half, show, show_everything};
use crate::config::BATCHES_IN_FLIGHT;
use crate::input::{OperatorCall, SessionId, Ticket};
use crate::leading::{Deadline, Leading};
use crate::master::Master;
use crate::output::{Note, Output, Saved};
use crate::verbs::{subscribe, take_lead};

/// Who asked how far the log is committed.
pub(crate) enum Question {
    /// They want all of it.
    Save(Ticket),
    /// They want to read.
    Confirm(Ticket),
    /// An order would be refused, as far as was known when it came.
    Order(Ticket, Caller, OperatorCall),
    /// A framework's session is to begin.
    Subscribe(SessionId),
}

/// Nothing can be said for sure.
pub(crate) fn unconfirmed() -> Refusal {
    Refusal::new(Code::Unavailable, "no majority of the masters has confirmed that this one leads")
}

impl Master {
    pub(crate) fn consensus(&mut self, now: Now, out: &mut Outbox<Output>) {
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
    pub(crate) fn ask(&mut self, now: Now, question: Question) {
        self.asked += 1;
        self.questions.insert(self.asked, question);
        let ask = master_raft::Input::ReadIndex { tag: self.asked };
        self.raft.step(now, ask, &mut Outbox::new());
    }

    /// Everything that was committed when it was asked for is applied by now, or nobody could say what is.
    pub(crate) fn answer_question(&mut self, now: Now, tag: u64, confirmed: bool, out: &mut Outbox<Output>) {
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
                out.push(Output::Reply { ticket, kind: ReplyKind::Refused(unconfirmed()) });
            }
            Some(Question::Subscribe(session)) => {
                self.at_desk(now, out, |d| subscribe::confirmed(d, session, confirmed));
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
        for session in l.frameworks.sessions().map(|(session, _)| session).chain(l.frameworks.waiting()) {
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

    /// What was gathered goes to consensus, in few and large pieces.
    pub(crate) fn propose(&mut self, now: Now) {
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

/// Whoever waited for a commit that will not be told any more.
fn tell_lost(pending: Pending, out: &mut Outbox<Output>) {
    if let Pending::Reply { ticket } = pending {
        let refusal = Refusal::new(Code::LeaderLost, "the leader changed before this was committed");
        out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
    }
}
