//! Starts and ends: what is started, started again, given up, and acknowledged when.

use std::time::Duration;

use proto::role::Role;
use proto::scheduler::CallKind;
use proto::task::TaskState;

use super::*;
use crate::desired::{GroupName, Restart, Unreachable};

#[test]
fn what_is_stated_is_started_and_then_nothing_is_wanted() {
    let mut play = Play::small();
    assert!(play.harness.master.demands().is_empty());
    play.submit(group("web").count(3));
    assert_eq!(play.alive(), ["web.0", "web.1", "web.2"]);
    play.all_run();
    assert!(play.tells("web is as stated"));
    assert!(play.harness.master.demands().is_empty());
    let calls = play.harness.calls.len();
    play.offers();
    play.wait(100);
    let idle = &play.harness.calls[calls..];
    let noise = |call: &CallKind| !matches!(call, CallKind::Heartbeat);
    assert!(!idle.iter().any(noise), "an idle framework is offered nothing and asks for nothing: {idle:?}");
    let name = GroupName::new("web").expect("a name");
    let sums = play.harness.scheduler().sums(&name).expect("it is there");
    assert_eq!((sums.wanted, sums.running, sums.available, sums.waiting), (3, 3, 3, 0));
}

#[test]
fn what_failed_is_started_again_after_a_pause_and_what_ended_well_is_over() {
    let mut play = Play::small();
    play.submit(group("web").count(2));
    play.all_run();
    play.report("web.0", TaskState::Failed);
    play.report("web.1", TaskState::Finished);
    assert!(play.alive().is_empty(), "the pause is not over");
    play.wait(1);
    assert_eq!(play.alive(), ["web.0"]);
    play.all_run();
    play.report("web.0", TaskState::Failed);
    play.wait(1);
    assert!(play.alive().is_empty(), "the second pause is longer");
    play.wait(1);
    play.all_run();
    play.told.clear();
    play.report("web.0", TaskState::Finished);
    assert!(play.tells("web is over"));
    play.wait(1000);
    assert_eq!(play.harness.master.accepted.len(), 4);
    assert!(play.harness.master.doubled.is_empty());
}

#[test]
fn a_launch_that_came_to_nothing_is_tried_again() {
    let mut play = Play::small();
    let refusal = proto::refusal::Refusal::new(proto::refusal::Code::StaleOffer, "over");
    play.harness.master.refuse_next = Some((|call| matches!(call, CallKind::Accept(_)), refusal));
    play.submit(group("web").restart(Restart::Never));
    assert!(play.tells("web.0 dropped"));
    play.offers();
    assert_eq!(play.alive(), ["web.0"], "it never began");
}

#[test]
fn a_task_that_can_never_run_is_over_until_the_spec_changes() {
    let mut play = Play::small();
    play.submit(group("web").restart(Restart::Always));
    play.report("web.0", TaskState::Error);
    assert!(play.tells("web is over"));
    play.wait(100);
    assert!(play.alive().is_empty());
    play.submit(Group::of(spec().mem_mib(65)).named("web").expect("a name"));
    assert_eq!(play.alive(), ["web.0"]);
}

#[test]
fn what_is_out_of_sight_is_waited_for_and_then_replaced() {
    let mut play = Play::small();
    play.submit(group("web").unreachable(Unreachable::WaitUpTo(Duration::from_secs(60))));
    play.all_run();
    let first = play.task("web.0");
    play.declare("web.0", TaskState::Unreachable);
    play.wait(59);
    assert_eq!(play.alive_tasks(), std::slice::from_ref(&first), "it may come back");
    play.harness.advance(Duration::from_secs(1));
    play.keep();
    assert!(play.told.contains(&"given up web.0".to_owned()), "{:?}", play.told);
    let asked = |call: &CallKind| matches!(call, CallKind::Kill(kill) if kill.task == first);
    assert!(play.harness.calls.iter().any(asked), "should it come back, it ends");
    play.offers();
    assert_eq!(play.alive(), ["web.0", "web.0"], "nobody sees what became of the first");
    assert_ne!(play.task("web.0"), first);
    play.harness.master.declare(&first, TaskState::Running);
    play.go();
    assert_eq!(play.alive(), ["web.0"]);
    assert!(!play.alive_tasks().contains(&first));
}

#[test]
fn what_is_being_replaced_and_goes_out_of_sight_holds_nobody_up() {
    for lost_first in [true, false] {
        let mut play = Play::small();
        let patience = Unreachable::WaitUpTo(Duration::from_secs(60));
        let change = crate::desired::RollingChange { max_unavailable: 1, ..Default::default() };
        let stated = |of: TaskSpec| Group::of(of).named("web").expect("a name").unreachable(patience);
        play.submit(stated(spec()).restart(Restart::Always).change(change));
        play.all_run();
        play.harness.master.kills_take_time = true;
        let first = play.task("web.0");
        if lost_first {
            play.declare("web.0", TaskState::Unreachable);
        }
        play.submit(stated(spec().mem_mib(65)).restart(Restart::Always).change(change));
        if !lost_first {
            play.declare("web.0", TaskState::Unreachable);
        }
        play.wait(61);
        play.all_run();
        assert_ne!(play.task("web.0"), first, "lost first: {lost_first}");
        assert!(play.tells("web is as stated"));
    }
}

