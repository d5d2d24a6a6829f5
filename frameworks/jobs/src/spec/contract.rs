//! Jobs as messages, and messages as checked jobs.

use std::time::Duration;

use super::{
    BackOff, Check, CheckKind, Command, Cron, Fault, Faults, GiveUp, GroupTask, JobSpec, Kind, Overlap,
    RestartPolicy, Spread, Update, Volume,
};
use crate::cron::{Schedule, Zone};
use crate::wire;
use framework_sdk::attributes::{Constraint, Constraints};
use framework_sdk::role::Role;
use framework_sdk::task::Artifact;

// === impl JobSpec ===

impl JobSpec {
    /// As a message.
    pub fn to_wire(&self) -> wire::JobSpec {
        let (argv, shell) = self.command.to_argv();
        let kind = match self.kind {
            Kind::Service => wire::JobKind::JobService,
            Kind::Batch => wire::JobKind::JobBatch,
            Kind::Cron => wire::JobKind::JobCron,
        };
        let policy = match self.restart_policy {
            // What a job of before had: such a job is the same message as ever.
            RestartPolicy::Always => wire::RestartPolicy::Unspecified,
            RestartPolicy::OnFailure => wire::RestartPolicy::RestartOnFailure,
            RestartPolicy::Never => wire::RestartPolicy::RestartNever,
        };
        wire::JobSpec {
            name: self.name.clone(),
            kind: kind.into(),
            instances: self.instances,
            argv,
            shell,
            cpus_milli: self.cpus_milli,
            mem_bytes: self.mem_bytes,
            disk_bytes: self.disk_bytes,
            ports: self.ports.clone(),
            env: self.env.clone(),
            artifacts: self.artifacts.iter().map(artifact_to_wire).collect(),
            secrets: self.secrets.clone(),
            constraints: rules_to_wire(&self.constraints),
            role: self.role.as_ref().map_or_else(String::new, ToString::to_string),
            user: self.user.clone(),
            kill_grace_ms: millis(self.kill_grace),
            retries: self.retries,
            restart_initial_ms: millis(self.restart.initial),
            restart_max_ms: millis(self.restart.max),
            priority: self.priority,
            prefer: rules_to_wire(&self.prefer),
            spread: self.spread.as_ref().map(|spread| wire::Spread {
                by: spread.by.clone(),
                at_most: spread.at_most.unwrap_or_default(),
            }),
            health: self.health.as_ref().map(check_to_wire),
            readiness: self.readiness.as_ref().map(check_to_wire),
            update: (self.update != Update::DEFAULT).then(|| update_to_wire(&self.update)),
            restart_policy: policy.into(),
            restart_attempts: self.give_up.map_or(0, |limit| limit.attempts),
            restart_window_ms: self.give_up.map_or(0, |limit| millis(limit.window)),
            after: self.after.clone(),
            parallel: self.parallel.unwrap_or_default(),
            time_limit_ms: self.time_limit.map_or(0, millis),
            cron: self.cron.as_ref().map(cron_to_wire),
            tasks: self.tasks.iter().map(task_to_wire).collect(),
            volumes: self.volumes.iter().map(volume_to_wire).collect(),
        }
    }

