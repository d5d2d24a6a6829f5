//! Between the machine's words and the containerizer's: what a task becomes as a process, and what that says.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use agent_containerizer::{
    Artifact, Containerizer, Event, Exit, How, Launch, Recovered, RecoveredState, Report,
    RunId as ContainerId, StartFailure, VolumeDir,
};
use agent_core::{Contain, Container, End, FailureKind, Found, FoundState, Input};
use proto::agent_link::TaskRun;
use proto::attributes::{AttributeValue, Attributes};
use proto::id::{AgentId, RunId};
use proto::task::{CommandInfo, TaskInfo};
use proto::volume::Volume;
use proto_drive::Handle as Machine;
use tokio::runtime::Handle as Runtime;
use tokio::sync::mpsc;

use crate::checks::Checker;
use crate::master_link::LateMachine;
use crate::sandbox::{Owner, Sandboxes, container};
use crate::secrets::Secrets;

/// Most processes and threads of one task: far above what a server needs, far below what a fork bomb takes (systemd
/// gives a service 15 % of the machine's, which is 4,915 on a usual one).
const PIDS_MAX: u64 = 4096;

/// Events taken in one turn.
const EVENTS_PER_TURN: usize = 1024;

/// Gives orders to the containerizer.
pub(crate) struct Orders {
    containerizer: Containerizer,
    facts: Arc<TaskFacts>,
    checker: Checker,
    secrets: Arc<Secrets>,
    /// Told when something is done that is no event of a run.
    machine: LateMachine,
}

/// What every task on this agent is told, and who it is by default.
#[derive(Clone, Debug)]
pub(crate) struct TaskFacts {
    pub agent: AgentId,
    pub hostname: String,
    pub default_user: Option<String>,
}

impl Orders {
    /// To this containerizer.
    pub fn new(
        containerizer: Containerizer,
        facts: Arc<TaskFacts>,
        secrets: Arc<Secrets>,
        machine: LateMachine,
        runtime: Runtime,
    ) -> Orders {
        let checker = Checker::new(containerizer.clone(), facts.clone(), machine.clone(), runtime);
        Orders { containerizer, facts, checker, secrets, machine }
    }

    /// Gives an order; what comes of it is told as an event.
    pub fn give(&self, order: Contain) {
        match order {
            Contain::Launch(given) => {
                self.secrets.will_be_asked_for(&given);
                self.containerizer.launch(launch(&given, &self.facts));
            }
            Contain::Kill { run, grace } => self.containerizer.kill(container(run), grace),
            Contain::Check(ask) => self.checker.carry_out(ask),
            Contain::Destroy(run) => self.containerizer.destroy(container(run)),
            Contain::RemoveVolume(volume) => {
                let (place, machine) = (volume_dir(&volume), self.machine.clone());
                self.containerizer.remove_volume(
                    place,
                    Box::new(move || {
                        if let Some(machine) = machine.get() {
                            // Stopped: the master says again that it is destroyed when the agent is back.
                            let _ = machine.send(Input::VolumeRemoved(volume));
                        }
                    }),
                );
            }
        }
    }
}

// === A task as a process ===

fn launch(given: &TaskRun, facts: &TaskFacts) -> Launch {
    let TaskInfo { id, command, resources, .. } = &given.task;
    let owner = Owner { framework: given.framework.clone(), task: id.clone(), run: given.run };
    let quantities = resources.quantities();
    let user = if command.user.is_empty() { facts.default_user.clone() } else { Some(command.user.clone()) };
    Launch {
        env: environment(given, facts),
        user,
        cpus_milli: quantities.cpus_milli(),
        mem_bytes: quantities.mem_bytes(),
        pids_max: PIDS_MAX,
        volumes: given.volumes.iter().map(volume_dir).collect(),
        artifacts: command.artifacts.iter().map(artifact).collect(),
        has_secrets: !command.secrets.is_empty(),
        ..Launch::new(container(given.run), argv(command), Sandboxes::dir(&owner))
    }
}

/// A command beside a run: all that its task has, but for what it runs.
pub(crate) fn beside(given: &TaskRun, facts: &TaskFacts, command: Vec<String>) -> Launch {
    Launch { argv: command, artifacts: Vec::new(), ..launch(given, facts) }
}

