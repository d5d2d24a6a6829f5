//! Puts an agent together and takes it apart again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use agent_containerizer::Containerizer;
use agent_core::{Agent, Input, Restore, Room};
use proto::agent::AgentInfo;
use proto::attributes::Attributes;
use proto::id::{AgentId, RunId};
use proto::ledger::Record;
use proto_drive::{Ended, Handle as Machine, show_vitals};
use proto_grpc::services::agent_door::agent_door_server::AgentDoorServer;
use proto_grpc::{ServeError, Shown, serve_shown, with_metrics};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::config::{Config, Settings};
use crate::containers::{self, Orders, TaskFacts};
use crate::door::Door;
use crate::error::Error;
use crate::exec::Exec;
use crate::facts::{self, Facts};
use crate::join;
use crate::ledger::{Fatal, Ledger};
use crate::master_link::MasterLink;
use crate::masters_file;
use crate::perform::{Leave, Performer};
use crate::room;
use crate::runs::Runs;
use crate::sandbox::{self, Owner, Sandboxes};
use crate::secrets::Secrets;

/// When tasks end with the agent they have so long; what is left then is killed with the keeper.
const END_TASKS_LIMIT: Duration = Duration::from_secs(10);

/// What was said last has so long to reach the master.
const LAST_WORDS_LIMIT: Duration = Duration::from_millis(500);

/// An agent that runs. Dropping it stops everything but the tasks and their keeper; [`Running::stop`] also waits for it.
pub struct Running {
    id: AgentId,
    address: String,
    machine: Machine<Input>,
    containerizer: Containerizer,
    /// Resolves when the machine's thread has let go of everything.
    ended: oneshot::Receiver<Ended<Fatal>>,
    left: oneshot::Receiver<Leave>,
    door: JoinHandle<Result<(), ServeError>>,
    tasks: JoinSet<()>,
    end_tasks_on_exit: bool,
    /// Let go of when the machine need not wait for room on its disk any longer.
    wanted: Option<Sender<Infallible>>,
}

/// Runs an agent until `shutdown` resolves, or something happens that it cannot go on after. `page` renders the metrics
/// of the process. Tasks go on running when it returns, unless the configuration says otherwise.
///
/// # Errors
/// [`Error`]: it could not start, its disk failed, or the pool does not take it.
pub async fn run(
    config: Config,
    page: impl Fn() -> String + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut running = start(config, page).await?;
    tokio::select! {
        () = shutdown => {
            running.stop().await;
            Ok(())
        }
        why = running.ended() => {
            running.let_go().await;
            Err(why)
        }
    }
}

