//! Where instances of a job go.

use std::time::Duration;

use framework_sdk::attributes::{AttributeValue, Constraint, Constraints};
use framework_sdk::harness::{Fake, agent, resources};

use super::rig::*;
use crate::spec::{JobSpec, Kind};
use crate::store::State;

fn prefers(rule: &str, instances: u32) -> JobSpec {
    let rule = Constraint::parse(rule).expect("a rule");
    JobSpec { prefer: Constraints(vec![rule]), ..spec("web", Kind::Service, instances) }
}

/// Two agents with room for two each, of which the second has a disk.
fn two() -> Process {
    let mut master = Fake::new();
    for (name, disk) in [("a1", "hdd"), ("a2", "ssd")] {
        let mut info = agent(name, resources(200, 4 << 30));
        info.attributes.0.insert("disk".to_owned(), AttributeValue::Text(disk.to_owned()));
        master.add_agent(info);
    }
    let mut process = boot(State::default(), master, 1);
    process.harness.run();
    process
}

fn agents(process: &mut Process) -> Vec<String> {
    let tasks = process.job("web").expect("there").tasks;
    tasks.into_iter().map(|task| task.agent_id).collect()
}

#[test]
fn machines_that_are_preferred_come_first_and_what_runs_stays_where_it_is() {
    let mut process = two();
    process.submit(prefers("disk=ssd", 3)).expect("taken");
    process.go_on();
    assert_eq!(agents(&mut process), ["a2", "a2"], "the third holds out");
    process.harness.advance(Duration::from_secs(1));
    process.go_on();
    assert_eq!(agents(&mut process), ["a2", "a2", "a1"]);
    let before = process.harness.alive();
    process.submit(prefers("disk=hdd", 3)).expect("taken");
    process.harness.advance(Duration::from_secs(60));
    process.go_on();
    assert_eq!(process.harness.alive(), before);
    let mut process = process.restart();
    process.harness.run();
    process.go_on();
    assert_eq!(process.harness.alive(), before, "in the next life too");
}
