//! Commands beside tasks, at a pretend agent's door: what goes in and comes out, and how it is told that there is no more.

use std::pin::Pin;
use std::time::Duration;

use framework_sdk::door::{Authority, Identity, LEAF_VALIDITY, serve};
use framework_sdk::exec::{Exec, ExecError, Ran, Said};
use framework_sdk::id::AgentId;
use framework_sdk::logs::AgentDoor;
use framework_sdk::task::Exit;
use proto::agent_link::{ExecInput, ExecOutput, ExecStart, LogsChunk, LogsRequest};
use proto_grpc::services::agent_door::agent_door_server;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

type Words = Pin<Box<dyn Stream<Item = Result<ExecOutput, Status>> + Send>>;

/// What the first word of its argv says, it does.
struct Agent {
    /// Told of each command that nobody wants any more.
    unwanted: mpsc::UnboundedSender<()>,
}

#[tonic::async_trait]
impl agent_door_server::AgentDoor for Agent {
    type LogsStream = Pin<Box<dyn Stream<Item = Result<LogsChunk, Status>> + Send>>;
    type ExecStream = Words;

    async fn logs(&self, _: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        Err(Status::unimplemented("not of this test"))
    }

    async fn exec(&self, request: Request<Streaming<ExecInput>>) -> Result<Response<Words>, Status> {
        let mut input = request.into_inner();
        let Some(ExecInput::Start(start)) = input.message().await? else {
            return Err(Status::invalid_argument("no start"));
        };
        let (say, said) = mpsc::unbounded_channel();
        match start.argv[0].as_str() {
            // It says what it is given, and how much it was.
            "cat" => drop(tokio::spawn(async move {
                let mut count = 0;
                while let Ok(Some(ExecInput::Stdin(bytes))) = input.message().await {
                    count += bytes.len();
                    let _ = say.send(Ok(ExecOutput::Stdout(bytes)));
                }
                let _ = say.send(Ok(ExecOutput::Stderr(count.to_string().into_bytes())));
                let _ = say.send(Ok(ExecOutput::Exit(Exit::Code(7))));
            })),
            // It reads nothing.
            "true" => drop(say.send(Ok(ExecOutput::Exit(Exit::Signal(15))))),
            "vanish" => drop(say),
            "sleep" => {
                let unwanted = self.unwanted.clone();
                let _ = say.send(Ok(ExecOutput::Stdout(b"asleep".to_vec())));
                tokio::spawn(async move {
                    say.closed().await;
                    let _ = unwanted.send(());
                });
            }
            other => return Err(Status::invalid_argument(format!("no program {other}"))),
        }
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(said))))
    }
}

async fn agent() -> (AgentDoor, mpsc::UnboundedReceiver<()>) {
    let authority = Authority::create("test").expect("an authority");
    let who = Identity::Agent(AgentId::new("a1").expect("an id"));
    let credentials = authority.issue(&who, LEAF_VALIDITY).expect("issued");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (unwanted, told) = mpsc::unbounded_channel();
    let routes = Routes::new(agent_door_server::AgentDoorServer::new(Agent { unwanted }));
    tokio::spawn(async move { serve(listener, &credentials, routes, std::future::pending()).await });
    let mine = authority.issue(&Identity::Framework("f".to_owned()), LEAF_VALIDITY).expect("issued");
    (AgentDoor::connect(&address, &mine).await.expect("a door"), told)
}

/// Nothing here takes long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

async fn begin(door: &AgentDoor, program: &str) -> Result<Exec, ExecError> {
    let start = ExecStart {
        framework: framework_sdk::harness::framework_id().expect("an id"),
        task: framework_sdk::id::TaskId::new("t").expect("an id"),
        argv: vec![program.to_owned()],
        terminal: None,
        term: String::new(),
    };
    door.exec(start).await
}

#[tokio::test]
async fn what_goes_in_comes_out_and_the_code_is_the_last_word() {
    let (door, _told) = agent().await;
    let input = "x".repeat(100_000).into_bytes();
    let ran = soon(begin(&door, "cat").await.expect("begun").run(&input)).await.expect("it ends");
    assert_eq!(ran, Ran { exit: Exit::Code(7), stdout: input, stderr: b"100000".to_vec() });

    let mut talk = begin(&door, "cat").await.expect("begun");
    let stdin = talk.stdin();
    assert!(soon(stdin.write(b"one")).await);
    assert_eq!(soon(talk.next()).await.expect("a word"), Some(Said::Stdout(b"one".to_vec())));
    assert!(soon(stdin.write(b"two")).await);
    assert_eq!(soon(talk.next()).await.expect("a word"), Some(Said::Stdout(b"two".to_vec())));
    stdin.end().await;
    assert_eq!(soon(talk.next()).await.expect("a word"), Some(Said::Stderr(b"6".to_vec())));
    assert_eq!(soon(talk.next()).await.expect("a word"), Some(Said::Exit(Exit::Code(7))));
    assert_eq!(soon(talk.next()).await.expect("no more"), None);
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_ends_all_the_same() {
    let (door, _told) = agent().await;
    let much = vec![0; 4 << 20];
    let ran = soon(begin(&door, "true").await.expect("begun").run(&much)).await.expect("it ends");
    assert_eq!(ran.exit, Exit::Signal(15));
}

#[tokio::test]
async fn an_agent_that_says_no_and_one_that_goes_away_are_told_apart() {
    let (door, _told) = agent().await;
    let refused = begin(&door, "nothing").await.expect_err("no such program");
    assert!(matches!(refused, ExecError::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("no program nothing"), "{refused}");
    let cut = soon(begin(&door, "vanish").await.expect("begun").run(b"")).await.expect_err("no last word");
    assert!(matches!(cut, ExecError::Cut), "{cut:?}");
}

#[tokio::test]
async fn a_command_that_is_dropped_is_called_off_also_while_somebody_could_write() {
    let (door, mut told) = agent().await;
    let mut command = begin(&door, "sleep").await.expect("begun");
    assert_eq!(soon(command.next()).await.expect("a word"), Some(Said::Stdout(b"asleep".to_vec())));
    let stdin = command.stdin();
    drop(command);
    soon(told.recv()).await.expect("the agent learns it");
    assert!(!soon(stdin.write(b"late")).await, "what is written now goes nowhere");
}
