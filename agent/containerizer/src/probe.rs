//! Trying what the keeper can do here: throw-away runs, each asking for one kind of isolation, say what holds and why not.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use agent_keeper::protocol::{Event, Failure, How, Request, RunId, Spawn, Stage, User};

use crate::cgroups::{Cgroups, Detected};
use crate::isolate::Limits;
use crate::link::Connection;
use crate::report::{Isolation, Report};
use crate::request::DROPPED_CAPABILITIES;

/// The result of the trials.
pub(crate) struct Probed {
    pub(crate) report: Report,
    /// The trees whose cgroups can be joined.
    pub(crate) cgroups: Cgroups,
    /// Events about other runs that came meanwhile.
    pub(crate) meanwhile: Vec<Event>,
}

/// The least privileged user there is, by convention.
const NOBODY: u32 = 65_534;

/// Tries everything; takes some milliseconds.
///
/// # Errors
/// Those of the connection, and `Other` if not even a plain process can be started.
pub(crate) async fn probe(
    connection: &mut Connection,
    program: &Path,
    mut detected: Detected,
) -> io::Result<Probed> {
    let mut trials = Trials::new();
    let plain = trials.add(program, |_| {});
    let pid_namespace = trials.add(program, |spawn| spawn.pid_namespace = true);
    let mount_namespace = trials.add(program, |spawn| spawn.mount_namespace = true);
    let fresh_proc = trials.add(program, |spawn| {
        spawn.pid_namespace = true;
        spawn.mount_namespace = true;
    });
    let capabilities = trials.add(program, |spawn| spawn.dropped_capabilities = DROPPED_CAPABILITIES);
    let users = trials.add(program, |spawn| {
        spawn.user = Some(User { uid: NOBODY, gid: NOBODY, groups: vec![NOBODY] });
    });
    let mut joins = Vec::new();
    for tree in &detected.cgroups.trees {
        joins.push(trials.add(program, |spawn| {
            let path = tree.join_file(spawn.run_id);
            spawn.cgroup_procs = vec![path.as_os_str().as_bytes().to_vec()];
        }));
    }
    for spawn in trials.spawns.iter().filter(|spawn| !spawn.cgroup_procs.is_empty()) {
        // A tree it cannot be made in fails at joining, with the same reason.
        let _told_by_joining = detected.cgroups.create(spawn.run_id, &Limits::default(), true);
    }
    let meanwhile = trials.run(connection).await?;
    for spawn in &trials.spawns {
        detected.cgroups.remove(spawn.run_id);
    }
    if let Some(failure) = trials.failure(plain) {
        let why = format!("not even a plain process can be started: {}", describe(failure));
        return Err(io::Error::other(why));
    }

    let verdict = |trial, by: &str| match trials.failure(trial) {
        None => Isolation::by(by),
        Some(failure) => Isolation::off(describe(failure)),
    };
    let pid_namespace = verdict(pid_namespace, "pid namespace");
    let mount_namespace = match (&pid_namespace, verdict(mount_namespace, "mount namespace")) {
        // Both together mount a fresh /proc, which some sandboxes forbid though they allow the rest.
        (Isolation::Enforced { .. }, Isolation::Enforced { .. }) => verdict(fresh_proc, "mount namespace"),
        (_, alone) => alone,
    };
    let users = match trials.failure(users) {
        // Whether the program may be executed by others is not the question.
        Some(Failure { stage: Stage::Exec | Stage::Cwd, .. }) | None => Isolation::by("set-uid"),
        Some(failure) => Isolation::off(describe(failure)),
    };

    let mut unjoinable = Vec::new();
    let mut joins = joins.into_iter();
    detected.cgroups.trees.retain(|tree| match joins.next().and_then(|trial| trials.failure(trial)) {
        None => true,
        Some(failure) => {
            unjoinable
                .extend(tree.isolators.iter().map(|isolator| (isolator.controller(), describe(failure))));
            false
        }
    });
    let controller = |name: &str| match unjoinable.iter().find(|(controller, _)| *controller == name) {
        Some((_, why)) => Isolation::off(why),
        None => detected.verdict(name),
    };
    let can_kill = |dir: &Path| dir.join("cgroup.kill").exists();
    let kill = if pid_namespace.is_enforced() {
        Isolation::by("pid namespace")
    } else if detected.cgroups.trees.iter().any(|tree| can_kill(&tree.base)) {
        Isolation::by("cgroup.kill")
    } else if detected.cgroups.trees.is_empty() {
        Isolation::off("neither pid namespace nor cgroup: what leaves its process group escapes")
    } else {
        Isolation::by("cgroup, process by process")
    };
    let report = Report {
        cpu: controller("cpu"),
        memory: controller("memory"),
        pids: controller("pids"),
        pid_namespace,
        mount_namespace,
        users,
        capabilities: verdict(capabilities, "bounding set"),
        kill,
    };
    Ok(Probed { report, cgroups: detected.cgroups, meanwhile })
}

