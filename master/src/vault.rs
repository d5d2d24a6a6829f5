//! The secrets of the pool, as the log has them, and the key to them: the one place of a master that sees what they hold.

use std::sync::{Mutex, MutexGuard, PoisonError};

use master_core::Secrets;
use proto::agent_link::SecretContent;
use proto::id::{FileName, SecretName};
use proto::log::SecretSet;
use proto::operator::{SecretView, SetSecret};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::secret::{Confidential, SecretFile};
use proto_pki::{Authority, PkiError, Sealed, Sealer};

/// What the key is derived for. Another word makes another key, and every secret unreadable.
const PURPOSE: &str = "stoa secrets 1";

/// Secrets, encrypted, and what decrypts them.
#[derive(Default)]
pub(crate) struct Vault {
    /// `None` where this master holds no authority.
    sealer: Option<Sealer>,
    held: Mutex<Secrets>,
}

/// What a secret is encrypted for: it is not to be read as that of another role or name.
fn about(role: &Role, name: &SecretName) -> String {
    // Neither holds a control character.
    format!("secret\n{role}\n{name}")
}

fn no_authority() -> Refusal {
    let message = "this master holds no authority, and so no key to secrets";
    Refusal::new(Code::Unavailable, message).with_help("start every master with --authority DIR")
}

// === impl Vault ===

impl Vault {
    /// Opened with the authority's key.
    pub fn of(authority: Option<&Authority>) -> Result<Vault, PkiError> {
        let sealer = authority.map(|authority| authority.sealer(PURPOSE)).transpose()?;
        Ok(Vault { sealer, held: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Secrets> {
        // Nobody panics while holding it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log says that these are the secrets.
    pub fn hold(&self, secrets: Secrets) {
        *self.lock() = secrets;
    }

    /// Which there are.
    pub fn views(&self) -> Vec<SecretView> {
        let held = self.lock();
        let view = |record: &std::sync::Arc<proto::log::SecretRecord>| SecretView {
            role: record.role.clone(),
            name: record.name.clone(),
            version: record.version,
            size_bytes: record.size_bytes,
            changed_ms: record.changed_ms,
        };
        held.values().map(view).collect()
    }

    /// Encrypts what a secret is to hold.
    pub fn seal(&self, call: &SetSecret) -> Result<SecretSet, Refusal> {
        let sealer = self.sealer.as_ref().ok_or_else(no_authority)?;
        let plain = call.value.reveal();
        let Sealed { nonce, ciphertext } = sealer
            .seal(&about(&call.role, &call.name), plain)
            .map_err(|error| Refusal::new(Code::Unavailable, format!("the secret: {error}")))?;
        Ok(SecretSet {
            role: call.role.clone(),
            name: call.name.clone(),
            nonce,
            ciphertext,
            size_bytes: plain.len() as u64,
            // The machine knows who asked.
            by: String::new(),
        })
    }

    /// What a task in this role is given for the secrets that it names.
    pub fn open(&self, role: &Role, files: &[SecretFile]) -> Result<Vec<SecretContent>, Refusal> {
        let sealer = self.sealer.as_ref().ok_or_else(no_authority)?;
        files.iter().map(|file| self.open_one(sealer, role, file)).collect()
    }

    fn open_one(&self, sealer: &Sealer, role: &Role, file: &SecretFile) -> Result<SecretContent, Refusal> {
        let record = master_core::nearest(&self.lock(), role, &file.name).cloned();
        let Some(record) = record else {
            let message = format!("there is no secret {} in role {role} or above it any more", file.name);
            let help = format!("set it with `stoa secret set {} --role {role}`", file.name);
            return Err(Refusal::new(Code::NotFound, message).with_help(help));
        };
        let value = sealer
            .open(&about(&record.role, &record.name), &record.nonce, &record.ciphertext)
            .map_err(|error| {
                let message = format!("secret {} of role {}: {error}", record.name, record.role);
                Refusal::new(Code::Conflict, message).with_help("set it again with `stoa secret set`")
            })?;
        let file = file.file.clone().map_or_else(|| FileName::new(file.name.as_str()), Ok);
        let file = file.map_err(|bad| Refusal::new(Code::Invalid, format!("secrets.file {bad}")))?;
        Ok(SecretContent { file, value: Confidential::new(value) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proto::log::SecretRecord;

    use super::*;

    fn role(path: &str) -> Role {
        Role::new(path).unwrap()
    }

    fn name(text: &str) -> SecretName {
        SecretName::new(text).unwrap()
    }

    fn vault() -> Vault {
        Vault::of(Some(&Authority::create("pool").unwrap())).unwrap()
    }

    fn set(vault: &Vault, path: &str, value: &str) -> SecretRecord {
        let value = Confidential::new(value.as_bytes().to_vec());
        let call = SetSecret { role: role(path), name: name("db"), value };
        let SecretSet { role, name, nonce, ciphertext, size_bytes, .. } = vault.seal(&call).unwrap();
        SecretRecord { role, name, version: 1, nonce, ciphertext, size_bytes, changed_ms: 7 }
    }

    fn holding(records: Vec<SecretRecord>) -> Secrets {
        let keyed = |record: SecretRecord| ((record.role.clone(), record.name.clone()), Arc::new(record));
        records.into_iter().map(keyed).collect::<BTreeMap<_, _>>()
    }

    #[test]
    fn a_task_is_given_the_nearest_one_under_the_name_that_it_wants() {
        let vault = vault();
        vault.hold(holding(vec![set(&vault, "eng", "above"), set(&vault, "eng/web", "own")]));
        let files = [SecretFile { name: name("db"), file: Some(FileName::new("key").unwrap()) }];
        let given = |path: &str| {
            let given = vault.open(&role(path), &files).unwrap().remove(0);
            (given.file.to_string(), String::from_utf8(given.value.reveal().to_vec()).unwrap())
        };
        assert_eq!(given("eng/web/x"), ("key".into(), "own".into()));
        assert_eq!(given("eng/ops"), ("key".into(), "above".into()));
        let refusal = vault.open(&role("ops"), &files).unwrap_err();
        assert!(refusal.help.contains("stoa secret set db --role ops"), "{refusal}");
        let [first, second] = &vault.views()[..] else { panic!("two") };
        assert_eq!((first.role.as_str(), first.size_bytes, second.changed_ms), ("eng", 5, 7));
    }

    #[test]
    fn what_was_moved_or_is_anothers_is_not_read() {
        let (here, elsewhere) = (vault(), vault());
        let files = [SecretFile::named(name("db"))];
        let moved = SecretRecord { role: role("ops"), ..set(&here, "eng", "canary") };
        here.hold(holding(vec![moved]));
        let refusal = here.open(&role("ops"), &files).unwrap_err();
        assert!(refusal.message.contains("secret db of role ops: cannot decrypt"), "{refusal}");
        elsewhere.hold(holding(vec![set(&here, "eng", "canary")]));
        assert!(elsewhere.open(&role("eng"), &files).is_err());
        assert!(Vault::default().open(&role("eng"), &files).unwrap_err().message.contains("no authority"));
    }
}
