//! `StateFile`: what a framework keeps, in one file of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use framework_sdk_core::reconciler::Change;

use super::text::{escaped, unescaped};
use super::{Loaded, StateStore, StoreError};

/// A store in one file, written anew and in one step with each change: for some thousands of instances. It fences nobody:
/// one process at a time may use it.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    known: BTreeMap<String, String>,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be read or written.
    #[error("cannot {operation} the state file {path}")]
    Io {
        /// `read`, `write` or `remove`.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something else than what is written here.
    #[error(
        "line {line} of the state file {path} is not a key, a tab and a value; restore it, or remove it to begin as a new framework"
    )]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
    },
}

// === impl StateFile ===

impl StateFile {
    /// A store in this file. There is none while there is nothing to keep.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        StateFile { path: path.into(), known: BTreeMap::new() }
    }

    /// A store in this file; a relative path is one below the directory that `STOA_DATA` names, if it is set, else below the
    /// working directory.
    pub fn in_data(path: impl Into<PathBuf>) -> Self {
        let base = std::env::var_os("STOA_DATA").map(PathBuf::from).unwrap_or_default();
        StateFile::at(base.join(path.into()))
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn fault(&self, operation: &'static str, source: io::Error) -> StateFileError {
        StateFileError::Io { operation, path: self.path.clone(), source }
    }

    fn read(&mut self) -> Result<(), StateFileError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(self.fault("read", error)),
        };
        self.known.clear();
        for (at, line) in text.lines().enumerate() {
            let (key, value) = line
                .split_once('\t')
                .ok_or_else(|| StateFileError::Malformed { path: self.path.clone(), line: at + 1 })?;
            self.known.insert(unescaped(key), unescaped(value));
        }
        Ok(())
    }

    /// A file beside it becomes it: a crash leaves the one or the other.
    fn write(&self) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = self.path.with_file_name(name);
        let mut file = File::create(&fresh)?;
        for (key, value) in &self.known {
            writeln!(file, "{}\t{}", escaped(key), escaped(value))?;
        }
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl StateStore for StateFile {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.read().map_err(|error| StoreError::Failed(error.into()))?;
        Ok(Loaded { known: self.known.clone(), fence: 0 })
    }

    fn commit(&mut self, changes: &[Change], _fence: u64) -> Result<(), StoreError> {
        for change in changes {
            change.clone().apply_to(&mut self.known);
        }
        let failed = |operation, error| StoreError::Failed(self.fault(operation, error).into());
        if !self.known.is_empty() {
            return self.write().map_err(|error| failed("write", error));
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> Change {
        Change { key: key.to_owned(), value: value.map(str::to_owned) }
    }

    #[test]
    fn what_was_saved_is_there_in_the_next_life_and_nothing_leaves_no_file() {
        let path = std::env::temp_dir().join(format!("stoa-state-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let mut file = StateFile::at(&path);
        assert!(file.load().expect("nothing yet").known.is_empty());
        file.commit(&[change("framework", Some("F1")), change("home/web.0", Some("a1 two\nlines"))], 0)
            .expect("saved");
        file.commit(&[change("over/web.1", Some("x finished"))], 0).expect("saved");
        let known = StateFile::at(&path).load().expect("it is there").known;
        assert_eq!(known.len(), 3);
        assert_eq!(known["home/web.0"], "a1 two\nlines");
        let gone: Vec<Change> = known.keys().map(|key| change(key, None)).collect();
        file.commit(&gone, 0).expect("saved");
        assert!(!path.exists());

        fs::write(&path, "framework\tF1\nhome\n").expect("written");
        let bad = StateFile::at(&path).load().expect_err("not a state file");
        assert!(bad.to_string().contains("line 2"), "{bad}");
        fs::remove_file(&path).expect("removed");
    }
}
