//! What `stoa up` keeps where: certificates, addresses, data, logs and the context for the CLI.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proto::id::{AgentId, MasterId};
use proto_pki::{Authority, Credentials, Identity, LEAF_VALIDITY};

use super::{UpArgs, UpError, say};

/// The principal of the jobs framework, and the name of its directory.
pub(super) const JOBS: &str = "jobs";

/// Only who runs the cluster sees what is in here: keys, logs, what the log of a master remembers.
const PRIVATE: u32 = 0o700;
/// Tasks of other users pass through to their sandboxes, and see nothing on the way.
const PASSAGE: u32 = 0o711;
/// Names tried for a temporary directory: one may be left of an earlier process of the same number.
const NAMES_MAX: u32 = 100;

/// The places of one cluster.
pub(super) struct Layout {
    /// The top of it all.
    pub root: PathBuf,
    /// Every master's door.
    pub masters: Vec<SocketAddr>,
    /// What people use.
    pub operator: Credentials,
    /// The context that stood before, put back at the end.
    before: Option<String>,
    temporary: bool,
    /// Held as long as this cluster runs.
    _lock: File,
}

fn file<T>(operation: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, UpError> {
    result.map_err(|source| UpError::File { operation, path: path.to_owned(), source })
}

/// Where the CLI looks for its context when nothing else is said: a file that holds the context's path.
pub(super) fn current_file() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    config.or_else(home).map(|config| config.join("stoa/current"))
}

// === impl Layout ===

impl Layout {
    /// Makes what is not there yet; what is there stays.
    pub fn prepare(args: &UpArgs) -> Result<Layout, UpError> {
        let (root, temporary) = match &args.data_dir {
            Some(dir) => {
                // One that is there is the user's, and stays as it is.
                if !dir.is_dir() {
                    make(dir, PASSAGE)?;
                }
                (dir.clone(), false)
            }
            None => (temporary_dir(&std::env::temp_dir())?, true),
        };
        let root = file("find", &root, fs::canonicalize(&root))?;
        let lock_path = root.join("up.lock");
        let lock = file("open", &lock_path, File::create(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(UpError::InUse { path: lock_path }),
            Err(TryLockError::Error(source)) => {
                return Err(UpError::File { operation: "lock", path: lock_path, source });
            }
        }
        let authority_dir = root.join("authority");
        let authority = if Authority::exists(&authority_dir) {
            Authority::load(&authority_dir)?
        } else {
            let authority = Authority::create(&cluster_name())?;
            authority.save(&authority_dir)?;
            authority
        };
        for number in 1..=args.masters {
            make(&root.join(format!("master-{number}")), PRIVATE)?;
            ensure(
                &authority,
                &root.join(format!("master-{number}")),
                Identity::Master(MasterId(number.into())),
            )?;
        }
        for number in 1..=args.agents {
            let name = format!("agent-{number}");
            make(&root.join(&name), PASSAGE)?;
            make(&root.join(&name).join("work"), PASSAGE)?;
            if let Ok(id) = AgentId::new(&name) {
                ensure(&authority, &root.join(&name), Identity::Agent(id))?;
            }
        }
        make(&root.join(JOBS), PRIVATE)?;
        ensure(&authority, &root.join(JOBS), Identity::Framework(JOBS.to_owned()))?;
        let operator = context(&authority, &root.join("context"))?;
        let logs = root.join("logs");
        make(&logs, PRIVATE)?;
        let masters = addresses(&root, args.masters)?;
        let listed: String = masters.iter().map(|address| format!("{address}\n")).collect();
        let path = root.join("context/masters");
        file("write", &path, fs::write(&path, listed))?;
        let before = current_file().and_then(|current| fs::read_to_string(current).ok());
        Ok(Layout { root, masters, operator, before, temporary, _lock: lock })
    }

    /// Makes this cluster the one that the CLI speaks to.
    pub fn announce(&self) -> Result<(), UpError> {
        let Some(current) = current_file() else { return Ok(()) };
        if let Some(dir) = current.parent() {
            file("make", dir, fs::create_dir_all(dir))?;
        }
        let context = format!("{}\n", self.root.join("context").display());
        file("write", &current, fs::write(&current, context))
    }

    /// Takes back what must not outlive the cluster.
    pub fn finish(&self) {
        let context = format!("{}\n", self.root.join("context").display());
        if let Some(current) = current_file()
            && fs::read_to_string(&current).is_ok_and(|text| text == context)
        {
            let _ = match &self.before {
                Some(before) => fs::write(&current, before),
                None => fs::remove_file(&current),
            };
        }
        self.remove_cgroups();
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.root)
        {
            say(format_args!("{} could not be removed: {error}", self.root.display()));
        }
    }

    /// The cgroup of this cluster's tasks: its own, so that two clusters on one machine leave each other's alone.
    pub fn cgroups_root(&self) -> String {
        // FNV-1a: enough to tell directories apart, and the same at every start.
        let hash =
            self.root.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("/stoa-up-{hash:016x}")
    }

