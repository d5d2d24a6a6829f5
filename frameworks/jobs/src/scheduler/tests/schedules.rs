//! Cron jobs: when they run, what happens when they cannot, and that no crash doubles a run or leaves one out.

use std::time::Duration;

use framework_sdk::task::{Exit, TaskState};

use super::super::{Order, Ticket};
use super::rig::*;
use crate::cron::Schedule;
use crate::spec::{Cron, JobSpec, Kind, Overlap};

const MINUTE: Duration = Duration::from_secs(60);
/// The harness begins at 22:13:20 UTC on 14 November 2023.
const TO_THE_HOUR: Duration = Duration::from_secs(46 * 60 + 40);

fn cron(schedule: &str, overlap: Overlap) -> JobSpec {
    let schedule = Schedule::parse(schedule).expect("a schedule");
    JobSpec { cron: Some(Cron { overlap, ..Cron::of(schedule) }), ..spec("tick", Kind::Cron, 1) }
}

fn finish_all(process: &mut Process) {
    process.go_on();
    process.report_all(TaskState::Finished, Some(Exit::Code(0)));
}

fn wait(process: &mut Process, time: Duration) {
    process.harness.advance(time);
    process.sync();
}

#[test]
fn each_run_is_a_job_of_its_own_and_old_ones_are_forgotten() {
    let mut process = start();
    process.submit(cron("0 * * * *", Overlap::Allow)).expect("taken");
    process.go_on();
    assert_eq!(process.jobs(), ["tick"]);
    assert!(process.held("tick").held[0].contains("20231114T2300"), "{:?}", process.held("tick"));
    wait(&mut process, TO_THE_HOUR - Duration::from_secs(1));
    assert_eq!(process.jobs(), ["tick"], "not yet");
    wait(&mut process, Duration::from_secs(1));
    assert_eq!(process.jobs(), ["tick", "tick-20231114T2300"]);
    let run = process.job("tick-20231114T2300").expect("there");
    assert_eq!(run.parent, "tick");
    for _ in 0..5 {
        finish_all(&mut process);
        wait(&mut process, 60 * MINUTE);
    }
    finish_all(&mut process);
    let kept = ["tick", "tick-20231115T0200", "tick-20231115T0300", "tick-20231115T0400"];
    assert_eq!(process.jobs(), kept, "three are remembered");
    assert!(process.summary("tick-20231115T0400").over);
    assert_eq!(process.harness.master.accepted.len(), 6);
}

#[test]
fn a_run_that_goes_on_is_left_joined_or_replaced() {
    for (overlap, runs, alive) in [(Overlap::Allow, 2, 2), (Overlap::Forbid, 1, 1), (Overlap::Replace, 2, 1)]
    {
        let mut process = start();
        process.submit(cron("0 * * * *", overlap)).expect("taken");
        wait(&mut process, TO_THE_HOUR);
        process.go_on();
        wait(&mut process, 60 * MINUTE);
        process.go_on();
        assert_eq!(process.jobs().len(), 1 + runs, "{overlap:?} {:?}", process.jobs());
        assert_eq!(process.harness.alive().len(), alive, "{overlap:?}");
        if overlap == Overlap::Replace {
            assert!(process.harness.alive()[0].starts_with("tick-20231115T0000."));
            assert!(process.summary("tick-20231114T2300").stopped);
        }
    }
}

#[test]
fn what_was_missed_is_caught_up_with_once_and_in_time_only() {
    for (down, expected) in [(MINUTE / 2, vec!["tick-20231114T2310"]), (MINUTE * 5, vec![])] {
        let mut process = start();
        process.submit(cron("*/10 * * * *", Overlap::Allow)).expect("taken");
        // It is down from before 22:20 until a while after 23:10.
        let mut process = process.restart();
        let now = process.harness.now();
        let back = now.wall + TO_THE_HOUR + 10 * MINUTE + down;
        process.harness = process.harness.at(back);
        process.harness.run();
        process.sync();
        let runs: Vec<&str> = process.jobs().into_iter().filter(|name| *name != "tick").collect();
        assert_eq!(runs, expected, "down for {down:?}");
    }
}

