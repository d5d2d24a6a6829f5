//! The store as the master's shell uses it: written, closed, killed, damaged, opened again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use master_raft::{
    ConfState, Config, Entry, EntryKind, HardState, Image, Input, NodeId, Output, Persist, Raft, Recovered,
    Snapshot,
};
use master_storage::{Disk, Error, Group, LogStore};
use proto_machine::{Instant, Machine, Now, Outbox};

const A: Group = Group(0);
const B: Group = Group(1);

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("master-storage-{}-{n}", std::process::id())))
    }

    fn open(&self) -> Disk {
        Disk::open(&self.0).expect("a sound store")
    }

    /// Opens with files so small that many are begun.
    fn open_small(&self) -> Disk {
        Disk::open_with(&self.0, 16 << 10).expect("a sound store")
    }

    fn log(&self) -> Vec<PathBuf> {
        paths(&self.0.join("log"))
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        paths(&self.0.join("snapshots"))
    }

    /// As a crash leaves it: what was written is there, nothing was closed.
    fn image(&self) -> Dir {
        let to = Dir::new();
        for file in self.log().into_iter().chain(self.snapshots()) {
            let copy = to.0.join(file.strip_prefix(&self.0).expect("in the directory"));
            fs::create_dir_all(copy.parent().expect("a directory")).expect("a directory");
            fs::copy(&file, copy).expect("a copy");
        }
        to
    }
}

fn paths(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).expect("a directory");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entry(index: u64, term: u64) -> Entry {
    let kind = if index.is_multiple_of(10) { EntryKind::Members } else { EntryKind::Normal };
    Entry { index, term, kind, data: format!("entry {index} of term {term}").into() }
}

fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    range.map(|index| entry(index, term)).collect()
}

fn append(range: std::ops::RangeInclusive<u64>, term: u64) -> Persist {
    let hard_state = Some(HardState { term, vote: Some(NodeId(2)), commit: range.start() - 1 });
    Persist { entries: entries(range, term), hard_state, ..Persist::default() }
}

fn voters() -> ConfState {
    ConfState::of(&[NodeId(1), NodeId(2), NodeId(3)])
}

fn snapshot(index: u64, image: &str) -> Snapshot {
    Snapshot { index, term: 1, conf_state: voters(), image: Image::Bytes(image.to_string().into()) }
}

fn taken(index: u64, image: &str) -> Persist {
    Persist { snapshot: Some(snapshot(index, image)), compact_to: Some(index), ..Persist::default() }
}

#[test]
fn what_was_persisted_is_found_again_after_a_close_and_after_a_crash() {
    let dir = Dir::new();
    let mut disk = dir.open();
    assert!(disk.recover(A).expect("empty").is_blank());
    let members = Persist { conf_state: Some((10, voters())), ..Persist::default() };
    disk.persist(&[(A, append(1..=12, 1)), (B, append(1..=3, 7)), (A, members)]).expect("a working disk");
    disk.persist(&[(A, taken(5, "state at five"))]).expect("a working disk");
    let a = Recovered {
        hard_state: HardState { term: 1, vote: Some(NodeId(2)), commit: 0 },
        conf_state: Some((10, voters())),
        snapshot: Some(snapshot(5, "state at five")),
        entries: entries(6..=12, 1),
        applied: 0,
    };
    let b = Recovered {
        hard_state: HardState { term: 7, vote: Some(NodeId(2)), commit: 0 },
        entries: entries(1..=3, 7),
        ..Recovered::default()
    };
    let crashed = dir.image();
    drop(disk);
    for dir in [&dir, &crashed] {
        let mut disk = dir.open();
        assert_eq!(disk.recover(A).expect("sound"), a);
        assert_eq!(disk.recover(B).expect("sound"), b);
        assert!(disk.recover(Group(9)).expect("nothing").is_blank());
    }
}

#[test]
fn a_conflicting_suffix_gives_way() {
    let dir = Dir::new();
    let mut disk = dir.open();
    let over = Persist { truncate_from: Some(6), ..append(6..=7, 2) };
    let again = Persist { truncate_from: Some(7), ..append(7..=9, 3) };
    disk.persist(&[(A, append(1..=10, 1)), (B, append(1..=10, 1))]).expect("a working disk");
    disk.persist(&[(A, over), (A, again)]).expect("a working disk");
    drop(disk);
    let mut disk = dir.open();
    let found = disk.recover(A).expect("sound").entries;
    assert_eq!(found, [entries(1..=5, 1), entries(6..=6, 2), entries(7..=9, 3)].concat());
    assert_eq!(disk.recover(B).expect("sound").entries.len(), 10);
}

