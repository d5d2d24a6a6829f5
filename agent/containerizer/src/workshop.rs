//! The thread that may wait: sandboxes, users, cgroups, in the order they were asked for.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use agent_keeper::protocol::{self, RunId};
use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use crate::cgroups::{Cgroups, Removed};
use crate::event::{Exit, StartFailure, Usage};
use crate::isolate::Limits;
use crate::launch::Launch;
use crate::sandbox;
use crate::secrets::{self, Secret};
use crate::users::{User, Users};
use crate::volumes::{self, Removed as VolumeRemoved, Remover, VolumeDir};

/// Something to do.
pub(crate) enum Job {
    /// Make what a launch needs. Answered by [`Done::Prepared`].
    Prepare(Box<Launch>),
    /// Find what a command beside a run needs, which joins its cgroups by these files.
    Visit(Box<Launch>, Vec<PathBuf>, oneshot::Sender<Result<(Box<Launch>, Prepared), StartFailure>>),
    /// A run is over: what do its cgroups say? Answered by [`Done::Ended`].
    Ended(RunId, protocol::Exit),
    /// Kill all of a run's processes that its cgroups know.
    Kill(RunId),
    /// Remove a run's cgroups, killing what is left in them.
    Remove(RunId),
    /// Tell what a run uses.
    Measure(RunId, oneshot::Sender<Usage>),
    /// Delete what is on a volume. In this queue, so that it is behind whatever still makes something of it.
    RemoveVolume(VolumeDir, VolumeRemoved),
    /// Remove the cgroups of all runs but these.
    Sweep(HashSet<RunId>),
}

/// What came of it. Sent in batches.
pub(crate) enum Done {
    /// The launch is ready for its artifacts and then the keeper, or failed.
    Prepared(Box<Launch>, Result<Prepared, StartFailure>),
    /// The end of a run, complete.
    Ended(RunId, Exit),
}

/// What was made for a launch.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) sandbox: PathBuf,
    /// `None` keeps the agent's identity.
    pub(crate) user: Option<User>,
    pub(crate) cgroup_procs: Vec<PathBuf>,
    /// Whether the run gets a pid namespace.
    pub(crate) pid_namespace: bool,
    /// What it is given in confidence, once it is there.
    pub(crate) secrets: Vec<Secret>,
}

/// Most answers in one batch: enough to share a wake-up, few enough not to keep the first waiting.
const BATCH: usize = 16;

/// Cgroups with a dying process in them are tried again after this long.
const RETRY: Duration = Duration::from_millis(10);

/// And given up after this; the next start of the agent sweeps them.
const RETRY_PATIENCE: Duration = Duration::from_secs(30);

/// The number of the user who may do everything.
const ROOT: u32 = 0;

/// The thread's own tools.
pub(crate) struct Workshop {
    pub(crate) work_dir: PathBuf,
    pub(crate) cgroups: Cgroups,
    pub(crate) cpu_quota: bool,
    pub(crate) allow_root: bool,
    /// Whether a process may become another user, and if not why.
    pub(crate) users: Result<(), String>,
    pub(crate) pid_namespaces: bool,
}

impl Workshop {
    /// Starts the thread. It ends when nobody can send it jobs any more.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        self,
        inbox: mpsc::Receiver<Job>,
        answers: tokio_mpsc::UnboundedSender<Vec<Done>>,
    ) -> std::io::Result<()> {
        let remover = Remover::new(self.work_dir.clone());
        let bench = Bench { workshop: self, known: Users::default(), busy: Vec::new(), remover };
        thread::Builder::new().name("containerizer".to_owned()).spawn(move || bench.run(&inbox, &answers))?;
        Ok(())
    }
}

struct Bench {
    workshop: Workshop,
    known: Users,
    /// Runs whose cgroups could not be removed yet, and since when.
    busy: Vec<(RunId, Instant)>,
    remover: Remover,
}

