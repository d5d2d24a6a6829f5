//! The pretend pool itself: its rules, its mishaps and its tapes do what they say.

use std::time::Duration;

use framework_sdk_core::harness::config;
use framework_sdk_core::rehearsal::{Agent, Behaviour, Rehearsal};
use framework_sdk_core::tape::Tape;
use framework_sdk_core::{Calls, Draining, Room, Scheduler, Session, Update, task};
use proto::demand::{DeclineReason, Filter};
use proto::id::{AgentId, OfferId, TaskId};
use proto::offer::Offer;
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{CallKind, RescindReason};
use proto::task::TaskState;
use proto_machine::{Instant, Now};

const SECOND: Duration = Duration::from_secs(1);

/// Starts what is in its queue, declines or keeps the rest, and remembers what it is told.
#[derive(Debug, Default)]
struct Plain {
    queue: Vec<&'static str>,
    keeps: bool,
    offers: Vec<(Instant, String)>,
    updates: Vec<(String, TaskState)>,
    rescinded: Vec<RescindReason>,
    sessions: Vec<bool>,
    drains: Vec<String>,
    graces: Vec<Duration>,
}

impl Scheduler for Plain {
    type Input = String;
    type Output = ();

    fn subscribed(&mut self, _: Now, session: &Session, _: &mut Calls<()>) {
        self.sessions.push(session.resumed);
    }

    fn offers(&mut self, now: Now, offers: Vec<Offer>, out: &mut Calls<()>) {
        for offer in offers {
            self.offers.push((now.monotonic, offer.agent.id.to_string()));
            if self.keeps {
                out.hold(&offer);
                continue;
            }
            if self.queue.is_empty() {
                out.decline(offer, DeclineReason::Unused, Filter { refuse: 10 * SECOND });
                continue;
            }
            let mut room = Room::new(offer);
            for name in self.queue.drain(..) {
                let id = TaskId::new(name).expect("an id");
                let shape = Amount::scalars(Quantities::of(100, 1 << 20));
                room.place(&shape, task::shell(id, "true")).expect("it fits");
            }
            out.accept([room], Filter { refuse: 1000 * SECOND });
        }
    }

    fn update(&mut self, _: Now, update: Update, out: &mut Calls<()>) {
        self.updates.push((update.status().task.to_string(), update.status().state));
        self.graces.extend(update.status().grace);
        out.done(update);
    }

    fn rescinded(&mut self, _: Now, _: OfferId, why: RescindReason, _: &mut Calls<()>) {
        self.rescinded.push(why);
    }

    fn draining(&mut self, _: Now, notice: &Draining, _: &mut Calls<()>) {
        self.drains.push(notice.agent.to_string());
    }

    fn resumed(&mut self, _: Now, agent: &AgentId, _: &mut Calls<()>) {
        self.drains.push(format!("{agent} again"));
    }

    fn input(&mut self, _: Now, name: String, out: &mut Calls<()>) {
        out.kill(TaskId::new(&name).expect("an id"), None);
    }
}

fn pool(scheduler: Plain) -> Rehearsal<Plain> {
    Rehearsal::new("plain", scheduler).agent(Agent::new("a1", 1000, 1 << 30).ports(31_000, 31_009))
}

fn sent(pool: &mut Rehearsal<Plain>, which: fn(&CallKind) -> bool) -> usize {
    pool.harness().calls.iter().filter(|call| which(call)).count()
}

fn acknowledgements(pool: &mut Rehearsal<Plain>) -> usize {
    sent(pool, |call| matches!(call, CallKind::Acknowledge(_)))
}

#[test]
fn a_declined_agent_is_offered_again_when_the_filter_ends() {
    let mut pool = pool(Plain::default());
    pool.advance(25 * SECOND);
    let times: Vec<u64> =
        pool.scheduler().offers.iter().map(|(at, _)| at.as_nanos() / 1_000_000_000).collect();
    assert_eq!(times, [1, 11, 21], "{times:?}");
}

#[test]
fn an_offer_that_is_kept_expires() {
    let mut pool = pool(Plain { keeps: true, ..Plain::default() });
    pool.advance(30 * SECOND);
    assert_eq!((pool.open_offers(), pool.scheduler().offers.len()), (1, 1));
    pool.advance(40 * SECOND);
    assert_eq!(pool.scheduler().rescinded.first(), Some(&RescindReason::Expired));
    assert_eq!(pool.scheduler().offers.len(), 2, "then it is offered again");
}

