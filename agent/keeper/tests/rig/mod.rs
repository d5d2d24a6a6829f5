//! A real keeper in a scratch directory, and an agent's conversation with it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_keeper::client::Client;
use agent_keeper::protocol::{self, Event, Exit, Failure, How, Request, Run, RunId, RunState, Spawn, User};

pub const PATIENCE: Duration = Duration::from_secs(30);

static COUNT: AtomicU64 = AtomicU64::new(1);

/// An id no other run of this test binary has.
pub fn run_id() -> RunId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    RunId(id)
}

/// Whether this test may create namespaces; says so if not.
pub fn privileged(test: &str) -> bool {
    // SAFETY: plain system call.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("skipped: {test} needs root to create namespaces and change users");
    }
    root
}

pub struct Rig {
    pub dir: PathBuf,
    pub client: Client,
    pub keeper_pid: i32,
}

pub fn serve(dir: &Path) -> Output {
    serve_with_idle(dir, 60)
}

pub fn serve_with_idle(dir: &Path, idle_seconds: u64) -> Output {
    let program = env!("CARGO_BIN_EXE_stoa-keeper");
    let idle = idle_seconds.to_string();
    Command::new(program).arg("serve").arg(dir).arg("test-build").arg(idle).output().expect("keeper program")
}

impl Rig {
    pub fn new(name: &str) -> Rig {
        Rig::with_idle(name, 60)
    }

