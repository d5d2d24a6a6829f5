//! What can happen to the store, and how its messages travel.

use bytes::Bytes;
use master_raft::NodeId;
use master_store_core::{Input, Ticket, WatchId};
use proto::store::{Call, Reply, Watch, WatchReply};
use proto::wire::Wire;

use crate::check::Verdict;
use crate::node::Node;
use crate::options::MS;
use crate::store::caller;
use crate::world::{Event, World};

/// What can happen to the store.
#[derive(Debug)]
pub enum StoreEvent {
    /// A member looks into its mailbox, by the plan of this number.
    Turn(Node, u64),
    /// What a member in this life has waited for is on its disk.
    Stored(Node, u32),
    /// A datagram between members.
    Datagram(Node, Node, Box<master_raft::Input>),
    /// How the transfer of a snapshot ended, for the life that sent it.
    Report(Node, u32, NodeId, bool),
    /// A client does something, by the plan of this number.
    Client(usize, u64),
    /// A call arrives.
    Call(usize, Node, u64, Box<Call>),
    /// An answer arrives.
    Reply(usize, Node, u64, Box<Reply>),
    /// Somebody wants to watch.
    Watch(usize, Node, u64, Box<Watch>),
    /// A watch is told something; nothing: its stream broke.
    Word(usize, Node, u64, Option<Box<WatchReply>>),
}

impl World {
    pub(crate) fn store_event(&mut self, event: StoreEvent) -> Verdict {
        match event {
            StoreEvent::Turn(node, plan) => self.member_looks(node, plan),
            StoreEvent::Stored(node, life) => self.member_stored(node, life),
            StoreEvent::Datagram(from, to, input) => {
                if !self.network.blocks(from, to) && self.life(to).1 && self.door_opens(from, to) {
                    self.trace.event(self.now, to.number(), 16);
                    self.member_hears(to, Input::Raft(*input));
                }
                Ok(())
            }
            StoreEvent::Report(to, life, peer, delivered) => {
                if self.life(to) == (life, true) {
                    let report = master_raft::Input::SnapshotReport { peer, delivered };
                    self.member_hears(to, Input::Raft(report));
                }
                Ok(())
            }
            StoreEvent::Client(client, plan) => {
                self.client_acts(client, plan);
                Ok(())
            }
            StoreEvent::Call(client, to, ticket, call) => {
                if !self.network.blocks(self.client_home(client), to) && self.life(to).1 {
                    self.trace.event(self.now, to.number(), 17);
                    self.trace.bytes(&call.encode());
                    let input = Input::Ask { ticket: Ticket(ticket), caller: caller(), call: *call };
                    self.member_hears(to, input);
                }
                Ok(())
            }
            StoreEvent::Reply(client, from, ticket, reply) => {
                if self.network.blocks(from, self.client_home(client)) {
                    return Ok(());
                }
                self.trace.event(self.now, client as u64, 18);
                self.trace.bytes(&reply.encode());
                self.client_hears(client, ticket, *reply)
            }
            StoreEvent::Watch(client, to, watch, ask) => {
                if self.network.blocks(self.client_home(client), to) || !self.life(to).1 {
                    self.watch_breaks(client, to, watch);
                    return Ok(());
                }
                self.store.members[to.index()].watches.insert(watch, (client, self.now));
                self.member_hears(to, Input::Watch { watch: WatchId(watch), caller: caller(), ask: *ask });
                Ok(())
            }
            StoreEvent::Word(client, from, watch, word) => {
                let blocked = self.network.blocks(from, self.client_home(client));
                if word.is_some() && blocked {
                    self.member_forgets(from, watch);
                    self.watch_breaks(client, from, watch);
                    return Ok(());
                }
                self.trace.event(self.now, client as u64, 19);
                self.client_is_told(client, watch, word.map(|word| *word))
            }
        }
    }

    /// Where a client is: it is cut off with a framework.
    pub(crate) fn client_home(&self, client: usize) -> Node {
        Node::Framework(1 + client % self.frameworks.len().max(1))
    }

    /// A client learns that its stream broke.
    pub(crate) fn watch_breaks(&mut self, client: usize, from: Node, watch: u64) {
        let at = self.now + 1 + self.store.dice.below(500) * MS;
        self.queue.push(at, Event::Store(StoreEvent::Word(client, from, watch, None)));
    }

    pub(crate) fn member_forgets(&mut self, node: Node, watch: u64) {
        if self.store.members[node.index()].watches.remove(&watch).is_some() {
            self.member_hears(node, Input::WatchClosed { watch: WatchId(watch) });
        }
    }

    /// How long a message of the store takes.
    pub(crate) fn store_delay(&mut self) -> u64 {
        self.network.delay(&self.options, &mut self.store.dice)
    }

    /// By how much the clocks of a leader and of the world may differ over this time.
    pub(crate) fn store_slack(&self, time: u64) -> u64 {
        time / 1_000_000 * self.options.drift_ppm * 2 + MS
    }

    // === between members ===

    pub(crate) fn send_store_datagram(&mut self, from: Node, to: Node, input: master_raft::Input) {
        if to.index() >= self.store.members.len() || !self.has_stream(from, to.number()) {
            return;
        }
        let calm = self.network.calm;
        if !calm && self.store.dice.chance(self.options.lost_permille, 1000) {
            return;
        }
        if !calm && self.store.dice.chance(self.options.doubled_permille, 1000) {
            let at = self.now + self.store_delay();
            let twin = StoreEvent::Datagram(from, to, Box::new(input.clone()));
            self.queue.push(at, Event::Store(twin));
        }
        let at = self.now + self.store_delay();
        self.queue.push(at, Event::Store(StoreEvent::Datagram(from, to, Box::new(input))));
    }

    pub(crate) fn send_store_snapshot(&mut self, from: Node, to: NodeId, bytes: Bytes, index: u64) {
        self.mark("a snapshot of the store was sent");
        let receiver = Node::Master(to.0 as usize);
        let image = self.store.members[from.index()].disk.image(index);
        let life = self.life(from).0;
        let arrives =
            self.has_stream(from, to.0) && !self.network.blocks(from, receiver) && self.life(receiver).1;
        let lost = !self.network.calm && self.store.dice.chance(self.options.lost_permille, 1000);
        let delay = 5 * self.store_delay();
        let delivered = match image {
            Some(image) if arrives && !lost => {
                let input = master_raft::Input::PeerSnapshot { from: NodeId(from.number()), bytes, image };
                let datagram = StoreEvent::Datagram(from, receiver, Box::new(input));
                self.queue.push(self.now + delay, Event::Store(datagram));
                true
            }
            Some(_) | None => false,
        };
        let report = StoreEvent::Report(from, life, to, delivered);
        self.queue.push(self.now + 2 * delay, Event::Store(report));
    }
}
