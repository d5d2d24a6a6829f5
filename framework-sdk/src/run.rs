//! Drives a scheduler over gRPC, on a thread of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use framework_sdk_core::reconciler::{Change, remembered_framework};
use framework_sdk_core::{BadConfig, Config, Driver, Input, Output, Scheduler};
use proto::framework::FrameworkInfo;
use proto::id::FrameworkId;
use proto::refusal::Refusal;
use proto::role::Role;
use proto_drive::{Ended, Handle, Perform};
use proto_machine::Now;
use proto_pki::Credentials;
use tokio::runtime;
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::link::Links;
use crate::profile::Profile;
use crate::store::{StateFile, StateStore, StoreError};

/// Why a framework does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration is not one.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// There is no thread for it.
    #[error("cannot start the framework's thread")]
    Thread(#[source] io::Error),
    /// It is not called from within a tokio runtime.
    #[error("a framework starts within a tokio runtime")]
    NoRuntime(#[source] runtime::TryCurrentError),
}

/// How a framework ended.
#[derive(Debug)]
pub enum End {
    /// It was stopped; its tasks run on until the failover timeout.
    Stopped,
    /// It tore itself down.
    TornDown,
    /// The master ended it: another instance took over, or it was removed.
    Refused(Refusal),
    /// Its own shell failed: what it wanted stored could not be.
    Failed(Box<dyn Error + Send + Sync>),
    /// A fault of ours.
    Panicked,
}

/// A framework that runs. Dropped, it is stopped; its tasks run on.
#[derive(Debug)]
pub struct Running<I> {
    machine: Handle<Input<I>>,
    end: oneshot::Receiver<End>,
}

// === impl Running ===

impl<I> Running<I> {
    /// A handle by which its scheduler is told something, from anywhere.
    pub fn teller(&self) -> Teller<I> {
        Teller(self.machine.clone())
    }

    /// Ends the session; tasks run on.
    pub fn stop(&self) {
        self.machine.close();
    }

    /// Resolves when it has ended.
    pub async fn ended(&mut self) -> End {
        // The sender is dropped unsent only if the thread died before it could say so.
        (&mut self.end).await.unwrap_or(End::Panicked)
    }
}

impl<I> Drop for Running<I> {
    /// Its links hold handles to the machine, which would live on with nobody to hear of it.
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tells a scheduler something.
#[derive(Debug)]
pub struct Teller<I>(Handle<Input<I>>);

impl<I> Clone for Teller<I> {
    fn clone(&self) -> Self {
        Teller(self.0.clone())
    }
}

impl<I> Teller<I> {
    /// Tells it; false when the framework has ended.
    pub async fn tell(&self, input: I) -> bool {
        self.0.send_async(Input::Author(input)).await.is_ok()
    }

    /// Ends the session; tasks run on.
    pub fn stop(&self) {
        self.0.close();
    }

    /// Tells it without waiting, however much is queued; false when the framework has ended.
    pub fn tell_now(&self, input: I) -> bool {
        self.0.send(Input::Author(input)).is_ok()
    }
}

/// Runs a scheduler that has a shell of its own: `perform` does what it emits, in order, before anything that it asked
/// of the master after it. It is called on the framework's thread and may block on a disk. `name` is the thread's, and
/// the metrics'.
pub fn spawn<S, F, E>(
    name: &'static str,
    credentials: Credentials,
    config: Config,
    scheduler: S,
    perform: F,
) -> Result<Running<S::Input>, StartError>
where
    S: Scheduler + Send + 'static,
    S::Input: Send + 'static,
    S::Output: Send + 'static,
    F: FnMut(Now, S::Output) -> Result<(), E> + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    spawn_fenced(name, credentials, config, 0, scheduler, perform)
}

/// The same for one of several instances of a framework: once a later one, with a greater `fence`, has had a session, the masters
/// give this one none, and it ends.
pub fn spawn_fenced<S, F, E>(
    name: &'static str,
    credentials: Credentials,
    config: Config,
    fence: u64,
    scheduler: S,
    perform: F,
) -> Result<Running<S::Input>, StartError>
where
    S: Scheduler + Send + 'static,
    S::Input: Send + 'static,
    S::Output: Send + 'static,
    F: FnMut(Now, S::Output) -> Result<(), E> + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    let runtime = runtime::Handle::try_current().map_err(StartError::NoRuntime)?;
    let driver = Driver::new(config, scheduler)?.fenced(fence);
    let (ended, end) = oneshot::channel();
    let refused = Arc::new(Mutex::new(None));
    // The performer needs the handle of the machine it performs for, which exists only once it is spawned.
    let (give, given) = std::sync::mpsc::sync_channel(1);
    let performer = Performer { links: None, given, runtime, credentials, perform, refused: refused.clone() };
    let machine = proto_drive::spawn(name, driver, performer, move |how| {
        let refusal = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        let how = match (how, refusal) {
            (Ended::Closed, None) => End::Stopped,
            (Ended::Closed, Some(Refused { by_itself: true, .. })) => End::TornDown,
            (Ended::Closed, Some(Refused { refusal, .. })) => End::Refused(refusal),
            (Ended::Failed(fault), _) => End::Failed(Box::new(fault)),
            (Ended::Panicked, _) => End::Panicked,
        };
        // Nobody may be waiting for it.
        let _ = ended.send(how);
    })
    .map_err(StartError::Thread)?;
    // The receiver is in the performer, and the performer lives as long as the machine.
    let _ = give.send(machine.clone());
    Ok(Running { machine, end })
}

struct Refused {
    refusal: Refusal,
    by_itself: bool,
}

