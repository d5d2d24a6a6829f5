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
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const META: TableDefinition<(u8, u8), &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("log");
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

    fn log(&self) -> PathBuf {
        self.0.join("log.redb")
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.0.join("snapshots")).expect("a directory");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        paths
    }

    /// As a crash leaves it: what was written is there, nothing was closed.
    fn image(&self) -> Dir {
        let to = Dir::new();
        fs::create_dir_all(to.0.join("snapshots")).expect("a directory");
        fs::copy(self.log(), to.log()).expect("a copy");
        for file in self.snapshots() {
            let name = file.file_name().expect("a name");
            fs::copy(&file, to.0.join("snapshots").join(name)).expect("a copy");
        }
        to
    }
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
fn a_cut_log_shrinks_step_by_step_and_the_file_stays_small() {
    let dir = Dir::new();
    let mut disk = dir.open();
    let mut last = 0;
    let mut sizes = Vec::new();
    for round in 1..=100u64 {
        disk.persist(&[(A, append(last + 1..=last + 500, 1))]).expect("a working disk");
        last += 500;
        if round % 10 == 0 {
            disk.persist(&[(A, taken(last - 100, "state"))]).expect("a working disk");
            sizes.push(fs::metadata(dir.log()).expect("a file").len());
        }
    }
    assert_eq!(disk.recover(A).expect("sound").entries, entries(last - 99..=last, 1));
    // Small batches work off the rest.
    for _ in 0..100 {
        disk.persist(&[(A, append(last + 1..=last + 1, 1))]).expect("a working disk");
        last += 1;
    }
    assert_eq!(dir.snapshots().len(), 1);
    drop(disk);
    let database = Database::open(dir.log()).expect("sound");
    let log = database.begin_read().expect("open").open_table(LOG).expect("there");
    assert_eq!(log.iter().expect("readable").count(), 200);
    assert!(sizes[9] <= 2 * sizes[2], "it grows and grows: {sizes:?}");
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
    assert!(error.to_string().contains("log.redb is in use by another process"));
    drop(disk);
    dir.open();
}

#[test]
fn another_format_is_not_read() {
    let dir = Dir::new();
    drop(dir.open());
    let about: TableDefinition<&str, u64> = TableDefinition::new("about");
    let database = Database::open(dir.log()).expect("sound");
    let write = database.begin_write().expect("open");
    write.open_table(about).expect("there").insert("format", 99).expect("writable");
    write.commit().expect("a working disk");
    drop(database);
    let error = Disk::open(&dir.0).expect_err("from the future");
    assert!(matches!(error, Error::Format { found: 99, .. }), "{error:?}");
}

fn change_log(dir: &Dir, change: impl FnOnce(&mut redb::Table<(u8, u64), &'static [u8]>)) {
    let database = Database::open(dir.log()).expect("sound");
    let write = database.begin_write().expect("open");
    change(&mut write.open_table(LOG).expect("there"));
    write.commit().expect("a working disk");
}

#[test]
fn a_damaged_or_missing_entry_is_named() {
    let dir = Dir::new();
    dir.open().persist(&[(A, append(1..=20, 1)), (B, append(1..=20, 1))]).expect("a working disk");
    let damaged = dir.image();
    change_log(&damaged, |log| {
        let mut record = log.get((1, 13)).expect("readable").expect("there").value().to_vec();
        *record.last_mut().expect("not empty") ^= 1;
        log.insert((1, 13), record.as_slice()).expect("writable");
    });
    let mut disk = damaged.open();
    assert!(disk.recover(A).is_ok());
    let error = disk.recover(B).expect_err("a flipped bit");
    assert!(matches!(error, Error::DamagedEntry { index: 13, group: B, .. }), "{error:?}");
    assert!(error.to_string().contains("log.redb is damaged: entry 13 of group 1"), "{error}");
    change_log(&dir, |log| drop(log.remove((0, 7)).expect("writable")));
    let error = dir.open().recover(A).expect_err("a gap");
    assert!(matches!(error, Error::MissingEntry { index: 7, group: A, .. }), "{error:?}");
}

#[test]
fn a_damaged_fact_is_named() {
    for (fact, what) in [(0, "the hard state"), (1, "the members"), (2, "the place of the snapshot")] {
        let dir = Dir::new();
        let members = Persist { conf_state: Some((1, voters())), ..taken(2, "state") };
        dir.open().persist(&[(A, append(1..=2, 1)), (A, members)]).expect("a working disk");
        let database = Database::open(dir.log()).expect("sound");
        let write = database.begin_write().expect("open");
        {
            let mut meta = write.open_table(META).expect("there");
            let mut record = meta.get((0, fact)).expect("readable").expect("there").value().to_vec();
            record[6] ^= 0x10;
            meta.insert((0, fact), record.as_slice()).expect("writable");
        }
        write.commit().expect("a working disk");
        drop(database);
        let error = Disk::open(&dir.0).and_then(|mut disk| disk.recover(A)).expect_err("a flipped bit");
        assert!(matches!(&error, Error::DamagedFact { what: found, .. } if *found == what), "{error:?}");
    }
}

/// Whatever byte of a database changes, what is read is right or nothing is read. After a crash there is one way out: a
/// newest batch that does not check cannot be told from one that was interrupted.
#[test]
fn no_flipped_byte_of_the_log_is_served() {
    let dir = Dir::new();
    let mut disk = dir.open();
    for n in 0..40 {
        disk.persist(&[(A, append(n * 10 + 1..=n * 10 + 10, 1))]).expect("a working disk");
    }
    let before = disk.recover(A).expect("sound");
    disk.persist(&[(A, append(401..=403, 1))]).expect("a working disk");
    let right = disk.recover(A).expect("sound");
    let crashed = dir.image();
    drop(disk);
    for (dir, fallback) in [(dir, &right), (crashed, &before)] {
        let sound = fs::read(dir.log()).expect("readable");
        let (mut noticed, mut whole, mut fell_back) = (0, 0, 0);
        // A prime step meets every kind of page and every place in it.
        for at in (0..sound.len()).step_by(211) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x20;
            fs::write(dir.log(), bytes).expect("writable");
            // redb panics at some damage in debug builds, where release builds return the error.
            let found = std::panic::catch_unwind(|| Disk::open(&dir.0).and_then(|mut disk| disk.recover(A)));
            match found {
                Ok(Ok(found)) if found == right => whole += 1,
                Ok(Ok(found)) => {
                    assert!(found == *fallback, "byte {at}");
                    fell_back += 1;
                }
                Ok(Err(_)) | Err(_) => noticed += 1,
            }
        }
        println!("{noticed} noticed, {whole} whole, {fell_back} fell back, of {} bytes", sound.len());
        assert!(noticed > 50);
    }
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
        let mut disk = dir.open();
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
    let mut disk = Disk::open(dir).expect("a sound store");
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
