//! The whole framework, its door, journal and session, against a pretend master over real gRPC.

use std::path::{Path, PathBuf};

use framework_sdk::Profile;
use framework_sdk::door::{Identity, PeerRole, channel};
use framework_sdk::harness::{agent, resources};
use framework_sdk::role::Role;
use framework_sdk::testing::FakeCluster;
use frameworks_jobs::Config;
use frameworks_jobs::spec::{Command, JobSpec, Kind};
use frameworks_jobs::wire::service::jobs_client::JobsClient;
use frameworks_jobs::wire::{GetRequest, StopRequest, SubmitRequest, Summary, WatchRequest};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The framework as a task of the test.
struct Framework {
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), frameworks_jobs::RunError>>,
    address: String,
}

impl Framework {
    async fn start(cluster: &FakeCluster, folder: &Folder) -> Framework {
        let credentials_dir = folder.0.join("credentials");
        let profile = cluster.profile(&Identity::Framework("jobs".to_owned())).expect("credentials");
        profile.credentials.save(&credentials_dir).expect("saved");
        // Free a moment ago; nobody else of this test asks for one.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = listener.local_addr().expect("an address");
        drop(listener);
        let config = Config {
            masters: profile.masters,
            data_dir: folder.0.join("data"),
            credentials_dir,
            listen,
            advertise: None,
            role: Role::default_role(),
            failover_timeout: std::time::Duration::from_secs(60),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(frameworks_jobs::run(config, String::new, async {
            let _ = stopped.await;
        }));
        Framework { stop: Some(stop), ended, address: listen.to_string() }
    }

    async fn client(&self, profile: &Profile) -> JobsClient<Channel> {
        loop {
            match channel(&self.address, PeerRole::Framework, &profile.credentials).await {
                Ok(channel) => return JobsClient::new(channel),
                // It is on its way up.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.ended.await.expect("no panic").expect("a good end");
    }
}

fn submit(name: &str, count: u32) -> SubmitRequest {
    let spec = JobSpec {
        instances: count,
        ..JobSpec::new(name, Kind::Batch, Command::Argv(vec!["true".to_owned()]))
    };
    SubmitRequest {
        request_id: format!("request-of-job-{name}"),
        spec: Some(spec.to_wire()),
        ephemeral: false,
        replace: false,
    }
}

async fn end_of(client: &mut JobsClient<Channel>, name: &str) -> Summary {
    let request = WatchRequest { name: name.to_owned(), until_over: true };
    let mut events = client.watch(request).await.expect("watched").into_inner();
    let mut summary = None;
    while let Some(event) = events.message().await.expect("no break") {
        summary = event.summary.or(summary);
    }
    summary.expect("a summary")
}

async fn cluster() -> FakeCluster {
    let cluster = FakeCluster::start().await.expect("a cluster");
    for n in 1..=3 {
        cluster.with(|fake| fake.add_agent(agent(&format!("a{n}"), resources(8000, 64 << 30))));
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_run_once_each_and_the_job_outlives_the_framework() {
    let (cluster, folder) = (cluster().await, Folder::new("thousand"));
    cluster.be_lively();
    let ada = cluster.profile(&Identity::User("ada".to_owned())).expect("credentials");
    let framework = Framework::start(&cluster, &folder).await;
    let mut client = framework.client(&ada).await;
    client.submit(submit("many", 1000)).await.expect("taken");
    let summary = end_of(&mut client, "many").await;
    assert_eq!((summary.finished, summary.failed, summary.over), (1000, 0, true));
    assert_eq!(cluster.with(|fake| fake.accepted.len()), 1000);
    framework.stop().await;

    let framework = Framework::start(&cluster, &folder).await;
    let mut client = framework.client(&ada).await;
    let reply = client.get(GetRequest { name: "many".to_owned(), tasks: true }).await.expect("known");
    let job = reply.into_inner().jobs.remove(0);
    assert_eq!(job.tasks.len(), 1000);
    assert!(job.tasks.iter().all(|task| task.exit_code == Some(0) && task.last));
    let again = client.submit(submit("many", 1000)).await.expect("the same request").into_inner();
    assert_eq!(again.revision, 1);
    assert_eq!(cluster.with(|fake| fake.accepted.len()), 1000);
    framework.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failovers_in_the_middle_lose_and_double_nothing() {
    let (cluster, folder) = (cluster().await, Folder::new("failovers"));
    let ada = cluster.profile(&Identity::User("ada".to_owned())).expect("credentials");
    let framework = Framework::start(&cluster, &folder).await;
    let mut client = framework.client(&ada).await;
    client.submit(submit("many", 300)).await.expect("taken");
    cluster.be_lively();
    for so_many in [1, 100, 200] {
        cluster.until(|fake| fake.accepted.len() >= so_many).await;
        cluster.fail_over();
    }
    let summary = end_of(&mut client, "many").await;
    assert_eq!((summary.finished, summary.failed), (300, 0));
    assert_eq!(cluster.with(|fake| (fake.accepted.len(), fake.doubled.len())), (300, 0));
    framework.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_nonsense_are_refused() {
    let (cluster, folder) = (cluster().await, Folder::new("strangers"));
    let framework = Framework::start(&cluster, &folder).await;
    let spark = cluster.profile(&Identity::Framework("spark".to_owned())).expect("credentials");
    let refused = framework.client(&spark).await.submit(submit("b", 1)).await;
    assert_eq!(refused.expect_err("a framework is no person").code(), Code::PermissionDenied);

    let ada = cluster.profile(&Identity::User("ada".to_owned())).expect("credentials");
    let mut client = framework.client(&ada).await;
    let nothing = SubmitRequest { spec: None, ..submit("b", 1) };
    assert_eq!(client.submit(nothing).await.expect_err("no spec").code(), Code::InvalidArgument);
    let guessable = SubmitRequest { request_id: "1".to_owned(), ..submit("b", 1) };
    assert_eq!(client.submit(guessable).await.expect_err("short").code(), Code::InvalidArgument);
    let none = client.stop(StopRequest { name: "none".to_owned(), purge: false }).await;
    assert_eq!(none.expect_err("no such job").code(), Code::NotFound);
    client.submit(submit("b", 1)).await.expect("taken");
    let taken = SubmitRequest { request_id: "another-request-id".to_owned(), ..submit("b", 2) };
    assert_eq!(client.submit(taken).await.expect_err("there").code(), Code::AlreadyExists);
    framework.stop().await;
}
