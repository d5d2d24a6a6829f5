//! Masters: how they are driven, and their outputs performed: nothing behind a `Persist` leaves before it is stored.

use std::collections::{BTreeMap, VecDeque};

use master_core::{Config, Input, LinkId, Master, Note, Output, SessionId};
use master_raft::{NodeId, Persist, Role};
use proto::agent_link::ToAgentKind;
use proto::caller::Caller;
use proto::id::MasterId;
use proto::operator::{EVENT_KINDS, EventKind, Happened, OfferEnd};
use proto::wire::Wire;
use proto_machine::{Machine, Outbox};
use std::sync::Arc;
use std::time::Duration;

use crate::check::{Verdict, durable};
use crate::disk::LogDisk;
use crate::members::Group;
use crate::network::{Down, End, Stream, Up};
use crate::node::{Node, Process};
use crate::shell::Shell;
use crate::trace::hash_of;
use crate::words;
use crate::world::{Event, World, fault_of};

/// A master and its pretended surroundings.
pub struct MasterNode {
    /// Its process.
    pub process: Process,
    /// Itself, while it lives.
    pub machine: Option<Master>,
    /// What it has not yet seen.
    pub mailbox: VecDeque<Input>,
    /// Its disk.
    pub disk: LogDisk,
    /// What else surrounds it.
    pub shell: Shell,
    /// What it has said and is not yet done, in order.
    performing: VecDeque<Output>,
    /// What is on its way to the disk.
    storing: Vec<Persist>,
    /// What its registry folded to at some indexes that it has not yet announced.
    images: VecDeque<(u64, u64)>,
}

impl MasterNode {
    /// A master with an empty disk.
    pub fn new(process: Process, shell: Shell) -> Self {
        MasterNode {
            shell,
            process,
            machine: None,
            mailbox: VecDeque::new(),
            disk: LogDisk::default(),
            performing: VecDeque::new(),
            storing: Vec::new(),
            images: VecDeque::new(),
        }
    }
}

/// The door of a master.
pub fn address(number: u64) -> String {
    format!("master-{number}:5050")
}

impl World {
    pub(crate) fn begin_master(&mut self, node: Node) -> Verdict {
        let Some((registry, store)) = self.opens_disks(node) else { return Ok(()) };
        let clock = self.clock();
        let (members, founds) = self.masters[node.index()].shell.founding();
        let mut config = Config::new(MasterId(node.number()), members, self.dice.next_u64());
        config.offer_timeout = Duration::from_nanos(self.options.offer_timeout);
        config.agent_unreachable_after = Duration::from_nanos(self.options.unreachable_after);
        config.snapshot_after_bytes = self.options.snapshot_after_bytes;
        config.founds = founds;
        let master = &mut self.masters[node.index()];
        match Master::recover(config, registry) {
            Ok(machine) => master.machine = Some(machine),
            Err(unfit) => return fault_of(node, format!("its own disk is unfit: {unfit}")),
        }
        master.process.begin(clock);
        master.shell.begins();
        self.begins_to_knock(node);
        // The first settle brings its registry back.
        self.master_turn(node)?;
        match store.filter(|_| self.life(node).1) {
            Some(store) => self.begin_member(node, store),
            None => Ok(()),
        }
    }

    pub(crate) fn master_dies(&mut self, node: Node) {
        let stored = self.dice.chance(1, 2);
        let master = &mut self.masters[node.index()];
        let storing = std::mem::take(&mut master.storing);
        if stored {
            // The sync had gone through, only nobody heard of it.
            storing.iter().for_each(|persist| {
                let _ = master.disk.store(persist);
            });
        }
        master.machine = None;
        master.mailbox.clear();
        master.performing.clear();
        master.images.clear();
        self.checks.conservation.forget(node);
        self.checks.quota.forget(node);
        self.member_dies(node);
    }