    /// From a message: everything that is wrong with it, or a checked job.
    pub fn from_wire(message: wire::JobSpec) -> Result<JobSpec, Faults> {
        let mut faults = Vec::new();
        let mut wrong = |key: &str, message: String| {
            faults.push(Fault { line: None, key: key.to_owned(), message });
        };
        let kind = match message.kind() {
            wire::JobKind::JobService => Kind::Service,
            wire::JobKind::JobBatch => Kind::Batch,
            wire::JobKind::JobCron => Kind::Cron,
            wire::JobKind::Unspecified => {
                let why = "is none of JOB_SERVICE, JOB_BATCH and JOB_CRON, or newer than this framework";
                wrong("kind", why.to_owned());
                Kind::Service
            }
        };
        let restart_policy = match wire::RestartPolicy::try_from(message.restart_policy) {
            Ok(wire::RestartPolicy::Unspecified | wire::RestartPolicy::RestartAlways) => {
                RestartPolicy::Always
            }
            Ok(wire::RestartPolicy::RestartOnFailure) => RestartPolicy::OnFailure,
            Ok(wire::RestartPolicy::RestartNever) => RestartPolicy::Never,
            Err(_) => {
                wrong("restart.policy", "is newer than this framework".to_owned());
                RestartPolicy::Always
            }
        };
        let role = match message.role.as_str() {
            "" => None,
            path => Role::new(path).map_err(|bad| wrong("role", bad.to_string())).ok(),
        };
        let cron = message.cron.and_then(|cron| cron_of_wire(cron, &mut wrong));
        let job = JobSpec {
            name: message.name,
            kind,
            instances: message.instances,
            command: command_of_wire(message.argv, message.shell, "", &mut wrong),
            cpus_milli: message.cpus_milli,
            mem_bytes: message.mem_bytes,
            disk_bytes: message.disk_bytes,
            ports: message.ports,
            env: message.env,
            artifacts: message.artifacts.into_iter().map(artifact_of_wire).collect(),
            secrets: message.secrets,
            constraints: rules_of_wire(&message.constraints, "constraints", &mut wrong),
            role,
            user: message.user,
            kill_grace: Duration::from_millis(message.kill_grace_ms),
            retries: message.retries,
            restart: BackOff {
                initial: Duration::from_millis(message.restart_initial_ms),
                max: Duration::from_millis(message.restart_max_ms),
            },
            restart_policy,
            give_up: (message.restart_attempts > 0).then_some(GiveUp {
                attempts: message.restart_attempts,
                window: Duration::from_millis(message.restart_window_ms),
            }),
            priority: message.priority,
            prefer: rules_of_wire(&message.prefer, "prefer", &mut wrong),
            spread: message.spread.map(|spread| Spread {
                by: spread.by,
                at_most: (spread.at_most > 0).then_some(spread.at_most),
            }),
            health: message.health.and_then(|check| check_of_wire(check, "health", &mut wrong)),
            readiness: message.readiness.and_then(|check| check_of_wire(check, "readiness", &mut wrong)),
            update: message.update.map_or(Update::DEFAULT, update_of_wire),
            after: message.after,
            parallel: (message.parallel > 0).then_some(message.parallel),
            time_limit: (message.time_limit_ms > 0).then(|| Duration::from_millis(message.time_limit_ms)),
            cron,
            tasks: message
                .tasks
                .into_iter()
                .enumerate()
                .map(|(n, task)| task_of_wire(task, &format!("task[{n}]."), &mut wrong))
                .collect(),
            volumes: message.volumes.into_iter().map(volume_of_wire).collect(),
        };
        // What could not be read is missing in the job, and was said.
        let said: Vec<String> = faults.iter().map(|fault| fault.key.clone()).collect();
        faults.extend(job.faults().into_iter().filter(|fault| !said.contains(&fault.key)));
        if faults.is_empty() { Ok(job) } else { Err(Faults { file: String::new(), faults }) }
    }
}

fn command_of_wire(
    argv: Vec<String>,
    shell: bool,
    at: &str,
    wrong: &mut impl FnMut(&str, String),
) -> Command {
    if !shell {
        return Command::Argv(argv);
    }
    if argv.len() > 1 {
        wrong(&format!("{at}argv"), "with shell holds one script and nothing else".to_owned());
    }
    Command::Shell(argv.into_iter().next().unwrap_or_default())
}

fn artifact_to_wire(artifact: &Artifact) -> wire::Artifact {
    wire::Artifact {
        uri: artifact.uri.clone(),
        sha256: artifact.sha256.clone(),
        executable: artifact.executable,
        name: artifact.name.clone(),
    }
}

fn artifact_of_wire(artifact: wire::Artifact) -> Artifact {
    Artifact {
        uri: artifact.uri,
        sha256: artifact.sha256,
        executable: artifact.executable,
        name: artifact.name,
    }
}

fn rules_to_wire(rules: &Constraints) -> Vec<String> {
    rules.0.iter().map(ToString::to_string).collect()
}

fn rules_of_wire(texts: &[String], key: &str, wrong: &mut impl FnMut(&str, String)) -> Constraints {
    let mut rules = Constraints::default();
    for (at, text) in texts.iter().enumerate() {
        match Constraint::parse(text) {
            Ok(rule) => rules.0.push(rule),
            Err(bad) => wrong(&format!("{key}[{at}]"), bad.to_string()),
        }
    }
    rules
}

fn check_to_wire(check: &Check) -> wire::Check {
    use wire::check::Kind;
    let kind = match &check.kind {
        CheckKind::Command(command) => {
            let (argv, shell) = command.to_argv();
            Kind::Command(wire::CommandCheck { argv, shell })
        }
        CheckKind::Http { path, port, https } => {
            Kind::Http(wire::HttpCheck { path: path.clone(), port: port.clone(), https: *https })
        }
        CheckKind::Tcp { port } => Kind::Tcp(wire::TcpCheck { port: port.clone() }),
    };
    wire::Check {
        kind: Some(kind),
        delay_ms: millis(check.delay),
        interval_ms: millis(check.interval),
        timeout_ms: millis(check.timeout),
        grace_ms: millis(check.grace),
        failures: check.failures,
    }
}

fn check_of_wire(check: wire::Check, at: &str, wrong: &mut impl FnMut(&str, String)) -> Option<Check> {
    use wire::check::Kind;
    let kind = match check.kind {
        Some(Kind::Command(c)) => {
            CheckKind::Command(command_of_wire(c.argv, c.shell, &format!("{at}.command."), wrong))
        }
        Some(Kind::Http(http)) => CheckKind::Http { path: http.path, port: http.port, https: http.https },
        Some(Kind::Tcp(tcp)) => CheckKind::Tcp { port: tcp.port },
        None => {
            wrong(
                at,
                "asks none of command, http and tcp, or something newer than this framework".to_owned(),
            );
            return None;
        }
    };
    Some(Check {
        kind,
        delay: Duration::from_millis(check.delay_ms),
        interval: Duration::from_millis(check.interval_ms),
        timeout: Duration::from_millis(check.timeout_ms),
        grace: Duration::from_millis(check.grace_ms),
        failures: check.failures,
    })
}

