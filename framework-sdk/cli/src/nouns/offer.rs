//! Open offers.

use proto::operator::{Call, EventKind, List, OfferEnd, OfferView, ReplyKind};
use proto::quantities::Scalar;
use serde::Serialize;

use super::{Change, View, amount_of, matches};
use crate::duration::show_age;
use crate::shapes::{Portion, portions};
use crate::sheet::Sheet;
use crate::table::Cell;

/// An offer in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    id: String,
    framework_id: String,
    framework_name: String,
    agent_id: String,
    hostname: String,
    role: String,
    made_ms: u64,
    resources: Vec<Portion>,
}

fn ended(how: OfferEnd) -> &'static str {
    match how {
        OfferEnd::Accepted => "accepted",
        OfferEnd::Declined => "declined",
        OfferEnd::Rescinded => "rescinded",
        OfferEnd::Expired => "expired",
    }
}

impl View for OfferView {
    const KIND: &'static str = "Offer";
    const LIST: &'static str = "OfferList";
    const CHANGE: &'static str = "OfferChange";
    const ONE: &'static str = "offer";
    const MANY: &'static str = "offers";
    const COLUMNS: &'static [&'static str] = &["ID", "FRAMEWORK", "AGENT", "ROLE", "CPUS", "MEM", "AGE"];
    const WIDE: &'static [&'static str] = &["RESOURCES"];
    type Shape<'a> = Shape;

    fn call(list: List) -> Call {
        Call::Offers(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Offers(offers) = reply { Some(offers) } else { None }
    }

    fn of_event(event: EventKind) -> Change<Self> {
        match event {
            EventKind::Snapshot(all) => Change::All(all.offers),
            EventKind::OfferMade(offer) => Change::Put(offer),
            EventKind::OfferEnded(end) => Change::Gone(end.offer.to_string(), ended(end.how)),
            EventKind::AgentChanged(_)
            | EventKind::FrameworkChanged(_)
            | EventKind::FrameworkRemoved(_)
            | EventKind::TaskChanged(_)
            | EventKind::RoleChanged(_) => Change::Other,
        }
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn aliases(&self) -> Vec<String> {
        Vec::new()
    }

    fn selected(&self, list: &List) -> bool {
        matches(&list.framework, &[self.framework.as_str(), &self.framework_name])
            && matches(&list.agent, &[self.agent.as_str(), &self.hostname])
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        let all = self.resources.quantities();
        vec![
            Cell::new(self.id.to_string()),
            Cell::new(&self.framework_name),
            Cell::new(&self.hostname),
            Cell::new(self.role.as_str()),
            Cell::new(amount_of(&Scalar::Cpus, &all)),
            Cell::new(amount_of(&Scalar::Mem, &all)),
            Cell::new(show_age(self.made_ms, now_ms)),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![Cell::new(self.resources.to_string())]
    }

    fn shape(&self) -> Shape {
        Shape {
            id: self.id.to_string(),
            framework_id: self.framework.to_string(),
            framework_name: self.framework_name.clone(),
            agent_id: self.agent.to_string(),
            hostname: self.hostname.clone(),
            role: self.role.to_string(),
            made_ms: self.made_ms,
            resources: portions(&self.resources),
        }
    }

    fn sheet(&self, now_ms: u64) -> Sheet {
        let mut sheet = Sheet::default();
        sheet
            .fact("Offer", self.id.to_string())
            .fact("Framework", format!("{} ({})", self.framework_name, self.framework))
            .fact("Agent", format!("{} ({})", self.hostname, self.agent))
            .fact("Role", self.role.as_str())
            .fact("Made", format!("{} ago", show_age(self.made_ms, now_ms)))
            .fact("Resources", self.resources.to_string());
        sheet
    }
}
