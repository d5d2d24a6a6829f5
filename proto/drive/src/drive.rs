//! The loop: a batch from the mailbox or a deadline; step; settle; perform.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use proto_machine::{Machine, Now, Outbox};
use tracing::{error, info};

use crate::clock::Clock;
use crate::mailbox::{Handle, Mailbox, mailbox};

/// Inputs of one batch. A batch is one `settle`, so one log entry and one sync: large enough to share it well, small
/// enough that the first of the batch does not wait for the last.
const BATCH_MAX: usize = 1024;

/// Does what a machine wants done.
pub trait Perform<O, I> {
    /// A fault after which the machine cannot go on: its disk failed, say.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Does the outputs of one batch, in order; may block on a disk. What is pushed to `feed` is stepped before
    /// anything that waits in the mailbox: so a machine hears that something is stored before it hears more.
    fn perform(&mut self, now: Now, outputs: Vec<O>, feed: &mut Vec<I>) -> Result<(), Self::Error>;
}

impl<O, I, E, F> Perform<O, I> for F
where
    F: FnMut(Now, Vec<O>, &mut Vec<I>) -> Result<(), E>,
    E: std::error::Error + Send + Sync + 'static,
{
    type Error = E;
    fn perform(&mut self, now: Now, outputs: Vec<O>, feed: &mut Vec<I>) -> Result<(), E> {
        self(now, outputs, feed)
    }
}

/// Why a machine's thread ended.
#[derive(Debug)]
pub enum Ended<E> {
    /// Everybody let go of it, or closed it, and all that was queued is done.
    Closed,
    /// Something it wanted done could not be done.
    Failed(E),
    /// The machine or its performer panicked: a fault of ours. The message is on stderr already.
    Panicked,
}

/// Runs a machine on a thread of its own, called `name` (also in metrics). `ended` is called on that thread as its last
/// act; a process whose machine has failed has nothing left to do but exit, and this is where it does. A performer that
/// keeps a handle of its own machine keeps it alive: then [`Handle::close`] ends it.
pub fn spawn<M, P>(
    name: &'static str,
    machine: M,
    perform: P,
    ended: impl FnOnce(Ended<P::Error>) + Send + 'static,
) -> io::Result<Handle<M::Input>>
where
    M: Machine + Send + 'static,
    M::Input: Send + 'static,
    P: Perform<M::Output, M::Input> + Send + 'static,
{
    let (handle, mailbox) = mailbox(M::haste);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut driver = Driver {
            machine,
            perform,
            mailbox,
            clock: Clock::start(),
            gauges: Gauges::named(name),
            out: Outbox::new(),
            batch: Vec::new(),
            feed: Vec::new(),
        };
        let end = match catch_unwind(AssertUnwindSafe(|| driver.run())) {
            Ok(Ok(())) => Ended::Closed,
            Ok(Err(fault)) => Ended::Failed(fault),
            Err(_) => Ended::Panicked,
        };
        match &end {
            Ended::Closed => info!(machine = name, "stopped"),
            Ended::Failed(fault) => error!(machine = name, fault = Chain(fault).to_string(), "failed"),
            Ended::Panicked => error!(machine = name, "panicked"),
        }
        // The mailbox goes first: whoever is told of the end must find it closed.
        drop(driver);
        ended(end);
    })?;
    Ok(handle)
}

struct Driver<M: Machine, P> {
    machine: M,
    perform: P,
    mailbox: Mailbox<M::Input>,
    clock: Clock,
    gauges: Gauges,
    out: Outbox<M::Output>,
    batch: Vec<M::Input>,
    feed: Vec<M::Input>,
}

// === impl Driver ===

impl<M: Machine, P: Perform<M::Output, M::Input>> Driver<M, P> {
    fn run(&mut self) -> Result<(), P::Error> {
        while self.gather() {
            let now = self.clock.now();
            self.gauges.batch_size.record(self.batch.len() as f64);
            self.gauges.inputs.increment(self.batch.len() as u64);
            for input in self.batch.drain(..) {
                self.machine.step(now, input, &mut self.out);
            }
            if self.machine.wake_at().is_some_and(|at| at <= now.monotonic) {
                self.machine.wake(now, &mut self.out);
            }
            let woken = self.clock.now();
            self.gauges.step_time.record(woken.monotonic.since(now.monotonic).as_secs_f64());
            self.machine.settle(now, &mut self.out);
            let stepped = self.clock.now();
            self.gauges.settle_time.record(stepped.monotonic.since(woken.monotonic).as_secs_f64());
            if !self.out.is_empty() {
                self.perform.perform(now, self.out.take(), &mut self.feed)?;
                let took = self.clock.now().monotonic.since(stepped.monotonic);
                self.gauges.perform_time.record(took.as_secs_f64());
            }
        }
        Ok(())
    }

    /// Fills the batch; waits for something to do. False when there will never be anything again.
    fn gather(&mut self) -> bool {
        // A burst is no reason to keep its memory.
        if self.batch.capacity() > 2 * BATCH_MAX {
            self.batch = Vec::new();
        }
        let fed = !self.feed.is_empty();
        std::mem::swap(&mut self.batch, &mut self.feed);
        let patience = match self.machine.wake_at() {
            _ if fed => Some(Duration::ZERO),
            Some(at) => Some(self.clock.until(at)),
            None => None,
        };
        let room = BATCH_MAX.saturating_sub(self.batch.len());
        let open = self
            .mailbox
            .take(&mut self.batch, room, patience, || self.machine.gathers_for(self.clock.now().monotonic));
        self.gauges.queued.set(self.mailbox.queued() as f64);
        open || fed
    }
}

/// What is measured of each machine.
struct Gauges {
    inputs: Counter,
    queued: Gauge,
    batch_size: Histogram,
    step_time: Histogram,
    settle_time: Histogram,
    perform_time: Histogram,
}

// === impl Gauges ===

impl Gauges {
    fn named(machine: &'static str) -> Self {
        Gauges {
            inputs: metrics::counter!("machine_inputs_total", "machine" => machine),
            queued: metrics::gauge!("machine_inputs_queued", "machine" => machine),
            batch_size: metrics::histogram!("machine_batch_inputs", "machine" => machine),
            step_time: metrics::histogram!("machine_step_seconds", "machine" => machine),
            settle_time: metrics::histogram!("machine_settle_seconds", "machine" => machine),
            perform_time: metrics::histogram!("machine_perform_seconds", "machine" => machine),
        }
    }
}

/// An error with all its causes, on one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