#[test]
fn files_that_hold_only_what_a_snapshot_contains_go() {
    let dir = Dir::new();
    let mut disk = dir.open_small();
    let mut last = 0;
    let mut most = 0;
    for round in 1..=100u64 {
        disk.persist(&[(A, append(last + 1..=last + 50, 1)), (B, append(round..=round, 1))])
            .expect("a working disk");
        last += 50;
        if round % 10 == 0 {
            disk.persist(&[(A, taken(last - 20, "state")), (B, taken(round, "state"))])
                .expect("a working disk");
            most = dir.log().len().max(most);
        }
    }
    assert!((2..=6).contains(&most), "{most} files");
    assert!(!dir.log()[0].ends_with("0000000001.log"));
    drop(disk);
    let mut disk = dir.open_small();
    assert_eq!(disk.recover(A).expect("sound").entries, entries(last - 19..=last, 1));
    assert_eq!(disk.recover(B).expect("sound").entries, []);
    // What one group still needs, another's snapshots do not remove.
    let files = dir.log().len();
    disk.persist(&[(B, append(101..=101, 1))]).expect("a working disk");
    for _ in 0..30 {
        disk.persist(&[(A, append(last + 1..=last + 50, 1))]).expect("a working disk");
        last += 50;
        disk.persist(&[(A, taken(last, "state"))]).expect("a working disk");
    }
    assert!(dir.log().len() > files + 3);
    drop(disk);
    assert_eq!(dir.open_small().recover(B).expect("sound").entries, entries(101..=101, 1));
}

#[test]
fn a_batch_larger_than_a_file_gets_one_of_its_own() {
    let dir = Dir::new();
    let mut disk = dir.open_small();
    let large = |index| Entry { data: vec![index as u8; 300_000].into(), ..entry(index, 1) };
    disk.persist(&[(A, append(1..=3, 1))]).expect("a working disk");
    let batch = Persist { entries: vec![large(4), large(5)], ..Persist::default() };
    disk.persist(&[(A, batch)]).expect("a working disk");
    disk.persist(&[(A, append(6..=6, 1))]).expect("a working disk");
    assert_eq!(dir.log().len(), 3);
    drop(disk);
    let found = dir.open_small().recover(A).expect("sound").entries;
    assert_eq!(found, [entries(1..=3, 1), vec![large(4), large(5)], entries(6..=6, 1)].concat());
}

#[test]
fn a_leaders_snapshot_takes_the_place_of_the_log() {
    let dir = Dir::new();
    let mut disk = dir.open();
    disk.persist(&[(A, append(1..=40, 1))]).expect("a working disk");
    let install = Persist {
        snapshot: Some(snapshot(30, "theirs")),
        truncate_from: Some(31),
        compact_to: Some(30),
        entries: entries(31..=33, 2),
        hard_state: Some(HardState { term: 2, vote: None, commit: 30 }),
        conf_state: Some((30, voters())),
        ..Persist::default()
    };
    disk.persist(&[(A, install)]).expect("a working disk");
    drop(disk);
    let found = dir.open().recover(A).expect("sound");
    assert_eq!(found.entries, entries(31..=33, 2));
    assert_eq!(found.snapshot, Some(snapshot(30, "theirs")));
}

#[test]
fn one_process_at_a_time() {
    let dir = Dir::new();
    let disk = dir.open();
    let Err(error) = Disk::open(&dir.0) else { panic!("opened twice") };
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    let text = format!("lock is in use by process {}; stop it", std::process::id());
    assert!(error.to_string().contains(&text), "{error}");
    drop(disk);
    dir.open();
}

#[test]
fn another_format_is_not_read() {
    let dir = Dir::new();
    drop(dir.open());
    let [file] = &dir.log()[..] else { panic!("one file") };
    let mut bytes = fs::read(file).expect("readable");
    bytes[8] = 99;
    let crc = crc32fast::hash(&bytes[..508]).to_le_bytes();
    bytes[508..512].copy_from_slice(&crc);
    fs::write(file, bytes).expect("writable");
    let error = Disk::open(&dir.0).expect_err("from the future");
    assert!(matches!(error, Error::Format { found: 99, .. }), "{error:?}");
}

