//! `Journal`: the files of the audit log, each line behind the hash of the one before.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use proto_audit::files::{self, End};
use proto_audit::{Entry, Hash, Head, Verdict, WITNESSED};

use super::{Draft, now_ms};

/// A file is so long, unless less is kept than many of these.
const SEGMENT_BYTES: u64 = 4 << 20;
/// At least so many files are kept: the oldest is removed whole.
const SEGMENTS_MIN: u64 = 4;

/// The files of the audit log of this master, open at their end.
pub(super) struct Journal {
    dir: PathBuf,
    master: u64,
    keep_bytes: u64,
    segment_bytes: u64,
    file: File,
    size: u64,
    head: Head,
    /// Lines that are not written yet.
    buffer: String,
    /// How others' logs stood when they said so last: said again at the start of each file, so that it is kept as long as
    /// anything is.
    others: BTreeMap<String, String>,
    unsynced: bool,
}

impl Journal {
    /// Opens the log, or begins it. A line that was torn when the power went is cut off: it was never told to be there.
    pub fn open(dir: &Path, master: u64, keep_bytes: u64) -> io::Result<Journal> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let End { file, bytes, head, seals } = files::end(dir)?;
        let (file, size) = match file {
            Some(path) => {
                let file = OpenOptions::new().append(true).open(path)?;
                file.set_len(bytes)?;
                (file, bytes)
            }
            None => (begin(dir, head.sequence + 1)?, 0),
        };
        let seal = |seal: proto_audit::Seal| (format!("master/{}", seal.master), seal.head.to_string());
        Ok(Journal {
            dir: dir.to_owned(),
            master,
            keep_bytes,
            segment_bytes: SEGMENT_BYTES.min(keep_bytes / SEGMENTS_MIN),
            file,
            size,
            head,
            buffer: String::new(),
            others: seals.into_iter().map(seal).collect(),
            unsynced: false,
        })
    }

    /// Up to where it stands, with what is not written yet.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether something is written that may not be on the disk.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Adds a line.
    pub fn append(&mut self, draft: Draft) -> io::Result<()> {
        if self.size + self.buffer.len() as u64 >= self.segment_bytes {
            self.begin_anew()?;
        }
        if draft.call == WITNESSED && draft.verdict == Verdict::Done {
            self.others.insert(draft.who.clone(), draft.object.clone());
        }
        self.push(draft);
        Ok(())
    }

    fn push(&mut self, draft: Draft) {
        let Draft { who, from, call, object, verdict, code, message, index, count, at_ms } = draft;
        let entry = Entry {
            sequence: self.head.sequence + 1,
            at_ms,
            master: self.master,
            who,
            from,
            call: call.to_owned(),
            object,
            verdict,
            code: code.to_owned(),
            message,
            index,
            count,
            prev: self.head.hash.to_string(),
        };
        let line = entry.to_line();
        self.head = Head { sequence: entry.sequence, hash: Hash::of(line.as_bytes()) };
        self.buffer.push_str(&line);
        self.buffer.push('\n');
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_all(self.buffer.as_bytes())?;
            self.size += self.buffer.len() as u64;
            self.buffer.clear();
            self.unsynced = true;
        }
        Ok(())
    }

    /// Has the disk keep what was written.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced = false;
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sync()?;
        self.file = begin(&self.dir, self.head.sequence + 1)?;
        self.size = 0;
        for (who, head) in self.others.clone() {
            let draft = Draft::done(who, String::new(), WITNESSED, head).saying("as it said before");
            self.push(Draft { at_ms: now_ms(), ..draft });
        }
        let mut segments = files::segments(&self.dir)?;
        segments.pop();
        let mut kept = 0;
        for (_, path) in segments.into_iter().rev() {
            kept += fs::metadata(&path)?.len();
            if kept + self.segment_bytes > self.keep_bytes {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// A file whose first line will have this number.
fn begin(dir: &Path, first: u64) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(files::name(first)))?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}
