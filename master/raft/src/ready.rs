//! The settling of a batch: what the library has become ready for, turned into outputs in their order.

use bytes::Bytes;
use proto_machine::Outbox;
use proto_machine::mutants::{self, Mutant};
use raft::StateRole;
use raft::eraftpb::{self, EntryType, MessageType};

use crate::batch::join_appends;
use crate::config::{MAX_APPEND_BYTES, MAX_PROPOSAL_BYTES};
use crate::memory::Place;
use crate::raft::Pending;
use crate::{Entry, EntryKind, HardState, NodeId, Output, Persist, Raft, Role, Room, Snapshot, Why, codec};

impl Raft {
    pub(crate) fn settle_all(&mut self, out: &mut Outbox<Output>) {
        let newborn = self.be_born(out);
        loop {
            self.flush_changes(out);
            self.flush_proposals(out);
            self.flush_reads();
            if self.node.has_ready() {
                self.cycle(out);
                continue;
            }
            self.settle_members(out);
            self.drop_lost(out);
            self.announce(out);
            if self.node.has_ready() || self.steer(out) {
                continue;
            }
            if std::mem::take(&mut self.new_answerer) && !self.reads.is_empty() {
                self.ask_again(true);
                continue;
            }
            break;
        }
        if newborn && self.votes_alone() && self.node.campaign().is_ok() {
            // There was nobody to wait for.
            self.pin(true);
            return self.settle_all(out);
        }
        self.images.clear();
        if self.room != Room::None {
            self.file_snapshot(out);
            self.want_snapshot(out);
        }
        self.release_reads(out);
    }

    fn be_born(&mut self, out: &mut Outbox<Output>) -> bool {
        let Some(birth) = self.birth.take() else { return false };
        if let Some(persist) = birth.persist {
            self.sequence += 1;
            out.push(Output::Persist(Persist { sequence: self.sequence, ..persist }));
        }
        out.extend(birth.install);
        true
    }

    fn votes_alone(&self) -> bool {
        let raft = &self.node.raft;
        raft.state == StateRole::Follower && raft.promotable() && raft.prs().is_singleton()
    }

    // === one ready of the library ===

    fn cycle(&mut self, out: &mut Outbox<Output>) {
        let mut ready = self.node.ready();
        // Only a leader has these. They claim nothing of what is about to be stored.
        self.send(ready.take_messages(), out);
        // These entries have been stored by earlier persists and need not wait for this one. A change of members
        // among them must: the library may not be touched before it is told that this ready is done.
        let mut committed = ready.take_committed_entries();
        if committed.iter().all(|entry| entry.entry_type == EntryType::EntryNormal) {
            self.hand_out(std::mem::take(&mut committed), out);
        }
        for read in ready.take_read_states() {
            self.reads.answer(&read.request_ctx, read.index);
        }
        self.release_reads(out);
        if mutants::is(Mutant::AnswerBeforeStoring) {
            self.send(ready.take_persisted_messages(), out);
        }
        self.store(&mut ready, out);
        let answers = ready.take_persisted_messages();
        let mut light = self.node.advance_append(ready);
        self.send(light.take_messages(), out);
        self.hand_out(committed, out);
        self.hand_out(light.take_committed_entries(), out);
        self.node.advance_apply();
        self.abdicate_if_cut_off();
        // Behind what was handed out: a follower that tells its leader what it knows to be committed has stored the
        // members that follow from that.
        self.send(answers, out);
        self.pin(false);
    }

    fn store(&mut self, ready: &mut raft::Ready, out: &mut Outbox<Output>) {
        let mut persist = Persist::default();
        if !ready.snapshot().is_empty() {
            self.install(ready.snapshot(), &mut persist);
        }
        persist.entries = ready.take_entries().into_iter().map(codec::plain_entry).collect();
        let conflict = self.node.mut_store().append(&persist.entries);
        persist.truncate_from = persist.truncate_from.or(conflict);
        // `must_sync` is false for a commit index alone: it can be learned again, and goes with the next persist.
        if ready.must_sync() {
            let install = persist.snapshot.as_ref().map(|snapshot| Output::InstallSnapshot {
                index: snapshot.index,
                term: snapshot.term,
                image: snapshot.image.clone(),
            });
            self.persist(persist, out);
            out.extend(install);
        }
    }