/// Starts an agent: finds or starts its keeper, takes up what the ledger remembers, opens its door, and looks for a
/// master.
///
/// # Errors
/// [`Error`]: a field of the configuration, the work directory, the credentials, the keeper, the door.
pub async fn start(
    config: Config,
    page: impl Fn() -> String + Send + Sync + 'static,
) -> Result<Running, Error> {
    let mut settings = config.check()?;
    sandbox::make_work_dir(&settings.work_dir)
        .map_err(|source| Error::Sandboxes { work_dir: settings.work_dir.clone(), source })?;
    // First of all: whoever holds the ledger holds the work directory.
    let opened = Ledger::open(&settings.work_dir.join("ledger"), &facts::boot_id()?)?;
    if opened.cut_bytes > 0 {
        warn!(
            bytes = opened.cut_bytes,
            "the ledger ended in writes that were never finished; they are cut off"
        );
    }
    let credentials = join::credentials(&mut settings).await?;
    let id = facts::agent_id(&settings.work_dir, &credentials)?;
    let shown = Shown::new(credentials).map_err(Error::Door)?;
    let facts = Facts::detect(&settings.work_dir)?;
    let hostname = settings.hostname.clone().unwrap_or_else(|| facts.hostname.clone());
    let (listener, address) = listen(&settings, &hostname).await?;
    let sandboxes = Sandboxes::below(&settings.work_dir)
        .map_err(|source| Error::Sandboxes { work_dir: settings.work_dir.clone(), source })?;

    let secrets = Arc::new(Secrets::default());
    let (containerizer, mut events) =
        Containerizer::start(containerizer_config(&settings, &id, &secrets)).await?;
    // Its first event says what it has found; nothing can be said to a master before that.
    let Some(recovered) = events.recv().await else { return Err(Error::Stopped) };
    info!(
        agent_id = %id, address, records = opened.records.len(), rebooted = opened.boot_changed,
        keeper = containerizer.keeper_pid(), "agent starts"
    );
    let attributes = isolation(&containerizer, settings.attributes.clone());

    let (runs, alive, left_over) = take_stock(&sandboxes, &opened.records);
    let seed = seed(&id);
    let resources = settings.declared.over(facts.usable(settings.share));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let info = AgentInfo {
        id: id.clone(),
        hostname: hostname.clone(),
        address: address.clone(),
        resources,
        attributes,
        version,
    };
    let masters = masters_file::before(&masters_file::path(&settings.work_dir), settings.masters.clone());
    let agent = Agent::new(agent_core::Config::new(info, masters, seed));

    let late = Arc::new(OnceLock::new());
    let (over, told_over) = mpsc::unbounded_channel();
    let (leave, left) = oneshot::channel();
    let (wanted, still_wanted) = std::sync::mpsc::channel();
    let default_user = settings.task_user(rustix::process::geteuid().is_root());
    if let Some(user) = &default_user {
        warn_of_closed_doors(&settings.work_dir, user);
    }
    let task_facts = Arc::new(TaskFacts { agent: id.clone(), hostname, default_user });
    let performer = Performer {
        ledger: opened.ledger,
        link: MasterLink::new(
            tokio::runtime::Handle::current(),
            late.clone(),
            shown.clone(),
            secrets.clone(),
        ),
        orders: Orders::new(
            containerizer.clone(),
            task_facts.clone(),
            secrets,
            late.clone(),
            tokio::runtime::Handle::current(),
        ),
        sandboxes: sandboxes.clone(),
        runs: runs.clone(),
        over,
        alive: Arc::new(AtomicUsize::new(alive)),
        leave: Some(leave),
        masters_file: masters_file::path(&settings.work_dir),
        rewriting: false,
        no_rewrite: None,
        wanted: still_wanted,
    };
    let (tell_end, ended) = oneshot::channel();
    let machine = proto_drive::spawn("agent", agent, performer, move |end| {
        // Nobody waits: then the process is ending.
        let _ = tell_end.send(end);
    })
    .map_err(Error::Thread)?;
    // Set once, here, before the machine has heard anything.
    let _ = late.set(machine.clone());

    let restore = Restore { records: opened.records, rebooted: opened.boot_changed };
    let space = room::look(&settings.work_dir, Room::Enough);
    let mut first = vec![Input::Restore(restore), Input::Room(space), containers::input(recovered)];
    if opened.boot_changed {
        // What became of the runs is in the ledger by then: from here on it is of this boot.
        first.push(Input::Rewrite);
    }
    for input in first {
        machine.send(input).map_err(|_| Error::Stopped)?;
    }

    let mut tasks = JoinSet::new();
    tasks.spawn(containers::listen(events, machine.clone()));
    tasks.spawn(room::watch(settings.work_dir.clone(), space, machine.clone()));
    tasks.spawn(sandbox::sweep(sandboxes, runs.clone(), settings.sandbox_keep, left_over, told_over));
    tasks.spawn(join::keep(shown.clone(), &settings));
    let exec = Exec::new(containerizer.clone(), task_facts);
    let (directory, of_now) = (settings.work_dir.clone(), shown.clone());
    let page = move || {
        show_vitals(&directory, of_now.times_ms());
        page()
    };
    let routes = with_metrics(Routes::new(AgentDoorServer::new(Door::new(runs, exec))), page);
    let door = tokio::spawn(async move {
        // It is closed by dropping it: whoever reads output asks again.
        serve_shown(listener, &shown, routes, std::future::pending()).await
    });
    let end_tasks_on_exit = settings.end_tasks_on_exit;
    Ok(Running {
        id,
        address,
        machine,
        containerizer,
        ended,
        left,
        door,
        tasks,
        end_tasks_on_exit,
        wanted: Some(wanted),
    })
}

impl Running {
    /// Who it is.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// `host:port` of its door.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Process id of the keeper at the start.
    pub fn keeper_pid(&self) -> i32 {
        self.containerizer.keeper_pid()
    }

    /// Waits for something that it cannot go on after.
    pub async fn ended(&mut self) -> Error {
        tokio::select! {
            Ok(Leave::Refused(refusal)) = &mut self.left => Error::Refused(refusal),
            end = &mut self.ended => match end {
                Ok(Ended::Failed(fault)) => Error::Disk(fault),
                Ok(Ended::Closed | Ended::Panicked) | Err(_) => Error::Stopped,
            },
            closed = &mut self.door => match closed {
                Ok(Err(fault)) => Error::Door(fault),
                Ok(Ok(())) | Err(_) => Error::Stopped,
            },
        }
    }

    /// Stops it and waits until it has let go of its work directory. Tasks go on running, unless the configuration says
    /// that they end with it: then they are ended first, and the keeper with them.
    pub async fn stop(mut self) {
        if self.end_tasks_on_exit {
            self.end_tasks().await;
        }
        self.let_go().await;
    }

