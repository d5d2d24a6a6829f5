//! What a keeper makes of its predecessor's log.
//!
//! The rules:
//! - An end that is in the log is told until it is forgotten.
//! - A run that was started and did not end, under another boot id: the machine was restarted, it is gone,
//!   `Lost(Rebooted)`.
//! - The same under this boot id: the keeper died. Its successor is not the parent and can neither collect the exit
//!   status nor the output, so a process that is still there (pid and start time agree) is killed, and the run is
//!   `Lost(KeeperDied)` either way.
//! - What follows the last whole record was never told to anybody and is cut off; a copy is kept for people to look at.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::LOG_NAME;
use crate::log::Log;
use crate::proc;
use crate::protocol::{Exit, Failure, How, Loss, RunId, Rusage};
use crate::record::{Ending, FORMAT, Record, read_log};
use crate::sys;

/// How long the deaths of survivors are waited for, so that what they held is free when the loss is told.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// The end of a run of an earlier keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// It ended, or was lost.
    Exited(Exit),
    /// It never began.
    Failed(Failure),
}

/// What the log said of a run last.
enum Last {
    Started { pid: i32, start_time: u64 },
    Past(Past),
}

/// Reads the log of `dir`, settles what it left open, and starts a new one.
///
/// # Errors
/// Those of reading and writing the log; `Unsupported` for one of a later format.
pub(crate) fn recover(
    dir: &Path,
    boot_id: [u8; 16],
    now_ms: u64,
) -> io::Result<(BTreeMap<RunId, Past>, Log)> {
    let Found { last, boot } = read(dir)?;
    let loss = if boot == Some(boot_id) { Loss::KeeperDied } else { Loss::Rebooted };
    if loss == Loss::KeeperDied {
        kill_survivors(&last);
    }
    let lost = Past::Exited(Exit { how: How::Lost(loss), rusage: Rusage::default(), at_ms: now_ms });
    let past: BTreeMap<RunId, Past> = last
        .into_iter()
        .map(|(run_id, last)| match last {
            Last::Started { .. } => (run_id, lost),
            Last::Past(past) => (run_id, past),
        })
        .collect();
    let head = Record::Head { format: FORMAT, boot_id };
    let ends = past.iter().map(|(run_id, past)| match *past {
        Past::Exited(exit) => Record::Exited { run_id: *run_id, exit },
        Past::Failed(failure) => Record::Failed { run_id: *run_id, failure },
    });
    let log = Log::create(dir, [head].into_iter().chain(ends))?;
    Ok((past, log))
}

/// What a log says.
struct Found {
    /// The last word on each run that is not forgotten.
    last: BTreeMap<RunId, Last>,
    /// The boot it was written in.
    boot: Option<[u8; 16]>,
}

