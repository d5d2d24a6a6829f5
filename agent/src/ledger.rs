//! The agent's ledger: an append-only file of what it must not forget.
//!
//! # What is promised
//!
//! When [`Ledger::append`] has returned, its records survive the death of this process; with `sync`, they and all
//! before them survive the loss of power too, as far as the disk tells the truth about `fdatasync`. When
//! [`Ledger::rewrite`] has returned, the ledger is the new one; after a crash under way it is the old or the new one.
//!
//! A full disk is no fault: an append for which there is no room writes nothing and says so ([`Done::NoRoom`]), and may be
//! tried again. Some room is kept in the file, for what must be written down of the tasks that there are.
//!
//! When it is opened, everything that is handed out is synced. A write that was under way in a crash is cut off.
//! Damage to anything else is reported with the file and the place, and never mended by dropping records. The two
//! cannot be told apart at the very end of the file, in what was written behind the last sync that a later record
//! bears witness to (`ledger/frame.rs` says how).

mod error;
mod frame;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use proto::ledger::Record;
use proto::wire::{Malformed, Wire};
use rustix::fs::{FlockOperation, flock};

pub use error::{Error, Fatal};
use frame::{BODY_BYTES_MAX, BadHeader, Body, Header};

const FILE: &str = "ledger";
const NEW_FILE: &str = "ledger.new";
const LOCK_FILE: &str = "lock";
/// The file grows by zeros of so many bytes at a time: writing over what is there spares each `fdatasync` the file's
/// size, which costs about as much as the data.
const GROWTH_BYTES: u64 = 256 * 1024;
/// So much of it stands ready at least, as far as there was room: the ends, acknowledgements and kills of a thousand tasks, and two
/// thousand refusals.
const RESERVE_BYTES: u64 = 1024 * 1024;
/// A ledger is rewritten when it has grown by this and has doubled: reading 4 MiB at a start is not felt, and each
/// record is rewritten once on average.
const COMPACT_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// An open ledger. No other process can open it while this is held.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    file: File,
    /// Where the next frame goes; behind it there are only zeros.
    end: u64,
    /// The length of the file, zeros included.
    length: u64,
    /// How much of the file is known to be on disk.
    synced: u64,
    /// `end` after the last rewrite or open.
    base: u64,
    salt: u64,
    boot: Boot,
    given_up: bool,
    /// Kept for its memory only.
    buffer: Vec<u8>,
    _lock: Lock,
}

#[derive(Debug)]
struct Boot {
    /// As the ledger has it.
    settled: String,
    /// The machine's.
    current: String,
}

/// What came of a write.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Whole,
    /// The disk is full. The ledger is as it was; what was to be written may be tried again.
    NoRoom,
}

/// A ledger just opened.
#[derive(Debug)]
pub struct Opened {
    /// To go on with.
    pub ledger: Ledger,
    /// All that it holds, oldest first, all of it synced.
    pub records: Vec<Record>,
    /// Whether the machine was started anew since [`Ledger::settle_boot`] was last done, or the ledger made.
    pub boot_changed: bool,
    /// How many bytes of unfinished writes were cut off.
    pub cut_bytes: u64,
}

// === impl Ledger ===

