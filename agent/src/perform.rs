//! Does what the machine wants done: first the ledger, then everything else in order.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use agent_core::{Contain, Input, Note, Output};
use proto::agent_link::ToMaster;
use proto::id::{FrameworkId, RunId};
use proto::ledger::{Reached, Record};
use proto::refusal::Refusal;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_drive::Perform;
use proto_machine::Now;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

use crate::containers::Orders;
use crate::ledger::{Done, Fatal, Ledger};
use crate::master_link::MasterLink;
use crate::masters_file;
use crate::runs::Runs;
use crate::sandbox::{Owner, Sandboxes};

/// Does what the machine wants done.
pub(crate) struct Performer {
    pub ledger: Ledger,
    pub link: MasterLink,
    pub orders: Orders,
    pub sandboxes: Sandboxes,
    /// For the door.
    pub runs: Runs,
    /// Runs whose sandbox nobody writes to any more, for the sweeper.
    pub over: mpsc::UnboundedSender<Owner>,
    /// How many runs are not over, for the metrics.
    pub alive: Arc<AtomicUsize>,
    /// Told once, when there is nothing more to do here.
    pub leave: Option<oneshot::Sender<Leave>>,
    /// Where the masters are remembered.
    pub masters_file: PathBuf,
    /// A rewrite was asked for and has not come yet.
    pub rewriting: bool,
    /// When the last rewrite had no room.
    pub no_rewrite: Option<Instant>,
    /// Cut when this process is to end: nobody waits for room any longer then.
    pub wanted: Receiver<Infallible>,
}

/// How long a full disk is left alone before what has to be written is tried again.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);
/// The same for a rewrite, which only spares room.
const REWRITE_INTERVAL: Duration = Duration::from_secs(10);

/// Why there is nothing more to do here.
#[derive(Debug)]
pub(crate) enum Leave {
    /// The pool sends the agent away.
    Refused(Refusal),
    /// All runs are ended, as the operator wanted it. The session with the master, if there is one, ends when it has got
    /// the last words.
    Ended(Option<JoinHandle<()>>),
}

impl Perform<Output, Input> for Performer {
    type Error = Fatal;

    fn perform(&mut self, _now: Now, outputs: Vec<Output>, feed: &mut Vec<Input>) -> Result<(), Fatal> {
        // All records of a batch in one write and at most one sync, then the rest in order. A rewrite is a border that
        // no record crosses; most batches have none.
        let (mut records, mut sync) = (Vec::new(), false);
        let mut rest = Vec::with_capacity(outputs.len());
        for output in outputs {
            match output {
                Output::Store { record, sync: wanted } => {
                    records.push(record);
                    sync |= wanted;
                }
                Output::Rewrite(image) => {
                    self.segment(&mut records, &mut sync, &mut rest)?;
                    self.rewrite(&image)?;
                }
                other => rest.push(other),
            }
        }
        self.segment(&mut records, &mut sync, &mut rest)?;
        let may_rewrite = self.no_rewrite.is_none_or(|tried| tried.elapsed() > REWRITE_INTERVAL);
        if self.ledger.should_compact() && !self.rewriting && may_rewrite {
            self.rewriting = true;
            feed.push(Input::Rewrite);
        }
        metrics::gauge!("agent_ledger_bytes").set(self.ledger.bytes() as f64);
        metrics::gauge!("agent_runs_alive").set(self.alive.load(Ordering::Relaxed) as f64);
        Ok(())
    }
}

impl Performer {
    fn segment(
        &mut self,
        records: &mut Vec<Record>,
        sync: &mut bool,
        rest: &mut Vec<Output>,
    ) -> Result<(), Fatal> {
        if !records.is_empty() {
            let start = Instant::now();
            self.write(|ledger| ledger.append(records, *sync))?;
            if *sync {
                metrics::histogram!("agent_ledger_sync_seconds").record(start.elapsed().as_secs_f64());
            }
            records.drain(..).for_each(|record| self.note(record));
            *sync = false;
        }
        rest.drain(..).for_each(|output| self.act(output));
        Ok(())
    }

    fn rewrite(&mut self, image: &[Record]) -> Result<(), Fatal> {
        let done = self.ledger.rewrite(image)?;
        // After a restart of the machine the first rewrite stands behind all that followed from it; without room for one, all of
        // that stands in the ledger as it is.
        self.write(Ledger::settle_boot)?;
        self.rewriting = false;
        self.no_rewrite = (done == Done::NoRoom).then(Instant::now);
        debug!(records = image.len(), bytes = self.ledger.bytes(), ?done, "ledger rewritten");
        Ok(())
    }

