//! Secrets with the real binary: a task reads them, over the deaths of leader and agent, and nobody finds them anywhere else.

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use framework_sdk::agent_link::SecretsRequest;
use framework_sdk::client::{Client, Event};
use framework_sdk::demand::{DeclineReason, Filter};
use framework_sdk::door::{Credentials, PeerRole, channel};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{FileName, FrameworkId, RunId, SecretName, TaskId};
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::secret::SecretFile;
use framework_sdk::task::{StatusReason, TaskState, TaskStatus};
use framework_sdk::{Config, Profile, Room, tasks, unused_prefix};
use proto_grpc::services::agent_link::agent_link_client::AgentLinkClient;

use super::cluster::{Cluster, Said, eventually};

const LIMIT: Duration = Duration::from_secs(30);
/// What must be nowhere. Each value holds it.
const CANARY: &str = "canary-e5f0c1b7";

fn value(version: u32) -> String {
    format!("{CANARY}-version-{version}")
}

/// As `sha256sum` tells it, so that no script holds the value.
fn hash(value: &str) -> String {
    let mut sum =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    sum.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let out = sum.wait_with_output().unwrap().stdout;
    String::from_utf8_lossy(&out)[..64].to_owned()
}

/// Whether the file of a secret holds this, in words for a shell.
fn holds(file: &str, value: &str) -> String {
    format!("[ \"$(sha256sum < $STOA_SECRETS/{file} | cut -c1-64)\" = {} ]", hash(value))
}

/// Sets a secret by a pipe.
fn set(cluster: &Cluster, words: &[&str], value: &str) -> Said {
    let mut command = cluster.command(env!("CARGO_BIN_EXE_stoa"));
    command.args(["secret", "set"]).args(words).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Every file below that holds the canary.
fn found_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(found_below(&entry.path())),
            Ok(kind) if kind.is_file() => {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                if bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
                    found.push(entry.path());
                }
            }
            Ok(_) | Err(_) => {}
        }
    }
    found
}

/// A framework in the role `ops/db` that starts one task after the other.
struct Owner {
    client: Client,
}

impl Owner {
    fn of(cluster: &Cluster) -> Owner {
        let profile = Profile::load(&cluster.context()).unwrap();
        let info = FrameworkInfo {
            name: "secrets".to_owned(),
            roles: vec![Role::new("ops/db").unwrap()],
            failover_timeout: Duration::from_secs(600),
            address: String::new(),
            labels: Default::default(),
        };
        let config = Config {
            info,
            id: None,
            operation_prefix: unused_prefix(),
            masters: profile.masters.clone(),
            seed: 1,
            believed: Vec::new(),
        };
        Owner { client: Client::start(profile.credentials, config).unwrap() }
    }

    /// Starts a task that has the secret `db` as `key`, and waits until it stands so, or has ended.
    async fn starts(&mut self, name: &str, script: &str, wanted: TaskState) -> TaskStatus {
        for attempt in 1.. {
            let task = format!("{name}.{attempt}");
            self.asks_for(&task, script).await;
            let status = self.stands(&task, wanted).await;
            // The offer was taken back meanwhile, as a leader or an agent had died: such a task never started.
            if status.reason != StatusReason::InvalidOffers {
                return status;
            }
        }
        unreachable!("it goes on for ever")
    }

    async fn asks_for(&mut self, task: &str, script: &str) {
        let filter = Filter { refuse: Duration::from_millis(100) };
        let begun = async {
            loop {
                let event = self.client.next().await.expect("a session");
                let Event::Lease(lease) = event else { continue };
                let Some(mut room) = lease.room() else { continue };
                let Some(taken) = room.take(&Amount::scalars(Quantities::of(100, 32 << 20))) else {
                    continue;
                };
                let mut info = tasks::shell(TaskId::new(task).unwrap(), script);
                info.resources = taken;
                let (secret, file) = (SecretName::new("db").unwrap(), FileName::new("key").unwrap());
                info.command.secrets = vec![SecretFile { name: secret, file: Some(file) }];
                room.launch(info);
                return room;
            }
        };
        let room: Room = soon("an offer", begun).await;
        soon("an answer", self.client.accept(vec![room], filter)).await.unwrap();
    }