#[test]
fn tasks_behave_as_they_are_told_to() {
    let mut pool = pool(Plain { queue: vec!["good", "bad", "stuck", "steady"], ..Plain::default() })
        .tasks("good", Behaviour::Finish(2 * SECOND))
        .tasks("bad", Behaviour::Fail(3 * SECOND, 7))
        .tasks("stuck", Behaviour::Hang);
    pool.advance(10 * SECOND);
    let states: Vec<TaskState> =
        ["good", "bad", "stuck", "steady"].iter().filter_map(|task| pool.state(task)).collect();
    assert_eq!(states, [TaskState::Finished, TaskState::Failed, TaskState::Starting, TaskState::Running]);
    pool.tell("stuck".to_owned());
    assert_eq!(pool.state("stuck"), Some(TaskState::Killing));
    assert_eq!(pool.until(10 * SECOND, |pool| pool.state("stuck") == Some(TaskState::Killed)), 3 * SECOND);
    assert_eq!(pool.scheduler().graces, [3 * SECOND], "it was told how long it had");
    pool.tell("steady".to_owned());
    assert_eq!(pool.state("steady"), Some(TaskState::Killed), "it heeds TERM");
}

#[test]
fn a_lost_event_shows_as_a_gap_and_a_new_snapshot() {
    let mut pool = pool(Plain { queue: vec!["t"], ..Plain::default() });
    pool.until(10 * SECOND, |pool| pool.state("t").is_some());
    pool.drop_next();
    pool.until(10 * SECOND, |pool| pool.state("t") == Some(TaskState::Running));
    assert!(pool.scheduler().updates.iter().all(|(_, state)| *state != TaskState::Running), "it is lost");
    pool.until(20 * SECOND, |pool| pool.scheduler().updates.iter().any(|(_, s)| *s == TaskState::Running));
    assert_eq!(pool.scheduler().sessions, [false, false], "no session goes on behind a gap");
}

#[test]
fn a_doubled_update_is_told_once_and_acknowledged_twice() {
    let mut pool = pool(Plain { queue: vec!["t"], ..Plain::default() });
    pool.duplicate_next();
    pool.advance(4 * SECOND);
    let running = pool.scheduler().updates.iter().filter(|(_, state)| *state == TaskState::Running).count();
    assert_eq!((running, acknowledgements(&mut pool)), (1, 2));
}