#[test]
fn the_log_of_an_earlier_build_is_left_alone_and_named() {
    let dir = Dir::new();
    fs::create_dir_all(&dir.0).expect("a directory");
    fs::write(dir.0.join("log.redb"), b"redb").expect("writable");
    let error = Disk::open(&dir.0).expect_err("another log");
    assert!(matches!(error, Error::EarlierBuild { .. }), "{error:?}");
    assert!(error.to_string().contains("log.redb is the log of an earlier build"), "{error}");
    assert_eq!(paths(&dir.0).len(), 1);
}

#[test]
fn a_missing_file_or_entry_is_named() {
    let dir = Dir::new();
    let mut disk = dir.open_small();
    for n in 0..200 {
        disk.persist(&[(B, append(n * 10 + 1..=n * 10 + 10, 1))]).expect("a working disk");
    }
    drop(disk);
    let files = dir.log();
    assert!(files.len() > 2);
    for file in &files[..files.len() - 1] {
        let damaged = dir.image();
        let gone = damaged.0.join(file.strip_prefix(&dir.0).expect("in the directory"));
        fs::remove_file(&gone).expect("removable");
        let error = Disk::open(&damaged.0).expect_err("a gap");
        assert!(matches!(&error, Error::MissingFile { path } if *path == gone), "{error:?}");
    }
    // A machine that forgets to append an entry does not make the others serve a log with a hole.
    for gap in [1, 2012] {
        let dir = if gap == 1 { Dir::new() } else { dir.image() };
        dir.open().persist(&[(B, append(gap + 1..=gap + 1, 1))]).expect("a working disk");
        let error = Disk::open(&dir.0).expect_err("a gap");
        let index = if gap == 1 { 1 } else { 2001 };
        assert!(matches!(error, Error::MissingEntry { index: i, group: B, .. } if i == index), "{error:?}");
        assert!(error.to_string().contains(&format!("entry {index} of group 1 is missing")), "{error}");
    }
}

/// Whatever bit of a log changes, what is read is right or the place is named: the newest batch is no exception.
#[test]
fn no_flipped_bit_of_the_log_is_served_and_none_drops_a_batch() {
    let dir = Dir::new();
    let mut disk = dir.open_small();
    let members = Persist { conf_state: Some((3, voters())), ..taken(2, "state") };
    disk.persist(&[(A, append(1..=3, 1)), (A, members)]).expect("a working disk");
    for n in 0..40 {
        disk.persist(&[(A, append(n * 10 + 4..=n * 10 + 13, 1))]).expect("a working disk");
    }
    let right = disk.recover(A).expect("sound");
    drop(disk);
    assert_eq!(dir.log().len(), 2);
    for file in dir.log() {
        let mut bytes = fs::read(&file).expect("readable");
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
        assert!(end > 4096, "{end}");
        // A prime step of bits meets every part of a sector.
        for bit in (0..end * 8).step_by(1_009) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bytes).expect("writable");
            let error = Disk::open(&dir.0).expect_err("a flipped bit");
            let Error::Damaged { path, offset, .. } = &error else { panic!("bit {bit}: {error:?}") };
            assert!(*path == file && *offset <= bit as u64 / 8, "bit {bit}: {error}");
            assert!(error.to_string().contains("is damaged at byte"), "{error}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        // In the zeros ahead of the log nothing was ever written.
        for bit in (end * 8..bytes.len() * 8).step_by(160_001) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bytes).expect("writable");
            if let Ok(mut disk) = Disk::open(&dir.0) {
                assert_eq!(disk.recover(A).expect("sound"), right, "bit {bit}");
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        fs::write(&file, &bytes).expect("writable");
    }
    assert_eq!(dir.open().recover(A).expect("sound"), right);
}

