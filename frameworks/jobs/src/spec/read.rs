//! From a job file to jobs: every key is known, every value is exact, and everything that is wrong is said at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::fault::{Fault, Faults, meant};
use super::tree::{Key, Node, Value};
use super::{BackOff, Command, JobSpec, Kind, toml, yaml};
use framework_sdk::attributes::{Constraint, Constraints};
use framework_sdk::quantities::{parse_bytes, parse_milli};
use framework_sdk::role::Role;
use framework_sdk::task::Artifact;

/// The largest job file that is read.
pub const FILE_BYTES_MAX: usize = 4 << 20;

pub(super) const KEYS: [&str; 17] = [
    "name",
    "command",
    "kind",
    "instances",
    "cpus",
    "mem",
    "disk",
    "ports",
    "env",
    "artifacts",
    "constraints",
    "role",
    "user",
    "kill_grace",
    "retries",
    "restart",
    "job",
];

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
                    .all(|(key, node)| key.text == "job" && matches!(node.value, Value::List(_))) =>
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
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults: Vec<Fault> = Vec::new();
    for (key, node) in entries {
        lines.insert(key.text.clone(), node.line);
        if let Err(wrong) = set(&mut job, &key, node) {
            faults.extend(wrong);
        }
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
    let at = key.text.as_str();
    match at {
        "name" => job.name = text(at, node)?,
        "command" => job.command = command(at, node)?,
        "kind" => job.kind = kind(at, node)?,
        "instances" => job.instances = whole(at, node, "3")?,
        "cpus" => job.cpus_milli = amount(at, node, "0.5", parse_milli)?,
        "mem" => job.mem_bytes = amount(at, node, "\"64MiB\"", parse_bytes)?,
        "disk" => job.disk_bytes = amount(at, node, "\"1GiB\"", parse_bytes)?,
        "ports" => job.ports = ports(at, node)?,
        "env" => {
            let entries = table(at, node, "{ KEY = \"value\" }")?;
            job.env = each(entries, |(key, node)| {
                Ok((key.text.clone(), text(&format!("env.{}", key.text), node)?))
            })?
            .into_iter()
            .collect();
        }
        "artifacts" => {
            let items = list(at, node, "a list of tables with uri and, as needed, sha256, executable, name")?;
            job.artifacts =
                each(items.into_iter().enumerate(), |(n, node)| artifact(&format!("{at}[{n}]"), node))?;
        }
        "constraints" => {
            let items = match node {
                Node { value: Value::Text(_), .. } => vec![node],
                node => list(at, node, "a list such as [\"zone=b\"]")?,
            };
            job.constraints = Constraints(each(items.into_iter().enumerate(), |(n, node)| {
                let (at, line) = (format!("{at}[{n}]"), node.line);
                Constraint::parse(&text(&at, node)?).map_err(|bad| one(line, &at, bad.to_string()))
            })?);
        }
        "role" => {
            let line = node.line;
            job.role = Some(Role::new(&text(at, node)?).map_err(|bad| one(line, at, bad.to_string()))?);
        }
        "user" => job.user = text(at, node)?,
        "kill_grace" => job.kill_grace = duration(at, node)?,
        "retries" => job.retries = whole(at, node, "3")?,
        "restart" => {
            job.restart = BackOff::DEFAULT;
            let entries = table(at, node, "{ initial = \"1s\", max = \"60s\" }")?;
            let given_max = entries.iter().any(|(key, _)| key.text == "max");
            each(entries, |(key, node)| {
                match key.text.as_str() {
                    "initial" => job.restart.initial = duration("restart.initial", node)?,
                    "max" => job.restart.max = duration("restart.max", node)?,
                    _ => return Err(unknown(&key, "restart.", &["initial", "max"])),
                }
                Ok(())
            })?;
            if !given_max {
                job.restart.max = job.restart.max.max(job.restart.initial);
            }
        }
        "job" => {
            return Err(one(key.line, at, "is for files that hold nothing else: a list of jobs".to_owned()));
        }
        _ => return Err(unknown(key, "", &KEYS)),
    }
    Ok(())
}

fn artifact(at: &str, node: Node) -> Result<Artifact, Vec<Fault>> {
    let mut artifact =
        Artifact { uri: String::new(), sha256: String::new(), executable: false, name: String::new() };
    if let Value::Text(uri) = node.value {
        artifact.uri = uri;
        return Ok(artifact);
    }
    each(table(at, node, "{ uri = \"https://...\" }")?, |(key, node)| {
        let within = format!("{at}.{}", key.text);
        match key.text.as_str() {
            "uri" => artifact.uri = text(&within, node)?,
            "sha256" => artifact.sha256 = text(&within, node)?.to_lowercase(),
            "name" => artifact.name = text(&within, node)?,
            "executable" => match node.value {
                Value::Bool(executable) => artifact.executable = executable,
                other => return Err(misfit(node.line, &within, &other, "true or false")),
            },
            _ => return Err(unknown(&key, &format!("{at}."), &["uri", "sha256", "executable", "name"])),
        }
        Ok(())
    })?;
    Ok(artifact)
}

fn command(at: &str, node: Node) -> Result<Command, Vec<Fault>> {
    match node.value {
        Value::Text(script) => Ok(Command::Shell(script)),
        Value::List(words) => Ok(Command::Argv(each(words.into_iter().enumerate(), |(n, word)| {
            text(&format!("{at}[{n}]"), word)
        })?)),
        other => Err(misfit(node.line, at, &other, "a script, or a list such as [\"sleep\", \"60\"]")),
    }
}