    /// Waits until a task stands so, or has ended.
    async fn stands(&mut self, name: &str, wanted: TaskState) -> TaskStatus {
        let seen = async {
            loop {
                let update = match self.client.next().await.expect("a session") {
                    Event::Update(update) => update,
                    Event::Lease(lease) => {
                        lease.decline(DeclineReason::Unused, Filter { refuse: Duration::from_millis(100) });
                        continue;
                    }
                    _ => continue,
                };
                let status = update.status().clone();
                self.client.done(update);
                if status.task.as_str() == name && (status.state == wanted || status.state.is_terminal()) {
                    return status;
                }
            }
        };
        soon(name, seen).await
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

/// Asks for the secrets of a run with somebody's certificate.
async fn asks_as(
    cluster: &Cluster,
    dir: &str,
    run: &TaskStatus,
    framework: &FrameworkId,
) -> Result<usize, String> {
    let credentials = Credentials::load(&cluster.path("data").join(dir)).unwrap();
    let raft = cluster.json(&["raft", "status", "-o", "json"]).unwrap();
    let members = raft["members"].as_array().unwrap();
    let leader = members.iter().find(|member| member["leader"] == true).unwrap();
    let channel = channel(leader["address"].as_str().unwrap(), PeerRole::Master, &credentials).await.unwrap();
    let (run, task) = (run.run.expect("a run"), run.task.clone());
    let request = SecretsRequest { run, framework: framework.clone(), task };
    let reply = AgentLinkClient::new(channel).secrets(request).await;
    reply.map(|reply| reply.into_inner().files.len()).map_err(|status| format!("{:?}", status.code()))
}

/// The environment of a task, as the machine shows it.
fn environment(cluster: &Cluster, task: &str) -> String {
    let tasks = cluster.list("tasks");
    let task = tasks.iter().find(|known| known["id"] == task).expect("it runs");
    let pid = task["pid"].as_u64().expect("a process");
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = children.split_whitespace().map(str::to_owned).chain([pid.to_string()]);
    let read = |pid: String| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    pids.map(|pid| String::from_utf8_lossy(&read(pid)).into_owned()).collect()
}

/// All that the cluster says of itself.
fn everything_said(cluster: &Cluster, task: &str) -> String {
    let nouns = ["agents", "tasks", "frameworks", "offers", "roles", "reservations", "volumes", "secrets"];
    let lists = nouns.map(|noun| format!("get {noun} -o json"));
    let more = [
        "get tasks --all -o yaml",
        "events --since 0 -o json",
        "doctor -o json",
        "status -o json",
        "raft status -o json",
        "describe task TASK",
        "describe secret db",
        "explain task TASK -o json",
        "logs TASK",
        "logs --stderr TASK",
        "auth whoami -o json",
    ];
    let lines = lists.iter().map(String::as_str).chain(more);
    lines
        .map(|line| {
            let words: Vec<_> =
                line.split(' ').map(|word| if word == "TASK" { task } else { word }).collect();
            let said = cluster.stoa(&words);
            // The doctor may find something, and of what was removed nothing is told.
            assert!(said.code <= 1 || line.ends_with("secret db"), "{line}: {said:?}");
            said.out + &said.err
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_reads_its_secret_and_it_is_nowhere_else() {
    if !is_root() {
        eprintln!("skipped: secrets need mount namespaces, and those root");
        return;
    }
    let mut cluster = Cluster::up("secrets", &["--agents", "2", "--no-jobs", "--data-dir", "DATA"]);
    let mut owner = Owner::of(&cluster);
    let refused = set(&cluster, &["db", "--role", "ops", "--dry-run"], "");
    assert!(refused.code != 0 && refused.err.contains("value is empty"), "{refused:?}");
    let rehearsed = set(&cluster, &["db", "--role", "ops", "--dry-run"], &value(1));
    assert_eq!(rehearsed.code, 0, "{rehearsed:?}");
    let early = owner.starts("early", "true", TaskState::Running).await;
    assert_eq!((early.state, early.reason), (TaskState::Dropped, StatusReason::SecretUnknown), "{early:?}");
    assert!(early.message.contains("stoa secret set db --role ops/db"), "{early:?}");

    let first = set(&cluster, &["db", "--role", "ops"], &value(1));
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.err.contains("undo with `stoa secret rm db --role ops`"), "{first:?}");
    let compares = |version: u32| holds("key", &value(version));
    let steady = format!(
        "{0} && [ \"$STOA_SECRETS\" = $PWD/secrets ] || exit 9; while [ ! -e go ]; do sleep 0.05; done; {0}",
        compares(1)
    );
    let running = owner.starts("steady", &steady, TaskState::Running).await;
    assert_eq!(running.state, TaskState::Running, "{running:?}");
    let task = running.task.to_string();
    let beside = |words: &str| cluster.stoa(&["exec", &task, "--", "sh", "-c", words]);
    let ran = beside(&compares(1));
    assert_eq!(ran.code, 0, "who is beside it sees it: {ran:?}");
    assert!(!environment(&cluster, &task).contains(CANARY));

    let framework = cluster.list("tasks")[0]["framework_id"].as_str().unwrap().to_owned();
    let framework = FrameworkId::new(&framework).unwrap();
    let on = running.agent.as_ref().unwrap().to_string();
    let other = if on == "agent-1" { "agent-2/credentials" } else { "agent-1/credentials" };
    let own = format!("{on}/credentials");
    assert_eq!(asks_as(&cluster, &own, &running, &framework).await, Ok(1));
    for dir in [other, "context", "jobs/credentials", "master-1/credentials"] {
        let refused = Err("PermissionDenied".to_owned());
        assert_eq!(asks_as(&cluster, dir, &running, &framework).await, refused, "{dir}");
    }
    let forged = TaskStatus { run: Some(RunId::at(1, 0)), ..running.clone() };
    assert_eq!(asks_as(&cluster, &own, &forged, &framework).await, Err("PermissionDenied".to_owned()));

    let (_, leader) = cluster.leader();
    cluster.kill_9(leader);
    eventually("another leader", LIMIT, || cluster.try_leader().filter(|(_, pid)| *pid != leader));
    let agent = cluster.child(&on);
    cluster.kill_9(agent);
    eventually("the agent again", LIMIT, || (cluster.child(&on) != agent).then_some(()));
    eventually("commands beside the task again", LIMIT, || (beside(&compares(1)).code == 0).then_some(()));

    let second = set(&cluster, &["db", "--role", "ops"], &value(2));
    assert_eq!(second.code, 0, "{second:?}");
    assert!(second.err.contains("in place of version 1"), "{second:?}");
    let rotated = format!("{} && {{ touch $STOA_SECRETS/new; [ $? -ne 0 ]; }}", compares(2));
    let ended = owner.starts("rotated", &rotated, TaskState::Finished).await;
    assert_eq!(ended.state, TaskState::Finished, "{ended:?}");
    assert_eq!(beside(&compares(1)).code, 0, "what runs keeps what it was given");
    let said = everything_said(&cluster, &task);
    assert!(said.contains("secret-set") && !said.contains(CANARY), "{said}");

    let removed = cluster.stoa(&["secret", "rm", "db", "--role", "ops", "--yes"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(beside(&format!("{} && touch go", compares(1))).code, 0);
    let ended = owner.stands(&task, TaskState::Finished).await;
    assert_eq!(ended.state, TaskState::Finished, "also to its end: {ended:?}");
    let late = owner.starts("late", "true", TaskState::Running).await;
    assert_eq!(late.reason, StatusReason::SecretUnknown, "{late:?}");
    assert_eq!(asks_as(&cluster, &own, &running, &framework).await, Err("PermissionDenied".to_owned()));
    assert!(!everything_said(&cluster, &task).contains(CANARY));

    let planted = PathBuf::from(cluster.file("planted", CANARY));
    assert_eq!(found_below(cluster.dir()), [planted.clone()], "while it runs; and what is there is found");
    std::fs::remove_file(planted).unwrap();
    drop(owner);
    cluster.down();
    assert_eq!(found_below(cluster.dir()), [PathBuf::new(); 0], "and when it is over");
}

#[test]
fn a_job_waits_for_its_secret_and_reads_it() {
    if !is_root() {
        eprintln!("skipped: secrets need mount namespaces, and those root");
        return;
    }
    let mut cluster = Cluster::up("secret-job", &["--masters", "1", "--agents", "1"]);
    let job = format!(
        "name = \"reader\"\nkind = \"batch\"\ncommand = '''{}'''\nsecrets = {{ key = \"db\" }}\ncpus = 0.05\nmem = \"8MiB\"\n",
        holds("key", &value(1))
    );
    let file = cluster.file("reader.toml", &job);
    cluster.apply(&file);
    eventually("it says what is missing", LIMIT, || {
        cluster.stoa(&["job", "get", "reader", "-o", "wide"]).out.contains("names db").then_some(())
    });
    let done = set(&cluster, &["db"], &value(1));
    assert_eq!(done.code, 0, "{done:?}");
    let applied = cluster.stoa(&["job", "apply", &file, "--wait"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!(set(&cluster, &["db"], &value(2)).code, 0);
    let plan = cluster.stoa(&["job", "plan", &file]);
    assert_eq!(plan.code, 0, "another value is no other job: {plan:?}");
    let all = cluster.stoa(&["get", "tasks", "--all", "-o", "json"]).out;
    assert!(all.contains("\"file\": \"key\"") && !all.contains(CANARY), "{all}");
    cluster.down();
    assert_eq!(found_below(cluster.dir()), [PathBuf::new(); 0]);
}

/// Whether this process may do everything.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}