struct Performer<I, F> {
    links: Option<Links<I>>,
    given: std::sync::mpsc::Receiver<Handle<Input<I>>>,
    runtime: runtime::Handle,
    credentials: Credentials,
    perform: F,
    refused: Arc<Mutex<Option<Refused>>>,
}

impl<I, O, F, E> Perform<Output<O>, Input<I>> for Performer<I, F>
where
    I: Send + 'static,
    F: FnMut(Now, O) -> Result<(), E> + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    type Error = E;

    fn perform(&mut self, now: Now, outputs: Vec<Output<O>>, _feed: &mut Vec<Input<I>>) -> Result<(), E> {
        if self.links.is_none() {
            // Fails only if `spawn` died in between; then the machine's last handle is gone too.
            let Ok(machine) = self.given.recv() else { return Ok(()) };
            self.links = Some(Links::new(self.runtime.clone(), self.credentials.clone(), machine));
        }
        let Some(links) = &mut self.links else { return Ok(()) };
        for output in outputs {
            match output {
                Output::Connect { link, master } => links.connect(link, master),
                Output::Send { link, call } => links.send(link, call),
                Output::Disconnect { link } => links.disconnect(link),
                Output::Ended { why, by_itself } => {
                    if by_itself {
                        info!("the framework tore itself down");
                    } else {
                        error!(
                            code = why.code.as_str(),
                            message = why.message,
                            help = why.help,
                            "ended by the master"
                        );
                    }
                    let refused = Refused { refusal: why, by_itself };
                    *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
                    links.machine().close();
                }
                Output::Author(output) => (self.perform)(now, output)?,
            }
        }
        Ok(())
    }
}

/// Runs a scheduler without a shell of its own until it ends: the whole of a simple framework. It takes offers in
/// `role`, as a new framework each time: what must outlive the process uses [`run_as`].
pub async fn run<S>(profile: Profile, name: &str, role: Role, scheduler: S) -> Result<(), RunError>
where
    S: Scheduler + Send + 'static,
    S::Input: Send + 'static,
    S::Output: Send + 'static,
{
    let ignore = |_: Now, _: S::Output| Ok::<(), Infallible>(());
    run_with(profile, name, role, std::time::Duration::ZERO, None, scheduler, ignore).await
}

/// Runs a scheduler that emits its framework's id whenever a session stands, until it ends. The id is kept in a file before
/// anything is launched: the next process takes up the tasks of this one, which wait a week for it. A relative path is one
/// below the directory that `STOA_DATA` names, if it is set. The file goes with the framework.
pub async fn run_as<S>(
    profile: Profile,
    name: &str,
    role: Role,
    state_file: impl Into<PathBuf>,
    scheduler: S,
) -> Result<(), RunError>
where
    S: Scheduler<Output = FrameworkId> + Send + 'static,
    S::Input: Send + 'static,
{
    let remember = |id: Option<&FrameworkId>| Change {
        key: "framework".to_owned(),
        value: id.map(|id| id.as_str().to_owned()),
    };
    let failed = |error: StoreError| RunError::Failed(Box::new(error));
    let mut store = StateFile::in_data(state_file);
    let path = store.path().to_owned();
    let id = remembered_framework(&store.load().map_err(failed)?.known);
    let mut kept = id.clone();
    let keep = move |_: Now, id: FrameworkId| {
        if kept.as_ref() != Some(&id) {
            store.commit(&[remember(Some(&id))], 0)?;
            kept = Some(id);
        }
        Ok::<(), StoreError>(())
    };
    let timeout = FrameworkInfo::FAILOVER_TIMEOUT_DEFAULT;
    run_with(profile, name, role, timeout, id, scheduler, keep).await?;
    // Torn down: the id claims nothing any more.
    let mut store = StateFile::at(path);
    store.load().map_err(failed)?;
    store.commit(&[remember(None)], 0).map_err(failed)
}

async fn run_with<S, F, E>(
    profile: Profile,
    name: &str,
    role: Role,
    failover_timeout: std::time::Duration,
    id: Option<FrameworkId>,
    scheduler: S,
    perform: F,
) -> Result<(), RunError>
where
    S: Scheduler + Send + 'static,
    S::Input: Send + 'static,
    S::Output: Send + 'static,
    F: FnMut(Now, S::Output) -> Result<(), E> + Send + 'static,
    E: Error + Send + Sync + 'static,
{
    let info = FrameworkInfo {
        name: name.to_owned(),
        roles: vec![role],
        failover_timeout,
        address: String::new(),
        labels: BTreeMap::new(),
    };
    let config = Config {
        info,
        id,
        operation_prefix: unused_prefix(),
        masters: profile.masters,
        seed: RandomState::new().hash_one(name),
        believed: Vec::new(),
    };
    let mut running = spawn("framework", profile.credentials, config, scheduler, perform)?;
    match running.ended().await {
        End::Stopped | End::TornDown => Ok(()),
        End::Refused(refusal) => Err(RunError::Refused(refusal)),
        End::Failed(fault) => Err(RunError::Failed(fault)),
        End::Panicked => Err(RunError::Panicked),
    }
}

/// Why a framework ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The master ended it.
    #[error("{0}")]
    Refused(Refusal),
    /// Its shell failed.
    #[error("the framework's own shell failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// A fault of ours.
    #[error("the framework's thread panicked; please report it")]
    Panicked,
}

/// A prefix for operation ids that no other life of a framework uses: 128 random bits.
pub fn unused_prefix() -> String {
    // Seeded by the operating system, anew for each.
    let draw = |n: u8| RandomState::new().hash_one((n, std::process::id(), std::time::SystemTime::now()));
    format!("{:016x}{:016x}", draw(1), draw(2))
}
