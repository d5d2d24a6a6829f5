//! The keeper's program: carried inside the agent, written out under a name made of its content.
//!
//! A running keeper's text must not change when the agent is upgraded, and must not vanish when the agent's package is.
//! So each version has a file of its own. Blocking.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The program as it was built with this crate.
const PROGRAM: &[u8] = include_bytes!(env!("STOA_KEEPER_PROGRAM"));

const PREFIX: &str = "stoa-keeper-";

/// The program on disk.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Tells this program from others; the keeper repeats it.
    pub(crate) build: String,
}

/// Writes the program to `<work>/bin/stoa-keeper-<hash>` if it is not there, and removes those of other versions: a
/// keeper that runs keeps its file alive without a name.
pub(crate) fn install(work_dir: &Path) -> io::Result<Program> {
    let build: String = Sha256::digest(PROGRAM).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let dir = work_dir.join("bin");
    fs::create_dir_all(&dir)?;
    let name = format!("{PREFIX}{build}");
    let path = dir.join(&name);
    if fs::read(&path).ok().as_deref() != Some(PROGRAM) {
        let fresh = dir.join(format!(".{name}"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(&fresh)?;
        file.write_all(PROGRAM)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&fresh, &path)?;
        File::open(&dir)?.sync_all()?;
    }
    for other in fs::read_dir(&dir)?.flatten() {
        let other_name = other.file_name();
        let old = other_name.to_string_lossy().starts_with(PREFIX) && *other_name != *name;
        if old && let Err(e) = fs::remove_file(other.path()) {
            tracing::debug!(path = %other.path().display(), error = %e, "old keeper program stays");
        }
    }
    Ok(Program { path, build })
}
