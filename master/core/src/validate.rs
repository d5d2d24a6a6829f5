//! What a call must satisfy: pure functions that name the field and the fix.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::attributes::{AttributeValue, Predicate};
use proto::demand::Demand;
use proto::framework::FrameworkInfo;
use proto::refusal::{Code, Refusal};
use proto::resources::Portion;
use proto::task::TaskInfo;

use crate::config::DEMANDS_MAX;

/// The most bytes a task's description may take.
pub(crate) const TASK_BYTES_MAX: usize = 64 << 10;
const LABELS_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 256;
const ROLES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
const WORDS_MAX: usize = 256;
const ATTRIBUTES_MAX: usize = 256;
/// Custom scalars, ranges and items of an agent's resources.
const AMOUNTS_MAX: usize = 4096;
/// A framework that does not come back within a year does not come back.
const FAILOVER_TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// A database may take long to end; nothing takes longer than a day.
const KILL_GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// What runs for less is over before it is seen running.
const LONGEST_RUN_MIN: Duration = Duration::from_millis(100);
const LONGEST_RUN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

fn invalid(message: String) -> Refusal {
    Refusal::new(Code::Invalid, message)
}

fn name(field: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(invalid(format!(
            "{field} is {:?}; give it 1 to {NAME_BYTES_MAX} characters without control characters",
            text.chars().take(40).collect::<String>()
        )));
    }
    Ok(())
}

fn short(field: &str, text: &str) -> Result<(), String> {
    if text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "{field} is longer than {LABEL_BYTES_MAX} bytes or holds control characters; shorten it"
        ));
    }
    Ok(())
}

fn labels(field: &str, labels: &std::collections::BTreeMap<String, String>) -> Result<(), Refusal> {
    let long = |text: &String| text.len() > LABEL_BYTES_MAX;
    if labels.len() > LABELS_MAX || labels.iter().any(|(key, value)| long(key) || long(value)) {
        return Err(invalid(format!(
            "{field} has more than {LABELS_MAX} labels or one longer than {LABEL_BYTES_MAX} bytes; shorten them"
        )));
    }
    Ok(())
}

/// What a framework says of itself.
pub(crate) fn framework(info: &FrameworkInfo) -> Result<(), Refusal> {
    name("framework.name", &info.name)?;
    short("framework.address", &info.address).map_err(invalid)?;
    if info.failover_timeout > FAILOVER_TIMEOUT_MAX {
        let days = FAILOVER_TIMEOUT_MAX.as_secs() / 86_400;
        return Err(invalid(format!("framework.failover_timeout is more than {days} days; make it shorter")));
    }
    labels("framework.labels", &info.labels)?;
    if info.roles.is_empty() || info.roles.len() > ROLES_MAX {
        return Err(invalid(format!(
            "framework.roles names {} roles; name 1 to {ROLES_MAX}, such as \"default\"",
            info.roles.len()
        )));
    }
    let mut sorted: Vec<_> = info.roles.iter().collect();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(format!("framework.roles names {} twice; name it once", twice[0])));
    }
    Ok(())
}

/// One task, apart from whether it fits.
pub(crate) fn task(task: &TaskInfo) -> Result<(), String> {
    let command = &task.command;
    if command.argv.first().is_none_or(String::is_empty) {
        return Err("command.argv is empty; name a program".to_owned());
    }
    if command.shell && command.argv.len() != 1 {
        return Err("command.argv of a shell command is one script; give exactly one argument".to_owned());
    }
    let zero = |text: &String| text.contains('\0');
    if command.argv.iter().any(zero) || command.env.iter().any(|(k, v)| zero(k) || zero(v)) {
        return Err("command holds a zero byte; take it out".to_owned());
    }
    if let Some(key) = command.env.keys().find(|key| key.is_empty() || key.contains('=')) {
        return Err(format!("command.env names {key:?}; a name is not empty and holds no ="));
    }
    if let Some(artifact) = command
        .artifacts
        .iter()
        .find(|a| !["file://", "http://", "https://"].iter().any(|scheme| a.uri.starts_with(scheme)))
    {
        return Err(format!("command.artifacts has {:?}; use file://, http:// or https://", artifact.uri));
    }
    let argv: usize = command.argv.iter().map(String::len).sum();
    let env: usize = command.env.iter().map(|(k, v)| k.len() + v.len()).sum();
    if argv + env > TASK_BYTES_MAX {
        return Err(format!("command takes more than {TASK_BYTES_MAX} bytes; move it into an artifact"));
    }
    if task.resources.is_empty() {
        return Err("resources is empty; a task takes at least some cpus or mem".to_owned());
    }
    if task.name.len() > NAME_BYTES_MAX || task.name.chars().any(char::is_control) {
        return Err(format!("name is longer than {NAME_BYTES_MAX} bytes or holds control characters"));
    }
    kill_grace("kill_grace", task.kill_grace)?;
    if let Some(limit) = task.longest_run
        && !(LONGEST_RUN_MIN..=LONGEST_RUN_MAX).contains(&limit)
    {
        return Err(format!(
            "longest_run is {} ms; say {} ms to {} days, or leave it out",
            limit.as_millis(),
            LONGEST_RUN_MIN.as_millis(),
            LONGEST_RUN_MAX.as_secs() / 86_400
        ));
    }
    proto::secret::fault(&command.secrets)?;
    task.checks.fault(&task.resources.flatten().range("ports"))?;
    labels("labels", &task.labels).map_err(|refusal| refusal.message)
}

