//! The driver against a pretend master that loses, repeats, redirects and fails over.

#[path = "driver/rig.rs"]
mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use framework_sdk_core::Answered;
use framework_sdk_core::harness::{Harness, config};
use proto::demand::DeclineReason;
use proto::id::TaskId;
use proto::operation::{Operation, Reserve};
use proto::quantities::Quantities;
use proto::refusal::{Code, Refusal};
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{CallKind, Event, EventKind, Outcome, RescindReason, Subscribed};
use proto::task::{Exit, TaskState, TaskStatus};
use proto_machine::Dice;

use rig::*;

#[test]
fn it_subscribes_anew_once_and_with_its_id_ever_after() {
    let mut harness = start();
    assert!(harness.is_connected());
    harness.break_link();
    harness.run();
    assert_eq!(subscribes(&harness), [(false, None), (true, Some(0))]);
    assert_eq!(harness.outputs, ["subscribed resumed=false", "subscribed resumed=true"]);
}

#[test]
fn what_is_stored_leaves_before_what_is_asked_after_it() {
    let harness = started("t");
    assert_eq!(harness.outputs, ["subscribed resumed=false", "intent"]);
}

#[test]
fn an_offer_that_nobody_mentions_is_declined_as_unused() {
    let mut harness = start();
    harness.offer();
    let declined = harness.calls.iter().find_map(|call| match call {
        CallKind::Decline(decline) => Some(decline.clone()),
        _ => None,
    });
    let declined = declined.expect("a decline");
    assert_eq!((declined.offers.len(), declined.reason), (1, DeclineReason::Unused));
    assert_eq!(harness.master.free("a1").scalars.cpus_milli(), 4000);
}

#[test]
fn a_lost_accept_is_asked_again_under_the_same_id_and_done_once() {
    let mut harness = start();
    harness.input(Order::Start("t"));
    harness.master.make_offers();
    harness.deliver_event();
    harness.break_link();
    harness.advance(Duration::from_secs(1));
    // Its offer went back when the link broke, so it never started, and the author is told.
    assert_eq!(harness.scheduler().states("t"), [TaskState::Dropped]);
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Accept(_))), 2);
    assert!(harness.master.reused.is_empty());
}

#[test]
fn a_lost_answer_comes_again_and_nothing_starts_twice() {
    for resume in [true, false] {
        let mut harness = start();
        harness.input(Order::Start("t"));
        harness.master.make_offers();
        harness.deliver_event();
        harness.deliver_one();
        assert_eq!(harness.master.accepted.len(), 1, "the master has it");
        if resume {
            harness.break_link()
        } else {
            harness.fail_over()
        }
        harness.advance(Duration::from_secs(1));
        let outcomes: Vec<_> = harness.scheduler().answers.iter().map(|a| a.outcome.clone()).collect();
        assert_eq!(outcomes, [Outcome::Committed(1)], "resume={resume}");
        assert_eq!(harness.alive(), ["t"]);
        assert!(harness.master.doubled.is_empty());
    }
}

#[test]
fn a_reservation_whose_answer_was_lost_is_answered_later_and_made_once() {
    let amount = Amount::scalars(Quantities::of(1000, 0));
    let role = Role::default_role();
    let reserved = Resources::reserved(role.clone(), amount.clone());
    for (resume, arrives) in [(true, true), (false, true), (false, false)] {
        let mut harness = start();
        let reserve = Reserve { role: role.clone(), amount: amount.clone() };
        harness.input(Order::Operate(vec![Operation::Reserve(reserve)]));
        harness.master.make_offers();
        harness.deliver_event();
        if arrives {
            harness.deliver_one();
        }
        if resume {
            harness.break_link()
        } else {
            harness.fail_over()
        }
        harness.advance(Duration::from_secs(1));
        assert!(harness.master.reused.is_empty(), "one id, one call");
        let outcomes: Vec<_> = harness.scheduler().answers.iter().map(|a| a.outcome.clone()).collect();
        match &outcomes[..] {
            [Outcome::Committed(1)] => assert!(arrives),
            // Its offer went back with the old leader, so it was never made, and the author knows.
            [Outcome::Refused(why)] => assert!(!arrives && why.code == Code::StaleOffer, "{why}"),
            other => panic!("resume={resume} arrives={arrives}: {other:?}"),
        }
        // What is offered is the truth, and says the same.
        harness.input(Order::Hold);
        harness.offer();
        let offered = &harness.scheduler().held[0].resources;
        assert_eq!(offered.quantities().cpus_milli(), 4000);
        assert_eq!(offered.clone().try_sub(&reserved), arrives);
        let mut twice = reserved.clone();
        twice.add(&reserved);
        assert!(!offered.clone().try_sub(&twice), "made twice: {offered}");
    }
}

