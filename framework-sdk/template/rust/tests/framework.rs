//! What should hold of the framework when things go well and when they do not: keep what applies.

use std::collections::BTreeSet;
use std::time::Duration;

use framework::Keep;
use framework_sdk::harness::config;
use framework_sdk::id::TaskId;
use framework_sdk::task::TaskState;
use framework_sdk::testing::{Agent, Behaviour, Rehearsal, Tape};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

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
