//! The engine: one task that knows every run, takes what is asked and what is reported, and never waits for a disk.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use agent_keeper::protocol::{self, Request, RunId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::event::{Event, StartFailure, Usage};
use crate::launch::Launch;
use crate::link::{self, Connection, Greeting, Link, Place};
use crate::needs::Needs;
use crate::report::Report;
use crate::request;
use crate::secrets;
use crate::visit::{Visited, Visitor};
use crate::volumes::{Removed, VolumeDir};
use crate::workshop::{Done, Job, Prepared};

/// What the handle asks.
pub(crate) enum Command {
    Launch(Box<Launch>),
    Kill(RunId, Duration),
    Destroy(RunId),
    RemoveVolume(VolumeDir, Removed),
    Usage(RunId, oneshot::Sender<Usage>),
    Visit(Box<Launch>, oneshot::Sender<Result<Visited, StartFailure>>),
    EndKeeper { kill: bool, answer: oneshot::Sender<Result<(), u32>> },
}

/// A run, and how far it is.
pub(crate) struct Run {
    pub(crate) phase: Phase,
    /// When it is to be killed outright, if it has been asked to end.
    kill_at: Option<Instant>,
}

pub(crate) enum Phase {
    /// In the workshop.
    Preparing,
    /// Its artifacts and secrets are being brought, until this is set.
    Fetching(Arc<AtomicBool>),
    /// Asked of the keeper, with this frame.
    Sent(Vec<u8>),
    /// Its command was executed.
    Running,
    /// Over; the workshop is looking at its cgroups.
    Ending,
    /// Over, and told.
    Over,
}

/// Artifacts and secrets that are there, or why not.
struct Fetched {
    run_id: RunId,
    result: Result<(Box<Launch>, Prepared), StartFailure>,
}

type Opening = Pin<Box<dyn Future<Output = (Connection, Greeting)> + Send>>;

/// What the engine works with.
pub(crate) struct Engine {
    pub(crate) runs: HashMap<RunId, Run>,
    /// Runs with a time to be killed at, earliest first.
    deadlines: BTreeSet<(Instant, RunId)>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) jobs: std_mpsc::Sender<Job>,
    report: Arc<Report>,
    place: Place,
    /// `None` while the keeper is being found again.
    pub(crate) link: Option<Link>,
    /// Frames for the keeper of this turn.
    pub(crate) outgoing: Vec<u8>,
    needs: Arc<Needs>,
    fetched_in: mpsc::UnboundedSender<Fetched>,
    pub(crate) ending: Option<oneshot::Sender<Result<(), u32>>>,
    /// Who waits for the keeper's word on a run.
    pub(crate) visitors: HashMap<RunId, Vec<Visitor>>,
}

/// What the engine listens to beside the keeper.
pub(crate) struct Inboxes {
    commands: mpsc::UnboundedReceiver<Command>,
    done: mpsc::UnboundedReceiver<Vec<Done>>,
    fetched: mpsc::UnboundedReceiver<Fetched>,
}

const TERM: i32 = rustix::process::Signal::TERM.as_raw();
const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// Commands taken in one turn.
const COMMANDS_PER_TURN: usize = 256;

