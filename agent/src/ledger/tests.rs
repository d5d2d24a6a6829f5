//! The ledger survives what disks and crashes do to it, and says so when it does not.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use proto::id::{Epoch, FrameworkId, RunId, TaskId};
use proto::ledger::{Acknowledged, RunTaken};
use proto::resources::Resources;
use proto::task::{CommandInfo, TaskInfo};

use super::*;
use crate::scratch::Scratch;

fn taken(number: u64) -> Record {
    let task = TaskInfo {
        id: TaskId::new(&format!("t{number}")).unwrap(),
        name: "sleep".into(),
        command: CommandInfo { argv: vec!["sleep".into(), number.to_string()], ..CommandInfo::default() },
        resources: Resources::default(),
        kill_grace: Duration::from_secs(3),
        labels: BTreeMap::new(),
        group: None,
        checks: proto::check::Checks::default(),
        longest_run: None,
    };
    Record::RunTaken(RunTaken {
        run: RunId::at(number, 0),
        framework: FrameworkId::new("f1").unwrap(),
        task,
        principal: "framework/jobs".into(),
        volumes: Vec::new(),
    })
}

fn some(n: u64) -> Vec<Record> {
    (1..=n)
        .map(|number| match number % 3 {
            0 => taken(number),
            1 => Record::EpochSeen(Epoch(number)),
            _ => Record::Acknowledged(Acknowledged { run: RunId::at(number, 0), sequence: number }),
        })
        .collect()
}

fn done(what: Result<Done, Fatal>) {
    assert_eq!(what.unwrap(), Done::Whole);
}

fn open(dir: &Path) -> Opened {
    Ledger::open(dir, "boot-1").unwrap()
}

/// Writes each record synced and alone; says where in the file each ends.
fn written(dir: &Path, records: &[Record]) -> (u64, Vec<u64>) {
    let mut ledger = open(dir).ledger;
    let base = ledger.bytes();
    let mut ends = Vec::new();
    for record in records {
        done(ledger.append(std::slice::from_ref(record), true));
        ends.push(ledger.bytes());
    }
    (base, ends)
}

#[test]
fn a_ledger_that_is_let_go_of_is_free_though_a_child_that_was_just_forked_has_its_lock_open() {
    let scratch = Scratch::new("ledger-forked");
    let ledger = open(scratch.path()).ledger;
    // As fork does it.
    let _of_the_child = ledger._lock.0.try_clone().unwrap();
    drop(ledger);
    drop(open(scratch.path()));
}

#[test]
fn what_was_appended_is_there_at_the_next_start() {
    let scratch = Scratch::new("ledger-reopen");
    let records = some(7);
    let mut ledger = open(scratch.path()).ledger;
    done(ledger.append(&records[..4], false));
    done(ledger.append(&records[4..6], true));
    done(ledger.append(&[], true));
    drop(ledger);
    let again = open(scratch.path());
    assert_eq!((again.records.as_slice(), again.boot_changed, again.cut_bytes), (&records[..6], false, 0));
    let mut ledger = again.ledger;
    done(ledger.append(&records[6..], false));
    drop(ledger);
    assert_eq!(open(scratch.path()).records, records);
}

