//! Secrets as the log remembers them: encrypted, by role and name, with limits of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::id::SecretName;
use proto::log::{SecretRecord, SecretRemoved, SecretSet};
use proto::role::Role;
use proto::secret::SecretFile;

use crate::effect::Effect;
use crate::registry::Registry;

/// The most secrets of a pool: every master keeps them in memory and in each snapshot.
pub const SECRETS_MAX: usize = 1000;
/// The most that all secrets of a pool hold together, encrypted.
pub const SECRET_BYTES_ALL_MAX: usize = 4 << 20;

/// A secret by role and name.
pub type SecretKey = (Role, SecretName);

/// All secrets.
pub type Secrets = BTreeMap<SecretKey, Arc<SecretRecord>>;

pub(crate) fn of_image(records: Vec<Arc<SecretRecord>>) -> Secrets {
    records.into_iter().map(|record| ((record.role.clone(), record.name.clone()), record)).collect()
}

// === impl Registry ===

impl Registry {
    /// The secrets, by role and name.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The secret that a task of this role means by a name: the role's own, or that of the nearest role above it.
    pub fn secret_for(&self, role: &Role, name: &SecretName) -> Option<&Arc<SecretRecord>> {
        nearest(&self.secrets, role, name)
    }

    /// The names among these that mean no secret to a task of this role.
    pub fn unknown_secrets<'a>(&self, role: &Role, files: &'a [SecretFile]) -> Vec<&'a SecretName> {
        let missing = |file: &&SecretFile| self.secret_for(role, &file.name).is_none();
        files.iter().filter(missing).map(|file| &file.name).collect()
    }

    /// Whether there is room for what a secret is to hold, in place of what it holds. If not, what is too much.
    pub fn room_for_secret(&self, key: &SecretKey, ciphertext_bytes: usize) -> Result<(), String> {
        let replaced = self.secrets.get(key).map(|record| record.ciphertext.len());
        if replaced.is_none() && self.secrets.len() >= SECRETS_MAX {
            return Err(format!("there are {SECRETS_MAX} secrets already, and no more can be kept"));
        }
        let all: usize = self.secrets.values().map(|record| record.ciphertext.len()).sum();
        if all - replaced.unwrap_or(0) + ciphertext_bytes > SECRET_BYTES_ALL_MAX {
            return Err(format!(
                "secrets would hold more than {} MiB together, and no more can be kept",
                SECRET_BYTES_ALL_MAX >> 20
            ));
        }
        Ok(())
    }

    /// The version that a secret gets when it is set next.
    pub(crate) fn next_version(&self, role: &Role, name: &SecretName) -> u64 {
        self.secrets.get(&(role.clone(), name.clone())).map_or(0, |record| record.version) + 1
    }

    pub(crate) fn set_secret(&mut self, inner: SecretSet, at_ms: u64) -> Effect {
        let key = (inner.role.clone(), inner.name.clone());
        // Two orders may each have had room alone.
        if self.room_for_secret(&key, inner.ciphertext.len()).is_err() {
            return Effect::Nothing;
        }
        let version = self.next_version(&inner.role, &inner.name);
        let SecretSet { role, name, nonce, ciphertext, size_bytes, by: _ } = inner;
        let record = SecretRecord { role, name, version, nonce, ciphertext, size_bytes, changed_ms: at_ms };
        self.secrets.insert(key, Arc::new(record));
        Effect::Done
    }

    pub(crate) fn remove_secret(&mut self, inner: &SecretRemoved) -> Effect {
        match self.secrets.remove(&(inner.role.clone(), inner.name.clone())) {
            Some(_) => Effect::Done,
            None => Effect::Nothing,
        }
    }
}

/// The secret of this name of a role, or of the nearest role above it that has one.
pub fn nearest<'a>(secrets: &'a Secrets, role: &Role, name: &SecretName) -> Option<&'a Arc<SecretRecord>> {
    let mut at = Some(role.clone());
    while let Some(role) = at {
        let above = role.parent();
        if let Some(record) = secrets.get(&(role, name.clone())) {
            return Some(record);
        }
        at = above;
    }
    None
}
