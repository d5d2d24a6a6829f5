//! Frameworks that go away for good, and such as another instance of theirs succeeds.

use crate::frameworks::{FrameworkNode, Part};
use crate::node::Node;
use crate::options::SECOND;
use crate::world::{Event, World};

/// How long an instance that was succeeded may sleep on.
const SLEEPS_ON: u64 = 8 * SECOND;

/// What happens to instances of frameworks.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// This one goes away.
    Departs(Node),
    /// The first is succeeded by the second.
    Succeeds(Node, Node),
}

impl World {
    /// Plans who goes, and makes room for who comes.
    pub(crate) fn plan_instances(&mut self) {
        let rough = self.options.rough;
        for number in 1..=self.frameworks.len() {
            let habits = self.frameworks[number - 1].plan.habits;
            let node = Node::Framework(number);
            if habits.departs {
                let at = rough / 4 + self.dice.below(rough / 2 + 1);
                self.queue.push(at, Event::Instance(Change::Departs(node)));
            }
            if habits.is_succeeded {
                let at = rough / 4 + self.dice.below(rough / 2 + 1);
                let clock = self.clock();
                self.frameworks.push(FrameworkNode::successor(&self.frameworks[number - 1], clock));
                let successor = Node::Framework(self.frameworks.len());
                self.queue.push(at, Event::Instance(Change::Succeeds(node, successor)));
            }
        }
    }

    /// At some time from now on another instance of a framework takes over.
    pub(crate) fn plan_succession(&mut self, framework: usize, within: u64) {
        let Some(node) = self.latest_of(framework) else { return };
        let at = self.now + self.dice.below(within);
        let clock = self.clock();
        self.frameworks[node.index()].plan.habits.is_succeeded = true;
        self.frameworks.push(FrameworkNode::successor(&self.frameworks[node.index()], clock));
        let successor = Node::Framework(self.frameworks.len());
        self.queue.push(at, Event::Instance(Change::Succeeds(node, successor)));
    }

    pub(crate) fn instances_change(&mut self, change: Change) {
        match change {
            Change::Departs(node) => {
                self.mark("a framework went away for good");
                self.leaves_for_good(node);
            }
            Change::Succeeds(..) if self.calm => {}
            Change::Succeeds(node, successor) => {
                let framework = &self.frameworks[node.index()];
                let stands = framework.driver.as_ref().is_some_and(framework_sdk_core::Driver::is_connected);
                if !stands || framework.memory.framework.is_none() {
                    return self.queue.push(self.now + SECOND, Event::Instance(change));
                }
                // It does not move until the other one has its session: what it would do meanwhile it might do rightly.
                let mut memory = framework.memory.clone();
                memory.starts += 1000;
                let fence = framework.fence + 1;
                self.process(node).paused_until = u64::MAX;
                let next = &mut self.frameworks[successor.index()];
                (next.memory, next.fence, next.part) = (memory, fence, Part::Plays);
                let life = next.process.life;
                self.queue.push(self.now, Event::Begin(successor, life));
            }
        }
    }

    /// The session of an instance stands: the one before it may wake, and find out.
    pub(crate) fn successor_stands(&mut self, node: Node) {
        let Some(before) = self.succeeded_by(node) else { return };
        let framework = &mut self.frameworks[before.index()];
        if framework.part != Part::Plays {
            return;
        }
        framework.part = Part::Succeeded;
        self.mark("a framework was succeeded by another instance");
        let until = self.now + self.dice.below(SLEEPS_ON);
        let process = self.process(before);
        process.paused_until = until;
        process.turn = None;
        self.plan(before);
    }

    /// Which instance this one succeeds.
    fn succeeded_by(&self, node: Node) -> Option<Node> {
        let one = &self.frameworks[node.index()];
        if one.fence == 0 {
            return None;
        }
        let before = |other: &FrameworkNode| other.name == one.name && other.fence + 1 == one.fence;
        self.frameworks.iter().position(before).map(|at| Node::Framework(at + 1))
    }

    /// Times are calm: who waits for its successor waits no more, and who has still to come stays away.
    pub(crate) fn instances_calm_down(&mut self) {
        for number in 1..=self.frameworks.len() {
            let node = Node::Framework(number);
            if self.process(node).paused_until == u64::MAX {
                self.leaves_for_good(node);
            }
        }
    }

    /// A framework's process dies and does not begin again.
    pub(crate) fn leaves_for_good(&mut self, node: Node) {
        self.frameworks[node.index()].part = Part::Gone;
        if self.life(node).1 {
            self.die(node);
        }
    }
}
