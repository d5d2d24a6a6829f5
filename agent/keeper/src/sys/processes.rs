//! Signals, the making and ending of processes, and what a process is.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};

use super::{check, owned};
use crate::protocol::Rusage;

/// Blocks every signal: the keeper ends by request, not by TERM or HUP. Also undoes what may have been inherited as
/// ignored, because that would pass through exec to the tasks.
pub(crate) fn block_signals() -> io::Result<()> {
    // The raw call, because libc's does not touch the two signals it keeps for itself. All zero is SIG_DFL without flags.
    const SIGSET_BYTES: usize = 8;
    let default = [0u64; 8];
    // SAFETY: the zeroed disposition is larger than the kernel's struct; sigset_t is plain data that sigfillset initialises.
    unsafe {
        for signal in 1..=64 {
            let none: *mut c_void = std::ptr::null_mut();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SIGSET_BYTES);
        }
        let mut all: libc::sigset_t = zeroed();
        libc::sigfillset(&mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut())).map(drop)
    }
}

/// A descriptor that is readable when a child that reports by SIGCHLD has ended.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    signals(&[libc::SIGCHLD])
}

/// A descriptor that is readable when this process is asked to end.
pub(crate) fn end_signals() -> io::Result<OwnedFd> {
    signals(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])
}

fn signals(which: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: sigset_t is plain data, initialised by sigemptyset.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut set);
        for signal in which {
            libc::sigaddset(&mut set, *signal);
        }
        owned(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))
    }
}

/// Enters a namespace: that of processes for children only.
pub(crate) fn enter_namespace(namespace: &File, kind: c_int) -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) }).map(drop)
}

/// Makes orphaned descendants this process's children.
pub(crate) fn become_subreaper() -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Keeps tasks of the same uid from reading or steering the keeper and its inits.
pub(crate) fn become_undumpable() -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// The error number of a failed call that returned nothing else.
fn errno_of(result: c_int) -> i32 {
    if result < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) } else { 0 }
}

/// Kills a process that is held, and no other that has got its number since.
pub(crate) fn kill_held(process: &OwnedFd) {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a live descriptor, and no information to read.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, no_info, 0) };
}

/// Sends a signal; a negative pid names a process group. Returns 0 or the error number.
pub(crate) fn kill(pid: i32, signal: i32) -> i32 {
    // SAFETY: plain system call.
    errno_of(unsafe { libc::kill(pid, signal) })
}

/// Queues a signal with a value. Returns 0 or the error number.
pub(crate) fn queue_signal(pid: i32, signal: i32, value: usize) -> i32 {
    let value = libc::sigval { sival_ptr: value as *mut c_void };
    // SAFETY: the value is passed through, never dereferenced.
    errno_of(unsafe { libc::sigqueue(pid, signal, value) })
}

/// A child that has ended and reports by SIGCHLD, left to be collected with [`collect`].
pub(crate) fn ended_child() -> Option<i32> {
    // SAFETY: siginfo_t is plain data that waitid fills; si_pid is valid after success.
    unsafe {
        let mut info: libc::siginfo_t = zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &mut info, flags) < 0 {
            return None;
        }
        Some(info.si_pid()).filter(|pid| *pid > 0)
    }
}

/// Collects an ended child: its wait status and what it and its collected descendants used.
pub(crate) fn collect(pid: i32) -> Option<(i32, Rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // __WALL: until it has executed something, a child of ours reports by no signal and is invisible without it.
    // SAFETY: both pointers are to live memory of the right type; rusage is plain data.
    let usage = unsafe {
        if libc::wait4(pid, &mut status, libc::WNOHANG | libc::__WALL, usage.as_mut_ptr()) != pid {
            return None;
        }
        usage.assume_init()
    };
    Some((status, used(&usage)))
}

/// What [`collect_any`] found.
pub(crate) enum Collected {
    /// A process that was dead, with its wait status and what it used.
    Dead { pid: i32, status: i32, usage: Rusage },
    /// Children, all alive.
    NobodyDead,
    /// No children.
    Childless,
}

/// Collects a dead child; waits for one if `patient`. Safe in an init.
pub(crate) fn collect_any(patient: bool) -> Collected {
    let flags = if patient { libc::__WALL } else { libc::WNOHANG | libc::__WALL };
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live memory of the right type; rusage is plain data.
        unsafe {
            match libc::wait4(-1, &mut status, flags, usage.as_mut_ptr()) {
                0 => return Collected::NobodyDead,
                pid @ 1.. => return Collected::Dead { pid, status, usage: used(usage.assume_init_ref()) },
                _ if *libc::__errno_location() == libc::EINTR => {}
                _ => return Collected::Childless,
            }
        }
    }
}

/// The kernel's account in ours.
fn used(usage: &libc::rusage) -> Rusage {
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    Rusage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

/// Collects a child that has been killed, waiting for its death.
pub(crate) fn await_death(pid: i32) {
    // SAFETY: no status and no usage are asked for.
    unsafe {
        libc::wait4(pid, std::ptr::null_mut(), libc::__WALL, std::ptr::null_mut());
    }
}

/// A descriptor for a process, readable once it is dead.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int)
}

/// Forks; `None` in the child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the keeper has one thread, so the child may go on as usual.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid > 0).then_some(pid))
}

/// Leaves the session of the caller.
pub(crate) fn setsid() -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::setsid() }).map(drop)
}

/// The limit of open files.
pub(crate) fn open_files() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 4096 };
    // SAFETY: `limit` lives through the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit
}

/// Raises the soft limit of open files to the hard one; returns what it was, for the tasks.
pub(crate) fn raise_open_files() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 4096 };
    // SAFETY: `limit` lives through both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
            libc::setrlimit(libc::RLIMIT_NOFILE, &raised);
        }
    }
    limit
}

/// The user this process acts as.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: plain system call.
    unsafe { libc::geteuid() }
}