    /// A keeper that ends after so long with nothing to do.
    pub fn with_idle(name: &str, idle_seconds: u64) -> Rig {
        // Longer than a unix socket's address may be.
        let padding = "a-directory-with-a-long-name".repeat(4);
        let id = format!("stoa-keeper-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(id).join(padding);
        fs::create_dir_all(&dir).expect("scratch directory");
        let out = serve_with_idle(&dir, idle_seconds);
        assert!(out.status.success(), "keeper: {}", String::from_utf8_lossy(&out.stderr));
        let (client, keeper_pid) = connect(&dir);
        Rig { dir, client, keeper_pid }
    }

    /// Drops the connection and makes a new one.
    pub fn reconnect(&mut self) {
        let (client, keeper_pid) = connect(&self.dir);
        self.client = client;
        self.keeper_pid = keeper_pid;
    }

    pub fn send(&mut self, requests: &[Request]) {
        self.client.send(requests).expect("sent");
    }

    pub fn event(&mut self) -> Event {
        self.client.event().expect("an event in time").expect("an open connection")
    }

    pub fn spawn(&mut self, spawn: Spawn) -> RunId {
        let run_id = spawn.run_id;
        self.send(&[Request::Spawn(Box::new(spawn))]);
        run_id
    }

    /// The next event about this run that is an end, others being passed over.
    pub fn end(&mut self, of: RunId) -> Result<Exit, Failure> {
        loop {
            match self.event() {
                Event::Exited { run_id, exit } if run_id == of => return Ok(exit),
                Event::SpawnFailed { run_id, failure } if run_id == of => return Err(failure),
                _ => {}
            }
        }
    }

    pub fn how(&mut self, of: RunId) -> How {
        self.end(of).expect("it was started").how
    }

    /// Waits until the run's command is executed; its first process.
    pub fn spawned(&mut self, of: RunId) -> i32 {
        loop {
            match self.event() {
                Event::Spawned { run_id, pid, .. } if run_id == of => return pid,
                Event::SpawnFailed { run_id, failure } if run_id == of => panic!("not started: {failure:?}"),
                Event::Exited { run_id, exit } if run_id == of => panic!("over: {exit:?}"),
                _ => {}
            }
        }
    }

    pub fn list(&mut self) -> Vec<Run> {
        self.send(&[Request::List]);
        let mut runs = Vec::new();
        loop {
            match self.event() {
                Event::Listed(run) => runs.push(run),
                Event::ListEnd => return runs,
                _ => {}
            }
        }
    }

    pub fn state(&mut self, of: RunId) -> Option<RunState> {
        self.list().into_iter().find(|run| run.run_id == of).map(|run| run.state)
    }

    /// Runs to the end and gives what was written to stdout.
    pub fn output_of(&mut self, spawn: Spawn) -> String {
        let out = self.dir.join(format!("out-{}", spawn.run_id));
        fs::create_dir_all(&out).expect("output directory");
        std::os::unix::fs::chown(&out, spawn.user.as_ref().map(|user| user.uid), None).expect("chown");
        let output = protocol::Output {
            dir: out.as_os_str().as_bytes().to_vec(),
            file_bytes_max: 1 << 20,
            rotated_max: 1,
        };
        let id = self.spawn(Spawn { output: Some(output), ..spawn });
        let ended = self.end(id).expect("started");
        let text = fs::read_to_string(out.join("stdout")).unwrap_or_default();
        let errors = fs::read_to_string(out.join("stderr")).unwrap_or_default();
        assert_eq!(ended.how, How::Code(0), "stdout: {text} stderr: {errors}");
        text
    }
}

impl Drop for Rig {
    /// Ends what this rig started, also after a failed assertion.
    fn drop(&mut self) {
        if let Ok(mut client) = Client::connect(&self.dir) {
            let _ = client.set_timeout(PATIENCE);
            let _ = client.send(&[Request::Shutdown { kill: true }]);
            while let Ok(Some(_)) = client.event() {}
        }
        let parent = self.dir.parent().unwrap_or(&self.dir);
        let _ = fs::remove_dir_all(parent);
    }
}

fn connect(dir: &Path) -> (Client, i32) {
    let mut client = Client::connect(dir).expect("connected");
    client.set_timeout(PATIENCE).expect("timeout");
    match client.event().expect("an event").expect("open") {
        Event::Welcome { pid, build, version, .. } => {
            assert_eq!((build.as_str(), version), ("test-build", protocol::VERSION));
            (client, pid)
        }
        other => panic!("{other:?}"),
    }
}

/// A command of plain words.
pub fn command(argv: &[&str]) -> Spawn {
    Spawn {
        run_id: run_id(),
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![b"PATH=/usr/bin:/bin".to_vec()],
        cwd: b"/".to_vec(),
        user: None,
        cgroup_procs: vec![],
        pid_namespace: false,
        mount_namespace: false,
        no_new_privs: false,
        dropped_capabilities: 0,
        rlimits: vec![],
        output: None,
        secrets: None,
    }
}

pub fn shell(script: &str) -> Spawn {
    command(&["/bin/sh", "-c", script])
}

/// In pid and mount namespaces of its own.
pub fn isolated(spawn: Spawn) -> Spawn {
    Spawn { pid_namespace: true, mount_namespace: true, ..spawn }
}

/// A command that leaves no trace in its namespaces: an ordinary user's.
pub fn guest(spawn: Spawn) -> Spawn {
    let nobody = User { uid: 65534, gid: 65534, groups: vec![] };
    Spawn { user: Some(nobody), no_new_privs: true, ..isolated(spawn) }
}

/// A keeper whose scratch directory any user reaches; `None` without the rights this needs.
pub fn open_rig(test: &str) -> Option<Rig> {
    let rig = privileged(test).then(|| Rig::new(&format!("inits-{test}")))?;
    for dir in rig.dir.ancestors().take(2) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    Some(rig)
}

/// Runs to the end: the init it had, and how it ended.
pub fn run(rig: &mut Rig, spawn: Spawn) -> (i32, How) {
    let id = rig.spawn(spawn);
    (rig.spawned(id), rig.how(id))
}

/// Runs guests until one has followed another under the same init, which is idle when this returns.
pub fn warm_up(rig: &mut Rig) -> i32 {
    // Somebody may mount something on this machine between the two; not so often.
    for _ in 0..100 {
        let (first, _) = run(rig, guest(command(&["true"])));
        let (second, _) = run(rig, guest(command(&["true"])));
        if first == second {
            return second;
        }
    }
    panic!("no run follows another under the same init");
}

/// A named pipe: its reader learns when the last process that holds it open for writing is gone.
pub struct Fifo {
    pub path: PathBuf,
}

impl Fifo {
    pub fn new(dir: &Path, name: &str) -> Fifo {
        let path = dir.join(name);
        let c_path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("path");
        // SAFETY: the path is null-terminated.
        assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o666) }, 0, "mkfifo");
        Fifo { path }
    }

    /// Waits for a writer and then for the end of all writers; what they wrote.
    pub fn read_to_end(self) -> String {
        let mut text = String::new();
        File::open(&self.path).expect("fifo").read_to_string(&mut text).expect("read");
        text
    }

    /// Waits for a writer's first byte.
    pub fn open(&self) -> File {
        let mut file = File::open(&self.path).expect("fifo");
        let mut byte = [0];
        file.read_exact(&mut byte).expect("a byte");
        file
    }

    pub fn text(&self) -> String {
        self.path.display().to_string()
    }
}

pub fn send_signal(pid: i32, signal: i32) {
    // SAFETY: plain system call; callers name processes that they started.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill {pid}");
}