#[test]
fn a_paused_job_waits_and_does_not_catch_up() {
    let mut process = start();
    let mut paused = cron("*/10 * * * *", Overlap::Allow);
    process.submit(paused.clone()).expect("taken");
    if let Some(cron) = &mut paused.cron {
        cron.paused = true;
    }
    process.submit(paused).expect("taken");
    wait(&mut process, 60 * MINUTE);
    assert_eq!(process.jobs(), ["tick"]);
    assert!(process.held("tick").held[0].contains("paused"));
    process.submit(cron("*/10 * * * *", Overlap::Allow)).expect("taken");
    assert_eq!(process.jobs(), ["tick"]);
    wait(&mut process, 7 * MINUTE);
    assert_eq!(process.jobs().len(), 2, "the next one: {:?}", process.jobs());
}

#[test]
fn its_runs_end_with_it() {
    let mut process = start();
    process.submit(cron("0 * * * *", Overlap::Allow)).expect("taken");
    wait(&mut process, TO_THE_HOUR);
    process.go_on();
    assert_eq!(process.stop("tick", true).expect("stopped").killing, 1);
    process.go_on();
    assert!(process.harness.alive().is_empty());
    assert!(process.jobs().is_empty(), "{:?}", process.jobs());
    wait(&mut process, 120 * MINUTE);
    assert!(process.jobs().is_empty());
}

#[test]
fn the_longest_name_leaves_room_for_the_time() {
    let mut process = start();
    let named = |bytes| JobSpec { name: "n".repeat(bytes), ..cron("0 * * * *", Overlap::Allow) };
    assert!(named(51).checked().is_err());
    process.submit(named(50).checked().expect("as long as it may be")).expect("taken");
    wait(&mut process, TO_THE_HOUR);
    process.go_on();
    assert_eq!(process.harness.alive().len(), 1, "{:?}", process.jobs());
}

/// It dies after each of the first things that it does around a run that is due, and is started again.
#[test]
fn wherever_it_dies_a_run_is_started_once() {
    for dies_after in 0..12 {
        for away in [0, 20] {
            let mut process = start();
            process.submit(cron("0 * * * *", Overlap::Allow)).expect("taken");
            wait(&mut process, TO_THE_HOUR - Duration::from_secs(1));
            process.harness.dies_after = Some(dies_after);
            process.harness.advance(Duration::from_secs(2));
            process.harness.master.make_offers();
            process.harness.run();
            process.harness.dies_after = None;
            let mut process = process.restart();
            let now = process.harness.now();
            process.harness = process.harness.at(now.wall + Duration::from_secs(away));
            process.harness.run();
            wait(&mut process, Duration::from_secs(90));
            process.go_on();
            finish_all(&mut process);
            assert_eq!(process.jobs(), ["tick", "tick-20231114T2300"], "died after {dies_after}");
            let summary = process.summary("tick-20231114T2300");
            assert!(summary.over && summary.finished == 1, "died after {dies_after}: {summary:?}");
            assert_eq!(process.harness.master.accepted.len(), 1, "died after {dies_after}");
            assert!(process.harness.master.doubled.is_empty());
        }
    }
}

#[test]
fn the_same_again_leaves_nothing_out() {
    let mut process = start();
    process.submit(cron("0 * * * *", Overlap::Allow)).expect("taken");
    wait(&mut process, TO_THE_HOUR - Duration::from_millis(1));
    process.harness.input(Order::Submit {
        ticket: Ticket(7),
        request: "another-request-id".to_owned(),
        spec: cron("0 * * * *", Overlap::Allow).into(),
        ephemeral: false,
        replace: true,
    });
    wait(&mut process, Duration::from_millis(1));
    assert_eq!(process.jobs().len(), 2);
}

#[test]
fn a_change_leaves_out_no_run_that_is_due() {
    let mut process = start();
    process.submit(cron("0 * * * *", Overlap::Allow)).expect("taken");
    // The change arrives before the scheduler has looked at the clock.
    let due = process.harness.now().wall + TO_THE_HOUR;
    process.harness = process.harness.at(due);
    let changed = JobSpec { priority: 1, ..cron("30 * * * *", Overlap::Allow) };
    process.submit(changed).expect("taken");
    process.harness.run();
    process.sync();
    assert_eq!(process.jobs(), ["tick", "tick-20231114T2300"]);
    assert_eq!(process.disk.jobs["tick-20231114T2300"].spec.priority, 0, "as it was when it came due");
    wait(&mut process, 30 * MINUTE);
    assert_eq!(process.jobs().len(), 3, "{:?}", process.jobs());
}
