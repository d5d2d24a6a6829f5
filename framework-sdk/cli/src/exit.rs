//! Exit codes: what scripts may rely on.

use std::process::ExitCode;

/// How a command ended, as its exit code. `docs/guide` documents the same table; codes are never given a new meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Ok = 0,
    /// 1: the answer is bad news: the cluster is degraded, a task failed; or a fault of ours.
    Bad = 1,
    /// 2: what was typed makes no sense; of `status`: the cluster is down.
    Usage = 2,
    /// 3: there is no such thing.
    NotFound = 3,
    /// 4: the certificate does not allow it.
    Denied = 4,
    /// 5: nobody answers, no leader, or too late; try again.
    Unavailable = 5,
    /// 6: it clashes with what is there.
    Conflict = 6,
    /// 7: refused because it cannot be undone and nobody confirmed it.
    Unconfirmed = 7,
    /// 130: interrupted.
    Interrupted = 130,
}

/// The table of exit codes, for the help of the whole command.
pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  the answer is bad news: the cluster is degraded, a task failed
  2  what was typed makes no sense; of `status`: the cluster is down
  3  there is no such thing
  4  the certificate does not allow it
  5  nobody answers, no leader, or too late; try again
  6  it clashes with what is there
  7  it cannot be undone and nobody confirmed it
  130  interrupted";

// === impl Exit ===

impl Exit {
    /// What `status` says of a cluster that cannot be used.
    pub const DOWN: Exit = Exit::Usage;

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
