//! Between records and the messages they are kept as.

use std::sync::Arc;

use super::state::{Instance, Part, Record};
use crate::contract::exit_to_wire;
use crate::spec::JobSpec;
use crate::wire::TaskState;
use crate::wire::journal as message;
use crate::wire::journal::record::Kind;
use framework_sdk::id::{AgentId, FrameworkId, TaskId};
use framework_sdk::task::Exit;

// === impl Record ===

impl Record {
    /// As kept.
    pub(super) fn to_wire(&self) -> message::Record {
        let kind = match self {
            Record::Header { format, prefix } => {
                Kind::Header(message::Header { format: *format, prefix: prefix.clone() })
            }
            Record::Framework(id) => {
                let framework_id = id.as_ref().map_or_else(String::new, ToString::to_string);
                Kind::FrameworkKnown(message::FrameworkKnown { framework_id })
            }
            Record::JobStored { spec, revision, requests, created_ms, ephemeral, before, parent } => {
                let request =
                    |(id, revision): &(String, u64)| message::Request { id: id.clone(), revision: *revision };
                Kind::JobStored(message::JobStored {
                    spec: Some(spec.to_wire()),
                    revision: *revision,
                    requests: requests.iter().map(request).collect(),
                    created_ms: *created_ms,
                    ephemeral: *ephemeral,
                    before: before.as_ref().map(|before| before.to_wire()),
                    parent: parent.clone().unwrap_or_default(),
                })
            }
            Record::JobSettled { name } => Kind::JobSettled(message::JobSettled { name: name.clone() }),
            Record::DependencyMet { name, dependency } => Kind::DependencyMet(message::DependencyMet {
                name: name.clone(),
                dependency: dependency.clone(),
            }),
            Record::JobFailed { name, why } => {
                Kind::JobFailed(message::JobFailed { name: name.clone(), why: why.clone() })
            }
            Record::CronHandled { name, until_ms } => {
                Kind::CronHandled(message::CronHandled { name: name.clone(), until_ms: *until_ms })
            }
            Record::JobStopped { name, purge } => {
                Kind::JobStopped(message::JobStopped { name: name.clone(), purge: *purge })
            }
            Record::JobForgotten { name } => Kind::JobForgotten(message::JobForgotten { name: name.clone() }),
            Record::InstanceStored { job, instance } => Kind::InstanceStored(instance_to_wire(job, instance)),
            Record::InstanceForgotten { job, number } => {
                Kind::InstanceForgotten(message::InstanceForgotten { job: job.clone(), number: *number })
            }
            Record::Remembered { key, value } => {
                Kind::Remembered(message::Remembered { key: key.clone(), value: value.clone() })
            }
            Record::SerialsReserved { below } => {
                Kind::SerialsReserved(message::SerialsReserved { below: *below })
            }
        };
        message::Record { kind: Some(kind) }
    }

    /// From what was kept; the error says what makes no sense.
    pub(super) fn from_wire(record: message::Record) -> Result<Record, String> {
        Ok(match record.kind.ok_or("it is of no known kind")? {
            Kind::Header(m) => Record::Header { format: m.format, prefix: m.prefix },
            Kind::FrameworkKnown(m) => Record::Framework(optional(&m.framework_id, FrameworkId::new)?),
            Kind::JobStored(m) => {
                let read = |spec| JobSpec::from_wire(spec).map(Arc::new).map_err(|faults| faults.to_string());
                Record::JobStored {
                    spec: read(m.spec.ok_or("a job without a spec")?)?,
                    revision: m.revision,
                    requests: m.requests.into_iter().map(|request| (request.id, request.revision)).collect(),
                    created_ms: m.created_ms,
                    ephemeral: m.ephemeral,
                    before: m.before.map(read).transpose()?,
                    parent: Some(m.parent).filter(|parent| !parent.is_empty()),
                }
            }
            Kind::JobStopped(m) => Record::JobStopped { name: m.name, purge: m.purge },
            Kind::JobForgotten(m) => Record::JobForgotten { name: m.name },
            Kind::InstanceStored(m) => {
                Record::InstanceStored { job: m.job.clone(), instance: instance_from_wire(m)? }
            }
            Kind::InstanceForgotten(m) => Record::InstanceForgotten { job: m.job, number: m.number },
            Kind::JobSettled(m) => Record::JobSettled { name: m.name },
            Kind::DependencyMet(m) => Record::DependencyMet { name: m.name, dependency: m.dependency },
            Kind::JobFailed(m) => Record::JobFailed { name: m.name, why: m.why },
            Kind::CronHandled(m) => Record::CronHandled { name: m.name, until_ms: m.until_ms },
            Kind::Remembered(m) => Record::Remembered { key: m.key, value: m.value },
            Kind::SerialsReserved(m) => Record::SerialsReserved { below: m.below },
        })
    }
}

