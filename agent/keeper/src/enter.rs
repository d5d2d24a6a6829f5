//! A command beside a run: the same namespaces, cgroups, limits and user, but a child of whoever asks, and never longer than they.
//!
//! This is a process of its own, started by the agent. The keeper has no part in it but one: asked before, it keeps the init of
//! that run for no other, so that what enters here can never be found by the next run.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::child::{self, Birth, Inherited, become_command};
use crate::daemon::oom_score_for_tasks;
use crate::plan::Plan;
use crate::proc;
use crate::protocol::{Failure, How, Outcome, Stage, Visit};
use crate::slots::{Slot, SlotIndex};
use crate::sys;

/// What makes the outcome impossible to tell.
const EXIT_UNTOLD: i32 = 1;

/// How often the processes of a session are looked for.
const SESSION_ROUNDS_MAX: usize = 100;

/// Runs the command that is described in a file, with this process's own standard streams, and writes the outcome into the
/// file in place of it. The exit code says only whether that could be done. It ends early, with its command killed, when it gets
/// TERM, when the process that asked is gone, and when the run is over.
///
/// Not to be called from a process that has more than one thread.
pub fn enter(path: &Path) -> i32 {
    sys::close_from(3);
    match visit(path) {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("stoa-keeper: {}: {e}", path.display());
            EXIT_UNTOLD
        }
    }
}

fn visit(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let outcome = match Visit::decode(&content) {
        Ok(visit) => run(&visit).unwrap_or_else(Outcome::Failed),
        Err(malformed) => return Err(io::Error::new(io::ErrorKind::InvalidData, malformed)),
    };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&outcome.encode())
}

/// What failed, by the step and the system's word.
fn failed(stage: Stage, index: u32) -> impl Fn(io::Error) -> Failure {
    move |e| Failure { stage, index, errno: e.raw_os_error().unwrap_or(libc::EIO) }
}

fn run(visit: &Visit) -> Result<Outcome, Failure> {
    let plan = Plan::new(&visit.spawn)?.dying_with_its_parent();
    sys::block_signals().map_err(failed(Stage::Clone, 2))?;
    let term = sys::end_signals().map_err(failed(Stage::Clone, 3))?;
    let asker = sys::pidfd_open(visit.asker_pid).map_err(failed(Stage::Canceled, 0))?;
    if i32::try_from(std::os::unix::process::parent_id()).ok() != Some(visit.asker_pid) {
        return Err(Failure { stage: Stage::Canceled, index: 0, errno: libc::ECANCELED });
    }
    let host = Host::of(visit).map_err(failed(Stage::Enter, 0))?;
    // Its memory is nothing for the run's own processes to look into.
    sys::become_undumpable().map_err(failed(Stage::Enter, 3))?;
    let slots: &'static [Slot] = sys::shared_slice(1).map_err(failed(Stage::Clone, 4))?;
    let gone = Failure { stage: Stage::Clone, index: 5, errno: libc::ENOMEM };
    let slot = slots.first().ok_or(gone)?;
    // The agent may be spared, as a service; a task's process is not.
    let inherited = Inherited { open_files: sys::open_files(), oom_score_adj: oom_score_for_tasks() };
    let birth = Birth { plan: &plan, slot, slot_index: SlotIndex(0), inherited: &inherited, mails: None };
    if let Some(pids) = &host.pids {
        sys::enter_namespace(pids, libc::CLONE_NEWPID).map_err(failed(Stage::Enter, 1))?;
    }
    let Some(pid) = sys::fork().map_err(failed(Stage::Clone, 0))? else { become_guest(&birth, visit, &host) };
    // Copies of the command's streams would keep its readers waiting once it has closed them.
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        (0..=2).for_each(|standard| drop(sys::place_at(&null, standard)));
    }
    let guest = sys::pidfd_open(pid).map_err(failed(Stage::Clone, 6))?;
    if !sys::first_is_readable(&[&guest, &asker, &host.process, &term]) {
        sys::kill(-pid, libc::SIGKILL);
        sys::kill(pid, libc::SIGKILL);
        sys::await_death(pid);
    }
    // The rest goes with it: before it is collected, because until then the numbers of its group and session are its own.
    sys::kill(-pid, libc::SIGKILL);
    end_session(pid);
    let (status, _) =
        sys::collect(pid).ok_or(Failure { stage: Stage::Clone, index: 7, errno: libc::ECHILD })?;
    if let Some(failure) = slot.failure() {
        return Err(failure);
    }
    Ok(Outcome::Ended(if libc::WIFSIGNALED(status) {
        How::Signal(libc::WTERMSIG(status))
    } else {
        How::Code(libc::WEXITSTATUS(status))
    }))
}

/// Kills what is left of a session: a shell gives each of its jobs a process group.
fn end_session(session: i32) {
    // Whoever is killed may have forked a moment before, but forks no more.
    let mut killed = HashSet::new();
    for _ in 0..SESSION_ROUNDS_MAX {
        let is_new = |pid: &i32| !killed.contains(pid) && proc::session(*pid) == Some(session);
        let members: Vec<i32> = proc::processes().filter(is_new).collect();
        if members.is_empty() {
            return;
        }
        for pid in members {
            killed.insert(pid);
            // Looked at again once it is held: the number may be another's by then.
            if let Ok(process) = sys::pidfd_open(pid)
                && proc::session(pid) == Some(session)
            {
                sys::kill_held(&process);
            }
        }
    }
}

/// The run that is visited.
struct Host {
    /// Readable once its first process is dead.
    process: OwnedFd,
    /// Its pid namespace, if it is not ours.
    pids: Option<File>,
    /// Its mount namespace, if it is not ours.
    mounts: Option<File>,
}

impl Host {
    /// Of the run's first process, if it is the one that is meant: numbers are used again.
    fn of(visit: &Visit) -> io::Result<Host> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let process = sys::pidfd_open(visit.pid)?;
        let pids = other_namespace(visit.pid, "pid")?;
        let mounts = other_namespace(visit.pid, "mnt")?;
        // Asked last: it is alive, and so all that was opened is its own.
        let same = proc::start_time(visit.pid) == Some(visit.start_time) && !sys::is_readable(&process);
        if same { Ok(Host { process, pids, mounts }) } else { Err(gone()) }
    }
}

fn other_namespace(pid: i32, kind: &str) -> io::Result<Option<File>> {
    let file = File::open(format!("/proc/{pid}/ns/{kind}"))?;
    let own = std::fs::metadata(format!("/proc/self/ns/{kind}"))?;
    let is_same = |other: Metadata| (other.dev(), other.ino()) == (own.dev(), own.ino());
    Ok(if is_same(file.metadata()?) { None } else { Some(file) })
}

/// In the child: everything that its run has, and then the command.
fn become_guest(birth: &Birth<'_>, visit: &Visit, host: &Host) -> ! {
    // SAFETY: the child of a process of one thread, and no init: plain system calls until it executes something.
    unsafe {
        child::join_cgroups(birth);
        if let Some(mounts) = &host.mounts
            && sys::enter_namespace(mounts, libc::CLONE_NEWNS).is_err()
        {
            child::fail(birth, Stage::Enter, 2);
        }
        if libc::setsid() < 0 {
            child::fail(birth, Stage::Session, 0);
        }
        if visit.terminal {
            if libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                child::fail(birth, Stage::Files, 5);
            }
            if let Some(user) = &visit.spawn.user {
                // One that cannot be given away still works; only reopening it does not.
                libc::fchown(io::stdin().as_raw_fd(), user.uid, u32::MAX);
            }
        }
        become_command(birth)
    }
}
