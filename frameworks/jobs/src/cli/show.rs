//! Jobs as tables for people and documents for programs.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use framework_sdk::quantities::{show_bytes, show_milli};
use serde::Serialize;

use super::failure::{BAD, Failure};
use crate::spec::{JobSpec, show_duration};
use crate::wire::{JobKind, JobSpec as WireSpec, JobView, Progress, Setback, Task, VolumeState, VolumeView};

/// Of every document; a change that is not an addition makes another.
pub(super) const API_VERSION: &str = "stoa.jobs/v1";

/// What programs read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Json,
    Yaml,
}

pub(super) fn document(value: &impl Serialize, format: Format) -> Result<String, Failure> {
    let failed = |why: String| Failure::new(BAD, format!("cannot write the document: {why}"), "");
    match format {
        Format::Json => serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|error| failed(error.to_string())),
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| failed(error.to_string())),
    }
}

/// Text that others chose, made harmless for a terminal: what is not visible is shown as `\n` or `\u{1b}`.
pub(super) fn escaped(text: &str) -> String {
    let special = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if special(c) {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// The columns of a job.
pub(super) fn job_head(wide: bool) -> Vec<&'static str> {
    let mut head = vec!["NAME", "KIND", "STATE", "WANTED", "RUNNING", "FINISHED", "FAILED", "RESTARTS"];
    if wide {
        head.extend(["CPUS", "MEM", "DISK", "ROLE", "CONSTRAINTS", "REVISION", "COMMAND"]);
    }
    head
}

pub(super) fn job_row(job: &JobView, wide: bool) -> Vec<String> {
    let spec = job.spec.clone().unwrap_or_default();
    let s = job.summary.unwrap_or_default();
    let mut row = vec![
        escaped(&spec.name),
        kind(spec.kind()).to_owned(),
        state(job).to_owned(),
        s.wanted.to_string(),
        s.running.to_string(),
        s.finished.to_string(),
        s.failed.to_string(),
        s.restarts.to_string(),
    ];
    if wide {
        let role = if spec.role.is_empty() { "-".to_owned() } else { escaped(&spec.role) };
        let constraints =
            if spec.constraints.is_empty() { "-".to_owned() } else { escaped(&spec.constraints.join(",")) };
        let command: String = spec.argv.join(" ").chars().take(60).collect();
        let [cpus, mem, disk] = amounts(&spec);
        row.extend([show_milli(cpus), show_bytes(mem), show_bytes(disk)]);
        row.extend([role, constraints, job.revision.to_string(), escaped(&command)]);
    }
    row
}

/// What each instance needs, whether it is one task or several.
fn amounts(spec: &WireSpec) -> [u64; 3] {
    let own = [spec.cpus_milli, spec.mem_bytes, spec.disk_bytes];
    spec.tasks.iter().fold(own, |[cpus, mem, disk], task| {
        let add = u64::saturating_add;
        [add(cpus, task.cpus_milli), add(mem, task.mem_bytes), add(disk, task.disk_bytes)]
    })
}

pub(super) fn task_head(wide: bool) -> Vec<&'static str> {
    let mut head = vec!["TASK", "NAME", "STATE", "HOST", "EXIT", "MESSAGE"];
    if wide {
        head.extend(["ATTEMPT", "AGENT"]);
    }
    head
}

pub(super) fn task_row(task: &Task, wide: bool) -> Vec<String> {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { escaped(text) };
    let exit = match (task.exit_code, task.exit_signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "-".to_owned(),
    };
    let mut row = vec![
        or_dash(&task.task_id),
        escaped(&task.name),
        task.state().word().to_owned(),
        or_dash(&task.hostname),
        exit,
        or_dash(&task.message),
    ];
    if wide {
        row.extend([task.attempt.to_string(), or_dash(&task.agent_id)]);
    }
    row
}

/// The columns of a volume.
pub(super) const VOLUME_HEAD: [&str; 6] = ["VOLUME", "NAME", "INSTANCE", "STATE", "HOST", "SIZE"];

pub(super) fn volume_row(volume: &VolumeView) -> Vec<String> {
    let host = if volume.hostname.is_empty() { &volume.agent_id } else { &volume.hostname };
    vec![
        escaped(&volume.volume_id),
        escaped(&volume.name),
        volume.instance.to_string(),
        volume_state(volume.state()).to_owned(),
        escaped(host),
        show_bytes(volume.size_bytes),
    ]
}

fn volume_state(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Unspecified => "unknown",
        VolumeState::VolumeAskedFor => "asked-for",
        VolumeState::VolumeKept => "kept",
        VolumeState::VolumeToBeDestroyed => "to-be-destroyed",
    }
}

/// Columns as wide as their widest cell.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    let mut widths = vec![0; head.len()];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    std::iter::once(&head).chain(rows).map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    let line: Vec<String> = cells.collect();
    format!("{}\n", line.join("  ").trim_end())
}

fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::JobService => "service",
        JobKind::JobBatch => "batch",
        JobKind::JobCron => "cron",
        JobKind::Unspecified => "unknown",
    }
}

/// How a job is, in a word.
pub(super) fn state(job: &JobView) -> &'static str {
    let s = job.summary.unwrap_or_default();
    let cron = job.spec.as_ref().and_then(|spec| spec.cron.as_ref());
    match (s.over, s.stopped) {
        (true, true) => "stopped",
        (true, false) if s.failed > 0 => "failed",
        (true, false) => "finished",
        (false, true) => "stopping",
        (false, false) if cron.is_some() && s.running > 0 => "running",
        (false, false) if cron.is_some_and(|cron| cron.paused) => "paused",
        (false, false) if cron.is_some() => "scheduled",
        (false, false) if s.running + s.finished + s.failed >= s.wanted => "running",
        (false, false) if s.running > 0 => "partly-running",
        (false, false) => "waiting",
    }
}

