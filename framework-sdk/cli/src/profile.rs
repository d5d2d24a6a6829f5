//! Which cluster is meant: the context that was named, or else the current one.
//!
//! A context is a directory with `ca.pem`, `cert.pem`, `key.pem` and `masters`, one `host:port` a line. The one that is
//! used when nobody says otherwise is `$XDG_CONFIG_HOME/stoa/current` (else `~/.config/stoa/current`): a file that names
//! such a directory (as `stoa up` writes it), a symbolic link to one, or one itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use framework_sdk::{Profile, ProfileError};

use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Nobody said which cluster, and there is no current one.
    #[error("no cluster is known here: {path} does not exist")]
    NoCurrent {
        /// Where it would be.
        path: PathBuf,
    },
    /// There is no home directory to look in.
    #[error("neither HOME nor XDG_CONFIG_HOME is set, so there is no current cluster")]
    NoHome,
    /// The directory is not there.
    #[error("there is no context in {path}")]
    Absent {
        /// Which.
        path: PathBuf,
    },
    /// What names the current context cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The context is there, but not whole.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// Reads the context that was asked for, or else the current one.
pub fn find(context: Option<&Path>) -> Result<Profile, ContextError> {
    find_with_dir(context).map(|(profile, _)| profile)
}

/// The same, and where it is.
pub(crate) fn find_with_dir(context: Option<&Path>) -> Result<(Profile, PathBuf), ContextError> {
    let dir = match context {
        Some(dir) => dir.to_owned(),
        None => current_dir()?,
    };
    load(&dir).map(|profile| (profile, dir))
}

/// Remembers for the next command what this one was told of where the masters are. One who may not write there is told
/// again each time.
pub(crate) fn remember(profile: Profile, masters: Vec<String>, dir: &Path) {
    if profile.masters != masters {
        let _ = Profile { masters, ..profile }.save_masters(dir);
    }
}

/// The context that is meant when nobody names one.
pub fn current_dir() -> Result<PathBuf, ContextError> {
    resolve(&current_path()?)
}

fn load(dir: &Path) -> Result<Profile, ContextError> {
    if !dir.is_dir() {
        return Err(ContextError::Absent { path: dir.to_owned() });
    }
    Ok(Profile::load(dir)?)
}

/// Where the current context is named.
pub fn current_path() -> Result<PathBuf, ContextError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG rules have relative paths ignored.
    let config = set("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".config")))
        .ok_or(ContextError::NoHome)?;
    Ok(config.join("stoa").join("current"))
}

fn resolve(current: &Path) -> Result<PathBuf, ContextError> {
    if current.is_file() {
        let text = fs::read_to_string(current)
            .map_err(|source| ContextError::Unreadable { path: current.to_owned(), source })?;
        return Ok(PathBuf::from(text.trim()));
    }
    if current.is_dir() {
        return Ok(current.to_owned());
    }
    Err(ContextError::NoCurrent { path: current.to_owned() })
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        let hint = match &error {
            ContextError::NoCurrent { .. } | ContextError::NoHome => {
                "start one with `stoa up`, or name one with --context DIR or STOA_CONTEXT"
            }
            ContextError::Absent { .. } | ContextError::Unreadable { .. } | ContextError::Profile(_) => {
                "a context is a directory with ca.pem, cert.pem, key.pem and masters; is the cluster still there?"
            }
        };
        Failure::new(Exit::Usage, "no-context", chain(&error), hint)
    }
}

#[cfg(test)]
mod tests {
    use proto_pki::{Authority, Identity, LEAF_VALIDITY};

    use super::*;

    #[test]
    fn a_context_is_found_however_it_is_named() {
        let home = std::env::temp_dir().join(format!("stoa-context-{}", std::process::id()));
        let (dir, current) = (home.join("context"), home.join("current"));
        let ca = Authority::create("pool-1").unwrap();
        let credentials = ca.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap();
        let masters = vec!["h1:7001".to_owned(), "h2:7001".to_owned()];
        Profile { credentials, masters: masters.clone() }.save(&dir).unwrap();

        assert!(matches!(resolve(&current), Err(ContextError::NoCurrent { .. })));
        fs::write(&current, format!("{}\n", dir.display())).unwrap();
        assert_eq!(load(&resolve(&current).unwrap()).unwrap().masters, masters);
        fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(&dir, &current).unwrap();
        assert_eq!(load(&resolve(&current).unwrap()).unwrap().masters, masters);

        fs::remove_file(dir.join("key.pem")).unwrap();
        let failure = Failure::from(find(Some(&dir)).unwrap_err());
        assert!(failure.message.contains("key.pem"), "{failure:?}");
        fs::remove_dir_all(&home).unwrap();
        assert!(matches!(find(Some(&dir)), Err(ContextError::Absent { .. })));
    }
}
