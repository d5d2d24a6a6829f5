//! The agent stops and starts again in the same directory: its tasks are the same.

use proto::id::RunId;
use proto::task::{Exit, TaskState};
use tonic::service::Routes;

use super::master::{Master, command, script, task};
use super::node::{Gate, Node, has_command};

#[tokio::test]
async fn tasks_go_on_without_the_agent_and_it_finds_them_again() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let stays = session.start(command(1, &["sleep", "600"])).await;
    let gate = Gate::new(&node);
    session.start(script(2, &format!("echo before; {}; echo after; exit 7", gate.cat()))).await;
    let keeper = running.keeper_pid();
    running.stop().await;

    // It ends while nobody is there.
    gate.open("meanwhile").await;

    let running = node.start(&[&master.address]).await;
    assert_eq!(running.keeper_pid(), keeper);
    let (mut session, register) = master.admit().await;
    let reported = |number: u64| {
        register
            .runs
            .iter()
            .find(|report| report.run == RunId::at(number, 0))
            .expect("a report")
            .status
            .clone()
    };
    assert_eq!((reported(1).state, reported(1).pid), (TaskState::Running, stays.pid));
    let run = RunId::at(2, 0);
    let seen = session.until_over(&[run]).await;
    let end = seen[&run].last().unwrap();
    assert_eq!((end.state, end.exit, end.sequence), (TaskState::Failed, Some(Exit::Code(7)), 2));
    let output = node.logs(running.address(), task(2), false).await.unwrap().all().await;
    assert_eq!(output, "before\nmeanwhile\nafter\n", "also of what ended in another life");
    assert!(has_command(stays.pid));
    running.stop().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_told_again() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    session.launch(vec![script(1, "exit 0")]);
    let first = [session.update().await, session.update().await];
    running.stop().await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let again = [session.acknowledged().await, session.acknowledged().await];
    assert_eq!(first, again, "in the same words");
    // And once it is acknowledged it is told no more, nor started once more.
    session.launch(vec![script(1, "exit 0")]);
    let told = session.update().await;
    assert_eq!((told.state, told.sequence), (TaskState::Finished, 2));
    running.stop().await;
    let running = node.start(&[&master.address]).await;
    let (_session, register) = master.admit().await;
    assert!(register.runs.is_empty(), "{register:?}");
    running.stop().await;
}
