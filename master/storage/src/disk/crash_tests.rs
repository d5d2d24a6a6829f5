//! The store on a disk that fails, and that loses and tears what was not synced.

use std::fs::{self, File, OpenOptions};

use master_raft::{Entry, EntryKind, HardState, NodeId};

use super::*;
use crate::frame::{Header, SECTOR};

const G: Group = Group(0);
/// Small files, so that many are begun.
const FILE_BYTES: u64 = 16 << 10;

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

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("master-storage-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn open(&self) -> Disk {
        Disk::open_with(&self.0, FILE_BYTES).expect("a sound store")
    }

    /// Replaces all by these files of a log.
    fn fill(&self, files: &[(PathBuf, Vec<u8>)]) {
        let _ = fs::remove_dir_all(&self.0);
        fs::create_dir_all(self.0.join("log")).expect("a directory");
        for (name, bytes) in files {
            fs::write(self.0.join("log").join(name), bytes).expect("writable");
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(disk: &Disk) -> Vec<(PathBuf, Vec<u8>)> {
    let names = segment::numbers(&disk.log).expect("a directory");
    let file = |number| {
        let path = segment::path(&disk.log, number);
        let bytes = fs::read(&path).expect("readable");
        (PathBuf::from(path.file_name().expect("a name")), bytes)
    };
    names.into_iter().map(file).collect()
}

fn entry(index: u64, term: u64) -> Entry {
    let data = vec![index as u8; 20 + (index as usize * 37) % 300].into();
    Entry { index, term, kind: EntryKind::Normal, data }
}

fn persist(range: std::ops::RangeInclusive<u64>, term: u64) -> Persist {
    let hard_state = Some(HardState { term, vote: Some(NodeId(1)), commit: range.start() - 1 });
    Persist { entries: range.map(|index| entry(index, term)).collect(), hard_state, ..Persist::default() }
}

/// A file to which nothing can be written.
fn refuses_writes() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("on any Linux")
}

/// A file that takes everything and syncs nothing.
fn refuses_syncs() -> File {
    OpenOptions::new().write(true).open("/dev/null").expect("on any Linux")
}

#[test]
fn a_failed_write_or_sync_is_fatal_and_nothing_is_taken_afterwards() {
    for (name, broken, what) in [("write", refuses_writes(), "write"), ("sync", refuses_syncs(), "sync")] {
        let scratch = Scratch::new(&format!("fatal-{name}"));
        let mut disk = scratch.open();
        disk.persist(&[(G, persist(1..=1, 1))]).expect("a working disk");
        let working = std::mem::replace(&mut disk.segment.file, broken);
        let Err(Fatal(Error::Io { operation, path, .. })) = disk.persist(&[(G, persist(2..=2, 1))]) else {
            panic!("the disk was broken");
        };
        assert_eq!((operation, path.ends_with("log/0000000001.log")), (what, true));
        disk.segment.file = working;
        let Err(Fatal(Error::GivenUp { .. })) = disk.persist(&[(G, persist(2..=2, 1))]) else {
            panic!("what an earlier batch lost cannot be known");
        };
        drop(disk);
        assert_eq!(scratch.open().recover(G).expect("sound").entries, [entry(1, 1)]);
    }
}

#[test]
fn a_file_that_cannot_be_begun_is_fatal() {
    let scratch = Scratch::new("begin");
    let mut disk = scratch.open();
    fs::create_dir(disk.log.join("0000000002.log")).expect("a directory in the way");
    let mut last = 0;
    let fatal = loop {
        match disk.persist(&[(G, persist(last + 1..=last + 1, 1))]) {
            Ok(()) => last += 1,
            Err(fatal) => break fatal,
        }
    };
    assert!(matches!(fatal.0, Error::Io { operation: "make", .. }), "{fatal:?}");
    assert!(matches!(disk.persist(&[(G, persist(1..=1, 1))]), Err(Fatal(Error::GivenUp { .. }))));
    fs::remove_dir(disk.log.join("0000000002.log")).expect("removable");
    drop(disk);
    assert_eq!(scratch.open().recover(G).expect("sound").entries.len() as u64, last);
}

/// The zeros ahead of the log are what makes a batch cost one sync of data only.
#[test]
fn the_file_grows_seldom_and_ahead_of_what_is_written() {
    let scratch = Scratch::new("growth");
    let mut disk = Disk::open(&scratch.0).expect("a sound store");
    let length = |disk: &Disk| fs::metadata(&disk.segment.path).expect("a file").len();
    let (mut grown, mut before) = (0, length(&disk));
    for n in 1..=1_000 {
        disk.persist(&[(G, persist(n..=n, 1))]).expect("a working disk");
        grown += u64::from(length(&disk) != before);
        before = length(&disk);
        assert!(before >= disk.segment.end);
    }
    assert!((1..=3).contains(&grown), "it grew {grown} times");
    let bytes = fs::read(&disk.segment.path).expect("readable");
    assert!(bytes[disk.segment.end as usize..].iter().all(|byte| *byte == 0));
}

/// After a power cut at any moment a store holds all batches that were acknowledged, and of the one under way all or
/// nothing; and it goes on from there.
#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_no_half_of_a_batch() {
    let scratch = Scratch::new("power");
    let crashed = Scratch::new("power-crashed");
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut store = scratch.open();
    let (mut last, mut term) = (0u64, 1u64);
    let (mut fell_back, mut came_through, mut begun) = (0, 0, 0);
    for _ in 0..60 {
        // A batch of appends, now and then over a conflicting suffix.
        let mut truncate_from = None;
        if last > 3 && chance.below(4) == 0 {
            last -= chance.below(3) as u64;
            truncate_from = Some(last + 1);
            term += 1;
        }
        let count = 1 + chance.below(20) as u64;
        let batch = Persist { truncate_from, ..persist(last + 1..=last + count, term) };
        last += count;
        let before = (files(&store), store.recover(G).expect("sound"));
        store.persist(&[(G, batch)]).expect("a working disk");
        let after = (files(&store), store.recover(G).expect("sound"));
        begun += u64::from(after.0.len() > before.0.len());
        for _ in 0..8 {
            let torn = tear(&before.0, &after.0, &mut chance);
            crashed.fill(&torn);
            let mut disk = crashed.open();
            let found = disk.recover(G).expect("sound after a cut");
            assert!(found == before.1 || found == after.1, "half a batch");
            assert!(torn != after.0 || found == after.1, "an acknowledged batch is gone");
            fell_back += u64::from(found == before.1);
            came_through += u64::from(found == after.1);
            let next = found.entries.last().map_or(0, |entry| entry.index) + 1;
            disk.persist(&[(G, persist(next..=next, 99))]).expect("a working disk");
            drop(disk);
            let again = crashed.open().recover(G).expect("sound after going on").entries;
            assert_eq!((again.len(), again.last()), (found.entries.len() + 1, Some(&entry(next, 99))));
        }
    }
    assert!(fell_back > 100 && came_through > 50 && begun > 3, "{fell_back} {came_through} {begun}");
}

