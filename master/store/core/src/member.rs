//! `Member`: each input to what it asks for, each committed entry to the store and to whoever waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use master_raft::{Aim, Bearing, Image, NodeId, Raft, Recovered, Role, Room};
use master_store::{Applied, Effect, Fault, Space, SpaceId, Store, check_entry, check_keys, entry_kind};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::MasterId;
use proto::refusal::{Code, Refusal};
use proto::roster::Roster;
use proto::store::{
    Call, CallKind, Keys, LeaseList, LeaseReply, LeaseView, Reply, ReplyKind, Watch, WatchReply,
};
use proto::store_log::{Batch as LogBatch, Entry, EntryKind, LeaseExpired};
use proto::wire::Wire;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Instant, Machine, Now, Outbox};

use crate::batch::{Batch, Waiter};
use crate::config::{BATCHES_IN_FLIGHT, Config, SPACE_NAME_MAX, WATCHES_MAX};
use crate::input::{Input, Ticket, WatchId};
use crate::leases::Timers;
use crate::output::{Note, Output, Saved, Standing};
use crate::reads::{Read, Reads};
use crate::watches::Watches;

use master_raft::Unfit;

/// A member of the store's group: consensus, the store it keeps, and who waits for what.
pub struct Member {
    config: Config,
    raft: Raft,
    store: Store,
    applied: u64,
    leader: Option<MasterId>,
    term: u64,
    /// Exist only while it leads.
    leading: Option<Timers>,
    batch: Batch,
    reads: Reads,
    watches: Watches,
    /// The newest list of masters that the registry's log has, as far as this process knows.
    newest: Option<Arc<Roster>>,
    /// What was told last of where the group is.
    told: Bearing,
    /// A committed entry could not be read: nothing may be applied behind it.
    broken: bool,
}

impl Member {
    /// A member as it was when its disk was last written. The first `settle` brings its store back.
    pub fn recover(config: Config, recovered: Recovered) -> Result<Member, Unfit> {
        let founders = config.members.keys().filter(|_| config.founds);
        let voters: Vec<_> = founders.map(|id| NodeId(id.0)).collect();
        let mut raft_config = master_raft::Config::new(NodeId(config.id.0), &voters, config.seed);
        raft_config.snapshot_after_bytes = config.snapshot_after_bytes;
        let raft = Raft::recover(raft_config, recovered)?;
        Ok(Member {
            config,
            raft,
            store: Store::default(),
            applied: 0,
            leader: None,
            term: 0,
            leading: None,
            batch: Batch::default(),
            reads: Reads::default(),
            watches: Watches::default(),
            newest: None,
            told: Default::default(),
            broken: false,
        })
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.leading.is_some()
    }

    /// What the log remembers, as far as it is applied.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Up to where the log is applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// How consensus stands, for operators and metrics.
    pub fn raft_status(&self) -> master_raft::Status {
        self.raft.status()
    }

    // === what is asked ===

    fn ask(&mut self, now: Now, ticket: Ticket, caller: &Caller, call: Call, out: &mut Outbox<Output>) {
        let Call { space, epoch, kind } = call;
        let space = match admit(caller, space, out) {
            Ok(space) => space,
            Err(refusal) => return self.reply(ticket, 0, ReplyKind::Refused(refusal), out),
        };
        match entry_kind(kind) {
            Ok(_) if self.raft.room() == Room::None => {
                let refusal =
                    Refusal::new(Code::Unavailable, "the disk of this master is full: nothing can be stored")
                        .with_help("make room where its data directory is; it goes on by itself");
                self.reply(ticket, 0, ReplyKind::Refused(refusal), out);
            }
            Ok(_) if self.leading.is_none() => self.redirect(ticket, out),
            Ok(kind) => {
                if let Err(fault) = check_entry(&kind, self.config.limits) {
                    return self.reply(ticket, 0, ReplyKind::Refused(fault.into()), out);
                }
                let entry = Entry { owner: space.owner, space: space.name, epoch, kind };
                if !self.batch.propose(entry, Waiter::Caller(ticket)) {
                    let refusal = Refusal::new(Code::Unavailable, "too much waits to be written");
                    self.reply(ticket, 0, ReplyKind::Refused(refusal), out);
                }
            }
            Err(CallKind::Range(range)) if range.serializable || mutants::is(Mutant::StaleRead) => {
                let read = Read { ticket, space, epoch, kind: CallKind::Range(range) };
                self.answer(now, read, out);
            }
            Err(CallKind::LeaseKeepAlive(_) | CallKind::LeaseLook(_)) if self.leading.is_none() => {
                self.redirect(ticket, out);
            }
            Err(kind) => {
                if let CallKind::LeaseKeepAlive(asked) = &kind
                    && self.store.check_epoch(&space, epoch).is_ok()
                {
                    // It begins again when it is asked for; whether that was in time is told once the lead is confirmed.
                    let _ = self.keep_alive(now, &space, asked.id);
                }
                self.reads.add(Read { ticket, space, epoch, kind });
            }
        }
    }

