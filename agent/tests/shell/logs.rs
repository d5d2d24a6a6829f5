//! Output: followed while it grows, to the end; and not for everybody.

use proto::agent_link::LogsRequest;
use proto::id::RunId;
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use proto_grpc::{PeerRole, channel};
use proto_pki::{Identity, LEAF_VALIDITY};
use tonic::Code;
use tonic::service::Routes;

use super::master::{Master, framework, script, task};
use super::node::{Node, open_to_tasks};

#[tokio::test]
async fn output_is_followed_from_the_first_word_to_the_last() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let pipe = node.dir().join("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    open_to_tasks(&pipe);
    session.start(script(1, &format!("echo one; cat {}; echo three", pipe.display()))).await;
    let mut logs = node.logs(running.address(), task(1), true).await.unwrap();
    assert_eq!(logs.until("one\n").await, "one\n");
    let words = pipe.clone();
    tokio::task::spawn_blocking(move || std::fs::write(words, "two\n")).await.unwrap().unwrap();
    let rest = tokio::spawn(logs.all());
    session.until_over(&[RunId::at(1, 0)]).await;
    assert_eq!(rest.await.unwrap(), "two\nthree\n", "and it ended when the task did");
    running.stop().await;
}

#[tokio::test]
async fn output_is_not_for_agents_and_what_is_not_there_is_not_found() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    session.launch(vec![script(1, "echo secret")]);
    session.until_over(&[RunId::at(1, 0)]).await;
    let agent = node.ca.issue(&Identity::Agent(node.id.clone()), LEAF_VALIDITY).unwrap();
    let channel = channel(running.address(), PeerRole::Agent, &agent).await.unwrap();
    let asked = LogsRequest {
        framework: framework(),
        task: task(1),
        stderr: false,
        follow: false,
        tail_lines: None,
        offset: None,
    };
    let refused = AgentDoorClient::new(channel).logs(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let missing = node.logs(running.address(), task(9), false).await.err().unwrap();
    assert_eq!(missing.code(), Code::NotFound);
    running.stop().await;
}
