//! A task's directory: where it is, made of words that nobody may be trusted with, and who it belongs to.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent_keeper::protocol::RunId;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, chownat, mkdirat};
use sha2::{Digest, Sha256};

use crate::users::User;

/// Everything above the sandboxes lets others through but shows them nothing.
const PARENT_MODE: u32 = 0o711;

const MODE: u32 = 0o750;

/// A sandbox's place below the work directory. There is no other way to name one, so each is inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxDir {
    relative: PathBuf,
}

impl SandboxDir {
    /// `sandboxes/<framework>/<task>/<run>`, the words escaped with [`escape`].
    pub fn new(framework: &str, task: &str, run_id: RunId) -> SandboxDir {
        let relative = ["sandboxes", &escape(framework), &escape(task), &run_id.to_string()].iter().collect();
        SandboxDir { relative }
    }

    /// Its full path.
    pub fn path(&self, work_dir: &Path) -> PathBuf {
        work_dir.join(&self.relative)
    }
}

/// Longest word that is kept as it is; a file name has 255 bytes.
const WORD_BYTES_MAX: usize = 128;

/// A word as the name of a file: letters, digits, `-`, `_` and inner `.` stay, any other byte becomes `%XX`. Different
/// words get different names; one that would be long is cut and told apart by a hash.
pub fn escape(word: &str) -> String {
    let mut name = String::with_capacity(word.len());
    for (at, byte) in word.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.is_empty() {
        return "%".to_owned();
    }
    if name.len() > WORD_BYTES_MAX {
        let hash = Sha256::digest(word.as_bytes());
        // All ASCII by now, so that any byte is a place to cut.
        name.truncate(WORD_BYTES_MAX - 33);
        name.push('~');
        hash.iter().take(16).for_each(|byte| name.push_str(&format!("{byte:02x}")));
    }
    name
}

/// Makes the sandbox and what is missing above it. One that is there already (a launch repeated after a crash) is used.
pub(crate) fn create(work_dir: &Path, dir: &SandboxDir, user: Option<&User>) -> io::Result<PathBuf> {
    let path = dir.path(work_dir);
    match mkdirat(CWD, &path, Mode::from_raw_mode(MODE)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(rustix::io::Errno::NOENT) => {
            make_parents(work_dir, &dir.relative)?;
            mkdirat(CWD, &path, Mode::from_raw_mode(MODE))?;
        }
        Err(e) => return Err(e.into()),
    }
    if let Some(user) = user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(path)
}

/// Makes the directories above a place in the work directory.
pub(crate) fn make_parents(work_dir: &Path, relative: &Path) -> io::Result<()> {
    // Mostly only the last one is missing.
    if let Some(parent) = relative.parent().map(|parent| work_dir.join(parent))
        && std::fs::create_dir(&parent).is_ok()
    {
        return std::fs::set_permissions(&parent, Permissions::from_mode(PARENT_MODE));
    }
    let mut path = work_dir.to_owned();
    for part in relative.parent().into_iter().flat_map(Path::iter) {
        path.push(part);
        match std::fs::create_dir(&path) {
            Ok(()) => std::fs::set_permissions(&path, Permissions::from_mode(PARENT_MODE))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_word_leads_out_of_its_directory() {
        for word in ["", ".", "..", "../../etc", "/", "a/b", ".hidden", "\0", "%2e", "~", "ü", "a b"] {
            let name = escape(word);
            let dir = SandboxDir::new(word, word, RunId([1; 16]));
            assert!(!name.contains('/') && !name.starts_with('.') && !name.is_empty(), "{word:?} {name}");
            let parts: Vec<_> = dir.relative.iter().collect();
            assert_eq!((parts.len(), parts[1], parts[2]), (4, name.as_ref(), name.as_ref()));
        }
    }

    #[test]
    fn different_words_get_different_names_of_bounded_length() {
        let long = "x".repeat(5000);
        let longer = "x".repeat(5001);
        let words = ["", "%", "a", "A", "a.b", "a%2Eb", "/", "%2F", ".", "%2E", &long, &longer, "é", "e"];
        let names: BTreeSet<_> = words.iter().map(|word| escape(word)).collect();
        assert_eq!(names.len(), words.len());
        assert!(names.iter().all(|name| name.len() <= WORD_BYTES_MAX));
    }

    #[test]
    fn an_ordinary_name_stays_readable() {
        assert_eq!(escape("web-1.prod_EU"), "web-1.prod_EU");
    }
}