#[test]
fn updates_that_change_places_arrive_late() {
    let order = |reorder: bool| {
        let mut pool = pool(Plain { queue: vec!["t1", "t2"], ..Plain::default() });
        if reorder {
            pool.reorder_next();
        }
        pool.advance(3 * SECOND);
        let running = pool.scheduler().updates.iter().filter(|(_, state)| *state == TaskState::Running);
        running.map(|(task, _)| task.clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(false), ["t1", "t2"]);
    assert_eq!(order(true), ["t2", "t1"]);
}

#[test]
fn an_agent_out_of_sight_says_nothing_until_it_is_back() {
    let mut pool =
        pool(Plain { queue: vec!["t"], ..Plain::default() }).tasks("t", Behaviour::Finish(5 * SECOND));
    pool.until(10 * SECOND, |pool| pool.state("t") == Some(TaskState::Running));
    pool.lose_agent("a1");
    pool.advance(20 * SECOND);
    let last = |pool: &Rehearsal<Plain>| pool.scheduler().updates.last().map(|(_, state)| *state);
    assert_eq!(pool.state("t"), Some(TaskState::Finished), "it went on");
    assert_eq!(last(&pool), Some(TaskState::Unreachable), "and nobody heard of it");
    pool.return_agent("a1");
    pool.advance(Duration::ZERO);
    assert_eq!(last(&pool), Some(TaskState::Finished));
    pool.give_up_agent("a1");
    let before = pool.scheduler().offers.len();
    pool.advance(2000 * SECOND);
    assert_eq!(pool.scheduler().offers.len(), before, "nothing is offered of what is gone");
}

#[test]
fn a_cut_cable_is_tried_again_and_again_with_rest() {
    let mut pool = pool(Plain { queue: vec!["t"], ..Plain::default() });
    pool.until(10 * SECOND, |pool| pool.is_connected());
    pool.partition();
    pool.advance(20 * SECOND);
    assert!(!pool.is_connected() && pool.states().is_empty());
    let dialled = pool.harness().dialled.len();
    assert!((10..60).contains(&dialled), "it goes on trying, and not without rest: {dialled}");
    pool.heal();
    pool.until(10 * SECOND, |pool| pool.state("t").is_some());
    let subscribes = sent(&mut pool, |call| matches!(call, CallKind::Subscribe(_)));
    assert_eq!(subscribes, 2);
}

#[test]
fn a_lost_call_takes_the_link_with_it_and_is_sent_again() {
    let mut pool = pool(Plain { queue: vec!["t"], ..Plain::default() });
    pool.until(10 * SECOND, |pool| pool.state("t") == Some(TaskState::Running));
    pool.harness().input_only("t".to_owned());
    assert!(pool.harness().lose_call());
    pool.until(10 * SECOND, |pool| pool.state("t") == Some(TaskState::Killed));
    let kills = sent(&mut pool, |call| matches!(call, CallKind::Kill(_)));
    assert_eq!((kills, pool.scheduler().sessions.as_slice()), (2, [false, true].as_slice()));
}

#[test]
#[should_panic(expected = "launched twice")]
fn a_task_that_is_launched_twice_fails_the_test() {
    let mut pool = pool(Plain { queue: vec!["t", "t"], ..Plain::default() });
    pool.advance(5 * SECOND);
}

#[test]
fn a_tape_reads_back_and_says_where_it_is_none() {
    let mut pool = pool(Plain { queue: vec!["t"], ..Plain::default() });
    pool.advance(3 * SECOND);
    pool.tell("t".to_owned());
    pool.break_link();
    pool.advance(3 * SECOND);
    let text = pool.tape().to_string();
    assert!(text.contains("# update: t is running") && text.contains("told \"\\\"t\\\"\""), "{text}");
    let tape = Tape::parse(&text).expect("a tape");
    assert_eq!(&tape, pool.tape());
    let told = |text: &str| Some(text.trim_matches('"').to_owned());
    let same = Plain { queue: vec!["t"], ..Plain::default() };
    let again = tape.replay(config("plain"), same, told).expect("the same");
    assert_eq!(again.scheduler().updates, pool.scheduler().updates);
    let divergence = tape.replay(config("plain"), Plain::default(), told).expect_err("it declines");
    assert!(divergence.to_string().contains("Decline"), "{divergence}");
    for (bad, line, why) in [
        ("session", 1, "begins with"),
        ("stoa-session 1\n0 x lost", 2, "two times"),
        ("stoa-session 1\n0 0 sung", 2, "sung"),
        ("stoa-session 1\n0 0 lost\n0 0 heard 0", 3, "hexadecimal"),
        ("stoa-session 1\n0 0 told t", 2, "quoted"),
    ] {
        let error = Tape::parse(bad).expect_err(bad);
        assert!(error.line == line && error.to_string().contains(why), "{bad:?}: {error}");
    }
}

#[test]
fn who_has_something_on_an_agent_is_told_of_its_drain_and_nobody_else() {
    let kept = |role: &str| {
        let amount = Amount::scalars(Quantities::of(100, 1 << 20));
        Resources::reserved(Role::new(role).expect("a role"), amount)
    };
    let mut pool = Rehearsal::new("plain", Plain { queue: vec!["t"], ..Plain::default() }).agent(Agent::new(
        "runs",
        1000,
        1 << 30,
    ));
    pool.until(10 * SECOND, |pool| pool.state("t") == Some(TaskState::Running));
    pool.add_agent(Agent::new("kept", 0, 0).with(&kept("default")));
    pool.add_agent(Agent::new("theirs", 0, 0).with(&kept("other")));
    pool.add_agent(Agent::new("free", 1000, 1 << 30));
    for agent in ["free", "theirs", "kept", "runs"] {
        pool.drain_agent(agent, 60 * SECOND);
        pool.advance(SECOND);
    }
    assert_eq!(pool.scheduler().drains, ["kept", "runs"]);
    pool.resume_agent("free");
    pool.resume_agent("kept");
    pool.advance(SECOND);
    assert_eq!(pool.scheduler().drains[2..], ["kept again"], "who was not told of it is not told of its end");
    pool.fail_over();
    pool.advance(5 * SECOND);
    assert_eq!(pool.scheduler().drains[3..], ["runs"], "a session that begins anew is told again");
}

#[test]
fn what_runs_at_the_deadline_of_a_drain_is_ended_unless_it_is_called_off() {
    let pool = || {
        let mut pool = pool(Plain { queue: vec!["t"], ..Plain::default() });
        pool.until(10 * SECOND, |pool| pool.state("t") == Some(TaskState::Running));
        pool.drain_agent("a1", 60 * SECOND);
        pool.advance(59 * SECOND);
        assert_eq!(pool.state("t"), Some(TaskState::Running));
        pool
    };
    let mut ended = pool();
    ended.advance(SECOND);
    assert_eq!(ended.state("t"), Some(TaskState::Killed));
    let mut called_off = pool();
    called_off.resume_agent("a1");
    called_off.advance(600 * SECOND);
    assert_eq!(called_off.state("t"), Some(TaskState::Running));
}
