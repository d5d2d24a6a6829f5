//! Commands beside tasks through the agent's door: who may, what comes back, and that they go with whoever wanted them.

use std::time::Duration;

use proto::agent_link::{ExecInput, ExecOutput, ExecStart, TerminalSize};
use proto::id::{AgentId, MasterId, RunId};
use proto::task::Exit;
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use proto_grpc::{PeerRole, channel};
use proto_pki::{Identity, LEAF_VALIDITY};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Code, Status, Streaming};

use super::master::{Master, Session, framework, script, task};
use super::node::{Node, open_to_tasks};
use super::soon;

fn start(number: u64, script: &str) -> ExecStart {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    ExecStart { framework: framework(), task: task(number), argv, terminal: None, term: String::new() }
}

/// A command on its way: what is said to it, and what it says.
struct Talk {
    say: mpsc::Sender<ExecInput>,
    said: Streaming<ExecOutput>,
}

async fn ask_as(node: &Node, who: Identity, address: &str, start: ExecStart) -> Result<Talk, Status> {
    let credentials = node.ca.issue(&who, LEAF_VALIDITY).unwrap();
    let channel = channel(address, PeerRole::Agent, &credentials).await.unwrap();
    let (say, input) = mpsc::channel(16);
    say.send(ExecInput::Start(start)).await.unwrap();
    let said = AgentDoorClient::new(channel).exec(ReceiverStream::new(input)).await?.into_inner();
    Ok(Talk { say, said })
}

async fn ask(node: &Node, address: &str, start: ExecStart) -> Result<Talk, Status> {
    ask_as(node, Identity::User("ada".into()), address, start).await
}

impl Talk {
    async fn next(&mut self) -> Result<Option<ExecOutput>, Status> {
        soon("a word of the command", self.said.message()).await
    }

    /// All that it writes, and how it ends.
    async fn all(mut self) -> Result<(String, String, Exit), Status> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(word) = self.next().await? {
            match word {
                ExecOutput::Stdout(bytes) => out.extend(bytes),
                ExecOutput::Stderr(bytes) => err.extend(bytes),
                ExecOutput::Exit(exit) => {
                    assert_eq!(self.next().await?, None, "its end is the last word");
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return Ok((text(out), text(err), exit));
                }
            }
        }
        panic!("no end was told");
    }
}

/// What a script beside a task writes.
pub async fn output_beside(node: &Node, address: &str, number: u64, script: &str) -> String {
    let talk = ask(node, address, start(number, script)).await.unwrap();
    let (out, err, exit) = talk.all().await.unwrap();
    assert_eq!((err.as_str(), exit), ("", Exit::Code(0)), "{out}");
    out
}

async fn scene(given: &str) -> (Node, Master, Session, agent::Running) {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    session.start(script(1, given)).await;
    (node, master, session, running)
}

#[tokio::test]
async fn a_command_runs_beside_its_task_and_its_exit_code_comes_back() {
    let (node, _master, mut session, running) = scene("exec sleep 3600").await;
    let talk = ask(&node, running.address(), start(1, "echo $STOA_TASK_ID; echo bad >&2; cat; exit 7"))
        .await
        .unwrap();
    talk.say.send(ExecInput::Stdin(b"typed\n".to_vec())).await.unwrap();
    talk.say.send(ExecInput::StdinEnd).await.unwrap();
    let (out, err, exit) = talk.all().await.unwrap();
    assert_eq!((out.as_str(), err.as_str(), exit), ("t.1\ntyped\n", "bad\n", Exit::Code(7)));
    let killed = ask(&node, running.address(), start(1, "kill -9 $$")).await.unwrap();
    assert_eq!(killed.all().await.unwrap().2, Exit::Signal(9));
    let large = ask(&node, running.address(), start(1, "head -c 300000 /dev/zero")).await.unwrap();
    assert_eq!(large.all().await.unwrap().0.len(), 300_000);

    let mut none = start(1, "");
    none.argv = vec!["/no/such".into()];
    let status = ask(&node, running.address(), none.clone()).await.unwrap().all().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("could not execute the command: No such file"), "{status}");
    none.argv = Vec::new();
    let status = ask(&node, running.address(), none).await.err().unwrap();
    assert!(status.message().contains("argv is empty"), "{status}");

    session.kill(RunId::at(1, 0), Duration::ZERO);
    session.until_over(&[RunId::at(1, 0)]).await;
    let status = ask(&node, running.address(), start(1, "true")).await.err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("task t.1 does not run"), "{status}");
    running.stop().await;
}

