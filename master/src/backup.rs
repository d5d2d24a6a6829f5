//! `stoa snapshot restore`: a master's data directory from a backup, when a majority of the masters is lost for good.

mod args;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use master_raft::{ConfState, HardState, Image, NodeId, Persist, Snapshot};
use master_storage::{Disk, Group, LogStore};
use proto::backup::{Backup, BadBackup, Part};
use proto::id::MasterId;
use proto::log::Restored;
use proto_pki::{Authority, Credentials, Identity, LEAF_VALIDITY, PkiError};

pub use args::RestoreArgs;

use crate::founding::{AUTHORITY, CREDENTIALS};
use crate::make_private;
use crate::perform::REGISTRY;
use crate::store::STORE;

/// Numbers of a new log for each second: no log grows faster, so no two logs that were begun at different seconds give the same
/// number. In 2026 they stay below 2^53, beyond which programs that read JSON round.
const NUMBERS_PER_SECOND_BITS: u32 = 20;

/// What is restored to where.
#[derive(Clone, Debug)]
pub struct Restoring {
    /// The file.
    pub file: PathBuf,
    /// Which member it becomes.
    pub id: MasterId,
    /// All members of the new group; empty: those that the backup was made of.
    pub members: BTreeMap<MasterId, String>,
    /// Its data directory: one that holds no log.
    pub data_dir: PathBuf,
    /// A copy of the cluster's authority: the member gets it, and a certificate. `None`: it has its own already.
    pub authority: Option<PathBuf>,
    /// The second since 1970 at which the new log begins: the same for each member.
    pub at_s: Option<u64>,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whose backup it was.
    pub cluster: String,
    /// When that was made.
    pub made_ms: u64,
    /// The members of the new group.
    pub members: BTreeMap<MasterId, String>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file cannot be read.
    #[error("cannot {operation} {path}")]
    File {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no backup.
    #[error("{path} cannot be restored")]
    Backup {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: BadBackup,
    },
    /// What is in it cannot be read.
    #[error("{path} cannot be restored: {why}")]
    Image {
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// It is no member.
    #[error("--id {id} is not among the members ({}); add --member {id}=HOST:PORT", listed(.members))]
    NoMember {
        /// Which.
        id: MasterId,
        /// Who is.
        members: BTreeMap<MasterId, String>,
    },
    /// Each member would begin at a number of its own.
    #[error(
        "the members of the new group must begin at the same number: give each of them the same --at, such as --at {now_s} \
         (now), and a later one if this backup is ever restored again"
    )]
    NoTime {
        /// Now.
        now_s: u64,
    },
    /// The time cannot be that of a restoring.
    #[error("--at {at_s} is {what}; give each member the same second since 1970, such as {now_s} (now)")]
    BadTime {
        /// What was said.
        at_s: u64,
        /// What is wrong.
        what: &'static str,
        /// Now.
        now_s: u64,
    },
    /// There is a log.
    #[error(
        "{0} holds the log of a master already: nothing of it is overwritten; move it away if its group is lost for good"
    )]
    InUse(PathBuf),
    /// The authority is another's.
    #[error(
        "{path} is the authority of {found}, and the backup is of {wanted}; agents and frameworks trust only their own"
    )]
    Stranger {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose is needed.
        wanted: String,
    },
    /// The certificates.
    #[error("the certificate of this master cannot be made")]
    Pki(#[from] PkiError),
    /// The directory.
    #[error(transparent)]
    DataDir(#[from] crate::RunError),
    /// The log.
    #[error("the log cannot be written")]
    Store(#[from] master_storage::Error),
    /// The same, when it mattered.
    #[error("the log cannot be written; remove {path} before the next attempt")]
    Half {
        /// What is half done.
        path: PathBuf,
        /// Why.
        source: master_storage::Fatal,
    },
}

fn listed(members: &BTreeMap<MasterId, String>) -> String {
    let words: Vec<String> = members.iter().map(|(id, address)| format!("{id}={address}")).collect();
    words.join(", ")
}

// === impl Restoring ===

impl Restoring {
    /// Writes the data directory; `dry_run` checks everything and writes nothing.
    ///
    /// # Errors
    /// [`RestoreError`]. But for [`RestoreError::Half`] nothing was written that would be in the way of the next attempt.
    pub fn restore(&self, now_s: u64, dry_run: bool) -> Result<Done, RestoreError> {
        let backup = read(&self.file)?;
        let members = match self.members.is_empty() {
            true => backup.members.iter().map(|member| (member.id, member.address.clone())).collect(),
            false => self.members.clone(),
        };
        if !members.contains_key(&self.id) {
            return Err(RestoreError::NoMember { id: self.id, members });
        }
        let begins = Beginning::of(&backup, self.at_s, members.len(), now_s)?;
        let bad = |why: String| RestoreError::Image { path: self.file.clone(), why };
        let restored = Restored {
            known_index: backup.registry.index,
            index: begins.index,
            at_ms: begins.at_s.saturating_mul(1000),
        };
        let registry = master_core::restored(&backup.registry.image, restored, &members)
            .map_err(|why| bad(why.to_string()))?;
        let store = master_store_core::restored(&backup.store.image, begins.index)
            .map_err(|why| bad(why.to_string()))?;
        let authority =
            self.authority.as_deref().map(|dir| self.trusted(dir, &backup.cluster)).transpose()?;
        for dir in [self.data_dir.clone(), self.data_dir.join("store")] {
            if dir.join("log").exists() {
                return Err(RestoreError::InUse(dir));
            }
        }
        let done = Done { cluster: backup.cluster, made_ms: backup.made_ms, members };
        if dry_run {
            return Ok(done);
        }
        make_private(&self.data_dir)?;
        if let Some(authority) = authority {
            authority.save(&self.data_dir.join(AUTHORITY))?;
            let own = Identity::Master(self.id);
            authority.issue(&own, LEAF_VALIDITY)?.save(&self.data_dir.join(CREDENTIALS))?;
        }
        // The registry last: a data directory without it is as if nothing had been done.
        let voters: Vec<NodeId> = done.members.keys().map(|id| NodeId(id.0)).collect();
        let parts = [
            (self.data_dir.join("store"), STORE, &backup.store, store),
            (self.data_dir.clone(), REGISTRY, &backup.registry, registry),
        ];
        for (dir, group, part, image) in parts {
            write(&dir, group, begins.snapshot(part, &voters, image))?;
        }
        Ok(done)
    }

    fn trusted(&self, dir: &Path, cluster: &str) -> Result<Authority, RestoreError> {
        let authority = Authority::load(dir)?;
        if authority.cluster() != cluster {
            return Err(RestoreError::Stranger {
                path: dir.to_owned(),
                found: authority.cluster().to_owned(),
                wanted: cluster.to_owned(),
            });
        }
        if let Ok((found, _)) =
            Credentials::load(&self.data_dir.join(CREDENTIALS)).and_then(|own| own.identity())
            && found != cluster
        {
            let path = self.data_dir.join(CREDENTIALS);
            return Err(RestoreError::Stranger { path, found, wanted: cluster.to_owned() });
        }
        Ok(authority)
    }
}

fn read(path: &Path) -> Result<Backup, RestoreError> {
    let bytes = fs::read(path).map_err(|source| RestoreError::File {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    Backup::from_file(&bytes).map_err(|source| RestoreError::Backup { path: path.to_owned(), source })
}

/// Where the logs of the new group begin.
struct Beginning {
    at_s: u64,
    index: u64,
}

impl Beginning {
    fn of(backup: &Backup, at_s: Option<u64>, members: usize, now_s: u64) -> Result<Beginning, RestoreError> {
        let at_s = match at_s {
            Some(at_s) => at_s,
            None if members == 1 => now_s,
            None => return Err(RestoreError::NoTime { now_s }),
        };
        let refused = |what| Err(RestoreError::BadTime { at_s, what, now_s });
        // Clocks differ a little between machines.
        if at_s > now_s + 24 * 3600 {
            return refused("later than tomorrow");
        }
        let index = at_s << NUMBERS_PER_SECOND_BITS;
        if at_s < backup.made_ms / 1000 || index <= backup.registry.index || index <= backup.store.index {
            return refused("before the backup was made");
        }
        Ok(Beginning { at_s, index })
    }

    /// The first snapshot of a group's log. The term is beyond what agents have obeyed: an old leader had it by elections, and
    /// there is less than one in a second.
    fn snapshot(&self, part: &Part, voters: &[NodeId], image: Vec<u8>) -> Persist {
        let (index, term) = (self.index, self.at_s.max(part.term + 1));
        let conf_state = ConfState::of(voters);
        Persist {
            sequence: 1,
            snapshot: Some(Snapshot {
                index,
                term,
                conf_state: conf_state.clone(),
                image: Image::Bytes(image.into()),
            }),
            hard_state: Some(HardState { term, vote: None, commit: index }),
            conf_state: Some((index, conf_state)),
            ..Persist::default()
        }
    }
}

fn write(dir: &Path, group: Group, first: Persist) -> Result<(), RestoreError> {
    let half = |source| RestoreError::Half { path: dir.join("log"), source };
    Disk::open(dir)?.persist(&[(group, first)]).map_err(half)
}

#[cfg(test)]
mod tests;
