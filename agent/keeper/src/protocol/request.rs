//! What an agent asks of its keeper.

use super::{Malformed, Reader, RunId, TooLong, Writer, frames};

/// A request. None needs an answer before the next may be sent; many in one write is the intended use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens the conversation; must come first.
    Hello {
        /// The newest protocol version the agent speaks.
        version: u16,
    },
    /// Start a command once. For a run already known nothing is started; what is known is answered.
    Spawn(Box<Spawn>),
    /// Send a signal to a run. Answered by [`Event::Signaled`](super::Event::Signaled).
    Signal {
        /// The run.
        run_id: RunId,
        /// The signal's number.
        signal: i32,
        /// All processes of the run, not only the process group of its command.
        whole_tree: bool,
    },
    /// Forget a run that has ended: the agent has its end on its own disk.
    Forget {
        /// The run.
        run_id: RunId,
    },
    /// Tell every run known: waiting, running, and ended but not forgotten.
    List,
    /// Somebody will run a command beside this run ([`Visit`](super::Visit)): answered by
    /// [`Event::Visited`](super::Event::Visited), and its namespaces are given to no other run after it.
    Visit {
        /// The run.
        run_id: RunId,
    },
    /// End the keeper. Refused while runs are alive unless `kill` is set.
    Shutdown {
        /// Kill what runs first.
        kill: bool,
    },
}

/// A command to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// Names this incarnation.
    pub run_id: RunId,
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, as `KEY=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// Absolute working directory.
    pub cwd: Vec<u8>,
    /// Who to be; `None` keeps the keeper's own identity.
    pub user: Option<User>,
    /// Files the first process writes `0` to in order to join cgroups: `cgroup.procs`, or on cgroup v1 `tasks`, which
    /// spares the kernel's global lock for a process of one thread.
    pub cgroup_procs: Vec<Vec<u8>>,
    /// A pid namespace of its own, with the keeper's small init as its first process.
    pub pid_namespace: bool,
    /// A mount namespace of its own, nothing propagated out; with `pid_namespace` also a fresh `/proc`.
    pub mount_namespace: bool,
    /// Set `no_new_privs`, so that set-uid programs give nothing.
    pub no_new_privs: bool,
    /// Capabilities to take from the bounding set, one bit each.
    pub dropped_capabilities: u64,
    /// Resource limits to set.
    pub rlimits: Vec<Rlimit>,
    /// Where stdout and stderr go; `None` discards both.
    pub output: Option<Output>,
    /// Files that only this run sees; needs `mount_namespace`. Nobody but the run's own processes and root can read them, and
    /// they are in memory only.
    pub secrets: Option<Secrets>,
}

/// Files in a file system of a run's own, which ends with the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The directory in whose place they are, absolute. It is there, and hidden from the run alone.
    pub dir: Vec<u8>,
    /// They.
    pub files: Vec<SecretFile>,
}

/// A file that only a run sees.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// Its name, without `/`.
    pub name: Vec<u8>,
    /// What it holds.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for SecretFile {
    /// Without what it holds: it must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({} bytes)", String::from_utf8_lossy(&self.name), self.content.len())
    }
}

/// A user's identity in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// One resource limit, as `setrlimit(2)` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*` number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Where a run's output is kept: `stdout`, `stderr`, and their rotated forms `stdout.1` (newest) and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Absolute directory; files appear at the first byte.
    pub dir: Vec<u8>,
    /// A file is rotated before it grows beyond this.
    pub file_bytes_max: u64,
    /// Rotated files kept beside the current one; with 0 a full file starts over.
    pub rotated_max: u32,
}

mod tag {
    pub(super) const HELLO: u8 = 1;
    pub(super) const SPAWN: u8 = 2;
    pub(super) const SIGNAL: u8 = 3;
    pub(super) const FORGET: u8 = 4;
    pub(super) const LIST: u8 = 5;
    pub(super) const SHUTDOWN: u8 = 6;
    pub(super) const VISIT: u8 = 7;
    /// A spawn with secrets behind it, since version 3.
    pub(super) const SPAWN_WITH_SECRETS: u8 = 8;
}

