//! The first process of a pid namespace. It starts the run's command, reaps, passes signals on, and keeps the command's status.
//!
//! A command cannot be pid 1 itself: the kernel delivers to pid 1 only the signals it has handlers for, so a TERM from
//! outside would be lost on most programs, and orphans would stay zombies. This process is a fork of the keeper that
//! never executes anything; when it ends, the kernel kills whatever is left in the namespace.
//!
//! A run that could change nothing about its namespaces is followed by others, called by the keeper one after another: making
//! and removing two namespaces and a process costs more than most short commands. Between two runs nothing is left in the
//! namespace but this process. It is in no cgroup of a run.

use std::ffi::{c_int, c_void};
use std::mem::zeroed;

use crate::child::{self, Birth, ENDED, EXECUTED, Stack, become_command};
use crate::mail::Mail;
use crate::plan::Plan;
use crate::protocol::{Rusage, Stage};
use crate::slots::Call;
use crate::sys::{self, Collected};

/// The signal through which the keeper passes others on; its value says which. So even STOP reaches the command and not
/// this process.
pub(crate) const CARRIER: c_int = 63;

/// Added to a carried signal's number if it is for every process of the namespace.
const WHOLE_TREE: usize = 1 << 8;

/// Where a carried signal's value has the turn of the run it is for, so that it never reaches the next.
const TURN_SHIFT: u32 = 32;

/// The value that carries a signal.
pub(crate) fn carried(signal: i32, whole_tree: bool, turn: u32) -> usize {
    let whole_tree = if whole_tree { WHOLE_TREE } else { 0 };
    usize::try_from(signal).unwrap_or(0) | whole_tree | ((turn as usize) << TURN_SHIFT)
}

static COMMAND_STACK: Stack = Stack::new();

/// Runs the command to its end, and then others if it may.
///
/// # Safety
/// Only in a child that is pid 1 of its namespace and has all signals blocked.
pub(crate) unsafe fn run(birth: &Birth<'_>) -> ! {
    // SAFETY: as required of the caller; plain system calls.
    unsafe {
        let main = start(birth);
        child::send(EXECUTED, birth.slot_index, &[]);
        let (status, usage) = serve(main, 0);
        let mails = birth.mails.filter(|_| birth.plan.leaves_no_trace);
        let Some(mails) = mails else {
            birth.slot.set_end(status, usage);
            libc::_exit(0)
        };
        be_called(birth, mails, (status, empty_namespace(usage)))
    }
}

/// One run after another, beginning with the end of the last.
unsafe fn be_called(first: &Birth<'_>, mails: &'static [Mail], mut end: (c_int, Rusage)) -> ! {
    // SAFETY: plain system calls.
    unsafe {
        loop {
            let Some(call) = idle(first, end) else { libc::_exit(0) };
            let spawn = mails.get(call.mail as usize).and_then(Mail::read);
            let plan = match spawn.as_ref().map(Plan::new) {
                Some(Ok(plan)) => plan,
                Some(Err(failure)) => {
                    first.slot.set_failure(failure.stage, failure.index, failure.errno);
                    libc::_exit(127)
                }
                None => {
                    first.slot.set_failure(Stage::Request, 1, libc::EBADMSG);
                    libc::_exit(127)
                }
            };
            let birth = Birth { plan: &plan, ..*first };
            let passed = child::make_pipes(&birth);
            let main = start(&birth);
            let told = child::send(EXECUTED, birth.slot_index, passed.open());
            passed.close();
            if !told {
                libc::_exit(127);
            }
            let (status, usage) = serve(main, call.turn);
            end = (status, empty_namespace(usage));
        }
    }
}

