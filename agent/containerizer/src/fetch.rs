//! Artifacts into sandboxes: from a URI, checked, bounded, under a name that cannot leave the sandbox. Blocking.

mod http;
mod local;

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, fchown, openat, renameat, unlinkat};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::launch::Artifact;
use crate::users::User;

/// How often a fetch is begun that fails for reasons which may pass.
const ATTEMPTS: u32 = 3;

/// Pauses between attempts: this, then twice this.
const PAUSE: Duration = Duration::from_millis(300);

/// Fetches in progress at a time, per agent: enough to fill a network, few enough to leave it to the tasks.
pub(crate) const CONCURRENT_MAX: usize = 8;

/// Longest name of an artifact: a file name has 255 bytes, and ours begins with a prefix while it is unfinished.
const NAME_BYTES_MAX: usize = 200;

/// Why a fetch failed.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// It would fail again.
    Final(String),
    /// It may work the next time.
    Passing(String),
}

/// Where an artifact's bytes come from, and how many there should be.
struct Source {
    bytes: Box<dyn Read>,
    length: Option<u64>,
}

/// The file of this machine that a URI names (the part behind `file://`), if it lies in one of these directories: what tasks may
/// have fetched.
///
/// # Errors
/// Why it is none of them, for people.
pub fn open_local(roots: &[PathBuf], rest: &str) -> Result<Box<dyn Read>, String> {
    match local::Roots::new(roots).open(rest) {
        Ok(source) => Ok(source.bytes),
        Err(Trouble::Final(why) | Trouble::Passing(why)) => Err(why),
    }
}

/// Brings artifacts.
pub(crate) struct Fetcher {
    local: local::Roots,
    http: http::Client,
    bytes_max: u64,
    patience: Duration,
}

impl Fetcher {
    pub(crate) fn new(config: &Config) -> Fetcher {
        Fetcher {
            local: local::Roots::new(&config.artifact_roots),
            http: http::Client::new(config.ca_file.clone()),
            bytes_max: config.artifact_bytes_max,
            patience: config.artifact_patience,
        }
    }

    /// Brings one artifact into a sandbox, until `stop` is set. An error is a reason for people.
    pub(crate) fn fetch(
        &self,
        sandbox: &Path,
        owner: Option<&User>,
        artifact: &Artifact,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let name = file_name(artifact)?;
        let deadline = Instant::now() + self.patience;
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.attempt(sandbox, owner, artifact, &name, deadline, stop) {
                Ok(()) => return Ok(()),
                Err(Trouble::Passing(why)) if attempt < ATTEMPTS && !stop.load(Ordering::Relaxed) => {
                    tracing::debug!(uri = artifact.uri, why, attempt, "fetch failed, trying again");
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Err(Trouble::Passing(why) | Trouble::Final(why)) => return Err(why),
            }
        }
        Ok(())
    }

