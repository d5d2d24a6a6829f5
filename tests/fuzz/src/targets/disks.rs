//! The disk of a master: whatever stands in its files is read as what was written, or named as damaged, and never altered into
//! something else.

use std::fs;

use master_raft::{Image, Recovered};
use master_storage::{Disk, Group, LogStore, Snapshots};

use crate::engine::tree;
use crate::scratch::Scratch;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

/// What a sector of a log carries beside its stamp, and the sector.
const ROOM: usize = 511;
const SECTOR: usize = 512;
const STAMP: u8 = 0xa5;
/// A log has few files, and an input none of its own.
const FILES_MAX: usize = 4;
const GROUPS: [Group; 2] = [Group(1), Group(2)];

thread_local! {
    static DIR: Scratch = Scratch::new("disk");
}

/// A file of a log as the format says, written here once more: `tests/fuzz` must not trust what it tests.
#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    salt: u64,
}

// === impl File ===

impl File {
    fn new(number: u64, oldest: u64, before: u64, made: u64) -> File {
        let salt = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = b"STOA-LOG".to_vec();
        bytes.extend(1u32.to_le_bytes());
        for field in [number, salt, oldest, before, made] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.resize(SECTOR - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        File { bytes, salt }
    }

    /// Appends a batch whose sums are right, whatever it says.
    fn batch(&mut self, body: &[u8]) {
        let sectors = (16 + body.len()).div_ceil(ROOM);
        let mut padded = body.to_vec();
        padded.resize(sectors * ROOM - 16, 0);
        let body_crc = crc32fast::hash(&padded);
        let mut head = Vec::new();
        for number in [self.salt, self.bytes.len() as u64, body.len() as u64] {
            head.extend(number.to_le_bytes());
        }
        head.extend(body_crc.to_le_bytes());
        let mut all = (body.len() as u64).to_le_bytes().to_vec();
        all.extend(body_crc.to_le_bytes());
        all.extend(crc32fast::hash(&head).to_le_bytes());
        all.extend(padded);
        for room in all.chunks(ROOM) {
            self.bytes.extend_from_slice(room);
            self.bytes.push(STAMP);
        }
    }
}

pub(super) const LOG: Target = Target::new(
    "log",
    "any files of a log are read as one log, the same each time, or named as damaged",
    Kind::Wire,
    log,
)
.up_to(8 << 10);

/// Field 1: a file as it is. Field 2: a batch of the last file. Field 3: another file begins, its numbers in fields of the
/// message. Field 4: what is behind the last batch. Field 5: the file of a snapshot, as a message.
fn log(input: &[u8]) -> Verdict {
    DIR.with(|dir| {
        dir.clear();
        let log = dir.path().join("log");
        fs::create_dir_all(&log).map_err(|error| error.to_string())?;
        let mut files = vec![File::new(1, 1, 0, SECTOR as u64)];
        for (number, message) in tree::messages(input) {
            let count = files.len();
            let last = files.last_mut().ok_or("a file")?;
            match number {
                1 => last.bytes = message.to_vec(),
                2 => last.batch(message),
                3 if count < FILES_MAX => {
                    let of = |field, usual| match tree::number(message, field) {
                        0 => usual,
                        number => number,
                    };
                    let before = last.bytes.len() as u64;
                    let number = of(1, count as u64 + 1);
                    files.push(File::new(number, of(2, 1), of(3, before), of(4, SECTOR as u64)));
                }
                4 => last.bytes.extend_from_slice(message),
                5 => snapshot_file(dir, message),
                _ => {}
            }
        }
        for (file, number) in files.iter().zip(1..) {
            let path = log.join(format!("{number:010}.log"));
            fs::write(path, &file.bytes).map_err(|error| error.to_string())?;
        }
        let Ok(first) = read(dir) else { return Ok(Taken::No) };
        for recovered in first.iter().flatten() {
            check(recovered)?;
        }
        let again = read(dir).map_err(|error| format!("it was read once, and then: {error}"))?;
        ensure(first.iter().map(Result::is_ok).eq(again.iter().map(Result::is_ok)), || {
            "read and not read".to_owned()
        })?;
        for (first, again) in first.iter().flatten().zip(again.iter().flatten()) {
            ensure(first == again, || format!("it was {first:?} and is {again:?}"))?;
        }
        let anything = first.iter().flatten().any(|recovered| *recovered != Recovered::default());
        Ok(if anything { Taken::Yes } else { Taken::No })
    })
}

/// What each group finds.
fn read(dir: &Scratch) -> Result<Vec<Result<Recovered, String>>, String> {
    let mut disk = Disk::open(dir.path()).map_err(|error| error.to_string())?;
    Ok(GROUPS.iter().map(|group| disk.recover(*group).map_err(|error| error.to_string())).collect())
}

/// Entries stand one behind the other, the first right behind the snapshot.
fn check(recovered: &Recovered) -> Result<(), String> {
    let covered = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
    let mut next = covered.wrapping_add(1);
    for entry in &recovered.entries {
        ensure(entry.index == next, || format!("entry {} where {next} belongs", entry.index))?;
        next = next.wrapping_add(1);
    }
    Ok(())
}

/// A file of a snapshot: its name from fields 1 and 2, its image in field 3; field 4 is what stands there instead.
fn snapshot_file(dir: &Scratch, message: &[u8]) {
    let (group, index) = (tree::number(message, 1) as u8, tree::number(message, 2));
    let image = tree::bytes(message, 3);
    let mut bytes = b"STOASNAP".to_vec();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend([group, 0, 0, 0]);
    for number in [index, image.len() as u64] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(crc32fast::hash(image).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(image);
    let raw = tree::bytes(message, 4);
    let bytes = if raw.is_empty() { &bytes } else { raw };
    let at = dir.path().join("snapshots");
    // What cannot be written is as if the input had not said it.
    let _ = fs::create_dir_all(&at);
    let _ = fs::write(at.join(format!("{group}-{index:020}.snapshot")), bytes);
}

pub(super) const SNAPSHOT: Target = Target::new(
    "snapshot",
    "a file of a snapshot is read as what was written under its name, or named as damaged",
    Kind::Bytes,
    snapshot,
);

/// The file as it is, under the name of group 1 and index 7.
fn snapshot(input: &[u8]) -> Verdict {
    thread_local! {
        static OPEN: (Scratch, Snapshots) = {
            let dir = Scratch::new("snapshot");
            let disk = Disk::open(dir.path()).expect("a new directory is a disk");
            let snapshots = disk.snapshots().clone();
            (dir, snapshots)
        };
    }
    OPEN.with(|(dir, snapshots)| {
        let path = dir.path().join("snapshots/1-00000000000000000007.snapshot");
        fs::write(&path, input).map_err(|error| error.to_string())?;
        let Ok(image) = snapshots.read(Group(1), 7) else { return Ok(Taken::No) };
        snapshots.write(Group(1), 7, &image).map_err(|error| error.to_string())?;
        let written = fs::read(&path).map_err(|error| error.to_string())?;
        // What is behind the image is nobody's.
        ensure(input.starts_with(&written[..40]), || "a header that nobody wrote is taken".to_owned())?;
        Ok(Taken::Yes)
    })
}

/// What a master persists, as the bytes of a batch: for seeds.
pub fn batch_of(persists: &[(Group, master_raft::Persist)]) -> Vec<u8> {
    let dir = Scratch::new("seed");
    let mut disk = Disk::open(dir.path()).expect("a new directory is a disk");
    disk.persist(persists).expect("it is persisted");
    let bytes = fs::read(dir.path().join("log/0000000001.log")).expect("the log");
    let made = u64::from_le_bytes(bytes[44..52].try_into().expect("eight bytes")) as usize;
    let text: Vec<u8> = bytes[made..].chunks(SECTOR).flat_map(|sector| sector[..ROOM].to_vec()).collect();
    let length = u64::from_le_bytes(text[..8].try_into().expect("eight bytes")) as usize;
    text[16..16 + length].to_vec()
}

/// Whether an image is there, for seeds.
pub fn image(bytes: &'static [u8]) -> Image {
    Image::Bytes(bytes::Bytes::from_static(bytes))
}