    /// Lets a lease begin again, and says how long it lasts.
    fn keep_alive(&mut self, now: Now, space: &SpaceId, id: u64) -> Result<LeaseReply, Fault> {
        let (ttl_ms, grant) =
            self.store.space(space).and_then(|space| space.lease(id)).ok_or(Fault::LeaseNotFound)?;
        let key = (space.clone(), id, grant);
        let kept = self.leading.as_mut().is_some_and(|timers| timers.start(key, ttl_ms, now.monotonic));
        if kept { Ok(LeaseReply { id, ttl_ms }) } else { Err(Fault::LeaseNotFound) }
    }

    /// The answer to a call that the log need not remember.
    fn answer(&mut self, now: Now, read: Read, out: &mut Outbox<Output>) {
        let Read { ticket, space: id, epoch, kind } = read;
        let revision = self.store.space(&id).map_or(1, Space::revision);
        if matches!(kind, CallKind::LeaseKeepAlive(_) | CallKind::LeaseLook(_)) && self.leading.is_none() {
            return self.reply(ticket, revision, ReplyKind::Refused(lost()), out);
        }
        let admitted = self.store.check_epoch(&id, epoch);
        let answer = admitted.and_then(|()| self.look(now, &id, kind));
        let kind = answer.unwrap_or_else(|fault| ReplyKind::Refused(fault.into()));
        self.reply(ticket, revision, kind, out);
    }

    fn look(&mut self, now: Now, id: &SpaceId, kind: CallKind) -> Result<ReplyKind, Fault> {
        let empty = Space::default();
        let space = self.store.space(id).unwrap_or(&empty);
        match kind {
            CallKind::Range(range) => space.range(&range).map(ReplyKind::Range),
            CallKind::Txn(txn) => space.look_txn(&txn).map(ReplyKind::Txn),
            CallKind::LeaseKeepAlive(asked) => self.keep_alive(now, id, asked.id).map(ReplyKind::Lease),
            CallKind::LeaseLook(asked) => {
                let (ttl_ms, grant) = space.lease(asked.id).ok_or(Fault::LeaseNotFound)?;
                let left = self
                    .leading
                    .as_ref()
                    .map(|timers| timers.left(&(id.clone(), asked.id, grant), now.monotonic));
                let remaining_ms = left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                let keys = space.lease_keys(asked.id).filter(|_| asked.keys).cloned().collect();
                Ok(ReplyKind::LeaseView(LeaseView { id: asked.id, ttl_ms, remaining_ms, keys }))
            }
            CallKind::Leases => {
                Ok(ReplyKind::Leases(LeaseList { ids: space.leases().map(|(id, _, _)| id).collect() }))
            }
            // `entry_kind` sends these through the log.
            CallKind::Put(_)
            | CallKind::DeleteRange(_)
            | CallKind::Compact(_)
            | CallKind::LeaseGrant(_)
            | CallKind::LeaseRevoke(_)
            | CallKind::Claim(_) => Ok(ReplyKind::Done),
        }
    }

    fn reply(&self, ticket: Ticket, revision: u64, kind: ReplyKind, out: &mut Outbox<Output>) {
        out.push(Output::Reply { ticket, reply: Reply { revision, term: self.term, kind } });
    }

    fn redirect(&self, ticket: Ticket, out: &mut Outbox<Output>) {
        let newest = self.newest.as_deref().or(self.store.roster());
        let address = self.leader.and_then(|id| match newest {
            Some(roster) => roster.get(id).map(|master| master.address.clone()),
            None => self.config.members.get(&id).cloned(),
        });
        self.reply(ticket, 0, ReplyKind::Redirect(address.unwrap_or_default()), out);
    }

