//! What the machine is and has, as far as an agent tells of it, and the agent's own id.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use proto::id::AgentId;
use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::resources::Amount;
use proto_pki::{Credentials, Identity, PkiError};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const RANDOM: &str = "/dev/urandom";
const ID_FILE: &str = "agent_id";
const GIB: u64 = 1 << 30;
/// Mesos' default.
const PORTS: (u64, u64) = (31_000, 32_000);
/// For the system and the agent itself, as Mesos: of memory 1 GiB, of disk 5 GiB, and half where that is most of it.
const MEM_KEPT_BYTES: u64 = GIB;
const DISK_KEPT_BYTES: u64 = 5 * GIB;

/// What the machine is and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub hostname: String,
    /// Changes whenever the machine is started.
    pub boot_id: String,
    /// The kernel's version.
    pub kernel: String,
    /// Cpus this process may use.
    pub cpus: u64,
    /// Memory this process may use, in bytes, the system's own share in it.
    pub mem_bytes: u64,
    /// Size of the working directory's file system, in bytes.
    pub disk_bytes: u64,
}

/// Why the machine's facts, or the agent's id, are not known.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A call to the operating system failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not say something.
    #[error("cannot find out the machine's {what}: {source}")]
    Unknown {
        /// What.
        what: &'static str,
        /// Why not.
        source: sysinfo::Error,
    },
    /// The file of the agent's id holds something else.
    #[error("{path} holds no agent's id: {text:?} {why}; remove the work directory and join again")]
    BadId {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What is wrong with it.
        why: proto::id::BadId,
    },
    /// The certificate and the working directory are of different agents: its runs are not this agent's.
    #[error(
        "{path} belongs to agent {kept}, the certificate is of agent {named}; use that agent's credentials or another \
         work_dir"
    )]
    OtherAgent {
        /// The file that names the other.
        path: PathBuf,
        /// Whose the directory is.
        kept: AgentId,
        /// Whose the certificate is.
        named: AgentId,
    },
    /// The credentials cannot be read.
    #[error("the agent's credentials cannot be used")]
    Credentials(#[from] PkiError),
}

// === impl Facts ===

impl Facts {
    /// Finds out. `work_dir` must be there.
    pub fn detect(work_dir: &Path) -> Result<Facts, FactsError> {
        let unknown = |what| move |source| FactsError::Unknown { what, source };
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted).map_err(unknown("cpus and memory"))?;
        let cpus = system.cpus().len() as u64;
        // In a container the whole machine shows, but the limits of the container hold.
        let allowed = std::thread::available_parallelism().map_or(cpus, |n| n.get() as u64);
        let limit = system.cgroup_limits().map(|limits| limits.total_memory).filter(|bytes| *bytes > 0);
        let volume = rustix::fs::statvfs(work_dir)
            .map_err(|errno| io_error("find the size of the file system of", work_dir, errno.into()))?;
        Ok(Facts {
            hostname: System::host_name().map_err(unknown("name"))?,
            boot_id: boot_id()?,
            kernel: System::kernel_version().map_err(unknown("kernel"))?,
            cpus: if cpus == 0 { allowed } else { cpus.min(allowed) },
            mem_bytes: limit.unwrap_or(u64::MAX).min(system.total_memory()),
            // The size and not what is free: what an agent has must not depend on when it was started.
            disk_bytes: volume.f_blocks.saturating_mul(volume.f_frsize),
        })
    }

    /// What tasks of one of `share` agents can have of it, if nobody declares otherwise. Ports are not shared out.
    pub fn usable(&self, share: u64) -> Amount {
        let part = |all: u64| all / share.max(1);
        let mem_bytes = part(less(self.mem_bytes, MEM_KEPT_BYTES));
        let disk_bytes = part(less(self.disk_bytes, DISK_KEPT_BYTES));
        let cpus_milli = part(self.cpus.saturating_mul(1_000));
        let scalars = Quantities::of(cpus_milli, mem_bytes).with_disk(disk_bytes);
        Amount::scalars(scalars).with_ports(Ranges::single(PORTS.0, PORTS.1))
    }
}

fn less(total: u64, kept: u64) -> u64 {
    if total > 2 * kept { total - kept } else { total / 2 }
}

