//! Becoming a daemon: one keeper per directory, a child of nobody who could take it along.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::child::{HANDOFF_FD, Inherited};
use crate::keeper::Keeper;
use crate::sys;

/// Exit code of [`serve`] when the directory has a keeper already.
pub const EXIT_ALREADY_RUNNING: i32 = 3;

const EXIT_FAILED: i32 = 1;

/// The keeper's own standing when memory runs out: last but one. -1000 would be never.
const OOM_SCORE_ADJ: &str = "-998";

const OOM_SCORE_ADJ_PATH: &str = "/proc/self/oom_score_adj";

/// Starts the keeper of `dir` in the background and returns the exit code for the caller: 0 once it accepts
/// connections, [`EXIT_ALREADY_RUNNING`], or 1 with the reason on stderr. `build` is repeated in each Welcome. With no run
/// and no agent it ends by itself after `idle_max`.
///
/// Not to be called from a process that has more than one thread.
pub fn serve(dir: &Path, build: &str, idle_max: Duration) -> i32 {
    // What the agent has open is none of our business, and would stay open for as long as we live.
    sys::close_from(3);
    match launch(dir, build, idle_max) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("stoa-keeper: {}: {e}", dir.display());
            EXIT_FAILED
        }
    }
}

fn launch(dir: &Path, build: &str, idle_max: Duration) -> io::Result<i32> {
    std::env::set_current_dir(dir)?;
    // Holds the number the handoff socket will have.
    let placeholder = File::open("/dev/null")?;
    debug_assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&placeholder), HANDOFF_FD);
    std::mem::forget(placeholder);
    let mut options = OpenOptions::new();
    let lock = options.write(true).create(true).truncate(false).mode(0o600).open("keeper.lock")?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(EXIT_ALREADY_RUNNING),
        Err(fs::TryLockError::Error(e)) => return Err(e),
    }
    let (ready, report) = sys::pipe()?;
    if sys::fork()?.is_some() {
        drop(report);
        return await_ready(ready.into());
    }
    // Two forks: the first child leaves the session, its child can never get a terminal again and belongs to init.
    sys::setsid()?;
    if sys::fork()?.is_some() {
        std::process::exit(0);
    }
    let mut report = File::from(report);
    match prepare(build, idle_max) {
        Ok(mut keeper) => {
            report.write_all(b"\0")?;
            drop(report);
            let ended = keeper.run();
            std::process::exit(if ended.is_ok() { 0 } else { EXIT_FAILED });
        }
        Err(e) => {
            report.write_all(e.to_string().as_bytes())?;
            std::process::exit(EXIT_FAILED);
        }
    }
}

/// In the process the agent started: waits for the daemon's first word.
fn await_ready(mut ready: File) -> io::Result<i32> {
    let mut word = Vec::new();
    // A closed pipe without a word means that it died.
    let mut first = [0];
    match ready.read(&mut first)? {
        0 => return Err(io::Error::other("the keeper died while starting")),
        _ if first == [0] => return Ok(0),
        _ => {}
    }
    word.extend_from_slice(&first);
    ready.read_to_end(&mut word)?;
    Err(io::Error::other(String::from_utf8_lossy(&word).into_owned()))
}

fn prepare(build: &str, idle_max: Duration) -> io::Result<Keeper> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        sys::place_at(&null, standard)?;
    }
    drop(null);
    sys::set_umask(0o022);
    sys::keep_heap_small();
    let inherited = Inherited { open_files: sys::raise_open_files(), oom_score_adj: lower_oom_score() };
    Keeper::start(build, idle_max, inherited)
}

/// Makes the keeper a late victim of memory shortage; returns what its tasks are to have instead, if that worked.
fn lower_oom_score() -> Option<Vec<u8>> {
    let for_tasks = oom_score_for_tasks()?;
    fs::write(OOM_SCORE_ADJ_PATH, OOM_SCORE_ADJ).ok()?;
    Some(for_tasks)
}

/// What processes of tasks are to have where this one has what it has: nothing that spares them.
pub(crate) fn oom_score_for_tasks() -> Option<Vec<u8>> {
    unspared(&fs::read_to_string(OOM_SCORE_ADJ_PATH).ok()?)
}

fn unspared(own: &str) -> Option<Vec<u8>> {
    let own: i32 = own.trim().parse().ok()?;
    Some(own.max(0).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_not_spared_for_whoever_starts_it() {
        for (own, theirs) in [("-1000\n", "0"), ("0\n", "0"), ("300\n", "300")] {
            assert_eq!(unspared(own).as_deref(), Some(theirs.as_bytes()), "{own:?}");
        }
        assert_eq!(unspared("?"), None, "then it is left as it is");
    }
}