fn volume_dir(volume: &Volume) -> VolumeDir {
    VolumeDir::new(volume.role.as_str(), volume.id.as_str(), volume.birth)
}

fn argv(command: &CommandInfo) -> Vec<String> {
    words(&command.argv, command.shell)
}

/// A program and its arguments, or a script as these.
pub(crate) fn words(argv: &[String], shell: bool) -> Vec<String> {
    let before = ["/bin/sh", "-c"].map(str::to_owned);
    let prefix = if shell { &before[..] } else { &[] };
    prefix.iter().chain(argv).cloned().collect()
}

fn artifact(artifact: &proto::task::Artifact) -> Artifact {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Artifact {
        uri: artifact.uri.clone(),
        sha256: given(&artifact.sha256),
        executable: artifact.executable,
        name: given(&artifact.name),
    }
}

/// What the task says, the ports it was given where it does not say otherwise, and who it is in any case.
fn environment(given: &TaskRun, facts: &TaskFacts) -> Vec<(String, String)> {
    let mut env = given.task.command.env.clone();
    let ports = given.task.resources.flatten().range("ports");
    for (at, port) in ports.iter().enumerate() {
        for name in [format!("PORT{at}"), format!("STOA_PORT{at}")] {
            env.entry(name).or_insert_with(|| port.to_string());
        }
        if at == 0 {
            env.entry("PORT".to_owned()).or_insert_with(|| port.to_string());
        }
    }
    for (name, value) in [
        ("STOA_TASK_ID", given.task.id.as_str()),
        ("STOA_FRAMEWORK_ID", given.framework.as_str()),
        ("STOA_AGENT_ID", facts.agent.as_str()),
        ("STOA_HOSTNAME", &facts.hostname),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    env.into_iter().collect()
}

// === What containers say ===

/// Tells the machine what containers say, until there is nobody to tell or nothing more to come.
pub(crate) async fn listen(mut events: mpsc::UnboundedReceiver<Event>, machine: Machine<Input>) {
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, EVENTS_PER_TURN).await > 0 {
        for event in batch.drain(..) {
            if machine.send_async(input(event)).await.is_err() {
                return;
            }
        }
    }
}

/// An event as the machine hears it.
pub(crate) fn input(event: Event) -> Input {
    Input::Container(match event {
        Event::Recovered(runs) => return Input::Recovered(runs.into_iter().map(found).collect()),
        Event::Started { run_id, pid, .. } => Container::Started { run: run(run_id), pid: process(pid) },
        Event::StartFailed { run_id, failure: why } => {
            Container::StartFailed { run: run(run_id), failure: failure(&why) }
        }
        Event::Exited { run_id, exit } => Container::Exited { run: run(run_id), end: end(&exit) },
    })
}

fn found(recovered: Recovered) -> Found {
    let state = match recovered.state {
        RecoveredState::Starting => FoundState::Starting,
        RecoveredState::Running { pid, .. } => FoundState::Running { pid: process(pid) },
        RecoveredState::Exited(exit) => FoundState::Exited(end(&exit)),
        RecoveredState::StartFailed(why) => FoundState::StartFailed(failure(&why)),
    };
    Found { run: run(recovered.run_id), state }
}

fn run(id: ContainerId) -> RunId {
    RunId::from_bytes(id.0)
}

/// Process ids are positive.
fn process(pid: i32) -> u32 {
    u32::try_from(pid).unwrap_or(0)
}

fn failure(why: &StartFailure) -> agent_core::StartFailure {
    let kind = match why {
        StartFailure::Canceled => FailureKind::Canceled,
        StartFailure::Artifact { .. } => FailureKind::Fetch,
        StartFailure::Secrets(_) => FailureKind::Secret,
        StartFailure::RootForbidden => FailureKind::Unauthorized,
        StartFailure::UnknownUser(_)
        | StartFailure::NotIsolated { .. }
        | StartFailure::Sandbox(_)
        | StartFailure::Volume(_)
        | StartFailure::Cgroup(_)
        | StartFailure::TooLong { .. }
        // Of commands beside runs only.
        | StartFailure::NotRunning
        | StartFailure::KeeperAway
        | StartFailure::KeeperOld
        | StartFailure::Visit(_)
        | StartFailure::Keeper { .. } => FailureKind::Launch,
    };
    agent_core::StartFailure { kind, message: why.to_string() }
}