    fn watch(&mut self, id: WatchId, caller: &Caller, ask: Watch, out: &mut Outbox<Output>) {
        let Watch { space, key, range_end, start_revision, prev_kv } = ask;
        let space = admit(caller, space, out).and_then(|space| {
            check_keys(&key, &range_end)?;
            if self.watches.of_owner(&space.owner) >= WATCHES_MAX {
                let message = format!("{caller} has {WATCHES_MAX} watches here");
                return Err(Refusal::new(Code::TooMuch, message));
            }
            Ok(space)
        });
        let space = match space {
            Ok(space) => space,
            Err(refusal) => {
                let reply = WatchReply { refused: Some(refusal), ..WatchReply::default() };
                out.push(Output::ToWatch { watch: id, reply });
                return out.push(Output::CloseWatch { watch: id });
            }
        };
        let revision = self.store.space(&space).map_or(1, Space::revision);
        let next = if start_revision == 0 { revision + 1 } else { start_revision };
        // The first word says that it listens, and from where.
        let reply = WatchReply { revision: next - 1, ..WatchReply::default() };
        out.push(Output::ToWatch { watch: id, reply });
        self.watches.add(id, space, Keys { key, end: range_end }, prev_kv, next);
        self.watches.tell(id, &self.store, out);
    }

    // === consensus ===

    fn consensus(&mut self, now: Now, out: &mut Outbox<Output>) {
        let mut said = Outbox::new();
        self.raft.settle(now, &mut said);
        let mut changed = BTreeSet::new();
        for output in said.take() {
            match output {
                master_raft::Output::Send { to, bytes } => out.push(Output::ToPeer { to, bytes }),
                master_raft::Output::SendSnapshot { to, bytes, index } => {
                    out.push(Output::SnapshotToPeer { to, bytes, index });
                }
                master_raft::Output::Persist(persist) => out.push(Output::Persist(persist)),
                master_raft::Output::Commit { index, tag, data, .. } => {
                    self.commit(now, index, tag, &data, &mut changed, out);
                }
                master_raft::Output::InstallSnapshot { index, image, .. } => {
                    self.install(now, index, &image, out);
                }
                master_raft::Output::Role(role) => self.part(now, role, out),
                master_raft::Output::Dropped { tag, why } => self.dropped(now, tag, why, out),
                master_raft::Output::SnapshotWanted { index } => {
                    if !self.broken {
                        let image = Image::Bytes(Bytes::from(self.store.to_image()));
                        let taken = master_raft::Input::SnapshotTaken { index, image };
                        self.raft.step(now, taken, &mut Outbox::new());
                    }
                }
                master_raft::Output::ReadReady { tag, .. } => {
                    let (reads, saves) = self.reads.land(tag);
                    reads.into_iter().for_each(|read| self.answer(now, read, out));
                    self.save(saves, out);
                }
                // Told when it is woken.
                master_raft::Output::ReadDropped { .. }
                | master_raft::Output::Members { .. }
                | master_raft::Output::MembersChanged { .. } => {}
                master_raft::Output::Refused { from, why } => {
                    out.push(Output::Note(Note::Peer { from: from.0, why: format!("{why:?}") }));
                }
            }
        }
        let list = self.store.roster().map_or(0, |roster| roster.version);
        if *self.raft.members() != self.told.members || list != self.told.list {
            self.told = Bearing { members: self.raft.members().clone(), list };
            out.push(Output::Members(self.told.clone()));
        }
        changed.iter().for_each(|space| self.watches.tell_space(space, &self.store, out));
        self.show(changed.iter(), out);
    }

    /// Everything that was committed when it was asked for is applied by now.
    fn save(&self, tickets: Vec<Ticket>, out: &mut Outbox<Output>) {
        if tickets.is_empty() {
            return;
        }
        let image = || Bytes::from(self.store.to_image());
        let whole = || Saved { index: self.applied, term: self.term, image: image() };
        let saved = (!self.broken).then(whole);
        out.extend(tickets.into_iter().map(|ticket| Output::Saved { ticket, saved: saved.clone() }));
    }

