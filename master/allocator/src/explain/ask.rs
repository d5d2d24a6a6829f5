//! What is asked for, and whether an agent would do if some rules were left out.

use std::borrow::Cow;

use proto::attributes::{Constraint, Constraints};
use proto::demand::Demand;
use proto::quantities::Quantities;
use proto::resources::{Portion, Resources};
use proto::role::Role;
use proto_machine::Instant;

use super::Names;
use crate::Allocator;
use crate::carve;
use crate::clients::Want;
use crate::quota::{Purse, Stage, Without};
use crate::shapes::Shape;

/// Who asks for what, and which agents come into question.
pub(super) struct Ask<'a> {
    pub client: u32,
    pub node: u32,
    pub role: Role,
    /// `None`: any agent with enough for a plain offer.
    pub demand: Option<&'a Demand>,
    pub shape: Shape,
    /// Connected agents.
    pub active: Vec<u32>,
    /// Those of them that meet the constraints.
    pub candidates: Vec<u32>,
    pub names: Names<'a>,
    pub now: Instant,
}

/// Rules that are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lift {
    /// What the framework declined.
    pub filters: bool,
    /// The hold bound.
    pub hold: bool,
    pub limits: bool,
    pub headroom: bool,
    /// What offers hold.
    pub offers: bool,
    /// What tasks use.
    pub used: bool,
    /// What is reserved for others.
    pub reservations: bool,
}

// === impl Lift ===

impl Lift {
    /// Every rule holds.
    pub const NOTHING: Lift = Lift {
        filters: false,
        hold: false,
        limits: false,
        headroom: false,
        offers: false,
        used: false,
        reservations: false,
    };

    /// Only what the agent is counts.
    pub const ALL: Lift = Lift {
        filters: true,
        hold: true,
        limits: true,
        headroom: true,
        offers: true,
        used: true,
        reservations: true,
    };
}

// === impl Ask ===

impl<'a> Ask<'a> {
    pub fn new(
        picture: &Allocator,
        client: u32,
        demand: Option<&'a Demand>,
        names: Names<'a>,
        now: Instant,
    ) -> Option<Self> {
        let node = picture.clients.clients[client].node;
        let role = picture.roles.nodes[node].role.clone()?;
        let shape = demand.map_or_else(Shape::default, |demand| Shape::of(&demand.shape));
        let by_id = picture.agents.by_id.values().copied();
        let active = by_id.filter(|agent| picture.agents.rows[*agent].active).collect();
        let mut ask = Ask { client, node, role, demand, shape, active, candidates: Vec::new(), names, now };
        ask.candidates = ask
            .active
            .iter()
            .copied()
            .filter(|agent| ask.refusals(picture, *agent).next().is_none())
            .collect();
        Some(ask)
    }

    /// The want that the demand is, as the client's table has it.
    pub fn want<'p>(&self, picture: &'p Allocator) -> Option<&'p Want> {
        let row = &picture.clients.clients[self.client];
        row.by_demand.get(&self.demand?.id).and_then(|at| row.wants.get(*at as usize))
    }

    /// The constraints that the agent does not meet.
    pub fn refusals(&self, picture: &Allocator, agent: u32) -> impl Iterator<Item = &'a Constraint> {
        static NONE: Constraints = Constraints(Vec::new());
        let constraints = self.demand.map_or(&NONE, |demand| &demand.constraints);
        let info = picture.agents.rows[agent].info.clone();
        constraints.0.iter().filter(move |one| info.as_ref().is_some_and(|info| !one.allows(info)))
    }

    /// The least that would be offered.
    pub fn least(&self, picture: &Allocator) -> Quantities {
        match self.demand {
            Some(demand) => demand.shape.scalars.clone(),
            None => Quantities::of(picture.config.min_cpus_milli, picture.config.min_mem_bytes),
        }
    }
}

impl Allocator {
    /// The first agent that would do for what is asked, without the rules that are lifted.
    pub(super) fn fits(&self, ask: &Ask<'_>, lift: Lift) -> Option<u32> {
        self.fitting(ask, lift).next()
    }

    /// The agents that would do, by id. Looks at no agent before it is asked for.
    pub(super) fn fitting(&self, ask: &Ask<'_>, lift: Lift) -> impl Iterator<Item = u32> {
        let held = !lift.hold && !self.may_hold(self.clients.clients[ask.client].framework);
        let candidates = if held { &[][..] } else { &ask.candidates[..] };
        candidates.iter().copied().filter(move |agent| self.would_do(ask, *agent, lift))
    }

    /// Whether one of the agents that meet the constraints would do, whatever the framework holds unanswered.
    pub(super) fn would_do(&self, ask: &Ask<'_>, agent: u32, lift: Lift) -> bool {
        let free = self.free_without(ask, agent, lift);
        let without = Without { limits: true, headroom: true };
        let open = Purse::fill(&self.roles, ask.node, &Quantities::ZERO, Stage::Fair, without);
        // Most agents fail here, before anything costly is computed.
        if ask.demand.is_some() && carve::how_many(&free, &ask.role, &ask.shape, &open) == 0 {
            return false;
        }
        let row = &self.agents.rows[agent];
        let mut room = self.room.clone();
        room.sub(&row.room);
        room.add(&open_scalars(&free));
        let without = Without { limits: lift.limits, headroom: lift.headroom };
        let mut purse = Purse::fill(&self.roles, ask.node, &room, Stage::Fair, without);
        let declined =
            self.filters.declined(ask.client, agent).filter(|(_, until)| !lift.filters && *until > ask.now);
        if ask.demand.is_some() {
            carve::how_many(&free, &ask.role, &ask.shape, &purse) > 0
                && !declined.is_some_and(|(declined, _)| carve::covers(declined, &ask.shape))
        } else {
            let offer = carve::whole(&free, &ask.role, &mut purse);
            let scalars = offer.quantities();
            !scalars.is_zero()
                && self.config.is_enough(&scalars)
                && !declined.is_some_and(|(declined, _)| declined.contains(&offer))
        }
    }

    /// What would be free of an agent.
    pub(super) fn free_without(&self, ask: &Ask<'_>, agent: u32, lift: Lift) -> Cow<'_, Resources> {
        let row = &self.agents.rows[agent];
        let free = if lift.used && lift.offers {
            Cow::Borrowed(&row.total)
        } else if lift.offers {
            // Not what is free and what offers hold: more may be held than there is.
            let mut used = Resources::EMPTY;
            row.holdings.iter().for_each(|holding| used.add(&holding.used));
            let free = row.total.saturating_sub(&used);
            Cow::Owned(free)
        } else {
            Cow::Borrowed(&row.free)
        };
        let strange =
            |portion: &Portion| portion.reservation.as_ref().is_some_and(|kept| !ask.role.is_within(kept));
        if !lift.reservations || !free.portions().iter().any(strange) {
            return free;
        }
        let mut all = Resources::EMPTY;
        for portion in free.portions() {
            let freed = strange(portion) && portion.volume.is_none();
            let reservation = if freed { None } else { portion.reservation.clone() };
            all.add_portion(&Portion { reservation, ..portion.clone() });
        }
        Cow::Owned(all)
    }
}

/// The scalars of what is kept for nobody and is no volume.
fn open_scalars(free: &Resources) -> Quantities {
    let mut sum = Quantities::ZERO;
    for portion in free.portions().iter().filter(|p| p.reservation.is_none() && p.volume.is_none()) {
        sum.add(&portion.amount.scalars);
    }
    sum
}
