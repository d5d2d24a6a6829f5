//! The tables and lists within a job file.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::keys;
use super::tree::{Key, Node, Value};
use super::value::{
    amount, duration, each, flag, list, misfit, one, one_or_list, table, text, unknown, whole, word,
};
use super::{
    BackOff, Check, CheckKind, Command, GiveUp, GroupTask, JobSpec, RestartPolicy, Spread, Update, Volume,
};
use framework_sdk::attributes::{Constraint, Constraints};
use framework_sdk::quantities::{parse_bytes, parse_milli};
use framework_sdk::task::Artifact;

pub(super) fn command(at: &str, node: Node) -> Result<Command, Vec<Fault>> {
    match node.value {
        Value::Text(script) => Ok(Command::Shell(script)),
        Value::List(words) => Ok(Command::Argv(each(words.into_iter().enumerate(), |(n, word)| {
            text(&format!("{at}[{n}]"), word)
        })?)),
        other => Err(misfit(node.line, at, &other, "a script, or a list such as [\"sleep\", \"60\"]")),
    }
}

pub(super) fn ports(at: &str, node: Node) -> Result<Vec<String>, Vec<Fault>> {
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
            Ok(port_name(&text(&format!("{at}[{n}]"), name)?))
        }),
    }
}

/// As it stands in the environment.
fn port_name(text: &str) -> String {
    text.to_uppercase().replace(['-', '.'], "_")
}

pub(super) fn env(at: &str, node: Node) -> Result<BTreeMap<String, String>, Vec<Fault>> {
    let entries = table(at, node, "{ KEY = \"value\" }")?;
    let read =
        each(entries, |(key, node)| Ok((key.text.clone(), text(&format!("{at}.{}", key.text), node)?)))?;
    Ok(read.into_iter().collect())
}

pub(super) fn rules(at: &str, node: Node) -> Result<Constraints, Vec<Fault>> {
    let items = one_or_list(at, node, "a list such as [\"zone=b\"]")?;
    let rules = each(items, |(at, node)| {
        let line = node.line;
        Constraint::parse(&text(&at, node)?).map_err(|bad| one(line, &at, bad.to_string()))
    })?;
    Ok(Constraints(rules))
}

pub(super) fn artifacts(at: &str, node: Node) -> Result<Vec<Artifact>, Vec<Fault>> {
    let items = list(at, node, "a list of tables with uri and, as needed, sha256, executable, name")?;
    each(items.into_iter().enumerate(), |(n, node)| artifact(&format!("{at}[{n}]"), node))
}