    pub(crate) fn master_turn(&mut self, node: Node) -> Verdict {
        let master = &mut self.masters[node.index()];
        let Some(machine) = master.machine.as_mut() else { return Ok(()) };
        let now = master.process.clock.now(self.now);
        let mut out = Outbox::new();
        let before = machine.applied();
        let term = term_of(machine);
        let was_alone = machine.raft_status().conf_state.is_alone();
        let heard =
            master.mailbox.iter().any(|input| matches!(input, Input::Raft(from) if is_from_peer(from)));
        for input in master.mailbox.drain(..) {
            machine.step(now, input, &mut out);
        }
        if machine.wake_at().is_some_and(|at| at <= now.monotonic) {
            machine.wake(now, &mut out);
        }
        machine.settle(now, &mut out);
        if !(heard || was_alone || machine.raft_status().conf_state.is_alone()) {
            self.checks.fencing.heard_nobody(node, term, term_of(machine))?;
        }
        let applied = machine.applied();
        if applied > before && applied.is_multiple_of(self.options.compare_every) {
            master.images.push_back((applied, hash_of(&machine.registry().to_image())));
        }
        let leads = machine.leads();
        let mut look = false;
        for output in out.iter() {
            match output {
                Output::Changed(event) if leads => {
                    self.checks.quota.changed(node, event);
                    look |= self.checks.conservation.changed(node, event);
                }
                Output::Changed(_)
                | Output::Happened(_)
                | Output::Secrets(_)
                | Output::Roster(_)
                | Output::Audit(_) => {}
                Output::Part { leads: false, .. } => {
                    self.checks.conservation.forget(node);
                    self.checks.quota.forget(node);
                }
                Output::Part { .. } | Output::Applied(_) => look = true,
                Output::Note(Note::Books { what }) => {
                    return fault_of(node, format!("the allocator refused {what}"));
                }
                Output::Note(Note::Unreadable { index, why }) => {
                    return fault_of(node, format!("entry {index} is unreadable: {why}"));
                }
                Output::ToAgent { link, message } => {
                    if let Some(to) = self.network.stream(link.0).map(|stream| stream.client) {
                        let id = &self.agents[to.index()].info.id;
                        self.checks.volumes.sent(to, id, &message.kind, machine.registry())?;
                        let launches = &self.checks.launches;
                        self.checks.alive.sent(to, &message.kind, machine.registry(), launches)?;
                    }
                }
                Output::Note(_)
                | Output::Persist(_)
                | Output::ToPeer { .. }
                | Output::SnapshotToPeer { .. }
                | Output::ToFramework { .. }
                | Output::CloseFramework { .. }
                | Output::CloseAgent { .. }
                | Output::Saved { .. }
                | Output::Confirmed { .. }
                | Output::Reply { .. } => {}
            }
        }
        if look && leads {
            self.checks.conservation.look(node, machine.registry())?;
            self.checks.quota.look(node, machine.registry())?;
        }
        self.trace.event(self.now, node.number(), 5);
        self.trace.number(out.len() as u64);
        self.masters[node.index()].performing.extend(out.take());
        self.perform_master(node)
    }

    /// Of what it waited for only a first part reached the disk, if any.
    pub(crate) fn master_wrote_in_part(&mut self, node: Node) {
        let count = self.masters[node.index()].storing.len() as u64;
        let there = self.dice.below(count + 1) as usize;
        self.masters[node.index()].storing.truncate(there);
    }

    /// What it waited for is stored.
    pub(crate) fn master_stored(&mut self, node: Node) -> Verdict {
        let master = &mut self.masters[node.index()];
        for persist in std::mem::take(&mut master.storing) {
            let master = &mut self.masters[node.index()];
            let had = master.disk.last_index();
            if let Err(why) = master.disk.store(&persist) {
                return fault_of(node, format!("a step does not fit its disk: {why}"));
            }
            let stored = master_raft::Input::Stored { sequence: persist.sequence };
            master.mailbox.push_back(Input::Raft(stored));
            let state = master.disk.hard_state();
            self.checks.written.has(node, state)?;
            self.sees_stored(node, Group::Registry, &persist, had)?;
        }
        self.perform_master(node)
    }

    fn perform_master(&mut self, node: Node) -> Verdict {
        while let Some(output) = self.masters[node.index()].performing.pop_front() {
            if self.options.masters_midway_of > 0
                && self.options.midway
                && !self.calm
                && self.dice.chance(1, self.options.masters_midway_of)
            {
                self.mark("a master died midway");
                self.crash(node);
                return Ok(());
            }
            if let Output::Persist(persist) = output {
                // All that is to be stored in this batch is stored in one sync, at the place of the first.
                let master = &mut self.masters[node.index()];
                let rest = std::mem::take(&mut master.performing);
                master.storing.push(persist);
                for output in rest {
                    match output {
                        Output::Persist(persist) => master.storing.push(persist),
                        output => master.performing.push_back(output),
                    }
                }
                master.process.busy = true;
                let life = master.process.life;
                self.logged(node);
                let at = self.now + self.sync_time(node);
                self.queue.push(at, Event::Stored(node, life));
                return Ok(());
            }
            self.perform_one(node, output)?;
        }
        Ok(())
    }

