//! A framework for benches: it runs so many tasks as it is told, and notes when it saw what.

use std::time::Instant;

use framework_sdk::conversation::Outcome;
use framework_sdk::demand::{DeclineReason, Demand, Filter};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{DemandId, Epoch, OfferId, TaskId};
use framework_sdk::offer::Offer;
use framework_sdk::quantities::Quantities;
use framework_sdk::refusal::Refusal;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::task::TaskState;
use framework_sdk::{
    Answered, Calls, Config, Now, Profile, Room, Running, Scheduler, Session, Update, spawn, tasks,
    unused_prefix,
};
use tokio::sync::mpsc;

/// What it saw.
#[derive(Debug)]
pub enum Saw {
    /// A session stands.
    Session(Epoch),
    /// Offers came.
    Offers,
    /// An accept goes out.
    Accepting,
    /// An accept is in the log.
    Committed,
    /// A task did not start, because its offer was void by then: another takes its place.
    Dropped,
    /// A task's state.
    State(TaskState),
    /// Something was refused, a task ended badly, or it is over.
    Bad(String),
}

/// What it saw, and when.
#[derive(Debug)]
pub struct Note {
    /// When it was told, on its own thread.
    pub at: Instant,
    /// What.
    pub saw: Saw,
}

/// What it does with offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Takes any and keeps them.
    Hold,
    /// Runs this many tasks more.
    Run(u32),
}

/// The scheduler.
struct Bench {
    waiting: u32,
    holds: bool,
    placed: u64,
    shape: Amount,
    argv: Vec<String>,
}

/// The framework with what it notes.
pub struct Framework {
    running: Running<Wish>,
    notes: mpsc::UnboundedReceiver<Note>,
}

/// The size of one task: that of `stoa run` when nothing else is said.
pub fn default_shape() -> Amount {
    Amount::scalars(Quantities::of(100, 64 << 20))
}

// === impl Framework ===

impl Framework {
    /// Starts it; every task has this size and runs this program.
    pub fn start(profile: &Profile, shape: Amount, argv: &[String]) -> Result<Framework, String> {
        let info = FrameworkInfo {
            name: "bench".to_owned(),
            roles: vec![Role::default_role()],
            failover_timeout: std::time::Duration::ZERO,
            address: String::new(),
            labels: std::collections::BTreeMap::new(),
        };
        let config = Config {
            info,
            id: None,
            operation_prefix: unused_prefix(),
            masters: profile.masters.clone(),
            seed: u64::from(std::process::id()),
            believed: Vec::new(),
        };
        let bench = Bench { waiting: 0, holds: false, placed: 0, shape, argv: argv.to_vec() };
        let (sender, notes) = mpsc::unbounded_channel();
        let note = move |_: Now, note: Note| {
            let _ = sender.send(note);
            Ok::<(), std::convert::Infallible>(())
        };
        let running = spawn("bench", profile.credentials.clone(), config, bench, note)
            .map_err(|error| error.to_string())?;
        Ok(Framework { running, notes })
    }

    /// Tells it what to do with offers from now on.
    pub fn wish(&self, wish: Wish) {
        self.running.teller().tell_now(wish);
    }

    /// What it saw next; an error when something was bad.
    pub async fn next(&mut self) -> Result<Note, String> {
        match self.notes.recv().await {
            Some(Note { saw: Saw::Bad(why), .. }) => Err(why),
            Some(note) => Ok(note),
            None => Err("the framework has ended".to_owned()),
        }
    }

    /// Forgets what it saw so far.
    pub fn forget(&mut self) {
        while self.notes.try_recv().is_ok() {}
    }

    /// Waits for its session.
    pub async fn session(&mut self) -> Result<Epoch, String> {
        loop {
            if let Saw::Session(epoch) = self.next().await?.saw {
                return Ok(epoch);
            }
        }
    }
}

// === impl Bench ===

impl Bench {
    fn note(&self, saw: Saw, out: &mut Calls<Note>) {
        out.emit(Note { at: Instant::now(), saw });
    }

    fn demand(&self, out: &mut Calls<Note>) {
        let Ok(id) = DemandId::new("bench") else { return };
        let demand = Demand {
            id,
            role: Role::default_role(),
            shape: self.shape.clone(),
            count: u64::from(self.waiting),
            constraints: framework_sdk::attributes::Constraints::default(),
            priority: 0,
        };
        out.demand(if self.waiting > 0 { vec![demand] } else { Vec::new() });
    }
}

impl Scheduler for Bench {
    type Input = Wish;
    type Output = Note;

    fn subscribed(&mut self, _: Now, session: &Session, out: &mut Calls<Note>) {
        self.note(Saw::Session(session.epoch), out);
        if !self.holds {
            // No plain offers: they would be taken back as soon as something is demanded.
            self.demand(out);
        }
    }

    fn offers(&mut self, _: Now, offers: Vec<Offer>, out: &mut Calls<Note>) {
        self.note(Saw::Offers, out);
        if self.holds {
            offers.iter().for_each(|offer| out.hold(offer));
            return;
        }
        let mut rooms = Vec::new();
        for offer in offers {
            let mut room = Room::new(offer);
            while self.waiting > 0 && room.fits(&self.shape) {
                let Ok(id) = TaskId::new(&format!("bench.{}", self.placed)) else { break };
                if room.place(&self.shape, tasks::argv(id, self.argv.iter().cloned())).is_err() {
                    break;
                }
                self.waiting -= 1;
                self.placed += 1;
            }
            if room.is_unused() {
                out.decline(
                    room.into_offer(),
                    DeclineReason::Unused,
                    Filter { refuse: std::time::Duration::ZERO },
                );
            } else {
                rooms.push(room);
            }
        }
        if !rooms.is_empty() {
            self.note(Saw::Accepting, out);
            out.tag(1);
            out.accept(rooms, Filter { refuse: std::time::Duration::ZERO });
            out.tag(0);
            self.demand(out);
        }
    }

    fn update(&mut self, _: Now, update: Update, out: &mut Calls<Note>) {
        let status = update.status();
        let saw = match status.state {
            TaskState::Finished => Saw::State(TaskState::Finished),
            TaskState::Dropped => Saw::Dropped,
            state if !state.is_terminal() => Saw::State(state),
            state => Saw::Bad(format!(
                "a task ended as {}, {:?}: {}",
                state.as_str(),
                status.reason,
                status.message
            )),
        };
        if matches!(saw, Saw::Dropped) {
            self.waiting += 1;
            self.demand(out);
        }
        self.note(saw, out);
        out.done(update);
    }

    fn answered(&mut self, _: Now, answered: &Answered, out: &mut Calls<Note>) {
        match &answered.outcome {
            Outcome::Refused(refusal) => self.note(Saw::Bad(format!("refused: {refusal}")), out),
            Outcome::Committed(_) if answered.tag == 1 => self.note(Saw::Committed, out),
            Outcome::Committed(_) => {}
        }
    }

    fn rescinded(
        &mut self,
        _: Now,
        _: OfferId,
        _: framework_sdk::conversation::RescindReason,
        _: &mut Calls<Note>,
    ) {
    }

    fn ended(&mut self, _: Now, why: &Refusal, out: &mut Calls<Note>) {
        self.note(Saw::Bad(format!("over: {why}")), out);
    }

    fn input(&mut self, _: Now, wish: Wish, out: &mut Calls<Note>) {
        match wish {
            Wish::Hold => {
                self.holds = true;
                out.demand_nothing();
                out.revive(Vec::new());
            }
            Wish::Run(count) => {
                self.holds = false;
                self.waiting += count;
                self.demand(out);
            }
        }
    }
}