    /// A leader's snapshot takes the place of log and state machine.
    fn install(&mut self, snapshot: &eraftpb::Snapshot, persist: &mut Persist) {
        let meta = snapshot.get_metadata();
        let place = Place { index: meta.index, term: meta.term };
        let conf_state = codec::plain_members(meta.get_conf_state());
        let image = self.images.iter().rev().find(|(at, _)| *at == place).map(|(_, image)| image.clone());
        // To go on without it would be to serve an empty state as if it were the group's.
        let image = image.expect("a snapshot message is let in together with its image only");
        self.image_bytes = image.size();
        self.node.mut_store().install(place, conf_state.clone());
        self.members = vec![(place.index, conf_state.clone())];
        self.handed = place.index;
        self.reset_cost(place.index);
        persist.truncate_from = Some(place.index + 1);
        persist.compact_to = Some(place.index);
        persist.conf_state = Some((place.index, conf_state.clone()));
        persist.snapshot = Some(Snapshot { index: place.index, term: place.term, conf_state, image });
    }

    /// Numbers a persist and adds the hard state, if it has moved.
    ///
    /// The hard state is the library's at this moment. That is sound where the entries it speaks of have been put
    /// into this or an earlier persist: in `store`, and after `advance_append` until the next step.
    pub(crate) fn persist(&mut self, mut persist: Persist, out: &mut Outbox<Output>) {
        let hard_state = codec::plain_hard_state(&self.node.raft.hard_state());
        let vote = hard_state.vote.filter(|_| !mutants::is(Mutant::ForgetVote));
        let hard_state = HardState { vote, ..hard_state };
        if hard_state != self.written {
            self.written = hard_state;
            persist.hard_state = Some(hard_state);
        }
        self.sequence += 1;
        persist.sequence = self.sequence;
        out.push(Output::Persist(persist));
    }

    fn send(&mut self, messages: Vec<eraftpb::Message>, out: &mut Outbox<Output>) {
        for message in join_appends(messages) {
            let to = NodeId(message.to);
            let snapshot = (message.msg_type == MessageType::MsgSnapshot)
                .then(|| message.get_snapshot().get_metadata().index);
            let Some(bytes) = codec::encode(message) else { continue };
            out.push(match snapshot {
                Some(index) => {
                    self.track_sending(to);
                    Output::SendSnapshot { to, bytes, index }
                }
                None => Output::Send { to, bytes },
            });
        }
    }

    // === what is committed ===

    fn hand_out(&mut self, entries: Vec<eraftpb::Entry>, out: &mut Outbox<Output>) {
        for entry in entries {
            let entry = codec::plain_entry(entry);
            self.handed = entry.index;
            self.cost += entry.cost();
            self.open_term(entry.term, out);
            match entry.kind {
                EntryKind::Members => self.apply_change(&entry, out),
                EntryKind::Normal if entry.data.is_empty() => {}
                EntryKind::Normal => {
                    let Entry { index, term, data, .. } = entry;
                    let tag = self.take_tag(Place { index, term });
                    if mutants::is(Mutant::ApplyTwice) && index == self.node.store().snapshot_index() + 1 {
                        out.push(Output::Commit { index, term, tag: None, data: data.clone() });
                    }
                    out.push(Output::Commit { index, term, tag, data });
                }
            }
        }
    }

    /// The first entry of its own term makes a leader ready: all before it have been handed out.
    fn open_term(&mut self, term: u64, out: &mut Outbox<Output>) {
        let raft = &self.node.raft;
        if raft.state == StateRole::Leader && raft.term == term && self.opened != Some(term) {
            self.opened = Some(term);
            self.announce(out);
        }
    }

    fn take_tag(&mut self, place: Place) -> Option<u64> {
        let next = self.pending.front()?;
        let tag = (next.place == place).then_some(next.tag)?;
        self.pending.pop_front();
        Some(tag)
    }

    // === what came since the last settle ===

