//! `Memory`: the little that a framework remembers over its lives; here in a file, and wherever else somebody keeps it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use framework_sdk_core::reconciler::Change;

/// Why something is not remembered.
pub type MemoryError = Box<dyn Error + Send + Sync>;

/// What a framework remembers over its lives: its id, which instances are over and where some ran last, each a line of
/// text by its key. It is used on the framework's thread and may block.
pub trait Memory: Send {
    /// All there is, when a life begins.
    fn load(&mut self) -> Result<BTreeMap<String, String>, MemoryError>;

    /// Makes changes durable, all or none. Nothing that rests on them is done before this returns, and the framework ends
    /// when they cannot be.
    fn save(&mut self, changes: &[Change]) -> Result<(), MemoryError>;
}

/// Remembers nothing: the next life is another framework.
#[derive(Debug, Default)]
pub struct Forgetful;

/// A memory in one file, written anew and in one step with each change: for some thousands of instances. One process at
/// a time may use it.
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

// === impl Forgetful ===

impl Memory for Forgetful {
    fn load(&mut self) -> Result<BTreeMap<String, String>, MemoryError> {
        Ok(BTreeMap::new())
    }

    fn save(&mut self, _changes: &[Change]) -> Result<(), MemoryError> {
        Ok(())
    }
}

// === impl StateFile ===

impl StateFile {
    /// A memory in this file. There is none while there is nothing to remember.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        StateFile { path: path.into(), known: BTreeMap::new() }
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
            self.known.insert(key.to_owned(), value.to_owned());
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
            writeln!(file, "{key}\t{value}")?;
        }
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Memory for StateFile {
    fn load(&mut self) -> Result<BTreeMap<String, String>, MemoryError> {
        self.read()?;
        Ok(self.known.clone())
    }

    fn save(&mut self, changes: &[Change]) -> Result<(), MemoryError> {
        for change in changes {
            match &change.value {
                // A line is a line, whatever an agent says of itself.
                Some(value) => drop(self.known.insert(change.key.clone(), value.replace(['\n', '\r'], " "))),
                None => drop(self.known.remove(&change.key)),
            }
        }
        if !self.known.is_empty() {
            return self.write().map_err(|error| self.fault("write", error).into());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fault("remove", error).into()),
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
        assert!(file.load().expect("nothing yet").is_empty());
        file.save(&[change("framework", Some("F1")), change("home/web.0", Some("a1 two\nlines"))])
            .expect("saved");
        file.save(&[change("over/web.1", Some("x finished"))]).expect("saved");
        let known = StateFile::at(&path).load().expect("it is there");
        assert_eq!(known.len(), 3);
        assert_eq!(known["home/web.0"], "a1 two lines");
        let gone: Vec<Change> = known.keys().map(|key| change(key, None)).collect();
        file.save(&gone).expect("saved");
        assert!(!path.exists());

        fs::write(&path, "framework\tF1\nhome\n").expect("written");
        let bad = StateFile::at(&path).load().expect_err("not a state file");
        assert!(bad.to_string().contains("line 2"), "{bad}");
        fs::remove_file(&path).expect("removed");
    }
}