    /// Removes the empty cgroups of a cluster that is over.
    fn remove_cgroups(&self) {
        let name = self.cgroups_root();
        let mounts = std::iter::once(PathBuf::from("/sys/fs/cgroup"))
            .chain(fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path()));
        for mount in mounts {
            remove_empty(&mount.join(name.trim_start_matches('/')));
        }
    }

    /// Where the logs are.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

/// Makes a directory for exactly those who may see it.
fn make(dir: &Path, mode: u32) -> Result<(), UpError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(dir);
    // Once more, whatever the umask left of it, and for one that an earlier version made.
    file("make", dir, made.and_then(|()| fs::set_permissions(dir, Permissions::from_mode(mode))))
}

/// A directory that was not there before: in a place where everybody may write, another user may have put one in our
/// way.
fn temporary_dir(parent: &Path) -> Result<PathBuf, UpError> {
    let name = |attempt: u32| match attempt {
        0 => parent.join(format!("stoa-up-{}", std::process::id())),
        more => parent.join(format!("stoa-up-{}-{more}", std::process::id())),
    };
    let mut attempt = 0;
    loop {
        let dir = name(attempt);
        match fs::create_dir(&dir) {
            Ok(()) => return make(&dir, PASSAGE).map(|()| dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < NAMES_MAX => attempt += 1,
            Err(error) => return file("make", &dir, Err(error)),
        }
    }
}

/// Removes a tree of cgroups from its leaves; what is in use stays.
fn remove_empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// A certificate for a part of the cluster, made once.
fn ensure(authority: &Authority, dir: &Path, identity: Identity) -> Result<(), UpError> {
    let dir = dir.join("credentials");
    if !Credentials::exist(&dir) {
        authority.issue(&identity, LEAF_VALIDITY)?.save(&dir)?;
    }
    Ok(())
}

/// A certificate for whoever started this.
fn context(authority: &Authority, dir: &Path) -> Result<Credentials, UpError> {
    if Credentials::exist(dir) {
        return Ok(Credentials::load(dir)?);
    }
    let user: String = std::env::var("USER")
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .collect();
    let name = if user.is_empty() { "operator".to_owned() } else { user };
    let credentials = authority.issue(&Identity::User(name), LEAF_VALIDITY)?;
    credentials.save(dir)?;
    Ok(credentials)
}

fn cluster_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("stoa-{:x}", since.as_millis())
}

/// The masters' doors: those of the last time if they are free, else free ones.
fn addresses(root: &Path, count: u16) -> Result<Vec<SocketAddr>, UpError> {
    let path = root.join("addresses");
    let known: Vec<SocketAddr> = fs::read_to_string(&path)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|address| TcpListener::bind(address).is_ok())
        .collect();
    // All are held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    let mut chosen = Vec::new();
    for number in 0..usize::from(count) {
        let wanted = known.get(number).copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = file("listen for", &path, TcpListener::bind(wanted))?;
        chosen.push(file("listen for", &path, listener.local_addr())?);
        held.push(listener);
    }
    let text: String = chosen.iter().map(|address| format!("{address}\n")).collect();
    file("write", &path, fs::write(&path, text))?;
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpArgs,
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn keys_and_logs_are_for_nobody_else_and_tasks_pass_to_their_sandboxes() {
        let scratch = temporary_dir(&std::env::temp_dir()).expect("a directory");
        let data = scratch.join("data");
        let line = format!("--data-dir={}", data.display());
        let args = Line::try_parse_from(["up", "--masters=1", "--agents=1", &line]).expect("a line").up;
        Layout::prepare(&args).expect("a layout");
        for name in
            ["authority", "master-1", "agent-1/credentials", "jobs", "jobs/credentials", "context", "logs"]
        {
            assert_eq!(mode(&data.join(name)), PRIVATE, "{name}");
        }
        for name in ["", "agent-1", "agent-1/work"] {
            assert_eq!(mode(&data.join(name)), PASSAGE, "{name}");
        }
        let mut keys = 0;
        for dir in ["authority", "master-1/credentials", "agent-1/credentials", "jobs/credentials", "context"]
        {
            for entry in fs::read_dir(data.join(dir)).expect("a directory").flatten() {
                let name = entry.file_name();
                if name.to_string_lossy().contains("key") {
                    keys += 1;
                    assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
                }
            }
        }
        assert_eq!(keys, 5);
        fs::remove_dir_all(&scratch).expect("removed");
    }

    #[test]
    fn a_temporary_directory_that_is_there_already_is_not_used() {
        let (first, second) = (temporary_dir(&std::env::temp_dir()), temporary_dir(&std::env::temp_dir()));
        let (first, second) = (first.expect("a directory"), second.expect("another"));
        assert_ne!(first, second);
        for dir in [first, second] {
            fs::remove_dir(dir).expect("removed");
        }
    }
}
