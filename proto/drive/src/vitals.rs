//! What a process keeps and shows others, as metrics: whoever looks after a cluster sees there what will run out.

use std::path::Path;

/// How much there is where a directory is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// Whoever has less than this free, or than an eighth of a small disk, takes nothing new: what is on its way still fits.
const FULL_BYTES: u64 = 32 << 20;

impl Space {
    /// Whether nothing new is to be stored here.
    pub fn is_full(self) -> bool {
        self.free < FULL_BYTES.min(self.total / 8)
    }

    /// Where this directory is; `None` if the system does not say.
    pub fn at(directory: &Path) -> Option<Space> {
        let system = rustix::fs::statvfs(directory).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        Some(Space { free: bytes(system.f_bavail), total: bytes(system.f_blocks) })
    }
}

/// Brings the gauges to what is so now, for whoever renders the page: where a process keeps its things, when its certificate ends,
/// and when it wants the next one, in milliseconds since 1970.
pub fn show_vitals(directory: &Path, (certificate_ends_ms, certificate_renews_ms): (u64, u64)) {
    metrics::gauge!("certificate_ends_seconds").set(certificate_ends_ms as f64 / 1000.0);
    metrics::gauge!("certificate_renews_seconds").set(certificate_renews_ms as f64 / 1000.0);
    let Ok(system) = rustix::fs::statvfs(directory) else { return };
    let bytes = |blocks: u64| blocks as f64 * system.f_frsize as f64;
    // What others than root can never have is nobody's.
    let usable = system.f_blocks.saturating_sub(system.f_bfree).saturating_add(system.f_bavail);
    metrics::gauge!("directory_bytes").set(bytes(usable));
    metrics::gauge!("directory_free_bytes").set(bytes(system.f_bavail));
    // Some file systems count no inodes.
    if system.f_files > 0 {
        metrics::gauge!("directory_inodes").set(system.f_files as f64);
        metrics::gauge!("directory_free_inodes").set(system.f_favail as f64);
    }
}
