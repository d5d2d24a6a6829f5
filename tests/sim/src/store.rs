//! The members of the store's group: each lives and dies with its master's process, with a mailbox and a disk of its own.

use std::collections::{BTreeMap, VecDeque};

use master_raft::{NodeId, Persist, Recovered};
use master_store::{Space, SpaceId};
use master_store_core::{Config, Input, Member, Note, Output};
use proto::caller::Caller;
use proto::id::MasterId;
use proto_machine::{Dice, Machine, Outbox};

use crate::check::agreement::Agreement;
use crate::check::fencing::Fencing;
use crate::check::store::StoreBooks;
use crate::check::{Verdict, broken, durable};
use crate::disk::LogDisk;
use crate::members::Group;
use crate::node::Node;
use crate::options::MS;
use crate::store_clients::{Client, TTL_MAX};
use crate::store_events::StoreEvent;
use crate::trace::hash_of;
use crate::world::{Event, World};

/// Images are compared at each index that is a multiple of this.
const COMPARE_EVERY: u64 = 16;

/// Who owns the one space that all clients share.
pub const OWNER: &str = "kept";

/// A member.
#[derive(Default)]
pub struct StoreNode {
    machine: Option<Member>,
    /// Its own, beside that of the master.
    pub disk: LogDisk,
    mailbox: VecDeque<Input>,
    performing: VecDeque<Output>,
    storing: Vec<Persist>,
    busy: bool,
    turn: Option<(u64, u64)>,
    plans: u64,
    /// As far as it was compared with the others in this life.
    compared: u64,
    /// The watches that are open here, whose they are, and when the last word arrives.
    pub watches: BTreeMap<u64, (usize, u64)>,
}

/// The store of a world; without members in one that has none.
pub struct Store {
    /// Its own randomness: a world goes as it would go without a store.
    pub dice: Dice,
    /// In the order of the masters.
    pub members: Vec<StoreNode>,
    /// Who uses it.
    pub clients: Vec<Client>,
    /// What was seen of it.
    pub books: StoreBooks,
    agreement: Agreement,
    /// One leads in a term.
    fencing: Fencing,
    /// What was written under each number.
    written: durable::Written,
    /// Whose call has which number.
    pub calls: u64,
    /// Clients ask for nothing more.
    pub quiet: bool,
}

// === impl Store ===

impl Store {
    /// For a world of so many masters, with so many clients.
    pub fn new(masters: u64, clients: u64, seed: u64) -> Store {
        let members = if clients == 0 { 0 } else { masters };
        Store {
            dice: Dice::new(seed ^ 0x5702_e000_0000_0000),
            members: (0..members).map(|_| StoreNode::default()).collect(),
            clients: (0..clients).map(|_| Client::default()).collect(),
            books: StoreBooks::default(),
            agreement: Agreement::default(),
            fencing: Fencing::default(),
            written: durable::Written::default(),
            calls: 0,
            quiet: false,
        }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        !self.members.is_empty()
    }