#[test]
fn a_passing_refusal_is_asked_again() {
    let mut harness = start();
    harness.input(Order::Start("t"));
    harness.master.refuse_next =
        Some((|call| matches!(call, CallKind::Accept(_)), Refusal::new(Code::LeaderLost, "not yet")));
    harness.offer();
    assert!(harness.alive().is_empty());
    harness.advance(Duration::from_millis(200));
    assert_eq!(harness.alive(), ["t"], "the offer still stood");
}

#[test]
fn a_lasting_refusal_is_told_with_the_tasks_it_cost() {
    for (code, state) in [(Code::StaleOffer, TaskState::Dropped), (Code::Denied, TaskState::Error)] {
        let mut harness = start();
        harness.input(Order::Start("t"));
        harness.master.refuse_next =
            Some((|call| matches!(call, CallKind::Accept(_)), Refusal::new(code, "no")));
        harness.offer();
        assert_eq!(harness.scheduler().states("t"), [state]);
        assert!(matches!(&harness.scheduler().answers[..], [Answered { outcome: Outcome::Refused(_), .. }]));
    }
}

#[test]
fn an_update_is_told_once_and_acknowledged_each_time_it_comes() {
    let mut harness = started("t");
    harness.report("t", TaskState::Running, None);
    harness.report("t", TaskState::Finished, Some(Exit::Code(0)));
    assert_eq!(harness.scheduler().states("t"), [TaskState::Running, TaskState::Finished]);
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Acknowledge(_))), 2);
    let again = harness.scheduler().updates[0].clone();
    harness.master.inject(Event { sequence: 0, kind: EventKind::Update(again) });
    harness.run();
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Acknowledge(_))), 3);
    harness.fail_over();
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.scheduler().states("t").len(), 2, "nothing of it is news");
}

#[test]
fn an_update_that_was_not_taken_in_comes_again() {
    let mut harness = started("t");
    harness.input(Order::Refuse);
    harness.report("t", TaskState::Running, None);
    harness.master.redeliver();
    harness.run();
    assert_eq!(harness.scheduler().states("t"), [TaskState::Running, TaskState::Running]);
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Acknowledge(_))), 0);
}

#[test]
fn the_next_update_of_a_task_waits_until_the_one_before_is_taken_in() {
    let mut harness = started("t");
    harness.input(Order::Refuse);
    harness.report("t", TaskState::Running, None);
    // A master passes on what an agent says, whether or not the one before is acknowledged.
    let mut next = harness.scheduler().updates[0].clone();
    (next.sequence, next.state) = (next.sequence + 1, TaskState::Finished);
    harness.master.inject(Event { sequence: 0, kind: EventKind::Update(next) });
    harness.run();
    assert_eq!(harness.scheduler().states("t"), [TaskState::Running]);
    harness.input(Order::Done);
    assert_eq!(harness.scheduler().states("t"), [TaskState::Running, TaskState::Finished]);
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Acknowledge(_))), 1);
    harness.input(Order::Done);
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Acknowledge(_))), 2);
}

#[test]
fn what_an_author_takes_in_when_it_settles_makes_room_for_the_next_in_the_same_batch() {
    let mut harness = started("t");
    harness.report("t", TaskState::Running, None);
    harness.input(Order::TakeInLate);
    let mut next = harness.scheduler().updates[0].clone();
    for state in [TaskState::Killing, TaskState::Finished] {
        (next.sequence, next.state) = (next.sequence + 1, state);
        harness.master.inject(Event { sequence: 0, kind: EventKind::Update(next.clone()) });
    }
    harness.run();
    assert_eq!(
        count(&harness, |call| matches!(call, CallKind::Acknowledge(_))),
        3,
        "nothing waits for a heartbeat"
    );
}

