//! Ways to make a true history untrue: a search that never says no proves nothing.

use std::collections::BTreeMap;

use crate::store::{Answer, Asked, Key, Kv, Op};

/// A way to make a history untrue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// A read is told what an earlier one was told, though the key was put in between.
    StaleRead,
    /// Two reads, one before a put and one behind it, are told each other's answers.
    SwappedAnswers,
    /// A put that was acknowledged, and that somebody has read, put something else.
    LostWrite,
    /// A swap that was refused is told that it was done.
    RefusedSwap,
}

/// What was spoilt, and how it was.
#[derive(Debug)]
pub struct Spoilt {
    /// The key it is about.
    pub key: Key,
    was: Vec<(usize, Op)>,
}

/// A read that was answered.
#[derive(Clone, Copy)]
struct Read {
    at: usize,
    answered: u64,
    found: Option<Kv>,
}

impl Spoil {
    /// All of them.
    pub const ALL: [Spoil; 4] =
        [Spoil::StaleRead, Spoil::SwappedAnswers, Spoil::LostWrite, Spoil::RefusedSwap];

    /// Spoils a history, in the order of its calls, at the first place behind `from` where that can be done so that
    /// nothing could explain it. `None`: there is no such place.
    pub fn spoil(self, ops: &mut [Op], from: usize) -> Option<Spoilt> {
        let mut reads: BTreeMap<Key, Read> = BTreeMap::new();
        let mut puts: BTreeMap<u64, usize> = BTreeMap::new();
        for at in from..ops.len() {
            let Some(answered) = &ops[at].answered else { continue };
            match (&ops[at].asked, &answered.answer) {
                (Asked::Put { value, .. }, Answer::Done) => {
                    puts.insert(*value, at);
                }
                (Asked::Swap { key, .. }, Answer::Otherwise(_)) if self == Spoil::RefusedSwap => {
                    let spoilt = Spoilt::keep(*key, ops, &[at]);
                    set(&mut ops[at], Answer::Done);
                    return Some(spoilt);
                }
                (Asked::Get { key, stale: false }, Answer::Found(found)) => {
                    let (key, read) = (*key, Read { at, answered: answered.at, found: *found });
                    let before = reads.insert(key, read);
                    let put = found.and_then(|kv| puts.get(&kv.value)).copied();
                    let (Some(before), Some(put)) = (before, put) else { continue };
                    let put_answered = ops[put].answered.as_ref().map_or(u64::MAX, |answered| answered.at);
                    if before.answered < ops[put].called && put_answered < ops[at].called {
                        return Some(self.spoil_at(ops, key, before, put, read));
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn spoil_at(self, ops: &mut [Op], key: Key, before: Read, put: usize, behind: Read) -> Spoilt {
        match self {
            Spoil::StaleRead | Spoil::RefusedSwap => {
                let spoilt = Spoilt::keep(key, ops, &[behind.at]);
                set(&mut ops[behind.at], Answer::Found(before.found));
                spoilt
            }
            Spoil::SwappedAnswers => {
                let spoilt = Spoilt::keep(key, ops, &[before.at, behind.at]);
                set(&mut ops[before.at], Answer::Found(behind.found));
                set(&mut ops[behind.at], Answer::Found(before.found));
                spoilt
            }
            Spoil::LostWrite => {
                let spoilt = Spoilt::keep(key, ops, &[put]);
                if let Asked::Put { value, .. } = &mut ops[put].asked {
                    *value = u64::MAX;
                }
                spoilt
            }
        }
    }
}

fn set(op: &mut Op, answer: Answer) {
    if let Some(answered) = &mut op.answered {
        answered.answer = answer;
    }
}

// === impl Spoilt ===

impl Spoilt {
    fn keep(key: Key, ops: &[Op], numbers: &[usize]) -> Spoilt {
        Spoilt { key, was: numbers.iter().map(|at| (*at, ops[*at].clone())).collect() }
    }

    /// Makes the history true again.
    pub fn mend(self, ops: &mut [Op]) {
        for (at, op) in self.was {
            ops[at] = op;
        }
    }
}
