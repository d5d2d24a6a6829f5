//! What a call must satisfy: pure functions that name the field and the fix.

use proto::attributes::Predicate;
use proto::demand::Demand;
use proto::framework::FrameworkInfo;
use proto::refusal::{Code, Refusal};
use proto::task::TaskInfo;

use crate::config::DEMANDS_MAX;

/// The most bytes a task's description may take.
pub(crate) const TASK_BYTES_MAX: usize = 64 << 10;
const LABELS_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 256;
const ROLES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
const WORDS_MAX: usize = 256;

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
    labels("labels", &task.labels).map_err(|refusal| refusal.message)
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