    /// Writes; when there is no room for it, waits until there is. What stands behind is not done before, and nothing else is
    /// taken meanwhile: to the masters this agent is out of sight, and its tasks run on.
    fn write(&mut self, mut write: impl FnMut(&mut Ledger) -> Result<Done, Fatal>) -> Result<(), Fatal> {
        let mut waits = false;
        while write(&mut self.ledger)? == Done::NoRoom {
            if !waits {
                error!("the disk is full, and what was kept free is used up: this agent waits for room");
                waits = true;
            }
            if self.wanted.recv_timeout(ROOM_INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                return Err(self.ledger.no_room());
            }
        }
        if waits {
            info!("there is room again: this agent goes on");
        }
        Ok(())
    }

    /// What is in the ledger now is news for the door, the sweeper and the metrics.
    fn note(&self, record: Record) {
        match record {
            Record::RunTaken(taken) => {
                let sandbox = self.sandboxes.path(&Owner::of(&taken));
                self.runs.take(taken, sandbox);
                self.alive.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("agent_runs_taken_total").increment(1);
            }
            Record::Reached(Reached { framework, status })
                if status.reason == StatusReason::AgentDiskFull =>
            {
                info!(framework_id = %framework, task_id = %status.task, "a task was refused: the disk is full");
                metrics::counter!("agent_runs_refused_total").increment(1);
            }
            Record::Reached(Reached { framework, status }) if status.state.is_terminal() => {
                let Some(run) = status.run else { return };
                self.runs.end(&framework, &status.task, run);
                self.alive.fetch_sub(1, Ordering::Relaxed);
                ended(&framework, &status, run);
                metrics::counter!("agent_runs_ended_total", "state" => status.state.as_str()).increment(1);
                // The sweeper is gone: then the process is ending already.
                let _ = self.over.send(Owner { framework, task: status.task, run });
            }
            Record::Reached(_)
            | Record::Acknowledged(_)
            | Record::KillTaken(_)
            | Record::Forgotten(_)
            | Record::Started(_)
            | Record::EpochSeen(_) => {}
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            // Done above.
            Output::Store { .. } | Output::Rewrite(_) => {}
            Output::ToMaster(word) => {
                if matches!(word, ToMaster::Update(_)) {
                    metrics::counter!("agent_updates_sent_total").increment(1);
                }
                self.link.say(word);
            }
            Output::Contain(order) => {
                if let Contain::Launch(given) = &order {
                    debug!(
                        framework_id = %given.framework, task_id = %given.task.id, run_id = %given.run, "launch"
                    );
                }
                self.orders.give(order);
            }
            Output::Connect { link, address } => self.link.connect(link, address),
            Output::Disconnect(link) => self.link.disconnect(link),
            Output::Masters(masters) => {
                info!(masters = masters.join(","), "told where the masters are");
                // It is told again at the next session.
                if let Err(error) = masters_file::write(&self.masters_file, &masters) {
                    warn!(%error, path = %self.masters_file.display(), "cannot remember where the masters are");
                }
            }
            Output::Leave(refusal) => self.leave(Leave::Refused(refusal)),
            Output::Ended => {
                let session = self.link.finish();
                self.leave(Leave::Ended(session));
            }
            Output::Note(note) => log(&note),
        }
    }

    fn leave(&mut self, why: Leave) {
        if let Some(leave) = self.leave.take() {
            // Nobody listens: then the process is ending already.
            let _ = leave.send(why);
        }
    }
}

/// An operator acts on bad ends; the good ones are thousands.
fn ended(framework: &FrameworkId, status: &TaskStatus, run: RunId) {
    let (task, state) = (&status.task, status.state.as_str());
    if status.state == TaskState::Finished {
        return debug!(framework_id = %framework, task_id = %task, run_id = %run, state, "ended");
    }
    info!(
        framework_id = %framework, task_id = %task, run_id = %run, state, reason = ?status.reason,
        message = status.message, "ended"
    );
}

/// One line for each fact that an operator would act on.
fn log(note: &Note) {
    match note {
        Note::Joined { address, epoch } => info!(master = address, epoch = epoch.0, "joined"),
        Note::Lost { address } => info!(master = address, "link to the master lost"),
        Note::Silent { address } => warn!(master = address, "the master says nothing"),
        Note::OldEpoch { epoch, obeyed } => {
            warn!(epoch = epoch.0, obeyed = obeyed.0, "a master that no longer leads was not obeyed");
        }
        Note::UnknownKill { run } => info!(run_id = %run, "asked to end a run that is not known here"),
        Note::ForgottenLaunch { run } => {
            warn!(run_id = %run, "asked to start a run that is over and forgotten")
        }
        Note::Orphan { run } => warn!(run_id = %run, "ending a run that the ledger does not know"),
    }
}
