//! Three ledgers of a job, kept by three parties: what was accepted, what was started, what was reported.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, eventually};

/// A job whose tasks each write one line when they start, and then do as `then` says.
pub struct Job {
    name: String,
    instances: usize,
    started: PathBuf,
}

/// Holds tasks back: they wait in `flock -s "$GATE"` as long as this is there.
pub struct Gate {
    path: PathBuf,
    /// The lock goes with it.
    _held: File,
}

/// A task as the masters tell of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub instance: u64,
    pub state: String,
    pub run: String,
    pub pid: Option<u64>,
}

/// The shell's way to wait at a gate; `exec`, so that the task keeps the process that wrote its line.
pub const WAITS: &str = "exec flock -s \"$GATE\" true";

/// Tasks run as somebody else than this test, who may be root.
fn open_to_all(path: &Path) -> File {
    let file = File::create(path).unwrap();
    file.set_permissions(Permissions::from_mode(0o666)).unwrap();
    file
}

// === impl Gate ===

impl Gate {
    pub fn closed(cluster: &Cluster, name: &str) -> Gate {
        let path = cluster.path(name);
        let held = open_to_all(&path);
        held.lock().unwrap();
        Gate { path, _held: held }
    }

    pub fn open(self) {}
}

// === impl Job ===

impl Job {
    /// Submits it.
    pub fn submit(
        cluster: &Cluster,
        kind: &str,
        name: &str,
        instances: usize,
        gate: &Gate,
        then: &str,
    ) -> Job {
        let started = cluster.path(&format!("{name}.started"));
        open_to_all(&started);
        // One short write to a file opened for appending: lines of different tasks do not mix.
        let script = format!("echo \"$STOA_TASK_ID $$\" >> \"$LEDGER\"; {then}");
        let file = cluster.file(
            &format!("{name}.toml"),
            &format!(
                "name = \"{name}\"\nkind = \"{kind}\"\ncommand = '{script}'\ninstances = {instances}\n\
                 cpus = 0.01\nmem = \"4MiB\"\nenv = {{ LEDGER = \"{}\", GATE = \"{}\" }}\n",
                started.display(),
                gate.path.display(),
            ),
        );
        cluster.apply(&file);
        Job { name: name.to_owned(), instances, started }
    }

    /// What started, by the tasks' own word: for each task id the process ids it wrote, as it sees them itself.
    pub fn started(&self) -> BTreeMap<String, Vec<u64>> {
        let mut started: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.started).unwrap_or_default().lines() {
            let (task, pid) = line.split_once(' ').unwrap();
            started.entry(task.to_owned()).or_default().push(pid.parse().unwrap());
        }
        started
    }

    /// Waits until so many have started.
    pub fn have_started(&self, count: usize) {
        let what = format!("{count} of {} started", self.name);
        eventually(&what, Duration::from_secs(30), || (self.started().len() >= count).then_some(()));
    }

    /// What was accepted and how it stands, by the masters' word. Empty while nobody answers.
    pub fn accepted(&self, cluster: &Cluster) -> BTreeMap<String, Told> {
        let list = cluster.json(&["get", "tasks", "--all", "-o", "json"]).unwrap_or_default();
        let mine =
            list["items"].as_array().into_iter().flatten().filter(|t| t["labels"]["job"] == *self.name);
        mine.map(|task| {
            let told = Told {
                instance: text(&task["labels"]["instance"]).parse().unwrap(),
                state: text(&task["state"]),
                run: text(&task["run"]),
                pid: task["pid"].as_u64(),
            };
            (text(&task["id"]), told)
        })
        .collect()
    }

    /// How its instances stand, by the framework's word.
    pub fn reported(&self, cluster: &Cluster) -> Option<Value> {
        Some(cluster.json(&["job", "get", &self.name, "-o", "json"])?["items"][0].clone())
    }

    /// Waits until so many run, by the masters' word, and gives them.
    pub fn run(&self, cluster: &Cluster, count: usize) -> BTreeMap<String, Told> {
        let what = format!("{count} of {} run", self.name);
        eventually(&what, Duration::from_secs(30), || {
            let running: BTreeMap<_, _> =
                self.accepted(cluster).into_iter().filter(|(_, told)| told.state == "running").collect();
            (running.len() == count && running.values().all(|told| told.pid.is_some())).then_some(running)
        })
    }

    /// Waits until the framework says that it is over, and holds the three ledgers against each other: every instance
    /// was accepted, started and reported finished, each once.
    pub fn ends_with_each_once(&self, cluster: &Cluster) {
        let what = format!("{} is over", self.name);
        let reported = eventually(&what, Duration::from_secs(30), || {
            self.reported(cluster).filter(|job| matches!(job["state"].as_str(), Some("finished" | "failed")))
        });
        let instances = self.instances as u64;
        assert_eq!(
            (&reported["state"], reported["finished"].as_u64(), reported["failed"].as_u64()),
            (&"finished".into(), Some(instances), Some(0)),
            "{} by the framework's word: {reported}",
            self.name
        );
        let framework: BTreeMap<String, String> = reported["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|task| (text(&task["id"]), text(&task["state"])))
            .collect();
        let started = self.started();
        let accepted = self.accepted(cluster);

        let twice: Vec<_> = started.iter().filter(|(_, pids)| pids.len() != 1).collect();
        assert!(twice.is_empty(), "started more than once: {twice:?}");
        let never: Vec<_> = accepted.keys().filter(|task| !started.contains_key(*task)).collect();
        // An offer may be void when the accept arrives: such a task is dropped, and another takes its place.
        let dropped = |task: &&&String| accepted[**task].state == "dropped";
        let lost: Vec<_> = never.iter().filter(|task| !dropped(task)).collect();
        assert!(lost.is_empty(), "accepted and never started: {lost:?}");
        let ids: Vec<&String> = started.keys().collect();
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        accepted.values().for_each(|told| *states.entry(&told.state).or_default() += 1);
        let finished: Vec<&String> =
            accepted.iter().filter(|(_, told)| told.state == "finished").map(|(task, _)| task).collect();
        assert_eq!(
            ids, finished,
            "{}: started is what the masters report finished; they say {states:?}",
            self.name
        );
        assert_eq!(ids, framework.keys().collect::<Vec<_>>(), "and what the framework knows");
        assert!(framework.values().all(|state| state == "finished"), "{framework:?}");
        let of_instances: Vec<u64> = {
            let mut all: Vec<u64> = ids.iter().map(|task| accepted[*task].instance).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(of_instances, (0..instances).collect::<Vec<_>>(), "{}: each instance once", self.name);
    }
}

/// Whether a task's process, as the masters tell it, is the one that wrote this process id of itself into its ledger. In a
/// namespace of its own the task is the child of the process that is told, and sees itself by another number.
pub fn wrote(told: u64, task: &str, own: u64) -> bool {
    let children = std::fs::read_to_string(format!("/proc/{told}/task/{told}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    let id = format!("STOA_TASK_ID={task}");
    std::iter::once(told).chain(children).any(|pid: u64| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let seen = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last());
        let is_it = environment.split(|byte| *byte == 0).any(|variable| variable == id.as_bytes());
        is_it && seen == Some(own.to_string().as_str())
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
