//! Streams between clients and masters: how they open, carry, break, and are noticed to be broken.

use proto::wire::Wire;

use crate::check::Verdict;
use crate::network::{Down, End, Up};
use crate::node::Node;
use crate::options::MS;
use crate::world::{Event, World};

impl World {
    /// A client opens a stream to the master at this address; the number by which the world knows it.
    pub fn connect(&mut self, client: Node, link: u64, address: &str) -> Option<u64> {
        let number = address.strip_prefix("master-")?.split(':').next()?.parse().ok()?;
        let master = Node::Master(number);
        if master.index() >= self.masters.len() {
            return None;
        }
        let (client_life, _) = self.life(client);
        let (master_life, _) = self.life(master);
        let id = self.network.open((client, client_life), link, (master, master_life));
        self.send_up(id, Up::Open);
        Some(id)
    }

    /// Sends to the master's end.
    pub fn send_up(&mut self, id: u64, up: Up) {
        let delay = self.network.delay(&self.options, &mut self.dice);
        if let Some(at) = self.network.arrival(id, End::Master, self.now, delay) {
            self.queue.push(at, Event::Up(id, up));
        }
    }

    /// Sends to the client's end.
    pub fn send_down(&mut self, id: u64, down: Down) {
        let delay = self.network.delay(&self.options, &mut self.dice);
        if let Some(at) = self.network.arrival(id, End::Client, self.now, delay) {
            self.queue.push(at, Event::Down(id, down));
        }
    }

    /// A stream breaks: what is on its way is lost, and each end notices in its own time.
    pub fn cut(&mut self, id: u64, most: u64) {
        let Some(stream) = self.network.stream_mut(id) else { return };
        if stream.broken {
            return;
        }
        stream.broken = true;
        for end in [End::Client, End::Master] {
            let at = self.now + 1 + self.dice.below(most);
            self.queue.push(at, Event::Noticed(id, end));
        }
    }

    pub(crate) fn arrives_up(&mut self, id: u64, up: Up) -> Verdict {
        let Some(stream) = self.network.stream(id).cloned() else { return Ok(()) };
        if stream.broken || !stream.master_open {
            return Ok(());
        }
        if self.network.blocks(stream.client, stream.master) {
            self.cut(id, 20_000 * MS);
            return Ok(());
        }
        if self.life(stream.master) != (stream.master_life, true) {
            // Nobody there by that name any more.
            self.send_down(id, Down::Close);
            self.network.close(id, End::Master);
            return Ok(());
        }
        self.trace.event(self.now, stream.master.number(), 3);
        match &up {
            Up::Agent(message) => self.trace.bytes(&message.encode()),
            Up::Call(call) => self.trace.bytes(&call.encode()),
            Up::Open | Up::Close => {}
        }
        self.master_hears(stream.master, id, &stream, up);
        self.plan(stream.master);
        Ok(())
    }

    pub(crate) fn arrives_down(&mut self, id: u64, down: Down) -> Verdict {
        let Some(stream) = self.network.stream(id).cloned() else { return Ok(()) };
        if stream.broken || !stream.client_open {
            return Ok(());
        }
        if self.network.blocks(stream.master, stream.client) {
            self.cut(id, 20_000 * MS);
            return Ok(());
        }
        self.trace.event(self.now, stream.client.number(), 4);
        match &down {
            Down::Agent(message) => self.trace.bytes(&message.encode()),
            Down::Event(event) => self.trace.bytes(&event.encode()),
            Down::Opened | Down::Close => {}
        }
        if matches!(down, Down::Close) {
            self.network.close(id, End::Client);
        }
        match stream.client {
            Node::Agent(_) => self.agent_hears(stream.client, stream.link, down),
            Node::Framework(_) => self.framework_hears(stream.client, stream.link, down),
            Node::Master(_) => {}
        }
        self.plan(stream.client);
        Ok(())
    }

    pub(crate) fn noticed(&mut self, id: u64, end: End) -> Verdict {
        let Some(stream) = self.network.stream(id).cloned() else { return Ok(()) };
        let (node, life, open) = match end {
            End::Client => (stream.client, stream.client_life, stream.client_open),
            End::Master => (stream.master, stream.master_life, stream.master_open),
        };
        self.network.close(id, end);
        if !open || self.life(node) != (life, true) {
            return Ok(());
        }
        match (end, node) {
            (End::Master, _) => self.master_hears(node, id, &stream, Up::Close),
            (End::Client, Node::Agent(_)) => self.agent_hears(node, stream.link, Down::Close),
            (End::Client, Node::Framework(_)) => self.framework_hears(node, stream.link, Down::Close),
            (End::Client, Node::Master(_)) => {}
        }
        self.plan(node);
        Ok(())
    }
}
