//! What a keeper tells its agent.

use super::{Malformed, Reader, RunId, Writer, frames};

/// An event. Those about a run come in the order Spawned, Exited, or SpawnFailed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Answer to Hello.
    Welcome {
        /// The version both sides use from here on.
        version: u16,
        /// The keeper's process id.
        pid: i32,
        /// The kernel's boot id. Runs of an earlier boot are gone.
        boot_id: [u8; 16],
        /// What the agent that started this keeper called its build.
        build: String,
    },
    /// The command was executed.
    Spawned {
        /// The run.
        run_id: RunId,
        /// Its first process, as the keeper's pid namespace numbers it.
        pid: i32,
        /// When that process started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
        start_time: u64,
    },
    /// The command was not executed and will not be.
    SpawnFailed {
        /// The run.
        run_id: RunId,
        /// Where it failed.
        failure: Failure,
    },
    /// The run is over, and that is on disk.
    Exited {
        /// The run.
        run_id: RunId,
        /// How.
        exit: Exit,
    },
    /// Answer to Signal.
    Signaled {
        /// The run.
        run_id: RunId,
        /// 0, or why the signal could not be sent (`ESRCH`: no such run alive).
        errno: i32,
    },
    /// Answer to Visit.
    Visited {
        /// The run.
        run_id: RunId,
        /// 0, or why it cannot be visited (`ESRCH`: no such run alive).
        errno: i32,
        /// Its first process; with an error 0.
        pid: i32,
        /// When that started, in clock ticks since boot.
        start_time: u64,
        /// The files by which it joined its cgroups, as [`Spawn::cgroup_procs`](super::Spawn::cgroup_procs) named them.
        cgroup_procs: Vec<Vec<u8>>,
    },
    /// One run, answering List.
    Listed(Run),
    /// The end of the answer to List.
    ListEnd,
    /// A request was understood and not carried out.
    Refused {
        /// Why.
        cause: Cause,
    },
    /// Answer to Shutdown: the keeper ends now.
    Bye,
    /// The connection is unusable and closes.
    Broken {
        /// Why, for people.
        text: String,
    },
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Shutdown without `kill` while this many runs are alive.
    RunsAlive(u32),
    /// Forget of a run that has not ended.
    NotEnded(RunId),
}

/// A run and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The run.
    pub run_id: RunId,
    /// Where it stands.
    pub state: RunState,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Accepted, its command not yet executed.
    Starting,
    /// Executed and not over.
    Running {
        /// Its first process.
        pid: i32,
        /// That process's start, in clock ticks since boot.
        start_time: u64,
    },
    /// Over, not forgotten.
    Exited(Exit),
    /// Never executed, not forgotten.
    Failed(Failure),
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub how: How,
    /// What it used, all its reaped descendants included.
    pub rusage: Rusage,
    /// When the keeper saw it, in milliseconds of wall-clock time since 1970.
    pub at_ms: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It returned this exit code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Nobody saw how.
    Lost(Loss),
}

/// Why nobody saw how a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The machine was restarted.
    Rebooted,
    /// The keeper died; its successor killed what was still alive.
    KeeperDied,
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rusage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Peak resident memory of its largest process, bytes.
    pub max_rss_bytes: u64,
}

/// Why a command was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed.
    pub stage: Stage,
    /// Which one of several, counted from 0: the cgroup, the resource limit.
    pub index: u32,
    /// The system's error number.
    pub errno: i32,
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The steps from a request to a running command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Stage { $($(#[$doc])* $name,)* }

        impl Stage {
            pub(crate) fn number(self) -> u8 {
                match self { $(Stage::$name => $number,)* }
            }

            pub(crate) fn from_number(number: u8) -> Option<Stage> {
                match number { $($number => Some(Stage::$name),)* _ => None }
            }

            /// What could not be done, to be followed by the reason.
            pub fn describe(self) -> &'static str {
                match self { $(Stage::$name => $text,)* }
            }
        }
    };
}

