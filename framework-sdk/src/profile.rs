//! `Profile`: who one is and which masters one talks to, kept in a directory.

use std::io;
use std::path::{Path, PathBuf};

use proto_pki::{Credentials, PkiError};

/// The file with `host:port` of every master, one a line.
const MASTERS_FILE: &str = "masters";
/// Names the directory of the profile to use.
pub const PROFILE_VARIABLE: &str = "STOA_CONTEXT";

/// Credentials and masters: a directory with `ca.pem`, `cert.pem`, `key.pem` and `masters`.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What is shown to others and trusted of them.
    pub credentials: Credentials,
    /// `host:port` of the masters; at least one.
    pub masters: Vec<String>,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The credentials cannot be read or written.
    #[error("the credentials in {dir} cannot be used")]
    Credentials {
        /// Where.
        dir: PathBuf,
        /// Why not.
        source: PkiError,
    },
    /// The list of masters cannot be read or written.
    #[error("cannot {operation} {path}")]
    Masters {
        /// `read` or `write`.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The list of masters is empty.
    #[error("{path} names no master; write host:port, one a line")]
    NoMasters {
        /// Which file.
        path: PathBuf,
    },
    /// Nobody said which, and there is no home directory.
    #[error("no profile: set {PROFILE_VARIABLE} to its directory, or start a cluster with `stoa up`")]
    Nowhere,
}

// === impl Profile ===

impl Profile {
    /// Reads a directory.
    pub fn load(dir: &Path) -> Result<Self, ProfileError> {
        let credentials = Credentials::load(dir)
            .map_err(|source| ProfileError::Credentials { dir: dir.to_owned(), source })?;
        let path = dir.join(MASTERS_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| ProfileError::Masters {
            operation: "read",
            path: path.clone(),
            source,
        })?;
        let masters: Vec<String> = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        if masters.is_empty() {
            return Err(ProfileError::NoMasters { path });
        }
        Ok(Profile { credentials, masters })
    }

    /// Writes a directory, readable by its owner only.
    pub fn save(&self, dir: &Path) -> Result<(), ProfileError> {
        self.credentials
            .save(dir)
            .map_err(|source| ProfileError::Credentials { dir: dir.to_owned(), source })?;
        self.save_masters(dir)
    }

    /// Writes anew where the masters are.
    pub fn save_masters(&self, dir: &Path) -> Result<(), ProfileError> {
        let path = dir.join(MASTERS_FILE);
        let fresh = dir.join(format!(".{MASTERS_FILE}.{}", std::process::id()));
        let mut text = self.masters.join("\n");
        text.push('\n');
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|source| ProfileError::Masters { operation: "write", path, source })
    }

    /// Where the profile is if nobody says otherwise: what `STOA_CONTEXT` names, else the cluster of the last `stoa up` (the file `stoa/current` in the user's
    /// configuration directory.
    pub fn default_dir() -> Result<PathBuf, ProfileError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(dir) = set(PROFILE_VARIABLE) {
            return Ok(dir);
        }
        let current = set("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".config")))
            .map(|config| config.join("stoa/current"))
            .ok_or(ProfileError::Nowhere)?;
        match std::fs::read_to_string(&current) {
            Ok(text) => Ok(PathBuf::from(text.trim())),
            Err(_) => Err(ProfileError::Nowhere),
        }
    }

    /// Reads the default directory.
    pub fn from_env() -> Result<Self, ProfileError> {
        Profile::load(&Profile::default_dir()?)
    }
}
