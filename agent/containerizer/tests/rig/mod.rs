//! A real containerizer with a real keeper in a scratch directory and cgroups of its own.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent_containerizer::{
    Config, Containerizer, Event, Exit, How, Isolation, Launch, Recovered, RunId, SandboxDir, StartFailure,
};
use agent_keeper::client::Client;
use agent_keeper::protocol::Request;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(30);

static COUNT: AtomicU64 = AtomicU64::new(1);

pub fn run_id() -> RunId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    RunId(id)
}

/// Removes what a test has made, also after a failed assertion. Held apart from the containerizer, which tests replace.
pub struct Scratch {
    pub dir: PathBuf,
    pub config: Config,
}

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let id = format!("stoa-test-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        // Longer than a unix socket's address may be.
        let work_dir = dir.join("a-work-directory-with-a-long-name".repeat(4));
        fs::create_dir_all(&work_dir).expect("scratch directory");
        for dir in [&dir, &work_dir] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        let mut config = Config::new(work_dir, "agent/one");
        config.cgroups_root = PathBuf::from(format!("/{id}"));
        config.allow_root = true;
        Scratch { dir, config }
    }

    pub fn keeper_dir(&self) -> PathBuf {
        self.config.work_dir.join("keeper")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // Again if the containerizer, being dropped too, has taken our place in the last moment.
        while let Ok(mut client) = Client::connect(&self.keeper_dir())
            && Instant::now() < deadline
        {
            let _ = client.set_timeout(PATIENCE);
            let _ = client.send(&[Request::Shutdown { kill: true }]);
            while let Ok(Some(_)) = client.event() {}
        }
        let root = self.config.cgroups_root.strip_prefix("/").unwrap_or(&self.config.cgroups_root);
        for mount in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            // The containerizer may be at it too, and the dead linger a moment.
            let top = mount.path().join(root);
            let deadline = Instant::now() + PATIENCE;
            while top.exists() && Instant::now() < deadline {
                remove_cgroups(&top);
                std::thread::yield_now();
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn remove_cgroups(dir: &Path) {
    let children = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.for_each(|child| remove_cgroups(&child.path()));
    let _ = fs::remove_dir(dir);
}

pub struct Rig {
    pub containerizer: Containerizer,
    pub events: UnboundedReceiver<Event>,
    pub recovered: Vec<Recovered>,
    /// First processes of the runs whose start has been told.
    pub pids: HashMap<RunId, i32>,
    pub scratch: Scratch,
}

impl Rig {
    pub async fn new(name: &str) -> Rig {
        Rig::of(Scratch::new(name)).await
    }

    pub async fn of(scratch: Scratch) -> Rig {
        let started = Containerizer::start(scratch.config.clone()).await;
        let (containerizer, mut events) = started.expect("containerizer");
        let recovered = match timeout(PATIENCE, events.recv()).await.expect("in time") {
            Some(Event::Recovered(recovered)) => recovered,
            other => panic!("the first event is Recovered, not {other:?}"),
        };
        Rig { containerizer, events, recovered, pids: HashMap::new(), scratch }
    }

    /// Drops this agent side and starts another, as a restart of the agent does.
    pub async fn restart(self) -> Rig {
        let Rig { containerizer, mut events, scratch, .. } = self;
        drop(containerizer);
        // Ends when the engine, and with it the connection, is gone.
        while timeout(PATIENCE, events.recv()).await.expect("the engine ends").is_some() {}
        Rig::of(scratch).await
    }

    pub fn script(&self, script: &str) -> Launch {
        launch(&["/bin/sh", "-c", script])
    }

    pub fn launch(&self, launch: Launch) -> RunId {
        let run_id = launch.run_id;
        self.containerizer.launch(launch);
        run_id
    }

    pub async fn event(&mut self) -> Event {
        let event =
            timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("an engine");
        if let Event::Started { run_id, pid, .. } = event {
            self.pids.insert(run_id, pid);
        }
        event
    }

    /// The final event of a run, others being passed over.
    pub async fn end(&mut self, of: RunId) -> Result<Exit, StartFailure> {
        loop {
            match self.event().await {
                Event::Exited { run_id, exit } if run_id == of => return Ok(exit),
                Event::StartFailed { run_id, failure } if run_id == of => return Err(failure),
                _ => {}
            }
        }
    }

    pub async fn how(&mut self, of: RunId) -> How {
        self.end(of).await.expect("it was started").how
    }

    /// The first process of a run, once its start is told.
    pub async fn started(&mut self, of: RunId) -> i32 {
        loop {
            if let Some(pid) = self.pids.get(&of) {
                return *pid;
            }
            match self.event().await {
                Event::StartFailed { run_id, failure } if run_id == of => panic!("not started: {failure}"),
                Event::Exited { run_id, exit } if run_id == of => panic!("over: {exit:?}"),
                _ => {}
            }
        }
    }

    pub fn sandbox(&self, launch: &Launch) -> PathBuf {
        launch.sandbox.path(&self.scratch.config.work_dir)
    }

    /// Whether a kind of isolation is in force; says why the test is skipped if not.
    pub fn has(&self, name: &str) -> bool {
        let report = self.containerizer.report();
        let entries = report.entries();
        let (_, found) = entries.iter().find(|(entry, _)| *entry == name).expect("a kind of isolation");
        match found {
            Isolation::Enforced { .. } => true,
            Isolation::Off { why } => {
                eprintln!("skipped: no {name} isolation here: {why}");
                false
            }
        }
    }

    /// A run's cgroup in the v1 tree of a controller.
    pub fn v1_cgroup(&self, controller: &str, run_id: RunId) -> PathBuf {
        let root = self.scratch.config.cgroups_root.strip_prefix("/").expect("absolute");
        let mount = Path::new("/sys/fs/cgroup").join(controller);
        mount
            .join(root)
            .join(agent_containerizer::escape(&self.scratch.config.agent))
            .join(run_id.to_string())
    }
}

pub fn launch(argv: &[&str]) -> Launch {
    let run_id = run_id();
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Launch::new(run_id, argv, SandboxDir::new("a framework/../x", "task 1", run_id))
}

/// A named pipe: its reader learns when the last process that holds it open for writing is gone.
pub struct Fifo {
    pub path: PathBuf,
}

impl Fifo {
    pub fn new(dir: &Path, name: &str) -> Fifo {
        let path = dir.join(name);
        let made = Command::new("mkfifo").args(["-m", "666"]).arg(&path).status().expect("mkfifo");
        assert!(made.success());
        Fifo { path }
    }

    /// Waits for a writer and then for the end of all writers; what they wrote.
    pub async fn read_to_end(&self) -> String {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || fs::read_to_string(path).expect("read"));
        timeout(PATIENCE, read).await.expect("an end of all writers").expect("read")
    }

    /// Waits for a writer's first byte; the file then reads to the end of all writers.
    pub async fn open(&self) -> File {
        let path = self.path.clone();
        let open = tokio::task::spawn_blocking(move || {
            let mut file = File::open(path).expect("fifo");
            file.read_exact(&mut [0]).expect("a byte");
            file
        });
        timeout(PATIENCE, open).await.expect("a writer").expect("open")
    }

    /// Waits for a reader.
    pub async fn write(&self) {
        let path = self.path.clone();
        let write = tokio::task::spawn_blocking(move || fs::write(path, "x").expect("write"));
        timeout(PATIENCE, write).await.expect("a reader").expect("write");
    }

    pub fn text(&self) -> String {
        self.path.display().to_string()
    }
}

/// Waits for the end of all writers of an open named pipe.
pub async fn closed(mut file: File) {
    let rest = tokio::task::spawn_blocking(move || file.read_to_end(&mut Vec::new()).expect("read"));
    timeout(PATIENCE, rest).await.expect("an end of all writers").expect("read");
}
