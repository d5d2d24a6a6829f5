//! What surrounds a process and can fail it: disks that are full, slow, or do not sync, and clocks that are set.

use proto_machine::Dice;

use crate::check::Verdict;
use crate::node::Node;
use crate::options::{MS, SECOND};
use crate::world::{Event, World};

/// The disk of a node, as far as it can fail. It outlives processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hardware {
    /// Nothing more can be written before then,
    pub full_until: u64,
    /// nor in what an agent's ledger keeps free.
    pub no_reserve: bool,
    /// Each sync takes half a second or more before then.
    pub slow_until: u64,
    /// The next sync fails.
    pub fails_sync: bool,
}

impl Hardware {
    /// How much longer a sync takes now.
    pub fn delay(&self, now: u64, dice: &mut Dice) -> u64 {
        if self.slow_until > now { 500 * MS + dice.below(500 * MS) } else { 0 }
    }
}

impl World {
    /// Whether what a process has waited for is not on its disk. Then it must stop at once and say nothing of it: what was
    /// written may be there in part, and a sync that failed once may seem to do well the next time.
    pub(crate) fn disk_fails(&mut self, node: Node) -> bool {
        if self.calm {
            return false;
        }
        let now = self.now;
        let hardware = &mut self.process(node).hardware;
        // An agent is not told of room that there is not; it keeps some for what it must write down.
        let full = hardware.full_until > now && matches!(node, Node::Master(_));
        let unsynced = std::mem::take(&mut hardware.fails_sync);
        if full {
            self.mark("a process stopped at its full disk");
        } else if unsynced {
            self.mark("a process stopped at a sync that failed");
        }
        full || unsynced
    }

    /// The disk of a node is full for a while.
    pub(crate) fn disk_fills(&mut self, node: Node, lasts: u64) {
        let until = self.now + lasts;
        self.process(node).hardware.full_until = until;
        if let Node::Agent(_) = node {
            self.process(node).hardware.no_reserve = self.dice.chance(1, 3);
            self.agent_sees_room(node);
            self.queue.push(until, Event::Room(node));
        }
    }

    /// Whether nothing more can be written.
    pub(crate) fn disk_is_full(&mut self, node: Node) -> bool {
        let now = self.now;
        !self.calm && self.process(node).hardware.full_until > now
    }

    /// A process stops because its disk does not keep what it was given.
    pub(crate) fn stops_at_its_disk(&mut self, node: Node) -> Verdict {
        self.tell(node, |_| "stops: its disk does not keep what it wrote".to_owned());
        match node {
            Node::Master(_) => self.master_wrote_in_part(node),
            Node::Agent(_) => self.agent_wrote_in_part(node),
            Node::Framework(_) => {}
        }
        self.crash(node);
        Ok(())
    }

    /// What can fail does so no more.
    pub(crate) fn hardware_heals(&mut self) {
        for node in self.nodes() {
            self.process(node).hardware = Hardware::default();
            self.agent_sees_room(node);
        }
    }

    /// Somebody sets the clock of a machine, up to an hour forth or back.
    pub(crate) fn set_clock(&mut self, node: Node, by_ms: i64) {
        self.mark("a clock was set");
        self.process(node).clock.set(by_ms);
    }

    /// By how much clocks are set.
    pub(crate) fn some_step(&mut self) -> i64 {
        let most = [SECOND, 600 * SECOND, 3600 * SECOND][self.dice.below(3) as usize] / MS;
        let by = 1 + self.dice.below(most) as i64;
        if self.dice.chance(1, 2) { by } else { -by }
    }
}
