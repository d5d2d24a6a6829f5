//! Agents.

use std::collections::BTreeMap;

use proto::agent::AgentState;
use proto::operator::{AgentView, Call, EventKind, List, ReplyKind};
use proto::quantities::Scalar;
use serde::Serialize;

use super::{Change, View, amount_of, matches, show, used_of};
use crate::duration::show_age;
use crate::shapes::{Portion, Quantities, portions};
use crate::sheet::Sheet;
use crate::table::{Cell, Tone};

/// An agent in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    id: String,
    hostname: String,
    address: String,
    state: &'static str,
    since_ms: u64,
    /// Null unless it gets no new work.
    drain: Option<DrainShape>,
    tasks: u64,
    total: Quantities,
    used: Quantities,
    offered: Quantities,
    resources: Vec<Portion>,
    attributes: BTreeMap<String, String>,
    version: String,
}

/// Why an agent gets no new work.
#[derive(Debug, Serialize)]
struct DrainShape {
    since_ms: u64,
    /// Null: what runs ends by itself.
    deadline_ms: Option<u64>,
    reason: String,
    by: String,
    /// Whether nothing runs on it any more.
    drained: bool,
}

/// How it stands, in one word.
fn word(agent: &AgentView) -> (&'static str, Tone) {
    match (agent.state, &agent.drain) {
        (AgentState::Active, Some(_)) if agent.tasks == 0 => ("drained", Tone::Dim),
        (AgentState::Active, Some(_)) => ("draining", Tone::Warn),
        (state, _) => (state.as_str(), tone(state)),
    }
}

/// How far it is with draining, and why it does.
fn draining(agent: &AgentView, now_ms: u64) -> String {
    let Some(drain) = &agent.drain else { return String::new() };
    let mut text = format!("for {}", show_age(drain.since_ms, now_ms));
    text.push_str(&match agent.tasks {
        0 => ", nothing is left".to_owned(),
        left => format!(", {left} tasks left"),
    });
    if drain.deadline_ms > now_ms {
        text.push_str(&format!(", ended in {}", show_age(now_ms, drain.deadline_ms)));
    } else if drain.deadline_ms > 0 && agent.tasks > 0 {
        text.push_str(", being ended");
    }
    text.push_str(&format!(", by {}", drain.by));
    if !drain.reason.is_empty() {
        text.push_str(&format!(": {}", drain.reason));
    }
    text
}

fn tone(state: AgentState) -> Tone {
    match state {
        AgentState::Active => Tone::Good,
        AgentState::Disconnected => Tone::Warn,
        AgentState::Unreachable => Tone::Bad,
        AgentState::Gone => Tone::Dim,
    }
}

impl View for AgentView {
    const KIND: &'static str = "Agent";
    const LIST: &'static str = "AgentList";
    const CHANGE: &'static str = "AgentChange";
    const ONE: &'static str = "agent";
    const MANY: &'static str = "agents";
    const COLUMNS: &'static [&'static str] = &["ID", "HOSTNAME", "STATE", "TASKS", "CPUS", "MEM", "SINCE"];
    const WIDE: &'static [&'static str] = &["DISK", "GPUS", "OFFERED", "ATTRIBUTES", "ADDRESS", "VERSION"];
    type Shape<'a> = Shape;

    fn call(list: List) -> Call {
        Call::Agents(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Agents(agents) = reply { Some(agents) } else { None }
    }

    fn of_event(event: EventKind) -> Change<Self> {
        match event {
            EventKind::Snapshot(all) => Change::All(all.agents),
            EventKind::AgentChanged(agent) => Change::Put(agent),
            EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::TaskChanged(_)
            | EventKind::OfferMade(_)
            | EventKind::OfferEnded(_)
            | EventKind::RoleChanged(_) => Change::Other,
        }
    }

    fn id(&self) -> String {
        self.info.id.to_string()
    }

    fn aliases(&self) -> Vec<String> {
        vec![self.info.hostname.clone()]
    }

    fn selected(&self, list: &List) -> bool {
        matches(&list.agent, &[self.info.id.as_str(), &self.info.hostname])
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let total = self.total.quantities();
        let (word, tone) = word(self);
        vec![
            Cell::new(self.info.id.as_str()),
            Cell::new(&self.info.hostname),
            Cell::toned(word, tone),
            Cell::new(self.tasks.to_string()),
            Cell::new(used_of(&Scalar::Cpus, &self.used, &total)),
            Cell::new(used_of(&Scalar::Mem, &self.used, &total)),
            Cell::new(show_age(self.since_ms, now_ms)),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        let total = self.total.quantities();
        vec![
            Cell::new(used_of(&Scalar::Disk, &self.used, &total)),
            Cell::new(amount_of(&Scalar::Gpus, &total)),
            Cell::new(show(&self.offered)),
            Cell::new(self.info.attributes.to_string()),
            Cell::new(&self.info.address),
            Cell::new(&self.info.version),
        ]
    }

    fn shape(&self) -> Shape {
        Shape {
            id: self.id(),
            hostname: self.info.hostname.clone(),
            address: self.info.address.clone(),
            state: self.state.as_str(),
            since_ms: self.since_ms,
            drain: self.drain.as_ref().map(|drain| DrainShape {
                since_ms: drain.since_ms,
                deadline_ms: (drain.deadline_ms > 0).then_some(drain.deadline_ms),
                reason: drain.reason.clone(),
                by: drain.by.clone(),
                drained: self.tasks == 0,
            }),
            tasks: self.tasks,
            total: (&self.total.quantities()).into(),
            used: (&self.used).into(),
            offered: (&self.offered).into(),
            resources: portions(&self.total),
            attributes: self
                .info
                .attributes
                .0
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            version: self.info.version.clone(),
        }
    }

    fn sheet(&self, now_ms: u64) -> Sheet {
        let mut sheet = Sheet::default();
        sheet
            .fact("Agent", self.info.id.as_str())
            .fact("Hostname", &self.info.hostname)
            .fact("State", format!("{} for {}", self.state.as_str(), show_age(self.since_ms, now_ms)))
            .fact("Draining", draining(self, now_ms))
            .fact("Address", &self.info.address)
            .fact("Version", &self.info.version)
            .fact("Attributes", self.info.attributes.to_string())
            .fact("Total", self.total.to_string())
            .fact("Used", self.used.to_string())
            .fact("Offered", self.offered.to_string())
            .fact("Tasks", self.tasks.to_string());
        sheet
    }
}