fn instance_from_wire(m: message::InstanceStored) -> Result<Instance, String> {
    let decided = m.decided();
    Ok(Instance {
        number: m.number,
        attempt: m.attempt,
        task: optional(&m.task_id, TaskId::new)?,
        revision: m.revision,
        state: m.state(),
        agent: optional(&m.agent_id, AgentId::new)?,
        hostname: m.hostname,
        agent_address: m.agent_address,
        exit: m.exit_code.map(Exit::Code).or(m.exit_signal.map(Exit::Signal)),
        message: m.message,
        at_ms: m.at_ms,
        failures: m.failures,
        retries: m.retries,
        started_again_ms: m.started_again_ms,
        made: m.made,
        earlier: m.earlier.into_iter().map(instance_from_wire).collect::<Result<_, _>>()?,
        restarts: m.restarts,
        not_before_ms: m.not_before_ms,
        last: m.last,
        decided: Some(decided).filter(|state| *state != TaskState::Unspecified),
        parts: m.parts.into_iter().map(part_from_wire).collect::<Result<_, _>>()?,
    })
}

fn part_from_wire(m: message::PartStored) -> Result<Part, String> {
    let state = m.state();
    Ok(Part {
        task: TaskId::new(&m.task_id).map_err(|bad| format!("the id {:?} {bad}", m.task_id))?,
        state,
        exit: m.exit_code.map(Exit::Code).or(m.exit_signal.map(Exit::Signal)),
        name: m.name,
        message: m.message,
        at_ms: m.at_ms,
    })
}

fn part_to_wire(part: &Part) -> message::PartStored {
    let (exit_code, exit_signal) = exit_to_wire(part.exit);
    message::PartStored {
        name: part.name.clone(),
        task_id: part.task.to_string(),
        state: part.state.into(),
        exit_code,
        exit_signal,
        message: part.message.clone(),
        at_ms: part.at_ms,
    }
}

fn instance_to_wire(job: &str, instance: &Instance) -> message::InstanceStored {
    let (exit_code, exit_signal) = exit_to_wire(instance.exit);
    message::InstanceStored {
        job: job.to_owned(),
        number: instance.number,
        attempt: instance.attempt,
        task_id: instance.task.as_ref().map_or_else(String::new, ToString::to_string),
        revision: instance.revision,
        state: instance.state.into(),
        agent_id: instance.agent.as_ref().map_or_else(String::new, ToString::to_string),
        hostname: instance.hostname.clone(),
        agent_address: instance.agent_address.clone(),
        exit_code,
        exit_signal,
        message: instance.message.clone(),
        at_ms: instance.at_ms,
        failures: instance.failures,
        restarts: instance.restarts,
        not_before_ms: instance.not_before_ms,
        last: instance.last,
        retries: instance.retries,
        started_again_ms: instance.started_again_ms.clone(),
        made: instance.made,
        parts: instance.parts.iter().map(part_to_wire).collect(),
        decided: instance.decided.unwrap_or(TaskState::Unspecified).into(),
        // The name of the job stands once.
        earlier: instance.earlier.iter().map(|earlier| instance_to_wire("", earlier)).collect(),
    }
}

fn optional<T, E: std::fmt::Display>(
    text: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    read(text).map(Some).map_err(|bad| format!("the id {text:?} {bad}"))
}