impl Ledger {
    /// Opens the ledger in a directory of its own, or makes both. `boot_id` is the machine's of now.
    pub fn open(dir: &Path, boot_id: &str) -> Result<Opened, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("create", dir))?;
        let lock = lock(&dir.join(LOCK_FILE))?;
        let path = dir.join(FILE);
        let boot = |settled: String| Boot { settled, current: boot_id.to_owned() };
        let fresh = |salt, made: Made, settled: String| Ledger {
            dir: dir.to_owned(),
            file: made.file,
            end: made.bytes,
            length: made.length,
            synced: made.bytes,
            base: made.bytes,
            salt,
            boot: boot(settled),
            given_up: false,
            buffer: Vec::new(),
            _lock: lock,
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let salt = random_salt()?;
                let made = make(dir, salt, boot_id, &[])?;
                let ledger = fresh(salt, made, boot_id.to_owned());
                return Ok(Opened { ledger, records: Vec::new(), boot_changed: false, cut_bytes: 0 });
            }
            Err(source) => return Err(io_error("read", &path)(source)),
        };
        let found = scan(&path, &bytes)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(io_error("open", &path))?;
        // Whatever is behind the end is zeros or half a write: that may not be mistaken for what is written next. The zeros
        // stay, for on a full disk there would be no others.
        let rest = bytes.get(found.end as usize..).unwrap_or_default();
        let cut_bytes = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        file.write_all_at(&vec![0; cut_bytes as usize], found.end)
            .map_err(io_error("cut off the end of", &path))?;
        file.sync_all().map_err(io_error("sync", &path))?;
        let boot_changed = found.boot_id != boot_id;
        let made = Made { file, bytes: found.end, length: bytes.len() as u64 };
        let ledger = fresh(found.salt, made, found.boot_id);
        Ok(Opened { ledger, records: found.records, boot_changed, cut_bytes })
    }

    /// Appends records: one write, and with `sync` one `fdatasync`, which covers all that was appended before too.
    pub fn append(&mut self, records: &[Record], sync: bool) -> Result<Done, Fatal> {
        self.put(sync, |buffer, ledger| {
            for record in records {
                let record = record.encode();
                check_size(&ledger.dir, &record)?;
                frame::put_record(buffer, ledger.salt, ledger.synced, &record);
            }
            Ok(())
        })
    }

    /// Writes down that what follows from the last start of the machine is in the ledger: from now on it is not told
    /// again. Before, every opening says `boot_changed`.
    pub fn settle_boot(&mut self) -> Result<Done, Fatal> {
        if self.boot.settled == self.boot.current {
            return Ok(Done::Whole);
        }
        let done = self.put(true, |buffer, ledger| {
            frame::put_boot(buffer, ledger.salt, ledger.synced, &ledger.boot.current);
            Ok(())
        })?;
        if done == Done::Whole {
            self.boot.settled.clone_from(&self.boot.current);
        }
        Ok(done)
    }

    /// Whether it is time for a [`rewrite`](Ledger::rewrite).
    pub fn should_compact(&self) -> bool {
        self.end - self.base > self.base.max(COMPACT_BYTES_MIN)
    }

    /// Replaces everything by these records, synced: all or nothing.
    pub fn rewrite(&mut self, records: &[Record]) -> Result<Done, Fatal> {
        self.unless_given_up()?;
        let made = random_salt().and_then(|salt| {
            let made = make(&self.dir, salt, &self.boot.settled, records)?;
            Ok((salt, made))
        });
        let (salt, made) = match made {
            Err(error) if error.is_no_room() => {
                // Half of a new one is in nobody's way but takes the last room.
                let _ = std::fs::remove_file(self.dir.join(NEW_FILE));
                return Ok(Done::NoRoom);
            }
            made => self.or_give_up(made)?,
        };
        self.salt = salt;
        self.file = made.file;
        (self.end, self.length, self.synced, self.base) = (made.bytes, made.length, made.bytes, made.bytes);
        Ok(Done::Whole)
    }

    /// Why a process ends that waited for room.
    pub fn no_room(&self) -> Fatal {
        Fatal(Error::NoRoom { path: self.dir.join(FILE) })
    }

    /// How long the ledger is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    fn put(
        &mut self,
        sync: bool,
        fill: impl FnOnce(&mut Vec<u8>, &Ledger) -> Result<(), Error>,
    ) -> Result<Done, Fatal> {
        self.unless_given_up()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let filled = fill(&mut buffer, self);
        let done = filled.and_then(|()| self.write(&buffer, sync));
        self.buffer = buffer;
        match done {
            Ok(()) => Ok(Done::Whole),
            Err(error) if error.is_no_room() => Ok(Done::NoRoom),
            Err(error) => self.or_give_up(Err(error)),
        }
    }

    fn write(&mut self, buffer: &[u8], sync: bool) -> Result<(), Error> {
        if !buffer.is_empty() {
            let end = self.end + buffer.len() as u64;
            if end + RESERVE_BYTES > self.length {
                // A step at a time: it is made up for with the next ones.
                match self.grow(end.max(self.length + GROWTH_BYTES).next_multiple_of(GROWTH_BYTES)) {
                    // What stands ready will do.
                    Err(error) if error.is_no_room() && end <= self.length => {}
                    grown => grown?,
                }
            }
            self.file.write_all_at(buffer, self.end).map_err(io_error("write", &self.dir.join(FILE)))?;
            self.end = end;
        }
        if sync && self.synced < self.end {
            self.file.sync_data().map_err(io_error("sync", &self.dir.join(FILE)))?;
            self.synced = self.end;
        }
        Ok(())
    }

    /// Puts zeros behind the file; all of them, or none.
    fn grow(&mut self, length: u64) -> Result<(), Error> {
        let path = self.dir.join(FILE);
        let zeros = vec![0; (length - self.length) as usize];
        let grown = self.file.write_all_at(&zeros, self.length).map_err(io_error("write", &path));
        match &grown {
            Ok(()) => self.length = length,
            Err(error) if error.is_no_room() => {
                // A part of them may be there.
                self.file.set_len(self.length).map_err(io_error("cut off the end of", &path))?;
            }
            Err(_) => {}
        }
        grown
    }

    fn unless_given_up(&self) -> Result<(), Fatal> {
        if self.given_up { Err(Fatal(Error::GivenUp { path: self.dir.join(FILE) })) } else { Ok(()) }
    }

    fn or_give_up<T>(&mut self, result: Result<T, Error>) -> Result<T, Fatal> {
        self.given_up = result.is_err();
        result.map_err(Fatal)
    }
}