stages! {
    /// The request itself: empty command, a NUL inside a string, a path that is not absolute.
    Request = 1, "the launch request is invalid";
    /// It was killed before it was begun, or the keeper is shutting down.
    Canceled = 2, "canceled before it started";
    /// Creating the first process.
    Clone = 3, "could not create a process";
    /// Setting up file descriptors.
    Files = 4, "could not set up stdin, stdout and stderr";
    /// Joining a cgroup.
    Cgroup = 5, "could not join a cgroup";
    /// A session of its own.
    Session = 6, "could not create a session";
    /// A mount namespace of its own.
    Mounts = 7, "could not create a mount namespace";
    /// A fresh `/proc`.
    Proc = 8, "could not mount /proc";
    /// Writing the `Started` record.
    Log = 9, "could not write the keeper's log";
    /// Waiting for that record.
    Gate = 10, "the keeper did not give leave to start";
    /// A resource limit.
    Rlimit = 11, "could not set a resource limit";
    /// Dropping capabilities.
    Capabilities = 12, "could not drop capabilities";
    /// Supplementary groups.
    Groups = 13, "could not set the supplementary groups";
    /// Group id.
    Gid = 14, "could not change the group id";
    /// User id.
    Uid = 15, "could not change the user id";
    /// No new privileges.
    NoNewPrivs = 16, "could not set no_new_privs";
    /// The working directory.
    Cwd = 17, "could not enter the working directory";
    /// Executing the command.
    Exec = 18, "could not execute the command";
    /// Entering the namespaces of a run, for a command beside it.
    Enter = 19, "could not enter the task's namespaces";
    /// A file system of its own for its secrets, and what it holds.
    Secrets = 20, "could not give it its secrets";
}

mod tag {
    pub(super) const WELCOME: u8 = 1;
    pub(super) const SPAWNED: u8 = 2;
    pub(super) const SPAWN_FAILED: u8 = 3;
    pub(super) const EXITED: u8 = 4;
    pub(super) const SIGNALED: u8 = 5;
    pub(super) const LISTED: u8 = 6;
    pub(super) const LIST_END: u8 = 7;
    pub(super) const REFUSED: u8 = 8;
    pub(super) const BYE: u8 = 9;
    pub(super) const BROKEN: u8 = 10;
    pub(super) const VISITED: u8 = 11;
}

impl Event {
    /// Appends this event as one frame. Events are small by nature; their texts are the keeper's own.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _fits = frames::append(out, |w| self.put(w));
    }

    fn put(&self, w: &mut Writer<'_>) {
        match self {
            Event::Welcome { version, pid, boot_id, build } => {
                w.u8(tag::WELCOME);
                w.u16(*version);
                w.i32(*pid);
                w.bytes16(boot_id);
                w.bytes(build.as_bytes());
            }
            Event::Spawned { run_id, pid, start_time } => {
                w.u8(tag::SPAWNED);
                w.run_id(*run_id);
                w.i32(*pid);
                w.u64(*start_time);
            }
            Event::SpawnFailed { run_id, failure } => {
                w.u8(tag::SPAWN_FAILED);
                w.run_id(*run_id);
                put_failure(w, failure);
            }
            Event::Exited { run_id, exit } => {
                w.u8(tag::EXITED);
                w.run_id(*run_id);
                put_exit(w, exit);
            }
            Event::Signaled { run_id, errno } => {
                w.u8(tag::SIGNALED);
                w.run_id(*run_id);
                w.i32(*errno);
            }
            Event::Visited { run_id, errno, pid, start_time, cgroup_procs } => {
                w.u8(tag::VISITED);
                w.run_id(*run_id);
                w.i32(*errno);
                w.i32(*pid);
                w.u64(*start_time);
                w.list(cgroup_procs, |w, path| w.bytes(path));
            }
            Event::Listed(run) => {
                w.u8(tag::LISTED);
                w.run_id(run.run_id);
                put_state(w, &run.state);
            }
            Event::ListEnd => w.u8(tag::LIST_END),
            Event::Refused { cause } => {
                w.u8(tag::REFUSED);
                put_cause(w, cause);
            }
            Event::Bye => w.u8(tag::BYE),
            Event::Broken { text } => {
                w.u8(tag::BROKEN);
                w.bytes(text.as_bytes());
            }
        }
    }

    /// Reads one frame's body.
    ///
    /// # Errors
    /// [`Malformed`] for anything that `encode` does not write.
    pub fn decode(body: &[u8]) -> Result<Event, Malformed> {
        let mut r = Reader::new(body);
        let event = match r.u8("event")? {
            tag::WELCOME => Event::Welcome {
                version: r.u16("version")?,
                pid: r.i32("pid")?,
                boot_id: r.bytes16("boot id")?,
                build: r.text("build")?,
            },
            tag::SPAWNED => {
                Event::Spawned { run_id: r.run_id()?, pid: r.i32("pid")?, start_time: r.u64("start time")? }
            }
            tag::SPAWN_FAILED => Event::SpawnFailed { run_id: r.run_id()?, failure: get_failure(&mut r)? },
            tag::EXITED => Event::Exited { run_id: r.run_id()?, exit: get_exit(&mut r)? },
            tag::SIGNALED => Event::Signaled { run_id: r.run_id()?, errno: r.i32("errno")? },
            tag::LISTED => Event::Listed(Run { run_id: r.run_id()?, state: get_state(&mut r)? }),
            tag::LIST_END => Event::ListEnd,
            tag::REFUSED => Event::Refused { cause: get_cause(&mut r)? },
            tag::BYE => Event::Bye,
            tag::BROKEN => Event::Broken { text: r.text("text")? },
            tag::VISITED => Event::Visited {
                run_id: r.run_id()?,
                errno: r.i32("errno")?,
                pid: r.i32("pid")?,
                start_time: r.u64("start time")?,
                cgroup_procs: r.list("cgroups", 4, |r| r.bytes("cgroup"))?,
            },
            0 | 12.. => return Err(Malformed { what: "known event" }),
        };
        r.end()?;
        Ok(event)
    }
}