#[test]
fn a_file_cut_anywhere_loses_only_what_was_cut() {
    let scratch = Scratch::new("ledger-cut");
    let records = some(5);
    let (base, ends) = written(scratch.path(), &records);
    let whole = fs::read(scratch.path().join(FILE)).unwrap();
    let last = *ends.last().unwrap();
    for length in 0..=last + 40 {
        let copy = Scratch::new("ledger-cut-copy");
        fs::write(copy.path().join(FILE), &whole[..length as usize]).unwrap();
        match Ledger::open(copy.path(), "boot-1") {
            Ok(mut opened) => {
                assert!(length >= base, "a file cut to {length} bytes lost what it was made with");
                let kept = ends.iter().filter(|end| **end <= length).count();
                assert_eq!(opened.records, records[..kept], "cut to {length}");
                done(opened.ledger.append(&[taken(99)], true));
                drop(opened);
                let again = open(copy.path()).records;
                assert_eq!(again.len(), kept + 1, "cut to {length}");
                assert_eq!(again.last(), Some(&taken(99)));
            }
            Err(error) => {
                assert!(length < base, "cut to {length}: {error}");
                assert!(matches!(error, Error::Damaged { .. }), "cut to {length}: {error}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_unless_it_is_in_the_last_record() {
    let scratch = Scratch::new("ledger-flip");
    let records = some(4);
    let (_, ends) = written(scratch.path(), &records);
    let mut whole = fs::read(scratch.path().join(FILE)).unwrap();
    whole.truncate(ends[3] as usize + 64);
    for at in 0..ends[3] as usize {
        for bit in [0, 3, 7] {
            let copy = Scratch::new("ledger-flip-copy");
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            fs::write(copy.path().join(FILE), &flipped).unwrap();
            match Ledger::open(copy.path(), "boot-1") {
                Ok(opened) => {
                    assert!(at as u64 >= ends[2], "byte {at}");
                    assert_eq!(opened.records, records[..3], "byte {at}");
                    assert!(opened.cut_bytes > 0);
                }
                Err(Error::Damaged { path, offset, .. }) => {
                    assert!((at as u64) < ends[2], "byte {at}");
                    assert_eq!(path, copy.path().join(FILE));
                    assert!(offset <= at as u64, "byte {at} told as {offset}");
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
}

#[test]
fn of_what_was_never_synced_the_disk_may_keep_any_part() {
    let scratch = Scratch::new("ledger-hole");
    let records = some(6);
    let mut ledger = open(scratch.path()).ledger;
    done(ledger.append(&records[..2], true));
    let hole = ledger.bytes();
    for record in &records[2..] {
        done(ledger.append(std::slice::from_ref(record), false));
    }
    drop(ledger);
    let path = scratch.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[hole as usize..hole as usize + 8].fill(0);
    fs::write(&path, &bytes).unwrap();
    let again = open(scratch.path());
    assert_eq!(again.records, records[..2]);
    assert!(again.cut_bytes > 0);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let scratch = Scratch::new("ledger-two");
    let first = open(scratch.path());
    match Ledger::open(scratch.path(), "boot-1") {
        Err(error @ Error::InUse { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    open(scratch.path());
}

#[test]
fn a_restart_of_the_machine_is_told_until_it_is_settled() {
    let scratch = Scratch::new("ledger-boot");
    written(scratch.path(), &some(2));
    let open = |boot: &str| Ledger::open(scratch.path(), boot).unwrap();
    assert!(!open("boot-1").boot_changed);
    assert!(open("boot-2").boot_changed);
    let mut again = open("boot-2");
    assert!(again.boot_changed);
    done(again.ledger.append(&[taken(3)], true));
    done(again.ledger.rewrite(&[taken(3), taken(4)]));
    drop(again);
    let mut again = open("boot-2");
    assert!(again.boot_changed);
    done(again.ledger.settle_boot());
    let bytes = again.ledger.bytes();
    done(again.ledger.settle_boot());
    assert_eq!(again.ledger.bytes(), bytes);
    drop(again);
    let again = open("boot-2");
    assert!(!again.boot_changed);
    assert_eq!(again.records, [taken(3), taken(4)]);
    drop(again);
    assert!(open("boot-1").boot_changed);
}

#[test]
fn a_rewritten_ledger_holds_what_it_was_given_and_goes_on() {
    let scratch = Scratch::new("ledger-rewrite");
    let mut ledger = open(scratch.path()).ledger;
    assert!(!ledger.should_compact());
    let batch: Vec<Record> = (0..2_000).map(taken).collect();
    while !ledger.should_compact() {
        done(ledger.append(&batch, false));
    }
    assert!(ledger.bytes() >= COMPACT_BYTES_MIN);
    done(ledger.rewrite(&some(3)));
    assert!(!ledger.should_compact() && ledger.bytes() < 1_000);
    done(ledger.append(&[taken(4)], true));
    drop(ledger);
    let again = open(scratch.path()).records;
    assert_eq!(again[..3], some(3));
    assert_eq!(again[3..], [taken(4)]);
}

#[test]
fn a_rewrite_that_was_interrupted_changes_nothing() {
    let scratch = Scratch::new("ledger-interrupted");
    written(scratch.path(), &some(3));
    fs::write(scratch.path().join(NEW_FILE), b"half of").unwrap();
    let mut again = open(scratch.path());
    assert_eq!(again.records, some(3));
    done(again.ledger.rewrite(&some(1)));
    drop(again);
    assert_eq!(open(scratch.path()).records, some(1));
}

#[test]
fn after_a_failed_sync_nothing_is_taken_any_more() {
    let scratch = Scratch::new("ledger-null");
    let mut ledger = open(scratch.path()).ledger;
    // It takes every write, and no sync.
    ledger.file = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let Fatal(error) = ledger.append(&some(1), true).unwrap_err();
    assert!(matches!(error, Error::Io { operation: "sync", .. }), "{error}");
    for given_up in [ledger.append(&some(1), false), ledger.rewrite(&some(1)), ledger.append(&[], true)] {
        assert!(matches!(given_up, Err(Fatal(Error::GivenUp { .. }))));
    }
    drop(ledger);
    assert_eq!(open(scratch.path()).records, []);
}

#[test]
fn a_write_without_room_changes_nothing_and_may_be_tried_again() {
    let scratch = Scratch::new("ledger-full");
    let mut ledger = open(scratch.path()).ledger;
    done(ledger.append(&some(1), true));
    let bytes = ledger.bytes();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let disk = std::mem::replace(&mut ledger.file, full);
    assert_eq!(ledger.append(&some(3), true).unwrap(), Done::NoRoom);
    assert_eq!(ledger.append(&some(2), false).unwrap(), Done::NoRoom);
    assert_eq!(ledger.bytes(), bytes);
    ledger.file = disk;
    done(ledger.append(&some(3), true));
    drop(ledger);
    assert_eq!(open(scratch.path()).records, [some(1), some(3)].concat());
}

/// A disk of four MiB, if this user may mount one.
fn small_disk(scratch: &Scratch) -> Option<SmallDisk> {
    fs::create_dir_all(scratch.path()).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(scratch.path()).output();
    let mounted = mounted.is_ok_and(|said| said.status.success());
    assert!(mounted || !rustix::process::geteuid().is_root(), "root can mount");
    mounted.then(|| SmallDisk(scratch.path().to_owned()))
}

struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn what_is_kept_free_lasts_on_a_full_disk_over_restarts_too() {
    let scratch = Scratch::new("ledger-reserve");
    let Some(_disk) = small_disk(&scratch) else { return };
    let mut ledger = open(scratch.path()).ledger;
    let filler = scratch.path().join("filler");
    // Until nothing fits any more.
    let mut other = File::create(&filler).unwrap();
    while other.write_all(&[1; 4096]).is_ok() {}
    let mut written = 0;
    let batch = some(100);
    while ledger.append(&batch, true).unwrap() == Done::Whole {
        written += batch.len();
        if written == 1_000 {
            drop(ledger);
            ledger = open(scratch.path()).ledger;
        }
    }
    assert!(written > 8_000, "{written} records found room");
    // A rewrite needs room for both: it is left out, and nothing is lost by that.
    assert_eq!(ledger.rewrite(&some(3)).unwrap(), Done::NoRoom);
    assert_eq!(ledger.append(&batch, true).unwrap(), Done::NoRoom);
    fs::remove_file(&filler).unwrap();
    drop(other);
    done(ledger.append(&batch, true));
    drop(ledger);
    let mut again = open(scratch.path());
    assert_eq!((again.records.len(), again.cut_bytes), (written + batch.len(), 0));
    done(again.ledger.rewrite(&some(3)));
}

#[test]
fn a_file_that_is_no_ledger_is_left_alone() {
    let scratch = Scratch::new("ledger-other");
    fs::create_dir_all(scratch.path()).unwrap();
    let path = scratch.path().join(FILE);
    for text in [&b""[..], b"something else entirely, and long enough"] {
        fs::write(&path, text).unwrap();
        let error = Ledger::open(scratch.path(), "boot-1").unwrap_err();
        assert!(matches!(error, Error::Damaged { offset: 0, .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), text);
    }
}