    /// A number for a call, a watch or a write, that was not given before.
    pub fn number(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

/// The one space that all clients share.
fn space_id() -> SpaceId {
    SpaceId { owner: caller().to_string(), name: String::new() }
}

pub(crate) fn caller() -> Caller {
    Caller::Framework(OWNER.to_owned())
}

impl World {
    // === members ===

    pub(crate) fn begin_member(&mut self, node: Node, recovered: Recovered) -> Verdict {
        let (members, founds) = self.masters[node.index()].shell.founding();
        let mut config = Config::new(MasterId(node.number()), members, self.store.dice.next_u64());
        config.snapshot_after_bytes = self.options.snapshot_after_bytes;
        config.founds = founds;
        let member = &mut self.store.members[node.index()];
        match Member::recover(config, recovered) {
            Ok(machine) => member.machine = Some(machine),
            Err(unfit) => {
                return broken("no fault", format!("{node}: the disk of its store is unfit: {unfit:?}"));
            }
        }
        member.busy = false;
        member.turn = None;
        member.compared = 0;
        self.store.books.forgets(node);
        self.tells_member_roster(node);
        self.member_turn(node)
    }

    pub(crate) fn member_dies(&mut self, node: Node) {
        if !self.store.is_there() {
            return;
        }
        let stored = self.store.dice.chance(1, 2);
        let member = &mut self.store.members[node.index()];
        let storing = std::mem::take(&mut member.storing);
        if stored {
            // The sync had gone through, only nobody heard of it.
            storing.iter().for_each(|persist| {
                let _ = member.disk.store(persist);
            });
        }
        member.machine = None;
        member.mailbox.clear();
        member.performing.clear();
        member.busy = false;
        member.turn = None;
        for (watch, (client, _)) in std::mem::take(&mut member.watches) {
            self.watch_breaks(client, node, watch);
        }
    }

    pub(crate) fn member_hears(&mut self, node: Node, input: Input) {
        let member = &mut self.store.members[node.index()];
        if member.machine.is_some() {
            member.mailbox.push_back(input);
            self.plan_member(node);
        }
    }

    /// Decides when a member looks into its mailbox next.
    pub(crate) fn plan_member(&mut self, node: Node) {
        if !self.store.is_there() {
            return;
        }
        let process = &self.masters[node.index()].process;
        let (clock, up, paused_until) = (process.clock, process.up, process.paused_until);
        let member = &self.store.members[node.index()];
        let Some(machine) = member.machine.as_ref() else { return };
        if !up || member.busy {
            return;
        }
        let attention = match member.mailbox.is_empty() {
            true => None,
            false => Some(self.now + self.store.dice.below(self.options.attention + 1)),
        };
        let wake_at = machine.wake_at().map(|at| clock.when(at).max(self.now));
        let Some(at) = attention.into_iter().chain(wake_at).min() else { return };
        let at = at.max(paused_until);
        let member = &mut self.store.members[node.index()];
        if member.turn.is_some_and(|(planned, _)| planned <= at) {
            return;
        }
        member.plans += 1;
        member.turn = Some((at, member.plans));
        let turn = StoreEvent::Turn(node, member.plans);
        self.queue.push(at, Event::Store(turn));
    }

    /// The end of a pause may be earlier than was planned.
    pub(crate) fn plan_member_anew(&mut self, node: Node) {
        if let Some(member) = self.store.members.get_mut(node.index()) {
            member.turn = None;
            self.plan_member(node);
        }
    }

    pub(crate) fn member_looks(&mut self, node: Node, plan: u64) -> Verdict {
        let member = &mut self.store.members[node.index()];
        if member.turn.is_none_or(|(_, planned)| planned != plan) {
            return Ok(());
        }
        member.turn = None;
        let process = &self.masters[node.index()].process;
        if process.up && process.paused_until <= self.now && !member.busy {
            self.member_turn(node)?;
        }
        self.plan_member(node);
        Ok(())
    }

    fn member_turn(&mut self, node: Node) -> Verdict {
        let now = self.masters[node.index()].process.clock.now(self.now);
        let member = &mut self.store.members[node.index()];
        let Some(machine) = member.machine.as_mut() else { return Ok(()) };
        let mut out = Outbox::new();
        for input in member.mailbox.drain(..) {
            machine.step(now, input, &mut out);
        }
        if machine.wake_at().is_some_and(|at| at <= now.monotonic) {
            machine.wake(now, &mut out);
        }
        // One that is alone has committed what it has yet to store: a crash may take that, and nobody was told. What one applies
        // that is alone from this turn on was committed with others.
        let was_alone = self.member_is_alone(node);
        let Some(machine) = self.store.members[node.index()].machine.as_mut() else { return Ok(()) };
        machine.settle(now, &mut out);
        let alone = was_alone && self.member_is_alone(node);
        if !alone {
            self.member_holds(node)?;
        }
        self.trace.event(self.now, node.number(), 15);
        self.trace.number(out.len() as u64);
        self.store.members[node.index()].performing.extend(out.take());
        self.perform_member(node)?;
        if alone && !self.store.members[node.index()].busy {
            self.member_holds(node)?;
        }
        self.plan_member(node);
        Ok(())
    }

    /// Whether a member needs nobody else to commit.
    fn member_is_alone(&self, node: Node) -> bool {
        self.member_machine(node).is_some_and(|machine| machine.raft_status().conf_state.is_alone())
    }

    /// A member that lives.
    pub(crate) fn member_machine(&self, node: Node) -> Option<&Member> {
        self.store.members.get(node.index())?.machine.as_ref()
    }

    /// What a member has applied is on the disks of a majority of its members, and so are the votes of one that leads.
    fn member_has(&self, node: Node, index: u64, elected_in: Option<u64>) -> Verdict {
        let members = self.members.store.around(index);
        let disks = (1..).map(NodeId).zip(self.store.members.iter().map(|member| &member.disk)).collect();
        match elected_in {
            Some(term) => durable::elected(node, term, &members, &disks),
            None => durable::applied(node, index, &members, &disks),
        }
    }

    /// What a member has applied is as it is everywhere.
    fn member_holds(&mut self, node: Node) -> Verdict {
        let slack = self.store_slack(TTL_MAX);
        let member = &mut self.store.members[node.index()];
        let Some(machine) = member.machine.as_ref() else { return Ok(()) };
        let applied = machine.applied();
        if applied <= member.compared {
            return Ok(());
        }
        member.compared = applied;
        if applied.is_multiple_of(COMPARE_EVERY) {
            let image = hash_of(&machine.store().to_image());
            self.trace.number(image);
            self.store.agreement.applied(node, applied, image)?;
        }
        if let Some(space) = machine.store().space(&space_id()) {
            self.store.books.holds_what_is_known(node, space, self.now, slack)?;
        }
        Ok(())
    }

    pub(crate) fn member_stored(&mut self, node: Node, life: u32) -> Verdict {
        if self.life(node) != (life, true) {
            return Ok(());
        }
        let member = &mut self.store.members[node.index()];
        member.busy = false;
        for persist in std::mem::take(&mut member.storing) {
            let member = &mut self.store.members[node.index()];
            let had = member.disk.last_index();
            if let Err(why) = member.disk.store(&persist) {
                return broken(
                    "no fault",
                    format!("{node}: a step does not fit the disk of its store: {why}"),
                );
            }
            let stored = master_raft::Input::Stored { sequence: persist.sequence };
            member.mailbox.push_back(Input::Raft(stored));
            let state = member.disk.hard_state();
            self.store.written.has(node, state)?;
            self.sees_stored(node, Group::Store, &persist, had)?;
        }
        self.perform_member(node)?;
        if !(self.member_is_alone(node) && self.store.members[node.index()].busy) {
            self.member_holds(node)?;
        }
        self.plan_member(node);
        Ok(())
    }

    fn perform_member(&mut self, node: Node) -> Verdict {
        while let Some(output) = self.store.members[node.index()].performing.pop_front() {
            let Output::Persist(persist) = output else {
                self.perform_one_of_store(node, output)?;
                continue;
            };
            // All that is to be stored in this batch is stored in one sync, at the place of the first.
            let member = &mut self.store.members[node.index()];
            member.storing.push(persist);
            for output in std::mem::take(&mut member.performing) {
                match output {
                    Output::Persist(persist) => member.storing.push(persist),
                    output => member.performing.push_back(output),
                }
            }
            member.busy = true;
            let life = self.life(node).0;
            let (least, most) = self.options.sync;
            let slow = !self.calm && self.store.dice.chance(self.options.slow_sync_permille, 1000);
            let most = if slow { 1000 * MS } else { most };
            let at = self.now + least + self.store.dice.below(most - least + 1);
            self.queue.push(at, Event::Store(StoreEvent::Stored(node, life)));
            return Ok(());
        }
        Ok(())
    }

    fn perform_one_of_store(&mut self, node: Node, output: Output) -> Verdict {
        match output {
            Output::Persist(_) | Output::Stands(_) | Output::Saved { .. } => {}
            Output::Members(store) => {
                self.trace.line(self.now, || {
                    format!("{node}: the store's members are {:?} by list {}", store.members, store.list)
                });
                self.tells_master_members(node, store);
            }
            Output::Applied(index) => self.member_has(node, index, None)?,
            Output::ToPeer { to, bytes } => {
                self.trace.bytes(&bytes);
                let input = master_raft::Input::Peer { from: NodeId(node.number()), bytes };
                self.send_store_datagram(node, Node::Master(to.0 as usize), input);
            }
            Output::SnapshotToPeer { to, bytes, index } => self.send_store_snapshot(node, to, bytes, index),
            Output::Reply { ticket, reply } => {
                let asked = |client: &Client| client.waits_for(ticket.0);
                if let Some(client) = self.store.clients.iter().position(asked) {
                    let at = self.now + self.store_delay();
                    let reply = StoreEvent::Reply(client, node, ticket.0, Box::new(reply));
                    self.queue.push(at, Event::Store(reply));
                }
            }
            Output::ToWatch { watch, reply } => {
                let delay = self.store_delay();
                if let Some((client, last)) = self.store.members[node.index()].watches.get_mut(&watch.0) {
                    // A stream keeps its order.
                    *last = (self.now + delay).max(*last);
                    let word = StoreEvent::Word(*client, node, watch.0, Some(Box::new(reply)));
                    self.queue.push(*last, Event::Store(word));
                }
            }
            Output::CloseWatch { watch } => {
                if let Some((client, last)) = self.store.members[node.index()].watches.remove(&watch.0) {
                    let word = StoreEvent::Word(client, node, watch.0, None);
                    self.queue.push(last.max(self.now), Event::Store(word));
                }
            }
            Output::Part { leads, term, .. } => {
                self.trace.line(self.now, || format!("{node} leads the store in term {term}: {leads}"));
                if leads {
                    let life = self.life(node).0;
                    self.store.fencing.leads(node, life, term)?;
                    let commit = self.member_machine(node).map_or(0, |machine| machine.raft_status().commit);
                    self.member_has(node, commit, Some(term))?;
                    self.mark("a member took the lead of the store");
                }
            }
            Output::Note(Note::Denied { caller, message }) => {
                return broken("no fault", format!("{node} denied {caller} the store: {message}"));
            }
            // Of somebody who has left, or is not in yet.
            Output::Note(Note::Peer { why, .. }) if self.options.changes_masters > 0 && why == "Stranger" => {
            }
            Output::Note(Note::Peer { from, why }) => {
                return broken(
                    "no fault",
                    format!("{node}: master-{from} said nonsense of the store: {why}"),
                );
            }
            Output::Note(Note::Unreadable { index, why }) => {
                return broken(
                    "no fault",
                    format!("{node}: entry {index} of the store is unreadable: {why}"),
                );
            }
        }
        Ok(())
    }

    // === at rest ===

    /// What of the store has not healed yet, in a world in which nothing goes wrong any more.
    pub(crate) fn store_missing(&mut self) -> Option<String> {
        if !self.store.is_there() {
            return None;
        }
        if !self.store.quiet {
            if let Some(client) = self.store.clients.iter().position(|client| !client.is_content()) {
                return Some(format!("client {client} of the store is not answered"));
            }
            self.store.quiet = true;
        }
        if let Some(client) = self.store.clients.iter().position(Client::is_busy) {
            return Some(format!("client {client} of the store waits"));
        }
        let empty = Space::default();
        let mut applied = Vec::new();
        for (number, member) in (1..).zip(&self.store.members) {
            if self.stays_away(Node::Master(number)) {
                continue;
            }
            let Some(machine) = member.machine.as_ref() else { return Some("a member is down".to_owned()) };
            let space = machine.store().space(&space_id()).unwrap_or(&empty);
            if self.options.changes_masters > 0 && member.busy {
                // What it has applied may be what it has yet to store.
                return Some("a member of the store stores something".to_owned());
            }
            if space.lease_count() > 0 {
                return Some(format!("{} leases of the store have not run out", space.lease_count()));
            }
            applied.push((machine.applied(), space.revision()));
        }
        let same = applied.iter().all(|one| *one == applied[0]);
        (!same).then(|| format!("members of the store are not at one: {applied:?}"))
    }

    /// At rest all members hold the same, and all of it; and watches have told all of it.
    pub(crate) fn store_rests(&mut self) -> Verdict {
        for (number, member) in (1..).zip(&self.store.members) {
            let Some(machine) = member.machine.as_ref() else { continue };
            let node = Node::Master(number);
            let image = hash_of(&machine.store().to_image());
            self.store.agreement.applied(node, machine.applied(), image)?;
            if let Some(space) = machine.store().space(&space_id()) {
                self.store.books.rests(node, space)?;
            }
        }
        let counts = self.store.books.counts();
        for (what, count) in [
            ("writes to the store were acknowledged", counts.writes),
            ("reads of the store were answered", counts.reads),
            ("changes of the store were told to watches", counts.told),
            ("leases of the store ran out", counts.ended),
        ] {
            if count > 0 {
                self.marks.insert(what, count);
            }
        }
        Ok(())
    }
}