/// What a power cut may leave between two states: of the sectors that were written some, one perhaps in part; the file
/// as long as before or as after; and of a file that was begun the whole beginning, since that was synced.
fn tear(
    before: &[(PathBuf, Vec<u8>)],
    after: &[(PathBuf, Vec<u8>)],
    chance: &mut Chance,
) -> Vec<(PathBuf, Vec<u8>)> {
    let mut torn = after.to_vec();
    let Some((_, bytes)) = torn.last_mut() else { return torn };
    let old = if before.len() == after.len() {
        before.last().map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    } else {
        let made = Header::decode(bytes).expect("a header").made;
        let mut old = bytes.clone();
        old[made as usize..].fill(0);
        old
    };
    if chance.below(3) == 0 {
        bytes.truncate(old.len().max(SECTOR));
    }
    let whole = chance.below(4) == 0;
    for at in (0..bytes.len()).step_by(SECTOR).filter(|_| !whole) {
        let sector = &mut bytes[at..at + SECTOR];
        let zeros = [0; SECTOR];
        let old = old.get(at..at + SECTOR).unwrap_or(&zeros);
        if sector != old {
            let kept = match chance.below(4) {
                0 => 0,
                1 => chance.below(SECTOR),
                _ => SECTOR,
            };
            sector[kept..].copy_from_slice(&old[kept..]);
        }
    }
    torn
}

#[test]
fn a_file_whose_beginning_was_interrupted_does_not_count() {
    let scratch = Scratch::new("unnamed");
    scratch.open().persist(&[(G, persist(1..=3, 1))]).expect("a working disk");
    let part = scratch.0.join("log/next.part");
    fs::write(&part, b"STOA-LO").expect("writable");
    assert_eq!(scratch.open().recover(G).expect("sound").entries.len(), 3);
    assert!(!part.exists());
}
