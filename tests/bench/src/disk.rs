//! The limit that durability sets: append and `fdatasync`, in the same minute and on the same file system.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::figures::Timings;

/// Appends so many bytes and syncs, `times` over: to a file that grows, and into one whose blocks are there already.
pub fn fdatasync(dir: &Path, bytes: usize, times: usize) -> Result<Value, String> {
    let path = dir.join("fdatasync.bench");
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let one = || -> std::io::Result<Value> {
        let payload = vec![0x5a; bytes];
        let mut file = File::create(&path)?;
        let mut growing = Timings::default();
        for _ in 0..times {
            growing.time(|| file.write_all(&payload).and_then(|()| file.sync_data()))?;
        }
        file.seek(SeekFrom::Start(0))?;
        let mut overwriting = Timings::default();
        for _ in 0..times {
            overwriting.time(|| file.write_all(&payload).and_then(|()| file.sync_data()))?;
        }
        Ok(json!({ "bytes": bytes, "growing": growing.json(), "preallocated": overwriting.json() }))
    };
    let figures = one().map_err(failed);
    let _ = fs::remove_file(&path);
    figures
}
