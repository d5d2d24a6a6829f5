//! A run's first process between fork and exec. Only system calls here: no allocation, no lock, no panic, no return.
//!
//! The process begins sharing the keeper's descriptor table (`CLONE_FILES`), because copying it would cost more with
//! each task that runs. Its first act is to leave that table with nothing but 0 to 3: /dev/null three times and
//! [`HANDOFF_FD`]. Through the latter it hands its own pipes' read ends to the keeper.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{size_of, zeroed};

use crate::mail::Mail;
use crate::plan::Plan;
use crate::protocol::{Stage, User};
use crate::slots::{Slot, SlotIndex};
use crate::{init, proc};

/// Where the keeper keeps the children's end of the handoff socket.
pub(crate) const HANDOFF_FD: c_int = 3;

/// First word of a handoff message: prepared, waiting at the gate; comes with the pipes.
pub(crate) const PREPARED: u32 = 1;
/// First word of a handoff message: the init saw its command executed. Comes with the pipes, if those were not passed before.
pub(crate) const EXECUTED: u32 = 2;
/// First word of a handoff message: the run is over and its init idle.
pub(crate) const ENDED: u32 = 3;

/// What every child needs beside its plan.
pub(crate) struct Inherited {
    /// The limit of open files before the keeper raised its own.
    pub(crate) open_files: libc::rlimit,
    /// What to write to `oom_score_adj`, if the keeper changed its own.
    pub(crate) oom_score_adj: Option<Vec<u8>>,
}

/// All that the child reads. It stays in the keeper's memory, of which the child has a copy.
pub(crate) struct Birth<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) slot: &'a Slot,
    pub(crate) slot_index: SlotIndex,
    pub(crate) inherited: &'a Inherited,
    /// Where an init finds its next runs; `None` if it is to have one only.
    pub(crate) mails: Option<&'static [Mail]>,
}

/// A stack for a cloned function.
#[repr(C, align(64))]
pub(crate) struct Stack(std::cell::UnsafeCell<[u8; STACK_BYTES]>);

const STACK_BYTES: usize = 64 * 1024;

/// A program that somebody has open for writing is tried again so often, with such a pause: a second in all.
const BUSY_TRIES: u32 = 100;
const BUSY_PAUSE_NS: i64 = 10_000_000;

// SAFETY: the keeper has one thread, and each child works on its own copy.
unsafe impl Sync for Stack {}

impl Stack {
    pub(crate) const fn new() -> Stack {
        Stack(std::cell::UnsafeCell::new([0; STACK_BYTES]))
    }

    /// Its upper end, where a stack begins.
    pub(crate) fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the array.
        unsafe { self.0.get().cast::<u8>().add(STACK_BYTES).cast() }
    }
}

static FIRST_STACK: Stack = Stack::new();

/// Creates the first process of a run: its pid and, where the kernel has them, a pidfd.
///
/// It reports its end by no signal until it executes something, which keeps the many that never do (the inits) out of
/// the search for orphans; without pidfds it must report.
///
/// # Errors
/// The error number of `clone(2)`.
pub(crate) fn create(birth: &Birth<'_>, pidfds: bool) -> Result<(i32, Option<c_int>), i32> {
    let mut pidfd: c_int = -1;
    let mut flags = libc::CLONE_FILES;
    flags |= if pidfds { libc::CLONE_PIDFD } else { libc::SIGCHLD };
    if birth.plan.pid_namespace {
        flags |= libc::CLONE_NEWPID;
    }
    let arg = std::ptr::from_ref(birth).cast_mut().cast();
    // SAFETY: without CLONE_VM the child runs `first_process` on its own copy of the stack and of `birth`.
    let pid = unsafe { libc::clone(first_process, FIRST_STACK.top(), flags, arg, &raw mut pidfd) };
    if pid < 0 { Err(errno()) } else { Ok((pid, (pidfds && pidfd >= 0).then_some(pidfd))) }
}