#[test]
fn a_lost_acknowledgement_is_said_again_in_the_next_session() {
    let mut harness = started("t");
    harness.master.report(&id("t"), TaskState::Running, None);
    harness.master.report(&id("t"), TaskState::Finished, Some(Exit::Code(0)));
    harness.deliver_event();
    harness.break_link();
    harness.run();
    assert_eq!(harness.scheduler().states("t"), [TaskState::Running, TaskState::Finished]);
}

#[test]
fn a_new_leader_is_told_of_demands_and_kills() {
    let mut harness = started("t");
    let said = |harness: &Harness<Author>| {
        let last = harness.calls.iter().rev().find_map(|call| match call {
            CallKind::Subscribe(subscribe) => Some(subscribe.demands.clone()),
            _ => None,
        });
        last.expect("a subscribe").map(|said| said.demands)
    };
    assert_eq!(said(&harness), None, "plain offers until it says otherwise");
    harness.input(Order::Demand(3));
    harness.input(Order::Demand(2));
    harness.input_only(Order::Kill("t"));
    // The kill is lost with the leader.
    harness.fail_over();
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.master.demands(), [demand(2)]);
    assert_eq!(harness.scheduler().states("t").last(), Some(&TaskState::Killed));
    assert!(!harness.scheduler().sessions[1].resumed);
    harness.fail_over();
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.master.demands(), [demand(2)], "and the one after that");
    assert_eq!(said(&harness), Some(vec![demand(2)]), "before anything could be offered");
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Kill(_))), 2, "the task is over");
}

#[test]
fn a_kill_waits_for_the_launch_it_would_overtake() {
    let mut harness = start();
    harness.input(Order::Start("t"));
    harness.master.make_offers();
    harness.deliver_event();
    harness.input_only(Order::Kill("t"));
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Kill(_))), 0);
    harness.run();
    assert_eq!(harness.scheduler().states("t"), [TaskState::Killed]);
}

#[test]
fn tasks_of_an_earlier_life_are_asked_for_behind_a_fence() {
    let mut harness = started("kept");
    let master = {
        harness.report("kept", TaskState::Running, None);
        harness.crash()
    };
    let mut again = config("test");
    again.id = framework_sdk_core::harness::framework_id();
    again.operation_prefix = "second".to_owned();
    again.believed = vec![id("kept"), id("never")];
    let mut harness = Harness::with_master(again, Author::default(), master).expect("good");
    harness.run();
    assert_eq!(harness.scheduler().states("kept"), [TaskState::Running]);
    assert_eq!(harness.scheduler().states("never"), [TaskState::Unknown]);
    let order: Vec<&str> = harness
        .calls
        .iter()
        .filter_map(|call| match call {
            CallKind::UpdateFramework(_) => Some("fence"),
            CallKind::Reconcile(reconcile) if reconcile.tasks == [id("never")] => Some("reconcile"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["fence", "reconcile"]);
}

#[test]
fn an_old_update_of_a_task_that_the_snapshot_misses_settles_nothing() {
    let mut harness = started("t");
    harness.report("t", TaskState::Running, None);
    let mut update = harness.scheduler().updates[0].clone();
    update.task = id("given-up");
    harness.master.inject(Event { sequence: 0, kind: EventKind::Update(update.clone()) });
    harness.run();
    // The task ends in the log while nobody listens, and this waited for its acknowledgement.
    harness.fail_over();
    harness.deliver_one();
    (update.sequence, update.state) = (update.sequence + 1, TaskState::Killing);
    harness.deliver_event();
    harness.master.inject(Event { sequence: 0, kind: EventKind::Update(update) });
    harness.run();
    let states = harness.scheduler().states("given-up");
    assert_eq!(states, [TaskState::Running, TaskState::Killing, TaskState::Unknown]);
}

#[test]
fn a_task_of_an_accept_without_answer_is_not_missed() {
    let mut harness = start();
    harness.input(Order::Start("t"));
    harness.master.make_offers();
    harness.deliver_event();
    harness.fail_over();
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.scheduler().states("t"), [TaskState::Dropped], "by its answer, not as unknown");
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Reconcile(_))), 0);
}