    fn flush_proposals(&mut self, out: &mut Outbox<Output>) {
        if self.proposals.is_empty() {
            return;
        }
        let proposals = std::mem::take(&mut self.proposals);
        if let Some(why) = self.unready() {
            return out.extend(proposals.into_iter().map(|(tag, _)| Output::Dropped { tag, why }));
        }
        let (sized, unsized_): (Vec<_>, Vec<_>) =
            proposals.into_iter().partition(|(_, data)| (1..=MAX_PROPOSAL_BYTES).contains(&data.len()));
        out.extend(unsized_.into_iter().map(|(tag, _)| Output::Dropped { tag, why: Why::Size }));
        let mut rest = sized.as_slice();
        while !rest.is_empty() {
            let (page, behind) = rest.split_at(page_len(rest));
            rest = behind;
            if self.propose(page) {
                continue;
            }
            // Together they are too much; some may still have room.
            for proposal in page {
                if !self.propose(std::slice::from_ref(proposal)) {
                    out.push(Output::Dropped { tag: proposal.0, why: Why::Full });
                }
            }
        }
    }

    /// Appends all or none, in one step: one append message for each follower instead of one for each entry.
    fn propose(&mut self, proposals: &[(u64, Bytes)]) -> bool {
        let entry = |(_, data): &(u64, Bytes)| eraftpb::Entry { data: data.clone(), ..Default::default() };
        let entries: Vec<_> = proposals.iter().map(entry).collect();
        let message = eraftpb::Message {
            msg_type: MessageType::MsgPropose,
            from: self.config.id.0,
            entries: entries.into(),
            ..Default::default()
        };
        let before = self.node.raft.raft_log.last_index();
        if self.node.raft.step(message).is_err() {
            return false;
        }
        let term = self.node.raft.term;
        self.pending.extend(
            proposals
                .iter()
                .zip(before + 1..)
                .map(|((tag, _), index)| Pending { place: Place { index, term }, tag: *tag }),
        );
        true
    }

    fn flush_reads(&mut self) {
        if let Some(mark) = self.reads.open_round(self.pace.ticks()) {
            self.node.read_index(mark);
        }
    }

    /// Why nothing may be proposed here now.
    pub(crate) fn unready(&self) -> Option<Why> {
        if !self.is_leader() {
            // An elected leader that is not ready is no address to send others to.
            let leader = self.leader().filter(|id| *id != self.config.id);
            return Some(Why::NotLeader { leader });
        }
        if self.room == Room::None {
            return Some(Why::NoRoom);
        }
        let hands_over = self.node.raft.lead_transferee.is_some() || self.leaves();
        hands_over.then_some(Why::Transferring)
    }

    // === the end of a settle ===

    fn drop_lost(&mut self, out: &mut Outbox<Output>) {
        let leads = self.leads();
        let term = self.node.raft.term;
        let lost = |pending: &Pending| !leads || pending.place.term != term;
        if self.pending.front().is_some_and(lost) {
            let why = Why::LeadershipLost;
            out.extend(self.pending.drain(..).map(|pending| Output::Dropped { tag: pending.tag, why }));
        }
        let lost = |of: u64| !leads || of != term;
        let change = self.changing.take_if(|change| lost(change.place.term)).and_then(|change| change.tag);
        let settling =
            self.settling.take_if(|settling| lost(settling.term)).and_then(|settling| settling.tag);
        let why = Why::LeadershipLost;
        out.extend(change.into_iter().chain(settling).map(|tag| Output::Dropped { tag, why }));
        if !leads {
            self.sending.clear();
        }
    }

    fn announce(&mut self, out: &mut Outbox<Output>) {
        let role = self.role();
        if self.announced != Some(role) {
            self.announced = Some(role);
            out.push(Output::Role(role));
            match role {
                Role::Leader { .. } | Role::Follower { leader: Some(_), .. } => self.new_answerer = true,
                Role::Follower { leader: None, .. } | Role::Candidate { .. } => {}
            }
        }
    }

    fn release_reads(&mut self, out: &mut Outbox<Output>) {
        let ready = self.reads.ready(self.handed);
        out.extend(ready.into_iter().map(|(tag, index)| Output::ReadReady { tag, index }));
    }
}

/// How many proposals go into the log in one step: what an append message carries. The library lets the first step
/// pass however large it is, so it must not be everything.
fn page_len(proposals: &[(u64, Bytes)]) -> usize {
    let mut bytes = 0;
    let fits = |(_, data): &&(u64, Bytes)| {
        bytes += data.len() as u64;
        bytes <= MAX_APPEND_BYTES
    };
    proposals.iter().take_while(fits).count().max(1)
}