/// The volumes of a task: each whole, as only then nobody else has a part of it, and no two of one name, as they are found
/// by it.
pub(crate) fn volumes(task: &TaskInfo, is_whole: impl Fn(&Portion) -> bool) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for portion in task.resources.portions() {
        let Some(volume) = &portion.volume else { continue };
        if !names.insert(volume) {
            return Err(format!(
                "resources name two volumes {volume}; a task finds its volumes by their names"
            ));
        }
        if !is_whole(portion) {
            return Err(format!(
                "resources hold volume {volume} otherwise than the offers; a volume goes whole to one task"
            ));
        }
    }
    Ok(())
}

/// How long a task may take to end.
pub(crate) fn kill_grace(field: &str, grace: Duration) -> Result<(), String> {
    if grace > KILL_GRACE_MAX {
        return Err(format!(
            "{field} is more than {} hours; make it shorter",
            KILL_GRACE_MAX.as_secs() / 3600
        ));
    }
    Ok(())
}

/// What an agent says of itself: everybody is shown it, and the log keeps it.
pub(crate) fn agent(info: &AgentInfo) -> Result<(), Refusal> {
    name("agent.hostname", &info.hostname)?;
    short("agent.address", &info.address).map_err(invalid)?;
    short("agent.version", &info.version).map_err(invalid)?;
    let long = |text: &str| text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control);
    let bad = |(key, value): (&String, &AttributeValue)| match value {
        AttributeValue::Text(text) => long(key) || long(text),
        AttributeValue::Scalar(_) => long(key),
    };
    if info.attributes.0.len() > ATTRIBUTES_MAX || info.attributes.0.iter().any(bad) {
        return Err(invalid(format!(
            "agent.attributes has more than {ATTRIBUTES_MAX} entries or one that is longer than {LABEL_BYTES_MAX} bytes or holds control characters; shorten them"
        )));
    }
    let mut amounts = 0;
    for portion in info.resources.portions() {
        if portion.reservation.is_some() || portion.volume.is_some() {
            return Err(invalid(
                "agent.resources holds something reserved; say what there is, frameworks reserve it by offers"
                    .to_owned(),
            ));
        }
        let amount = &portion.amount;
        let pairs: usize = amount.ranges().iter().map(|(_, ranges)| ranges.pairs().len()).sum();
        let items: usize = amount.sets().iter().map(|(_, items)| items.len()).sum();
        amounts +=
            amount.scalars.custom().len() + amount.ranges().len() + amount.sets().len() + pairs + items;
    }
    if amounts > AMOUNTS_MAX {
        return Err(invalid(format!(
            "agent.resources has {amounts} custom amounts, ranges and items; at most {AMOUNTS_MAX}"
        )));
    }
    Ok(())
}

/// What a framework wants.
pub(crate) fn demands(demands: &[Demand], info: &FrameworkInfo) -> Result<(), Refusal> {
    if demands.len() > DEMANDS_MAX {
        return Err(invalid(format!("demands has {} entries; at most {DEMANDS_MAX}", demands.len())));
    }
    let mut ids: Vec<_> = demands.iter().map(|demand| &demand.id).collect();
    ids.sort();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(format!("demands has id {} twice; ids are unique", twice[0])));
    }
    for demand in demands {
        let id = &demand.id;
        if !info.roles.contains(&demand.role) {
            return Err(invalid(format!(
                "demands[{id}].role is {}, which the framework did not subscribe; add it to framework.roles",
                demand.role
            )));
        }
        if demand.shape.is_empty() {
            return Err(invalid(format!("demands[{id}].shape is empty; name cpus or mem at least")));
        }
        let many = |predicate: &Predicate| match predicate {
            Predicate::In(words) | Predicate::NotIn(words) => words.len() > WORDS_MAX,
            Predicate::Exists | Predicate::NotExists | Predicate::AtLeast(_) | Predicate::AtMost(_) => false,
        };
        if demand.constraints.0.len() > LABELS_MAX || demand.constraints.0.iter().any(|c| many(&c.predicate))
        {
            return Err(invalid(format!(
                "demands[{id}].constraints has more than {LABELS_MAX} conditions or {WORDS_MAX} words in one"
            )));
        }
    }
    Ok(())
}
