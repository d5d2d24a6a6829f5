//! Volumes: deleted on the log's word alone, never under a run, and told when it is done.

use proto::agent_link::{DestroyVolumes, Shutdown, TaskRun, ToAgentKind};
use proto::id::VolumeId;
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::volume::Volume;

use super::fixtures::{code, run_id, signal, task_run};
use super::rig::{Rig, brief};
use crate::{Contain, Found, FoundState, Input, Output};

fn volume(birth: u64) -> Volume {
    Volume { role: Role::new("eng").unwrap(), id: VolumeId::new("v").unwrap(), birth }
}

fn has(n: u64, volume: Volume) -> TaskRun {
    TaskRun { volumes: vec![volume], ..task_run(n) }
}

impl Rig {
    fn destroy(&mut self, births: &[u64]) -> Vec<Output> {
        let volumes = births.iter().map(|birth| volume(*birth)).collect();
        self.master(ToAgentKind::DestroyVolumes(DestroyVolumes { volumes }))
    }

    fn removed(&mut self, birth: u64) -> Vec<Output> {
        self.step(Input::VolumeRemoved(volume(birth)))
    }
}

#[test]
fn a_destroyed_volume_is_deleted_and_then_told() {
    let mut rig = Rig::joined();
    assert_eq!(brief(&rig.destroy(&[7, 9])), ["remove v#7", "remove v#9"]);
    assert_eq!(brief(&rig.destroy(&[7, 9])), [""; 0], "said twice, asked once");
    assert_eq!(brief(&rig.removed(7)), ["destroyed v#7"]);
    assert_eq!(brief(&rig.removed(7)), [""; 0]);
    // A master that does not know that yet says it again: there is nothing left to delete, which is told too.
    assert_eq!(brief(&rig.destroy(&[7, 9])), ["remove v#7"]);
    assert_eq!(brief(&rig.removed(7)), ["destroyed v#7"]);
}

#[test]
fn nothing_is_deleted_under_a_run() {
    let mut rig = Rig::joined();
    let run = rig.running(has(1, volume(7)));
    rig.running(has(2, volume(8)));
    assert_eq!(brief(&rig.destroy(&[7, 5])), ["remove v#5"]);
    assert_eq!(
        brief(&rig.exited(run, code(0, 5))),
        ["store reached 1.0 #2 finished", "update 1.0 #2 finished", "remove v#7"]
    );
}

#[test]
fn a_run_keeps_its_volume_over_a_restart_of_the_agent() {
    let mut rig = Rig::joined();
    rig.running(has(1, volume(7)));
    // Not started yet: it is launched again, with its volume, from the ledger as it grew and as it is rewritten.
    rig.launch(vec![has(2, volume(8))]);
    let found = vec![Found { run: run_id(1), state: FoundState::Running { pid: 1 } }];
    let image = rig.image();
    for ledger in [rig.ledger.clone(), image] {
        rig.ledger = ledger;
        let (mut again, out) = rig.restarted(false, found.clone());
        let launched = out.iter().find_map(|output| match output {
            Output::Contain(Contain::Launch(given)) => Some(given.volumes.clone()),
            _ => None,
        });
        assert_eq!(launched, Some(vec![volume(8)]));
        again.join();
        assert_eq!(brief(&again.destroy(&[7])), [""; 0]);
        let out = again.exited(run_id(1), code(0, 5));
        assert_eq!(brief(&out).last().map(String::as_str), Some("remove v#7"));
    }
}

#[test]
fn what_was_deleted_while_no_master_was_there_is_told_when_one_asks() {
    let mut rig = Rig::joined();
    rig.destroy(&[7]);
    rig.step(Input::Unlinked(rig.link));
    assert_eq!(brief(&rig.removed(7)), [""; 0]);
    rig.pass_to_wake();
    rig.join();
    assert_eq!(brief(&rig.destroy(&[7])), ["remove v#7"]);
    assert_eq!(brief(&rig.removed(7)), ["destroyed v#7"]);
}

#[test]
fn a_master_that_no_longer_leads_destroys_nothing() {
    let mut rig = Rig::joined();
    rig.epoch = 5;
    rig.master(ToAgentKind::Heartbeat);
    rig.epoch = 4;
    assert!(!brief(&rig.destroy(&[7])).iter().any(|out| out.starts_with("remove")));
}

#[test]
fn an_agent_that_is_gone_leaves_when_its_volumes_are_deleted() {
    let mut rig = Rig::joined();
    let run = rig.running(has(1, volume(7)));
    assert_eq!(brief(&rig.destroy(&[7])), [""; 0]);
    rig.master(ToAgentKind::Shutdown(Shutdown { refusal: Refusal::new(Code::AgentGone, "declared gone") }));
    let out = rig.exited(run, signal(15, rig.now.wall.as_millis()));
    assert_eq!(brief(&out), ["store+ reached 1.0 #3 killed", "remove v#7"]);
    assert_eq!(brief(&rig.removed(7)), ["leave agent-gone"]);
}
