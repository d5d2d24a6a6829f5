//! Records: what a batch says, as fixed little-endian fields behind a kind and a group.

use bytes::Bytes;
use master_raft::{ConfState, Entry, EntryKind, HardState, NodeId};

use crate::Group;

const ENTRY: u8 = 1;
const TRUNCATE: u8 = 2;
const HARD_STATE: u8 = 3;
const MEMBERS: u8 = 4;
const SNAPSHOT: u8 = 5;

/// One thing a batch says of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Entry(Stored<'a>),
    /// Entries at and behind this index are void.
    TruncateFrom(u64),
    HardState(HardState),
    Members(u64, ConfState),
    Snapshot(Pointer),
}

/// An entry whose data is still in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub index: u64,
    term: u64,
    kind: EntryKind,
    data: &'a [u8],
}

/// The newest snapshot, as the log has it; its bytes are in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub index: u64,
    pub term: u64,
    pub bytes: u64,
    pub crc: u32,
    pub conf_state: ConfState,
}

/// It is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

impl Stored<'_> {
    pub(crate) fn to_entry(self) -> Entry {
        let Self { index, term, kind, data } = self;
        Entry { index, term, kind, data: Bytes::copy_from_slice(data) }
    }
}

// === writing ===

pub(crate) fn put_entry(to: &mut Vec<u8>, group: Group, entry: &Entry) {
    to.extend([ENTRY, group.0]);
    put_numbers(to, [entry.index, entry.term]);
    to.push(match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::Members => 1,
    });
    put_numbers(to, [entry.data.len() as u64]);
    to.extend_from_slice(&entry.data);
}

pub(crate) fn put_truncate_from(to: &mut Vec<u8>, group: Group, from: u64) {
    to.extend([TRUNCATE, group.0]);
    put_numbers(to, [from]);
}

pub(crate) fn put_hard_state(to: &mut Vec<u8>, group: Group, state: &HardState) {
    to.extend([HARD_STATE, group.0]);
    put_numbers(to, [state.term, state.vote.map_or(0, |id| id.0), state.commit]);
}

pub(crate) fn put_members(to: &mut Vec<u8>, group: Group, index: u64, conf_state: &ConfState) {
    to.extend([MEMBERS, group.0]);
    put_numbers(to, [index]);
    put_conf_state(to, conf_state);
}

pub(crate) fn put_snapshot(to: &mut Vec<u8>, group: Group, pointer: &Pointer) {
    to.extend([SNAPSHOT, group.0]);
    put_numbers(to, [pointer.index, pointer.term, pointer.bytes, u64::from(pointer.crc)]);
    put_conf_state(to, &pointer.conf_state);
}

fn put_conf_state(to: &mut Vec<u8>, conf_state: &ConfState) {
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = conf_state;
    to.push(u8::from(*auto_leave));
    for list in [voters, learners, voters_outgoing, learners_next] {
        put_numbers(to, [list.len() as u64]);
        list.iter().for_each(|id| put_numbers(to, [id.0]));
    }
}

fn put_numbers<const N: usize>(to: &mut Vec<u8>, numbers: [u64; N]) {
    numbers.iter().for_each(|number| to.extend(number.to_le_bytes()));
}

// === reading ===

/// The records of a batch, in their order.
pub(crate) struct Records<'a>(pub &'a [u8]);

impl<'a> Records<'a> {
    /// The next one; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(Group, Record<'a>)>, Damaged> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (kind, group) = (self.u8()?, Group(self.u8()?));
        let record = match kind {
            ENTRY => {
                let (index, term) = (self.u64()?, self.u64()?);
                let kind = match self.u8()? {
                    0 => EntryKind::Normal,
                    1 => EntryKind::Members,
                    _ => return Err(Damaged),
                };
                let length = usize::try_from(self.u64()?).map_err(|_| Damaged)?;
                let (data, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
                self.0 = rest;
                Record::Entry(Stored { index, term, kind, data })
            }
            TRUNCATE => Record::TruncateFrom(self.u64()?),
            HARD_STATE => {
                let (term, vote, commit) = (self.u64()?, self.u64()?, self.u64()?);
                Record::HardState(HardState { term, vote: (vote != 0).then_some(NodeId(vote)), commit })
            }
            MEMBERS => Record::Members(self.u64()?, self.conf_state()?),
            SNAPSHOT => Record::Snapshot(Pointer {
                index: self.u64()?,
                term: self.u64()?,
                bytes: self.u64()?,
                crc: u32::try_from(self.u64()?).map_err(|_| Damaged)?,
                conf_state: self.conf_state()?,
            }),
            _ => return Err(Damaged),
        };
        Ok(Some((group, record)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.take().map(u64::from_le_bytes)
    }

    fn conf_state(&mut self) -> Result<ConfState, Damaged> {
        let auto_leave = self.u8()? != 0;
        let mut list = || (0..self.u64()?).map(|_| self.u64().map(NodeId)).collect::<Result<Vec<_>, _>>();
        Ok(ConfState {
            voters: list()?,
            learners: list()?,
            voters_outgoing: list()?,
            learners_next: list()?,
            auto_leave,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const G: Group = Group(1);

    fn joint() -> ConfState {
        ConfState {
            voters: vec![NodeId(1), NodeId(2)],
            learners: vec![],
            voters_outgoing: vec![NodeId(1), NodeId(3)],
            learners_next: vec![NodeId(3)],
            auto_leave: true,
        }
    }

    #[test]
    fn records_come_back_as_they_were_and_no_cut_passes() {
        let entry = Entry { index: 7, term: 3, kind: EntryKind::Members, data: Bytes::from_static(b"data") };
        let pointer = Pointer { index: 1, term: 2, bytes: 3, crc: u32::MAX, conf_state: joint() };
        let states = [None, Some(NodeId(9))].map(|vote| HardState { term: 5, vote, commit: 4 });
        let mut body = Vec::new();
        let mut ends = Vec::new();
        put_entry(&mut body, G, &entry);
        ends.push(body.len());
        put_truncate_from(&mut body, Group(2), 6);
        ends.push(body.len());
        for state in &states {
            put_hard_state(&mut body, G, state);
            ends.push(body.len());
        }
        put_members(&mut body, G, 8, &joint());
        ends.push(body.len());
        put_snapshot(&mut body, G, &pointer);
        let mut records = Records(&body);
        let Ok(Some((G, Record::Entry(stored)))) = records.next() else { panic!("an entry") };
        assert_eq!(stored.to_entry(), entry);
        assert_eq!(records.next(), Ok(Some((Group(2), Record::TruncateFrom(6)))));
        for state in states {
            assert_eq!(records.next(), Ok(Some((G, Record::HardState(state)))));
        }
        assert_eq!(records.next(), Ok(Some((G, Record::Members(8, joint())))));
        assert_eq!(records.next(), Ok(Some((G, Record::Snapshot(pointer)))));
        assert_eq!(records.next(), Ok(None));
        for end in (1..body.len()).filter(|end| !ends.contains(end)) {
            let mut records = Records(&body[..end]);
            let failed = loop {
                match records.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break false,
                    Err(Damaged) => break true,
                }
            };
            assert!(failed, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(body in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..7) {
            let body = [vec![kind], body].concat();
            let mut records = Records(&body);
            let mut left = body.len();
            while let Ok(Some(_)) = records.next() {
                prop_assert!(records.0.len() < left, "it goes on");
                left = records.0.len();
            }
        }
    }
}
