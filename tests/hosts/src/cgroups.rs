//! The control groups that agents leave when everything on their host is killed.

use std::path::Path;

/// Removes a control group and all below it, in each hierarchy; what still holds a process stays.
///
/// # Errors
/// When the hierarchies cannot be read.
pub fn remove(root: &str) -> Result<(), String> {
    let base = Path::new("/sys/fs/cgroup");
    let hierarchies =
        std::fs::read_dir(base).map_err(|why| format!("cannot read {}: {why}", base.display()))?;
    let below = root.trim_start_matches('/');
    for hierarchy in hierarchies.flatten() {
        remove_tree(&hierarchy.path().join(below));
    }
    remove_tree(&base.join(below));
    Ok(())
}

fn remove_tree(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}