fn progress(progress: Progress) -> Option<&'static str> {
    match progress {
        Progress::Unspecified => None,
        Progress::UnderWay => Some("under-way"),
        Progress::Done => Some("done"),
        Progress::CanaryWaits => Some("canary-waits"),
        Progress::GoesBack => Some("goes-back"),
        Progress::RolledBack => Some("rolled-back"),
        Progress::Stopped => Some("stopped"),
    }
}

fn setback(setback: Setback) -> Option<&'static str> {
    match setback {
        Setback::Unspecified => None,
        Setback::Deadline => Some("deadline"),
        Setback::Failures => Some("failures"),
        Setback::Abandoned => Some("abandoned"),
    }
}

/// Milliseconds since 1970, by the clock of this machine.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// When a run of a cron job is due next, and how the clocks of its time zone show that.
pub(super) fn next_run(job: &JobView) -> Option<(u64, String)> {
    if job.summary.is_some_and(|summary| summary.stopped) {
        return None;
    }
    let cron = JobSpec::from_wire(job.spec.clone()?).ok()?.cron?;
    let at = cron.next(now_ms())?;
    Some((at, cron.timezone.show(at)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Jobs {
    api_version: &'static str,
    framework_id: String,
    items: Vec<JobShape>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobShape {
    name: String,
    kind: &'static str,
    state: &'static str,
    /// Of a run of a cron job: which one; else empty.
    parent: String,
    revision: u64,
    created_ms: u64,
    ephemeral: bool,
    instances: u32,
    wanted: u32,
    running: u32,
    finished: u32,
    failed: u32,
    restarts: u64,
    /// Of a service that runs: how far what was asked for last is.
    progress: Option<&'static str>,
    /// Why it failed, if it did.
    setback: Option<&'static str>,
    cpus_milli: u64,
    mem_bytes: u64,
    disk_bytes: u64,
    command: Vec<String>,
    shell: bool,
    env: BTreeMap<String, String>,
    ports: Vec<String>,
    constraints: Vec<String>,
    role: String,
    user: String,
    kill_grace: String,
    retries: u32,
    /// Every key that has a value, in the words of job files; empty when this `stoa` cannot read the job.
    spec: BTreeMap<String, String>,
    /// Of a cron job that is neither paused nor stopped.
    next_run_ms: Option<u64>,
    tasks: Vec<TaskShape>,
    volumes: Vec<VolumeShape>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeShape {
    id: String,
    name: String,
    instance: u32,
    state: &'static str,
    agent_id: String,
    hostname: String,
    size_bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskShape {
    id: String,
    name: String,
    instance: u32,
    /// Of an instance that is several tasks: which of them; else empty.
    part: String,
    attempt: u32,
    state: &'static str,
    agent_id: String,
    hostname: String,
    exit_code: Option<i32>,
    exit_signal: Option<i32>,
    message: String,
    at_ms: u64,
}

// === impl Jobs ===

impl Jobs {
    pub fn new(framework_id: String, jobs: Vec<JobView>) -> Jobs {
        Jobs { api_version: API_VERSION, framework_id, items: jobs.into_iter().map(job_shape).collect() }
    }
}

fn job_shape(job: JobView) -> JobShape {
    let (state, next_run) = (state(&job), next_run(&job));
    let s = job.summary.unwrap_or_default();
    let spec = job.spec.unwrap_or_default();
    let lines = JobSpec::from_wire(spec.clone()).map(|spec| spec.lines()).unwrap_or_default();
    let [cpus_milli, mem_bytes, disk_bytes] = amounts(&spec);
    JobShape {
        kind: kind(spec.kind()),
        name: spec.name,
        state,
        parent: job.parent,
        revision: job.revision,
        created_ms: job.created_ms,
        ephemeral: job.ephemeral,
        instances: spec.instances,
        wanted: s.wanted,
        running: s.running,
        finished: s.finished,
        failed: s.failed,
        restarts: s.restarts,
        progress: progress(s.progress()),
        setback: setback(s.setback()),
        cpus_milli,
        mem_bytes,
        disk_bytes,
        command: spec.argv,
        shell: spec.shell,
        env: spec.env,
        ports: spec.ports,
        constraints: spec.constraints,
        role: spec.role,
        user: spec.user,
        kill_grace: show_duration(std::time::Duration::from_millis(spec.kill_grace_ms)),
        retries: spec.retries,
        spec: lines.into_iter().collect(),
        next_run_ms: next_run.map(|(at, _)| at),
        tasks: job.tasks.into_iter().map(task_shape).collect(),
        volumes: job.volumes.into_iter().map(volume_shape).collect(),
    }
}

fn volume_shape(volume: VolumeView) -> VolumeShape {
    VolumeShape {
        state: volume_state(volume.state()),
        id: volume.volume_id,
        name: volume.name,
        instance: volume.instance,
        agent_id: volume.agent_id,
        hostname: volume.hostname,
        size_bytes: volume.size_bytes,
    }
}

fn task_shape(task: Task) -> TaskShape {
    TaskShape {
        state: task.state().word(),
        id: task.task_id,
        name: task.name,
        instance: task.instance,
        part: task.part,
        attempt: task.attempt,
        agent_id: task.agent_id,
        hostname: task.hostname,
        exit_code: task.exit_code,
        exit_signal: task.exit_signal,
        message: task.message,
        at_ms: task.at_ms,
    }
}
