//! Tasks.

use std::collections::BTreeMap;

use proto::operator::{Call, EventKind, List, ReplyKind, TaskView};
use proto::secret::SecretFile;
use proto::task::{CommandInfo, Exit, StatusSource, TaskState};
use serde::Serialize;

use super::{Change, View, matches};
use crate::duration::{show_age, show_duration};
use crate::shapes::{Portion, portions};
use crate::sheet::Sheet;
use crate::table::{Cell, Tone};

/// A task in JSON.
#[derive(Debug, Serialize)]
pub struct Shape<'a> {
    id: &'a str,
    name: &'a str,
    framework_id: &'a str,
    framework_name: &'a str,
    agent_id: &'a str,
    hostname: &'a str,
    role: &'a str,
    state: &'static str,
    reason: &'static str,
    source: &'static str,
    message: &'a str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    pid: Option<u32>,
    healthy: Option<bool>,
    ready: Option<bool>,
    run: Option<String>,
    accepted_ms: u64,
    updated_ms: u64,
    command: Command<'a>,
    resources: Vec<Portion>,
    kill_grace_ms: u64,
    longest_run_ms: Option<u64>,
    group: Option<String>,
    labels: &'a BTreeMap<String, String>,
}

/// What it runs. Of the environment the names only: values may be secrets.
#[derive(Debug, Serialize)]
struct Command<'a> {
    argv: &'a [String],
    shell: bool,
    user: Option<&'a str>,
    env_names: Vec<&'a str>,
    artifacts: Vec<&'a str>,
    secrets: Vec<SecretShape<'a>>,
}

/// A secret that a task names, in JSON.
#[derive(Debug, Serialize)]
struct SecretShape<'a> {
    name: &'a str,
    file: &'a str,
}

fn secrets(command: &CommandInfo) -> Vec<SecretShape<'_>> {
    fn shape(secret: &SecretFile) -> SecretShape<'_> {
        SecretShape { name: secret.name.as_str(), file: secret.file_name() }
    }
    command.secrets.iter().map(shape).collect()
}

pub(crate) fn tone(state: TaskState) -> Tone {
    match state {
        TaskState::Running | TaskState::Finished => Tone::Good,
        TaskState::Staging | TaskState::Starting | TaskState::Killing => Tone::Warn,
        TaskState::Unreachable | TaskState::Unknown => Tone::Warn,
        TaskState::Failed
        | TaskState::Error
        | TaskState::Lost
        | TaskState::Gone
        | TaskState::GoneByOperator => Tone::Bad,
        TaskState::Killed | TaskState::Dropped => Tone::Dim,
    }
}

fn source(source: StatusSource) -> &'static str {
    match source {
        StatusSource::Master => "master",
        StatusSource::Agent => "agent",
    }
}

fn exit(exit: Option<Exit>) -> String {
    match exit {
        None => String::new(),
        Some(Exit::Code(code)) => code.to_string(),
        Some(Exit::Signal(signal)) => format!("signal {signal}"),
    }
}

fn code_and_signal(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        None => (None, None),
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
    }
}

fn yes_or_no(said: Option<bool>) -> &'static str {
    match said {
        None => "",
        Some(true) => "yes",
        Some(false) => "no",
    }
}

fn pid(view: &TaskView) -> Option<u32> {
    (view.status.pid > 0).then_some(view.status.pid)
}

