//! Between what the framework thinks in and what its door speaks.

use std::time::Duration;

use crate::spec::{BackOff, Command, Fault, Faults, JobSpec, Kind};
use crate::wire;
use framework_sdk::attributes::{Constraint, Constraints};
use framework_sdk::role::Role;
use framework_sdk::task::{Artifact, Exit, TaskState};

/// The fewest and most characters of a request id: enough that nobody guesses one.
pub const REQUEST_ID_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

// === impl JobSpec ===

impl JobSpec {
    /// As a message.
    pub fn to_wire(&self) -> wire::JobSpec {
        let (argv, shell) = match &self.command {
            Command::Shell(script) => (vec![script.clone()], true),
            Command::Argv(argv) => (argv.clone(), false),
        };
        let kind = match self.kind {
            Kind::Service => wire::JobKind::JobService,
            Kind::Batch => wire::JobKind::JobBatch,
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
            constraints: self.constraints.0.iter().map(ToString::to_string).collect(),
            role: self.role.as_ref().map_or_else(String::new, ToString::to_string),
            user: self.user.clone(),
            kill_grace_ms: millis(self.kill_grace),
            retries: self.retries,
            restart_initial_ms: millis(self.restart.initial),
            restart_max_ms: millis(self.restart.max),
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
            wire::JobKind::Unspecified => {
                wrong(
                    "kind",
                    "is neither JOB_SERVICE nor JOB_BATCH, or newer than this framework".to_owned(),
                );
                Kind::Service
            }
        };
        let command = if message.shell {
            if message.argv.len() > 1 {
                wrong("argv", "with shell holds one script and nothing else".to_owned());
            }
            Command::Shell(message.argv.into_iter().next().unwrap_or_default())
        } else {
            Command::Argv(message.argv)
        };
        let mut constraints = Constraints::default();
        for (at, text) in message.constraints.iter().enumerate() {
            match Constraint::parse(text) {
                Ok(constraint) => constraints.0.push(constraint),
                Err(bad) => wrong(&format!("constraints[{at}]"), bad.to_string()),
            }
        }
        let role = match message.role.as_str() {
            "" => None,
            path => Role::new(path).map_err(|bad| wrong("role", bad.to_string())).ok(),
        };
        let artifact = |a: wire::Artifact| Artifact {
            uri: a.uri,
            sha256: a.sha256,
            executable: a.executable,
            name: a.name,
        };
        let job = JobSpec {
            name: message.name,
            kind,
            instances: message.instances,
            command,
            cpus_milli: message.cpus_milli,
            mem_bytes: message.mem_bytes,
            disk_bytes: message.disk_bytes,
            ports: message.ports,
            env: message.env,
            artifacts: message.artifacts.into_iter().map(artifact).collect(),
            constraints,
            role,
            user: message.user,
            kill_grace: Duration::from_millis(message.kill_grace_ms),
            retries: message.retries,
            restart: BackOff {
                initial: Duration::from_millis(message.restart_initial_ms),
                max: Duration::from_millis(message.restart_max_ms),
            },
        };
        faults.extend(job.faults());
        if faults.is_empty() { Ok(job) } else { Err(Faults { file: String::new(), faults }) }
    }
}

fn artifact_to_wire(artifact: &Artifact) -> wire::Artifact {
    wire::Artifact {
        uri: artifact.uri.clone(),
        sha256: artifact.sha256.clone(),
        executable: artifact.executable,
        name: artifact.name.clone(),
    }
}

/// Durations of jobs are bounded by a day, so this never saturates.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// === impl wire::TaskState ===

impl From<TaskState> for wire::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Staging => wire::TaskState::TaskStaging,
            TaskState::Starting => wire::TaskState::TaskStarting,
            TaskState::Running => wire::TaskState::TaskRunning,
            TaskState::Killing => wire::TaskState::TaskKilling,
            TaskState::Finished => wire::TaskState::TaskFinished,
            TaskState::Failed => wire::TaskState::TaskFailed,
            TaskState::Killed => wire::TaskState::TaskKilled,
            TaskState::Error => wire::TaskState::TaskError,
            TaskState::Lost => wire::TaskState::TaskLost,
            TaskState::Dropped => wire::TaskState::TaskDropped,
            TaskState::Unreachable => wire::TaskState::TaskUnreachable,
            TaskState::Gone => wire::TaskState::TaskGone,
            TaskState::GoneByOperator => wire::TaskState::TaskGoneByOperator,
            // Nobody knows it: as far as the job goes, it waits for news.
            TaskState::Unknown => wire::TaskState::TaskUnreachable,
        }
    }
}

impl wire::TaskState {
    /// As the cluster's state; `None` for a task that waits for an agent.
    pub fn known(self) -> Option<TaskState> {
        match self {
            wire::TaskState::Unspecified | wire::TaskState::TaskWaiting => None,
            wire::TaskState::TaskStaging => Some(TaskState::Staging),
            wire::TaskState::TaskStarting => Some(TaskState::Starting),
            wire::TaskState::TaskRunning => Some(TaskState::Running),
            wire::TaskState::TaskKilling => Some(TaskState::Killing),
            wire::TaskState::TaskFinished => Some(TaskState::Finished),
            wire::TaskState::TaskFailed => Some(TaskState::Failed),
            wire::TaskState::TaskKilled => Some(TaskState::Killed),
            wire::TaskState::TaskError => Some(TaskState::Error),
            wire::TaskState::TaskLost => Some(TaskState::Lost),
            wire::TaskState::TaskDropped => Some(TaskState::Dropped),
            wire::TaskState::TaskUnreachable => Some(TaskState::Unreachable),
            wire::TaskState::TaskGone => Some(TaskState::Gone),
            wire::TaskState::TaskGoneByOperator => Some(TaskState::GoneByOperator),
        }
    }

    /// Whether the attempt is over.
    pub fn is_terminal(self) -> bool {
        self.known().is_some_and(TaskState::is_terminal)
    }

    /// The word users see.
    pub fn word(self) -> &'static str {
        self.known().map_or("waiting", TaskState::as_str)
    }
}

// === impl wire::Task ===

impl wire::Task {
    /// Sets how its command ended.
    pub fn set_exit(&mut self, exit: Option<Exit>) {
        (self.exit_code, self.exit_signal) = exit_to_wire(exit);
    }
}

/// `(exit_code, exit_signal)`, at most one of them there.
pub fn exit_to_wire(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        None => (None, None),
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
    }
}
