//! Secrets of a task: where they come from, and where the task finds them.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use agent_keeper::protocol::{self, RunId};

/// The directory in the sandbox in whose place a task finds them.
const DIR: &str = "secrets";
/// Where a task reads the path of that directory.
pub(crate) const VARIABLE: &str = "STOA_SECRETS";
/// The keeper's protocol has them since this version.
pub(crate) const SINCE: u16 = 3;

/// A file for a task.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name, without `/`.
    pub file: String,
    /// What it holds.
    pub value: Vec<u8>,
}

/// What secrets there are, or why they cannot be had.
pub type SecretsFetched = Pin<Box<dyn Future<Output = Result<Vec<Secret>, String>> + Send>>;

/// Where secrets come from.
pub trait SecretSource: fmt::Debug + Send + Sync {
    /// Brings those of a run, however long that may take. An error is a reason for people, and final.
    fn fetch(&self, run: RunId) -> SecretsFetched;
}

impl fmt::Debug for Secret {
    /// Without what it holds: it must not get into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.file, self.value.len())
    }
}

/// The path of the directory.
pub(crate) fn dir(sandbox: &Path) -> PathBuf {
    sandbox.join(DIR)
}

/// Makes the directory, empty: what is mounted on it is seen by the task alone. One that is there already (a launch repeated
/// after a crash) is used.
pub(crate) fn make_dir(sandbox: &Path) -> io::Result<()> {
    let dir = dir(sandbox);
    match DirBuilder::new().mode(0o755).create(&dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && fs::symlink_metadata(&dir)?.is_dir() => Ok(()),
        done => done,
    }
}

/// As the keeper is told.
pub(crate) fn of_spawn(sandbox: &Path, secrets: Vec<Secret>) -> Option<protocol::Secrets> {
    let file =
        |secret: Secret| protocol::SecretFile { name: secret.file.into_bytes(), content: secret.value };
    (!secrets.is_empty()).then(|| protocol::Secrets {
        dir: dir(sandbox).as_os_str().as_bytes().to_vec(),
        files: secrets.into_iter().map(file).collect(),
    })
}
