//! Machines that are told what is well-formed and makes no sense. An input is a script: each field a step, its number says of
//! which kind, the message in it says the rest.

mod agent;
mod disk;
mod jobs;
mod master;
mod member;
mod raft;

use std::time::Duration;

use proto_machine::{Instant, Machine, Now, Outbox, WallTime};

pub(super) use agent::AGENT;
pub(super) use jobs::JOBS;
pub(super) use master::MASTER;
pub(super) use member::MEMBER;
pub(super) use raft::RAFT;

/// No script has more steps: what comes of few is fast, and many are no other.
const STEPS_MAX: usize = 48;
/// A step that lets time pass lets a machine wake as often as it wants for so long; longer ones are slept through.
const AWAKE_MS: u64 = 1_500;
/// No machine may want to be woken more often than this in one step: it would go round in circles.
const WAKES_MAX: usize = 4_000;
/// It begins some time after its computer was started, and in 2026.
const WALL_MS: u64 = 1_774_746_000_000;

/// The time of a world, in nanoseconds since it began.
#[derive(Clone, Copy, Debug)]
struct Time(u64);

// === impl Time ===

impl Time {
    fn now(self) -> Now {
        Now {
            monotonic: Instant::from_nanos(self.0),
            wall: WallTime::from_millis(WALL_MS + self.0 / 1_000_000),
        }
    }

    fn after(self, time: Duration) -> Time {
        Time(self.0.saturating_add(time.as_nanos() as u64))
    }
}

/// What surrounds a machine: it does what the machine wants done.
trait Surroundings<M: Machine> {
    /// Does it; more may come of that.
    fn perform(
        &mut self,
        machine: &mut M,
        now: Now,
        output: M::Output,
        out: &mut Outbox<M::Output>,
    ) -> Result<(), String>;
}

/// One machine, its time and what surrounds it.
struct World<M: Machine, S> {
    machine: M,
    around: S,
    time: Time,
}

// === impl World ===

impl<M: Machine, S: Surroundings<M>> World<M, S> {
    fn new(machine: M, around: S) -> Self {
        World { machine, around, time: Time(1_000_000_000) }
    }

    fn say(&mut self, input: M::Input) -> Result<(), String> {
        let mut out = Outbox::new();
        self.machine.step(self.time.now(), input, &mut out);
        self.settle(out)
    }

    fn settle(&mut self, mut out: Outbox<M::Output>) -> Result<(), String> {
        self.machine.settle(self.time.now(), &mut out);
        for _ in 0..100 {
            let outputs = out.take();
            if outputs.is_empty() {
                return Ok(());
            }
            for output in outputs {
                self.around.perform(&mut self.machine, self.time.now(), output, &mut out)?;
            }
            self.machine.settle(self.time.now(), &mut out);
        }
        Err("the machine never settles".to_owned())
    }

    /// Lets time pass.
    fn pass(&mut self, ms: u64) -> Result<(), String> {
        let slept = ms.saturating_sub(AWAKE_MS).min(7 * 24 * 3_600_000);
        self.time = self.time.after(Duration::from_millis(slept));
        let end = self.time.after(Duration::from_millis(ms.min(AWAKE_MS)));
        let mut wakes = 0;
        self.settle(Outbox::new())?;
        while let Some(at) = self.machine.wake_at().map(|at| at.as_nanos()).filter(|at| *at <= end.0) {
            self.time = Time(self.time.0.max(at));
            let mut out = Outbox::new();
            self.machine.wake(self.time.now(), &mut out);
            self.settle(out)?;
            wakes += 1;
            if wakes > WAKES_MAX {
                return Err(format!("it wants to be woken {wakes} times within {ms} ms"));
            }
        }
        self.time = end;
        Ok(())
    }
}
