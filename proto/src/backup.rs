//! `Backup`: all that the masters remember, as one file that says of itself whether it is whole.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::id::MasterId;
use crate::wire::{Malformed, Wire};

/// How the file begins.
const MAGIC: &[u8; 8] = b"STOABAK1";
/// The layout that this version writes.
const FORMAT: u64 = 1;
/// How it ends: the SHA-256 of all before.
const HASH: usize = 32;

/// What one group of the masters remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Up to where of its log.
    pub index: u64,
    /// The term in which the member that gave it was then.
    pub term: u64,
    /// The snapshot of its state machine.
    pub image: Vec<u8>,
}

/// A master, as its group was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub id: MasterId,
    /// Its door.
    pub address: String,
}

/// All that the masters remember.
///
/// The registry is taken first and the store behind it: a framework saves what follows from an event before it acknowledges it.
/// So an end that the registry has forgotten is in the store, and one that it has not is told again, which frameworks bear. The
/// other way round an end could be in neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// The version of this layout.
    pub format: u64,
    /// Of which cluster.
    pub cluster: String,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// The version of the master that made it.
    pub version: String,
    /// The masters there were.
    pub members: Vec<Member>,
    /// Agents, frameworks, tasks, roles.
    pub registry: Part,
    /// What frameworks keep on the masters.
    pub store: Part,
}

/// Asks for a backup: the bytes of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Save {}

/// The next bytes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedBytes {
    /// As they stand in the file.
    pub bytes: Vec<u8>,
}

/// Why bytes are no backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadBackup {
    /// They begin otherwise.
    NotOne,
    /// They end too soon, or something in them was changed.
    Damaged,
    /// They were written by a newer version.
    Newer(u64),
    /// Their hash is right, and they do not decode.
    Malformed(Malformed),
}

// === impl Backup ===

impl Backup {
    /// The layout that this version writes.
    pub const FORMAT: u64 = FORMAT;

    /// The bytes of the file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.encode());
        let hash = Sha256::digest(&bytes);
        bytes.extend(hash);
        bytes
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// [`BadBackup`]: it is none, not whole, or too new.
    pub fn from_file(bytes: &[u8]) -> Result<Backup, BadBackup> {
        if !bytes.starts_with(MAGIC) {
            return Err(BadBackup::NotOne);
        }
        let end =
            bytes.len().checked_sub(HASH).filter(|end| *end >= MAGIC.len()).ok_or(BadBackup::Damaged)?;
        let (all, hash) = bytes.split_at(end);
        if Sha256::digest(all).as_slice() != hash {
            return Err(BadBackup::Damaged);
        }
        let backup = Backup::decode(&all[MAGIC.len()..]).map_err(BadBackup::Malformed)?;
        if backup.format > FORMAT {
            return Err(BadBackup::Newer(backup.format));
        }
        Ok(backup)
    }
}

impl fmt::Display for BadBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadBackup::NotOne => f.write_str("it is no backup: `stoa snapshot save` makes one"),
            BadBackup::Damaged => {
                f.write_str("it is cut short or was changed: its hash is another; take another copy")
            }
            BadBackup::Newer(format) => {
                write!(
                    f,
                    "it has format {format}, this version reads up to {FORMAT}; use the version that made it"
                )
            }
            BadBackup::Malformed(bad) => write!(f, "it is malformed: {bad}"),
        }
    }
}

impl std::error::Error for BadBackup {}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup {
            format: FORMAT,
            cluster: "pool".to_owned(),
            made_ms: 7,
            by: "user/ada".to_owned(),
            version: "1".to_owned(),
            members: vec![Member { id: MasterId(1), address: "h1:7070".to_owned() }],
            registry: Part { index: 5, term: 2, image: vec![1, 2, 3] },
            store: Part { index: 9, term: 3, image: vec![4] },
        }
    }

    #[test]
    fn what_was_written_comes_back_and_nothing_else_does() {
        let file = backup().to_file();
        assert_eq!(Backup::from_file(&file), Ok(backup()));
        assert_eq!(Backup::from_file(b"something"), Err(BadBackup::NotOne));
        for end in 0..file.len() {
            assert!(Backup::from_file(&file[..end]).is_err(), "cut at {end}");
        }
        for at in MAGIC.len()..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(Backup::from_file(&changed), Err(BadBackup::Damaged), "changed at {at}");
        }
        let newer = Backup { format: FORMAT + 1, ..backup() }.to_file();
        assert_eq!(Backup::from_file(&newer), Err(BadBackup::Newer(FORMAT + 1)));
    }
}