    fn perform_one(&mut self, node: Node, output: Output) -> Verdict {
        match output {
            Output::Persist(_) => {}
            Output::ToPeer { to, bytes } => {
                self.trace.bytes(&bytes);
                let input = master_raft::Input::Peer { from: NodeId(node.number()), bytes };
                self.send_datagram(node, Node::Master(to.0 as usize), input, 1);
            }
            Output::SnapshotToPeer { to, bytes, index } => self.send_snapshot(node, to, bytes, index),
            Output::ToFramework { session, event } => {
                if let Some(stream) = self.network.stream(session.0).filter(|stream| stream.master_open) {
                    let to = stream.client;
                    if words::event(&event).is_some() {
                        self.say(node, to, |_| words::event(&event).unwrap_or_default());
                    }
                    self.send_down(session.0, Down::Event(Box::new(event)));
                }
            }
            Output::ToAgent { link, message } => {
                if let ToAgentKind::Launch(launch) = &message.kind {
                    for given in &launch.runs {
                        self.checks.launches.sent(given, &self.checks.offers)?;
                    }
                }
                if let Some(stream) = self.network.stream(link.0).filter(|stream| stream.master_open) {
                    let to = stream.client;
                    if words::to_agent(&message).is_some() {
                        self.say(node, to, |_| words::to_agent(&message).unwrap_or_default());
                    }
                    self.send_down(link.0, Down::Agent(Box::new(message)));
                }
            }
            Output::CloseFramework { session } => self.hang_up(session.0),
            Output::CloseAgent { link } => self.hang_up(link.0),
            Output::Reply { ticket, kind } => self.replied(ticket, &kind),
            // Nobody asks for it here.
            Output::Saved { .. } | Output::Confirmed { .. } => {}
            Output::Changed(event) => {
                let leads = self.masters[node.index()].machine.as_ref().is_some_and(Master::leads);
                self.checks.offers.changed(self.now, &event)?;
                match &event {
                    EventKind::OfferMade(_) => self.checks.effort.offers()?,
                    EventKind::OfferEnded(ended) => self.mark(match ended.how {
                        OfferEnd::Accepted => "an offer was used",
                        OfferEnd::Declined => "an offer was declined",
                        OfferEnd::Rescinded => "an offer was taken back",
                        OfferEnd::Expired => "an offer ran out",
                    }),
                    EventKind::Snapshot(_)
                    | EventKind::AgentChanged(_)
                    | EventKind::FrameworkChanged(_)
                    | EventKind::FrameworkRemoved(_)
                    | EventKind::TaskChanged(_)
                    | EventKind::RoleChanged(_) => {}
                }
                if leads && let Some(text) = words::changed(&event) {
                    self.tell(node, |_| text.clone());
                }
            }
            Output::Part { term, leads, .. } => {
                if leads {
                    let life = self.life(node).0;
                    self.checks.fencing.leads(node, life, term)?;
                    self.is_elected(node, term)?;
                    self.mark("a master took the lead");
                    self.tell(node, |_| "leads".to_owned());
                }
            }
            // Told from the registry, whose images are compared.
            Output::Happened(events) => {
                if self.leads(node) {
                    let kind =
                        |event: &Arc<Happened>| EVENT_KINDS.into_iter().find(|kind| *kind == event.kind);
                    events.iter().filter_map(kind).for_each(|kind| self.mark(kind));
                }
            }
            Output::Secrets(_) | Output::Audit(_) => {}
            Output::Roster(roster) => {
                self.sees_roster(node, &roster)?;
                self.learns_roster(node, roster);
            }
            Output::Applied(index) => {
                self.is_applied(node, index)?;
                let master = &mut self.masters[node.index()];
                while master.images.front().is_some_and(|(at, _)| *at <= index) {
                    if let Some((at, image)) = master.images.pop_front()
                        && at == index
                    {
                        self.trace.number(image);
                        self.checks.agreement.applied(node, index, image)?;
                    }
                }
            }
            Output::Note(note) => match note {
                // Of somebody who has left, or is not in yet.
                Note::Peer { why, .. } if self.options.changes_masters > 0 && why == "Stranger" => {}
                Note::Peer { from, why } => {
                    return fault_of(node, format!("master-{from} said nonsense: {why}"));
                }
                Note::Refused { code, message, .. } => {
                    self.mark("a call was refused");
                    self.trace.line(self.now, || format!("{node} refused: {} {message}", code.as_str()));
                }
                Note::Accepted { framework, operation, .. } => {
                    self.checks.takeover.carried_out(&framework, &operation)?;
                }
                Note::Agent { .. }
                | Note::Framework { .. }
                | Note::Books { .. }
                | Note::Unreadable { .. } => {}
            },
        }
        Ok(())
    }

