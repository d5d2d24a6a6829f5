//! Replays: a run again, step by step, with what each step changed.

use std::collections::BTreeMap;

use crate::network::{Down, End, Up};
use crate::node::Node;
use crate::run::{outcome, trimmed_world};
use crate::state;
use crate::store_events::StoreEvent;
use crate::trim::Trim;
use crate::words;
use crate::world::{Event, World};

/// Which steps are shown.
#[derive(Clone, Debug)]
pub struct Window {
    /// From this time on, in the world's nanoseconds.
    pub from: u64,
    /// Up to this time.
    pub to: u64,
    /// Those of this node, if not all.
    pub node: Option<String>,
}

/// Who is shown what.
pub struct Replay {
    window: Window,
    tell: Box<dyn FnMut(String)>,
    /// Steps in a row that changed nothing and said nothing.
    idle: u64,
}

/// A step that has begun: what it is, whose it is, and how things stood.
pub(crate) struct Before {
    what: Option<String>,
    node: Option<Node>,
    lines: Vec<String>,
}

/// Runs a seed and shows its steps; whether it kept its promises.
pub fn replay(seed: u64, trim: &Trim, window: &Window, tell: impl FnMut(String) + 'static) -> bool {
    let mut world = trimmed_world(seed, trim);
    let (mut told, tell) = shared(tell);
    world.replay = Some(Replay { window: window.clone(), tell: Box::new(tell), idle: 0 });
    match outcome(world).verdict {
        Ok(report) => {
            told(format!("seed {seed} kept its promises for {:.3}s", report.lived as f64 / 1e9));
            true
        }
        Err(how) => {
            told(format!("seed {seed} broke a promise at {how}"));
            false
        }
    }
}

/// One voice that two use.
fn shared(tell: impl FnMut(String) + 'static) -> (impl FnMut(String), impl FnMut(String) + 'static) {
    let one = std::rc::Rc::new(std::cell::RefCell::new(tell));
    let other = one.clone();
    (move |line| (one.borrow_mut())(line), move |line| (other.borrow_mut())(line))
}

impl World {
    /// How things stand before a step that is to be shown.
    pub(crate) fn before(&self, event: &Event) -> Option<Before> {
        let Window { from, to, node: wanted } = &self.replay.as_ref()?.window;
        if self.now < *from || self.now > *to {
            return None;
        }
        let node = self.node_of(event);
        let named = |node: Node| [node.to_string(), self.name(node)];
        if let (Some(wanted), Some(node)) = (wanted, node)
            && !named(node).contains(wanted)
        {
            return None;
        }
        let lines = node.map_or_else(|| state::of_all(self), |node| state::of(self, node));
        Some(Before { what: self.described(event), node, lines })
    }

    /// Shows a step, if it said or changed anything.
    pub(crate) fn after(&mut self, before: Before) {
        let Before { what, node, lines: old } = before;
        let new = node.map_or_else(|| state::of_all(self), |node| state::of(self, node));
        let mut changes = changes(&old, &new);
        let (now, who) = (self.now, node.map(|node| self.name(node)));
        let Some(replay) = &mut self.replay else { return };
        if let (None, Some(wanted)) = (node, &replay.window.node) {
            // What is everybody's is of interest where it changes something of theirs.
            changes.retain(|change| change.contains(wanted.as_str()));
            if changes.is_empty() {
                return;
            }
        }
        if what.is_none() && changes.is_empty() {
            replay.idle += 1;
            return;
        }
        if replay.idle > 0 {
            (replay.tell)(format!("{:>13} {} steps changed nothing", "", replay.idle));
            replay.idle = 0;
        }
        let what = what.unwrap_or_else(|| "takes its turn".to_owned());
        let who = who.map(|who| format!("{who} ")).unwrap_or_default();
        (replay.tell)(format!("{:>12.6}s {who}{what}", now as f64 / 1e9));
        changes.into_iter().for_each(|change| (replay.tell)(format!("{:>15}{change}", "")));
    }

