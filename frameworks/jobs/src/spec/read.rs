//! From a job file to jobs: every key is known, every value is exact, and everything that is wrong is said at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{Fault, Faults};
use super::tree::{Key, Node, Value};
use super::value::{amount, duration, each, flag, one, one_or_list, signed, text, unknown, whole, word};
use super::{Command, Cron, JobSpec, Kind, Overlap, keys, nested, toml, yaml};
use crate::cron::{Schedule, Zone};
use framework_sdk::quantities::{parse_bytes, parse_milli};
use framework_sdk::role::Role;

/// The largest job file that is read.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// The jobs of a file: TOML or YAML by its extension. A YAML file may hold several documents, each a job; either may
/// hold a list of jobs under `job`. `name` is used for its extension and in messages; `text` is the content.
pub fn parse_file(name: &Path, text: &str) -> Result<Vec<JobSpec>, Faults> {
    parse(name, text).map_err(|faults| Faults { file: name.display().to_string(), faults })
}

fn parse(name: &Path, text: &str) -> Result<Vec<JobSpec>, Vec<Fault>> {
    let whole = |message: String| vec![Fault { line: None, key: String::new(), message }];
    if text.len() > FILE_BYTES_MAX {
        return Err(whole(format!("is larger than {FILE_BYTES_MAX} bytes; is it a job file?")));
    }
    let extension = name.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let trees = match extension.as_deref() {
        Some("toml") => toml::tree(text),
        Some("yaml" | "yml") => yaml::trees(text),
        Some(_) | None => {
            return Err(whole("is neither TOML nor YAML; name it .toml, .yaml or .yml".to_owned()));
        }
    }
    .map_err(|fault| vec![fault])?;
    let mut jobs: Vec<JobSpec> = Vec::new();
    let mut faults = Vec::new();
    for tree in trees.into_iter().flat_map(split) {
        let line = tree.line;
        match job(tree) {
            Ok(job) if jobs.iter().any(|other| other.name == job.name) => faults.push(Fault {
                line: Some(line),
                key: "name".to_owned(),
                message: format!("two jobs of this file are named {:?}", job.name),
            }),
            Ok(job) => jobs.push(job),
            Err(more) => faults.extend(more),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    if jobs.is_empty() {
        return Err(whole("holds no job; it needs at least name and command".to_owned()));
    }
    Ok(jobs)
}

/// A table with nothing but `job`, a list, is that many jobs.
fn split(tree: Node) -> Vec<Node> {
    match tree.value {
        Value::Table(mut entries)
            if entries.len() == 1
                && entries
                    .iter()
                    .all(|(key, node)| key.text == keys::LIST && matches!(node.value, Value::List(_))) =>
        {
            match entries.pop().map(|(_, node)| node.value) {
                Some(Value::List(jobs)) => jobs,
                _ => Vec::new(),
            }
        }
        value => vec![Node { line: tree.line, value }],
    }
}

fn job(tree: Node) -> Result<JobSpec, Vec<Fault>> {
    let line = tree.line;
    let Value::Table(entries) = tree.value else {
        let message = format!("a job is a table of keys, not {}", tree.value.describe());
        return Err(vec![Fault { line: Some(line), key: String::new(), message }]);
    };
    // An empty name and command are the check's to complain about, unless the key itself was wrong.
    let mut job = JobSpec::new("", Kind::Service, Command::Shell(String::new()));
    if entries.iter().any(|(key, _)| key.text == "task") {
        // Each task says its own: what the job itself says of these is not a default but a mistake.
        (job.command, job.cpus_milli, job.mem_bytes) = (Command::Argv(Vec::new()), 0, 0);
    }
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults: Vec<Fault> = Vec::new();
    let mut cron: Vec<(Key, Node)> = Vec::new();
    for (key, node) in entries {
        lines.insert(key.text.clone(), node.line);
        if keys::CRON.contains(&key.text.as_str()) {
            cron.push((key, node));
        } else if let Err(wrong) = set(&mut job, &key, node) {
            faults.extend(wrong);
        }
    }
    nested::fill_ports(&job.ports, [&mut job.health, &mut job.readiness]);
    if job.kind == Kind::Cron {
        match set_cron(cron) {
            Ok(cron) => job.cron = cron,
            Err(wrong) => faults.extend(wrong),
        }
    } else if !faults.iter().any(|fault| fault.key == "kind") {
        let foreign = |(key, _): (Key, Node)| Fault {
            line: Some(key.line),
            key: key.text,
            message: "is for cron jobs; write kind = \"cron\"".to_owned(),
        };
        faults.extend(cron.into_iter().map(foreign));
    }
    // What could not be read is as by default, or said already: one complaint for each key.
    let top = |fault: &Fault| fault.key.split(['.', '[']).next().unwrap_or_default().to_owned();
    let unread: Vec<String> = faults.iter().map(top).collect();
    for mut fault in job.faults() {
        let top = top(&fault);
        if !unread.contains(&top) {
            fault.line = Some(lines.get(&top).copied().unwrap_or(line));
            if fault.key == "command" && !lines.contains_key("command") {
                fault.message =
                    "is missing; write a script, or a list of a program and its arguments".to_owned();
            }
            faults.push(fault);
        }
    }
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(job) } else { Err(faults) }
}

fn set(job: &mut JobSpec, key: &Key, node: Node) -> Result<(), Vec<Fault>> {
    const KINDS: [Kind; 3] = [Kind::Service, Kind::Batch, Kind::Cron];
    let at = key.text.as_str();
    match at {
        "name" => job.name = text(at, node)?,
        "command" => job.command = nested::command(at, node)?,
        "kind" => job.kind = KINDS[word(at, node, keys::KINDS)?],
        "instances" => job.instances = whole(at, node, "3")?,
        "cpus" => job.cpus_milli = amount(at, node, "0.5", parse_milli)?,
        "mem" => job.mem_bytes = amount(at, node, "\"64MiB\"", parse_bytes)?,
        "disk" => job.disk_bytes = amount(at, node, "\"1GiB\"", parse_bytes)?,
        "ports" => job.ports = nested::ports(at, node)?,
        "env" => job.env = nested::env(at, node)?,
        "artifacts" => job.artifacts = nested::artifacts(at, node)?,
        "secrets" => job.secrets = nested::secrets(at, node)?,
        "constraints" => job.constraints = nested::rules(at, node)?,
        "prefer" => job.prefer = nested::rules(at, node)?,
        "spread" => job.spread = Some(nested::spread(at, node)?),
        "priority" => job.priority = signed(at, node, "10")?,
        "role" => {
            let line = node.line;
            job.role = Some(Role::new(&text(at, node)?).map_err(|bad| one(line, at, bad.to_string()))?);
        }
        "user" => job.user = text(at, node)?,
        "kill_grace" => job.kill_grace = duration(at, node)?,
        "health" => job.health = Some(nested::check(at, node)?),
        "readiness" => job.readiness = Some(nested::check(at, node)?),
        "restart" => nested::restart(at, node, job)?,
        "update" => job.update = nested::update(at, node)?,
        "retries" => job.retries = whole(at, node, "3")?,
        "parallel" => job.parallel = Some(whole(at, node, "10")?).filter(|most| *most > 0),
        "time_limit" => job.time_limit = Some(duration(at, node)?),
        "after" => {
            let items = one_or_list(at, node, "a list of jobs such as [\"import\"]")?;
            job.after = each(items, |(at, node)| text(&at, node))?;
        }
        "volumes" => job.volumes = nested::volumes(at, node)?,
        "task" => job.tasks = nested::tasks(at, node)?,
        keys::LIST => {
            return Err(one(key.line, at, "is for files that hold nothing else: a list of jobs".to_owned()));
        }
        _ => return Err(unknown(key, "", keys::JOB)),
    }
    Ok(())
}

/// `None` without a schedule: the check misses it then.
fn set_cron(entries: Vec<(Key, Node)>) -> Result<Option<Cron>, Vec<Fault>> {
    let (mut schedule, mut timezone, mut overlap) = (None, None, None);
    let (mut missed, mut history, mut paused) = (None, None, None);
    each(entries, |(key, node)| {
        let (at, line) = (key.text.as_str(), node.line);
        match at {
            "schedule" => {
                let read = Schedule::parse(&text(at, node)?);
                schedule = Some(read.map_err(|bad| one(line, at, bad.to_string()))?);
            }
            "timezone" => {
                let read = Zone::named(&text(at, node)?);
                timezone = Some(read.map_err(|bad| one(line, at, bad.to_string()))?);
            }
            "overlap" => overlap = Some(Overlap::ALL[word(at, node, keys::OVERLAPS)?]),
            "missed" => missed = Some(duration(at, node)?),
            "history" => history = Some(whole(at, node, "3")?),
            _ => paused = Some(flag(at, node)?),
        }
        Ok(())
    })?;
    Ok(schedule.map(|schedule| {
        let usual = Cron::of(schedule);
        Cron {
            timezone: timezone.unwrap_or_else(|| usual.timezone.clone()),
            overlap: overlap.unwrap_or(usual.overlap),
            missed: missed.unwrap_or(usual.missed),
            history: history.unwrap_or(usual.history),
            paused: paused.unwrap_or(usual.paused),
            ..usual
        }
    }))
}
