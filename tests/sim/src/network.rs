//! The pretend network: streams that keep their order and may break, datagrams that may be lost, doubled or late, and
//! partitions of one direction or both.

use std::collections::BTreeMap;

use proto::agent_link::{ToAgent, ToMaster};
use proto::scheduler::{Call, Event};
use proto_machine::Dice;

use crate::node::Node;
use crate::options::Options;

/// What a client says on a stream.
#[derive(Clone, Debug)]
pub enum Up {
    /// Opens it.
    Open,
    /// An agent speaks.
    Agent(Box<ToMaster>),
    /// A framework calls.
    Call(Box<Call>),
    /// Nothing more will come.
    Close,
}

/// What a master says on a stream.
#[derive(Clone, Debug)]
pub enum Down {
    /// It is open.
    Opened,
    /// To an agent.
    Agent(Box<ToAgent>),
    /// To a framework.
    Event(Box<Event>),
    /// Nothing more will come.
    Close,
}

/// One end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent's or framework's.
    Client,
    /// The master's.
    Master,
}

/// One connection of a client to a master.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who opened it.
    pub client: Node,
    /// In which of its lives.
    pub client_life: u32,
    /// By what number the client knows it.
    pub link: u64,
    /// To whom.
    pub master: Node,
    /// In which of its lives.
    pub master_life: u32,
    /// Whether the client still listens.
    pub client_open: bool,
    /// Whether the master still listens.
    pub master_open: bool,
    /// Nothing arrives any more, in either direction.
    pub broken: bool,
    /// When the last thing sent up arrives; what comes later cannot overtake it.
    up_at: u64,
    /// The same downwards.
    down_at: u64,
}

/// The pretend network.
#[derive(Debug, Default)]
pub struct Network {
    /// How many partitions block a direction.
    blocked: BTreeMap<(Node, Node), u32>,
    streams: BTreeMap<u64, Stream>,
    opened: u64,
    /// Nothing is lost, doubled or late any more.
    pub calm: bool,
}

impl Network {
    /// Whether nothing gets from one to the other.
    pub fn blocks(&self, from: Node, to: Node) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Who cannot reach whom.
    pub fn blocked(&self) -> impl Iterator<Item = (Node, Node)> {
        self.blocked.keys().copied()
    }

    /// Blocks a direction, once more.
    pub fn block(&mut self, from: Node, to: Node) {
        *self.blocked.entry((from, to)).or_default() += 1;
    }

    /// Takes one block away.
    pub fn unblock(&mut self, from: Node, to: Node) {
        if let Some(count) = self.blocked.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.blocked.remove(&(from, to));
            }
        }
    }

    /// All partitions are over, and what may go wrong with a message does not any more.
    pub fn heal(&mut self) {
        self.blocked.clear();
        self.calm = true;
    }

    /// How long a message takes.
    pub fn delay(&self, options: &Options, dice: &mut Dice) -> u64 {
        let (least, most) = options.delay;
        let delay = least + dice.below(most - least + 1);
        let late = !self.calm && options.late_permille > 0 && dice.chance(options.late_permille, 1000);
        if late { delay * (1 + dice.below(20)) } else { delay }
    }

    /// A new stream.
    pub fn open(&mut self, client: (Node, u32), link: u64, master: (Node, u32)) -> u64 {
        self.opened += 1;
        let stream = Stream {
            client: client.0,
            client_life: client.1,
            link,
            master: master.0,
            master_life: master.1,
            client_open: true,
            master_open: true,
            broken: false,
            up_at: 0,
            down_at: 0,
        };
        self.streams.insert(self.opened, stream);
        self.opened
    }

    /// One stream.
    pub fn stream(&self, id: u64) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// One stream.
    pub fn stream_mut(&mut self, id: u64) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    /// The streams that have an end at this node.
    pub fn streams_of(&self, node: Node) -> Vec<u64> {
        self.streams
            .iter()
            .filter(|(_, stream)| stream.client == node || stream.master == node)
            .map(|(id, _)| *id)
            .collect()
    }

    /// All streams.
    pub fn all(&self) -> Vec<u64> {
        self.streams.keys().copied().collect()
    }

    /// When something arrives that is sent now and takes `delay`; order is kept.
    pub fn arrival(&mut self, id: u64, to: End, now: u64, delay: u64) -> Option<u64> {
        let stream = self.streams.get_mut(&id)?;
        let last = match to {
            End::Client => &mut stream.down_at,
            End::Master => &mut stream.up_at,
        };
        *last = (now + delay).max(*last);
        Some(*last)
    }

    /// An end does not listen any more; a stream without listeners is forgotten.
    pub fn close(&mut self, id: u64, end: End) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match end {
            End::Client => stream.client_open = false,
            End::Master => stream.master_open = false,
        }
        if !stream.client_open && !stream.master_open {
            self.streams.remove(&id);
        }
    }
}
