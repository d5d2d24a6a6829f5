//! A cluster without `stoa up`: a master that founds it, others that join with tokens.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster::{Said, end, end_keepers, end_of, eventually, signal};

/// Processes started by hand, ended with the test.
pub(crate) struct ByHand {
    dir: PathBuf,
    running: Vec<Child>,
    /// Where in `running` those stand that were started by a name.
    named: BTreeMap<String, usize>,
}

impl ByHand {
    pub(crate) fn new(name: &str) -> ByHand {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-founding-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        ByHand { dir, running: Vec::new(), named: BTreeMap::new() }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stoa"));
        command.args(args).env("HOME", &self.dir).env("XDG_CONFIG_HOME", self.dir.join("config"));
        command.env_remove("STOA_CONTEXT").env_remove("STOA_JOIN").stdin(Stdio::null());
        command
    }

    /// Starts a process; what it says goes to a file beside it.
    pub(crate) fn start(&mut self, name: &str, args: &[&str]) {
        let log = std::fs::File::create(self.dir.join(format!("{name}.log"))).unwrap();
        let child = self.command(args).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.named.insert(name.to_owned(), self.running.len());
        self.running.push(child);
    }

    /// The same with a limit of open files.
    pub(crate) fn start_with_files(&mut self, name: &str, files: u32, args: &[&str]) {
        let log = std::fs::File::create(self.dir.join(format!("{name}.log"))).unwrap();
        let like = self.command(args);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_stoa")])
            .args(args);
        for (variable, value) in like.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.named.insert(name.to_owned(), self.running.len());
        self.running.push(child);
    }

    /// Kills one that was started by this name, as a loss of power would.
    pub(crate) fn kill(&mut self, name: &str) {
        let at = self.named[name];
        self.running[at].kill().unwrap();
        self.running[at].wait().unwrap();
    }

    /// Starts a founder; what it prints, up to the line that holds `until`.
    pub(crate) fn found(&mut self, args: &[&str], until: &str) -> String {
        let log = std::fs::File::create(self.dir.join("founder.log")).unwrap();
        let out = self.dir.join("founder.out");
        let child = self.command(args).stdout(std::fs::File::create(&out).unwrap()).stderr(log).spawn();
        self.running.push(child.unwrap());
        let founder = self.running.len() - 1;
        eventually(&format!("the founder says {until}"), Duration::from_secs(60), || {
            let ended = self.running[founder].try_wait().unwrap();
            let said = std::fs::read_to_string(&out).unwrap();
            // Up to the last line that is whole.
            let whole = said.rfind('\n').map_or("", |end| &said[..=end]);
            let is_said = whole.lines().any(|line| line.contains(until));
            assert!(is_said || ended.is_none(), "it ended: {said}{}", self.log("founder"));
            is_said.then(|| whole.to_owned())
        })
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default()
    }

    pub(crate) fn stoa(&self, args: &[&str]) -> Said {
        Said::by(self.command(args))
    }

    /// Waits until a command ends well.
    pub(crate) fn well(&self, what: &str, args: &[&str]) -> Said {
        eventually(what, Duration::from_secs(20), || Some(self.stoa(args)).filter(|said| said.code == 0))
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        end(&mut self.running);
        // Those of agents that were killed are left.
        end_keepers(&self.dir);
    }
}

/// Doors that nobody listens on: held until all are chosen.
pub(crate) fn doors(count: usize) -> Vec<String> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

