//! An append-only file of records that survives the end of its process at any byte.
//!
//! The file begins with eight bytes that say what it is; then come frames: a mark, the length of the payload, a
//! checksum over the frame's place, length and payload, and the payload, which is a batch of records. A frame is synced
//! before the next is written, so only the last can be torn; damage before the last is corruption and is never skipped.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use prost::Message;
use tracing::warn;

const FILE_MARK: [u8; 8] = *b"stoajob1";
const FRAME_MARK: [u8; 4] = *b"\xfeJFr";
/// Mark, length, checksum.
const FRAME_HEAD_BYTES: usize = 12;
/// Larger batches go in several frames, each with its own sync. It also bounds what a damaged length can claim.
const FRAME_BYTES_MAX: usize = 8 << 20;

const FILE: &str = "journal";
const FRESH_FILE: &str = "journal.new";
const LOCK_FILE: &str = "lock";

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("{dir} is in use by another process; stop that one, or give this one a directory of its own")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk said no.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not a journal.
    #[error(
        "{path} is not a journal of the jobs framework, or its beginning is damaged; restore it from a backup, or move it away to begin anew"
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// What was once synced is damaged.
    #[error("{path} is damaged at byte {at}: {why}; restore it from a backup, or move it away to begin anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
        /// What is wrong there.
        why: String,
    },
    /// One record is too large.
    #[error("a record of {bytes} bytes is too large for a journal")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// An earlier write failed.
    #[error(
        "{path} could not be written before, so what is on the disk is not known; restart to read it again"
    )]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

/// A durable sequence of records of one kind.
#[derive(Debug)]
pub struct Journal<M> {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    bytes: u64,
    broken: bool,
    /// Held until dropped.
    _lock: Lock,
    kind: PhantomData<fn(M)>,
}

// === impl Journal ===

impl<M: Message + Default> Journal<M> {
    /// Opens the journal of a directory, or begins one, and reads every record. A torn end, which nobody was ever told
    /// is durable, is cut off.
    pub fn open(dir: &Path) -> Result<(Journal<M>, Vec<M>), JournalError> {
        // What tasks are told in confidence is in here.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make", dir))?;
        let lock = lock(dir)?;
        let path = dir.join(FILE);
        if !path.try_exists().map_err(failed("look for", &path))? {
            write_fresh(dir, &FILE_MARK)?;
        }
        // A rewrite that did not get as far as the rename.
        let fresh = dir.join(FRESH_FILE);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &fresh)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let content = fs::read(&path).map_err(failed("read", &path))?;
        let (records, good) = read(&path, &content)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
        if good < content.len() {
            warn!(path = %path.display(), bytes = content.len() - good, "cut off the torn end of the journal");
            file.set_len(good as u64).map_err(failed("cut", &path))?;
            file.sync_all().map_err(failed("sync", &path))?;
        }
        let bytes = good as u64;
        let dir = dir.to_owned();
        Ok((Journal { dir, path, file, bytes, broken: false, _lock: lock, kind: PhantomData }, records))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How large a journal of these records alone is.
    pub fn size_of(records: &[M]) -> u64 {
        let payload: usize = records.iter().map(encoded_len).sum();
        (FILE_MARK.len() + FRAME_HEAD_BYTES + payload) as u64
    }

    /// Makes records durable. After an error the journal takes nothing more: what is on the disk is not known.
    pub fn append(&mut self, records: &[M]) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken { path: self.path.clone() });
        }
        for batch in batches(records)? {
            let frame = frame_of(batch, self.bytes);
            self.broken = true;
            self.file.write_all(&frame).map_err(failed("append to", &self.path))?;
            self.file.sync_data().map_err(failed("sync", &self.path))?;
            self.broken = false;
            self.bytes += frame.len() as u64;
        }
        Ok(())
    }

    /// Puts a journal of these records alone in the place of this one, all or nothing.
    pub fn rewrite(&mut self, records: &[M]) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken { path: self.path.clone() });
        }
        let mut content = FILE_MARK.to_vec();
        for batch in batches(records)? {
            content.extend(frame_of(batch, content.len() as u64));
        }
        // Between the rename and the new handle, appends would go to a file that is no more.
        self.broken = true;
        write_fresh(&self.dir, &content)?;
        self.file = OpenOptions::new().append(true).open(&self.path).map_err(failed("open", &self.path))?;
        self.bytes = content.len() as u64;
        self.broken = false;
        Ok(())
    }
}

