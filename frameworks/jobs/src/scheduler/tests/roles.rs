//! The roles that the framework is in: those of all its jobs, and never more than a master allows.

use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::refusal::Code;
use framework_sdk::role::Role;

use super::rig::*;
use crate::cron::Schedule;
use crate::spec::{Cron, JobSpec, Kind};
use crate::store::{Record, State};

const MOST: usize = 64;

fn role(n: usize) -> Role {
    Role::new(&format!("team{n:02}")).expect("a role")
}

/// One that wants nothing for a long time.
fn yearly(n: usize) -> JobSpec {
    let cron = Cron::of(Schedule::parse("@yearly").expect("a schedule"));
    JobSpec { cron: Some(cron), role: Some(role(n)), ..spec(&format!("job{n:02}"), Kind::Cron, 1) }
}

fn roles(process: &Process) -> usize {
    process.harness.scheduler().info().roles.len()
}

#[test]
fn jobs_that_have_not_begun_count_as_those_that_have() {
    let mut process = start();
    for n in 1..MOST {
        process.submit(yearly(n)).expect("taken");
    }
    assert_eq!(roles(&process), MOST, "with the role of jobs that name none");
    let refused = process.submit(yearly(MOST)).expect_err("one too many");
    assert_eq!(refused.code, Code::TooMuch, "{refused}");
    let again = JobSpec { role: Some(role(3)), ..spec("another", Kind::Batch, 1) };
    process.submit(again).expect("it is in that role already");
    let mut process = process.restart();
    process.harness.run();
    assert_eq!(roles(&process), MOST);
    // What is over is in no role any more, from the next life on.
    process.stop("job07", false).expect("stopped");
    let mut process = process.restart();
    process.harness.run();
    assert_eq!(roles(&process), MOST - 1);
    process.submit(yearly(MOST)).expect("taken");
    assert_eq!(process.submit(yearly(7)).map_err(|refusal| refusal.code), Err(Code::TooMuch));
}

#[test]
fn a_journal_with_too_many_roles_does_not_keep_the_framework_from_its_master() {
    let mut disk = State::default();
    for n in 0..MOST + 6 {
        let job = JobSpec { role: Some(role(n)), ..spec(&format!("job{n:02}"), Kind::Service, 1) };
        disk.apply(Record::Header { format: 2, prefix: "test".to_owned() });
        let stored = disk.store_job(job.into(), "0123456789abcdef", 1, false);
        disk.apply(stored);
    }
    let mut master = Fake::new();
    master.add_agent(agent("a1", resources(64_000, 64 << 30)));
    let mut process = boot(disk, master, 1);
    process.harness.run();
    process.go_on();
    assert_eq!(roles(&process), MOST);
    assert_eq!(process.harness.alive().len(), MOST - 1, "the others wait");
    let held = process.held("job69").held;
    assert!(held[0].contains("does not know yet"), "{held:?}");
}