    fn attempt(
        &self,
        sandbox: &Path,
        owner: Option<&User>,
        artifact: &Artifact,
        name: &str,
        deadline: Instant,
        stop: &AtomicBool,
    ) -> Result<(), Trouble> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Final(format!("not finished within {:?}", self.patience)));
        }
        let source = match split_scheme(&artifact.uri) {
            Some(("file", rest)) => self.local.open(rest)?,
            Some(("http" | "https", _)) => self.http.open(&artifact.uri, left)?,
            Some((other, _)) => return Err(Trouble::Final(format!("unknown scheme {other:?}"))),
            None => return Err(Trouble::Final("not a URI".to_owned())),
        };
        if source.length.is_some_and(|length| length > self.bytes_max) {
            return Err(self.too_large());
        }
        let dir = openat(CWD, sandbox, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let dir = dir.map_err(|e| storing(e.into()))?;
        // Under another name until it is whole and checked. Ours alone: what is there is from an interrupted attempt.
        let unfinished = format!(".fetch-{name}");
        let _mostly_absent = unlinkat(&dir, &unfinished, AtFlags::empty());
        let result = self
            .store(&dir, &unfinished, source, artifact, owner, deadline, stop)
            .and_then(|()| renameat(&dir, &unfinished, &dir, name).map_err(|e| storing(e.into())));
        if result.is_err() {
            let _mostly_present = unlinkat(&dir, &unfinished, AtFlags::empty());
        }
        result
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `attempt`, apart for its cleaning up")]
    fn store(
        &self,
        dir: &OwnedFd,
        name: &str,
        mut source: Source,
        artifact: &Artifact,
        owner: Option<&User>,
        deadline: Instant,
        stop: &AtomicBool,
    ) -> Result<(), Trouble> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(dir, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| storing(e.into()))?;
        let mut file = File::from(file);
        let mut hash = Sha256::new();
        let mut total = 0;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Trouble::Final("canceled".to_owned()));
            }
            if Instant::now() >= deadline {
                return Err(Trouble::Final(format!("not finished within {:?}", self.patience)));
            }
            let len = match source.bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Trouble::Passing(format!("broken off after {total} bytes: {e}"))),
            };
            let bytes = buffer.get(..len).unwrap_or_default();
            total += len as u64;
            if total > self.bytes_max {
                return Err(self.too_large());
            }
            hash.update(bytes);
            file.write_all(bytes).map_err(storing)?;
        }
        if let Some(length) = source.length.filter(|length| *length != total) {
            return Err(Trouble::Passing(format!("broken off after {total} of {length} bytes")));
        }
        if let Some(wanted) = &artifact.sha256 {
            let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            if !wanted.eq_ignore_ascii_case(&found) {
                return Err(Trouble::Final(format!("its SHA-256 is {found}, not {wanted}")));
            }
        }
        let mode = if artifact.executable { 0o755 } else { 0o644 };
        file.set_permissions(Permissions::from_mode(mode)).map_err(storing)?;
        if let Some(user) = owner {
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            fchown(&file, Some(uid), Some(gid)).map_err(|e| storing(e.into()))?;
        }
        Ok(())
    }

    fn too_large(&self) -> Trouble {
        Trouble::Final(format!("larger than {} bytes", self.bytes_max))
    }
}

fn storing(error: io::Error) -> Trouble {
    Trouble::Final(format!("storing it: {error}"))
}

/// A URI's scheme in lower case letters, and what follows `://`.
fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    uri.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// The name an artifact gets: its own, or the last part of its URI's path.
fn file_name(artifact: &Artifact) -> Result<String, String> {
    let (_, rest) = split_scheme(&artifact.uri).ok_or("not a URI of the form scheme://...")?;
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit_once('/').map_or("", |(_, name)| name);
    let name = artifact.name.as_deref().unwrap_or(last);
    // The names of the task's own output.
    let taken = ["stdout", "stderr"].iter().any(|own| {
        let behind = name.strip_prefix(own);
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
    });
    let leads_away = name == "." || name == ".." || name.contains(['/', '\0']);
    if name.is_empty() || leads_away || name.len() > NAME_BYTES_MAX || taken {
        return Err(format!(
            "{name:?} cannot be the name of a file in a sandbox; give it another name, without '/' and not that of \
             the task's output"
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(uri: &str, name: Option<&str>) -> Result<String, String> {
        let name = name.map(str::to_owned);
        file_name(&Artifact { uri: uri.to_owned(), sha256: None, executable: false, name })
    }

    #[test]
    fn the_name_is_its_own_or_the_last_part_of_the_path() {
        assert_eq!(named("http://host:80/a/b.tgz?x=/y#z", None).as_deref(), Ok("b.tgz"));
        assert_eq!(named("file:///opt/app", None).as_deref(), Ok("app"));
        assert_eq!(named("file:///opt/app", Some("tool")).as_deref(), Ok("tool"));
        assert_eq!(named("http://host/?download=7", Some(".profile")).as_deref(), Ok(".profile"));
    }

    #[test]
    fn names_that_are_none_or_lead_elsewhere_are_refused() {
        let bad = [
            "app",
            "http://host",
            "http://host/",
            "http://host/a/..",
            "http://host/.",
            "file:///x/\0",
            "http://host/stdout",
            "http://host/stderr.1",
            "HTTP://host/x",
        ];
        for uri in bad {
            assert!(named(uri, None).is_err(), "{uri:?}");
        }
        let long = "x".repeat(300);
        assert!(named(&format!("http://host/{long}"), None).is_err());
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "x/..", "a\0", "stdout", "stderr.1", &long]
        {
            assert!(named("http://host/a", Some(name)).is_err(), "{name:?}");
        }
    }
}