impl Bench {
    fn run(mut self, inbox: &mpsc::Receiver<Job>, answers: &tokio_mpsc::UnboundedSender<Vec<Done>>) {
        loop {
            let first = if self.busy.is_empty() {
                inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(RETRY)
            };
            let mut done = Vec::new();
            match first {
                Ok(job) => done.extend(self.work(job)),
                Err(mpsc::RecvTimeoutError::Timeout) => self.retry(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            while done.len() < BATCH
                && let Ok(job) = inbox.try_recv()
            {
                done.extend(self.work(job));
            }
            if !done.is_empty() && answers.send(done).is_err() {
                return;
            }
        }
    }

    fn work(&mut self, job: Job) -> Option<Done> {
        match job {
            Job::Prepare(launch) => {
                let result = self.prepare(&launch);
                return Some(Done::Prepared(launch, result));
            }
            Job::Visit(launch, cgroup_procs, answer) => {
                let found = self.find(&launch, cgroup_procs).map(|found| (launch, found));
                let _asker_gone = answer.send(found);
            }
            Job::Ended(run_id, exit) => {
                // What ended well lacked no memory that it needed.
                let oom = exit.how != protocol::How::Code(0) && self.workshop.cgroups.has_oom(run_id);
                if !self.workshop.pid_namespaces {
                    // What left the process group has outlived the task so far.
                    self.workshop.cgroups.kill(run_id);
                }
                return Some(Done::Ended(run_id, Exit::new(&exit, oom)));
            }
            Job::Kill(run_id) => self.workshop.cgroups.kill(run_id),
            Job::Remove(run_id) => self.remove(run_id, Instant::now()),
            Job::Measure(run_id, answer) => {
                let _asker_gone = answer.send(self.workshop.cgroups.usage(run_id));
            }
            Job::RemoveVolume(volume, removed) => self.remover.remove(volume, removed),
            Job::Sweep(known) => {
                for run_id in self.workshop.cgroups.strays(&known) {
                    tracing::info!(%run_id, "removing the cgroups of a run nobody knows");
                    self.remove(run_id, Instant::now());
                }
            }
        }
        None
    }

    fn remove(&mut self, run_id: RunId, since: Instant) {
        if self.workshop.cgroups.remove(run_id) == Removed::Done {
            return;
        }
        if since.elapsed() > RETRY_PATIENCE {
            tracing::warn!(%run_id, "its cgroups cannot be removed: a process in them does not die");
            return;
        }
        self.workshop.cgroups.kill(run_id);
        self.busy.push((run_id, since));
    }

    fn retry(&mut self) {
        for (run_id, since) in std::mem::take(&mut self.busy) {
            self.remove(run_id, since);
        }
    }

    /// What was prepared for a run that runs.
    fn find(&mut self, launch: &Launch, cgroup_procs: Vec<PathBuf>) -> Result<Prepared, StartFailure> {
        let sandbox = launch.sandbox.path(&self.workshop.work_dir);
        let user = self.user_of_run(launch, &sandbox)?;
        let workshop = &self.workshop;
        Ok(Prepared {
            sandbox,
            user,
            cgroup_procs,
            pid_namespace: workshop.pid_namespaces && launch.pid_namespace != crate::Need::Unwanted,
            secrets: Vec::new(),
        })
    }

    /// Who a run is that runs: the owner of its sandbox, which it cannot give away. The settings of the agent may have
    /// changed since it was started.
    fn user_of_run(&mut self, launch: &Launch, sandbox: &Path) -> Result<Option<User>, StartFailure> {
        let owner = std::fs::symlink_metadata(sandbox)
            .map_err(|e| StartFailure::Sandbox(format!("{}: {e}", sandbox.display())))?;
        let own = rustix::process::geteuid().as_raw();
        match self.user(launch) {
            Ok(user) if user.as_ref().map_or(own, |user| user.uid) == owner.uid() => return Ok(user),
            Ok(_) if owner.uid() == ROOT && !self.workshop.allow_root => {
                return Err(StartFailure::RootForbidden);
            }
            Err(StartFailure::RootForbidden) if owner.uid() != ROOT => {}
            Ok(_) => {}
            Err(e) => return Err(e),
        }
        if owner.uid() == own && own != ROOT {
            return Ok(None);
        }
        if let Err(why) = &self.workshop.users {
            return Err(StartFailure::NotIsolated { isolation: "a user of its own", why: why.clone() });
        }
        // Its name is not known, and so the other groups are not: rather fewer rights than too many.
        Ok(Some(User { uid: owner.uid(), gid: owner.gid(), groups: Vec::new() }))
    }

    /// Who a launch is to be; `None` keeps the agent's identity.
    fn user(&mut self, launch: &Launch) -> Result<Option<User>, StartFailure> {
        let workshop = &self.workshop;
        let user = match &launch.user {
            None => None,
            Some(name) => {
                let unknown = || StartFailure::UnknownUser(name.clone());
                Some(self.known.find(name).ok_or_else(unknown)?)
            }
        };
        // An agent that is no root can run tasks as itself, whatever the name it is asked for by.
        let own = rustix::process::geteuid().as_raw();
        let user = match (&workshop.users, user) {
            (Err(_), Some(user)) if user.uid == own => None,
            (Err(why), Some(_)) => {
                return Err(StartFailure::NotIsolated { isolation: "a user of its own", why: why.clone() });
            }
            (_, user) => user,
        };
        if user.as_ref().map_or(own, |user| user.uid) == ROOT {
            // Rights are given for the name: another account with root's number has not been granted anything.
            let by_name = launch.user.as_deref().is_none_or(|name| name == "root");
            if !(workshop.allow_root && by_name) {
                return Err(StartFailure::RootForbidden);
            }
        }
        Ok(user)
    }

    fn prepare(&mut self, launch: &Launch) -> Result<Prepared, StartFailure> {
        let user = self.user(launch)?;
        let workshop = &self.workshop;
        let sandbox = sandbox::create(&workshop.work_dir, &launch.sandbox, user.as_ref()).map_err(|e| {
            StartFailure::Sandbox(format!("{}: {e}", launch.sandbox.path(&workshop.work_dir).display()))
        })?;
        let mut names = HashSet::new();
        for volume in &launch.volumes {
            // Of two roles: each may have a volume of this name, but a sandbox has one place for it.
            if !names.insert(volume.name()) {
                let why = format!("two volumes of the task are named {}", volume.name());
                return Err(StartFailure::Volume(why));
            }
            volumes::give(&workshop.work_dir, &sandbox, volume, user.as_ref()).map_err(|e| {
                StartFailure::Volume(format!("{}: {e}", volume.path(&workshop.work_dir).display()))
            })?;
        }
        if launch.has_secrets {
            let place = secrets::dir(&sandbox);
            secrets::make_dir(&sandbox)
                .map_err(|e| StartFailure::Secrets(format!("{}: {e}", place.display())))?;
        }
        let pid_namespace = workshop.pid_namespaces && launch.pid_namespace != crate::Need::Unwanted;
        let limits = Limits {
            cpus_milli: launch.cpus_milli,
            cpu_quota: workshop.cpu_quota,
            mem_bytes: launch.mem_bytes,
            pids_max: launch.pids_max,
        };
        let cgroup_procs = workshop
            .cgroups
            .create(launch.run_id, &limits, !pid_namespace)
            .map_err(|e| StartFailure::Cgroup(e.to_string()))?;
        Ok(Prepared { sandbox, user, cgroup_procs, pid_namespace, secrets: Vec::new() })
    }
}