/// Tells the end of a run and waits for the next. Idle, this process does not outlive the keeper.
unsafe fn idle(birth: &Birth<'_>, (status, usage): (c_int, Rusage)) -> Option<Call> {
    // SAFETY: plain system calls; the time lives through the call.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        birth.slot.set_end(status, usage);
        birth.slot.become_idle();
        if !child::send(ENDED, birth.slot_index, &[]) {
            libc::_exit(0);
        }
        let call = birth.slot.await_call()?;
        libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0);
        // What somebody sent while there was no command is for nobody. Carried signals say whom they are for.
        let mut strangers: libc::sigset_t = zeroed();
        libc::sigfillset(&mut strangers);
        libc::sigdelset(&mut strangers, CARRIER);
        let at_once: libc::timespec = zeroed();
        while libc::sigtimedwait(&strangers, std::ptr::null_mut(), &at_once) > 0 {}
        Some(call)
    }
}

/// Starts the command; its pid. Our 1 and 2 are /dev/null afterwards: copies of the command's output would keep its readers
/// waiting once it has closed them.
unsafe fn start(birth: &Birth<'_>) -> c_int {
    // SAFETY: with CLONE_VFORK this process sleeps until the command's process has executed or ended, so that its use of
    // our memory and of COMMAND_STACK is over then.
    let main = unsafe {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let arg = std::ptr::from_ref(birth).cast_mut().cast();
        libc::clone(command, COMMAND_STACK.top(), flags, arg)
    };
    if main < 0 {
        child::fail(birth, Stage::Clone, 1);
    }
    // SAFETY: plain system calls.
    unsafe {
        if birth.slot.has_failed() {
            libc::_exit(127);
        }
        birth.slot.set_executed();
        if birth.plan.has_output {
            libc::dup2(0, 1);
            libc::dup2(0, 2);
        }
    }
    main
}

extern "C" fn command(arg: *mut c_void) -> c_int {
    // SAFETY: `start` passes its Birth and sleeps while we use it.
    unsafe {
        let birth = &*arg.cast::<Birth<'_>>();
        child::join_cgroups(birth);
        // Not the init's: what a run sets for its session (`/proc/self/autogroup`) must not stay for the next.
        if libc::setsid() < 0 {
            child::fail(birth, Stage::Session, 1);
        }
        become_command(birth)
    }
}

/// Passes signals on until the command is dead: its wait status, and what it and all that was reaped used.
unsafe fn serve(main: c_int, turn: u32) -> (c_int, Rusage) {
    let mut usage = Rusage::default();
    // SAFETY: plain data and system calls; si_value is read only for a signal that was queued with one.
    unsafe {
        let mut all: libc::sigset_t = zeroed();
        libc::sigfillset(&mut all);
        loop {
            let mut info: libc::siginfo_t = zeroed();
            match libc::sigwaitinfo(&all, &mut info) {
                ..0 => {}
                libc::SIGCHLD => {
                    if let Some(status) = reap(main, &mut usage) {
                        return (status, usage);
                    }
                }
                CARRIER => {
                    let value = info.si_value().sival_ptr as usize;
                    if (value >> TURN_SHIFT) as u32 == turn {
                        let whom = if value & WHOLE_TREE != 0 { -1 } else { -main };
                        libc::kill(whom, (value & 0xff) as c_int);
                    }
                }
                signal => {
                    libc::kill(-main, signal);
                }
            }
        }
    }
}

/// Collects who is dead; the command's status if it is among them.
fn reap(main: c_int, used: &mut Rusage) -> Option<c_int> {
    while let Collected::Dead { pid, status, usage } = sys::collect_any(false) {
        add(used, usage);
        if pid == main {
            return Some(status);
        }
    }
    None
}

/// Kills and collects all that is left of a run beside its command, so that nobody but this process is in the namespace:
/// everybody there descends from it.
fn empty_namespace(mut used: Rusage) -> Rusage {
    let mut patient = false;
    loop {
        match sys::collect_any(patient) {
            Collected::Dead { usage, .. } => add(&mut used, usage),
            Collected::Childless => return used,
            Collected::NobodyDead => {
                // As pid 1's, -1 is everybody in the namespace but itself.
                sys::kill(-1, libc::SIGKILL);
                patient = true;
            }
        }
    }
}

fn add(total: &mut Rusage, usage: Rusage) {
    total.user_us += usage.user_us;
    total.system_us += usage.system_us;
    total.max_rss_bytes = total.max_rss_bytes.max(usage.max_rss_bytes);
}
