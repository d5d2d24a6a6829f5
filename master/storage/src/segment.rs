//! One file of the log: made, appended to, cut.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::io_error;
use crate::frame::{self, Header};
use crate::{Error, Group};

/// A file grows by zeros of so many bytes at a time: writing over what is there spares each `fdatasync` the file's
/// size, which costs about as much as the data.
const GROWTH: u64 = 256 << 10;

/// The file that is being appended to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: Header,
    /// Where the next frame goes. Behind it there are only zeros, and all before it is durable.
    pub(crate) end: u64,
    /// The length of the file, zeros included.
    length: u64,
    pub(crate) highest: Highest,
}

/// The last entry of each group that a file holds.
pub(crate) type Highest = BTreeMap<Group, u64>;

// === impl Segment ===

impl Segment {
    /// Makes a file whose first frame is `facts`, durable together with its name.
    pub(crate) fn create(
        dir: &Path,
        number: u64,
        oldest: u64,
        before: u64,
        facts: &[u8],
    ) -> Result<Self, Error> {
        let made = frame::SECTOR as u64 + frame::bytes(facts.len());
        let header = Header { number, salt: random_salt()?, oldest, before, made };
        let mut bytes = header.encode().to_vec();
        frame::put(&mut bytes, header.salt, frame::SECTOR as u64, facts);
        let length = made.next_multiple_of(GROWTH);
        bytes.resize(length as usize, 0);
        let (path, unnamed) = (path(dir, number), dir.join(UNNAMED));
        let open = || {
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed).and_then(
                |file| {
                    file.write_all_at(&bytes, 0)?;
                    file.sync_all()?;
                    Ok(file)
                },
            )
        };
        let file = open().map_err(io_error("write", &unnamed))?;
        fs::rename(&unnamed, &path).map_err(io_error("make", &path))?;
        sync_dir(dir)?;
        Ok(Self { path, file, header, end: made, length, highest: Highest::new() })
    }

    /// Goes on with a file that holds frames up to `end`; what is behind it and no zero goes.
    pub(crate) fn resume(
        path: PathBuf,
        header: Header,
        bytes: &[u8],
        end: u64,
        highest: Highest,
    ) -> Result<Self, Error> {
        let file = OpenOptions::new().write(true).open(&path).map_err(io_error("open", &path))?;
        let mut length = bytes.len() as u64;
        let unfinished = bytes.get(end as usize..).unwrap_or_default();
        if let Some(last) = unfinished.iter().rposition(|byte| *byte != 0) {
            tracing::warn!(path = %path.display(), offset = end, bytes = last + 1, "cut off a batch that was never finished");
            file.set_len(end).map_err(io_error("cut off the end of", &path))?;
            length = end;
        }
        // What was read may not have got beyond the memory of the machine.
        file.sync_all().map_err(io_error("sync", &path))?;
        Ok(Self { path, file, header, end, length, highest })
    }

    /// Whether a frame of a body of so many bytes stays within a limit. A file without batches takes any.
    pub(crate) fn takes(&self, body: usize, limit: u64) -> bool {
        self.end == self.header.made || self.end + frame::bytes(body) <= limit
    }

    /// Appends a frame: one write and one sync. After an error nobody knows what is there.
    pub(crate) fn append(&mut self, body: &[u8], buffer: &mut Vec<u8>) -> Result<(), Error> {
        buffer.clear();
        frame::put(buffer, self.header.salt, self.end, body);
        let end = self.end + buffer.len() as u64;
        if end > self.length {
            self.length = end.next_multiple_of(GROWTH);
            buffer.resize((self.length - self.end) as usize, 0);
        }
        self.file.write_all_at(buffer, self.end).map_err(io_error("write", &self.path))?;
        self.file.sync_data().map_err(io_error("sync", &self.path))?;
        self.end = end;
        Ok(())
    }
}

// === the directory ===

/// A file that does not count yet.
const UNNAMED: &str = "next.part";

pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

/// The numbers of the files that are there, in order. What was being made in a crash goes.
pub(crate) fn numbers(dir: &Path) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let name = file.map_err(io_error("list", dir))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == UNNAMED {
            remove(&dir.join(name));
        }
        let number = name.strip_suffix(".log").and_then(|number| number.parse().ok());
        numbers.extend(number.filter(|number| path(dir, *number).ends_with(name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a file that is not needed. One that stays behind costs room and nothing else.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove an old file of the log");
    }
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))
}

fn random_salt() -> Result<u64, Error> {
    const RANDOM: &str = "/dev/urandom";
    let mut bytes = [0; 8];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(io_error("read", Path::new(RANDOM)))?;
    Ok(u64::from_le_bytes(bytes))
}