#[test]
fn one_master_founds_a_cluster_and_others_join_with_tokens() {
    let mut hand = ByHand::new("one");
    let door = doors(1).remove(0);
    let (data, context) = (hand.path("master"), hand.path("master/context"));
    let master = ["master", "--data-dir", &data, "--listen", &door];
    let said = hand.found(&master, "--join TOKEN");
    assert!(said.contains("founded the cluster") && said.contains(&context), "{said}");
    hand.well("a leader", &["raft", "status", "--context", &context]);

    let create = |kind: &[&str]| {
        let said = hand.stoa(&[&["token", "create", "--context", &context], kind].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.out.trim().to_owned()
    };
    let (for_agent, for_user) = (create(&["--kind", "agent"]), create(&["--kind", "user", "--name", "ada"]));
    let refused = hand.stoa(&["token", "create", "--kind", "master", "--name", "2", "--context", &context]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("stoa raft add"), "{refused:?}");

    let work = hand.path("agent");
    let agent = [
        "agent",
        "--work-dir",
        &work,
        "--master",
        &door,
        "--resources",
        "cpus:1;mem:256MiB",
        "--end-tasks-on-exit",
        "--join",
        &for_agent,
    ];
    hand.start("agent", &agent);
    eventually("the agent", Duration::from_secs(20), || {
        let said = hand.stoa(&["get", "agents", "--context", &context, "-o", "json"]);
        said.out.contains("\"state\": \"active\"").then_some(())
    });

    // A person gets a context of her own; the token is hers alone, and good once.
    let (hers, other) = (hand.path("ada"), hand.path("eve"));
    let join = |name: &str, dir: &str| {
        hand.stoa(&["join", &for_user, "--master", &door, "--as", name, "--dir", dir])
    };
    let stranger = join("user/eve", &other);
    assert_eq!(stranger.code, 4, "{stranger:?}");
    assert_eq!(join("user/ada", &hers).code, 0);
    assert_eq!(join("user/ada", &other).code, 4, "it is used up");
    let said = hand.stoa(&["get", "agents", "--context", &hers]);
    assert!(said.code == 0 && said.out.contains("active"), "{said:?}");

    // Started again it goes on: no second founding.
    let mut founder = hand.running.remove(0);
    signal(founder.id(), "-INT");
    assert!(end_of(&mut founder, "the founder").success(), "{}", hand.log("founder"));
    hand.start("again", &master);
    hand.well("the same cluster", &["get", "agents", "--context", &hers]);
    assert!(!hand.log("again").contains("founded"), "{}", hand.log("again"));
}

#[test]
fn members_named_at_the_founding_join_the_group() {
    let mut hand = ByHand::new("three");
    let doors = doors(3);
    let members: Vec<String> =
        doors.iter().zip(1..).map(|(door, id): (_, u32)| format!("--member={id}={door}")).collect();
    let (one, two, three) = (hand.path("m1"), hand.path("m2"), hand.path("m3"));
    let context = hand.path("m1/context");
    let line = |id: &'static str, data: &str, door: &str, more: &[&str]| {
        let mut line: Vec<String> =
            ["master", "--id", id, "--data-dir", data, "--listen", door].map(str::to_owned).into();
        line.extend(members.iter().cloned());
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    };
    let words = |line: &[String]| -> Vec<String> { line.to_vec() };
    let first = words(&line("1", &one, &doors[0], &[]));
    let said = hand.found(&first.iter().map(String::as_str).collect::<Vec<_>>(), "--id 3");
    let token = |id: &str| {
        let line = said.lines().find(|line| line.contains(&format!("--id {id} "))).expect("a line for it");
        line.rsplit("--join ").next().expect("a token").trim().to_owned()
    };

    // The token of one member makes nobody another.
    let wrong = line("2", &two, &doors[1], &["--join", &token("3")]);
    let refused = hand.stoa(&wrong.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(refused.code, 1, "{refused:?}");

    let second = line("2", &two, &doors[1], &["--join", &token("2")]);
    hand.start("m2", &second.iter().map(String::as_str).collect::<Vec<_>>());
    hand.well("two of three lead", &["get", "roles", "--context", &context]);
    let third = line("3", &three, &doors[2], &["--join", &token("3")]);
    hand.start("m3", &third.iter().map(String::as_str).collect::<Vec<_>>());
    eventually("three are heard", Duration::from_secs(20), || {
        let said = hand.stoa(&["raft", "status", "--context", &context, "-o", "json"]);
        (said.out.matches("\"alive\": true").count() == 3).then_some(())
    });

    // Whoever leads lets others in, asked through any of them.
    let token = hand.well(
        "a token",
        &["token", "create", "--kind", "framework", "--name", "spark", "--context", &context],
    );
    for (door, name) in doors.iter().zip(["a", "b", "c"]) {
        let dir = hand.path(name);
        let said = hand.stoa(&[
            "join",
            token.out.trim(),
            "--master",
            door,
            "--as",
            "framework/spark",
            "--dir",
            &dir,
        ]);
        let expected = if name == "a" { 0 } else { 4 };
        assert_eq!(said.code, expected, "the first uses it up, whichever door it asks at: {said:?}");
    }
}
