//! Frameworks.

use std::collections::BTreeMap;

use proto::operator::{Call, EventKind, FrameworkView, List, ReplyKind};
use proto::quantities::Scalar;
use serde::Serialize;

use super::{Change, View, joined, matches, show};
use crate::duration::{show_age, show_duration};
use crate::shapes::Quantities;
use crate::sheet::Sheet;
use crate::table::{Cell, Tone};

/// A framework in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    id: String,
    name: String,
    principal: String,
    connected: bool,
    since_ms: u64,
    roles: Vec<String>,
    suppressed_roles: Vec<String>,
    tasks: u64,
    used: Quantities,
    offered: Quantities,
    failover_timeout_ms: u64,
    address: String,
    labels: BTreeMap<String, String>,
}

fn state(connected: bool) -> (&'static str, Tone) {
    if connected { ("connected", Tone::Good) } else { ("disconnected", Tone::Warn) }
}

impl View for FrameworkView {
    const KIND: &'static str = "Framework";
    const LIST: &'static str = "FrameworkList";
    const CHANGE: &'static str = "FrameworkChange";
    const ONE: &'static str = "framework";
    const MANY: &'static str = "frameworks";
    const COLUMNS: &'static [&'static str] =
        &["ID", "NAME", "STATE", "TASKS", "CPUS", "MEM", "ROLES", "SINCE"];
    const WIDE: &'static [&'static str] = &["PRINCIPAL", "OFFERED", "SUPPRESSED", "FAILOVER", "ADDRESS"];
    type Shape<'a> = Shape;

    fn call(list: List) -> Call {
        Call::Frameworks(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Frameworks(frameworks) = reply { Some(frameworks) } else { None }
    }

    fn of_event(event: EventKind) -> Change<Self> {
        match event {
            EventKind::Snapshot(all) => Change::All(all.frameworks),
            EventKind::FrameworkChanged(framework) => Change::Put(framework),
            EventKind::FrameworkRemoved(id) => Change::Gone(id.to_string(), "removed"),
            EventKind::AgentChanged(_)
            | EventKind::TaskChanged(_)
            | EventKind::OfferMade(_)
            | EventKind::OfferEnded(_)
            | EventKind::RoleChanged(_) => Change::Other,
        }
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn aliases(&self) -> Vec<String> {
        vec![self.info.name.clone()]
    }

    fn selected(&self, list: &List) -> bool {
        matches(&list.framework, &[self.id.as_str(), &self.info.name])
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let (word, tone) = state(self.connected);
        vec![
            Cell::new(self.id.as_str()),
            Cell::new(&self.info.name),
            Cell::toned(word, tone),
            Cell::new(self.tasks.to_string()),
            Cell::new(Scalar::Cpus.show(self.used.cpus_milli())),
            Cell::new(Scalar::Mem.show(self.used.mem_bytes())),
            Cell::new(joined(&self.info.roles)),
            Cell::new(show_age(self.since_ms, now_ms)),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![
            Cell::new(&self.principal),
            Cell::new(show(&self.offered)),
            Cell::new(joined(&self.suppressed_roles)),
            Cell::new(show_duration(self.info.failover_timeout)),
            Cell::new(&self.info.address),
        ]
    }

    fn shape(&self) -> Shape {
        Shape {
            id: self.id(),
            name: self.info.name.clone(),
            principal: self.principal.clone(),
            connected: self.connected,
            since_ms: self.since_ms,
            roles: self.info.roles.iter().map(ToString::to_string).collect(),
            suppressed_roles: self.suppressed_roles.iter().map(ToString::to_string).collect(),
            tasks: self.tasks,
            used: (&self.used).into(),
            offered: (&self.offered).into(),
            failover_timeout_ms: u64::try_from(self.info.failover_timeout.as_millis()).unwrap_or(u64::MAX),
            address: self.info.address.clone(),
            labels: self.info.labels.clone(),
        }
    }

    fn sheet(&self, now_ms: u64) -> Sheet {
        let labels: Vec<String> =
            self.info.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut sheet = Sheet::default();
        sheet
            .fact("Framework", self.id.as_str())
            .fact("Name", &self.info.name)
            .fact("Principal", &self.principal)
            .fact("State", format!("{} for {}", state(self.connected).0, show_age(self.since_ms, now_ms)))
            .fact("Failover", show_duration(self.info.failover_timeout))
            .fact("Roles", joined(&self.info.roles))
            .fact("Suppressed", joined(&self.suppressed_roles))
            .fact("Address", &self.info.address)
            .fact("Labels", labels.join(","))
            .fact("Used", self.used.to_string())
            .fact("Offered", self.offered.to_string())
            .fact("Tasks", self.tasks.to_string());
        sheet
    }
}
