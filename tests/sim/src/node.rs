//! The nodes of a world: which there are, and what each has in common with the others: a process that lives and dies.

use std::fmt;

use crate::clock::Clock;
use crate::hardware::Hardware;

/// One node, by its number from 1 among its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A master.
    Master(usize),
    /// An agent.
    Agent(usize),
    /// A framework.
    Framework(usize),
}

impl Node {
    /// Its place among its kind, from zero.
    pub fn index(self) -> usize {
        match self {
            Node::Master(number) | Node::Agent(number) | Node::Framework(number) => number - 1,
        }
    }

    /// A number of its own, for the trace.
    pub fn number(self) -> u64 {
        match self {
            Node::Master(number) => number as u64,
            Node::Agent(number) => 1000 + number as u64,
            Node::Framework(number) => 2000 + number as u64,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Master(number) => write!(f, "master-{number}"),
            Node::Agent(number) => write!(f, "agent-{number}"),
            Node::Framework(number) => write!(f, "framework-{number}"),
        }
    }
}

/// The process of a node.
#[derive(Clone, Debug)]
pub struct Process {
    /// Counts its lives.
    pub life: u32,
    /// Whether it lives.
    pub up: bool,
    /// It waits for its disk and looks at nothing else.
    pub busy: bool,
    /// It is not run before.
    pub paused_until: u64,
    /// Its clock.
    pub clock: Clock,
    /// When it will look into its mailbox, and the number of that plan; older plans are void.
    pub turn: Option<(u64, u64)>,
    /// The last plan's number.
    pub plans: u64,
    /// What it runs on.
    pub hardware: Hardware,
}

impl Process {
    /// A process that has not begun.
    pub fn new(clock: Clock) -> Self {
        Process {
            life: 0,
            up: false,
            busy: false,
            paused_until: 0,
            clock,
            turn: None,
            plans: 0,
            hardware: Hardware::default(),
        }
    }

    /// It begins, with this clock.
    pub fn begin(&mut self, clock: Clock) {
        self.life += 1;
        self.up = true;
        self.busy = false;
        self.paused_until = 0;
        self.clock = clock;
        self.turn = None;
    }

    /// It dies.
    pub fn die(&mut self) {
        self.up = false;
        self.busy = false;
        self.turn = None;
    }
}
