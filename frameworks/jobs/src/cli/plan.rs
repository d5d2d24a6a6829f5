//! `stoa job plan`: what applying a file would change, without changing it.

use std::collections::BTreeSet;

use framework_sdk::Profile;
use serde::Serialize;

use super::client::Client;
use super::failure::{BAD, Failure, NOT_FOUND, Stop};
use super::fits::{self, Fit, Starts};
use super::job::read;
use super::printer::Printer;
use super::show::{API_VERSION, Format, document, escaped, now_ms};
use super::{DocumentOutput, PlanArgs};
use crate::spec::{Command, Cron, Difference, JobSpec, Kind, show_duration};
use crate::wire::{GetRequest, JobView, TaskState, VolumeState};

/// So many runs of a cron job are shown.
const RUNS_SHOWN: usize = 5;

/// What would become of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Created,
    Updated,
    Unchanged,
    /// The framework would not take it on.
    Refused,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plans {
    api_version: &'static str,
    /// Whether anything would change.
    changes: bool,
    items: Vec<Plan>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    name: String,
    kind: &'static str,
    outcome: Outcome,
    /// As it stands; 0 when there is no such job.
    revision: u64,
    keys: Vec<KeyChange>,
    /// What would be done, in words.
    effects: Vec<String>,
    /// Whether what is started fits; null where nothing is.
    fits: Option<Fit>,
    /// Of a cron job.
    next_runs: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyChange {
    key: String,
    old: Option<String>,
    new: Option<String>,
    /// Whether running tasks are replaced for it.
    replaces: bool,
}

pub(super) async fn plan(args: &PlanArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let specs = read(&args.file)?;
    let mut client = Client::new(profile);
    let now_ms = now_ms();
    let (mut items, mut starts) = (Vec::new(), Vec::new());
    for spec in &specs {
        let asked = GetRequest { name: spec.name.clone(), tasks: true };
        let view = match client.get(asked).await {
            Ok(reply) => reply.jobs.into_iter().next(),
            Err(failure) if failure.exit == NOT_FOUND => None,
            Err(failure) => return Err(failure.into()),
        };
        let (plan, begins) = of(spec, view, now_ms)?;
        items.push(plan);
        starts.push((spec, begins));
    }
    for (plan, fit) in items.iter_mut().zip(fits::ask(&client, &starts).await) {
        plan.fits = fit;
    }
    let changes = items.iter().any(|plan| plan.outcome != Outcome::Unchanged);
    let plans = Plans { api_version: API_VERSION, changes, items };
    let text = match args.output {
        DocumentOutput::Table => shown(&plans),
        DocumentOutput::Json => document(&plans, Format::Json)?,
        DocumentOutput::Yaml => document(&plans, Format::Yaml)?,
    };
    printer.data(text).await?;
    Ok(if changes { BAD } else { 0 })
}

/// What would become of a job, and what of it would be started at once.
fn of(spec: &JobSpec, view: Option<JobView>, now_ms: u64) -> Result<(Plan, Starts), Failure> {
    let mut plan = Plan {
        name: spec.name.clone(),
        kind: spec.kind.as_str(),
        outcome: Outcome::Created,
        revision: 0,
        keys: Vec::new(),
        effects: Vec::new(),
        fits: None,
        next_runs: spec.cron.as_ref().map(|cron| next_runs(cron, now_ms)).unwrap_or_default(),
    };
    let Some(view) = view else {
        plan.keys = own_keys(spec);
        plan.effects = begins(spec);
        return Ok((plan, all_at_once(spec)));
    };
    let stored = view.spec.clone().unwrap_or_default();
    let old = JobSpec::from_wire(stored).map_err(|faults| {
        let message = format!("the job as it stands cannot be read: {faults}");
        Failure::new(BAD, message, "is the framework of another version than this `stoa`?")
    })?;
    plan.revision = view.revision;
    let summary = view.summary.unwrap_or_default();
    let differences = old.differences(spec);
    if differences.is_empty() && !summary.stopped {
        plan.outcome = Outcome::Unchanged;
        return Ok((plan, Starts::Nothing));
    }
    plan.outcome = Outcome::Updated;
    let mut starts = Starts::Nothing;
    plan.effects = if old.kind != spec.kind {
        plan.outcome = Outcome::Refused;
        vec![format!(
            "refused: it is a {0}; end it first with `stoa job stop --purge {1}`",
            old.kind.as_str(),
            spec.name
        )]
    } else if spec.kind == Kind::Batch && !summary.over {
        plan.outcome = Outcome::Refused;
        vec![format!(
            "refused: the batch is not over; wait for it, or end it with `stoa job stop {}`",
            spec.name
        )]
    } else if has_volumes(&view) && !old.shares_volumes(spec) {
        plan.outcome = Outcome::Refused;
        vec![format!(
            "refused: what it says of volumes, and its role, cannot change while they are there; destroy them with `stoa job stop --purge {}`",
            spec.name
        )]
    } else if summary.stopped || spec.kind == Kind::Batch {
        starts = all_at_once(spec);
        begins(spec)
    } else {
        let replaced = replaced(spec, &view, &differences);
        starts = beside_what_runs(&old, spec, replaced);
        changes(&old, spec, &view, replaced)
    };
    plan.keys = differences.into_iter().map(changed).collect();
    if starts != Starts::Nothing && !(old.volumes.is_empty() && spec.volumes.is_empty()) {
        starts = Starts::AtHome;
    }
    Ok((plan, starts))
}

/// A job that begins starts as many as it runs at once; a cron job does whenever it is due.
fn all_at_once(spec: &JobSpec) -> Starts {
    let most = spec.parallel.unwrap_or(spec.instances);
    Starts::Some(u64::from(spec.instances.min(most)))
}

/// What a job that goes on starts while what runs of it is still there.
fn beside_what_runs(old: &JobSpec, new: &JobSpec, replaced: u32) -> Starts {
    if new.kind == Kind::Cron {
        return all_at_once(new);
    }
    let update = &new.update;
    let more = new.instances.saturating_sub(old.instances);
    let canaries = if update.canary > 0 { update.canary } else { u32::MAX };
    let surge = update.max_surge.min(replaced).min(canaries);
    match more.saturating_add(surge) {
        0 if replaced > 0 => Starts::AfterEnds,
        0 => Starts::Nothing,
        count => Starts::Some(u64::from(count)),
    }
}

/// So many that run are replaced.
fn replaced(new: &JobSpec, view: &JobView, differences: &[Difference]) -> u32 {
    let live = |state: TaskState| !state.is_terminal() && state != TaskState::TaskWaiting;
    let running = view.tasks.iter().filter(|task| live(task.state()) && task.instance < new.instances);
    // An instance may be several tasks.
    let running = running.map(|task| task.instance).collect::<BTreeSet<_>>();
    let replaces = differences.iter().any(Difference::replaces);
    if replaces { u32::try_from(running.len()).unwrap_or(u32::MAX) } else { 0 }
}

fn has_volumes(view: &JobView) -> bool {
    view.volumes.iter().any(|volume| volume.state() != VolumeState::VolumeToBeDestroyed)
}

/// Of a new job: what it says beyond the defaults.
fn own_keys(spec: &JobSpec) -> Vec<KeyChange> {
    let plain = JobSpec::new(&spec.name, spec.kind, Command::Argv(Vec::new()));
    let own = plain.differences(spec).into_iter().filter(|difference| difference.new.is_some());
    own.map(|difference| KeyChange { key: difference.key, old: None, new: difference.new, replaces: false })
        .collect()
}

fn changed(difference: Difference) -> KeyChange {
    let replaces = difference.replaces();
    KeyChange { key: difference.key, old: difference.old, new: difference.new, replaces }
}

/// Of a job that does not run.
fn begins(spec: &JobSpec) -> Vec<String> {
    let count = |n: u32| if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") };
    let mut effects = Vec::new();
    match spec.kind {
        Kind::Service => effects.push(format!("starts {}", count(spec.instances))),
        Kind::Batch => {
            let most = spec.parallel.filter(|most| *most < spec.instances);
            let most = most.map_or_else(String::new, |most| format!(", at most {most} at once"));
            let after = match spec.after.as_slice() {
                [] => String::new(),
                names => format!(", once these have ended well: {}", names.join(", ")),
            };
            effects.push(format!("runs {}{most}{after}", count(spec.instances)));
        }
        Kind::Cron => effects.push(scheduled(spec)),
    }
    effects
}

fn scheduled(spec: &JobSpec) -> String {
    if spec.cron.as_ref().is_some_and(|cron| cron.paused) {
        "starts no run: it is paused".to_owned()
    } else {
        "runs when its schedule says".to_owned()
    }
}

/// Of a service or cron job that goes on.
fn changes(old: &JobSpec, new: &JobSpec, view: &JobView, replaced: u32) -> Vec<String> {
    if new.kind == Kind::Cron {
        return vec![format!("{}; runs that have begun go on as they are", scheduled(new))];
    }
    let mut effects = Vec::new();
    let (before, after) = (old.instances, new.instances);
    if after > before {
        effects.push(format!("starts {} more", after - before));
    } else if after < before {
        effects.push(format!("ends {} of {before}: those from number {after} on", before - after));
    }
    if replaced > 0 {
        let update = &new.update;
        let mut how = match (update.max_surge, update.max_unavailable) {
            (0, first) => format!("replaces {replaced} running, {first} at a time: each is ended first"),
            (more, 0) => {
                format!("replaces {replaced} running, {more} at a time: the new one is started first")
            }
            (more, first) => {
                format!(
                    "replaces {replaced} running: {more} at a time started first, and {first} ended first"
                )
            }
        };
        if !update.min_healthy.is_zero() {
            how.push_str(&format!("; each must be ready for {}", show_duration(update.min_healthy)));
        }
        effects.push(how);
        if update.canary > 0 {
            effects.push(format!("changes {} first, and waits for somebody to go on", update.canary));
        }
        if update.rollback {
            effects.push(format!(
                "goes back to revision {} without progress for {}",
                view.revision,
                show_duration(update.progress_deadline)
            ));
        }
    }
    if effects.is_empty() {
        effects.push("leaves running tasks as they are".to_owned());
    }
    effects
}

fn next_runs(cron: &Cron, now_ms: u64) -> Vec<String> {
    let runs = std::iter::successors(cron.next(now_ms), |at| cron.next(*at));
    runs.take(RUNS_SHOWN).map(|at| cron.timezone.show(at)).collect()
}

fn shown(plans: &Plans) -> String {
    let mut text = String::new();
    for plan in &plans.items {
        let name = escaped(&plan.name);
        let (sign, what) = match plan.outcome {
            Outcome::Created => ('+', format!("is new ({})", plan.kind)),
            Outcome::Updated => {
                ('~', format!("changes (revision {} -> {})", plan.revision, plan.revision + 1))
            }
            Outcome::Unchanged => ('=', format!("is as it is (revision {})", plan.revision)),
            Outcome::Refused if plan.revision == 0 => ('!', format!("cannot be taken on ({})", plan.kind)),
            Outcome::Refused => ('!', format!("cannot change (revision {})", plan.revision)),
        };
        text.push_str(&format!("{sign} {name} {what}\n"));
        let width = plan.keys.iter().map(|key| key.key.chars().count()).max().unwrap_or(0);
        for change in &plan.keys {
            let key = escaped(&change.key);
            let value = |value: &Option<String>| value.as_deref().map_or("(nothing)".to_owned(), escaped);
            let values = match plan.outcome {
                Outcome::Created => value(&change.new),
                _ => format!("{} -> {}", value(&change.old), value(&change.new)),
            };
            text.push_str(&format!("    {key:width$}  {values}\n"));
        }
        for effect in &plan.effects {
            text.push_str(&format!("  {}\n", escaped(effect)));
        }
        if let Some(fit) = &plan.fits {
            text.push_str(&fit.lines());
        }
        if !plan.next_runs.is_empty() {
            text.push_str(&format!("  next runs:\n    {}\n", plan.next_runs.join("\n    ")));
        }
    }
    if !plans.changes {
        text.push_str("nothing would change\n");
    }
    text
}
