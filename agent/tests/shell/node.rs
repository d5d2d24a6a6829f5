//! A machine for one agent: a work directory, credentials, and nothing left behind.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent::{Config, Running};
use agent_keeper::client::Client;
use agent_keeper::protocol::Request;
use proto::agent_link::LogsRequest;
use proto::id::{AgentId, TaskId};
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use proto_grpc::{PeerRole, channel};
use proto_pki::{Authority, Credentials, Identity, LEAF_VALIDITY};
use tonic::{Status, Streaming};

use super::master::framework;

/// Lets tasks have something of the test's, whoever they run as.
pub fn open_to_tasks(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
}

/// A pipe that a task reads from until the test writes into it.
pub struct Gate(PathBuf);

impl Gate {
    /// Beside what else the node has.
    pub fn new(node: &Node) -> Gate {
        let pipe = node.dir().join("go");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        open_to_tasks(&pipe);
        Gate(pipe)
    }

    /// What waits at it, in a shell.
    pub fn cat(&self) -> String {
        format!("cat {}", self.0.display())
    }

    /// Lets the task go on, with this line.
    pub async fn open(&self, line: &str) {
        let (pipe, line) = (self.0.clone(), format!("{line}\n"));
        tokio::task::spawn_blocking(move || std::fs::write(pipe, line)).await.unwrap().unwrap();
    }
}

/// Whether a run's first process is a command or has one. An init whose run is over may wait for the next.
pub fn has_command(pid: u32) -> bool {
    let Ok(name) = std::fs::read_to_string(format!("/proc/{pid}/comm")) else { return false };
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    !name.starts_with("stoa-keeper") || !children.trim().is_empty()
}

/// A machine for one agent.
pub struct Node {
    pub ca: Authority,
    pub id: AgentId,
    dir: PathBuf,
}

impl Node {
    pub fn new() -> Node {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("stoa-shell-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let node = Node { ca: Authority::create("pool").unwrap(), id: AgentId::new(&name).unwrap(), dir };
        let credentials = node.ca.issue(&Identity::Agent(node.id.clone()), LEAF_VALIDITY).unwrap();
        credentials.save(&node.dir.join("credentials")).unwrap();
        node
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config(&self, masters: &[&str]) -> Config {
        let masters = masters.iter().map(|master| (*master).to_owned()).collect();
        Config {
            hostname: Some("node-1".into()),
            resources: Some("cpus:2;mem:1GiB;disk:1GiB".into()),
            attributes: vec!["zone=b".into()],
            ..Config::new(self.dir.join("work"), masters, self.dir.join("credentials"))
        }
    }

    pub async fn start(&self, masters: &[&str]) -> Running {
        self.start_with(self.config(masters)).await
    }

    pub async fn start_with(&self, config: Config) -> Running {
        agent::start(config, || "answer 42\n".to_owned()).await.unwrap()
    }

    pub fn user(&self) -> Credentials {
        self.ca.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap()
    }

    /// The output of a task.
    pub async fn logs(&self, address: &str, task: TaskId, follow: bool) -> Result<Logs, Status> {
        let channel = channel(address, PeerRole::Agent, &self.user()).await.unwrap();
        let asked = LogsRequest {
            framework: framework(),
            task,
            stderr: false,
            follow,
            tail_lines: None,
            offset: None,
        };
        Ok(Logs(AgentDoorClient::new(channel).logs(asked).await?.into_inner()))
    }

    fn keeper(&self) -> Option<Client> {
        Client::connect(&self.dir.join("work/keeper")).ok()
    }

    /// Whether a keeper runs.
    pub fn has_keeper(&self) -> bool {
        self.keeper().is_some()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper() {
            let _ = keeper.set_timeout(Duration::from_secs(10));
            let _ = keeper.send(&[Request::Shutdown { kill: true }]);
            while let Ok(Some(_)) = keeper.event() {}
        }
        self.remove_cgroups();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Node {
    /// Those of agents that were killed: nobody else comes for them, and each slows the kernel down a little.
    fn remove_cgroups(&self) {
        let Some(name) = self.dir.file_name() else { return };
        let trees =
            std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|tree| tree.path());
        for tree in trees.chain(["/sys/fs/cgroup".into()]) {
            let agent = tree.join("stoa").join(name);
            for run in std::fs::read_dir(&agent).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(run.path());
            }
            let _ = std::fs::remove_dir(agent);
        }
    }
}

/// Output on its way.
pub struct Logs(Streaming<proto::agent_link::LogsChunk>);

impl Logs {
    /// Some more; `None` at the end.
    pub async fn some(&mut self) -> Option<String> {
        let chunk = super::soon("output", self.0.message()).await.unwrap()?;
        Some(String::from_utf8(chunk.data).unwrap())
    }

    /// All of it, to the end.
    pub async fn all(mut self) -> String {
        let mut all = String::new();
        while let Some(more) = self.some().await {
            all.push_str(&more);
        }
        all
    }

    /// Until this has come.
    pub async fn until(&mut self, wanted: &str) -> String {
        let mut all = String::new();
        while !all.contains(wanted) {
            all.push_str(&self.some().await.expect("more output"));
        }
        all
    }
}
