//! The handle an agent holds, and the start of everything behind it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_keeper::protocol::{RunId, Spawn};
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::engine::{Command, Engine, Parts};
use crate::enter::{self, Guest, TerminalSize};
use crate::event::{Event, StartFailure, Usage};
use crate::launch::Launch;
use crate::link::Place;
use crate::needs::Needs;
use crate::report::Report;
use crate::visit::Visited;
use crate::volumes::{Removed, VolumeDir};
use crate::workshop::{Job, Workshop};
use crate::{binary, cgroups, link, probe, request, sandbox};

/// Why a containerizer could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The work directory cannot be used.
    #[error("work directory {}: {source}", path.display())]
    WorkDir {
        /// The directory or the file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no keeper to be had.
    #[error("{0}")]
    Keeper(String),
    /// The system gives no thread.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
}

/// A handle; clones are the same containerizer. When all are dropped tasks and keeper go on.
#[derive(Debug, Clone)]
pub struct Containerizer {
    commands: mpsc::UnboundedSender<Command>,
    report: Arc<Report>,
    place: Arc<Place>,
    boot_id: [u8; 16],
    keeper_pid: i32,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Containerizer {
    /// Finds or starts the keeper of the work directory, tries what isolation there is, and takes over what runs. The
    /// first event is [`Event::Recovered`].
    ///
    /// # Errors
    /// Without a usable work directory or keeper. Lack of isolation is no error: it is in the report.
    pub async fn start(config: Config) -> Result<(Containerizer, mpsc::UnboundedReceiver<Event>), Error> {
        let setup = config.clone();
        let (place, detected) = blocking(move || set_up(&setup)).await??;
        let keeper = |e: &dyn std::fmt::Display| Error::Keeper(e.to_string());
        let (mut connection, greeting) = link::open(&place).await.map_err(|e| keeper(&e))?;
        let probed =
            probe::probe(&mut connection, &place.program.path, detected).await.map_err(|e| keeper(&e))?;
        let report = Arc::new(probed.report);

        let (events_in, events) = mpsc::unbounded_channel();
        let (done_in, done) = mpsc::unbounded_channel();
        let (commands, commands_out) = mpsc::unbounded_channel();
        let trees = probed.cgroups;
        let (jobs, job_inbox) = std::sync::mpsc::channel();
        let kept_place = Arc::new(place.clone());
        let (mut engine, inboxes) = Engine::new(Parts {
            events: events_in,
            jobs,
            report: report.clone(),
            place,
            connection,
            needs: Needs::new(&config),
            commands: commands_out,
            done,
        });
        engine.recover(&greeting, &trees, probed.meanwhile);
        engine.job(Job::Sweep(engine.known()));
        let workshop = Workshop {
            work_dir: std::path::absolute(&config.work_dir).unwrap_or(config.work_dir),
            cgroups: trees,
            cpu_quota: config.cpu_quota,
            allow_root: config.allow_root,
            users: why_off(&report.users),
            pid_namespaces: report.pid_namespace.is_enforced(),
        };
        workshop.start(job_inbox, done_in).map_err(Error::Thread)?;
        tokio::spawn(engine.run(inboxes));
        let handle = Containerizer {
            commands,
            report,
            place: kept_place,
            boot_id: greeting.boot_id,
            keeper_pid: greeting.pid,
        };
        Ok((handle, events))
    }

    /// Starts a run, unless its id is known already. Answered by events.
    pub fn launch(&self, launch: Launch) {
        self.ask(Command::Launch(Box::new(launch)));
    }

    /// Ends a run: TERM to its process group now, and KILL to all its processes after `grace`. One that has not started
    /// yet does not start. Ending one that is over is no error.
    pub fn kill(&self, run_id: RunId, grace: Duration) {
        self.ask(Command::Kill(run_id, grace));
    }

    /// Forgets a run that is over and removes its cgroups. To be called once the agent has its end on its own disk: after
    /// this nobody else remembers it. The sandbox stays; it is the agent's to collect.
    pub fn destroy(&self, run_id: RunId) {
        self.ask(Command::Destroy(run_id));
    }

    /// Deletes what is on a volume, tries until it is done, and then tells. What was launched before and has the volume is
    /// prepared, or called off, by then: nothing of it comes into being again.
    pub fn remove_volume(&self, volume: VolumeDir, removed: Removed) {
        self.ask(Command::RemoveVolume(volume, removed));
    }

    /// What a run uses at the moment; nothing where no cgroup tells, or for a run that is not there.
    pub async fn usage(&self, run_id: RunId) -> Usage {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Usage(run_id, answer));
        answered.await.unwrap_or_default()
    }