/// Held until it is dropped; a process that dies lets go of it.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread has just forked has it open until it executes its
        // program. Where it fails, nothing but that is lost.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<Lock, JournalError> {
    let path = dir.join(LOCK_FILE);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// A journal appears whole or not at all: a crash while it is made leaves the old one, or none.
fn write_fresh(dir: &Path, content: &[u8]) -> Result<(), JournalError> {
    let (fresh, path) = (dir.join(FRESH_FILE), dir.join(FILE));
    // Environments of jobs stand in it, and secrets in those.
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh);
    let mut file = file.map_err(failed("make", &fresh))?;
    file.write_all(content).map_err(failed("write", &fresh))?;
    file.sync_all().map_err(failed("sync", &fresh))?;
    fs::rename(&fresh, &path).map_err(failed("put in place", &path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { operation, path, source }
}

fn encoded_len<M: Message>(record: &M) -> usize {
    let bytes = record.encoded_len();
    bytes + prost::length_delimiter_len(bytes)
}

/// The records in as few frames as their size allows.
fn batches<M: Message>(records: &[M]) -> Result<Vec<&[M]>, JournalError> {
    let (mut batches, mut rest) = (Vec::new(), records);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|record| {
            bytes += encoded_len(*record);
            bytes <= FRAME_BYTES_MAX
        });
        match fits.count() {
            0 => return Err(JournalError::TooLarge { bytes }),
            count => {
                let (batch, others) = rest.split_at(count);
                batches.push(batch);
                rest = others;
            }
        }
    }
    Ok(batches)
}

fn frame_of<M: Message>(records: &[M], at: u64) -> Vec<u8> {
    let payload: usize = records.iter().map(encoded_len).sum();
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + payload);
    frame.extend(FRAME_MARK);
    // Bounded by `FRAME_BYTES_MAX`.
    let length = u32::try_from(payload).unwrap_or(u32::MAX);
    frame.extend(length.to_le_bytes());
    frame.extend([0; 4]);
    for record in records {
        frame.extend(record.encode_length_delimited_to_vec());
    }
    let sum = checksum(at, length, frame.get(FRAME_HEAD_BYTES..).unwrap_or_default());
    frame.splice(8..FRAME_HEAD_BYTES, sum.to_le_bytes());
    frame
}

/// With its place in the file, so that no frame copied elsewhere passes for one.
fn checksum(at: u64, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// All records, and how many bytes of the content are good.
fn read<M: Message + Default>(path: &Path, content: &[u8]) -> Result<(Vec<M>, usize), JournalError> {
    if !content.starts_with(&FILE_MARK) {
        return Err(JournalError::NotAJournal { path: path.to_owned() });
    }
    let damaged = |at: usize, why: String| JournalError::Damaged { path: path.to_owned(), at, why };
    let (mut records, mut at) = (Vec::new(), FILE_MARK.len());
    while at < content.len() {
        let Some(mut payload) = frame_at(content, at) else {
            // Frames are synced one by one: if a good one follows, this one was once good too.
            return match (at + 1..content.len()).find(|later| frame_at(content, *later).is_some()) {
                Some(later) => Err(damaged(at, format!("a good frame follows at byte {later}"))),
                None => Ok((records, at)),
            };
        };
        let next = at + FRAME_HEAD_BYTES + payload.len();
        while !payload.is_empty() {
            let record = M::decode_length_delimited(&mut payload);
            records.push(record.map_err(|error| damaged(at, format!("a record does not read: {error}")))?);
        }
        at = next;
    }
    Ok((records, at))
}

/// The payload of the frame that begins here, if a whole and good one does.
fn frame_at(content: &[u8], at: usize) -> Option<&[u8]> {
    let rest = content.get(at..)?.strip_prefix(&FRAME_MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    let payload = rest.get(..usize::try_from(length).ok().filter(|bytes| *bytes <= FRAME_BYTES_MAX)?)?;
    (checksum(at as u64, length, payload) == u32::from_le_bytes(*sum)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Dir;

    #[test]
    fn a_lock_that_is_let_go_of_is_free_though_a_child_that_was_just_forked_has_it_open() {
        let dir = Dir::new();
        let held = lock(&dir.0).unwrap();
        // As fork does it.
        let _of_the_child = held.0.try_clone().unwrap();
        drop(held);
        assert!(lock(&dir.0).is_ok());
    }
}
