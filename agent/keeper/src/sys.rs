//! The system calls the keeper makes, each behind a safe function. What runs between fork and exec is in `child.rs`.

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::protocol::Rusage;

/// Turns the kernel's -1 into the error it stands for.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_len(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn owned(fd: c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the call that returned this descriptor made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// === Readiness ===

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Interest {
    pub(crate) const READ: Interest = Interest { readable: true, writable: false };

    fn bits(self) -> u32 {
        let read = if self.readable { libc::EPOLLIN as u32 } else { 0 };
        let write = if self.writable { libc::EPOLLOUT as u32 } else { 0 };
        read | write
    }
}

/// An epoll instance, level-triggered.
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: plain system call.
        Ok(Epoll { fd: owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })? })
    }

    pub(crate) fn add(&self, fd: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), token, interest)
    }

    pub(crate) fn modify(&self, fd: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), token, interest)
    }

    fn control(&self, verb: c_int, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token };
        // SAFETY: `event` lives through the call.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), verb, fd, &mut event) }).map(drop)
    }

    /// Waits and fills `tokens`; none after the timeout or when interrupted.
    pub(crate) fn wait(&self, tokens: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        const EVENTS: usize = 256;
        let mut events = [const { libc::epoll_event { events: 0, u64: 0 } }; EVENTS];
        // Rounded up, so that a deadline has passed when the wait for it returns.
        let timeout = timeout.map_or(-1, |t| i32::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        // SAFETY: `events` has room for EVENTS entries.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), EVENTS as c_int, timeout) };
        tokens.clear();
        match check(count) {
            Ok(count) => tokens.extend(events.iter().take(count as usize).map(|event| event.u64)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

// === Signals and processes ===

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
    // SAFETY: sigset_t is plain data, initialised by sigemptyset.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        owned(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))
    }
}

/// A descriptor that is readable when this process is asked to end.
pub(crate) fn end_signals() -> io::Result<OwnedFd> {
    // SAFETY: sigset_t is plain data, initialised by sigemptyset.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
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

/// Waits for a descriptor to become readable; false after the timeout.
pub(crate) fn wait_readable(fd: &OwnedFd, timeout: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&mut poll, 1, i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)) > 0 }
}

/// Whether a descriptor is readable now.
pub(crate) fn is_readable(fd: &OwnedFd) -> bool {
    wait_readable(fd, Duration::ZERO)
}

/// Waits until one of four descriptors is readable; whether the first is.
pub(crate) fn first_is_readable(fds: &[&OwnedFd; 4]) -> bool {
    let mut polls = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    loop {
        // SAFETY: four live pollfds.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, -1) };
        if ready > 0 {
            return polls.first().is_some_and(|first| first.revents != 0);
        }
        if ready < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// Whether a descriptor has something urgent to say: for `/proc/PID/mountinfo`, that mounts have changed since it was
/// asked last.
pub(crate) fn is_urgent(file: &File) -> bool {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&mut poll, 1, 0) > 0 && poll.revents & (libc::POLLPRI | libc::POLLERR) != 0 }
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

// === Shared memory ===

/// A type for which all bits zero is a value.
///
/// # Safety
/// That must be true, and its alignment at most a page.
pub(crate) unsafe trait Zeroed {}

/// `count` zeroed values in memory that stays shared with children. It is never unmapped; a page costs nothing until used.
pub(crate) fn shared_slice<T: Zeroed>(count: usize) -> io::Result<&'static [T]> {
    // SAFETY: a fresh anonymous mapping of the needed size, page-aligned, zeroed by the kernel, never unmapped; zero is a
    // value of T.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            count * size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(std::slice::from_raw_parts(at.cast::<T>(), count))
    }
}

/// Sleeps while `word` holds `value`; false after the timeout. Safe between fork and exec.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, timeout: Duration) -> bool {
    let limit = libc::timespec { tv_sec: timeout.as_secs() as libc::time_t, tv_nsec: 0 };
    // SAFETY: the word and the time live through the call.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &limit) == 0
            || *libc::__errno_location() != libc::ETIMEDOUT
    }
}