    /// How some spaces stand now.
    fn show<'a>(&self, spaces: impl Iterator<Item = &'a SpaceId>, out: &mut Outbox<Output>) {
        for id in spaces {
            if let Some(space) = self.store.space(id) {
                out.push(Output::Stands(Standing::of(id, space)));
            }
        }
    }

    fn commit(
        &mut self,
        now: Now,
        index: u64,
        tag: Option<u64>,
        data: &[u8],
        changed: &mut BTreeSet<SpaceId>,
        out: &mut Outbox<Output>,
    ) {
        let mut waiters = tag.map(|tag| self.batch.land(tag)).unwrap_or_default().into_iter();
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
        if batch.roster.is_some_and(|roster| self.store.learn_roster(roster)) {
            self.take_aim(now);
        }
        let limits = batch.limits.unwrap_or_default();
        for mut entry in batch.entries {
            if mutants::is(Mutant::CasIgnoresRevision)
                && let EntryKind::Txn(txn) = &mut entry.kind
            {
                txn.compare.clear();
            }
            entry.epoch = entry.epoch.filter(|_| !mutants::is(Mutant::ForgetEpoch));
            let Applied { space, revision, outcome, effect } = self.store.apply_within(entry, limits);
            if let Some(timers) = self.leading.as_mut() {
                match effect {
                    Effect::None => {}
                    Effect::Granted { id, ttl_ms, grant } => {
                        timers.start((space.clone(), id, grant), ttl_ms, now.monotonic);
                    }
                    Effect::Ended { id, grant } => timers.end(&(space.clone(), id, grant)),
                }
            }
            if let Some(Waiter::Caller(ticket)) = waiters.next() {
                let kind = outcome.unwrap_or_else(|fault| ReplyKind::Refused(fault.into()));
                self.reply(ticket, revision, kind, out);
            }
            changed.insert(space);
        }
        self.applied = index;
        out.push(Output::Applied(index));
    }

    fn install(&mut self, now: Now, index: u64, image: &Image, out: &mut Outbox<Output>) {
        let Image::Bytes(bytes) = image else { return };
        match Store::from_image(bytes) {
            Ok(store) => {
                self.store = store;
                self.applied = index;
                self.take_aim(now);
                out.push(Output::Applied(index));
                self.watches.tell_all(&self.store, out);
                self.show(self.store.spaces().map(|(id, _)| id), out);
            }
            Err(bad) => {
                self.broken = true;
                out.push(Output::Note(Note::Unreadable { index, why: bad.to_string() }));
            }
        }
    }

    fn part(&mut self, now: Now, role: Role, out: &mut Outbox<Output>) {
        let (leader, term, leads) = match role {
            Role::Leader { term } => (Some(self.config.id), term, true),
            Role::Follower { leader, term } => (leader.map(|id| MasterId(id.0)), term, false),
            Role::Candidate { term } => (None, term, false),
        };
        self.leader = leader;
        self.term = term;
        if leads {
            self.leading = Some(Timers::begin(&self.store, now.monotonic));
        } else {
            self.step_down(out);
        }
        out.push(Output::Part { term, leads, leader });
    }

    fn step_down(&mut self, out: &mut Outbox<Output>) {
        self.leading = None;
        let (in_flight, gathered) = self.batch.abandon();
        for waiter in in_flight {
            if let Waiter::Caller(ticket) = waiter {
                self.reply(ticket, 0, ReplyKind::Refused(lost()), out);
            }
        }
        // What was never proposed can be asked elsewhere without a doubt.
        for waiter in gathered {
            if let Waiter::Caller(ticket) = waiter {
                self.redirect(ticket, out);
            }
        }
    }

    fn dropped(&mut self, now: Now, tag: u64, why: master_raft::Why, out: &mut Outbox<Output>) {
        let may_commit = why == master_raft::Why::LeadershipLost;
        for waiter in self.batch.land(tag) {
            match waiter {
                Waiter::Caller(ticket) if may_commit => {
                    self.reply(ticket, 0, ReplyKind::Refused(lost()), out);
                }
                Waiter::Caller(ticket) => {
                    let refusal = Refusal::new(Code::Unavailable, format!("it was not proposed: {why:?}"));
                    self.reply(ticket, 0, ReplyKind::Refused(refusal), out);
                }
                Waiter::Timer(key) => {
                    if let Some(timers) = self.leading.as_mut() {
                        timers.again(key, now.monotonic);
                    }
                }
            }
        }
    }

    /// Where the group is to get to, as its own log says: a leader that has heard of an older list than that leads nobody back.
    fn take_aim(&mut self, now: Now) {
        if let Some(roster) = self.store.roster() {
            let voters = roster.wanted().into_iter().map(|id| NodeId(id.0)).collect();
            let aim = master_raft::Input::Aim(Aim { voters, only_learn: false });
            self.raft.step(now, aim, &mut Outbox::new());
        }
    }

    /// A newer list than this group's log has goes into it. Until it is there no further step is taken to where the older one
    /// says: whoever sees the newer one in this log, and the members that it wants, may count on it that they stay.
    fn propose_roster(&mut self, now: Now) {
        let known = self.store.roster().map_or(0, |roster| roster.version);
        let Some(newest) = self.newest.clone().filter(|newest| newest.version > known) else { return };
        let members = self.raft.members();
        let mut voters = [members.voters.as_slice(), members.learners.as_slice()].concat();
        voters.sort_unstable();
        let stay = master_raft::Input::Aim(Aim { voters, only_learn: true });
        self.raft.step(now, stay, &mut Outbox::new());
        self.batch.propose_roster(Roster::clone(&newest));
    }

    /// What gathered goes to consensus, in few and large pieces.
    fn propose(&mut self, now: Now) {
        let mut inputs = Vec::new();
        if let Some(tag) = self.reads.take() {
            inputs.push(master_raft::Input::ReadIndex { tag });
        }
        if self.leading.is_some() {
            self.propose_roster(now);
        }
        // While the lead is handed over nothing is proposed: it would be dropped.
        while self.leading.is_some()
            && self.raft.takes_proposals()
            && self.batch.in_flight() < BATCHES_IN_FLIGHT
        {
            let Some((tag, data)) = self.batch.take(self.config.limits) else { break };
            inputs.push(master_raft::Input::Propose { tag, data });
        }
        for input in inputs {
            let mut said = Outbox::new();
            self.raft.step(now, input, &mut said);
            debug_assert!(said.is_empty(), "proposing says nothing before settling");
        }
    }
}

