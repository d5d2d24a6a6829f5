//! What masters say to each other: messages that may be lost or come twice, and images with the report of how that ended.

use bytes::Bytes;
use master_core::Input;
use master_raft::NodeId;

use crate::check::Verdict;
use crate::node::Node;
use crate::world::{Event, World};

impl World {
    pub(crate) fn send_datagram(&mut self, from: Node, to: Node, input: master_raft::Input, times: u64) {
        if to.index() >= self.masters.len() || !self.has_stream(from, to.number()) {
            return;
        }
        let calm = self.network.calm;
        if !calm && self.dice.chance(self.options.lost_permille, 1000) {
            return self.mark("a datagram was lost");
        }
        if !calm && self.dice.chance(self.options.doubled_permille, 1000) {
            self.mark("a datagram came twice");
            let at = self.now + self.network.delay(&self.options, &mut self.dice);
            self.queue.push(at, Event::Datagram { from, to, input: Box::new(input.clone()) });
        }
        let at = self.now + times * self.network.delay(&self.options, &mut self.dice);
        self.queue.push(at, Event::Datagram { from, to, input: Box::new(input) });
    }

    pub(crate) fn datagram(&mut self, from: Node, to: Node, input: master_raft::Input) -> Verdict {
        if self.network.blocks(from, to) || !self.life(to).1 || !self.door_opens(from, to) {
            return Ok(());
        }
        self.trace.event(self.now, to.number(), 6);
        self.masters[to.index()].mailbox.push_back(Input::Raft(input));
        self.plan(to);
        Ok(())
    }

    pub(crate) fn send_snapshot(&mut self, from: Node, to: NodeId, bytes: Bytes, index: u64) {
        self.mark("a snapshot was sent");
        let receiver = Node::Master(to.0 as usize);
        let image = self.masters[from.index()].disk.image(index);
        let life = self.life(from).0;
        let arrives =
            self.has_stream(from, to.0) && !self.network.blocks(from, receiver) && self.life(receiver).1;
        let lost = !self.network.calm && self.dice.chance(self.options.lost_permille, 1000);
        let delay = 5 * self.network.delay(&self.options, &mut self.dice);
        let delivered = match image {
            Some(image) if arrives && !lost => {
                let input = master_raft::Input::PeerSnapshot { from: NodeId(from.number()), bytes, image };
                let event = Event::Datagram { from, to: receiver, input: Box::new(input) };
                self.queue.push(self.now + delay, event);
                true
            }
            Some(_) | None => false,
        };
        self.queue.push(self.now + 2 * delay, Event::Report { to: from, life, peer: to, delivered });
    }

    pub(crate) fn report(&mut self, to: Node, life: u32, peer: NodeId, delivered: bool) -> Verdict {
        if self.life(to) == (life, true) {
            let input = master_raft::Input::SnapshotReport { peer, delivered };
            self.masters[to.index()].mailbox.push_back(Input::Raft(input));
            self.plan(to);
        }
        Ok(())
    }
}
