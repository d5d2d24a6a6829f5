//! What a task runs, of a job or of one task of a group: the same rules for both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    ARTIFACTS_MAX, BYTES_MAX, CPUS_MILLI_MAX, CPUS_MILLI_MIN, DAY, FAILURES_MAX, MEM_BYTES_MIN, PORTS_MAX,
};
use crate::spec::{Check, CheckKind, Command, GroupTask, JobSpec};
use framework_sdk::id::{FileName, SecretName};
use framework_sdk::quantities::{show_bytes, show_milli};
use framework_sdk::secret::TASK_SECRETS_MAX;
use framework_sdk::task::Artifact;

/// As the platform has it: more would be load, not knowledge.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const PATH_BYTES_MAX: usize = 1024;
/// Of the command of a check.
const CHECK_BYTES_MAX: usize = 16 << 10;

pub(super) struct Work<'a> {
    command: &'a Command,
    cpus_milli: u64,
    mem_bytes: u64,
    disk_bytes: u64,
    ports: &'a [String],
    env: &'a BTreeMap<String, String>,
    artifacts: &'a [Artifact],
    secrets: &'a BTreeMap<String, String>,
    checks: [(&'static str, Option<&'a Check>); 2],
}

// === impl Work ===

impl<'a> Work<'a> {
    pub fn of_job(job: &'a JobSpec) -> Work<'a> {
        Work {
            command: &job.command,
            cpus_milli: job.cpus_milli,
            mem_bytes: job.mem_bytes,
            disk_bytes: job.disk_bytes,
            ports: &job.ports,
            env: &job.env,
            artifacts: &job.artifacts,
            secrets: &job.secrets,
            checks: [("health", job.health.as_ref()), ("readiness", job.readiness.as_ref())],
        }
    }

    pub fn of_task(task: &'a GroupTask) -> Work<'a> {
        Work {
            command: &task.command,
            cpus_milli: task.cpus_milli,
            mem_bytes: task.mem_bytes,
            disk_bytes: task.disk_bytes,
            ports: &task.ports,
            env: &task.env,
            artifacts: &task.artifacts,
            secrets: &task.secrets,
            checks: [("health", task.health.as_ref()), ("readiness", task.readiness.as_ref())],
        }
    }

    /// Tells all that is wrong; `at` stands before each key.
    pub fn check(&self, at: &str, wrong: &mut impl FnMut(&str, String)) {
        let mut wrong = |key: &str, why: String| wrong(&format!("{at}{key}"), why);
        if !(CPUS_MILLI_MIN..=CPUS_MILLI_MAX).contains(&self.cpus_milli) {
            let shown = show_milli(self.cpus_milli);
            wrong("cpus", format!("{shown} is not between 0.01 and 1000000; write for example 0.5"));
        }
        if !(MEM_BYTES_MIN..=BYTES_MAX).contains(&self.mem_bytes) {
            let given = show_bytes(self.mem_bytes);
            wrong("mem", format!("{given} is not between 4MiB and 1024TiB; write for example \"64MiB\""));
        }
        if self.disk_bytes > BYTES_MAX {
            wrong("disk", format!("{} is more than 1024TiB", show_bytes(self.disk_bytes)));
        }
        check_command("command", self.command, &mut wrong);
        self.check_ports(&mut wrong);
        check_env(self.env, &mut wrong);
        self.check_artifacts(&mut wrong);
        self.check_secrets(&mut wrong);
        for (name, check) in self.checks {
            if let Some(check) = check {
                self.check_check(name, check, &mut wrong);
            }
        }
    }

    fn check_ports(&self, wrong: &mut impl FnMut(&str, String)) {
        if self.ports.len() > PORTS_MAX {
            wrong("ports", format!("{} are more than {PORTS_MAX}", self.ports.len()));
        }
        let mut seen = BTreeSet::new();
        for name in self.ports {
            let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || name.len() > 64 || !name.chars().all(word) {
                let why =
                    format!("{name:?} is not a port's name; use letters, digits and _, such as \"http\"");
                wrong("ports", why);
            } else if !seen.insert(name) {
                wrong("ports", format!("two are named {name}"));
            }
        }
    }

    fn check_artifacts(&self, wrong: &mut impl FnMut(&str, String)) {
        if self.artifacts.len() > ARTIFACTS_MAX {
            wrong("artifacts", format!("{} are more than {ARTIFACTS_MAX}", self.artifacts.len()));
        }
        for (at, artifact) in self.artifacts.iter().enumerate() {
            let schemes = ["file://", "http://", "https://"];
            if !schemes
                .iter()
                .any(|scheme| artifact.uri.len() > scheme.len() && artifact.uri.starts_with(scheme))
            {
                let why = format!("{:?} does not begin with file://, http:// or https://", artifact.uri);
                wrong(&format!("artifacts[{at}].uri"), why);
            }
            let hash = &artifact.sha256;
            if !hash.is_empty() && (hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
                let why = "is not a SHA-256: 64 hex digits, as sha256sum prints them";
                wrong(&format!("artifacts[{at}].sha256"), why.to_owned());
            }
            let name = &artifact.name;
            if name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
                let why = format!("{name:?} is not a file name; artifacts lie directly in the sandbox");
                wrong(&format!("artifacts[{at}].name"), why);
            }
        }
    }

    fn check_secrets(&self, wrong: &mut impl FnMut(&str, String)) {
        if self.secrets.len() > TASK_SECRETS_MAX {
            wrong("secrets", format!("{} are more than {TASK_SECRETS_MAX}", self.secrets.len()));
        }
        for (file, name) in self.secrets {
            if let Err(bad) = SecretName::new(name) {
                wrong("secrets", format!("{name:?} is not the name of a secret: it {bad}"));
            } else if let Err(bad) = FileName::new(file) {
                wrong("secrets", format!("{file:?} is not the name of a file: it {bad}"));
            }
        }
    }

    fn check_check(&self, name: &str, check: &Check, wrong: &mut impl FnMut(&str, String)) {
        let times = [
            ("interval", check.interval, INTERVAL_MIN),
            ("timeout", check.timeout, Duration::from_millis(1)),
            ("delay", check.delay, Duration::ZERO),
            ("grace", check.grace, Duration::ZERO),
        ];
        for (key, time, least) in times {
            if time < least || time > DAY {
                let least = crate::spec::show_duration(least);
                wrong(&format!("{name}.{key}"), format!("is not between {least} and a day"));
            }
        }
        if check.failures == 0 || check.failures > FAILURES_MAX {
            let why = format!("{} is not between 1 and {FAILURES_MAX}", check.failures);
            wrong(&format!("{name}.failures"), why);
        }
        match &check.kind {
            CheckKind::Command(command) => {
                let key = format!("{name}.command");
                check_command(&key, command, wrong);
                if words(command).iter().map(String::len).sum::<usize>() > CHECK_BYTES_MAX {
                    wrong(&key, format!("takes more than {CHECK_BYTES_MAX} bytes; move it into an artifact"));
                }
            }
            CheckKind::Http { path, port, .. } => {
                let good = path.starts_with('/')
                    && path.len() <= PATH_BYTES_MAX
                    && path.bytes().all(|byte| byte.is_ascii_graphic());
                if !good {
                    let shown: String = path.chars().take(60).collect();
                    let why = format!(
                        "{shown:?} is no path; begin it with /, and write spaces and the like as %20"
                    );
                    wrong(&format!("{name}.http.path"), why);
                }
                self.check_port(&format!("{name}.http.port"), port, wrong);
            }
            CheckKind::Tcp { port } => self.check_port(&format!("{name}.tcp.port"), port, wrong),
        }
    }

    fn check_port(&self, key: &str, port: &str, wrong: &mut impl FnMut(&str, String)) {
        if self.ports.iter().any(|known| known == port) {
            return;
        }
        let why = if self.ports.is_empty() {
            "there are no ports to check; give some, such as ports = [\"http\"]".to_owned()
        } else {
            format!("{port:?} is not one of the ports {}", self.ports.join(", "))
        };
        wrong(key, why);
    }

    /// Command, environment, artifacts and the names of secrets.
    pub fn text_bytes(&self) -> usize {
        let commands = self.checks.iter().filter_map(|(_, check)| match check.map(|check| &check.kind) {
            Some(CheckKind::Command(command)) => Some(command),
            _ => None,
        });
        let argv = |command: &Command| words(command).iter().map(String::len).sum::<usize>();
        commands.chain([self.command]).map(argv).sum::<usize>()
            + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.artifacts.iter().map(|a| a.uri.len() + a.name.len()).sum::<usize>()
            + self.secrets.iter().map(|(file, name)| file.len() + name.len()).sum::<usize>()
    }
}

fn words(command: &Command) -> &[String] {
    match command {
        Command::Shell(script) => std::slice::from_ref(script),
        Command::Argv(argv) => argv,
    }
}

fn check_command(key: &str, command: &Command, wrong: &mut impl FnMut(&str, String)) {
    let argv = words(command);
    if argv.first().is_none_or(|program| program.trim().is_empty()) {
        wrong(key, "is empty; write a script, or a list of a program and its arguments".to_owned());
    }
    if argv.iter().any(|word| word.contains('\0')) {
        wrong(key, "holds a zero byte".to_owned());
    }
}

pub(super) fn check_env(env: &BTreeMap<String, String>, wrong: &mut impl FnMut(&str, String)) {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            wrong(
                "env",
                format!("{name:?} is not a variable; names hold no = and nothing holds a zero byte"),
            );
        }
    }
}
