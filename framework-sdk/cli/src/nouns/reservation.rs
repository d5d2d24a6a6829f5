//! Reservations: what of an agent is kept for a role, and is no volume.

use proto::id::AgentId;
use proto::operator::{AgentView, Call, EventKind, List, ReplyKind};
use proto::quantities::Scalar;
use proto::resources::Amount;
use proto::role::Role;
use serde::Serialize;

use super::{Change, View, amount_of, matches};
use crate::shapes;
use crate::sheet::Sheet;
use crate::table::Cell;

/// What of one agent is kept for one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    agent: AgentId,
    hostname: String,
    role: Role,
    amount: Amount,
}

/// A reservation in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    agent_id: String,
    hostname: String,
    role: String,
    #[serde(flatten)]
    amount: shapes::Amount,
}

fn of_agent(agent: &AgentView) -> Vec<Reservation> {
    let portions = agent.total.portions().iter().filter(|portion| portion.volume.is_none());
    let one = |role: &Role, amount: &Amount| Reservation {
        agent: agent.info.id.clone(),
        hostname: agent.info.hostname.clone(),
        role: role.clone(),
        amount: amount.clone(),
    };
    portions.filter_map(|portion| Some(one(portion.reservation.as_ref()?, &portion.amount))).collect()
}

/// Ports, or nothing.
fn ports(amount: &Amount) -> String {
    let ports = amount.range("ports");
    if ports.is_empty() { String::new() } else { ports.to_string() }
}

impl View for Reservation {
    const KIND: &'static str = "Reservation";
    const LIST: &'static str = "ReservationList";
    const CHANGE: &'static str = "ReservationChange";
    const ONE: &'static str = "reservation";
    const MANY: &'static str = "reservations";
    const COLUMNS: &'static [&'static str] = &["AGENT", "ROLE", "CPUS", "MEM", "DISK", "PORTS"];
    const WIDE: &'static [&'static str] = &["GPUS", "HOSTNAME"];
    const CALLED_AT_MASTERS: bool = false;
    type Shape<'a> = Shape;

    fn call(list: List) -> Call {
        Call::Agents(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Agents(agents) = reply {
            Some(agents.iter().flat_map(of_agent).collect())
        } else {
            None
        }
    }

    fn of_event(_: EventKind) -> Change<Self> {
        Change::Other
    }

    fn id(&self) -> String {
        format!("{}/{}", self.agent, self.role)
    }

    fn aliases(&self) -> Vec<String> {
        vec![self.agent.to_string(), self.role.to_string(), self.hostname.clone()]
    }

    fn selected(&self, list: &List) -> bool {
        matches(&list.agent, &[self.agent.as_str(), &self.hostname])
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let scalars = &self.amount.scalars;
        vec![
            Cell::new(self.agent.as_str()),
            Cell::new(self.role.as_str()),
            Cell::new(amount_of(&Scalar::Cpus, scalars)),
            Cell::new(amount_of(&Scalar::Mem, scalars)),
            Cell::new(amount_of(&Scalar::Disk, scalars)),
            Cell::new(ports(&self.amount)),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![Cell::new(amount_of(&Scalar::Gpus, &self.amount.scalars)), Cell::new(&self.hostname)]
    }

    fn shape(&self) -> Shape {
        Shape {
            agent_id: self.agent.to_string(),
            hostname: self.hostname.clone(),
            role: self.role.to_string(),
            amount: (&self.amount).into(),
        }
    }

    fn sheet(&self, _now_ms: u64) -> Sheet {
        let mut sheet = Sheet::default();
        sheet
            .fact("Agent", format!("{} ({})", self.hostname, self.agent))
            .fact("Role", self.role.as_str())
            .fact("Reserved", self.amount.to_string());
        sheet
    }
}