extern "C" fn first_process(arg: *mut c_void) -> c_int {
    // SAFETY: `create` passes a Birth that is never freed in this copy of the memory.
    let birth = unsafe { &*arg.cast::<Birth<'_>>() };
    // SAFETY: we are the child: alone in our memory, and from `leave_files` on in our descriptor table.
    unsafe {
        // Until the log knows of us we must not outlive the keeper.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        leave_files();
        if !birth.plan.pid_namespace {
            join_cgroups(birth);
        }
        birth.slot.set_start_time(own_start_time());
        if libc::setsid() < 0 {
            fail(birth, Stage::Session, 0);
        }
        let passed = make_pipes(birth);
        if !send(PREPARED, birth.slot_index, passed.open()) {
            fail(birth, Stage::Files, 3);
        }
        passed.close();
        if birth.plan.mount_namespace {
            enter_mount_namespace(birth);
        }
        if let Some(hidden) = &birth.plan.hidden {
            hidden.give(birth);
        }
        if !birth.slot.wait_at_gate() {
            fail(birth, Stage::Gate, 0);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0);
        if birth.plan.pid_namespace { init::run(birth) } else { become_command(birth) }
    }
}

/// Notes what failed, with the present error number, and ends this process.
pub(crate) fn fail(birth: &Birth<'_>, stage: Stage, index: u32) -> ! {
    birth.slot.set_failure(stage, index, errno());
    // SAFETY: plain system call.
    unsafe { libc::_exit(127) }
}

fn errno() -> i32 {
    // SAFETY: always a valid pointer.
    unsafe { *libc::__errno_location() }
}

/// Stops sharing the keeper's descriptors, taking only those below 4 along.
///
/// # Safety
/// Only in the child.
unsafe fn leave_files() {
    const FIRST_LEFT: c_int = HANDOFF_FD + 1;
    // SAFETY: plain system calls on descriptors that are no concern of the child.
    unsafe {
        if libc::syscall(libc::SYS_close_range, FIRST_LEFT, u32::MAX, libc::CLOSE_RANGE_UNSHARE) == 0 {
            return;
        }
        // Before Linux 5.9. The limit bounds all descriptors, the keeper having raised it before it opened any.
        libc::unshare(libc::CLONE_FILES);
        let mut limit: libc::rlimit = zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        for fd in FIRST_LEFT..c_int::try_from(limit.rlim_cur).unwrap_or(c_int::MAX) {
            libc::close(fd);
        }
    }
}

/// Joins the run's cgroups. An init stays outside: it is no part of what is measured and limited.
///
/// # Safety
/// Only in a child, which may share memory with its init.
pub(crate) unsafe fn join_cgroups(birth: &Birth<'_>) {
    for (index, path) in (0..).zip(&birth.plan.cgroup_procs) {
        // SAFETY: path and value live.
        if unsafe { !write_once(path, b"0") } {
            fail(birth, Stage::Cgroup, index);
        }
    }
}

/// Writes to a file that takes a value in one write, as those of cgroups and of /proc do.
unsafe fn write_once(path: &CStr, value: &[u8]) -> bool {
    // SAFETY: both live through the calls.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let done = libc::write(fd, value.as_ptr().cast(), value.len()) >= 0;
        let why = errno();
        libc::close(fd);
        *libc::__errno_location() = why;
        done
    }
}

/// 0 where /proc is not to be read; such a run cannot be recognised later and counts as gone.
unsafe fn own_start_time() -> u64 {
    let mut stat = [0u8; 1024];
    // SAFETY: the buffer lives through the read.
    let len = unsafe {
        let fd = libc::open(c"/proc/self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return 0;
        }
        let len = libc::read(fd, stat.as_mut_ptr().cast(), stat.len());
        libc::close(fd);
        len
    };
    let stat = usize::try_from(len).ok().and_then(|len| stat.get(..len)).unwrap_or_default();
    proc::parse_start_time(stat).unwrap_or(0)
}

/// The read ends of pipes that a child has made, to be passed to the keeper.
pub(crate) struct Passed {
    fds: [c_int; 3],
    count: usize,
}

impl Passed {
    pub(crate) fn open(&self) -> &[c_int] {
        self.fds.get(..self.count).unwrap_or_default()
    }

    pub(crate) fn close(self) {
        for fd in self.open() {
            // SAFETY: this process's own descriptor.
            unsafe { libc::close(*fd) };
        }
    }
}

/// Makes the pipes for stdout and stderr, whose write ends become 1 and 2, and without an init the one whose closing tells
/// that exec succeeded. Read ends do not block, the task's ends do.
///
/// # Safety
/// Only in the child, with 0 to 3 open.
pub(crate) unsafe fn make_pipes(birth: &Birth<'_>) -> Passed {
    let mut passed = Passed { fds: [-1; 3], count: 0 };
    // SAFETY: descriptors above HANDOFF_FD are this process's own; arrays live through the calls.
    unsafe {
        let mut make = |wanted: bool| -> c_int {
            let mut pair = [-1; 2];
            if !wanted {
                return -1;
            }
            if libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC) < 0
                || libc::fcntl(pair[0], libc::F_SETFL, libc::O_NONBLOCK) < 0
            {
                fail(birth, Stage::Files, passed.count as u32);
            }
            passed.fds[passed.count] = pair[0];
            passed.count += 1;
            pair[1]
        };
        let stdout = make(birth.plan.has_output);
        let stderr = make(birth.plan.has_output);
        // Its write end stays open, to be closed by exec or by death.
        make(!birth.plan.pid_namespace);
        for (fd, number) in [(stdout, 1), (stderr, 2)] {
            if fd >= 0 {
                if libc::dup2(fd, number) < 0 {
                    fail(birth, Stage::Files, 4);
                }
                libc::close(fd);
            }
        }
    }
    passed
}