/// Of a batch that was not acknowledged any beginning may be there.
#[test]
fn a_newest_batch_cut_short_anywhere_is_as_if_never_written() {
    let dir = Dir::new();
    let mut disk = dir.open();
    disk.persist(&[(A, append(1..=5, 1))]).expect("a working disk");
    let before = disk.recover(A).expect("sound");
    let [file] = &dir.log()[..] else { panic!("one file") };
    let start = fs::read(file).expect("readable").iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    disk.persist(&[(A, append(6..=30, 1))]).expect("a working disk");
    let after = disk.recover(A).expect("sound");
    let whole = fs::read(file).expect("readable");
    let end = whole.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    drop(disk);
    assert!(end - start > 1_000);
    for cut in start..=end {
        let mut zeros = whole.clone();
        zeros[cut..].fill(0);
        for bytes in [&whole[..cut], &zeros] {
            fs::write(file, bytes).expect("writable");
            let found = dir.open().recover(A).expect("sound");
            assert_eq!(found, if cut == end { after.clone() } else { before.clone() }, "cut at {cut}");
        }
    }
    // What was acknowledged is not cut.
    let mut hole = whole.clone();
    hole[start - 512..start].fill(0);
    fs::write(file, hole).expect("writable");
    let error = Disk::open(&dir.0).expect_err("a hole");
    let Error::Damaged { what: "a batch is not there, but a later one is", .. } = error else {
        panic!("{error:?}");
    };
}

#[test]
fn a_damaged_snapshot_is_not_served() {
    let dir = Dir::new();
    dir.open()
        .persist(&[(A, append(1..=9, 1)), (A, taken(9, "the state of the group"))])
        .expect("a working disk");
    let [file] = &dir.snapshots()[..] else { panic!("one file") };
    let sound = fs::read(file).expect("readable");
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x04;
        fs::write(file, bytes).expect("writable");
        let error = dir.open().recover(A).expect_err("a flipped bit");
        assert!(matches!(error, Error::DamagedSnapshot { .. }), "{at}: {error:?}");
        fs::write(file, &sound[..at]).expect("writable");
        let error = dir.open().recover(A).expect_err("a cut");
        assert!(matches!(error, Error::DamagedSnapshot { .. }), "{at}: {error:?}");
    }
    fs::write(file, &sound).expect("writable");
    let disk = dir.open();
    // Whole, but not what the log points at.
    disk.snapshots().write(A, 9, b"another state, as long").expect("a working disk");
    drop(disk);
    let error = dir.open().recover(A).expect_err("another image");
    assert!(matches!(error, Error::DamagedSnapshot { .. }), "{error:?}");
    fs::remove_file(file).expect("removable");
    let error = dir.open().recover(A).expect_err("no image");
    assert!(matches!(error, Error::NoSnapshot { .. }), "{error:?}");
}

#[test]
fn a_snapshot_is_streamed_while_a_newer_one_takes_its_place() {
    let dir = Dir::new();
    let mut disk = dir.open();
    let state: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    disk.snapshots().write(A, 4, &state).expect("a working disk");
    let filed = Snapshot { image: Image::Filed { bytes: 100_000 }, ..snapshot(4, "") };
    let persist = Persist { snapshot: Some(filed), ..Persist::default() };
    disk.persist(&[(A, append(1..=9, 1)), (A, persist)]).expect("a working disk");
    let mut reader = disk.snapshots().reader(A, 4).expect("there");
    assert_eq!(reader.image_bytes(), 100_000);
    let mut streamed = reader.next_piece(4096).expect("sound").expect("not the end");
    assert_eq!(streamed.len(), 4096);
    disk.persist(&[(A, taken(8, "newer"))]).expect("a working disk");
    while let Some(piece) = reader.next_piece(4096).expect("sound") {
        streamed.extend(piece);
    }
    assert_eq!(streamed, state);
    assert!(matches!(disk.snapshots().reader(A, 4), Err(Error::NoSnapshot { .. })));
    assert_eq!(disk.snapshots().read(A, 8).expect("there"), b"newer");
}

#[test]
fn what_an_interrupted_snapshot_left_is_swept() {
    let dir = Dir::new();
    let mut disk = dir.open();
    disk.persist(&[(A, append(1..=9, 1)), (A, taken(3, "counts"))]).expect("a working disk");
    // Filed, but the process ends before the persist that makes it count.
    disk.snapshots().write(A, 7, b"does not count").expect("a working disk");
    fs::write(dir.0.join("snapshots/0-00000000000000000009.part"), b"half").expect("writable");
    drop(disk);
    assert_eq!(dir.snapshots().len(), 3);
    let found = dir.open().recover(A).expect("sound");
    assert_eq!(found.snapshot, Some(snapshot(3, "counts")));
    assert_eq!(dir.snapshots().len(), 1);
}

