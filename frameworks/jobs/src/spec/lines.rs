//! A job as lines of key and value, in the words of job files: what two jobs are compared by.

use std::collections::BTreeMap;

use super::{Check, CheckKind, Command, GroupTask, JobSpec, show_duration};
use framework_sdk::attributes::Constraints;
use framework_sdk::quantities::{parse_bytes, show_bytes, show_milli};
use framework_sdk::task::Artifact;

/// One key in which two jobs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As a path: `env.LEVEL`, `task[web].cpus`.
    pub key: String,
    /// `None`: nothing stood there.
    pub old: Option<String>,
    /// `None`: nothing stands there.
    pub new: Option<String>,
}

/// Keys whose change leaves running tasks as they are.
const KEPT: [&str; 15] = [
    "instances",
    "retries",
    "restart",
    "priority",
    "prefer",
    "spread",
    "update",
    "after",
    "parallel",
    "schedule",
    "timezone",
    "overlap",
    "missed",
    "history",
    "paused",
];

// === impl Difference ===

impl Difference {
    /// Whether running tasks are replaced for it.
    pub fn replaces(&self) -> bool {
        let top = self.key.split(['.', '[']).next().unwrap_or_default();
        let is_kept = KEPT.contains(&top) || top == "volumes" && self.key.ends_with("].anew_after");
        !is_kept
    }
}

// === impl JobSpec ===

impl JobSpec {
    /// Every key that has a value, defaults too, in the order of the guide.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Lines(Vec::new());
        lines.add("kind", self.kind.as_str());
        lines.add("instances", self.instances);
        if self.tasks.is_empty() {
            lines.work("", &self.command, [self.cpus_milli, self.mem_bytes, self.disk_bytes], &self.ports);
        }
        lines.map("env", &self.env);
        lines.artifacts("", &self.artifacts);
        lines.map("secrets", &self.secrets);
        lines.rules("constraints", &self.constraints);
        lines.rules("prefer", &self.prefer);
        if let Some(spread) = &self.spread {
            lines.add("spread.by", &spread.by);
            lines.some("spread.at_most", spread.at_most);
        }
        lines.add("priority", self.priority);
        lines.some("role", self.role.as_ref());
        lines.some("user", Some(&self.user).filter(|user| !user.is_empty()));
        lines.add("kill_grace", show_duration(self.kill_grace));
        lines.check("health", self.health.as_ref());
        lines.check("readiness", self.readiness.as_ref());
        match self.kind {
            super::Kind::Service => {
                lines.add("restart.policy", self.restart_policy.as_str());
                if let Some(limit) = &self.give_up {
                    lines.add("restart.attempts", limit.attempts);
                    lines.add("restart.window", show_duration(limit.window));
                }
                lines.add("update.max_surge", self.update.max_surge);
                lines.add("update.max_unavailable", self.update.max_unavailable);
                lines.add("update.min_healthy", show_duration(self.update.min_healthy));
                lines.add("update.progress_deadline", show_duration(self.update.progress_deadline));
                lines.add("update.rollback", self.update.rollback);
                lines.add("update.canary", self.update.canary);
            }
            super::Kind::Batch | super::Kind::Cron => {
                lines.add("retries", self.retries);
                lines.some("parallel", self.parallel);
                lines.some("time_limit", self.time_limit.map(show_duration));
            }
        }
        lines.add("restart.initial", show_duration(self.restart.initial));
        lines.add("restart.max", show_duration(self.restart.max));
        lines.some("after", Some(self.after.join(", ")).filter(|after| !after.is_empty()));
        if let Some(cron) = &self.cron {
            lines.add("schedule", &cron.schedule);
            lines.add("timezone", &cron.timezone);
            lines.add("overlap", cron.overlap.as_str());
            lines.add("missed", show_duration(cron.missed));
            lines.add("history", cron.history);
            lines.add("paused", cron.paused);
        }
        for volume in &self.volumes {
            let at = format!("volumes[{}]", volume.name);
            lines.add(&format!("{at}.size"), show_exact(volume.size_bytes));
            lines.some(&format!("{at}.anew_after"), volume.anew_after.map(show_duration));
        }
        for task in &self.tasks {
            lines.task(task);
        }
        lines.0
    }

    /// The keys in which another spec differs from this one.
    pub fn differences(&self, new: &JobSpec) -> Vec<Difference> {
        let (old, new) = (self.lines(), new.lines());
        let values: BTreeMap<&str, &str> =
            new.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let known: BTreeMap<&str, &str> =
            old.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // In the order of the new one; what it has no more follows.
        let gone = old.iter().filter(|(key, _)| !values.contains_key(key.as_str()));
        let keys = new.iter().chain(gone).map(|(key, _)| key.as_str());
        keys.filter(|key| known.get(key) != values.get(key))
            .map(|key| Difference {
                key: key.to_owned(),
                old: known.get(key).map(|value| (*value).to_owned()),
                new: values.get(key).map(|value| (*value).to_owned()),
            })
            .collect()
    }
}