fn describe(failure: Failure) -> String {
    format!("{}: {}", failure.stage.describe(), io::Error::from_raw_os_error(failure.errno))
}

/// Throw-away runs and what became of them.
struct Trials {
    seed: u64,
    spawns: Vec<Spawn>,
    failures: Vec<Option<Failure>>,
}

impl Trials {
    fn new() -> Trials {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
        Trials { seed, spawns: Vec::new(), failures: Vec::new() }
    }

    /// Adds a trial; its number.
    fn add(&mut self, program: &Path, ask: impl FnOnce(&mut Spawn)) -> usize {
        let number = self.spawns.len();
        // Unlike any id an agent draws: marked, and of this moment.
        let mut id = *b"stoa-try________";
        id[8..].copy_from_slice(&self.seed.wrapping_add(number as u64).to_le_bytes());
        let mut spawn = Spawn {
            run_id: RunId(id),
            argv: vec![program.as_os_str().as_bytes().to_vec(), b"probe".to_vec()],
            env: Vec::new(),
            cwd: b"/".to_vec(),
            user: None,
            cgroup_procs: Vec::new(),
            pid_namespace: false,
            mount_namespace: false,
            no_new_privs: true,
            dropped_capabilities: 0,
            rlimits: Vec::new(),
            output: None,
            secrets: None,
        };
        ask(&mut spawn);
        self.spawns.push(spawn);
        self.failures.push(None);
        number
    }

    fn failure(&self, number: usize) -> Option<Failure> {
        self.failures.get(number).copied().flatten()
    }

    /// Runs all to the end and forgets them; events about other runs are handed back.
    async fn run(&mut self, connection: &mut Connection) -> io::Result<Vec<Event>> {
        let requests: Vec<_> =
            self.spawns.iter().map(|spawn| Request::Spawn(Box::new(spawn.clone()))).collect();
        connection.send(&requests).await?;
        let mut left = self.spawns.len();
        let mut others = Vec::new();
        while left > 0 {
            let event = connection.event().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let end = match &event {
                Event::SpawnFailed { run_id, failure } => Some((*run_id, Some(*failure))),
                Event::Exited { run_id, exit } => {
                    // Executed, and that is what was asked.
                    if exit.how != How::Code(0) {
                        tracing::debug!(%run_id, how = ?exit.how, "trial ended unexpectedly");
                    }
                    Some((*run_id, None))
                }
                _ => None,
            };
            let number = |id| self.spawns.iter().position(|spawn| spawn.run_id == id);
            match end.and_then(|(id, failure)| Some((number(id)?, failure))) {
                Some((number, failure)) => {
                    if let Some(place) = self.failures.get_mut(number) {
                        *place = failure;
                    }
                    left -= 1;
                }
                None => others.push(event),
            }
        }
        let forgets: Vec<_> =
            self.spawns.iter().map(|spawn| Request::Forget { run_id: spawn.run_id }).collect();
        connection.send(&forgets).await?;
        others.retain(|event| match event {
            Event::Spawned { run_id, .. } => !self.spawns.iter().any(|spawn| spawn.run_id == *run_id),
            _ => true,
        });
        Ok(others)
    }
}
