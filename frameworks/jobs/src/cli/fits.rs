//! Whether what a plan would start fits now: the masters try it on a copy of the pool. Nothing is guessed; what they cannot
//! know is said.

use framework_sdk::demand::Demand;
use framework_sdk::explain::{Explanation, Verdict};
use framework_sdk::id::DemandId;
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::views::{Explain, Supposed};
use serde::Serialize;

use super::client::Client;
use super::failure::Failure;
use super::show::escaped;
use crate::scheduler::task_of;
use crate::spec::JobSpec;

/// So many jobs of a file are asked about, those that come first: all of them together, for they compete.
const ASKED_MAX: usize = Supposed::DEMANDS_MAX;

/// Whether so many instances fit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fit {
    /// Null where that is not known: the verdict says why.
    now: Option<bool>,
    /// So many would be started at once.
    wanted: u64,
    /// So many of them came on a copy of the pool.
    fits: u64,
    /// A code of the reasons; empty where it is not known.
    code: String,
    verdict: String,
    /// What would help, each verified.
    help: Vec<String>,
    /// What bears on it and is not part of the verdict.
    notes: Vec<String>,
}

/// What a job would start at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    /// Nothing that needs room.
    Nothing,
    /// So many instances.
    Some(u64),
    /// Instances, each once another of it has ended.
    AfterEnds,
}

/// What comes of each, in order; `None` of those that start nothing.
pub(super) async fn ask(client: &Client, jobs: &[(&JobSpec, Starts)]) -> Vec<Option<Fit>> {
    let counted = |(at, (spec, starts)): (usize, &(&JobSpec, Starts))| match starts {
        Starts::Some(count) if *count > 0 => Some((at, spec.name.clone(), *count)),
        Starts::Some(_) | Starts::Nothing | Starts::AfterEnds => None,
    };
    let asked: Vec<(usize, String, u64)> = jobs.iter().enumerate().filter_map(counted).collect();
    let mut fits: Vec<Option<Fit>> = jobs.iter().map(|(_, starts)| without_asking(*starts)).collect();
    let (first, others) = asked.split_at(asked.len().min(ASKED_MAX));
    for (at, _, count) in others {
        let why = format!("the masters are asked about {ASKED_MAX} jobs of a file at most");
        fits[*at] = Some(Fit::unknown(*count, why));
    }
    let specs: Vec<(&JobSpec, u64)> = first.iter().map(|(at, _, count)| (jobs[*at].0, *count)).collect();
    let told = if specs.is_empty() { Ok(Vec::new()) } else { suppose(client, &specs).await };
    for (n, (at, name, count)) in first.iter().enumerate() {
        let fit = match &told {
            Ok(told) => match told.get(n) {
                Some(explanation) => Fit::of(jobs[*at].0, *count, explanation),
                None => Fit::unknown(*count, format!("the masters said nothing of {name}")),
            },
            Err(failure) => Fit::unknown(*count, failure.message.clone()),
        };
        fits[*at] = Some(fit);
    }
    fits
}

fn without_asking(starts: Starts) -> Option<Fit> {
    match starts {
        Starts::Nothing | Starts::Some(_) => None,
        Starts::AfterEnds => {
            let why = "each is ended before the one that takes its place is started, in the room that is there then";
            Some(Fit::unknown(0, why.to_owned()))
        }
    }
}

async fn suppose(client: &Client, jobs: &[(&JobSpec, u64)]) -> Result<Vec<Explanation>, Failure> {
    let framework = client.framework().await?;
    // Jobs that name no role are in the framework's first.
    let default = framework.info.roles.first().cloned().unwrap_or_else(Role::default_role);
    let demands = jobs.iter().filter_map(|(spec, count)| demand(spec, *count, &default));
    let supposed = Supposed { framework: framework.id.to_string(), demands: demands.collect() };
    client.explain_at_master(Explain::Supposed(supposed)).await
}

/// As the framework will declare it.
fn demand(spec: &JobSpec, count: u64, default: &Role) -> Option<Demand> {
    let mut shape = task_of(spec).shape();
    let disk = spec.volumes.iter().fold(0u64, |sum, volume| sum.saturating_add(volume.size_bytes));
    shape.add(&Amount::scalars(Quantities::ZERO.with_disk(disk)));
    Some(Demand {
        // No job has such a name.
        id: DemandId::new(&format!("{}@plan", spec.name)).ok()?,
        role: spec.role.clone().unwrap_or_else(|| default.clone()),
        shape,
        count,
        constraints: spec.constraints.clone(),
        priority: spec.priority,
    })
}

// === impl Fit ===

impl Fit {
    fn unknown(wanted: u64, why: String) -> Fit {
        Fit {
            now: None,
            wanted,
            fits: 0,
            code: String::new(),
            verdict: why,
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn of(spec: &JobSpec, wanted: u64, told: &Explanation) -> Fit {
        let mut notes = told.notes.clone();
        if let Some(most) = spec.spread.as_ref().and_then(|spread| spread.at_most.map(|n| (n, &spread.by))) {
            notes.push(format!(
                "that at most {} run with one {} is kept by the jobs framework, and not part of the verdict",
                most.0, most.1
            ));
        }
        if !spec.after.is_empty() {
            notes.push("asked as if it began now".to_owned());
        }
        let now = told.code == Verdict::Served.code() && told.fits >= wanted;
        Fit {
            now: Some(now),
            wanted,
            fits: told.fits,
            code: told.code.clone(),
            verdict: told.verdict.clone(),
            help: told.help.clone(),
            notes,
        }
    }

    /// As lines of a plan.
    pub fn lines(&self) -> String {
        let verdict = escaped(&self.verdict);
        let mut text = match self.now {
            Some(true) if self.wanted > 1 => format!("  fits now: {} at once\n", self.wanted),
            Some(true) => "  fits now\n".to_owned(),
            Some(false) => format!("  does not fit now: {verdict} ({})\n", escaped(&self.code)),
            None => format!("  whether it fits is not known: {verdict}\n"),
        };
        self.help.iter().for_each(|help| text.push_str(&format!("    help: {} (verified)\n", escaped(help))));
        self.notes.iter().for_each(|note| text.push_str(&format!("    note: {}\n", escaped(note))));
        text
    }
}