    /// Runs a command beside a run that runs: in its namespaces, cgroups and sandbox, as its user, with the environment and
    /// arguments of `launch`, which otherwise is as that of the run. It ends when the run does, and when the guest is dropped.
    ///
    /// # Errors
    /// The run does not run, or the system refuses.
    pub async fn enter(&self, launch: Launch, terminal: Option<TerminalSize>) -> Result<Guest, StartFailure> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Visit(Box::new(launch), answer));
        let visited = answered.await.unwrap_or(Err(StartFailure::KeeperAway))?;
        let Visited { pid, start_time, launch, prepared } = visited;
        let spawn = Spawn { output: None, ..request::spawn(&launch, prepared, &self.report) };
        Guest::begin(&self.place, pid, start_time, spawn, terminal)
    }

    /// What isolation this node has.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The kernel's boot id. A task launched under another one is gone, whether or not the keeper ever heard of it.
    pub fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// The keeper's process id at start; another keeper may have taken its place since.
    pub fn keeper_pid(&self) -> i32 {
        self.keeper_pid
    }

    /// Ends the keeper for good, and with it this containerizer; for taking a node out of use. With `kill` all runs are
    /// killed, else the number of runs alive is the refusal.
    ///
    /// # Errors
    /// How many runs are alive.
    pub async fn end_keeper(&self, kill: bool) -> Result<(), u32> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::EndKeeper { kill, answer });
        // Without an engine there is no link, and whether there is a keeper is not ours to say.
        answered.await.unwrap_or(Ok(()))
    }

    /// Without an engine (the runtime is shutting down) there is nobody to ask, and no event will come.
    fn ask(&self, command: Command) {
        let _shutting_down = self.commands.send(command);
    }
}

fn why_off(isolation: &crate::Isolation) -> Result<(), String> {
    match isolation {
        crate::Isolation::Enforced { .. } => Ok(()),
        crate::Isolation::Off { why } => Err(why.clone()),
    }
}

/// Directories, the keeper's program, and the controllers that work.
fn set_up(config: &Config) -> Result<(Place, cgroups::Detected), Error> {
    let trouble = |path: PathBuf| move |source| Error::WorkDir { path, source };
    let dir = config.work_dir.join("keeper");
    std::fs::create_dir_all(&dir).map_err(trouble(dir.clone()))?;
    // Its log holds the commands and how they ended: other users' tasks pass by on their way to their sandboxes.
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&dir, private).map_err(trouble(dir.clone()))?;
    enter::sweep(&dir);
    let program = binary::install(&config.work_dir).map_err(trouble(config.work_dir.join("bin")))?;
    // The keeper takes no relative path, and must not depend on where the agent stands.
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(trouble(path));
    let place =
        Place { dir: absolute(dir)?, program: binary::Program { path: absolute(program.path)?, ..program } };
    let mounts = cgroups::of_this_process().unwrap_or_default();
    let detected = cgroups::detect(&mounts, &config.cgroups_root, &sandbox::escape(&config.agent));
    Ok((place, detected))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let lost = |e: tokio::task::JoinError| Error::Thread(io::Error::other(e));
    tokio::task::spawn_blocking(work).await.map_err(lost)
}