impl Request {
    /// Appends this request as one frame.
    ///
    /// # Errors
    /// [`TooLong`] if it does not fit; `out` is then as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        frames::append(out, |w| match self {
            Request::Hello { version } => {
                w.u8(tag::HELLO);
                w.u16(*version);
            }
            Request::Spawn(spawn) => match &spawn.secrets {
                None => {
                    w.u8(tag::SPAWN);
                    put_spawn(w, spawn);
                }
                Some(secrets) => {
                    w.u8(tag::SPAWN_WITH_SECRETS);
                    put_spawn(w, spawn);
                    put_secrets(w, secrets);
                }
            },
            Request::Signal { run_id, signal, whole_tree } => {
                w.u8(tag::SIGNAL);
                w.run_id(*run_id);
                w.i32(*signal);
                w.flag(*whole_tree);
            }
            Request::Forget { run_id } => {
                w.u8(tag::FORGET);
                w.run_id(*run_id);
            }
            Request::List => w.u8(tag::LIST),
            Request::Visit { run_id } => {
                w.u8(tag::VISIT);
                w.run_id(*run_id);
            }
            Request::Shutdown { kill } => {
                w.u8(tag::SHUTDOWN);
                w.flag(*kill);
            }
        })
    }

    /// Reads one frame's body.
    ///
    /// # Errors
    /// [`Malformed`] for anything that `encode` does not write.
    pub fn decode(body: &[u8]) -> Result<Request, Malformed> {
        let mut r = Reader::new(body);
        let request = match r.u8("request")? {
            tag::HELLO => Request::Hello { version: r.u16("version")? },
            tag::SPAWN => Request::Spawn(Box::new(get_spawn(&mut r)?)),
            tag::SIGNAL => Request::Signal {
                run_id: r.run_id()?,
                signal: r.i32("signal")?,
                whole_tree: r.flag("whole tree")?,
            },
            tag::FORGET => Request::Forget { run_id: r.run_id()? },
            tag::LIST => Request::List,
            tag::SHUTDOWN => Request::Shutdown { kill: r.flag("kill")? },
            tag::VISIT => Request::Visit { run_id: r.run_id()? },
            tag::SPAWN_WITH_SECRETS => {
                let spawn = get_spawn(&mut r)?;
                Request::Spawn(Box::new(Spawn { secrets: Some(get_secrets(&mut r)?), ..spawn }))
            }
            0 | 9.. => return Err(Malformed { what: "known request" }),
        };
        r.end()?;
        Ok(request)
    }
}

/// Appends a command alone, without frame, tag and secrets: it may go into a file.
pub(crate) fn encode_spawn(spawn: &Spawn, out: &mut Vec<u8>) {
    put_spawn(&mut Writer::new(out), spawn);
}

/// Reads what [`encode_spawn`] wrote.
pub(crate) fn decode_spawn(body: &[u8]) -> Result<Spawn, Malformed> {
    let mut r = Reader::new(body);
    let spawn = get_spawn(&mut r)?;
    r.end()?;
    Ok(spawn)
}

fn put_spawn(w: &mut Writer<'_>, spawn: &Spawn) {
    w.run_id(spawn.run_id);
    w.list(&spawn.argv, |w, word| w.bytes(word));
    w.list(&spawn.env, |w, pair| w.bytes(pair));
    w.bytes(&spawn.cwd);
    w.flag(spawn.user.is_some());
    if let Some(user) = &spawn.user {
        w.u32(user.uid);
        w.u32(user.gid);
        w.list(&user.groups, |w, group| w.u32(*group));
    }
    w.list(&spawn.cgroup_procs, |w, path| w.bytes(path));
    w.flag(spawn.pid_namespace);
    w.flag(spawn.mount_namespace);
    w.flag(spawn.no_new_privs);
    w.u64(spawn.dropped_capabilities);
    w.list(&spawn.rlimits, |w, limit| {
        w.u32(limit.resource);
        w.u64(limit.soft);
        w.u64(limit.hard);
    });
    w.flag(spawn.output.is_some());
    if let Some(output) = &spawn.output {
        w.bytes(&output.dir);
        w.u64(output.file_bytes_max);
        w.u32(output.rotated_max);
    }
}

fn get_spawn(r: &mut Reader<'_>) -> Result<Spawn, Malformed> {
    Ok(Spawn {
        run_id: r.run_id()?,
        argv: r.list("arguments", 4, |r| r.bytes("argument"))?,
        env: r.list("environment", 4, |r| r.bytes("variable"))?,
        cwd: r.bytes("working directory")?,
        user: if r.flag("user")? {
            Some(User {
                uid: r.u32("uid")?,
                gid: r.u32("gid")?,
                groups: r.list("groups", 4, |r| r.u32("group"))?,
            })
        } else {
            None
        },
        cgroup_procs: r.list("cgroups", 4, |r| r.bytes("cgroup"))?,
        pid_namespace: r.flag("pid namespace")?,
        mount_namespace: r.flag("mount namespace")?,
        no_new_privs: r.flag("no new privileges")?,
        dropped_capabilities: r.u64("capabilities")?,
        rlimits: r.list("resource limits", 20, |r| {
            Ok(Rlimit {
                resource: r.u32("resource")?,
                soft: r.u64("soft limit")?,
                hard: r.u64("hard limit")?,
            })
        })?,
        output: if r.flag("output")? {
            Some(Output {
                dir: r.bytes("output directory")?,
                file_bytes_max: r.u64("file size")?,
                rotated_max: r.u32("rotated files")?,
            })
        } else {
            None
        },
        secrets: None,
    })
}

fn put_secrets(w: &mut Writer<'_>, secrets: &Secrets) {
    w.bytes(&secrets.dir);
    w.list(&secrets.files, |w, file| {
        w.bytes(&file.name);
        w.bytes(&file.content);
    });
}

fn get_secrets(r: &mut Reader<'_>) -> Result<Secrets, Malformed> {
    let dir = r.bytes("directory of secrets")?;
    let files = r.list("secrets", 8, |r| {
        Ok(SecretFile { name: r.bytes("name of a secret")?, content: r.bytes("secret")? })
    })?;
    Ok(Secrets { dir, files })
}
