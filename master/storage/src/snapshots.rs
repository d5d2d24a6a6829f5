//! `Snapshots`: one checksummed file for each snapshot, written whole before it has its name.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::error::io_error;
use crate::{Error, Group};

const MAGIC: &[u8; 8] = b"STOASNAP";
const VERSION: u32 = 1;
const HEADER: usize = 40;

/// The directory of snapshot files. Clones stand for the same directory and may be used from any thread.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
}

/// A snapshot being read piece by piece. The last piece is given only if all of it matches the checksum.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Header,
    left: u64,
    crc: crc32fast::Hasher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub group: Group,
    pub index: u64,
    pub bytes: u64,
    pub crc: u32,
}

// === impl Snapshots ===

impl Snapshots {
    /// The directory, made if need be, without what an interrupted write left behind.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&dir).map_err(io_error("make", &dir))?;
        Ok(Self { dir })
    }

    /// Writes a snapshot durably, for `Input::SnapshotTaken` with `Image::Filed`. It does not count before the
    /// `Persist` that follows from that, and is swept at the next start if that never comes.
    pub fn write(&self, group: Group, index: u64, image: &[u8]) -> Result<(), Error> {
        self.put(group, index, image).map(|_| ())
    }

    pub(crate) fn put(&self, group: Group, index: u64, image: &[u8]) -> Result<Header, Error> {
        let header = Header { group, index, bytes: image.len() as u64, crc: crc32fast::hash(image) };
        let path = self.path(group, index);
        let temporary = path.with_extension("part");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&header.encode())?;
            file.write_all(image)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(io_error("write", &path))?;
        Ok(header)
    }

    /// A whole snapshot, checked.
    pub fn read(&self, group: Group, index: u64) -> Result<Vec<u8>, Error> {
        let mut reader = self.reader(group, index)?;
        let mut image = Vec::new();
        while let Some(piece) = reader.next_piece(1 << 20)? {
            image.extend(piece);
        }
        Ok(image)
    }

    /// A snapshot to be read piece by piece. It stays readable when a newer one takes its place meanwhile.
    pub fn reader(&self, group: Group, index: u64) -> Result<Reader, Error> {
        let path = self.path(group, index);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoSnapshot { path });
            }
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let mut bytes = [0; HEADER];
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::DamagedSnapshot { path, what: "it is cut short" });
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        }
        let header =
            Header::decode(&bytes).map_err(|what| Error::DamagedSnapshot { path: path.clone(), what })?;
        if (header.group, header.index) != (group, index) {
            return Err(Error::DamagedSnapshot { path, what: "it is another snapshot than its name says" });
        }
        Ok(Reader { path, file, header, left: header.bytes, crc: crc32fast::Hasher::new() })
    }

    /// Removes all files but those of these snapshots. A file that stays behind costs room and nothing else.
    pub(crate) fn sweep(&self, keep: &[(Group, u64)]) {
        let keep: Vec<_> = keep.iter().map(|(group, index)| self.path(*group, *index)).collect();
        let Ok(files) = fs::read_dir(&self.dir) else { return };
        for path in files.flatten().map(|file| file.path()).filter(|path| !keep.contains(path)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old snapshot");
            }
        }
    }

    pub(crate) fn remove(&self, group: Group, index: u64) {
        let path = self.path(group, index);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old snapshot");
        }
    }

    fn path(&self, group: Group, index: u64) -> PathBuf {
        self.dir.join(format!("{group}-{index:020}.snapshot"))
    }
}

// === impl Reader ===

impl Reader {
    /// How large the image is, in bytes.
    pub fn image_bytes(&self) -> u64 {
        self.header.bytes
    }

    /// The next piece, of at most so many bytes; `None` at the end. After an error the pieces given so far are void.
    pub fn next_piece(&mut self, most: usize) -> Result<Option<Vec<u8>>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let size = self.left.min(most.max(1) as u64);
        let mut piece = vec![0; size as usize];
        match self.file.read_exact(&mut piece) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged("it is cut short"));
            }
            Err(error) => return Err(io_error("read", &self.path)(error)),
        }
        self.crc.update(&piece);
        self.left -= size;
        if self.left == 0 && self.crc.clone().finalize() != self.header.crc {
            return Err(self.damaged("its image does not match its checksum"));
        }
        Ok(Some(piece))
    }

    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// The file is whole, but not the one that was stored.
    pub(crate) fn not_the_one(&self) -> Error {
        self.damaged("it is not the image that was stored under its name")
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::DamagedSnapshot { path: self.path.clone(), what }
    }
}

// === impl Header ===

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([self.group.0, 0, 0, 0]);
        bytes.extend(self.index.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut header = [0; HEADER];
        header.copy_from_slice(&bytes);
        header
    }

    fn decode(bytes: &[u8; HEADER]) -> Result<Self, &'static str> {
        let (fields, crc) = bytes.split_at(HEADER - 4);
        let number = |at: usize, size: usize| {
            fields.iter().skip(at).take(size).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        if crc != crc32fast::hash(fields).to_le_bytes() {
            return Err("its header does not match its checksum");
        }
        if !fields.starts_with(MAGIC) {
            return Err("it is no snapshot");
        }
        if number(8, 4) != u64::from(VERSION) {
            return Err("it has another format");
        }
        // Whatever a later version says in them is not understood here.
        if number(13, 3) != 0 {
            return Err("its header says more than this version knows");
        }
        let header = Self {
            group: Group(number(12, 1) as u8),
            index: number(16, 8),
            bytes: number(24, 8),
            crc: number(32, 4) as u32,
        };
        // An image without a byte has no last piece to be checked behind.
        if header.bytes == 0 && header.crc != crc32fast::hash(&[]) {
            return Err("its image does not match its checksum");
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that says this, and whose checksum is right.
    fn sealed(header: Header, change: impl Fn(&mut [u8])) -> [u8; HEADER] {
        let mut bytes = header.encode();
        let (fields, crc) = bytes.split_at_mut(HEADER - 4);
        change(fields);
        crc.copy_from_slice(&crc32fast::hash(fields).to_le_bytes());
        bytes
    }

    #[test]
    fn a_header_that_nobody_wrote_is_refused_though_its_checksum_is_right() {
        // Found by the fuzzer, which puts checksums right.
        let header = Header { group: Group(1), index: 7, bytes: 5, crc: crc32fast::hash(b"state") };
        assert_eq!(Header::decode(&sealed(header, |_| {})), Ok(header));
        for at in 13..16 {
            assert!(Header::decode(&sealed(header, |fields| fields[at] = 0xff)).is_err(), "byte {at}");
        }
        let empty = Header { bytes: 0, crc: 0, ..header };
        assert_eq!(Header::decode(&sealed(empty, |_| {})), Ok(empty));
        assert!(Header::decode(&sealed(Header { crc: 1, ..empty }, |_| {})).is_err());
    }
}