fn kind(at: &str, node: Node) -> Result<Kind, Vec<Fault>> {
    const KINDS: [&str; 3] = ["service", "batch", "cron"];
    let line = node.line;
    let word = text(at, node)?;
    match word.as_str() {
        "service" => Ok(Kind::Service),
        "batch" => Ok(Kind::Batch),
        "cron" => Err(one(line, at, "cron jobs come later; use kind = \"service\" or \"batch\"".to_owned())),
        _ => {
            let hint =
                meant(&word, &KINDS).map_or_else(String::new, |kind| format!("; did you mean {kind:?}?"));
            let given = Value::Text(word).describe();
            Err(one(line, at, format!("{given} is not a kind of job; use \"service\" or \"batch\"{hint}")))
        }
    }
}

fn ports(at: &str, node: Node) -> Result<Vec<String>, Vec<Fault>> {
    const WANTED: &str = "a number of ports, or a list of names such as [\"http\"]";
    match &node.value {
        Value::Number(_) => {
            let line = node.line;
            let count: u32 = whole(at, node, "1")?;
            if count as usize > super::PORTS_MAX {
                return Err(one(line, at, format!("{count} are more than {}", super::PORTS_MAX)));
            }
            Ok((0..count).map(|n| n.to_string()).collect())
        }
        _ => each(list(at, node, WANTED)?.into_iter().enumerate(), |(n, name)| {
            Ok(text(&format!("{at}[{n}]"), name)?.to_uppercase().replace(['-', '.'], "_"))
        }),
    }
}

// === one value ===

/// A text. A number or truth value is the text of it: `args: [sleep, 100]` and `PORT: 80` mean what they look like.
fn text(at: &str, node: Node) -> Result<String, Vec<Fault>> {
    match node.value {
        Value::Text(text) | Value::Number(text) => Ok(text),
        Value::Bool(bool) => Ok(bool.to_string()),
        other @ (Value::Nothing | Value::List(_) | Value::Table(_) | Value::Date(_)) => {
            Err(misfit(node.line, at, &other, "a text"))
        }
    }
}

fn whole(at: &str, node: Node, example: &str) -> Result<u32, Vec<Fault>> {
    match &node.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| {
        misfit(
            node.line,
            at,
            &node.value,
            &format!("a whole number of at most {}, such as {example}", u32::MAX),
        )
    })
}

fn amount<E: std::fmt::Display>(
    at: &str,
    node: Node,
    example: &str,
    parse: impl Fn(&str) -> Result<u64, E>,
) -> Result<u64, Vec<Fault>> {
    match &node.value {
        Value::Number(text) | Value::Text(text) => {
            parse(text).map_err(|bad| one(node.line, at, format!("{bad}; write for example {example}")))
        }
        other => Err(misfit(node.line, at, other, &format!("an amount, such as {example}"))),
    }
}

fn duration(at: &str, node: Node) -> Result<Duration, Vec<Fault>> {
    const WANTED: &str = "a duration, such as \"5s\", \"500ms\", \"10m\" or \"1h\"";
    match &node.value {
        Value::Text(text) => parse_duration(text),
        _ => None,
    }
    .ok_or_else(|| misfit(node.line, at, &node.value, WANTED))
}

fn list(at: &str, node: Node, wanted: &str) -> Result<Vec<Node>, Vec<Fault>> {
    match node.value {
        Value::List(items) => Ok(items),
        other => Err(misfit(node.line, at, &other, wanted)),
    }
}

fn table(at: &str, node: Node, wanted: &str) -> Result<Vec<(Key, Node)>, Vec<Fault>> {
    match node.value {
        Value::Table(entries) => Ok(entries),
        other => Err(misfit(node.line, at, &other, &format!("a table, such as {wanted}"))),
    }
}

/// All results, or all faults.
fn each<I, T>(
    items: impl IntoIterator<Item = I>,
    mut read: impl FnMut(I) -> Result<T, Vec<Fault>>,
) -> Result<Vec<T>, Vec<Fault>> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        match read(item) {
            Ok(value) => good.push(value),
            Err(wrong) => faults.extend(wrong),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(faults) }
}

fn one(line: usize, key: &str, message: String) -> Vec<Fault> {
    vec![Fault { line: Some(line), key: key.to_owned(), message }]
}

fn misfit(line: usize, key: &str, given: &Value, wanted: &str) -> Vec<Fault> {
    one(line, key, format!("is {}; write {wanted}", given.describe()))
}

fn unknown(key: &Key, prefix: &str, known: &[&str]) -> Vec<Fault> {
    let shown: String = key.text.chars().take(60).collect();
    let hint = match meant(&key.text, known) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!(
            "known are {}",
            known.iter().filter(|k| **k != "job").copied().collect::<Vec<_>>().join(", ")
        ),
    };
    one(key.line, &format!("{prefix}{shown}"), format!("there is no such key; {hint}"))
}

/// Reads `500ms`, `5s`, `10m`, `1h30m`, `7d`. A bare number is refused: of what?
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = (!rest.is_empty()).then_some(Duration::ZERO)?;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let number: u64 = number.parse().ok()?;
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = after;
    }
    // What travels is milliseconds in 64 bits.
    u64::try_from(total.as_millis()).ok().map(|_| total)
}

/// A duration as [`parse_duration`] reads it: exact, largest units first.
pub fn show_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if millis >= size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
