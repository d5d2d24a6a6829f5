//! The agent's own door: the output of its tasks, and commands beside them, for people, masters and frameworks.

use std::io;
use std::time::Duration;

use proto::agent_link::{ExecInput, ExecOutput, LogsChunk, LogsRequest};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::refusal::{Code, Refusal};
use proto_grpc::caller;
use proto_grpc::services::agent_door::agent_door_server::AgentDoor;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use crate::exec::{self, Exec};
use crate::runs::{Runs, Seen};
use crate::sandbox_files::{Output, Start};

/// How often a followed file is looked at: soon enough for somebody who watches, and a hundred followers cost nothing.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
/// Chunks that wait for a slow reader; with their size this bounds what a stream holds (256 KiB).
const CHUNKS_AHEAD: usize = 4;

/// The agent's own door.
#[derive(Clone, Debug)]
pub struct Door {
    runs: Runs,
    /// `None` where nothing can be run.
    exec: Option<Exec>,
}

// === impl Door ===

impl Door {
    /// A door to the output of these runs.
    pub(crate) fn new(runs: Runs, exec: Exec) -> Door {
        Door { runs, exec: Some(exec) }
    }
}

#[tonic::async_trait]
impl AgentDoor for Door {
    type LogsStream = ReceiverStream<Result<LogsChunk, Status>>;
    type ExecStream = ReceiverStream<Result<ExecOutput, Status>>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let who = Caller::from(caller(&request)?);
        let asked = request.into_inner();
        let seen = self.runs.find(&asked.framework, &asked.task);
        // Who may not read it is not told either whether it is here.
        let owner = seen.as_ref().map(|seen| seen.owner.to_string()).unwrap_or_default();
        authorize(&who, &Action::ReadOutput { owner }).map_err(|refusal| not_yours(&refusal))?;
        let seen = seen.ok_or_else(|| not_here(&asked))?;
        info!(
            caller = %who, framework_id = %asked.framework, task_id = %asked.task, run_id = %seen.run,
            "output is read"
        );
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = send_all(&asked, seen, &chunks) => ended,
                // Nobody reads any more.
                () = chunks.closed() => return,
            };
            if let Err(error) = ended {
                // The reader may have gone meanwhile, and then nobody wants to know.
                let _ = chunks.send(Err(unreadable(&asked, &error))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn exec(
        &self,
        request: Request<Streaming<ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let who = Caller::from(caller(&request)?);
        let mut input = request.into_inner();
        let start = exec::first(&mut input).await?;
        let seen = self.runs.find(&start.framework, &start.task);
        // Who may not is not told either whether it is here.
        let owner = seen.as_ref().map(|seen| seen.owner.to_string()).unwrap_or_default();
        authorize(&who, &Action::Exec { owner }).map_err(|refusal| not_yours(&refusal))?;
        let given = seen.and_then(|seen| seen.given).ok_or_else(|| exec::not_running(&start))?;
        let exec = self.exec.as_ref().ok_or_else(|| exec::not_running(&start))?;
        let begun = exec.begin(&given, &start).await?;
        metrics::counter!("agent_commands_total").increment(1);
        info!(
            caller = %who, framework_id = %start.framework, task_id = %start.task, run_id = %given.run,
            command = ?start.argv, terminal = start.terminal.is_some(), "a command is run beside a task"
        );
        let (answers, stream) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(begun.converse(start, input, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn not_yours(refusal: &Refusal) -> Status {
    let help = "use the credentials of a user, or of the framework whose task it is";
    Status::permission_denied(refusal.clone().with_help(help).to_string())
}

fn not_here(asked: &LogsRequest) -> Status {
    let message = format!("task {} of framework {} has no output on this agent", asked.task, asked.framework);
    let refusal = Refusal::new(Code::NotFound, message).with_help(
        "see with `stoa get tasks` where it runs; the output of old tasks is removed after a while",
    );
    Status::not_found(refusal.to_string())
}

fn unreadable(asked: &LogsRequest, error: &io::Error) -> Status {
    let message = format!("the output of task {} cannot be read: {error}", asked.task);
    if error.kind() == io::ErrorKind::InvalidInput {
        Status::failed_precondition(message)
    } else {
        Status::internal(message)
    }
}

/// Sends what there is, and when following what comes, until the run is over and all is read, or nobody reads.
async fn send_all(
    asked: &LogsRequest,
    mut seen: Seen,
    chunks: &mpsc::Sender<Result<LogsChunk, Status>>,
) -> io::Result<()> {
    let name = if asked.stderr { "stderr" } else { "stdout" };
    let mut start = match (asked.offset, asked.tail_lines) {
        (Some(bytes), _) => Start::Offset(bytes),
        (None, Some(lines)) => Start::Tail(lines),
        (None, None) => Start::Beginning,
    };
    let mut output = None;
    let mut ticks = interval(FOLLOW_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Asked first: what was written before the end is then there to be read.
        let over = seen.is_over();
        if output.is_none() {
            output = open(&seen, name, start).await?;
            // Where there is nothing yet there is nothing to leave out later.
            start = Start::Beginning;
        }
        while let Some(reader) = output.take() {
            let (reader, chunk) = next(reader).await?;
            output = Some(reader);
            let Some(chunk) = chunk else { break };
            if chunks.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        if over || !asked.follow {
            return Ok(());
        }
        tokio::select! {
            _ = ticks.tick() => {}
            // An error means that it is forgotten, which `is_over` says too.
            _ = seen.over.changed() => {}
        }
    }
}

/// The output, if the sandbox is there yet.
async fn open(seen: &Seen, name: &'static str, start: Start) -> io::Result<Option<Output>> {
    let sandbox = seen.sandbox.clone();
    match blocking(move || Output::open(&sandbox, name, start)).await {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn next(mut output: Output) -> io::Result<(Output, Option<LogsChunk>)> {
    blocking(move || {
        let offset = output.position();
        let chunk = output.next()?.map(|data| LogsChunk { data: data.to_vec(), offset });
        Ok((output, chunk))
    })
    .await
}

/// Off the threads that answer everybody else: a disk may be slow.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    // It is cancelled only when the whole process stops.
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use proto::id::{AgentId, FrameworkId, MasterId, RunId, TaskId};
    use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
    use proto_grpc::services::agent_door::agent_door_server::AgentDoorServer;
    use proto_grpc::{Identity, PeerRole, channel, serve};
    use proto_pki::{Authority, LEAF_VALIDITY};
    use tokio::net::TcpListener;
    use tonic::service::Routes;
    use tonic::{Code as Grpc, Streaming};

    use super::*;
    use crate::scratch::Scratch;

    struct House {
        ca: Authority,
        address: String,
        runs: Runs,
    }

    fn run(number: u64) -> RunId {
        RunId::at(number, 0)
    }

    fn framework() -> FrameworkId {
        FrameworkId::new("f").unwrap()
    }

    fn task() -> TaskId {
        TaskId::new("t").unwrap()
    }

    fn request() -> LogsRequest {
        LogsRequest {
            framework: framework(),
            task: task(),
            stderr: false,
            follow: false,
            tail_lines: None,
            offset: None,
        }
    }

    impl House {
        async fn open() -> House {
            let ca = Authority::create("pool").unwrap();
            let agent = Identity::Agent(AgentId::new("a1").unwrap());
            let credentials = ca.issue(&agent, LEAF_VALIDITY).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let runs = Runs::new();
            let routes = Routes::new(AgentDoorServer::new(Door { runs: runs.clone(), exec: None }));
            tokio::spawn(async move {
                serve(listener, &credentials, routes, std::future::pending()).await.unwrap();
            });
            House { ca, address, runs }
        }

        fn begin(&self, sandbox: &Path) {
            self.runs.begin(&framework(), &task(), run(1), "framework/jobs", sandbox.to_owned());
        }

        fn end(&self) {
            self.runs.end(&framework(), &task(), run(1));
        }

        async fn ask_as(&self, who: Identity, asked: LogsRequest) -> Result<Streaming<LogsChunk>, Status> {
            let credentials = self.ca.issue(&who, LEAF_VALIDITY).unwrap();
            let channel = channel(&self.address, PeerRole::Agent, &credentials).await.unwrap();
            Ok(AgentDoorClient::new(channel).logs(asked).await?.into_inner())
        }

        async fn ask(&self, asked: LogsRequest) -> Result<Streaming<LogsChunk>, Status> {
            self.ask_as(Identity::User("ada".into()), asked).await
        }
    }

    async fn all(mut stream: Streaming<LogsChunk>) -> Result<String, Status> {
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.message().await? {
            bytes.extend(chunk.data);
        }
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[tokio::test]
    async fn output_is_read_and_the_stream_ends() {
        let (house, scratch) = (House::open().await, Scratch::new("door-read"));
        house.begin(scratch.path());
        fs::write(scratch.path().join("stdout.1"), "one\n").unwrap();
        fs::write(scratch.path().join("stdout"), "two\nthree\n").unwrap();
        fs::write(scratch.path().join("stderr"), "bad\n").unwrap();
        assert_eq!(all(house.ask(request()).await.unwrap()).await.unwrap(), "one\ntwo\nthree\n");
        let tail = LogsRequest { tail_lines: Some(2), ..request() };
        assert_eq!(all(house.ask(tail).await.unwrap()).await.unwrap(), "two\nthree\n");
        let stderr = LogsRequest { stderr: true, ..request() };
        assert_eq!(all(house.ask(stderr).await.unwrap()).await.unwrap(), "bad\n");
    }

    #[tokio::test]
    async fn a_stream_goes_on_where_another_broke() {
        let (house, scratch) = (House::open().await, Scratch::new("door-offset"));
        house.begin(scratch.path());
        fs::write(scratch.path().join("stdout.1"), "one\n").unwrap();
        fs::write(scratch.path().join("stdout"), "two\nthree\n").unwrap();
        let tail = LogsRequest { tail_lines: Some(2), ..request() };
        let chunk = house.ask(tail).await.unwrap().message().await.unwrap().unwrap();
        assert_eq!((chunk.offset, chunk.data.as_slice()), (4, b"two\nthree\n".as_slice()));
        for (offset, rest) in
            [(0, "one\ntwo\nthree\n"), (2, "e\ntwo\nthree\n"), (4, "two\nthree\n"), (8, "three\n")]
        {
            let asked = LogsRequest { offset: Some(offset), ..request() };
            assert_eq!(all(house.ask(asked).await.unwrap()).await.unwrap(), rest, "from {offset}");
        }
        for beyond in [14, 99] {
            let asked = LogsRequest { offset: Some(beyond), ..request() };
            assert_eq!(all(house.ask(asked).await.unwrap()).await.unwrap(), "");
        }
    }

    #[tokio::test]
    async fn a_follower_gets_all_until_the_run_is_over() {
        let (house, scratch) = (House::open().await, Scratch::new("door-follow"));
        let sandbox = scratch.path().join("later");
        house.begin(&sandbox);
        let follow = LogsRequest { follow: true, tail_lines: Some(1), ..request() };
        let mut stream = house.ask(follow).await.unwrap();
        fs::create_dir(&sandbox).unwrap();
        let path = sandbox.join("stdout");
        fs::write(&path, "one\n").unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().data, b"one\n");
        fs::rename(&path, sandbox.join("stdout.1")).unwrap();
        fs::write(&path, "two\n").unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().data, b"two\n");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"last\n").unwrap();
        house.end();
        assert_eq!(all(stream).await.unwrap(), "last\n");
    }

    #[tokio::test]
    async fn a_task_that_is_not_here_is_not_found_and_help_is_given() {
        let house = House::open().await;
        let status = house.ask(request()).await.unwrap_err();
        assert_eq!(status.code(), Grpc::NotFound);
        assert!(status.message().contains("task t of framework f"), "{status}");
        assert!(status.message().contains("stoa get tasks"), "{status}");
    }

    #[tokio::test]
    async fn output_is_for_people_masters_and_the_framework_whose_task_it_is() {
        let (house, scratch) = (House::open().await, Scratch::new("door-denied"));
        house.begin(scratch.path());
        let others = [Identity::Agent(AgentId::new("a2").unwrap()), Identity::Framework("spark".into())];
        for who in others {
            let status = house.ask_as(who.clone(), request()).await.unwrap_err();
            assert_eq!(status.code(), Grpc::PermissionDenied, "{who}");
            let missing = LogsRequest { task: TaskId::new("other").unwrap(), ..request() };
            let status = house.ask_as(who, missing).await.unwrap_err();
            assert_eq!(status.code(), Grpc::PermissionDenied, "nor whether there is any");
        }
        for who in [Identity::Master(MasterId(1)), Identity::Framework("jobs".into())] {
            assert_eq!(all(house.ask_as(who, request()).await.unwrap()).await.unwrap(), "");
        }
    }

    #[tokio::test]
    async fn a_link_in_place_of_the_output_is_an_error_and_not_read() {
        let (house, scratch) = (House::open().await, Scratch::new("door-link"));
        house.begin(scratch.path());
        std::os::unix::fs::symlink("/etc/passwd", scratch.path().join("stdout")).unwrap();
        let status = all(house.ask(request()).await.unwrap()).await.unwrap_err();
        assert_eq!(status.code(), Grpc::FailedPrecondition);
        assert!(status.message().contains("something else"), "{status}");
    }
}