#[test]
fn held_offers_expire_or_are_rescinded_or_void() {
    let mut harness = start();
    harness.input(Order::Hold);
    harness.offer();
    let held = harness.scheduler().held[0].id;
    assert_eq!(count(&harness, |call| matches!(call, CallKind::Decline(_))), 0);
    harness.advance(Duration::from_secs(61));
    assert_eq!(harness.scheduler().rescinded, [(held, RescindReason::Expired)]);
    harness.master.rescind_all(RescindReason::AgentLost);
    harness.run();
    assert_eq!(harness.scheduler().rescinded.len(), 1, "an offer ends once");
    harness.offer();
    harness.master.rescind_all(RescindReason::AgentLost);
    harness.run();
    assert_eq!(harness.scheduler().rescinded.len(), 2);
}

#[test]
fn a_session_that_was_replaced_is_over_for_good() {
    for code in [Code::SessionReplaced, Code::FrameworkRemoved, Code::Denied] {
        let mut harness = started("t");
        harness.master.fault(code);
        harness.run();
        assert_eq!(harness.ended.as_ref().map(|refusal| refusal.code), Some(code));
        assert_eq!(harness.scheduler().ended.as_ref().map(|refusal| refusal.code), Some(code));
        let calls = harness.calls.len();
        harness.input(Order::Kill("t"));
        harness.advance(Duration::from_secs(600));
        assert_eq!(harness.calls.len(), calls, "it asks nothing any more");
        assert_eq!(harness.outputs.last().map(String::as_str), Some("ended"), "it can still store");
    }
}

#[test]
fn a_passing_fault_is_no_end() {
    let mut harness = start();
    harness.master.fault(Code::Unavailable);
    harness.advance(Duration::from_secs(1));
    assert!(harness.is_connected() && harness.ended.is_none());
}

#[test]
fn tearing_down_ends_it() {
    let mut harness = start();
    harness.input(Order::Teardown);
    assert_eq!(harness.ended.as_ref().map(|refusal| refusal.code), Some(Code::FrameworkRemoved));
}

#[test]
fn redirects_are_followed_and_empty_ones_waited_for() {
    let mut harness = start();
    harness.master.redirect("leader:2");
    harness.run();
    assert_eq!(harness.dialled.last().map(String::as_str), Some("leader:2"));
    assert!(harness.is_connected());
    let dialled = harness.dialled.len();
    harness.master.redirect("");
    harness.advance(Duration::from_secs(1));
    assert!(harness.dialled.len() > dialled && harness.is_connected());
}

#[test]
fn an_unreachable_master_is_tried_about_once_a_second() {
    let mut harness = start();
    harness.unreachable = true;
    harness.break_link();
    harness.advance(Duration::from_secs(60));
    let tries = harness.dialled.len();
    assert!((60..=125).contains(&tries), "{tries} tries in a minute");
    harness.unreachable = false;
    harness.advance(Duration::from_secs(2));
    assert!(harness.is_connected());
}

#[test]
fn silence_breaks_the_link_and_heartbeats_keep_it() {
    let mut harness = start();
    harness.silent = true;
    harness.advance(Duration::from_millis(1100));
    assert_eq!(count(&harness, |call| *call == CallKind::Heartbeat), 1);
    harness.advance(Duration::from_millis(1000));
    harness.master.inject(Event { sequence: 0, kind: EventKind::Heartbeat });
    harness.run();
    harness.advance(Duration::from_millis(2900));
    assert_eq!(subscribes(&harness).len(), 1, "it was heard 2.9 s ago");
    harness.advance(Duration::from_millis(200));
    assert_eq!(subscribes(&harness).len(), 2);
}

