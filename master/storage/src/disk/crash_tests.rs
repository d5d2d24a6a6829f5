//! The store on a disk that fails, and that loses, tears and reorders what was not synced.

use std::io;
use std::sync::{Arc, Mutex};

use master_raft::{Entry, EntryKind, HardState, NodeId};

use super::*;

/// A disk in memory: what is safe, and what has been written since the last sync.
#[derive(Clone, Debug, Default)]
struct Platter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    safe: Vec<u8>,
    seen: Vec<u8>,
    unsafe_writes: Vec<(u64, Vec<u8>)>,
    syncs: u64,
    broken: bool,
}

/// xorshift64* (Vigna 2016).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

impl redb::StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let from = state.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.seen.resize(len as usize, 0);
        // Journalled by the file system, unlike the data.
        state.safe.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.broken {
            return Err(io::Error::other("the disk is broken"));
        }
        state.safe = state.seen.clone();
        state.unsafe_writes.clear();
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let at = offset as usize;
        state.seen.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        state.unsafe_writes.push((offset, data.to_vec()));
        Ok(())
    }
}

impl Platter {
    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { safe: bytes.clone(), seen: bytes, ..State::default() })))
    }

    /// What a power cut leaves: of the writes since the last sync some, in any order, some only in part.
    fn after_power_cut(&self, chance: &mut Chance) -> Vec<u8> {
        const SECTOR: usize = 512;
        let state = self.0.lock().unwrap();
        let mut bytes = state.safe.clone();
        for (offset, data) in &state.unsafe_writes {
            for (n, sector) in data.chunks(SECTOR).enumerate() {
                let at = *offset as usize + n * SECTOR;
                if chance.below(3) > 0 && at + sector.len() <= bytes.len() {
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        bytes
    }
}

fn disk(platter: Platter, dir: &Path) -> Disk {
    let database = builder().create_with_backend(platter).expect("a sound database");
    let snapshots = Snapshots::open(dir.to_path_buf()).expect("a directory");
    Disk::with_database(PathBuf::from("platter"), database, snapshots).expect("a sound store")
}

fn entry(index: u64, term: u64) -> Entry {
    let data = vec![index as u8; 20 + (index as usize * 37) % 300].into();
    Entry { index, term, kind: EntryKind::Normal, data }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("master-storage-{name}-{}", std::process::id()));
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_failed_sync_is_fatal_and_nothing_is_taken_afterwards() {
    let scratch = Scratch::new("fatal");
    let platter = Platter::default();
    let mut disk = disk(platter.clone(), &scratch.0);
    let persist = |index| Persist { entries: vec![entry(index, 1)], ..Persist::default() };
    disk.persist(&[(Group(0), persist(1))]).expect("a working disk");
    platter.0.lock().unwrap().broken = true;
    let Err(Fatal(Error::Database { operation: "write", .. })) = disk.persist(&[(Group(0), persist(2))])
    else {
        panic!("the disk was broken");
    };
    platter.0.lock().unwrap().broken = false;
    let Err(Fatal(Error::GivenUp { .. })) = disk.persist(&[(Group(0), persist(2))]) else {
        panic!("what an earlier batch lost cannot be known");
    };
}

#[test]
fn a_batch_is_one_sync() {
    let scratch = Scratch::new("sync");
    let platter = Platter::default();
    let mut disk = disk(platter.clone(), &scratch.0);
    let syncs = || platter.0.lock().unwrap().syncs;
    let mut counts = Vec::new();
    for n in 0..50u64 {
        let before = syncs();
        let batch: Vec<_> = (0..10u64)
            .map(|m| {
                let hard_state = Some(HardState { term: 1, vote: Some(NodeId(1)), commit: n });
                let persist =
                    Persist { entries: vec![entry(n * 5 + m / 2 + 1, 1)], hard_state, ..Persist::default() };
                (Group((m % 2) as u8), persist)
            })
            .collect();
        disk.persist(&batch).expect("a working disk");
        counts.push(syncs() - before);
    }
    // A second one makes the new length durable when the file has to grow, which it does in ever larger steps.
    let single = counts.iter().filter(|count| **count == 1).count();
    assert!(single >= 45 && counts.iter().all(|count| *count <= 2), "{counts:?}");
}

/// After a power cut at any moment a store holds all batches that were acknowledged, and of the one under way all or
/// nothing.
#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_no_half_of_a_batch() {
    let scratch = Scratch::new("power");
    let (mut fell_back, mut came_through) = (0, 0);
    for seed in 1..=40u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let platter = Platter::default();
        let mut store = disk(platter.clone(), &scratch.0);
        let (mut last, mut term) = (0u64, 1u64);
        for _ in 0..30 {
            // A batch of appends, now and then over a conflicting suffix.
            let mut persist = Persist::default();
            if last > 3 && chance.below(4) == 0 {
                last -= chance.below(3) as u64;
                persist.truncate_from = Some(last + 1);
                term += 1;
            }
            let count = 1 + chance.below(20) as u64;
            persist.entries = (last + 1..=last + count).map(|index| entry(index, term)).collect();
            persist.hard_state = Some(HardState { term, vote: None, commit: last });
            let before = store.recover(Group(0)).expect("sound");
            platter.0.lock().unwrap().broken = true;
            let cut = chance.below(3) == 0;
            if cut {
                // The sync does not return: that is the moment of the cut.
                assert!(store.persist(&[(Group(0), persist.clone())]).is_err());
                let left = Platter::holding(platter.after_power_cut(&mut chance));
                let found = disk(left.clone(), &scratch.0).recover(Group(0)).expect("sound after a cut");
                let mut whole = before.clone();
                let from = persist.truncate_from.unwrap_or(u64::MAX);
                whole.entries.retain(|entry| entry.index < from);
                whole.entries.extend(persist.entries.iter().cloned());
                whole.hard_state = persist.hard_state.unwrap_or_default();
                assert!(found == before || found == whole, "seed {seed}: half a batch");
                fell_back += u64::from(found == before);
                came_through += u64::from(found == whole);
                break;
            }
            platter.0.lock().unwrap().broken = false;
            store.persist(&[(Group(0), persist.clone())]).expect("a working disk");
            last += count;
            // And a cut right behind the acknowledgement.
            let left = Platter::holding(platter.after_power_cut(&mut chance));
            let found = disk(left, &scratch.0).recover(Group(0)).expect("sound after a cut");
            assert_eq!(found.entries.last().map(|entry| entry.index), Some(last), "seed {seed}");
            assert_eq!(Some(found.hard_state), persist.hard_state);
        }
    }
    assert!(fell_back > 5, "the cuts came too late: {fell_back} {came_through}");
}
