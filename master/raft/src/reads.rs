//! `Reads`: reads that wait for the leader's word, gathered into rounds.

use std::collections::BTreeMap;

use crate::NodeId;
use crate::config::{READ_LIMIT_TICKS, READ_RETRY_TICKS, READ_ROUNDS_MAX};

/// One round asks the leader once for all reads that had come until then.
///
/// Its mark names the member, this start of it and the round: an answer that was under way when the member
/// restarted must not be taken for the answer to a later read.
pub(crate) struct Reads {
    id: NodeId,
    start: u64,
    next: u64,
    /// Came, not yet asked, with the tick they came.
    gathered: Vec<(u64, u64)>,
    asked: BTreeMap<u64, Round>,
    /// Answered with an index, and waiting for the entries up to it: (index, tag, tick it came).
    answered: BTreeMap<(u64, u64), u64>,
}

struct Round {
    /// Tags, with the tick they came.
    reads: Vec<(u64, u64)>,
    ask_again: u64,
}

impl Reads {
    pub fn new(id: NodeId, start: u64) -> Self {
        Self { id, start, next: 0, gathered: Vec::new(), asked: BTreeMap::new(), answered: BTreeMap::new() }
    }

    pub fn add(&mut self, tag: u64, tick: u64) {
        self.gathered.push((tag, tick));
    }

    /// The mark of a new round, if there is anything to ask and not too much in flight.
    pub fn open_round(&mut self, tick: u64) -> Option<Vec<u8>> {
        if self.gathered.is_empty() || self.asked.len() >= READ_ROUNDS_MAX {
            return None;
        }
        self.next += 1;
        let reads = std::mem::take(&mut self.gathered);
        self.asked.insert(self.next, Round { reads, ask_again: tick + READ_RETRY_TICKS });
        Some(self.mark(self.next))
    }

    /// The marks of rounds that have waited long enough to be asked again; with `all`, of all rounds, since there is
    /// somebody new to ask.
    pub fn ask_again(&mut self, tick: u64, all: bool) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for (number, round) in &mut self.asked {
            if all || round.ask_again <= tick {
                round.ask_again = tick + READ_RETRY_TICKS;
                due.push(*number);
            }
        }
        due.into_iter().map(|number| self.mark(number)).collect()
    }

    /// The leader has answered a mark. Marks of others, of an earlier start and of closed rounds mean nothing.
    pub fn answer(&mut self, mark: &[u8], index: u64) {
        let Some(number) = mark.get(16..24).and_then(|bytes| bytes.try_into().ok()) else { return };
        let number = u64::from_be_bytes(number);
        if mark != self.mark(number).as_slice() {
            return;
        }
        if let Some(round) = self.asked.remove(&number) {
            self.answered.extend(round.reads.into_iter().map(|(tag, came)| ((index, tag), came)));
        }
    }

    /// Takes the reads that see enough when entries up to `handed` have been handed out: (tag, index).
    pub fn ready(&mut self, handed: u64) -> Vec<(u64, u64)> {
        if self.answered.is_empty() {
            return Vec::new();
        }
        let rest = self.answered.split_off(&(handed + 1, 0));
        let ready = std::mem::replace(&mut self.answered, rest);
        ready.into_keys().map(|(index, tag)| (tag, index)).collect()
    }

    /// Takes the tags of reads that have waited too long.
    pub fn overdue(&mut self, tick: u64) -> Vec<u64> {
        let late = |came: u64| came + READ_LIMIT_TICKS <= tick;
        let mut overdue = Vec::new();
        let mut weed = |reads: &mut Vec<(u64, u64)>| {
            reads.retain(|(tag, came)| {
                if late(*came) {
                    overdue.push(*tag);
                }
                !late(*came)
            });
        };
        weed(&mut self.gathered);
        self.asked.values_mut().for_each(|round| weed(&mut round.reads));
        self.asked.retain(|_, round| !round.reads.is_empty());
        self.answered.retain(|(_, tag), came| {
            if late(*came) {
                overdue.push(*tag);
            }
            !late(*came)
        });
        overdue
    }

    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.asked.is_empty() && self.answered.is_empty()
    }

    fn mark(&self, number: u64) -> Vec<u8> {
        [self.id.0, self.start, number].iter().flat_map(|part| part.to_be_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_a_round_end_together_once_their_entries_are_out() {
        let mut reads = Reads::new(NodeId(1), 77);
        reads.add(10, 0);
        reads.add(11, 0);
        let mark = reads.open_round(0).expect("two reads wait");
        assert_eq!(reads.open_round(0), None);
        reads.answer(&mark, 5);
        assert_eq!(reads.ready(4), []);
        assert_eq!(reads.ready(5), [(10, 5), (11, 5)]);
        reads.answer(&mark, 6);
        assert!(reads.is_empty());
    }

    #[test]
    fn an_answer_to_an_earlier_start_or_another_member_is_no_answer() {
        let mut earlier = Reads::new(NodeId(1), 76);
        let mut other = Reads::new(NodeId(2), 77);
        let mut reads = Reads::new(NodeId(1), 77);
        for each in [&mut earlier, &mut other, &mut reads] {
            each.add(1, 0);
        }
        let stale = [earlier.open_round(0), other.open_round(0), Some(vec![1, 2, 3])];
        reads.open_round(0).expect("a read waits");
        for mark in stale.into_iter().flatten() {
            reads.answer(&mark, 3);
        }
        assert_eq!(reads.ready(u64::MAX - 1), []);
        assert_eq!(reads.ask_again(READ_RETRY_TICKS - 1, false).len(), 0);
        assert_eq!(reads.ask_again(READ_RETRY_TICKS, false).len(), 1);
        assert_eq!(reads.ask_again(READ_RETRY_TICKS, true).len(), 1);
        assert_eq!(reads.overdue(READ_LIMIT_TICKS - 1), []);
        assert_eq!(reads.overdue(READ_LIMIT_TICKS), [1]);
        assert!(reads.is_empty());
    }
}
