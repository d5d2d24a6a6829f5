//! The master dies, another leads: the agent is with it at once, and obeys the old one no more.

use std::time::{Duration, Instant};

use proto::agent_link::{Shutdown, ToAgentKind};
use proto::id::RunId;
use proto::refusal::{Code, Refusal};
use proto::scheduler::Redirect;
use proto::task::TaskState;
use tonic::service::Routes;

use super::master::{Master, command, script};
use super::node::{Node, has_command};
use super::soon;

#[tokio::test]
async fn the_agent_is_with_the_next_leader_within_a_second() {
    let node = Node::new();
    let mut first = Master::open(&node.ca, 1, Routes::default()).await;
    let mut second = Master::open(&node.ca, 2, Routes::default()).await;
    let (one, two) = (first.address.clone(), second.address.clone());
    // A follower says who leads, whenever somebody asks.
    let leader = one.clone();
    let running = node.start(&[&one, &two]).await;
    let mut session = tokio::select! {
        session = first.session() => session,
        follower = second.session() => {
            follower.tell(ToAgentKind::Redirect(Redirect { leader_address: leader }));
            first.session().await
        }
    };
    session.admit().await;
    session.start(command(1, &["sleep", "600"])).await;

    let start = Instant::now();
    drop(session);
    first.die().await;
    let (mut session, register) = second.admit().await;
    let took = start.elapsed();
    println!("with the next leader after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(register.runs.len(), 1);
    assert_eq!(register.runs[0].status.state, TaskState::Running);
    session.launch(vec![script(2, "exit 0")]);
    session.until_over(&[RunId::at(2, 0)]).await;

    // The same master in an older epoch: nothing it says counts, and the session is closed.
    second.epoch = 1;
    session.tell(ToAgentKind::Heartbeat);
    running.stop().await;
    let running = node.start(&[&two]).await;
    let mut old = second.session().await;
    old.admit().await;
    old.closed().await;
    running.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_gone_for_the_pool_ends_its_tasks_and_itself() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let mut running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let pid = session.start(command(1, &["sleep", "600"])).await.pid;
    session.tell(ToAgentKind::Shutdown(Shutdown { refusal: Refusal::new(Code::AgentGone, "declared gone") }));
    let why = soon("the end", running.ended()).await.to_string();
    assert!(why.contains("declared gone"), "{why}");
    assert!(!has_command(pid));
    running.stop().await;
}
