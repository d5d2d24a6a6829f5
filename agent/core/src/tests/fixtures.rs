//! What the tests speak of: one framework, its tasks and runs.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::agent_link::TaskRun;
use proto::attributes::Attributes;
use proto::check::Check;
use proto::id::{AgentId, FrameworkId, GroupId, RunId, TaskId};
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::task::{CommandInfo, Exit, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus};

use crate::input::{End, How};

pub(crate) fn framework() -> FrameworkId {
    FrameworkId::new("fw-1").unwrap()
}

pub(crate) fn info() -> AgentInfo {
    AgentInfo {
        id: AgentId::new("a-1").unwrap(),
        hostname: "one".into(),
        address: "one:5051".into(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(4000, 8 << 30))),
        attributes: Attributes::default(),
        version: "0".into(),
    }
}

pub(crate) fn run_id(n: u64) -> RunId {
    RunId::at(n, 0)
}

/// Run `n`, of task `t<n>`.
pub(crate) fn task_run(n: u64) -> TaskRun {
    task_of(run_id(n), None)
}

/// A member of a group that was launched by entry `n`.
pub(crate) fn member(n: u64, ordinal: u64, group: &str) -> TaskRun {
    task_of(RunId::at(n, ordinal), Some(group))
}

/// Health: one second apart, from the start, two failures in a row end it.
pub(crate) fn health() -> Check {
    let second = Duration::from_secs(1);
    Check::shell("true")
        .delay(Duration::ZERO)
        .interval(second)
        .timeout(second)
        .grace(Duration::ZERO)
        .failures(2)
}

fn task_of(run: RunId, group: Option<&str>) -> TaskRun {
    TaskRun {
        run,
        framework: framework(),
        principal: "framework/jobs".into(),
        volumes: Vec::new(),
        task: TaskInfo {
            id: TaskId::new(&format!("t{run}")).unwrap(),
            name: "t".into(),
            command: CommandInfo { argv: vec!["true".into()], ..CommandInfo::default() },
            resources: Resources::unreserved(Amount::scalars(Quantities::of(100, 64 << 20))),
            kill_grace: Duration::from_secs(3),
            labels: BTreeMap::new(),
            group: group.map(|group| GroupId::new(group).unwrap()),
            checks: proto::check::Checks::default(),
            longest_run: None,
        },
    }
}

pub(crate) fn status(run: RunId) -> TaskStatus {
    TaskStatus {
        task: TaskId::new("t").unwrap(),
        state: TaskState::Finished,
        reason: StatusReason::CommandExited,
        source: StatusSource::Agent,
        message: String::new(),
        at_ms: 0,
        agent: None,
        run: Some(run),
        sequence: 1,
        exit: None,
        pid: 0,
        healthy: None,
        ready: None,
        grace: None,
    }
}

pub(crate) fn code(code: i32, at_ms: u64) -> End {
    End { how: How::Exit(Exit::Code(code)), oom: false, at_ms }
}

pub(crate) fn signal(signal: i32, at_ms: u64) -> End {
    End { how: How::Exit(Exit::Signal(signal)), oom: false, at_ms }
}
