//! Roles.

use proto::operator::{Call, EventKind, List, ReplyKind, RoleView};
use proto::quantities::{Scalar, show_milli};
use proto::quota::Limits;
use serde::Serialize;

use super::{Change, View, show};
use crate::shapes::{self, Quantities};
use crate::sheet::Sheet;
use crate::table::Cell;

/// A role in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    role: String,
    weight_milli: u32,
    frameworks: u64,
    used: Quantities,
    offered: Quantities,
    reserved: Quantities,
    guarantees: Quantities,
    limits: shapes::Limits,
}

/// `cpus:8 mem:16GiB`; nothing when nothing is bounded.
pub(crate) fn show_limits(limits: &Limits) -> String {
    let parts: Vec<String> =
        limits.0.iter().map(|(scalar, limit)| format!("{scalar}:{}", scalar.show(*limit))).collect();
    parts.join(" ")
}

impl View for RoleView {
    const KIND: &'static str = "Role";
    const LIST: &'static str = "RoleList";
    const CHANGE: &'static str = "RoleChange";
    const ONE: &'static str = "role";
    const MANY: &'static str = "roles";
    const COLUMNS: &'static [&'static str] =
        &["ROLE", "WEIGHT", "FRAMEWORKS", "CPUS", "MEM", "GUARANTEES", "LIMITS"];
    const WIDE: &'static [&'static str] = &["OFFERED", "RESERVED"];
    type Shape<'a> = Shape;

    fn call(list: List) -> Call {
        Call::Roles(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Roles(roles) = reply { Some(roles) } else { None }
    }

    fn of_event(event: EventKind) -> Change<Self> {
        match event {
            EventKind::Snapshot(all) => Change::All(all.roles),
            EventKind::RoleChanged(role) => Change::Put(role),
            EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::TaskChanged(_)
            | EventKind::OfferMade(_)
            | EventKind::OfferEnded(_) => Change::Other,
        }
    }

    fn id(&self) -> String {
        self.role.to_string()
    }

    fn aliases(&self) -> Vec<String> {
        Vec::new()
    }

    fn selected(&self, _list: &List) -> bool {
        true
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![
            Cell::new(self.role.as_str()),
            Cell::new(show_milli(u64::from(self.weight.milli()))),
            Cell::new(self.frameworks.to_string()),
            Cell::new(Scalar::Cpus.show(self.used.cpus_milli())),
            Cell::new(Scalar::Mem.show(self.used.mem_bytes())),
            Cell::new(show(&self.quota.guarantees)),
            Cell::new(show_limits(&self.quota.limits)),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![Cell::new(show(&self.offered)), Cell::new(show(&self.reserved))]
    }

    fn shape(&self) -> Shape {
        Shape {
            role: self.role.to_string(),
            weight_milli: self.weight.milli(),
            frameworks: self.frameworks,
            used: (&self.used).into(),
            offered: (&self.offered).into(),
            reserved: (&self.reserved).into(),
            guarantees: (&self.quota.guarantees).into(),
            limits: (&self.quota.limits).into(),
        }
    }

    fn sheet(&self, _now_ms: u64) -> Sheet {
        let mut sheet = Sheet::default();
        sheet
            .fact("Role", self.role.as_str())
            .fact("Weight", show_milli(u64::from(self.weight.milli())))
            .fact("Frameworks", self.frameworks.to_string())
            .fact("Used", self.used.to_string())
            .fact("Offered", self.offered.to_string())
            .fact("Reserved", self.reserved.to_string())
            .fact("Guarantees", self.quota.guarantees.to_string())
            .fact(
                "Limits",
                if self.quota.limits.is_unbounded() {
                    "none".to_owned()
                } else {
                    show_limits(&self.quota.limits)
                },
            );
        sheet
    }
}