struct Made {
    file: File,
    /// How much of it is records.
    bytes: u64,
    /// With the zeros behind.
    length: u64,
}

/// Makes a whole ledger and puts it in the place of the one that is there.
fn make(dir: &Path, salt: u64, boot_id: &str, records: &[Record]) -> Result<Made, Error> {
    let (path, new) = (dir.join(FILE), dir.join(NEW_FILE));
    let mut buffer = vec![0; frame::HEADER_BYTES];
    frame::put_boot(&mut buffer, salt, 0, boot_id);
    for record in records {
        let record = record.encode();
        check_size(dir, &record)?;
        frame::put_record(&mut buffer, salt, 0, &record);
    }
    let header = frame::header(Header { salt, made: buffer.len() as u64 });
    if let Some(place) = buffer.first_chunk_mut() {
        *place = header;
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(io_error("create", &new))?;
    let bytes = buffer.len();
    buffer.resize((bytes as u64 + RESERVE_BYTES).next_multiple_of(GROWTH_BYTES) as usize, 0);
    file.write_all_at(&buffer, 0).map_err(io_error("write", &new))?;
    file.sync_all().map_err(io_error("sync", &new))?;
    std::fs::rename(&new, &path).map_err(io_error("replace", &path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))?;
    Ok(Made { file, bytes: bytes as u64, length: buffer.len() as u64 })
}

struct Scanned {
    salt: u64,
    boot_id: String,
    records: Vec<Record>,
    /// Behind the last good frame.
    end: u64,
}

fn scan(path: &Path, file: &[u8]) -> Result<Scanned, Error> {
    let damaged = |offset: usize, what| Error::Damaged { path: path.to_owned(), offset: offset as u64, what };
    let Header { salt, made } = frame::read_header(file).map_err(|bad| match bad {
        BadHeader::Damaged => damaged(0, "it does not begin like a ledger"),
        BadHeader::Version(found) => Error::Format { path: path.to_owned(), found, known: frame::VERSION },
    })?;
    let mut boot_id = None;
    let mut records = Vec::new();
    let mut at = frame::HEADER_BYTES;
    while let Some(found) = frame::read(file, salt, at) {
        let unreadable =
            |source: Malformed| Error::Unreadable { path: path.to_owned(), offset: at as u64, source };
        match found.body {
            Body::Boot(body) => boot_id = Some(frame::boot_id(body).map_err(unreadable)?),
            Body::Record(body) => records.push(Record::decode(body).map_err(unreadable)?),
            Body::Unknown(kind) => {
                return Err(unreadable(Malformed::at("", format!("its kind is {kind}"))));
            }
        }
        at += found.bytes;
    }
    if (at as u64) < made || frame::was_synced(file, salt, at) {
        return Err(damaged(at, "a record that was synced does not match its checksum"));
    }
    let boot_id = boot_id.ok_or_else(|| damaged(at, "it does not say when the machine was started"))?;
    Ok(Scanned { salt, boot_id, records, end: at as u64 })
}

/// Held until it is dropped; a process that dies lets go of it.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread has just forked has it open until it executes its
        // program. Where it fails, nothing but that is lost.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

fn lock(path: &Path) -> Result<Lock, Error> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_error("open", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Only to say who; whoever holds it may not have written it yet.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(Error::InUse { path: path.to_owned(), pid });
        }
        Err(errno) => return Err(io_error("lock", path)(errno.into())),
    }
    // Over what is there, and then cut: emptied first, there might be no room for it.
    let text = format!("{}\n", std::process::id());
    file.write_all_at(text.as_bytes(), 0)
        .and_then(|()| file.set_len(text.len() as u64))
        .map_err(io_error("write", path))?;
    Ok(Lock(file))
}

fn check_size(dir: &Path, record: &[u8]) -> Result<(), Error> {
    if record.len() > BODY_BYTES_MAX {
        let (bytes, max) = (record.len(), BODY_BYTES_MAX);
        return Err(Error::TooLarge { path: dir.join(FILE), bytes, max });
    }
    Ok(())
}

fn random_salt() -> Result<u64, Error> {
    const RANDOM: &str = "/dev/urandom";
    let mut bytes = [0; 8];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(io_error("read", Path::new(RANDOM)))?;
    Ok(u64::from_le_bytes(bytes))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { operation, path, source }
}