/// Whether somebody may use a space of this name, and which that is.
fn admit(caller: &Caller, name: String, out: &mut Outbox<Output>) -> Result<SpaceId, Refusal> {
    let owner = caller.to_string();
    authorize(caller, &Action::UseStore { owner: owner.clone() }).inspect_err(|refusal| {
        out.push(Output::Note(Note::Denied { caller: owner.clone(), message: refusal.message.clone() }));
    })?;
    if name.len() > SPACE_NAME_MAX || name.chars().any(char::is_control) {
        let message =
            format!("the name of the space has more than {SPACE_NAME_MAX} bytes, or control characters");
        return Err(Refusal::new(Code::Invalid, message));
    }
    Ok(SpaceId { owner, name })
}

fn lost() -> Refusal {
    Refusal::new(Code::LeaderLost, "the leader changed before this was committed")
        .with_help("it may have been carried out: read what is there before it is asked again")
}

impl Machine for Member {
    type Input = Input;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Raft(input) => {
                let mut said = Outbox::new();
                self.raft.step(now, input, &mut said);
                for output in said.take() {
                    if let master_raft::Output::Refused { from, why } = output {
                        out.push(Output::Note(Note::Peer { from: from.0, why: format!("{why:?}") }));
                    }
                }
            }
            Input::Ask { ticket, caller, call } => self.ask(now, ticket, &caller, call, out),
            Input::Watch { watch, caller, ask } => self.watch(watch, &caller, ask, out),
            Input::WatchClosed { watch } => self.watches.remove(watch),
            Input::Save { ticket } => self.reads.save(ticket),
            Input::Roster(roster) => {
                let known = self.newest.as_ref().map_or(0, |known| known.version);
                if roster.version > known {
                    self.newest = Some(roster);
                }
            }
        }
    }

    fn wake(&mut self, now: Now, out: &mut Outbox<Output>) {
        if self.raft.wake_at().is_some_and(|at| at <= now.monotonic) {
            let mut said = Outbox::new();
            self.raft.wake(now, &mut said);
            for output in said.take() {
                if let master_raft::Output::ReadDropped { tag } = output {
                    let (reads, saves) = self.reads.land(tag);
                    out.extend(saves.into_iter().map(|ticket| Output::Saved { ticket, saved: None }));
                    for read in reads {
                        let refusal = Refusal::new(Code::Unavailable, "no leader confirmed the read in time");
                        self.reply(read.ticket, 0, ReplyKind::Refused(refusal), out);
                    }
                }
            }
        }
        while let Some(key) = self.leading.as_mut().and_then(|timers| timers.pop_due(now.monotonic)) {
            let (space, id, grant) = key.clone();
            let kind = EntryKind::LeaseExpired(LeaseExpired { id, grant });
            let entry = Entry { owner: space.owner, space: space.name, epoch: None, kind };
            if !self.batch.propose(entry, Waiter::Timer(key.clone()))
                && let Some(timers) = self.leading.as_mut()
            {
                timers.again(key, now.monotonic);
            }
        }
    }

    fn settle(&mut self, now: Now, out: &mut Outbox<Output>) {
        // Committing makes room for what gathered meanwhile: it goes out in this turn too.
        for _ in 0..4 {
            self.propose(now);
            self.consensus(now, out);
            if self.batch.is_empty() || self.batch.in_flight() >= BATCHES_IN_FLIGHT {
                break;
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let lease = self.leading.as_ref().and_then(Timers::next);
        [self.raft.wake_at(), lease].into_iter().flatten().min()
    }
}