#[tokio::test]
async fn commands_are_for_people_and_the_framework_whose_task_it_is() {
    let (node, _master, _session, running) = scene("exec sleep 3600").await;
    let others = [
        Identity::Agent(AgentId::new("a2").unwrap()),
        Identity::Framework("spark".into()),
        Identity::Master(MasterId(1)),
    ];
    for who in others {
        for number in [1, 2] {
            let status =
                ask_as(&node, who.clone(), running.address(), start(number, "true")).await.err().unwrap();
            assert_eq!(status.code(), Code::PermissionDenied, "{who}, task {number}: {status}");
        }
    }
    let own = ask_as(&node, Identity::Framework("jobs".into()), running.address(), start(1, "true")).await;
    assert_eq!(own.unwrap().all().await.unwrap().2, Exit::Code(0));
    running.stop().await;
}

#[tokio::test]
async fn a_command_goes_with_whoever_wanted_it_and_works_after_a_restart_of_the_agent() {
    let (node, master, _session, running) = scene("exec sleep 3600").await;
    running.stop().await;
    let running = node.start(&[&master.address]).await;
    let alive = node.dir().join("alive");
    let made = std::process::Command::new("mkfifo").arg(&alive).status().unwrap();
    assert!(made.success());
    open_to_tasks(&alive);
    let held = format!("exec 3> {}; echo ready; exec sleep 3600", alive.display());
    let mut talk = ask(&node, running.address(), start(1, &held)).await.unwrap();
    // Its end is the end of all who hold the pipe open.
    let read = tokio::task::spawn_blocking(move || std::fs::read(alive).unwrap());
    assert_eq!(talk.next().await.unwrap(), Some(ExecOutput::Stdout(b"ready\n".to_vec())));
    drop(talk);
    soon("its end", read).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_command_on_a_terminal_is_talked_to() {
    let (node, _master, _session, running) = scene("exec sleep 3600").await;
    let on_terminal = ExecStart {
        terminal: Some(TerminalSize { columns: 100, rows: 30 }),
        term: "xterm".into(),
        ..start(1, "tty; stty size; echo $TERM; read word; stty size; echo got $word; exit 5")
    };
    let mut talk = ask(&node, running.address(), on_terminal).await.unwrap();
    let mut shown = String::new();
    let mut typed = false;
    let exit = loop {
        match talk.next().await.unwrap().expect("its end first") {
            ExecOutput::Stdout(bytes) => shown.push_str(std::str::from_utf8(&bytes).unwrap()),
            ExecOutput::Stderr(bytes) => panic!("a terminal has one stream: {bytes:?}"),
            ExecOutput::Exit(exit) => break exit,
        }
        if shown.contains("xterm") && !typed {
            typed = true;
            talk.say.send(ExecInput::Resize(TerminalSize { columns: 90, rows: 20 })).await.unwrap();
            talk.say.send(ExecInput::Stdin(b"word\n".to_vec())).await.unwrap();
        }
    };
    assert_eq!(exit, Exit::Code(5), "{shown}");
    assert!(shown.starts_with("/dev/pts/"), "{shown}");
    for wanted in ["30 100\r\n", "20 90\r\n", "got word\r\n"] {
        assert!(shown.contains(wanted), "{wanted:?} is missing: {shown:?}");
    }
    running.stop().await;
}
