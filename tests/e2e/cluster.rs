//! A cluster for a test: `stoa up` in a directory of its own, and the CLI against it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing that is told to end or to start, and no command, has reason to take so long. One that hangs fails its test by name: it
/// does not keep all tests waiting.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command that stays, such as a watch; it is ended with this.
pub struct Staying {
    child: Child,
    lines: Receiver<String>,
}

/// A running cluster.
pub struct Cluster {
    dir: PathBuf,
    args: Vec<String>,
    up: Option<Staying>,
}

/// Waits until something is so; looks again soon at first, then a few times a second, as a person would.
pub fn eventually<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// The same for whoever says more when it is not so in time.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(pause); // eventually
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits until a process has ended; `None` if it hung, and it is killed.
fn end_in_time(child: &mut Child) -> Option<ExitStatus> {
    let ended = within(HANGS_AFTER, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ended
}

/// Waits until a process has ended.
pub fn end_of(child: &mut Child, what: &str) -> ExitStatus {
    end_in_time(child).unwrap_or_else(|| panic!("not within {HANGS_AFTER:?}: the end of {what}"))
}

/// Ends processes as Ctrl-C does, well or not: what runs when its test may have failed already.
pub fn end<'a>(children: impl IntoIterator<Item = &'a mut Child>) {
    let mut left: Vec<&mut Child> = children.into_iter().collect();
    left.retain_mut(|child| child.try_wait().is_ok_and(|ended| ended.is_none()));
    // All are told before any is waited for.
    for child in &left {
        signal(child.id(), "-INT");
    }
    for child in left {
        end_in_time(child);
    }
}

pub fn signal(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
}

/// Whether a process is there and not merely waiting to be reaped.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The examples of the SDK as they were built last; a plain `cargo test` of the workspace builds them.
pub fn examples() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_stoa")).with_file_name("examples");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root.join("framework-sdk/examples")).unwrap().flatten() {
        let source = entry.path();
        let binary = built.join(source.file_stem().unwrap_or_default());
        let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        assert!(
            changed(&binary) >= changed(&source),
            "{} is not built from what it says now: run `cargo build -p framework-sdk --examples`",
            source.display()
        );
    }
    built
}

// === impl Said ===

impl Said {
    /// Runs a command to its end.
    pub fn by(mut command: Command) -> Said {
        let what = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (whole(child.stdout.take().unwrap()), whole(child.stderr.take().unwrap()));
        let status = end_in_time(&mut child);
        let said = Said {
            code: status.and_then(|status| status.code()).unwrap_or(-1),
            out: out.join().unwrap(),
            err: err.join().unwrap(),
        };
        assert!(status.is_some(), "not over within {HANGS_AFTER:?}: {what} said {said:?}");
        said
    }
}