fn read(dir: &Path) -> io::Result<Found> {
    let path = dir.join(LOG_NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let (records, ending) = read_log(&bytes);
    if ending == Ending::Torn {
        fs::copy(&path, dir.join(format!("{LOG_NAME}.damaged")))?;
    }
    let mut last = BTreeMap::new();
    let mut boot = None;
    for record in records {
        match record {
            Record::Head { format, .. } if format > FORMAT => {
                let why = format!("{LOG_NAME} has format {format}; this keeper knows up to {FORMAT}");
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            Record::Head { boot_id, .. } => boot = Some(boot_id),
            Record::Started { run_id, pid, start_time } => {
                last.insert(run_id, Last::Started { pid, start_time });
            }
            Record::Exited { run_id, exit } => {
                last.insert(run_id, Last::Past(Past::Exited(exit)));
            }
            Record::Failed { run_id, failure } => {
                last.insert(run_id, Last::Past(Past::Failed(failure)));
            }
            Record::Forgotten { run_id } => {
                last.remove(&run_id);
            }
        }
    }
    Ok(Found { last, boot })
}

fn kill_survivors(last: &BTreeMap<RunId, Last>) {
    let deadline = Instant::now() + DEATH_PATIENCE;
    let dying: Vec<OwnedFd> = last
        .values()
        .filter_map(|last| match last {
            Last::Started { pid, start_time } => kill_if_same(*pid, *start_time),
            Last::Past(_) => None,
        })
        .collect();
    for process in &dying {
        sys::wait_readable(process, deadline.saturating_duration_since(Instant::now()));
    }
}

/// Kills a process and its group if it is the one meant; gives a descriptor to wait for its death with.
fn kill_if_same(pid: i32, start_time: u64) -> Option<OwnedFd> {
    if pid <= 1 || proc::start_time(pid) != Some(start_time) {
        return None;
    }
    // The descriptor pins the number: if the process is still the one meant after opening, it is so while we kill.
    let process = sys::pidfd_open(pid).ok();
    if proc::start_time(pid) == Some(start_time) {
        sys::kill(-pid, libc::SIGKILL);
        sys::kill(pid, libc::SIGKILL);
    }
    process
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A directory that is removed with its holder.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir = std::env::temp_dir().join(format!("stoa-keeper-recover-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).expect("scratch directory");
            Scratch(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const BOOT: [u8; 16] = [1; 16];
    const OTHER_BOOT: [u8; 16] = [2; 16];

    fn run(n: u8) -> RunId {
        RunId([n; 16])
    }

    fn exit(how: How) -> Exit {
        Exit { how, rusage: Rusage::default(), at_ms: 5 }
    }

    fn head() -> Record {
        Record::Head { format: FORMAT, boot_id: BOOT }
    }

    /// A start whose process cannot be alive: no pid is that high.
    fn started(n: u8) -> Record {
        Record::Started { run_id: run(n), pid: i32::MAX, start_time: 1 }
    }

    #[test]
    fn without_a_log_there_is_nothing() {
        let scratch = Scratch::new("none");
        let (past, _) = recover(&scratch.0, BOOT, 9).expect("recovered");
        assert!(past.is_empty());
    }

    #[test]
    fn ends_are_told_until_forgotten_and_open_runs_are_lost() {
        let scratch = Scratch::new("rules");
        let ended = exit(How::Code(3));
        let records = [
            head(),
            started(1),
            started(2),
            started(3),
            Record::Exited { run_id: run(2), exit: ended },
            Record::Exited { run_id: run(3), exit: ended },
            Record::Forgotten { run_id: run(3) },
        ];
        drop(Log::create(&scratch.0, records).expect("log"));
        for (boot, loss) in [(BOOT, Loss::KeeperDied), (OTHER_BOOT, Loss::Rebooted)] {
            drop(Log::create(&scratch.0, records).expect("log"));
            let (past, _) = recover(&scratch.0, boot, 9).expect("recovered");
            let lost = Exit { at_ms: 9, ..exit(How::Lost(loss)) };
            let expected = [(run(1), Past::Exited(lost)), (run(2), Past::Exited(ended))];
            assert_eq!(past.into_iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_loss_once_found_stays_what_it_was() {
        let scratch = Scratch::new("stays");
        drop(Log::create(&scratch.0, [head(), started(1)]).expect("log"));
        let (first, _) = recover(&scratch.0, OTHER_BOOT, 9).expect("recovered");
        let (second, _) = recover(&scratch.0, OTHER_BOOT, 10).expect("recovered");
        assert_eq!(first, second);
    }

    #[test]
    fn a_torn_tail_is_cut_and_kept_for_people() {
        let scratch = Scratch::new("torn");
        let mut bytes = Vec::new();
        head().encode(&mut bytes);
        Record::Exited { run_id: run(1), exit: exit(How::Code(0)) }.encode(&mut bytes);
        let whole = bytes.len();
        Record::Exited { run_id: run(2), exit: exit(How::Code(0)) }.encode(&mut bytes);
        bytes.truncate(whole + 20);
        fs::write(scratch.0.join(LOG_NAME), &bytes).expect("log");
        let (past, _) = recover(&scratch.0, BOOT, 9).expect("recovered");
        assert_eq!(past.keys().copied().collect::<Vec<_>>(), [run(1)]);
        let kept = fs::read(scratch.0.join(format!("{LOG_NAME}.damaged"))).expect("kept");
        assert_eq!(kept, bytes);
        assert_eq!(read_log(&fs::read(scratch.0.join(LOG_NAME)).expect("log")).1, Ending::Clean);
    }

    #[test]
    fn a_log_of_a_later_format_is_left_alone() {
        let scratch = Scratch::new("later");
        let later = Record::Head { format: FORMAT + 1, boot_id: BOOT };
        drop(Log::create(&scratch.0, [later]).expect("log"));
        let before = fs::read(scratch.0.join(LOG_NAME)).expect("log");
        let refused = recover(&scratch.0, BOOT, 9).err().expect("refused");
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert_eq!(fs::read(scratch.0.join(LOG_NAME)).expect("log"), before);
    }

    #[test]
    fn a_log_of_forgotten_runs_is_rewritten_short() {
        let scratch = Scratch::new("rewrite");
        let mut log = Log::create(&scratch.0, [head()]).expect("log");
        let mut turns = 0;
        while !log.wants_rewrite(1) {
            for n in 0..100 {
                log.append(&started(n));
                log.append(&Record::Exited { run_id: run(n), exit: exit(How::Code(0)) });
                log.append(&Record::Forgotten { run_id: run(n) });
            }
            log.write().expect("written");
            log.sync().expect("synced");
            turns += 1;
            assert!(turns < 1000, "it never wants to be rewritten");
        }
        log.rewrite([head(), started(7)]).expect("rewritten");
        assert!(!log.wants_rewrite(1));
        let (past, _) = recover(&scratch.0, BOOT, 9).expect("recovered");
        assert_eq!(past.keys().copied().collect::<Vec<_>>(), [run(7)]);
    }
}
