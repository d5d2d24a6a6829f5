//! The system calls the keeper makes, each behind a safe function. What runs between fork and exec is in `child.rs`.

mod processes;

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub(crate) use processes::*;

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