#[test]
fn a_gap_in_the_stream_asks_for_everything_anew() {
    let mut harness = start();
    harness.offer();
    harness.master.inject(Event { sequence: 0, kind: EventKind::Heartbeat });
    let heartbeat_only = subscribes(&harness).len();
    harness.run();
    assert_eq!(subscribes(&harness).len(), heartbeat_only, "heartbeats have no place in the stream");
    let status = TaskStatus::by_master(id("x"), TaskState::Running, proto::task::StatusReason::None, "", 0);
    harness.master.inject(Event { sequence: 99, kind: EventKind::Update(status) });
    harness.advance(Duration::from_secs(1));
    assert_eq!(subscribes(&harness).last(), Some(&(true, None)));
    assert!(harness.scheduler().states("x").is_empty());
}

#[test]
fn what_only_later_versions_know_has_its_place_in_the_stream_and_is_passed_over() {
    let mut harness = start();
    let sessions = subscribes(&harness).len();
    harness.input(Order::Start("t"));
    harness.master.say_what_is_not_known();
    harness.offer();
    assert_eq!(harness.alive(), ["t"], "what follows it is heard");
    assert_eq!(subscribes(&harness).len(), sessions, "nothing was missed");
}

#[test]
fn an_older_leader_is_not_obeyed() {
    let mut harness = start();
    harness.fail_over();
    harness.run();
    let sessions = harness.scheduler().sessions.len();
    harness.master.inject(Event {
        sequence: 0,
        kind: EventKind::Subscribed(Subscribed {
            framework: framework_sdk_core::harness::framework_id().expect("an id"),
            epoch: proto::id::Epoch(1),
            heartbeat_interval: Duration::from_secs(1),
            resumed: false,
            tasks: Vec::new(),
        }),
    });
    harness.deliver_event();
    assert_eq!(harness.scheduler().sessions.len(), sessions);
    harness.advance(Duration::from_secs(1));
    assert!(harness.is_connected());
}

/// Whatever is lost, repeated or failed over: each task that was accepted starts once, each of its updates reaches the
/// author in order and at least once, and after the trouble everything wanted has run.
#[test]
fn nothing_is_lost_or_doubled_on_a_bad_line() {
    const NAMES: [&str; 12] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11"];
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let mut harness = start();
        let mut ordered: BTreeSet<&str> = BTreeSet::new();
        for _ in 0..300 {
            match dice.below(12) {
                0 => harness.break_link(),
                1 => harness.fail_over(),
                2 => harness.master.make_offers(),
                3 => harness.master.redeliver(),
                4 => harness.advance(Duration::from_millis(dice.below(1500))),
                5 => {
                    if let Some(name) = NAMES.iter().find(|name| !ordered.contains(*name)) {
                        ordered.insert(name);
                        harness.input_only(Order::Start(name));
                    }
                }
                6 => {
                    let alive = harness.alive();
                    if let Some(name) = dice.pick(&alive) {
                        let state = if dice.chance(1, 2) { TaskState::Running } else { TaskState::Finished };
                        harness.master.report(&id(name), state, None);
                    }
                }
                7 => {
                    harness.deliver_event();
                }
                _ => {
                    harness.deliver_one();
                }
            }
        }
        // The trouble is over.
        for _ in 0..4 {
            harness.advance(Duration::from_secs(5));
            harness.master.redeliver();
            harness.offer();
        }
        let author = harness.scheduler();
        assert!(harness.master.doubled.is_empty(), "seed {seed}: {:?}", harness.master.doubled);
        assert!(harness.master.reused.is_empty(), "seed {seed}");
        let accepted: BTreeSet<&str> = harness.master.accepted.iter().map(TaskId::as_str).collect();
        for name in &ordered {
            let states = author.states(name);
            let ran = accepted.contains(name);
            let dropped = states == [TaskState::Dropped];
            assert!(ran ^ dropped, "seed {seed}: {name} ran={ran} {states:?}");
            if ran {
                let task = harness.master.task(name).expect("accepted");
                let told = states.last().copied().unwrap_or(TaskState::Staging);
                assert_eq!(told, task.state(), "seed {seed}: {name} {states:?}");
            }
        }
        let mut last: BTreeMap<(TaskId, Option<proto::id::RunId>), u64> = BTreeMap::new();
        for status in author.updates.iter().filter(|status| status.sequence > 0) {
            let before = last.insert((status.task.clone(), status.run), status.sequence).unwrap_or(0);
            assert_eq!(status.sequence, before + 1, "seed {seed}: {status:?}");
        }
    }
}
