//! `file://` artifacts: only from directories the operator has named, and never out of them.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::{Source, Trouble};

/// The directories artifacts may come from.
pub(super) struct Roots {
    roots: Vec<PathBuf>,
}

impl Roots {
    pub(super) fn new(roots: &[PathBuf]) -> Roots {
        Roots { roots: roots.to_vec() }
    }

    /// Opens what `host/path` (the part behind `file://`) names. The kernel keeps the way below the root, links included.
    pub(super) fn open(&self, rest: &str) -> Result<Source, Trouble> {
        let no = |why: String| Trouble::Final(why);
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(no("a file URI names no other host: file:///path".to_owned()));
        }
        let path = Path::new(path);
        let inside = self.roots.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
        let Some((root, relative)) = inside else {
            return Err(no(match self.roots.as_slice() {
                [] => {
                    "this agent takes no files of its machine; start it with --artifact-root DIR".to_owned()
                }
                roots => format!(
                    "files may only come from {}; start the agent with another --artifact-root DIR as well",
                    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ")
                ),
            }));
        };
        let dir = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let dir = dir.map_err(|e| no(format!("{}: {e}", root.display())))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // Not to be held up by a named pipe.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat2(&dir, relative, flags, Mode::empty(), resolve).map_err(|e| no(e.to_string()))?;
        let file = File::from(file);
        let found = file.metadata().map_err(|e| no(e.to_string()))?;
        if !found.is_file() {
            return Err(no("not a plain file".to_owned()));
        }
        Ok(Source { bytes: Box::new(file), length: Some(found.len()) })
    }
}
