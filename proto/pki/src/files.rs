//! Files of secrets: private, whole, and on disk before anybody counts on them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, read_to_string};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::PkiError;

/// Makes a directory only its owner can enter, with its parents; one that is there is narrowed.
pub(crate) fn private_dir(dir: &Path) -> Result<(), PkiError> {
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))
    };
    make().map_err(|source| PkiError::File { operation: "create", path: dir.to_owned(), source })
}

/// Writes a file only its owner can read: after a crash there is the old one or the new one, never half of one.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> Result<(), PkiError> {
    let path = dir.join(name);
    // The process id keeps two writers of one directory from tearing each other's half-written file.
    let beside = format!(".{name}.{}", std::process::id());
    let fresh = dir.join(&beside);
    let put = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let failed = |source| PkiError::File { operation: "write", path, source };
    put().map_err(failed).and_then(|()| rename(dir, &beside, name)).inspect_err(|_| {
        // The half-written file holds a secret; that it cannot be removed either changes nothing for the caller.
        let _ = fs::remove_file(&fresh);
    })
}

/// Puts a file in the place of another.
pub(crate) fn rename(dir: &Path, from: &str, to: &str) -> Result<(), PkiError> {
    let path = dir.join(to);
    let put = || -> io::Result<()> {
        fs::rename(dir.join(from), &path)?;
        File::open(dir)?.sync_all()
    };
    put().map_err(|source| PkiError::File { operation: "write", path: path.clone(), source })
}

/// Reads a file.
pub(crate) fn read(dir: &Path, name: &str) -> Result<String, PkiError> {
    let path = dir.join(name);
    read_to_string(&path).map_err(|source| PkiError::File { operation: "read", path, source })
}