fn put_state(w: &mut Writer<'_>, state: &RunState) {
    match state {
        RunState::Starting => w.u8(0),
        RunState::Running { pid, start_time } => {
            w.u8(1);
            w.i32(*pid);
            w.u64(*start_time);
        }
        RunState::Exited(exit) => {
            w.u8(2);
            put_exit(w, exit);
        }
        RunState::Failed(failure) => {
            w.u8(3);
            put_failure(w, failure);
        }
    }
}

fn get_state(r: &mut Reader<'_>) -> Result<RunState, Malformed> {
    Ok(match r.u8("state")? {
        0 => RunState::Starting,
        1 => RunState::Running { pid: r.i32("pid")?, start_time: r.u64("start time")? },
        2 => RunState::Exited(get_exit(r)?),
        3 => RunState::Failed(get_failure(r)?),
        4.. => return Err(Malformed { what: "known state" }),
    })
}

fn put_cause(w: &mut Writer<'_>, cause: &Cause) {
    match cause {
        Cause::RunsAlive(count) => {
            w.u8(0);
            w.u32(*count);
        }
        Cause::NotEnded(run_id) => {
            w.u8(1);
            w.run_id(*run_id);
        }
    }
}

fn get_cause(r: &mut Reader<'_>) -> Result<Cause, Malformed> {
    Ok(match r.u8("cause")? {
        0 => Cause::RunsAlive(r.u32("count")?),
        1 => Cause::NotEnded(r.run_id()?),
        2.. => return Err(Malformed { what: "known cause" }),
    })
}

pub(crate) fn put_exit(w: &mut Writer<'_>, exit: &Exit) {
    let (kind, value) = match exit.how {
        How::Code(code) => (0, code),
        How::Signal(signal) => (1, signal),
        How::Lost(Loss::Rebooted) => (2, 0),
        How::Lost(Loss::KeeperDied) => (2, 1),
    };
    w.u8(kind);
    w.i32(value);
    w.u64(exit.rusage.user_us);
    w.u64(exit.rusage.system_us);
    w.u64(exit.rusage.max_rss_bytes);
    w.u64(exit.at_ms);
}

pub(crate) fn get_exit(r: &mut Reader<'_>) -> Result<Exit, Malformed> {
    let kind = r.u8("kind of exit")?;
    let value = r.i32("exit value")?;
    let how = match (kind, value) {
        (0, code) => How::Code(code),
        (1, signal) => How::Signal(signal),
        (2, 0) => How::Lost(Loss::Rebooted),
        (2, 1) => How::Lost(Loss::KeeperDied),
        (_, _) => return Err(Malformed { what: "known kind of exit" }),
    };
    Ok(Exit {
        how,
        rusage: Rusage {
            user_us: r.u64("user time")?,
            system_us: r.u64("system time")?,
            max_rss_bytes: r.u64("peak memory")?,
        },
        at_ms: r.u64("time")?,
    })
}

pub(crate) fn put_failure(w: &mut Writer<'_>, failure: &Failure) {
    w.u8(failure.stage.number());
    w.u32(failure.index);
    w.i32(failure.errno);
}

pub(crate) fn get_failure(r: &mut Reader<'_>) -> Result<Failure, Malformed> {
    let stage = Stage::from_number(r.u8("stage")?).ok_or(Malformed { what: "known stage" })?;
    Ok(Failure { stage, index: r.u32("index")?, errno: r.i32("errno")? })
}