struct Lines(Vec<(String, String)>);

// === impl Lines ===

impl Lines {
    fn add(&mut self, key: &str, value: impl ToString) {
        self.0.push((key.to_owned(), value.to_string()));
    }

    fn some(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    fn map(&mut self, key: &str, map: &BTreeMap<String, String>) {
        for (name, value) in map {
            self.add(&format!("{key}.{name}"), value);
        }
    }

    fn rules(&mut self, key: &str, rules: &Constraints) {
        let shown: Vec<String> = rules.0.iter().map(ToString::to_string).collect();
        self.some(key, (!shown.is_empty()).then(|| shown.join(", ")));
    }

    fn work(&mut self, at: &str, command: &Command, [cpus, mem, disk]: [u64; 3], ports: &[String]) {
        self.add(&format!("{at}command"), show_command(command));
        self.add(&format!("{at}cpus"), show_milli(cpus));
        self.add(&format!("{at}mem"), show_exact(mem));
        self.add(&format!("{at}disk"), show_exact(disk));
        self.some(&format!("{at}ports"), (!ports.is_empty()).then(|| ports.join(", ")));
    }

    fn artifacts(&mut self, at: &str, artifacts: &[Artifact]) {
        for (n, artifact) in artifacts.iter().enumerate() {
            let at = format!("{at}artifacts[{n}]");
            self.add(&format!("{at}.uri"), &artifact.uri);
            self.some(&format!("{at}.sha256"), Some(&artifact.sha256).filter(|hash| !hash.is_empty()));
            self.some(&format!("{at}.name"), Some(&artifact.name).filter(|name| !name.is_empty()));
            self.some(&format!("{at}.executable"), artifact.executable.then_some(true));
        }
    }

    fn check(&mut self, at: &str, check: Option<&Check>) {
        let Some(check) = check else { return };
        match &check.kind {
            CheckKind::Command(command) => self.add(&format!("{at}.command"), show_command(command)),
            CheckKind::Http { path, port, https } => {
                self.add(&format!("{at}.http.path"), path);
                self.add(&format!("{at}.http.port"), port);
                self.some(&format!("{at}.http.https"), https.then_some(true));
            }
            CheckKind::Tcp { port } => self.add(&format!("{at}.tcp.port"), port),
        }
        self.add(&format!("{at}.interval"), show_duration(check.interval));
        self.add(&format!("{at}.timeout"), show_duration(check.timeout));
        self.add(&format!("{at}.failures"), check.failures);
        self.add(&format!("{at}.delay"), show_duration(check.delay));
        self.add(&format!("{at}.grace"), show_duration(check.grace));
    }

    fn task(&mut self, task: &GroupTask) {
        let at = format!("task[{}].", task.name);
        self.add(&format!("{at}leader"), task.leader);
        self.work(&at, &task.command, [task.cpus_milli, task.mem_bytes, task.disk_bytes], &task.ports);
        self.map(&format!("{at}env"), &task.env);
        self.artifacts(&at, &task.artifacts);
        self.map(&format!("{at}secrets"), &task.secrets);
        self.check(&format!("{at}health"), task.health.as_ref());
        self.check(&format!("{at}readiness"), task.readiness.as_ref());
    }
}

/// A script as it is, a program and its arguments as a list.
fn show_command(command: &Command) -> String {
    match command {
        Command::Shell(script) => script.clone(),
        Command::Argv(argv) => format!("{argv:?}"),
    }
}

/// Amounts that differ never look alike.
fn show_exact(bytes: u64) -> String {
    let shown = show_bytes(bytes);
    if parse_bytes(&shown) == Ok(bytes) { shown } else { format!("{bytes}B") }
}
