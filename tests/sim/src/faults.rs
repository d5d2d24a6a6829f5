//! What goes wrong, and when.

use crate::check::Verdict;
use crate::node::Node;
use crate::options::{Faults, MS, SECOND};
use crate::world::{Event, World};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    CrashMaster,
    CrashAgent,
    RebootAgent,
    CrashFramework,
    CutStream,
    Partition,
    IsolateMaster,
    Pause,
    Usurp,
}

fn draws(faults: &Faults) -> [(Kind, u64); 9] {
    [
        (Kind::CrashMaster, faults.crash_master),
        (Kind::CrashAgent, faults.crash_agent),
        (Kind::RebootAgent, faults.reboot_agent),
        (Kind::CrashFramework, faults.crash_framework),
        (Kind::CutStream, faults.cut_stream),
        (Kind::Partition, faults.partition),
        (Kind::IsolateMaster, faults.isolate_master),
        (Kind::Pause, faults.pause),
        (Kind::Usurp, faults.usurp),
    ]
}

impl World {
    pub(crate) fn plan_fault(&mut self) {
        if self.options.fault_every > 0 && !self.calm {
            let at = self.now + self.dice.below(2 * self.options.fault_every) + 1;
            self.queue.push(at, Event::Fault);
        }
    }

    pub(crate) fn fault(&mut self) -> Verdict {
        if self.calm {
            return Ok(());
        }
        let draws = draws(&self.options.faults);
        let all = draws.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.below(all);
        let drawn = draws.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        if let Some((kind, _)) = drawn {
            self.go_wrong(*kind);
        }
        self.plan_fault();
        Ok(())
    }

    fn go_wrong(&mut self, kind: Kind) {
        match kind {
            Kind::CrashMaster => {
                let node = Node::Master(1 + self.dice.below(self.masters.len() as u64) as usize);
                self.mark("a master died");
                self.crash(node);
            }
            Kind::CrashAgent => {
                let node = self.some_agent();
                self.mark("an agent died");
                self.crash(node);
            }
            Kind::RebootAgent => {
                let node = self.some_agent();
                if !self.agents[node.index()].left {
                    self.agent_reboots(node);
                    let life = self.life(node).0;
                    let at = self.now + self.dice.below(10 * SECOND);
                    self.queue.push(at, Event::Begin(node, life));
                }
            }
            Kind::CrashFramework => {
                let node = Node::Framework(1 + self.dice.below(self.frameworks.len() as u64) as usize);
                self.mark("a framework died");
                self.crash(node);
            }
            Kind::CutStream => {
                let streams = self.network.all();
                if let Some(id) = self.dice.pick(&streams).copied() {
                    self.mark("a stream broke");
                    let most = if self.dice.chance(1, 4) { 20 * SECOND } else { 500 * MS };
                    self.cut(id, most);
                }
            }
            Kind::Partition => {
                let nodes = self.nodes();
                let from = nodes[self.dice.below(nodes.len() as u64) as usize];
                let to = nodes[self.dice.below(nodes.len() as u64) as usize];
                self.mark("two nodes could not speak");
                let both = self.dice.chance(1, 2);
                let until = self.now + self.dice.below(15 * SECOND);
                self.block(from, to, until);
                if both {
                    self.block(to, from, until);
                }
            }
            Kind::IsolateMaster => {
                let master = Node::Master(1 + self.dice.below(self.masters.len() as u64) as usize);
                self.mark("a master was cut off");
                let (deaf, mute) = [(true, true), (true, false), (false, true)][self.dice.below(3) as usize];
                let until = self.now + self.dice.below(10 * SECOND);
                for node in self.nodes() {
                    if deaf {
                        self.block(node, master, until);
                    }
                    if mute {
                        self.block(master, node, until);
                    }
                }
            }
            Kind::Usurp => self.usurp(),
            Kind::Pause => {
                let nodes = self.nodes();
                let node = nodes[self.dice.below(nodes.len() as u64) as usize];
                if self.process(node).paused_until == u64::MAX {
                    return;
                }
                self.mark("a process slept");
                let most = if self.dice.chance(1, 3) { 30 * SECOND } else { 2 * SECOND };
                let until = self.now + self.dice.below(most);
                self.trace.line(self.now, || format!("{node} sleeps until {}s", until / SECOND));
                self.process(node).paused_until = until;
            }
        }
    }

    /// First a leader falls asleep; once another leads, agents lose that one, and may come to the sleeper's door.
    fn usurp(&mut self) {
        let awake = |world: &World, node: Node| world.masters[node.index()].process.paused_until <= world.now;
        let (awake, asleep): (Vec<Node>, Vec<Node>) =
            self.leaders().into_iter().partition(|node| awake(self, *node));
        let Some(leader) = awake.first().copied() else { return };
        if asleep.is_empty() {
            self.mark("a leader slept");
            let until = self.now + 3 * SECOND + self.dice.below(5 * SECOND);
            self.process(leader).paused_until = until;
            return;
        }
        self.mark("agents lost a leader while an earlier one slept");
        for id in self.network.streams_of(leader) {
            self.cut(id, 200 * MS);
        }
    }

    fn some_agent(&mut self) -> Node {
        Node::Agent(1 + self.dice.below(self.agents.len() as u64) as usize)
    }

    fn block(&mut self, from: Node, to: Node, until: u64) {
        if from != to {
            self.trace.line(self.now, || format!("{from} cannot reach {to} until {}s", until / SECOND));
            self.network.block(from, to);
            self.queue.push(until, Event::Unblock(from, to));
        }
    }

    /// A process dies and comes back later.
    pub fn crash(&mut self, node: Node) {
        let (life, up) = self.life(node);
        // One that waits for its successor neither dies nor begins anew meanwhile.
        if !up || self.process(node).paused_until == u64::MAX {
            return;
        }
        self.die(node);
        let most = if self.dice.chance(1, 3) { 20 * SECOND } else { 2 * SECOND };
        let at = self.now + self.dice.below(most);
        self.queue.push(at, Event::Begin(node, life));
    }
}