fn end(exit: &Exit) -> End {
    let how = match exit.how {
        How::Code(code) => agent_core::How::Exit(proto::task::Exit::Code(code)),
        How::Signal(signal) => agent_core::How::Exit(proto::task::Exit::Signal(signal)),
        How::Lost(agent_containerizer::Loss::Rebooted) => agent_core::How::Lost(agent_core::Loss::Rebooted),
        How::Lost(agent_containerizer::Loss::KeeperDied) => {
            agent_core::How::Lost(agent_core::Loss::KeeperDied)
        }
    };
    let since_1970 = exit.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    End { how, oom: exit.oom, at_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX) }
}

// === What isolation there is ===

/// What isolation there is, for frameworks to choose by: `isolation/cpu=enforced` or `=off`.
pub(crate) fn isolation(report: &Report, attributes: &mut Attributes) {
    for (name, isolation) in report.entries() {
        let word = if isolation.is_enforced() { "enforced" } else { "off" };
        attributes.0.insert(format!("isolation/{name}"), AttributeValue::Text(word.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proto::id::{FrameworkId, TaskId};
    use proto::quantities::Quantities;
    use proto::ranges::Ranges;
    use proto::resources::{Amount, Resources};

    use super::*;

    fn given() -> TaskRun {
        let amount = Amount::scalars(Quantities::of(500, 64 << 20))
            .with_ports(Ranges::from_pairs([(31005, 31005), (31001, 31002)]));
        TaskRun {
            run: RunId::at(7, 1),
            framework: FrameworkId::new("fw").unwrap(),
            principal: "framework/jobs".into(),
            volumes: Vec::new(),
            task: TaskInfo {
                id: TaskId::new("web.1").unwrap(),
                name: "web".into(),
                command: CommandInfo {
                    argv: vec!["echo $PORT0".into()],
                    shell: true,
                    env: BTreeMap::from([
                        ("PORT1".into(), "mine".into()),
                        ("STOA_TASK_ID".into(), "forged".into()),
                    ]),
                    ..CommandInfo::default()
                },
                resources: Resources::unreserved(amount),
                kill_grace: Duration::from_secs(3),
                labels: BTreeMap::new(),
                group: None,
                checks: proto::check::Checks::default(),
                longest_run: None,
            },
        }
    }

    fn facts() -> TaskFacts {
        TaskFacts {
            agent: AgentId::new("a-1").unwrap(),
            hostname: "one".into(),
            default_user: Some("nobody".into()),
        }
    }

    #[test]
    fn a_task_knows_who_it_is_and_its_ports() {
        let env: BTreeMap<_, _> = environment(&given(), &facts()).into_iter().collect();
        for (name, value) in [
            ("STOA_TASK_ID", "web.1"),
            ("STOA_FRAMEWORK_ID", "fw"),
            ("STOA_AGENT_ID", "a-1"),
            ("STOA_HOSTNAME", "one"),
            ("PORT", "31001"),
            ("PORT0", "31001"),
            ("PORT1", "mine"),
            ("STOA_PORT1", "31002"),
            ("STOA_PORT2", "31005"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn a_task_gets_what_it_was_given() {
        let launch = launch(&given(), &facts());
        assert_eq!(launch.argv, ["/bin/sh", "-c", "echo $PORT0"]);
        assert_eq!((launch.cpus_milli, launch.mem_bytes), (500, 64 << 20));
        assert_eq!(launch.user.as_deref(), Some("nobody"));
        let mut root = given();
        root.task.command.user = "root".into();
        root.task.command.shell = false;
        root.task.command.artifacts = vec![proto::task::Artifact {
            uri: "http://h/a".into(),
            sha256: String::new(),
            executable: true,
            name: "tool".into(),
        }];
        let launch = super::launch(&root, &facts());
        let tool = &launch.artifacts[0];
        assert_eq!((tool.name.as_deref(), &tool.sha256, tool.executable), (Some("tool"), &None, true));
        assert_eq!(launch.user.as_deref(), Some("root"));
        assert_eq!(launch.argv, ["echo $PORT0"]);
    }
}