/// Sends a message to the keeper, waiting for room.
pub(crate) unsafe fn send(what: u32, slot: SlotIndex, fds: &[c_int]) -> bool {
    let mut words = [what, slot.0];
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size_of::<[u32; 2]>() };
    // SAFETY: the buffers live through the call; `control` has room for far more than the three descriptors there are.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        if !fds.is_empty() {
            let bytes = size_of_val(fds) as u32;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            if header.is_null() {
                return false;
            }
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), bytes as usize);
        }
        loop {
            if libc::sendmsg(HANDOFF_FD, &message, libc::MSG_NOSIGNAL) >= 0 {
                return true;
            }
            if errno() != libc::EINTR {
                return false;
            }
        }
    }
}

unsafe fn enter_mount_namespace(birth: &Birth<'_>) {
    const NONE: *const c_char = std::ptr::null();
    let nothing: *const c_void = std::ptr::null();
    // SAFETY: all strings are null-terminated.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) < 0 {
            fail(birth, Stage::Mounts, 0);
        }
        let root = c"/".as_ptr();
        if libc::mount(NONE, root, NONE, libc::MS_REC | libc::MS_PRIVATE, nothing) < 0 {
            fail(birth, Stage::Mounts, 1);
        }
        if birth.plan.pid_namespace {
            let name = c"proc".as_ptr();
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            if libc::mount(name, c"/proc".as_ptr(), name, flags, nothing) < 0 {
                fail(birth, Stage::Proc, 0);
            }
        }
    }
}

/// Takes on the task's limits and identity and executes its command.
///
/// # Safety
/// Only in a child that is to become the command; it may share memory with its init, which sleeps meanwhile.
pub(crate) unsafe fn become_command(birth: &Birth<'_>) -> ! {
    let plan = birth.plan;
    // SAFETY: plain system calls on memory that lives; credentials are set by raw calls, because libc's wrappers would
    // look for other threads to tell.
    unsafe {
        set_rlimits(birth);
        if let Some(value) = &birth.inherited.oom_score_adj {
            // A task that keeps the keeper's own low score is merely killed later than it should be.
            write_once(c"/proc/self/oom_score_adj", value);
        }
        for capability in 0..64u32 {
            if plan.dropped_capabilities & (1 << capability) != 0
                && libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0
                && errno() != libc::EINVAL
            {
                fail(birth, Stage::Capabilities, capability);
            }
        }
        // As the keeper: the task's user need not be let through every directory above.
        let there = libc::chdir(plan.cwd.as_ptr()) == 0;
        if let Some(user) = &plan.user {
            become_user(birth, user);
        }
        if plan.no_new_privs && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            fail(birth, Stage::NoNewPrivs, 0);
        }
        // The kernel forgets it when the user changes.
        if plan.dies_with_parent {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        }
        if !there && libc::chdir(plan.cwd.as_ptr()) < 0 {
            fail(birth, Stage::Cwd, 0);
        }
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        execute(birth)
    }
}

unsafe fn set_rlimits(birth: &Birth<'_>) {
    // SAFETY: the limits live through the calls.
    unsafe {
        libc::setrlimit(libc::RLIMIT_NOFILE, &birth.inherited.open_files);
        for (index, limit) in (0..).zip(&birth.plan.rlimits) {
            let values = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
            let none: *mut libc::rlimit = std::ptr::null_mut();
            if libc::syscall(libc::SYS_prlimit64, 0, limit.resource, &values, none) < 0 {
                fail(birth, Stage::Rlimit, index);
            }
        }
    }
}

unsafe fn become_user(birth: &Birth<'_>, user: &User) {
    // SAFETY: the list of groups lives through the call.
    unsafe {
        if libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) < 0 {
            fail(birth, Stage::Groups, 0);
        }
        if libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) < 0 {
            fail(birth, Stage::Gid, 0);
        }
        if libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) < 0 {
            fail(birth, Stage::Uid, 0);
        }
    }
}

/// Tries the candidates as `execvp` does: one that may not be executed is remembered over those that do not exist.
unsafe fn execute(birth: &Birth<'_>) -> ! {
    let mut why = libc::ENOENT;
    for program in &birth.plan.programs {
        let mut tries = 0;
        let failed = loop {
            // SAFETY: program, arguments and environment are null-terminated and live.
            unsafe { libc::execve(program.as_ptr(), birth.plan.argv(), birth.plan.env()) };
            let failed = errno();
            // A file that was just written may still be open in a process that was forked meanwhile, until that one executes
            // something itself.
            if failed != libc::ETXTBSY || tries == BUSY_TRIES {
                break failed;
            }
            tries += 1;
            let pause = libc::timespec { tv_sec: 0, tv_nsec: BUSY_PAUSE_NS };
            // SAFETY: the time lives through the call; an interrupted pause is short, no more.
            unsafe { libc::nanosleep(&pause, std::ptr::null_mut()) };
        };
        match failed {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => why = libc::EACCES,
            other => {
                why = other;
                break;
            }
        }
    }
    // SAFETY: always a valid pointer.
    unsafe { *libc::__errno_location() = why };
    fail(birth, Stage::Exec, 0)
}