fn artifact(at: &str, node: Node) -> Result<Artifact, Vec<Fault>> {
    let mut artifact =
        Artifact { uri: String::new(), sha256: String::new(), executable: false, name: String::new() };
    if let Value::Text(uri) = node.value {
        artifact.uri = uri;
        return Ok(artifact);
    }
    within(at, node, "{ uri = \"https://...\" }", keys::ARTIFACT, |key, at, node| {
        match key {
            "uri" => artifact.uri = text(at, node)?,
            "sha256" => artifact.sha256 = text(at, node)?.to_lowercase(),
            "name" => artifact.name = text(at, node)?,
            "executable" => artifact.executable = flag(at, node)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(artifact)
}

/// A list of secrets, or a table of file names with the secret that each is to hold.
pub(super) fn secrets(at: &str, node: Node) -> Result<BTreeMap<String, String>, Vec<Fault>> {
    if matches!(node.value, Value::Table(_)) {
        return env(at, node);
    }
    let line = node.line;
    let items = list(at, node, "a list such as [\"db-password\"], or a table of file names and secrets")?;
    let names = each(items.into_iter().enumerate(), |(n, node)| text(&format!("{at}[{n}]"), node))?;
    let count = names.len();
    let files: BTreeMap<String, String> = names.into_iter().map(|name| (name.clone(), name)).collect();
    if files.len() < count {
        return Err(one(line, at, "names one twice; name it once".to_owned()));
    }
    Ok(files)
}

pub(super) fn restart(at: &str, node: Node, job: &mut JobSpec) -> Result<(), Vec<Fault>> {
    let (mut pause, mut given_max) = (BackOff::DEFAULT, false);
    let (mut attempts, mut window) = (0, GiveUp::WINDOW_DEFAULT);
    let mut policy = RestartPolicy::Always;
    within(at, node, "{ initial = \"1s\", max = \"60s\" }", keys::RESTART, |key, at, node| {
        match key {
            "policy" => policy = RestartPolicy::ALL[word(at, node, keys::POLICIES)?],
            "initial" => pause.initial = duration(at, node)?,
            "max" => (pause.max, given_max) = (duration(at, node)?, true),
            "attempts" => attempts = whole(at, node, "5")?,
            "window" => window = duration(at, node)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !given_max {
        pause.max = pause.max.max(pause.initial);
    }
    (job.restart, job.restart_policy) = (pause, policy);
    job.give_up = (attempts > 0).then_some(GiveUp { attempts, window });
    Ok(())
}

pub(super) fn update(at: &str, node: Node) -> Result<Update, Vec<Fault>> {
    let mut update = Update::DEFAULT;
    let mut given = (false, false);
    within(at, node, "{ max_surge = 1, max_unavailable = 0 }", keys::UPDATE, |key, at, node| {
        match key {
            "max_surge" => (update.max_surge, given.0) = (whole(at, node, "1")?, true),
            "max_unavailable" => (update.max_unavailable, given.1) = (whole(at, node, "1")?, true),
            "min_healthy" => update.min_healthy = duration(at, node)?,
            "progress_deadline" => update.progress_deadline = duration(at, node)?,
            "rollback" => update.rollback = flag(at, node)?,
            "canary" => update.canary = whole(at, node, "1")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    // Who says how many may be more means that none is to be missing.
    if given == (true, false) && update.max_surge > 0 {
        update.max_unavailable = 0;
    }
    Ok(update)
}

pub(super) fn spread(at: &str, node: Node) -> Result<Spread, Vec<Fault>> {
    let mut spread = Spread { by: String::new(), at_most: None };
    if let Value::Text(by) = node.value {
        spread.by = by;
        return Ok(spread);
    }
    within(at, node, "{ by = \"zone\", at_most = 2 }", keys::SPREAD, |key, at, node| {
        match key {
            "by" => spread.by = text(at, node)?,
            "at_most" => spread.at_most = Some(whole(at, node, "2")?).filter(|most| *most > 0),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(spread)
}

/// A port that is not named is the first of the task, which is known only when all of it has been read: see
/// [`fill_ports`].
pub(super) fn check(at: &str, node: Node) -> Result<Check, Vec<Fault>> {
    let line = node.line;
    let mut check = Check::of(CheckKind::Tcp { port: String::new() });
    let mut kinds: Vec<CheckKind> = Vec::new();
    within(at, node, "{ http = \"/health\", interval = \"10s\" }", keys::CHECK, |key, at, node| {
        match key {
            "command" => kinds.push(CheckKind::Command(command(at, node)?)),
            "http" => kinds.push(http(at, node)?),
            "tcp" => kinds.push(tcp(at, node)?),
            "interval" => check.interval = duration(at, node)?,
            "timeout" => check.timeout = duration(at, node)?,
            "failures" => check.failures = whole(at, node, "3")?,
            "delay" => check.delay = duration(at, node)?,
            "grace" => check.grace = duration(at, node)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    match (kinds.pop(), kinds.is_empty()) {
        (Some(kind), true) => Ok(Check { kind, ..check }),
        (Some(_), false) => {
            Err(one(line, at, "asks several things; keep one of command, http and tcp".to_owned()))
        }
        (None, _) => Err(one(line, at, "asks nothing; write one of command, http and tcp".to_owned())),
    }
}

fn http(at: &str, node: Node) -> Result<CheckKind, Vec<Fault>> {
    let (mut path, mut port, mut https) = ("/".to_owned(), String::new(), false);
    if let Value::Text(text) = node.value {
        return Ok(CheckKind::Http { path: text, port, https });
    }
    within(at, node, "{ path = \"/health\", port = \"http\" }", keys::HTTP, |key, at, node| {
        match key {
            "path" => path = text(at, node)?,
            "port" => port = port_name(&text(at, node)?),
            "https" => https = flag(at, node)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(CheckKind::Http { path, port, https })
}

fn tcp(at: &str, node: Node) -> Result<CheckKind, Vec<Fault>> {
    let mut port = String::new();
    if let Value::Text(text) | Value::Number(text) = node.value {
        return Ok(CheckKind::Tcp { port: port_name(&text) });
    }
    within(at, node, "{ port = \"http\" }", keys::TCP, |key, at, node| {
        match key {
            "port" => port = port_name(&text(at, node)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(CheckKind::Tcp { port })
}

/// The ports that checks go to when none is named: the first.
pub(super) fn fill_ports(ports: &[String], checks: [&mut Option<Check>; 2]) {
    for check in checks.into_iter().flatten() {
        if let (CheckKind::Http { port, .. } | CheckKind::Tcp { port }, Some(first)) =
            (&mut check.kind, ports.first())
            && port.is_empty()
        {
            port.clone_from(first);
        }
    }
}

pub(super) fn volumes(at: &str, node: Node) -> Result<Vec<Volume>, Vec<Fault>> {
    const WANTED: &str = "{ name = \"data\", size = \"1GiB\" }";
    let items = list(at, node, &format!("a list of tables such as {WANTED}"))?;
    each(items.into_iter().enumerate(), |(n, node)| {
        let mut volume = Volume { name: String::new(), size_bytes: 0, anew_after: None };
        within(&format!("{at}[{n}]"), node, WANTED, keys::VOLUME, |key, at, node| {
            match key {
                "name" => volume.name = text(at, node)?,
                "size" => volume.size_bytes = amount(at, node, "\"1GiB\"", parse_bytes)?,
                "anew_after" => volume.anew_after = Some(duration(at, node)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(volume)
    })
}

pub(super) fn tasks(at: &str, node: Node) -> Result<Vec<GroupTask>, Vec<Fault>> {
    let items = list(at, node, "a list of tables with name, command and, as needed, cpus, mem and so on")?;
    let mut tasks = each(items.into_iter().enumerate(), |(n, node)| task(&format!("{at}[{n}]"), node))?;
    if !tasks.iter().any(|task| task.leader)
        && let Some(first) = tasks.first_mut()
    {
        first.leader = true;
    }
    Ok(tasks)
}

fn task(at: &str, node: Node) -> Result<GroupTask, Vec<Fault>> {
    let mut task = GroupTask {
        name: String::new(),
        leader: false,
        command: Command::Argv(Vec::new()),
        cpus_milli: JobSpec::CPUS_MILLI_DEFAULT,
        mem_bytes: JobSpec::MEM_BYTES_DEFAULT,
        disk_bytes: 0,
        ports: Vec::new(),
        env: BTreeMap::new(),
        artifacts: Vec::new(),
        secrets: BTreeMap::new(),
        health: None,
        readiness: None,
    };
    within(at, node, "{ name = \"web\", command = \"...\" }", keys::TASK, |key, at, node| {
        match key {
            "name" => task.name = text(at, node)?,
            "leader" => task.leader = flag(at, node)?,
            "command" => task.command = command(at, node)?,
            "cpus" => task.cpus_milli = amount(at, node, "0.5", parse_milli)?,
            "mem" => task.mem_bytes = amount(at, node, "\"64MiB\"", parse_bytes)?,
            "disk" => task.disk_bytes = amount(at, node, "\"1GiB\"", parse_bytes)?,
            "ports" => task.ports = ports(at, node)?,
            "env" => task.env = env(at, node)?,
            "artifacts" => task.artifacts = artifacts(at, node)?,
            "secrets" => task.secrets = secrets(at, node)?,
            "health" => task.health = Some(check(at, node)?),
            "readiness" => task.readiness = Some(check(at, node)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    fill_ports(&task.ports, [&mut task.health, &mut task.readiness]);
    Ok(task)
}

/// Reads the entries of a table; `take` says whether it knew the key.
fn within(
    at: &str,
    node: Node,
    wanted: &str,
    known: &'static [keys::Key],
    mut take: impl FnMut(&str, &str, Node) -> Result<bool, Vec<Fault>>,
) -> Result<(), Vec<Fault>> {
    each(table(at, node, wanted)?, |(key, node): (Key, Node)| {
        match take(&key.text, &format!("{at}.{}", key.text), node)? {
            true => Ok(()),
            false => Err(unknown(&key, &format!("{at}."), known)),
        }
    })
    .map(|_| ())
}