/// What the engine is made of.
pub(crate) struct Parts {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) jobs: std_mpsc::Sender<Job>,
    pub(crate) report: Arc<Report>,
    pub(crate) place: Place,
    pub(crate) connection: Connection,
    pub(crate) needs: Needs,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) done: mpsc::UnboundedReceiver<Vec<Done>>,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> (Engine, Inboxes) {
        let Parts { events, jobs, report, place, connection, needs, commands, done } = parts;
        let (fetched_in, fetched) = mpsc::unbounded_channel();
        let engine = Engine {
            runs: HashMap::new(),
            deadlines: BTreeSet::new(),
            events,
            jobs,
            report,
            place,
            link: Some(connection.split()),
            outgoing: Vec::new(),
            needs: Arc::new(needs),
            fetched_in,
            ending: None,
            visitors: HashMap::new(),
        };
        (engine, Inboxes { commands, done, fetched })
    }

    /// Works until every handle is dropped. Tasks and keeper go on without it.
    pub(crate) async fn run(mut self, mut inboxes: Inboxes) {
        let mut commands = Vec::new();
        let mut opening: Option<Opening> = None;
        loop {
            tokio::select! {
                count = inboxes.commands.recv_many(&mut commands, COMMANDS_PER_TURN) => {
                    if count == 0 {
                        break;
                    }
                    commands.drain(..).for_each(|command| self.command(command));
                }
                batch = next_batch(&mut self.link) => match batch {
                    Some(batch) => batch.into_iter().for_each(|event| self.keeper_said(event)),
                    None => {
                        self.link = None;
                        self.outgoing.clear();
                        // Whoever waits for its answer gets none.
                        self.visitors.clear();
                        if let Some(answer) = self.ending.take() {
                            let _asker_gone = answer.send(Ok(()));
                            return;
                        }
                        tracing::warn!("the connection to the keeper is broken; finding or starting it again");
                        opening = Some(Box::pin(reopen(self.place.clone())));
                    }
                },
                (connection, greeting) = opened(&mut opening) => {
                    opening = None;
                    self.link = Some(connection.split());
                    self.reconcile(&greeting);
                }
                Some(batch) = inboxes.done.recv() => batch.into_iter().for_each(|done| self.done(done)),
                Some(fetched) = inboxes.fetched.recv() => self.fetched(fetched),
                () = until(self.deadlines.first().map(|(at, _)| *at)) => self.kill_overdue(),
            }
            self.flush();
        }
        if let Some(link) = self.link.take() {
            link.finish().await;
        }
    }

    /// Everything for the keeper that came up in this turn, in one write.
    fn flush(&mut self) {
        if let Some(link) = &self.link
            && !self.outgoing.is_empty()
        {
            // A link that is broken says so by its events.
            let _noticed_there = link.requests.send(std::mem::take(&mut self.outgoing));
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) {
        // All but Spawn are a few bytes long.
        if self.link.is_some() && request.encode(&mut self.outgoing).is_err() {
            tracing::error!("a request without lists cannot be too long");
        }
    }

    /// The agent may be gone; then this process is about to be.
    pub(crate) fn tell(&self, event: Event) {
        let _agent_gone = self.events.send(event);
    }

    /// A thread that has ended has panicked, and its panic was printed; runs go on under the keeper.
    pub(crate) fn job(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the containerizer's thread is gone");
        }
    }

    // === Commands ===

    fn command(&mut self, command: Command) {
        match command {
            Command::Launch(launch) => self.launch(launch),
            Command::Kill(run_id, grace) => self.kill(run_id, grace),
            Command::Destroy(run_id) => self.destroy(run_id),
            Command::RemoveVolume(volume, removed) => self.job(Job::RemoveVolume(volume, removed)),
            Command::Visit(launch, answer) => self.visit(launch, answer),
            Command::Usage(run_id, answer) => self.job(Job::Measure(run_id, answer)),
            Command::EndKeeper { kill, answer } => {
                self.ending = Some(answer);
                self.ask(&Request::Shutdown { kill });
            }
        }
    }

    fn launch(&mut self, launch: Box<Launch>) {
        let run_id = launch.run_id;
        if self.runs.contains_key(&run_id) {
            tracing::debug!(%run_id, "launched already");
            return;
        }
        self.runs.insert(run_id, Run { phase: Phase::Preparing, kill_at: None });
        match request::check(&launch, &self.report) {
            Ok(()) => self.job(Job::Prepare(launch)),
            Err(failure) => self.start_failed(run_id, failure),
        }
    }

    fn kill(&mut self, run_id: RunId, grace: Duration) {
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        match &run.phase {
            Phase::Preparing => self.start_failed(run_id, StartFailure::Canceled),
            Phase::Fetching(stop) => {
                stop.store(true, Ordering::Relaxed);
                self.start_failed(run_id, StartFailure::Canceled);
            }
            Phase::Sent(_) | Phase::Running => {
                let at = Instant::now() + grace;
                let earlier = run.kill_at.is_none_or(|before| at < before);
                let first = run.kill_at.is_none();
                if earlier {
                    self.set_deadline(run_id, Some(at));
                }
                if grace.is_zero() {
                    self.kill_overdue();
                } else if first {
                    self.ask(&Request::Signal { run_id, signal: TERM, whole_tree: false });
                }
            }
            Phase::Ending | Phase::Over => {}
        }
    }

    fn destroy(&mut self, run_id: RunId) {
        match self.runs.get(&run_id).map(|run| &run.phase) {
            Some(Phase::Over) => {
                self.runs.remove(&run_id);
                self.ask(&Request::Forget { run_id });
                self.job(Job::Remove(run_id));
            }
            Some(_) => tracing::warn!(%run_id, "not destroyed: it has not ended"),
            None => {}
        }
    }

    // === The way to the keeper ===

    fn done(&mut self, done: Done) {
        match done {
            Done::Prepared(launch, result) => self.prepared(launch, result),
            Done::Ended(run_id, exit) => {
                if let Some(run) = self.runs.get_mut(&run_id) {
                    run.phase = Phase::Over;
                    self.set_deadline(run_id, None);
                    self.tell(Event::Exited { run_id, exit });
                }
            }
        }
    }

    fn prepared(&mut self, launch: Box<Launch>, result: Result<Prepared, StartFailure>) {
        let run_id = launch.run_id;
        let Some(run) = self.runs.get_mut(&run_id) else {
            // Killed and destroyed meanwhile: nobody else knows of what was made.
            return self.job(Job::Remove(run_id));
        };
        match (&run.phase, result) {
            (Phase::Preparing, Ok(prepared)) if launch.artifacts.is_empty() && !launch.has_secrets => {
                self.send(&launch, prepared);
            }
            (Phase::Preparing, Ok(prepared)) => {
                let stop = Arc::new(AtomicBool::new(false));
                run.phase = Phase::Fetching(stop.clone());
                self.fetch(launch, prepared, stop);
            }
            (Phase::Preparing, Err(failure)) => self.start_failed(run_id, failure),
            // Killed meanwhile; its cgroups go when it is destroyed.
            (_, _) => {}
        }
    }

    fn fetch(&self, launch: Box<Launch>, prepared: Prepared, stop: Arc<AtomicBool>) {
        let (needs, fetched) = (self.needs.clone(), self.fetched_in.clone());
        tokio::spawn(async move {
            let run_id = launch.run_id;
            let result = needs.bring(launch, prepared, stop).await;
            let _engine_gone = fetched.send(Fetched { run_id, result });
        });
    }

    fn fetched(&mut self, fetched: Fetched) {
        let Fetched { run_id, result } = fetched;
        match (self.runs.get(&run_id).map(|run| &run.phase), result) {
            (Some(Phase::Fetching(_)), Ok((launch, prepared))) => self.send(&launch, prepared),
            (Some(Phase::Fetching(_)), Err(failure)) => self.start_failed(run_id, failure),
            // Killed meanwhile.
            (_, _) => {}
        }
    }

    fn send(&mut self, launch: &Launch, prepared: Prepared) {
        let run_id = launch.run_id;
        if launch.has_secrets && self.link.as_ref().is_some_and(|link| link.version < secrets::SINCE) {
            let why = "the keeper of this agent is of an older version, which knows none; it is replaced once no task runs \
                       and the agent starts";
            return self.start_failed(run_id, StartFailure::Secrets(why.to_owned()));
        }
        match request::frame(launch, prepared, &self.report) {
            Ok(frame) => {
                if self.link.is_some() {
                    self.outgoing.extend_from_slice(&frame);
                }
                if let Some(run) = self.runs.get_mut(&run_id) {
                    run.phase = Phase::Sent(frame);
                }
            }
            Err(failure) => self.start_failed(run_id, failure),
        }
    }

    pub(crate) fn start_failed(&mut self, run_id: RunId, failure: StartFailure) {
        if let Some(run) = self.runs.get_mut(&run_id) {
            run.phase = Phase::Over;
            self.set_deadline(run_id, None);
            self.tell(Event::StartFailed { run_id, failure });
        }
    }

    /// Takes up a run that the keeper told of first.
    pub(crate) fn adopt(&mut self, run_id: RunId, phase: Phase) {
        self.runs.insert(run_id, Run { phase, kill_at: None });
    }

    /// The keeper says that a run is over.
    pub(crate) fn exited(&mut self, run_id: RunId, exit: protocol::Exit) {
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        run.phase = Phase::Ending;
        self.job(Job::Ended(run_id, exit));
    }

    // === Deadlines ===

    fn set_deadline(&mut self, run_id: RunId, at: Option<Instant>) {
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        if let Some(before) = run.kill_at {
            self.deadlines.remove(&(before, run_id));
        }
        run.kill_at = at;
        if let Some(at) = at {
            self.deadlines.insert((at, run_id));
        }
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        while let Some((at, run_id)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.remove(&(at, run_id));
            self.kill_now(run_id);
        }
    }

    fn kill_now(&mut self, run_id: RunId) {
        self.ask(&Request::Signal { run_id, signal: KILL, whole_tree: true });
        self.job(Job::Kill(run_id));
    }

    /// After the keeper was out of reach: what was asked of it may not have arrived.
    pub(crate) fn ask_to_end_again(&mut self) {
        let now = Instant::now();
        let asked: Vec<_> =
            self.runs.iter().filter_map(|(run_id, run)| Some((*run_id, run.kill_at?))).collect();
        for (run_id, at) in asked {
            if at <= now {
                self.kill_now(run_id);
            } else {
                self.ask(&Request::Signal { run_id, signal: TERM, whole_tree: false });
            }
        }
    }
}

/// The keeper's next events; `None` when the link is broken; nothing at all without one.
async fn next_batch(link: &mut Option<Link>) -> Option<Vec<protocol::Event>> {
    match link {
        Some(link) => link.events.recv().await,
        None => std::future::pending().await,
    }
}

async fn opened(opening: &mut Option<Opening>) -> (Connection, Greeting) {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

/// Tries until there is a keeper: without one the agent can do nothing for its tasks, and they may well be alive.
async fn reopen(place: Place) -> (Connection, Greeting) {
    let mut pause = Duration::from_millis(100);
    loop {
        match link::open(&place).await {
            Ok(opened) => return opened,
            Err(e) => tracing::error!(error = %e, "no keeper; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
