//! A template for an author's tests: a framework that keeps so many copies of a command running, and what should hold of
//! it when things go well and when they do not. Copy it, put your scheduler in, and keep what applies.

use std::collections::BTreeSet;
use std::time::Duration;

use framework_sdk::demand::{Demand, Filter};
use framework_sdk::harness::config;
use framework_sdk::id::{DemandId, TaskId};
use framework_sdk::offer::Offer;
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::task::TaskState;
use framework_sdk::testing::{Agent, Behaviour, Rehearsal, Tape};
use framework_sdk::{Calls, Now, Packing, Room, Scheduler, Update, choose, tasks};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

// --- the framework ---

/// Keeps so many copies running.
#[derive(Debug)]
struct Keep {
    wanted: usize,
    next: u32,
    alive: BTreeSet<TaskId>,
}

impl Keep {
    fn new(wanted: usize) -> Self {
        Keep { wanted, next: 0, alive: BTreeSet::new() }
    }

    fn shape() -> Amount {
        Amount::scalars(Quantities::of(500, 64 << 20))
    }

    fn missing(&self) -> Vec<Demand> {
        let count = self.wanted.saturating_sub(self.alive.len());
        let demand = Demand {
            id: DemandId::new("copies").expect("an id"),
            role: Role::default_role(),
            shape: Keep::shape(),
            count: count as u64,
            constraints: Default::default(),
            priority: 0,
        };
        if count == 0 { Vec::new() } else { vec![demand] }
    }
}

impl Scheduler for Keep {
    /// So many copies from now on.
    type Input = usize;
    type Output = ();

    fn demands(&self) -> Option<Vec<Demand>> {
        Some(self.missing())
    }

    fn offers(&mut self, _: Now, offers: Vec<Offer>, out: &mut Calls<()>) {
        let mut rooms: Vec<Room> = offers.into_iter().map(Room::new).collect();
        while self.alive.len() < self.wanted {
            let Some(at) = choose(&rooms, &Keep::shape(), Packing::Spread) else { break };
            self.next += 1;
            let id = TaskId::new(&format!("copy.{}", self.next)).expect("an id");
            if rooms[at].place(&Keep::shape(), tasks::shell(id.clone(), "exec sleep 1d")).is_err() {
                break;
            }
            self.alive.insert(id);
        }
        out.accept(rooms, Filter::DEFAULT);
        out.demand(self.missing());
    }

    fn update(&mut self, _: Now, update: Update, out: &mut Calls<()>) {
        let status = update.status();
        if status.state.is_terminal() || status.state == TaskState::Unknown {
            self.alive.remove(&status.task);
        } else {
            // One of an earlier life is as good as one of this.
            self.alive.insert(status.task.clone());
            let number = status.task.as_str().trim_start_matches("copy.").parse().unwrap_or(0);
            self.next = self.next.max(number);
        }
        out.done(update);
        out.demand(self.missing());
    }

    fn input(&mut self, _: Now, wanted: usize, out: &mut Calls<()>) {
        self.wanted = wanted;
        let surplus: Vec<TaskId> = self.alive.iter().skip(wanted).cloned().collect();
        surplus.into_iter().for_each(|task| out.kill(task, None));
        out.demand(self.missing());
    }
}

// --- its tests ---

fn pool(wanted: usize) -> Rehearsal<Keep> {
    Rehearsal::new("keep", Keep::new(wanted))
        .agent(Agent::new("a1", 1000, 1 << 30))
        .agent(Agent::new("a2", 1000, 1 << 30).attribute("zone", "b"))
}

fn run(pool: &mut Rehearsal<Keep>, count: usize) {
    pool.until(MINUTE, |pool| pool.count(TaskState::Running) == count);
}

#[test]
fn it_runs_what_is_wanted_and_takes_no_more() {
    let mut pool = pool(3);
    run(&mut pool, 3);
    let places: BTreeSet<_> = ["copy.1", "copy.2", "copy.3"].map(|task| pool.place(task)).into();
    assert_eq!(places.len(), 2, "one agent has room for two");
    pool.advance(MINUTE);
    assert_eq!((pool.open_offers(), pool.states().len()), (0, 3), "nothing is hoarded, nothing more is run");
    pool.tell(1);
    run(&mut pool, 1);
    assert_eq!(pool.count(TaskState::Killed), 2);
}

#[test]
fn what_fails_is_replaced_and_what_hangs_can_be_ended() {
    let mut pool = pool(2).tasks("copy.1", Behaviour::Fail(5 * SECOND, 1)).tasks("copy.2", Behaviour::Hang);
    pool.until(MINUTE, |pool| pool.state("copy.1") == Some(TaskState::Failed));
    pool.until(MINUTE, |pool| pool.state("copy.3") == Some(TaskState::Running));
    pool.tell(0);
    let waited = pool.until(MINUTE, |pool| pool.state("copy.2") == Some(TaskState::Killed));
    assert!(waited >= 3 * SECOND, "it heeds no TERM, so its grace passes first: {waited:?}");
}

#[test]
fn messages_that_are_lost_doubled_or_late_change_nothing() {
    let mut pool = pool(3);
    pool.until(MINUTE, |pool| pool.states().len() == 3);
    pool.drop_next();
    pool.duplicate_next();
    pool.reorder_next();
    run(&mut pool, 3);
    pool.break_link();
    pool.advance(2 * MINUTE);
    assert_eq!(pool.count(TaskState::Running), 3);
    assert_eq!(pool.states().len(), 3, "nothing was started twice: {:?}", pool.states());
}

#[test]
fn it_outlives_leaders_its_own_death_and_a_cut_cable() {
    let mut pool = pool(2);
    pool.until(MINUTE, |pool| pool.states().len() == 2);
    pool.fail_over();
    run(&mut pool, 2);
    pool.partition();
    pool.advance(10 * MINUTE);
    assert!(!pool.is_connected());
    pool.heal();
    pool.until(MINUTE, Rehearsal::is_connected);
    pool.lose_agent("a1");
    pool.advance(MINUTE);
    pool.return_agent("a1");
    // What a framework stores: here the ids of its tasks.
    let stored: Vec<TaskId> = pool.scheduler().alive.iter().cloned().collect();
    let mut pool = pool.restart(Keep::new(2), stored);
    pool.advance(MINUTE);
    assert_eq!((pool.count(TaskState::Running), pool.states().len()), (2, 2), "{:?}", pool.states());
}

#[test]
fn a_session_that_was_kept_plays_again() {
    let mut pool = pool(2).tasks("copy.1", Behaviour::Fail(SECOND, 1));
    pool.advance(10 * SECOND);
    pool.fail_over();
    pool.tell(3);
    run(&mut pool, 3);
    // Keep it in a file next to the tests: the same calls are expected of every later version.
    let text = pool.tape().to_string();
    let tape = Tape::parse(&text).expect("a tape");
    let told = |text: &str| text.parse().ok();
    let again = tape.replay(config("keep"), Keep::new(2), told).expect("the same calls");
    assert_eq!(again.scheduler().alive, pool.scheduler().alive);
    let other = tape.replay(config("keep"), Keep::new(1), told).expect_err("it wants something else");
    assert!(other.to_string().contains("instead of"), "{other}");
}
