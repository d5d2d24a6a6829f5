//! Secrets: what a task is given in confidence, as files, and what may be said of it.

use std::collections::BTreeSet;
use std::fmt;

use crate::id::{FileName, SecretName};

/// The most that one secret holds.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// The most secrets that one task names.
pub const TASK_SECRETS_MAX: usize = 64;
/// The most that the secrets of one task hold together: its agent passes them on in one message.
pub const TASK_SECRET_BYTES_MAX: u64 = 1 << 20;

/// Bytes that must not get into a log: whatever prints them prints how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Confidential(Vec<u8>);

/// A secret that a task finds as a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretFile {
    /// Of the task's role, or of the nearest role above it that has one of this name.
    pub name: SecretName,
    /// The file's name; `None`: the secret's.
    pub file: Option<FileName>,
}

// === impl Confidential ===

impl Confidential {
    /// Keeps bytes to itself.
    pub fn new(bytes: Vec<u8>) -> Self {
        Confidential(bytes)
    }

    /// The bytes, for whoever stores, encrypts or sends them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} confidential bytes)", self.0.len())
    }
}

// === impl SecretFile ===

impl SecretFile {
    /// A secret under its own name.
    pub fn named(name: SecretName) -> Self {
        SecretFile { name, file: None }
    }

    /// What the task finds it as.
    pub fn file_name(&self) -> &str {
        self.file.as_ref().map_or(self.name.as_str(), FileName::as_str)
    }
}

/// What is wrong with the secrets that a task names, in words.
pub fn fault(secrets: &[SecretFile]) -> Result<(), String> {
    if secrets.len() > TASK_SECRETS_MAX {
        return Err(format!(
            "command.secrets names {} secrets; a task has at most {TASK_SECRETS_MAX}",
            secrets.len()
        ));
    }
    let mut files = BTreeSet::new();
    match secrets.iter().find(|secret| !files.insert(secret.file_name())) {
        Some(twice) => Err(format!(
            "command.secrets has two files named {}; give each a name of its own",
            twice.file_name()
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, file: &str) -> SecretFile {
        SecretFile { name: SecretName::new(name).unwrap(), file: FileName::new(file).ok() }
    }

    #[test]
    fn what_is_confidential_is_not_printed() {
        let said = format!("{:?}", Confidential::new(b"canary".to_vec()));
        assert_eq!(said, "(6 confidential bytes)");
    }

    #[test]
    fn a_task_finds_each_secret_under_a_name_of_its_own() {
        assert!(fault(&[secret("db", ""), secret("db", "copy"), secret("web", "")]).is_ok());
        let why = fault(&[secret("db", ""), secret("web", "db")]).unwrap_err();
        assert!(why.contains("two files named db"), "{why}");
        let many: Vec<_> = (0..65).map(|number| secret(&format!("s{number}"), "")).collect();
        assert!(fault(&many).unwrap_err().contains("names 65 secrets"));
        assert!(fault(&many[..64]).is_ok());
    }
}
