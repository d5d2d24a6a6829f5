//! A task's output as one stream of bytes out of its rotated files, read so that the task cannot point elsewhere.
//!
//! The keeper writes `stdout`; when that is full it renames `stdout.1` to `stdout.2` and so on, `stdout` to `stdout.1`,
//! and begins a new `stdout`. The sandbox belongs to the task's user and the agent may be root: the directory is opened
//! once, names are opened in it without following links, and what is not a plain file with one name is not read.
//!
//! A file that is being read, or waits to be read, is held open: it can be renamed and removed without a byte of it
//! being lost, and its inode number is not given to another meanwhile, so that a file is known again for certain.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// What is read at once, and the size of a chunk at most.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Nobody keeps more rotated files; a task that makes some itself does not keep us busy for longer.
const ROTATED_MAX: u32 = 1_024;

/// Which file, however it is called now: device and inode.
type FileId = (u64, u64);

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of what there is.
    #[default]
    Beginning,
    /// With the last so many lines.
    Tail(u64),
    /// Behind so many bytes of what there is; at its end if there are not as many.
    Offset(u64),
}

/// The output of one run, from where it is read on.
#[derive(Debug)]
pub struct Output {
    dir: OwnedFd,
    name: &'static str,
    /// The file being read; none before there is any.
    current: Option<Reading>,
    /// Newer files, oldest first.
    waiting: VecDeque<Found>,
    /// Older files, all read or left out, as long as they have a name.
    done: Vec<Found>,
    buffer: Vec<u8>,
    /// Bytes of what there was at the beginning, and of what came since, that are read or left out.
    position: u64,
}

#[derive(Debug)]
struct Found {
    file: File,
    id: FileId,
}

#[derive(Debug)]
struct Reading {
    found: Found,
    at: u64,
}

// === impl Output ===

impl Output {
    /// The output `name` (`stdout` or `stderr`) in a sandbox.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]: something else stands in its place.
    pub fn open(sandbox: &Path, name: &'static str, start: Start) -> io::Result<Output> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(sandbox, flags, Mode::empty())?;
        let mut output = Output {
            dir,
            name,
            current: None,
            waiting: VecDeque::new(),
            done: Vec::new(),
            buffer: vec![0; CHUNK_BYTES_MAX],
            position: 0,
        };
        output.look()?;
        match start {
            Start::Beginning => {}
            Start::Tail(lines) => output.skip_to_tail(lines)?,
            Start::Offset(bytes) => output.skip(bytes)?,
        }
        Ok(output)
    }