    /// Whose step an event is; nobody's where it may be everybody's.
    fn node_of(&self, event: &Event) -> Option<Node> {
        match event {
            Event::Turn(node, _) | Event::Stored(node, _) | Event::Begin(node, _) | Event::Room(node) => {
                Some(*node)
            }
            Event::Up(id, _) | Event::Noticed(id, End::Master) => {
                self.network.stream(*id).map(|stream| stream.master)
            }
            Event::Down(id, _) | Event::Noticed(id, End::Client) => {
                self.network.stream(*id).map(|stream| stream.client)
            }
            Event::Datagram { to, .. } | Event::Report { to, .. } => Some(*to),
            Event::Keeper { agent, .. } | Event::VolumeGone { agent, .. } => Some(*agent),
            Event::Store(event) => match event {
                StoreEvent::Turn(node, _)
                | StoreEvent::Stored(node, _)
                | StoreEvent::Datagram(_, node, _)
                | StoreEvent::Report(node, ..)
                | StoreEvent::Call(_, node, ..)
                | StoreEvent::Reply(_, node, ..)
                | StoreEvent::Watch(_, node, ..)
                | StoreEvent::Word(_, node, ..) => Some(*node),
                StoreEvent::Client(..) => None,
            },
            Event::Fault | Event::Given(_) | Event::Unblock(..) | Event::Wish | Event::Work(_) => None,
            Event::Instance(_) => None,
            Event::Members(event) => event.node(),
        }
    }

    /// What an event says; nothing for what only keeps things going.
    fn described(&self, event: &Event) -> Option<String> {
        let peer = |id: &u64, end: End| {
            let stream = self.network.stream(*id)?;
            Some(self.name(if end == End::Client { stream.client } else { stream.master }))
        };
        match event {
            Event::Up(id, up) => {
                let from = peer(id, End::Client)?;
                let said = match up {
                    Up::Open => "opens a stream".to_owned(),
                    Up::Agent(message) => words::to_master(message)?,
                    Up::Call(call) => words::call(call)?,
                    Up::Close => "closes its stream".to_owned(),
                };
                Some(format!("<- {from}: {said}"))
            }
            Event::Down(id, down) => {
                let from = peer(id, End::Master)?;
                let said = match down {
                    Down::Opened => "the stream is open".to_owned(),
                    Down::Agent(message) => words::to_agent(message)?,
                    Down::Event(event) => words::event(event)?,
                    Down::Close => "closes the stream".to_owned(),
                };
                Some(format!("<- {from}: {said}"))
            }
            Event::Noticed(id, End::Client) => {
                Some(format!("loses its stream to {}", peer(id, End::Master)?))
            }
            Event::Noticed(id, End::Master) => {
                Some(format!("loses its stream to {}", peer(id, End::Client)?))
            }
            Event::Stored(..) => Some("has stored what it waited for".to_owned()),
            Event::Room(_) => Some("looks how much room there is".to_owned()),
            Event::Begin(node, life) => (self.life(*node) == (*life, false)).then(|| "starts".to_owned()),
            Event::Keeper { event, .. } => Some(format!("its keeper: {event:?}")),
            Event::VolumeGone { volume, .. } => Some(format!("has deleted {volume:?}")),
            Event::Report { peer, delivered, .. } => {
                Some(format!("its snapshot to master-{} arrived: {delivered}", peer.0))
            }
            Event::Given(fault) => Some(format!("fault: {fault}")),
            Event::Fault => Some("a fault is drawn".to_owned()),
            Event::Unblock(from, to) => {
                Some(format!("{from} reaches {to} again, if nothing else is in the way"))
            }
            Event::Instance(change) => Some(format!("{change:?}")),
            Event::Wish => Some("operators want something".to_owned()),
            Event::Members(event) => Some(event.to_string()),
            Event::Work(_) => Some("there is more to do".to_owned()),
            Event::Turn(..) | Event::Datagram { .. } | Event::Store(_) => None,
        }
    }
}

/// What is in one and not in the other, as often as that; gone first.
fn changes(old: &[String], new: &[String]) -> Vec<String> {
    let mut count: BTreeMap<&str, i64> = BTreeMap::new();
    new.iter().for_each(|line| *count.entry(line).or_default() += 1);
    old.iter().for_each(|line| *count.entry(line).or_default() -= 1);
    let gone = count.iter().filter(|(_, count)| **count < 0).map(|(line, _)| format!("- {line}"));
    let come = count.iter().filter(|(_, count)| **count > 0).map(|(line, _)| format!("+ {line}"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_shown() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(changes(&lines("a b b c"), &lines("c b a d")), ["- b", "+ d"]);
        assert!(changes(&lines("a b"), &lines("b a")).is_empty());
    }
}