#[test]
fn a_filed_snapshot_that_is_not_there_is_fatal() {
    let dir = Dir::new();
    let mut disk = dir.open();
    let filed = Snapshot { image: Image::Filed { bytes: 5 }, ..snapshot(4, "") };
    let persist = Persist { snapshot: Some(filed), ..Persist::default() };
    let fatal = disk.persist(&[(A, persist)]).expect_err("no such file");
    assert!(matches!(fatal.0, Error::NoSnapshot { .. }), "{fatal:?}");
}

/// A whole member on a real disk: what it acknowledged it has after a crash.
#[test]
fn a_member_comes_back_from_its_disk() {
    fn settle(raft: &mut Raft, disk: &mut Disk, state: &mut Vec<u8>) {
        let now = Now { monotonic: Instant::from_nanos(1), ..Now::default() };
        let mut out = Outbox::new();
        raft.settle(now, &mut out);
        let mut batch = Vec::new();
        for output in out.take() {
            match output {
                Output::Persist(persist) => batch.push((A, persist)),
                Output::Commit { data, .. } => state.extend_from_slice(&data),
                Output::InstallSnapshot { image: Image::Bytes(bytes), .. } => *state = bytes.to_vec(),
                Output::SnapshotWanted { index } => {
                    let image = Image::Bytes(state.clone().into());
                    raft.step(now, Input::SnapshotTaken { index, image }, &mut Outbox::new());
                }
                _ => {}
            }
        }
        disk.persist(&batch).expect("a working disk");
    }
    let mut dir = Dir::new();
    let mut expected = Vec::new();
    for life in 0..6u8 {
        let mut disk = dir.open_small();
        let mut config = Config::new(NodeId(1), &[NodeId(1)], u64::from(life));
        config.snapshot_after_bytes = 2_000;
        let mut raft = Raft::recover(config, disk.recover(A).expect("sound")).expect("fit");
        let mut state = Vec::new();
        settle(&mut raft, &mut disk, &mut state);
        assert_eq!(state, expected, "life {life}");
        for n in 0..100u8 {
            let data = vec![life, n].into();
            raft.step(Now::default(), Input::Propose { tag: u64::from(n), data }, &mut Outbox::new());
            settle(&mut raft, &mut disk, &mut state);
            expected.extend([life, n]);
        }
        assert_eq!(state, expected);
        assert!(raft.status().snapshot_index > 1);
        dir = dir.image();
    }
}

/// Killed in the midst of its work, again and again, a process finds what it has acknowledged.
#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    const DIR: &str = "MASTER_STORAGE_KILL_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        return write_for_ever(Path::new(&dir));
    }
    let dir = Dir::new();
    let mut acknowledged = 0u64;
    for round in 0..5u64 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_killed_process_loses_nothing_it_acknowledged", "--nocapture"])
            .env(DIR, &dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let acks =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok());
        let mut acks = acks.skip(20 + 7 * round as usize);
        acknowledged = acks.next().expect("it works until it is killed").max(acknowledged);
        child.kill().expect("killable");
        acknowledged = acks.last().unwrap_or(acknowledged);
        child.wait().expect("gone");
        let found = dir.open().recover(A).expect("sound");
        let last = found.entries.last().map_or(0, |entry| entry.index);
        assert!(last >= acknowledged, "{acknowledged} acknowledged, {last} found");
        let first = found.snapshot.map_or(0, |snapshot| snapshot.index) + 1;
        assert_eq!(found.entries, entries(first..=last, 1));
    }
}

fn write_for_ever(dir: &Path) {
    let mut disk = Disk::open_with(dir, 16 << 10).expect("a sound store");
    let found = disk.recover(A).expect("sound");
    let covered = found.snapshot.map_or(0, |snapshot| snapshot.index);
    let mut last = found.entries.last().map_or(covered, |entry| entry.index);
    loop {
        let count = 1 + last % 7;
        let mut batch = vec![(A, append(last + 1..=last + count, 1))];
        last += count;
        if last.is_multiple_of(5) {
            batch.push((A, taken(last - 1, "state")));
        }
        disk.persist(&batch).expect("a working disk");
        println!("ack {last}");
    }
}
