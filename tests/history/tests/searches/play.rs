//! A pretend store and clients that call it all at once: what comes of it is true, whatever the dice say.

use std::collections::BTreeMap;

use proto_machine::Dice;
use tests_history::store::{Answer, Answered, Asked, Guard, Key, Kv, Op};
use tests_history::watch::{Change, Told};

/// The store and its clients.
pub struct Play {
    dice: Dice,
    keys: u64,
    held: BTreeMap<Key, Kv>,
    revision: u64,
    changes: Vec<Change>,
    clients: Vec<Option<Call>>,
    /// Carried out some time, though nobody waits any more.
    late: Vec<Asked>,
    clock: u64,
    /// One call in so many gets no answer.
    pub lost_one_in: u64,
}

struct Call {
    called: u64,
    asked: Asked,
    done: Option<(u64, Answer)>,
}

/// What came of it.
pub struct Played {
    /// The calls, in their order.
    pub ops: Vec<Op>,
    /// What a watch of everything tells.
    pub told: Told,
}

impl Play {
    pub fn new(seed: u64, clients: usize, keys: u64) -> Play {
        Play {
            dice: Dice::new(seed),
            keys,
            held: BTreeMap::new(),
            revision: 1,
            changes: Vec::new(),
            clients: (0..clients).map(|_| None).collect(),
            late: Vec::new(),
            clock: 0,
            lost_one_in: 8,
        }
    }

    /// Plays so many calls.
    pub fn play(mut self, count: usize) -> Played {
        let mut ops = Vec::new();
        let mut called = 0;
        while ops.len() < count {
            self.clock += 1;
            if !self.late.is_empty() && self.dice.chance(1, 20) {
                let asked = self.late.swap_remove(self.dice.below(self.late.len() as u64) as usize);
                self.carry_out(asked);
            }
            let client = self.dice.below(self.clients.len() as u64) as usize;
            match self.clients[client].take() {
                None if called == count => {}
                None => {
                    called += 1;
                    let asked = self.ask();
                    self.clients[client] = Some(Call { called: self.clock, asked, done: None });
                }
                Some(Call { called, asked, done: None }) if self.dice.chance(1, self.lost_one_in) => {
                    if self.dice.chance(1, 2) {
                        self.late.push(asked);
                    }
                    ops.push(Op { client: client as u32, called, asked, answered: None });
                }
                Some(Call { called, asked, done: None }) => {
                    let done = Some(self.carry_out(asked));
                    self.clients[client] = Some(Call { called, asked, done });
                }
                Some(Call { called, asked, done: Some(_) }) if self.dice.chance(1, self.lost_one_in) => {
                    ops.push(Op { client: client as u32, called, asked, answered: None });
                }
                Some(Call { called, asked, done: Some((revision, answer)) }) => {
                    let answered = Some(Answered { at: self.clock, revision, answer });
                    ops.push(Op { client: client as u32, called, asked, answered });
                }
            }
        }
        ops.sort_by_key(|op| op.called);
        let told = Told { name: "all".into(), from: 0, to: Key::MAX, start: 2, changes: self.changes };
        Played { ops, told }
    }

    fn ask(&mut self) -> Asked {
        let key = self.dice.below(self.keys) as Key;
        let value = self.clock;
        let known = self.held.get(&key).copied();
        match self.dice.below(10) {
            0..3 => Asked::Get { key, stale: false },
            3 => Asked::List { from: 0, to: self.keys as Key - 1 },
            4 | 5 => Asked::Put { key, value },
            6 | 7 => {
                let guess = self.dice.chance(1, 4);
                let guard = match self.dice.chance(1, 2) {
                    true => Guard::Modified(known.map_or(0, |kv| kv.modified) + u64::from(guess)),
                    false => Guard::Version(known.map_or(0, |kv| kv.version) + u64::from(guess)),
                };
                let also = (key + 1 < self.keys as Key && self.dice.chance(1, 2)).then_some(key + 1);
                Asked::Swap { key, guard, value, also }
            }
            8 => Asked::Delete { key },
            _ => Asked::Get { key, stale: true },
        }
    }

    fn carry_out(&mut self, asked: Asked) -> (u64, Answer) {
        let answer = match asked {
            Asked::Get { key, .. } => Answer::Found(self.held.get(&key).copied()),
            Asked::List { from, to } => {
                Answer::Listed(self.held.range(from..=to).map(|(key, kv)| (*key, *kv)).collect())
            }
            Asked::Put { key, value } => {
                self.revision += 1;
                self.put(key, value);
                Answer::Done
            }
            Asked::Swap { key, guard, value, also } => {
                let known = self.held.get(&key).copied();
                let holds = match guard {
                    Guard::Modified(seen) => known.map_or(0, |kv| kv.modified) == seen,
                    Guard::Version(seen) => known.map_or(0, |kv| kv.version) == seen,
                };
                if holds {
                    self.revision += 1;
                    [key].into_iter().chain(also).for_each(|key| self.put(key, value));
                    Answer::Done
                } else {
                    Answer::Otherwise(known)
                }
            }
            Asked::Delete { key } => match self.held.remove(&key) {
                Some(_) => {
                    self.revision += 1;
                    self.changes.push(Change { revision: self.revision, key, held: None });
                    Answer::Deleted(true)
                }
                None => Answer::Deleted(false),
            },
        };
        (self.revision, answer)
    }

    fn put(&mut self, key: Key, value: u64) {
        let revision = self.revision;
        let before = self.held.get(&key);
        let created = before.map_or(revision, |kv| kv.created);
        let version = before.map_or(1, |kv| kv.version + 1);
        let kv = Kv { value, created, modified: revision, version };
        self.held.insert(key, kv);
        self.changes.push(Change { revision, key, held: Some(kv) });
    }
}