    /// Where the next bytes begin, counted from the beginning of what there was when it was opened.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, at most [`CHUNK_BYTES_MAX`]; `None` when all is read that is there now.
    ///
    /// # Errors
    /// As for [`Output::open`]; and what cannot be read.
    #[allow(clippy::should_implement_trait, reason = "what it gives is borrowed from it")]
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let len = self.read_current()?;
            if len > 0 {
                self.position += len as u64;
                return Ok(self.buffer.get(..len));
            }
            if self.waiting.is_empty() {
                if self.is_newest()? {
                    return Ok(None);
                }
                self.look()?;
                if self.waiting.is_empty() {
                    return Ok(None);
                }
                // There is a newer one, so nobody writes to this one any more; but somebody may have after it was read.
                continue;
            }
            self.advance();
        }
    }

    fn read_current(&mut self) -> io::Result<usize> {
        let Some(reading) = &mut self.current else { return Ok(0) };
        let len = read_some(&reading.found.file, &mut self.buffer, reading.at)?;
        if len == 0 && reading.found.file.metadata()?.len() < reading.at {
            // Without rotated files the keeper empties a full one and begins anew.
            reading.at = 0;
            return read_some(&reading.found.file, &mut self.buffer, 0)
                .inspect(|len| reading.at = *len as u64);
        }
        reading.at += len as u64;
        Ok(len)
    }

    /// Goes on to the next file.
    fn advance(&mut self) {
        let next = self.waiting.pop_front().map(|found| Reading { found, at: 0 });
        if let Some(read) = std::mem::replace(&mut self.current, next) {
            self.done.push(read.found);
        }
    }

    /// Whether the file being read is the one being written, or there is none at all.
    fn is_newest(&self) -> io::Result<bool> {
        match (stat(&self.dir, self.name)?, &self.current) {
            (Some(id), Some(reading)) => Ok(id == reading.found.id),
            (None, None) => Ok(false),
            (Some(_), None) | (None, Some(_)) => Ok(false),
        }
    }

    /// Looks which files there are, and lets those wait that are newer than the one being read.
    fn look(&mut self) -> io::Result<()> {
        let mut found = self.list()?;
        self.done.retain(|done| found.iter().any(|file| file.id == done.id));
        if let Some(reading) = &self.current
            && let Some(place) = found.iter().position(|file| file.id == reading.found.id)
        {
            found.truncate(place);
        }
        // A file that has lost its name (rotated away, or removed by the task) says nothing about the others: then
        // those are newer that were not read before.
        found.retain(|file| !self.done.iter().any(|done| done.id == file.id));
        self.waiting = found.into_iter().rev().collect();
        Ok(())
    }

    /// All files, newest first.
    ///
    /// Names are tried from the newest up, and rotation moves files the same way, the last first: so each file is met
    /// at least once, with at most one gap before it, and one that was moved meanwhile is met again, where its place
    /// is the right one.
    fn list(&self) -> io::Result<Vec<Found>> {
        let mut list: Vec<Found> = Vec::new();
        let mut gap = 0;
        for number in 0..=ROTATED_MAX {
            let name = if number == 0 { self.name.to_owned() } else { format!("{}.{number}", self.name) };
            let found = match open_plain(&self.dir, &name) {
                // A task that puts something else there as an older file harms nobody but itself.
                Err(error) if number > 0 && error.kind() == io::ErrorKind::InvalidInput => None,
                result => result?,
            };
            match found {
                Some(found) => {
                    gap = 0;
                    list.retain(|file| file.id != found.id);
                    list.push(found);
                }
                None if gap == 1 => break,
                None => gap += 1,
            }
        }
        Ok(list)
    }

    /// Moves to where the last `lines` lines begin. A newline at the very end ends the last line.
    fn skip_to_tail(&mut self, lines: u64) -> io::Result<()> {
        let mut left = lines;
        let mut at_the_end = true;
        for (place, found) in self.waiting.iter().enumerate().rev() {
            let mut end = found.file.metadata()?.len();
            if lines == 0 {
                return self.begin_at(place, end);
            }
            while end > 0 {
                let start = end.saturating_sub(self.buffer.len() as u64);
                let wanted = usize::try_from(end - start).unwrap_or(self.buffer.len());
                let Some(block) = self.buffer.get_mut(..wanted) else { break };
                let len = read_full(&found.file, block, start)?;
                let mut block = block.get(..len).unwrap_or_default();
                if std::mem::take(&mut at_the_end) {
                    block = block.strip_suffix(b"\n").unwrap_or(block);
                }
                while let Some(newline) = block.iter().rposition(|byte| *byte == b'\n') {
                    left -= 1;
                    if left == 0 {
                        return self.begin_at(place, start + newline as u64 + 1);
                    }
                    block = block.get(..newline).unwrap_or_default();
                }
                end = start;
            }
        }
        Ok(())
    }

    /// Leaves so many bytes out; all there are, if there are fewer.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        let newest = self.waiting.len().saturating_sub(1);
        for (place, found) in self.waiting.iter().enumerate() {
            let len = found.file.metadata()?.len();
            if left < len || place == newest {
                return self.begin_at(place, left.min(len));
            }
            left -= len;
        }
        Ok(())
    }

    fn begin_at(&mut self, place: usize, at: u64) -> io::Result<()> {
        self.position = at;
        for older in self.waiting.iter().take(place) {
            self.position += older.file.metadata()?.len();
        }
        self.done.extend(self.waiting.drain(..place));
        self.current = self.waiting.pop_front().map(|found| Reading { found, at });
        Ok(())
    }
}

/// The plain file of a name; `None` if there is none, `InvalidInput` if there is something else.
fn open_plain(dir: &OwnedFd, name: &str) -> io::Result<Option<Found>> {
    // Looked at first because opening a device can do something, and again because it may be another by then.
    if stat(dir, name)?.is_none() {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(not_plain()),
        Err(errno) => return Err(errno.into()),
    };
    let about = file.metadata()?;
    // A second name of a file could be one of somebody else's that the task's user may not read.
    if !about.is_file() || about.nlink() > 1 {
        return Err(not_plain());
    }
    Ok(Some(Found { id: (about.dev(), about.ino()), file }))
}

fn stat(dir: &OwnedFd, name: &str) -> io::Result<Option<FileId>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about)
            if FileType::from_raw_mode(about.st_mode) == FileType::RegularFile && about.st_nlink <= 1 =>
        {
            Ok(Some((about.st_dev, about.st_ino)))
        }
        Ok(_) => Err(not_plain()),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the task has put something else in the place of its output")
}

fn read_some(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Fills the buffer as far as the file goes.
fn read_full(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read_some(file, rest, at + done as u64)? {
            0 => break,
            len => done += len,
        }
    }
    Ok(done)
}

#[cfg(test)]
#[path = "sandbox_files/tests.rs"]
mod tests;