fn update_to_wire(update: &Update) -> wire::Update {
    wire::Update {
        max_surge: update.max_surge,
        max_unavailable: update.max_unavailable,
        min_healthy_ms: millis(update.min_healthy),
        progress_deadline_ms: millis(update.progress_deadline),
        rollback: update.rollback,
        canary: update.canary,
    }
}

fn update_of_wire(update: wire::Update) -> Update {
    Update {
        max_surge: update.max_surge,
        max_unavailable: update.max_unavailable,
        min_healthy: Duration::from_millis(update.min_healthy_ms),
        progress_deadline: Duration::from_millis(update.progress_deadline_ms),
        rollback: update.rollback,
        canary: update.canary,
    }
}

fn cron_to_wire(cron: &Cron) -> wire::Cron {
    let overlap = match cron.overlap {
        Overlap::Allow => wire::Overlap::Allow,
        Overlap::Forbid => wire::Overlap::Forbid,
        Overlap::Replace => wire::Overlap::Replace,
    };
    wire::Cron {
        schedule: cron.schedule.to_string(),
        timezone: cron.timezone.to_string(),
        overlap: overlap.into(),
        missed_ms: millis(cron.missed),
        history: cron.history,
        paused: cron.paused,
    }
}

fn cron_of_wire(cron: wire::Cron, wrong: &mut impl FnMut(&str, String)) -> Option<Cron> {
    let overlap = match cron.overlap() {
        wire::Overlap::Allow => Some(Overlap::Allow),
        wire::Overlap::Forbid => Some(Overlap::Forbid),
        wire::Overlap::Replace => Some(Overlap::Replace),
        wire::Overlap::Unspecified => {
            wrong("overlap", "is none that this framework knows".to_owned());
            None
        }
    };
    let schedule = Schedule::parse(&cron.schedule).map_err(|bad| wrong("schedule", bad.to_string())).ok();
    let timezone = Zone::named(&cron.timezone).map_err(|bad| wrong("timezone", bad.to_string())).ok();
    if schedule.is_some() && (overlap.is_none() || timezone.is_none()) {
        // The schedule itself is there: that it is missing would be a second complaint, and a wrong one.
        return schedule.map(Cron::of);
    }
    Some(Cron {
        schedule: schedule?,
        timezone: timezone?,
        overlap: overlap?,
        missed: Duration::from_millis(cron.missed_ms),
        history: cron.history,
        paused: cron.paused,
    })
}

fn task_to_wire(task: &GroupTask) -> wire::GroupTask {
    let (argv, shell) = task.command.to_argv();
    wire::GroupTask {
        name: task.name.clone(),
        leader: task.leader,
        argv,
        shell,
        cpus_milli: task.cpus_milli,
        mem_bytes: task.mem_bytes,
        disk_bytes: task.disk_bytes,
        ports: task.ports.clone(),
        env: task.env.clone(),
        artifacts: task.artifacts.iter().map(artifact_to_wire).collect(),
        secrets: task.secrets.clone(),
        health: task.health.as_ref().map(check_to_wire),
        readiness: task.readiness.as_ref().map(check_to_wire),
    }
}

fn task_of_wire(task: wire::GroupTask, at: &str, wrong: &mut impl FnMut(&str, String)) -> GroupTask {
    GroupTask {
        name: task.name,
        leader: task.leader,
        command: command_of_wire(task.argv, task.shell, at, wrong),
        cpus_milli: task.cpus_milli,
        mem_bytes: task.mem_bytes,
        disk_bytes: task.disk_bytes,
        ports: task.ports,
        env: task.env,
        artifacts: task.artifacts.into_iter().map(artifact_of_wire).collect(),
        secrets: task.secrets,
        health: task.health.and_then(|check| check_of_wire(check, &format!("{at}health"), wrong)),
        readiness: task.readiness.and_then(|check| check_of_wire(check, &format!("{at}readiness"), wrong)),
    }
}

fn volume_to_wire(volume: &Volume) -> wire::Volume {
    wire::Volume {
        name: volume.name.clone(),
        size_bytes: volume.size_bytes,
        anew_after_ms: volume.anew_after.map_or(0, millis),
    }
}

fn volume_of_wire(volume: wire::Volume) -> Volume {
    let anew_after = (volume.anew_after_ms > 0).then(|| Duration::from_millis(volume.anew_after_ms));
    Volume { name: volume.name, size_bytes: volume.size_bytes, anew_after }
}

/// Durations of jobs are bounded, so this never saturates.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
