//! A run's stdout or stderr: from its pipe into a size-rotated file that the task cannot point elsewhere.
//!
//! The sandbox belongs to the task's user, the keeper is root: whatever the task puts in the file's place must not make
//! the keeper write anywhere else. So the directory is opened without following a link, names are opened in it without
//! following links, and a file that was there already is written to only if it is a plain file with one name that
//! belongs to the task.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use crate::protocol;
use crate::sys;

const MODE: u32 = 0o640;

/// A pipe being emptied into a file.
pub(crate) struct Stream {
    pipe: OwnedFd,
    sink: Sink,
}

/// What one round of emptying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// There may be more.
    More,
    /// Nothing at the moment.
    Empty,
    /// Every writer is gone.
    Closed,
}

impl Stream {
    pub(crate) fn new(pipe: OwnedFd, sink: Sink) -> Stream {
        Stream { pipe, sink }
    }

    /// Moves at most one buffer full.
    pub(crate) fn pump(&mut self, buffer: &mut [u8]) -> Pumped {
        match sys::read(&self.pipe, buffer) {
            Ok(0) => Pumped::Closed,
            Ok(len) => {
                self.sink.write(buffer.get(..len).unwrap_or_default());
                Pumped::More
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Pumped::Empty,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Pumped::More,
            Err(_) => Pumped::Closed,
        }
    }

    /// Empties what a dead run left in its pipe. Bounded, because somebody else may hold the pipe and go on writing.
    pub(crate) fn drain(&mut self, buffer: &mut [u8]) -> Pumped {
        // The largest pipe an ordinary user may ask for (/proc/sys/fs/pipe-max-size), and a buffer more.
        const BYTES_MAX: usize = 1024 * 1024;
        for _ in 0..=BYTES_MAX / buffer.len().max(1) {
            match self.pump(buffer) {
                Pumped::More => {}
                end @ (Pumped::Empty | Pumped::Closed) => return end,
            }
        }
        Pumped::More
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }
}

/// A size-rotated file, created at the first byte.
pub(crate) struct Sink {
    dir: CString,
    name: &'static str,
    owner: Option<(u32, u32)>,
    file_bytes_max: u64,
    rotated_max: u32,
    state: State,
}

enum State {
    Unopened,
    Open {
        file: File,
        bytes: u64,
    },
    /// It cannot be written safely or at all: bytes are dropped so that the task does not hang on a full pipe.
    Dropping,
}

impl Sink {
    /// The sink for `name` in the directory of `output`, for files of `owner` (uid, gid).
    pub(crate) fn new(output: &protocol::Output, name: &'static str, owner: Option<(u32, u32)>) -> Sink {
        let dir = CString::new(output.dir.as_slice());
        Sink {
            state: if dir.is_ok() { State::Unopened } else { State::Dropping },
            dir: dir.unwrap_or_default(),
            name,
            owner,
            file_bytes_max: output.file_bytes_max.max(1),
            rotated_max: output.rotated_max,
        }
    }

    /// Appends `bytes`, rotating as often as the size limit asks for.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let step = match &mut self.state {
                State::Unopened => self.open(false),
                State::Open { bytes: size, .. } if *size >= self.file_bytes_max => self.rotate(),
                State::Open { file, bytes: size } => {
                    let room = usize::try_from(self.file_bytes_max - *size).unwrap_or(usize::MAX);
                    let (head, rest) = bytes.split_at(room.min(bytes.len()));
                    bytes = rest;
                    *size += head.len() as u64;
                    match file.write_all(head) {
                        // A full disk may have room again later: lose these bytes and go on.
                        Err(e) if e.kind() == io::ErrorKind::StorageFull => Ok(()),
                        result => result,
                    }
                }
                State::Dropping => return,
            };
            if step.is_err() {
                self.state = State::Dropping;
            }
        }
    }

    fn open(&mut self, must_be_new: bool) -> io::Result<()> {
        let dir = sys::open_dir(&self.dir)?;
        let name = numbered(self.name, 0);
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_NONBLOCK;
        let file = match sys::open_at(&dir, &name, flags | libc::O_CREAT | libc::O_EXCL, MODE) {
            Ok(file) => {
                if let Some((uid, gid)) = self.owner {
                    sys::change_owner(file.as_fd(), uid, gid)?;
                }
                file
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !must_be_new => {
                sys::open_at(&dir, &name, flags, 0)?
            }
            Err(e) => return Err(e),
        };
        let found = file.metadata()?;
        let uid = self.owner.map_or_else(sys::effective_uid, |(uid, _)| uid);
        if !found.is_file() || found.nlink() != 1 || found.uid() != uid {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        self.state = State::Open { file, bytes: found.len() };
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let dir = sys::open_dir(&self.dir)?;
        let older = (1..self.rotated_max).rev().map(|n| (numbered(self.name, n), numbered(self.name, n + 1)));
        for (from, to) in older {
            match sys::rename_at(&dir, &from, &to) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return self.start_over(),
            }
        }
        let current = numbered(self.name, 0);
        if self.rotated_max == 0 || rename(&dir, &current, &numbered(self.name, 1)).is_err() {
            return self.start_over();
        }
        self.open(true)
    }

    /// Empties the file in place: when no rotated files are kept, or the task has put something in their way.
    fn start_over(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Open { file, bytes } => {
                file.set_len(0)?;
                *bytes = 0;
                Ok(())
            }
            State::Unopened | State::Dropping => Ok(()),
        }
    }
}