fn whole(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

// === impl Staying ===

impl Staying {
    fn begin(mut command: Command) -> Staying {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the command's output, or when nobody reads it any more.
            for line in out.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Staying { child, lines }
    }

    /// Ends it as a loss of power would.
    pub fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as Ctrl-C does, and well.
    pub fn interrupt(mut self) {
        signal(self.child.id(), "-INT");
        let status = end_of(&mut self.child, "what Ctrl-C ends");
        assert!(status.success(), "it ends well: {status}");
    }

    /// Stops it where it is, or lets it go on.
    pub fn halt(&self, halt: bool) {
        signal(self.child.id(), if halt { "-STOP" } else { "-CONT" });
    }

    /// Waits until it has ended; how.
    pub fn ended(mut self) -> Option<i32> {
        end_of(&mut self.child, "a command").code()
    }

    /// The next line; `None` when the command ended.
    pub fn line(&self, what: &str, limit: Duration) -> Option<String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {limit:?}: {what}"),
        }
    }

    /// Reads on until a line is as wanted.
    pub fn until(&self, what: &str, limit: Duration, mut wanted: impl FnMut(&str) -> bool) {
        let begun = Instant::now();
        let mut said = Vec::new();
        loop {
            let line = self.line(what, limit.saturating_sub(begun.elapsed()));
            let line = line.unwrap_or_else(|| panic!("the command ended without: {what}; it said {said:#?}"));
            if wanted(&line) {
                return;
            }
            said.push(line);
        }
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Cluster ===

impl Cluster {
    pub fn up(name: &str, args: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepared(name, args);
        cluster.up_again();
        cluster
    }

    /// Its directory, empty, and nothing started yet.
    pub fn prepared(name: &str, args: &[&str]) -> Cluster {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("tmp")).unwrap();
        let data = dir.join("data").display().to_string();
        let args =
            args.iter().map(|arg| if *arg == "DATA" { data.clone() } else { (*arg).to_owned() }).collect();
        Cluster { dir, args, up: None }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Starts it and waits until it says that it is ready.
    pub fn up_again(&mut self) {
        let mut command = self.command(env!("CARGO_BIN_EXE_stoa"));
        command.arg("up").args(&self.args);
        self.up_by(command);
    }

    /// The same by a command that becomes `stoa up`.
    pub fn up_by(&mut self, command: Command) {
        let up = Staying::begin(command);
        up.until("`stoa up` is ready", HANGS_AFTER, |line| line.contains("ready in"));
        self.up = Some(up);
    }

    /// A program that sees this cluster and no other.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env("HOME", &self.dir)
            .env("TMPDIR", self.dir.join("tmp"))
            .env_remove("STOA_CONTEXT")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the CLI.
    pub fn stoa(&self, args: &[&str]) -> Said {
        let mut command = self.command(env!("CARGO_BIN_EXE_stoa"));
        command.args(args);
        Said::by(command)
    }

    /// Starts a command of the CLI that stays.
    pub fn staying(&self, args: &[&str]) -> Staying {
        let mut command = self.command(env!("CARGO_BIN_EXE_stoa"));
        command.args(args);
        Staying::begin(command)
    }

    /// Starts an example of the SDK, in the cluster's directory.
    pub fn example(&self, name: &str) -> Staying {
        self.example_of(name, &[])
    }

    /// The same with arguments.
    pub fn example_of(&self, name: &str, args: &[&str]) -> Staying {
        let path = examples().join(name);
        let mut command = self.command(&path.display().to_string());
        command.current_dir(&self.dir).args(args);
        Staying::begin(command)
    }

    pub fn json(&self, args: &[&str]) -> Option<serde_json::Value> {
        let said = self.stoa(args);
        (said.code == 0).then(|| serde_json::from_str(&said.out).expect("-o json prints JSON"))
    }

    /// What `stoa get NOUN -o json` lists; empty while nobody answers.
    pub fn list(&self, noun: &str) -> Vec<serde_json::Value> {
        let json = self.json(&["get", noun, "-o", "json"]).unwrap_or_default();
        let items = json.as_array().or_else(|| json["items"].as_array()).or_else(|| json[noun].as_array());
        items.cloned().unwrap_or_default()
    }

    /// The directory by which the CLI knows this cluster: credentials, and where the masters are.
    pub fn context(&self) -> PathBuf {
        let current = std::fs::read_to_string(self.dir.join("config/stoa/current")).unwrap();
        PathBuf::from(current.trim())
    }

    /// A place for a file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Applies a job file.
    pub fn apply(&self, file: &str) {
        let applied = self.stoa(&["job", "apply", file]);
        assert_eq!(applied.code, 0, "{applied:?}");
    }

    /// Waits until `stoa status` finds everything well.
    pub fn is_healthy(&self) {
        eventually("a healthy cluster", Duration::from_secs(20), || {
            (self.stoa(&["status"]).code == 0).then_some(())
        });
    }

    /// The leader's member id and process, if there is one.
    pub fn try_leader(&self) -> Option<(u64, u32)> {
        let json = self.json(&["raft", "status", "-o", "json"])?;
        let leader = json["members"].as_array()?.iter().find(|member| member["leader"] == true)?;
        Some((leader["id"].as_u64()?, u32::try_from(leader["pid"].as_u64()?).ok()?))
    }

    pub fn leader(&self) -> (u64, u32) {
        eventually("a leader", Duration::from_secs(10), || self.try_leader())
    }

    /// The process of a part of the cluster: the newest of that name among the children of `stoa up`.
    pub fn child(&self, name: &str) -> u32 {
        eventually(name, Duration::from_secs(10), || {
            self.children().into_iter().filter(|(_, line)| line.contains(name)).map(|(pid, _)| pid).max()
        })
    }

    /// Every process of the cluster with its command line.
    pub fn children(&self) -> Vec<(u32, String)> {
        let up = self.up.as_ref().unwrap().child.id();
        let path = format!("/proc/{up}/task/{up}/children");
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .map(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                (pid, String::from_utf8_lossy(&line).replace('\0', " "))
            })
            .collect()
    }

    pub fn kill_9(&self, pid: u32) {
        assert!(pid > 1);
        let status = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Ends it as Ctrl-C does.
    pub fn down(&mut self) {
        self.up.take().unwrap().interrupt();
    }

    /// Ends it, and nothing is left: no process, no directory.
    pub fn down_leaves_nothing(mut self) {
        let children = self.children();
        assert!(children.len() >= 5, "{children:?}");
        self.down();
        for (pid, line) in children {
            assert!(!is_alive(pid), "{pid} is left: {line}");
        }
        let left: Vec<_> =
            std::fs::read_dir(self.dir.join("tmp")).unwrap().flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A failed test must not leave a cluster behind.
        if let Some(mut up) = self.up.take() {
            end([&mut up.child]);
        }
        // With `--data-dir` they stay: the next `stoa up` would go on with them, but there is none.
        end_keepers(&self.dir);
    }
}

/// Whether any process of this machine sleeps for so long. A task that is told by its pid alone may be over: the process of that
/// pid can wait for the next.
pub fn is_sleeping(seconds: &str) -> bool {
    let commands = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let own = format!("sleep\0{seconds}\0");
    commands.filter_map(|path| std::fs::read_to_string(path).ok()).any(|words| words == own)
}

/// Ends the keepers of agents below a directory, and what they run.
pub fn end_keepers(dir: &Path) {
    let ours = format!("{}/", dir.display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else { continue };
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let program = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default());
        if !(program.starts_with(&ours) && program.contains("/stoa-keeper-")) {
            continue;
        }
        let children = std::fs::read_to_string(process.path().join("task").join(pid).join("children"));
        let children = children.unwrap_or_default();
        let _ = Command::new("kill").arg("-KILL").args(children.split_whitespace()).arg(pid).status();
    }
}