/// Wakes who sleeps at `word`.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word lives through the call.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1);
    }
}

// === Sockets and pipes ===

/// A pair of connected sockets that keep message boundaries.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `pair` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    Ok((owned(pair[0])?, owned(pair[1])?))
}

/// A pipe: (read end, write end).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    // SAFETY: `pair` has room for two descriptors.
    check(unsafe { libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((owned(pair[0])?, owned(pair[1])?))
}

/// Makes `number` another name of `fd`, kept through exec only for 0 to 2.
pub(crate) fn place_at(fd: &impl AsRawFd, number: RawFd) -> io::Result<()> {
    let flags = if number > 2 { libc::O_CLOEXEC } else { 0 };
    // SAFETY: plain system call; callers choose numbers that nothing else owns.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, flags) }).map(drop)
}

/// Closes every descriptor from `first` on. Only at start, when nothing owns one of them.
pub(crate) fn close_from(first: u32) {
    // SAFETY: plain system call; see above.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, 0);
    }
}

/// The uid of the process at the other end of a unix socket.
pub(crate) fn peer_uid(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` and `len` live through the call and agree.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut len,
        )
    })?;
    Ok(peer.uid)
}

/// Sends what the socket takes without waiting and without SIGPIPE.
pub(crate) fn send(socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the buffer lives through the call.
    check_len(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Reads from a descriptor.
pub(crate) fn read(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer lives through the call.
    check_len(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// Most descriptors that come with one message of a child.
pub(crate) const PASSED_MAX: usize = 3;

/// Takes a message of two words and the descriptors that came with it; `None` when there is none.
pub(crate) fn receive(socket: &OwnedFd) -> Option<([u32; 2], [Option<OwnedFd>; PASSED_MAX])> {
    let mut words = [0u32; 2];
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size_of::<[u32; 2]>() };
    let mut passed = [const { None }; PASSED_MAX];
    // SAFETY: all buffers live through the call; the control buffer is aligned and its size is given; descriptors read
    // out of SCM_RIGHTS are new and ours. CMSG_DATA need not be aligned for RawFd, hence read_unaligned.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[u64; 8]>() as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        if libc::recvmsg(socket.as_raw_fd(), &mut message, flags) != size_of::<[u32; 2]>() as isize {
            return None;
        }
        let header = libc::CMSG_FIRSTHDR(&message);
        if !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
        {
            let bytes = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (n, place) in passed.iter_mut().enumerate().take(bytes / size_of::<RawFd>()) {
                *place = Some(OwnedFd::from_raw_fd(data.add(n).read_unaligned()));
            }
        }
    }
    Some((words, passed))
}

// === Files relative to a directory ===

/// Opens a directory that is not itself a symbolic link.
pub(crate) fn open_dir(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the path is null-terminated.
    owned(unsafe { libc::open(path.as_ptr(), flags) })
}

/// Opens `name` in `dir`, never through a symbolic link.
pub(crate) fn open_at(dir: &OwnedFd, name: &CStr, flags: c_int, mode: u32) -> io::Result<File> {
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name is null-terminated.
    owned(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, mode) }).map(File::from)
}

/// Renames within `dir`. A symbolic link is renamed or replaced itself.
pub(crate) fn rename_at(dir: &OwnedFd, from: &CStr, to: &CStr) -> io::Result<()> {
    let dir = dir.as_raw_fd();
    // SAFETY: both names are null-terminated.
    check(unsafe { libc::renameat(dir, from.as_ptr(), dir, to.as_ptr()) }).map(drop)
}

/// Gives an open file to a user.
pub(crate) fn change_owner(file: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::fchown(file.as_raw_fd(), uid, gid) }).map(drop)
}

/// Lets large buffers go back to the system when they are freed, always: a large heap makes each fork slower.
pub(crate) fn keep_heap_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain settings of the allocator. Setting a threshold also stops it from growing by itself.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
    }
}

/// Sets the file mode creation mask.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: plain system call.
    unsafe {
        libc::umask(mask);
    }
}