#[test]
fn what_comes_back_in_time_goes_on() {
    let mut play = Play::small();
    play.submit(group("web").unreachable(Unreachable::WaitUpTo(Duration::from_secs(60))));
    play.all_run();
    play.declare("web.0", TaskState::Unreachable);
    play.wait(59);
    play.declare("web.0", TaskState::Running);
    play.wait(100);
    assert_eq!(play.harness.master.accepted.len(), 1);
    assert!(play.tells("web is as stated"));
}

#[test]
fn who_would_rather_wait_waits() {
    let mut play = Play::small();
    play.submit(group("web").unreachable(Unreachable::Wait));
    play.all_run();
    play.declare("web.0", TaskState::Unreachable);
    play.wait(100_000);
    assert_eq!(play.harness.master.accepted.len(), 1);
    play.declare("web.0", TaskState::Gone);
    assert_eq!(play.alive(), ["web.0"], "its machine is gone: at once, elsewhere");
}

#[test]
fn an_event_is_told_until_it_is_taken_in_and_acknowledged_only_then() {
    let mut play = Play::with([zoned("a1", "x")], Reconciler::acknowledged_by_author);
    play.submit(group("web"));
    play.report("web.0", TaskState::Running);
    let acknowledged = |play: &Play| {
        play.harness.calls.iter().filter(|call| matches!(call, CallKind::Acknowledge(_))).count()
    };
    let [ticket] = play.tickets[..] else { panic!("one event with a ticket: {:?}", play.tickets) };
    play.harness.master.redeliver();
    play.go();
    assert_eq!(play.tickets.len(), 1, "the author has it already");
    play.order(Order::TakenIn(ticket, false));
    assert_eq!((play.tickets.len(), acknowledged(&play)), (1, 0));
    play.wait(1);
    assert_eq!(play.tickets, [ticket; 2], "it is told again");
    play.report("web.0", TaskState::Failed);
    assert_eq!(play.tickets.len(), 2, "what came after it waits");
    play.order(Order::TakenIn(ticket, true));
    assert_eq!((play.tickets.len(), acknowledged(&play)), (3, 1));
    assert_eq!(play.told.last().map(String::as_str), Some("web.0 failed"));
}

#[test]
fn otherwise_it_is_acknowledged_once_what_follows_is_saved() {
    let mut play = Play::small();
    play.submit(group("web").restart(Restart::Never));
    play.all_run();
    let task = play.task("web.0");
    play.harness.master.report(&task, TaskState::Finished, None);
    // The process dies in the middle: with the next output it wants, which is to save.
    play.harness.dies_after = Some(0);
    play.go();
    let mut play = Play::reborn(2, play.memory, play.harness.crash(), play_time());
    play.submit(group("web").restart(Restart::Never));
    assert!(play.tells("web is over"), "the end was not acknowledged, so it came again");
    play.wait(100);
    assert_eq!(play.harness.master.accepted.len(), 1);
}

fn play_time() -> proto_machine::WallTime {
    proto_machine::WallTime::from_millis(1_700_000_100_000)
}

#[test]
fn demands_that_were_refused_do_not_leave_the_ones_before_standing() {
    let mut play = Play::small();
    play.submit(group("much").count(100));
    assert_eq!(play.harness.master.demands().len(), 1, "it does not fit");
    let refusal = proto::refusal::Refusal::new(proto::refusal::Code::Denied, "not these");
    play.harness.master.refuse_next = Some((|call| matches!(call, CallKind::UpdateDemands(_)), refusal));
    play.submit(group("more").count(100));
    assert!(play.tells("refused demands"));
    for name in ["much", "more"] {
        play.order(Order::Withdraw(group(name).name().clone()));
    }
    assert!(play.harness.master.demands().is_empty(), "nothing is wanted");
}

#[test]
fn a_role_that_was_refused_is_not_demanded_in_after_a_new_session() {
    let mut play = Play::small();
    let refusal = proto::refusal::Refusal::new(proto::refusal::Code::Denied, "not yours");
    play.harness.master.refuse_next = Some((|call| matches!(call, CallKind::UpdateFramework(_)), refusal));
    let theirs = Role::new("theirs").expect("a role");
    play.submit(group("web").role(theirs.clone()));
    play.submit(group("much").count(100));
    assert!(play.tells("refused roles"));
    play.harness.break_link();
    play.wait(10);
    let demands = play.harness.master.demands();
    assert!(!demands.is_empty() && demands.iter().all(|demand| demand.role != theirs), "{demands:?}");
}