impl View for TaskView {
    const KIND: &'static str = "Task";
    const LIST: &'static str = "TaskList";
    const CHANGE: &'static str = "TaskChange";
    const ONE: &'static str = "task";
    const MANY: &'static str = "tasks";
    const COLUMNS: &'static [&'static str] = &["ID", "FRAMEWORK", "STATE", "AGENT", "ROLE", "AGE"];
    const WIDE: &'static [&'static str] =
        &["NAME", "REASON", "EXIT", "PID", "RESOURCES", "UPDATED", "RUN", "MESSAGE"];
    type Shape<'a> = Shape<'a>;

    fn call(list: List) -> Call {
        Call::Tasks(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Tasks(tasks) = reply { Some(tasks) } else { None }
    }

    fn of_event(event: EventKind) -> Change<Self> {
        match event {
            EventKind::Snapshot(all) => Change::All(all.tasks),
            EventKind::TaskChanged(task) => Change::Put(task),
            EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::OfferMade(_)
            | EventKind::OfferEnded(_)
            | EventKind::RoleChanged(_) => Change::Other,
        }
    }

    fn id(&self) -> String {
        self.info.id.to_string()
    }

    /// Two frameworks may have tasks of the same id.
    fn full_name(&self) -> String {
        format!("{}/{}", self.framework, self.info.id)
    }

    /// A framework that starts a task again gives it a new id and the old name.
    fn aliases(&self) -> Vec<String> {
        vec![self.info.name.clone()]
    }

    fn is_over(&self) -> bool {
        self.status.state.is_terminal()
    }

    fn since_ms(&self) -> u64 {
        self.accepted_ms
    }

    fn selected(&self, list: &List) -> bool {
        matches(&list.framework, &[self.framework.as_str(), &self.framework_name])
            && matches(&list.agent, &[self.agent.as_str(), &self.hostname])
            && (list.ended || !self.status.state.is_terminal())
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        vec![
            Cell::new(self.info.id.as_str()),
            Cell::new(&self.framework_name),
            Cell::toned(self.status.state.as_str(), tone(self.status.state)),
            Cell::new(&self.hostname),
            Cell::new(self.role.as_str()),
            Cell::new(show_age(self.accepted_ms, now_ms)),
        ]
    }

    fn wide_cells(&self, now_ms: u64) -> Vec<Cell> {
        vec![
            Cell::new(&self.info.name),
            Cell::new(self.status.reason.code()),
            Cell::new(exit(self.status.exit)),
            Cell::new(pid(self).map(|pid| pid.to_string()).unwrap_or_default()),
            Cell::new(self.info.resources.to_string()),
            Cell::new(show_age(self.status.at_ms, now_ms)),
            Cell::new(self.status.run.map(|run| run.to_string()).unwrap_or_default()),
            Cell::new(&self.status.message),
        ]
    }

    fn shape(&self) -> Shape<'_> {
        let command = &self.info.command;
        let (exit_code, signal) = code_and_signal(self.status.exit);
        Shape {
            id: self.info.id.as_str(),
            name: &self.info.name,
            framework_id: self.framework.as_str(),
            framework_name: &self.framework_name,
            agent_id: self.agent.as_str(),
            hostname: &self.hostname,
            role: self.role.as_str(),
            state: self.status.state.as_str(),
            reason: self.status.reason.code(),
            source: source(self.status.source),
            message: &self.status.message,
            exit_code,
            signal,
            pid: pid(self),
            healthy: self.status.healthy,
            ready: self.status.ready,
            run: self.status.run.map(|run| run.to_string()),
            accepted_ms: self.accepted_ms,
            updated_ms: self.status.at_ms,
            command: Command {
                argv: &command.argv,
                shell: command.shell,
                user: Some(command.user.as_str()).filter(|user| !user.is_empty()),
                env_names: command.env.keys().map(String::as_str).collect(),
                artifacts: command.artifacts.iter().map(|artifact| artifact.uri.as_str()).collect(),
                secrets: secrets(command),
            },
            resources: portions(&self.info.resources),
            kill_grace_ms: u64::try_from(self.info.kill_grace.as_millis()).unwrap_or(u64::MAX),
            longest_run_ms: self
                .info
                .longest_run
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            group: self.info.group.as_ref().map(ToString::to_string),
            labels: &self.info.labels,
        }
    }

    fn sheet(&self, now_ms: u64) -> Sheet {
        let status = &self.status;
        let command = &self.info.command;
        let labels: Vec<String> =
            self.info.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let names: Vec<&str> = command.env.keys().map(String::as_str).collect();
        let uris: Vec<&str> = command.artifacts.iter().map(|artifact| artifact.uri.as_str()).collect();
        let secrets: Vec<String> = command.secrets.iter().map(|secret| secret.name.to_string()).collect();
        let mut sheet = Sheet::default();
        sheet
            .fact("Task", self.info.id.as_str())
            .fact("Name", &self.info.name)
            .fact("Framework", format!("{} ({})", self.framework_name, self.framework))
            .fact("Agent", format!("{} ({})", self.hostname, self.agent))
            .fact("Role", self.role.as_str())
            .fact("Accepted", format!("{} ago", show_age(self.accepted_ms, now_ms)))
            .fact("State", format!("{} for {}", status.state.as_str(), show_age(status.at_ms, now_ms)))
            .fact("Reason", status.reason.code())
            .fact("Said by", source(status.source))
            .fact("Message", &status.message)
            .fact("Exit", exit(status.exit))
            .fact("Pid", pid(self).map(|pid| pid.to_string()).unwrap_or_default())
            .fact("Healthy", yes_or_no(status.healthy))
            .fact("Ready", yes_or_no(status.ready))
            .fact("Run", status.run.map(|run| run.to_string()).unwrap_or_default())
            .fact("Command", command.argv.join(" "))
            .fact("Shell", if command.shell { "yes" } else { "" })
            .fact("User", &command.user)
            .fact("Environment", names.join(" "))
            .fact("Artifacts", uris.join(" "))
            .fact("Secrets", secrets.join(" "))
            .fact("Resources", self.info.resources.to_string())
            .fact("Kill grace", show_duration(self.info.kill_grace))
            .fact("Longest run", self.info.longest_run.map(show_duration).unwrap_or_default())
            .fact("Group", self.info.group.as_ref().map(ToString::to_string).unwrap_or_default())
            .fact("Labels", labels.join(","));
        sheet
    }
}
