//! The first process of a run's pid namespace. It starts the command, reaps, passes signals on, and keeps the command's status.
//!
//! A command cannot be pid 1 itself: the kernel delivers to pid 1 only the signals it has handlers for, so a TERM from
//! outside would be lost on most programs, and orphans would stay zombies. This process is a fork of the keeper that
//! never executes anything; when it ends, the kernel kills whatever is left in the namespace.

use std::ffi::{c_int, c_void};
use std::mem::zeroed;

use crate::child::{self, Birth, EXECUTED, HANDOFF_FD, Stack, become_command};

/// The signal through which the keeper passes others on; its value says which. So even STOP reaches the command and not
/// this process.
pub(crate) const CARRIER: c_int = 63;

/// Added to a carried signal's number if it is for every process of the namespace.
pub(crate) const WHOLE_TREE: usize = 1 << 8;

static COMMAND_STACK: Stack = Stack::new();

/// Runs the command to its end.
///
/// # Safety
/// Only in a child that is pid 1 of its namespace and has all signals blocked.
pub(crate) unsafe fn run(birth: &Birth<'_>) -> ! {
    // SAFETY: with CLONE_VFORK this process sleeps until the command's process has executed or ended, so that its use of
    // our memory and of COMMAND_STACK is over then.
    let main = unsafe {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let arg = std::ptr::from_ref(birth).cast_mut().cast();
        libc::clone(command, COMMAND_STACK.top(), flags, arg)
    };
    if main < 0 {
        child::fail(birth, crate::protocol::Stage::Clone, 1);
    }
    // SAFETY: plain system calls.
    unsafe {
        if birth.slot.has_failed() {
            libc::_exit(127);
        }
        birth.slot.set_executed();
        child::send(EXECUTED, birth.slot_index, &[]);
        // Our copies of the command's output would keep its readers waiting once it has closed them.
        for fd in [1, 2, HANDOFF_FD] {
            libc::close(fd);
        }
        serve(birth, main)
    }
}

extern "C" fn command(arg: *mut c_void) -> c_int {
    // SAFETY: `run` passes its Birth and sleeps while we use it.
    unsafe {
        let birth = &*arg.cast::<Birth<'_>>();
        if libc::setsid() < 0 {
            child::fail(birth, crate::protocol::Stage::Session, 1);
        }
        become_command(birth)
    }
}

unsafe fn serve(birth: &Birth<'_>, main: c_int) -> ! {
    // SAFETY: plain data and system calls; si_value is read only for a signal that was queued with one.
    unsafe {
        let mut all: libc::sigset_t = zeroed();
        libc::sigfillset(&mut all);
        loop {
            let mut info: libc::siginfo_t = zeroed();
            match libc::sigwaitinfo(&all, &mut info) {
                ..0 => {}
                libc::SIGCHLD => reap(birth, main),
                CARRIER => {
                    let value = info.si_value().sival_ptr as usize;
                    let whom = if value & WHOLE_TREE != 0 { -1 } else { -main };
                    libc::kill(whom, (value & 0xff) as c_int);
                }
                signal => {
                    libc::kill(-main, signal);
                }
            }
        }
    }
}

unsafe fn reap(birth: &Birth<'_>, main: c_int) {
    loop {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        unsafe {
            match libc::waitpid(-1, &mut status, libc::WNOHANG) {
                ..=0 => return,
                pid if pid == main => {
                    birth.slot.set_status(status);
                    libc::_exit(0)
                }
                _orphan => {}
            }
        }
    }
}