    /// What a master has applied is on the disks of a majority of its members.
    fn is_applied(&self, node: Node, index: u64) -> Verdict {
        let members = self.members.registry.around(index);
        durable::applied(node, index, &members, &self.disks())
    }

    /// And so are the votes of one that leads.
    fn is_elected(&self, node: Node, term: u64) -> Verdict {
        // Its machine counts what changes the registry; members change by entries that do not.
        let commit = self.master_machine(node).map_or(0, |machine| machine.raft_status().commit);
        durable::elected(node, term, &self.members.registry.around(commit), &self.disks())
    }

    fn disks(&self) -> BTreeMap<NodeId, &LogDisk> {
        (1..).map(NodeId).zip(self.masters.iter().map(|master| &master.disk)).collect()
    }

    /// Shows what a leader writes into the log.
    fn logged(&mut self, node: Node) {
        if self.transcript.is_none() {
            return;
        }
        let master = &self.masters[node.index()];
        if !master.machine.as_ref().is_some_and(Master::leads) {
            return;
        }
        let entries = master.storing.iter().flat_map(|persist| &persist.entries);
        let lines: Vec<String> = entries.flat_map(words::log_entry).collect();
        for line in lines {
            self.tell(node, |_| line.clone());
        }
    }

    fn hang_up(&mut self, id: u64) {
        self.send_down(id, Down::Close);
        self.network.close(id, End::Master);
    }

    pub(crate) fn master_hears(&mut self, node: Node, id: u64, stream: &Stream, up: Up) {
        let input = match (up, stream.client) {
            (Up::Open, Node::Agent(_)) => return self.send_down(id, Down::Opened),
            (Up::Open, _) => return,
            (Up::Agent(message), client) => {
                let agent = self.agents[client.index()].info.id.clone();
                Input::Agent { link: LinkId(id), agent, message: *message }
            }
            (Up::Call(call), client) => {
                // A person runs a framework in any role; what bounds a framework's own principal has tests of its own.
                let caller = Caller::User(self.frameworks[client.index()].name.clone());
                Input::Framework { session: SessionId(id), caller, call: *call }
            }
            (Up::Close, Node::Agent(_)) => {
                self.network.close(id, End::Master);
                Input::AgentClosed { link: LinkId(id) }
            }
            (Up::Close, _) => {
                self.network.close(id, End::Master);
                Input::FrameworkClosed { session: SessionId(id) }
            }
        };
        self.masters[node.index()].mailbox.push_back(input);
    }

    // === what others ask about masters ===

    /// Those who think that they lead.
    pub fn leaders(&self) -> Vec<Node> {
        (1..=self.masters.len()).map(Node::Master).filter(|node| self.leads(*node)).collect()
    }

    fn leads(&self, node: Node) -> bool {
        self.master_machine(node).is_some_and(Master::leads)
    }

    /// A master that lives.
    pub fn master_machine(&self, node: Node) -> Option<&Master> {
        self.masters.get(node.index())?.machine.as_ref()
    }

    /// How far each master has applied the log; zero for one that is down.
    pub fn masters_applied(&self) -> Vec<(Node, u64)> {
        (1..=self.masters.len())
            .map(Node::Master)
            .filter(|node| !self.stays_away(*node))
            .map(|node| (node, self.master_machine(node).map_or(0, Master::applied)))
            .collect()
    }

    /// The registries of all masters, folded.
    pub fn registries(&self) -> Vec<u64> {
        let machines = self.masters.iter().filter_map(|master| master.machine.as_ref());
        machines.map(|machine| hash_of(&machine.registry().to_image())).collect()
    }
}

/// The term that a master knows of.
fn term_of(machine: &Master) -> u64 {
    match machine.role() {
        Role::Leader { term } | Role::Candidate { term } | Role::Follower { term, .. } => term,
    }
}

fn is_from_peer(input: &master_raft::Input) -> bool {
    matches!(input, master_raft::Input::Peer { .. } | master_raft::Input::PeerSnapshot { .. })
}

/// What a persisted entry of the log says, if it is one of the registry.
pub fn read_entry(data: &[u8]) -> Vec<proto::log::Entry> {
    if data.is_empty() {
        return Vec::new();
    }
    proto::log::Batch::decode(data).map(|batch| batch.entries).unwrap_or_default()
}
