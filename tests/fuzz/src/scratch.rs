//! `Scratch`: a directory in memory if the machine has one, gone with its value.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the directory in which they are made: that of a process which outlives this one and cleans up behind it.
pub const WITHIN: &str = "STOA_FUZZ_WITHIN";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory of one's own.
#[derive(Debug)]
pub struct Scratch(PathBuf);

// === impl Scratch ===

impl Scratch {
    /// A new one.
    pub fn new(name: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        let usual = || if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let above = std::env::var_os(WITHIN).map_or_else(usual, PathBuf::from);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = above.join(format!("stoa-fuzz-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for what is tried");
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Empties it.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(&self.0);
        fs::create_dir_all(&self.0).expect("the directory can be made again");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