/// Renames, taking it as done if the task has removed its own file.
fn rename(dir: &OwnedFd, from: &CStr, to: &CStr) -> io::Result<()> {
    match sys::rename_at(dir, from, to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// `stdout`, `stdout.1`, and so on.
fn numbered(name: &str, number: u32) -> CString {
    let name = if number == 0 { name.to_owned() } else { format!("{name}.{number}") };
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    /// A directory that is removed with its holder.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir = std::env::temp_dir().join(format!("stoa-keeper-output-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).expect("scratch directory");
            Scratch(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn sink(dir: &Path, file_bytes_max: u64, rotated_max: u32) -> Sink {
        let dir = dir.as_os_str().as_bytes().to_vec();
        Sink::new(&protocol::Output { dir, file_bytes_max, rotated_max }, "stdout", None)
    }

    fn text(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name)).ok()
    }

    #[test]
    fn nothing_is_created_before_the_first_byte() {
        let scratch = Scratch::new("lazy");
        let mut sink = sink(&scratch.0, 10, 1);
        sink.write(b"");
        assert_eq!(text(&scratch.0, "stdout"), None);
        sink.write(b"x");
        assert_eq!(text(&scratch.0, "stdout").as_deref(), Some("x"));
    }

    #[test]
    fn a_full_file_is_rotated_and_only_so_many_are_kept() {
        let scratch = Scratch::new("rotate");
        let mut sink = sink(&scratch.0, 4, 2);
        sink.write(b"aaaabbbbccccdddde");
        let files = ["stdout", "stdout.1", "stdout.2", "stdout.3"].map(|name| text(&scratch.0, name));
        assert_eq!(files, [Some("e".into()), Some("dddd".into()), Some("cccc".into()), None]);
    }

    #[test]
    fn without_rotated_files_a_full_one_starts_over() {
        let scratch = Scratch::new("over");
        let mut sink = sink(&scratch.0, 4, 0);
        sink.write(b"aaaabb");
        assert_eq!(text(&scratch.0, "stdout").as_deref(), Some("bb"));
        assert_eq!(text(&scratch.0, "stdout.1"), None);
    }

    #[test]
    fn a_link_in_the_files_place_is_not_followed() {
        let scratch = Scratch::new("link");
        let victim = scratch.0.join("victim");
        fs::write(&victim, "mine").expect("victim");
        std::os::unix::fs::symlink(&victim, scratch.0.join("stdout")).expect("link");
        sink(&scratch.0, 100, 1).write(b"evil");
        assert_eq!(text(&scratch.0, "victim").as_deref(), Some("mine"));
    }

    #[test]
    fn a_second_name_of_a_file_is_not_written_to() {
        let scratch = Scratch::new("hard-link");
        let victim = scratch.0.join("victim");
        fs::write(&victim, "mine").expect("victim");
        fs::hard_link(&victim, scratch.0.join("stdout")).expect("link");
        sink(&scratch.0, 100, 1).write(b"evil");
        assert_eq!(text(&scratch.0, "victim").as_deref(), Some("mine"));
    }

    #[test]
    fn a_directory_in_the_way_of_rotation_does_not_unbound_the_file() {
        let scratch = Scratch::new("blocked");
        fs::create_dir(scratch.0.join("stdout.1")).expect("directory");
        sink(&scratch.0, 4, 1).write(b"aaaabbbbc");
        assert_eq!(text(&scratch.0, "stdout").as_deref(), Some("c"));
    }

    #[test]
    fn an_earlier_file_of_the_same_sandbox_is_appended_to() {
        let scratch = Scratch::new("append");
        sink(&scratch.0, 100, 1).write(b"one ");
        sink(&scratch.0, 100, 1).write(b"two");
        assert_eq!(text(&scratch.0, "stdout").as_deref(), Some("one two"));
    }
}