    async fn end_tasks(&mut self) {
        // A machine that has stopped ends nothing; the keeper still does.
        let _ = self.machine.send(Input::EndRuns);
        let all_over = timeout(END_TASKS_LIMIT, &mut self.left).await;
        match all_over {
            Ok(Ok(Leave::Ended(Some(session)))) => {
                if timeout(LAST_WORDS_LIMIT, session).await.is_err() {
                    warn!(
                        "the master did not end the session; perhaps it did not hear how the last tasks ended"
                    );
                }
            }
            // There was no master to tell, or the agent was on its way out already.
            Ok(Ok(Leave::Ended(None) | Leave::Refused(_)) | Err(_)) => {}
            Err(_) => warn!("some tasks did not end in time; they are killed"),
        }
        let end = self.containerizer.end_keeper(true);
        if timeout(END_TASKS_LIMIT, end).await.is_err() {
            warn!(keeper = self.keeper_pid(), "the keeper did not end");
        }
    }

    async fn let_go(mut self) {
        self.machine.close();
        self.wanted = None;
        self.door.abort();
        self.tasks.shutdown().await;
        // It may have ended before, and been asked why.
        if !self.ended.is_terminated() {
            let _ = (&mut self.ended).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.machine.close();
        self.door.abort();
    }
}

/// Opens the door, and says by which address others reach it.
async fn listen(settings: &Settings, hostname: &str) -> Result<(TcpListener, String), Error> {
    let fault = |source| Error::Listen { address: settings.listen.to_string(), source };
    let listener = TcpListener::bind(settings.listen).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, settings.address(bound, hostname)))
}

fn containerizer_config(
    settings: &Settings,
    id: &AgentId,
    secrets: &Arc<Secrets>,
) -> agent_containerizer::Config {
    let mut config = agent_containerizer::Config::new(&settings.work_dir, id.as_str());
    config.cgroups_root = settings.cgroups_root.clone().into();
    config.cpu_quota = settings.cpu_quota;
    config.allow_root = settings.allow_root_tasks;
    config.artifact_roots.clone_from(&settings.artifact_roots);
    config.secrets = Some(secrets.clone());
    config
}

/// Tasks begin in their sandboxes, whatever stands above; by an absolute path they get there only where every directory
/// lets others pass.
fn warn_of_closed_doors(work_dir: &Path, user: &str) {
    let closed = |dir: &&Path| fs::metadata(dir).is_ok_and(|facts| facts.permissions().mode() & 0o001 == 0);
    if let Some(dir) = work_dir.ancestors().find(closed) {
        warn!(
            user, dir = %dir.display(),
            "tasks may not pass through this directory: absolute paths into their sandboxes do not work for them; \
             chmod o+x it, or choose another --work-dir"
        );
    }
}

/// Tells what isolation is in force, in the log and in the attributes.
fn isolation(containerizer: &Containerizer, mut attributes: Attributes) -> Attributes {
    for line in containerizer.report().to_string().lines() {
        info!("isolation {line}");
    }
    containers::isolation(containerizer.report(), &mut attributes);
    attributes
}

/// What the door can show from the start, how many runs are not over, and which sandboxes are left of runs that are.
fn take_stock(sandboxes: &Sandboxes, records: &[Record]) -> (Runs, usize, Vec<(Owner, SystemTime)>) {
    let mut alive: BTreeSet<RunId> = BTreeSet::new();
    let runs = Runs::new();
    for record in records {
        match record {
            Record::RunTaken(taken) => {
                runs.take(taken.clone(), sandboxes.path(&Owner::of(taken)));
                alive.insert(taken.run);
            }
            Record::Reached(reached) if reached.status.state.is_terminal() => {
                if let Some(run) = reached.status.run {
                    runs.end(&reached.framework, &reached.status.task, run);
                    alive.remove(&run);
                }
            }
            Record::Reached(_)
            | Record::Acknowledged(_)
            | Record::KillTaken(_)
            | Record::Forgotten(_)
            | Record::Started(_)
            | Record::EpochSeen(_) => {}
        }
    }
    let left: Vec<_> =
        sandboxes.found().into_iter().filter(|(owner, _)| !alive.contains(&owner.run)).collect();
    for (Owner { framework, task, run }, _) in &left {
        let owner = Owner { framework: framework.clone(), task: task.clone(), run: *run };
        runs.begin(framework, task, *run, "", sandboxes.path(&owner));
        runs.end(framework, task, *run);
    }
    (runs, alive.len(), left)
}

/// For jitter only: agents that start together must not do the same.
fn seed(id: &AgentId) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let start = now.as_nanos() as u64 ^ u64::from(std::process::id());
    // FNV-1a.
    id.as_str().bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
