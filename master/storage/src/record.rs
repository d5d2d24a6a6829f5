//! How entries and facts look on disk: fixed little-endian fields behind a CRC-32 of themselves and of their key.

use bytes::Bytes;
use master_raft::{ConfState, Entry, EntryKind, HardState, NodeId};

use crate::Group;

/// The version of everything in this file. A change of any of it is a new number.
pub(crate) const FORMAT: u64 = 1;

/// The place of a fact in the table `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    HardState = 0,
    Members = 1,
    Snapshot = 2,
}

/// The newest snapshot, as `meta` has it; its bytes are in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub index: u64,
    pub term: u64,
    pub bytes: u64,
    pub crc: u32,
    pub conf_state: ConfState,
}

/// It does not match its checksum, or is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

// === entries ===

/// Writes the record of an entry into `to`, in place of what it holds.
pub(crate) fn write_entry(group: Group, entry: &Entry, to: &mut Vec<u8>) {
    to.clear();
    to.extend([0; 4]);
    to.push(match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::Members => 1,
    });
    to.extend(entry.term.to_le_bytes());
    to.extend_from_slice(&entry.data);
    seal(group, entry.index, to);
}

pub(crate) fn read_entry(group: Group, index: u64, record: &[u8]) -> Result<Entry, Damaged> {
    let mut fields = open(group, index, record)?;
    let kind = match fields.u8()? {
        0 => EntryKind::Normal,
        1 => EntryKind::Members,
        _ => return Err(Damaged),
    };
    let term = fields.u64()?;
    Ok(Entry { index, term, kind, data: Bytes::copy_from_slice(fields.0) })
}

// === facts ===

pub(crate) fn hard_state(group: Group, state: &HardState) -> Vec<u8> {
    let mut to = vec![0; 4];
    for number in [state.term, state.vote.map_or(0, |id| id.0), state.commit] {
        to.extend(number.to_le_bytes());
    }
    seal(group, Fact::HardState as u64, &mut to);
    to
}

pub(crate) fn read_hard_state(group: Group, record: &[u8]) -> Result<HardState, Damaged> {
    let mut fields = open(group, Fact::HardState as u64, record)?;
    let (term, vote, commit) = (fields.u64()?, fields.u64()?, fields.u64()?);
    fields.end()?;
    Ok(HardState { term, vote: (vote != 0).then_some(NodeId(vote)), commit })
}

pub(crate) fn members(group: Group, index: u64, conf_state: &ConfState) -> Vec<u8> {
    let mut to = vec![0; 4];
    to.extend(index.to_le_bytes());
    write_members(conf_state, &mut to);
    seal(group, Fact::Members as u64, &mut to);
    to
}

pub(crate) fn read_members(group: Group, record: &[u8]) -> Result<(u64, ConfState), Damaged> {
    let mut fields = open(group, Fact::Members as u64, record)?;
    let members = (fields.u64()?, fields.members()?);
    fields.end()?;
    Ok(members)
}

pub(crate) fn pointer(group: Group, pointer: &Pointer) -> Vec<u8> {
    let mut to = vec![0; 4];
    for number in [pointer.index, pointer.term, pointer.bytes] {
        to.extend(number.to_le_bytes());
    }
    to.extend(pointer.crc.to_le_bytes());
    write_members(&pointer.conf_state, &mut to);
    seal(group, Fact::Snapshot as u64, &mut to);
    to
}

pub(crate) fn read_pointer(group: Group, record: &[u8]) -> Result<Pointer, Damaged> {
    let mut fields = open(group, Fact::Snapshot as u64, record)?;
    let pointer = Pointer {
        index: fields.u64()?,
        term: fields.u64()?,
        bytes: fields.u64()?,
        crc: fields.u32()?,
        conf_state: fields.members()?,
    };
    fields.end()?;
    Ok(pointer)
}

fn write_members(conf_state: &ConfState, to: &mut Vec<u8>) {
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = conf_state;
    to.push(u8::from(*auto_leave));
    for list in [voters, learners, voters_outgoing, learners_next] {
        to.extend((list.len() as u32).to_le_bytes());
        list.iter().for_each(|id| to.extend(id.0.to_le_bytes()));
    }
}

// === checksums and fields ===

/// Fills the first four bytes.
fn seal(group: Group, key: u64, record: &mut [u8]) {
    if let Some((first, rest)) = record.split_first_chunk_mut() {
        *first = checksum(group, key, rest).to_le_bytes();
    }
}

fn open(group: Group, key: u64, record: &[u8]) -> Result<Fields<'_>, Damaged> {
    let (first, rest) = record.split_first_chunk().ok_or(Damaged)?;
    let whole = u32::from_le_bytes(*first) == checksum(group, key, rest);
    if whole { Ok(Fields(rest)) } else { Err(Damaged) }
}

/// The key is part of it: a record that is whole but stands in another's place is damage too.
fn checksum(group: Group, key: u64, record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[group.0]);
    crc.update(&key.to_le_bytes());
    crc.update(record);
    crc.finalize()
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.take().map(u64::from_le_bytes)
    }

    fn members(&mut self) -> Result<ConfState, Damaged> {
        let auto_leave = self.u8()? != 0;
        let mut list = || (0..self.u32()?).map(|_| self.u64().map(NodeId)).collect::<Result<Vec<_>, _>>();
        Ok(ConfState {
            voters: list()?,
            learners: list()?,
            voters_outgoing: list()?,
            learners_next: list()?,
            auto_leave,
        })
    }

    fn end(&self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: Group = Group(1);

    fn entry() -> Entry {
        Entry { index: 7, term: 3, kind: EntryKind::Members, data: Bytes::from_static(b"some data") }
    }

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
    fn records_come_back_as_they_were() {
        let mut record = Vec::new();
        write_entry(G, &entry(), &mut record);
        assert_eq!(read_entry(G, 7, &record), Ok(entry()));
        for vote in [None, Some(NodeId(9))] {
            let state = HardState { term: 5, vote, commit: 4 };
            assert_eq!(read_hard_state(G, &hard_state(G, &state)), Ok(state));
        }
        assert_eq!(read_members(G, &members(G, 6, &joint())), Ok((6, joint())));
        let at = Pointer { index: 1, term: 2, bytes: 3, crc: 4, conf_state: joint() };
        assert_eq!(read_pointer(G, &pointer(G, &at)), Ok(at));
    }

    #[test]
    fn every_flipped_bit_every_cut_and_every_wrong_place_is_damage() {
        let mut record = Vec::new();
        write_entry(G, &entry(), &mut record);
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut flipped = record.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(read_entry(G, 7, &flipped), Err(Damaged));
            }
            assert_eq!(read_entry(G, 7, &record[..at]), Err(Damaged));
        }
        assert_eq!(read_entry(G, 8, &record), Err(Damaged));
        assert_eq!(read_entry(Group(2), 7, &record), Err(Damaged));
        assert_eq!(read_hard_state(G, &members(G, 6, &joint())), Err(Damaged));
    }
}