/// An id that changes whenever the machine is started.
pub fn boot_id() -> Result<String, FactsError> {
    std::fs::read_to_string(BOOT_ID)
        .map(|text| text.trim().to_owned())
        .map_err(|source| io_error("read", Path::new(BOOT_ID), source))
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> FactsError {
    FactsError::Io { operation, path: path.to_owned(), source }
}

/// The agent's id for its whole life: the one its certificate names; without one, random at the first start. It is
/// kept in the working directory, which is made if need be, so that the directory is never taken for another agent's.
///
/// Whoever calls it must hold the ledger, lest two first starts make two ids.
pub fn agent_id(work_dir: &Path, credentials: &Credentials) -> Result<AgentId, FactsError> {
    let (_, identity) = credentials.identity()?;
    let named = match identity {
        Identity::Agent(id) => Some(id),
        Identity::Master(_) | Identity::Framework(_) | Identity::User(_) => None,
    };
    let path = work_dir.join(ID_FILE);
    match (named, kept_id(&path)?) {
        (Some(named), Some(kept)) if named != kept => Err(FactsError::OtherAgent { path, kept, named }),
        (Some(_) | None, Some(kept)) => Ok(kept),
        (Some(named), None) => keep_id(work_dir, named),
        (None, None) => keep_id(work_dir, random_id(&path)?),
    }
}

/// The agent's id before it has a certificate: the kept one, or one that is made and kept now. The same holds of it as of
/// [`agent_id`].
pub fn agent_id_to_certify(work_dir: &Path) -> Result<AgentId, FactsError> {
    let path = work_dir.join(ID_FILE);
    match kept_id(&path)? {
        Some(kept) => Ok(kept),
        None => keep_id(work_dir, random_id(&path)?),
    }
}

fn kept_id(path: &Path) -> Result<Option<AgentId>, FactsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, error)),
    };
    let text = text.trim();
    match AgentId::new(text) {
        Ok(id) => Ok(Some(id)),
        Err(why) => Err(FactsError::BadId { path: path.to_owned(), text: text.to_owned(), why }),
    }
}

fn keep_id(work_dir: &Path, id: AgentId) -> Result<AgentId, FactsError> {
    let path = work_dir.join(ID_FILE);
    let fresh = work_dir.join(".agent_id.new");
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(work_dir)?;
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{id}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        File::open(work_dir)?.sync_all()
    };
    write().map_err(|source| io_error("write", &path, source))?;
    Ok(id)
}

fn random_id(path: &Path) -> Result<AgentId, FactsError> {
    let mut bytes = [0; 8];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|source| io_error("read", Path::new(RANDOM), source))?;
    let text = format!("a{:016x}", u64::from_be_bytes(bytes));
    AgentId::new(&text).map_err(|why| FactsError::BadId { path: path.to_owned(), text, why })
}

#[cfg(test)]
mod tests {
    use proto::id::MasterId;
    use proto_pki::{Authority, LEAF_VALIDITY};

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn this_machine_has_something_to_give() {
        let scratch = Scratch::new("facts");
        let facts = Facts::detect(scratch.path()).unwrap();
        assert!(facts.cpus >= 1 && facts.mem_bytes > 0 && facts.disk_bytes > 0, "{facts:?}");
        assert_eq!(facts.boot_id.len(), 36, "{facts:?}");
        assert!(!facts.hostname.is_empty() && !facts.kernel.is_empty(), "{facts:?}");
        let total = Quantities::of(facts.cpus * 1_000, facts.mem_bytes - 1).with_disk(facts.disk_bytes - 1);
        let usable = facts.usable(1);
        assert!(total.contains(&usable.scalars), "{usable}");
        assert!(usable.scalars.mem_bytes() > 0);
        assert_eq!(usable.range("ports").count(), 1_001);
        assert_eq!(facts.usable(4).scalars.mem_bytes(), usable.scalars.mem_bytes() / 4);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = Facts::detect(Path::new("/not/there")).unwrap_err();
        assert!(error.to_string().contains("/not/there"), "{error}");
    }

    #[test]
    fn a_share_is_kept_for_the_system() {
        assert_eq!(less(8 * GIB, GIB), 7 * GIB);
        assert_eq!(less(2 * GIB + 1, GIB), GIB + 1);
        assert_eq!(less(2 * GIB, GIB), GIB);
        assert_eq!(less(GIB, GIB), GIB / 2);
        assert_eq!(less(0, GIB), 0);
    }

    #[test]
    fn the_certificate_says_who_the_agent_is() {
        let scratch = Scratch::new("facts-id");
        let ca = Authority::create("pool").unwrap();
        let of = |id: &str| ca.issue(&Identity::Agent(AgentId::new(id).unwrap()), LEAF_VALIDITY).unwrap();
        let dir = scratch.path().join("work");
        assert_eq!(agent_id(&dir, &of("n1")).unwrap().as_str(), "n1");
        assert_eq!(agent_id(&dir, &of("n1")).unwrap().as_str(), "n1");
        let error = agent_id(&dir, &of("n2")).unwrap_err();
        assert!(matches!(&error, FactsError::OtherAgent { kept, .. } if kept.as_str() == "n1"), "{error}");
    }

    #[test]
    fn without_a_name_the_agent_makes_one_and_keeps_it() {
        let scratch = Scratch::new("facts-random");
        let ca = Authority::create("pool").unwrap();
        let nobody = ca.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).unwrap();
        let (one, two) = (scratch.path().join("1"), scratch.path().join("2"));
        let first = agent_id_to_certify(&one).unwrap();
        assert_eq!(agent_id(&one, &nobody).unwrap(), first);
        assert_ne!(agent_id(&two, &nobody).unwrap(), first);
        std::fs::write(one.join(ID_FILE), "a b").unwrap();
        assert!(matches!(agent_id(&one, &nobody), Err(FactsError::BadId { .. })));
    }
}
