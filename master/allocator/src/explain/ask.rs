//! What is asked for, and whether an agent would do if some rules were left out.

use std::borrow::Cow;

use proto::agent::AgentInfo;
use proto::attributes::{Constraint, Constraints};
use proto::demand::Demand;
use proto::quantities::Quantities;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto_machine::Instant;

use super::near::lacking;
use super::outside::{Absent, Outside};
use crate::Allocator;
use crate::carve;
use crate::clients::Want;
use crate::quota::{Purse, Stage, Without};
use crate::shapes::Shape;

/// The agents of a picture, by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Agents {
    /// Those that may be offered.
    pub active: Vec<u32>,
    /// The others.
    pub away: Vec<u32>,
}

/// Who asks for what, and which agents come into question.
pub(super) struct Ask<'a> {
    pub client: u32,
    pub node: u32,
    pub role: Role,
    /// `None`: any agent with enough for a plain offer.
    pub demand: Option<&'a Demand>,
    pub shape: Shape,
    pub agents: &'a Agents,
    /// Active agents that meet the constraints.
    pub candidates: Cow<'a, [u32]>,
    /// Agents away that meet them.
    pub away: Cow<'a, [u32]>,
    pub outside: &'a Outside<'a>,
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

static NO_CONSTRAINTS: Constraints = Constraints(Vec::new());

// === impl Agents ===

impl Agents {
    pub fn of(picture: &Allocator) -> Agents {
        let by_id = picture.agents.by_id.values().copied();
        let (active, away) = by_id.partition(|agent| picture.agents.rows[*agent].active);
        Agents { active, away }
    }
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
        agents: &'a Agents,
        (client, demand): (u32, Option<&'a Demand>),
        outside: &'a Outside<'a>,
        now: Instant,
    ) -> Option<Self> {
        let node = picture.clients.clients[client].node;
        let role = picture.roles.nodes[node].role.clone()?;
        let shape = demand.map_or_else(Shape::default, |demand| Shape::of(&demand.shape));
        let mut ask = Ask {
            client,
            node,
            role,
            demand,
            shape,
            agents,
            candidates: Cow::Borrowed(&agents.active),
            away: Cow::Borrowed(&agents.away),
            outside,
            now,
        };
        if !ask.constraints().0.is_empty() {
            let meets = |agents: &[u32]| {
                let all = agents.iter().copied();
                all.filter(|agent| ask.refusals(picture, *agent).next().is_none()).collect::<Vec<u32>>()
            };
            (ask.candidates, ask.away) = (Cow::Owned(meets(&agents.active)), Cow::Owned(meets(&agents.away)));
        }
        Some(ask)
    }

    /// The want that the demand is, as the client's table has it.
    pub fn want<'p>(&self, picture: &'p Allocator) -> Option<&'p Want> {
        let row = &picture.clients.clients[self.client];
        row.by_demand.get(&self.demand?.id).and_then(|at| row.wants.get(*at as usize))
    }

    /// What an agent must be like.
    pub fn constraints(&self) -> &'a Constraints {
        self.demand.map_or(&NO_CONSTRAINTS, |demand| &demand.constraints)
    }

    /// The constraints that the agent does not meet.
    pub fn refusals(&self, picture: &Allocator, agent: u32) -> impl Iterator<Item = &'a Constraint> {
        let info = picture.agents.rows[agent].info.clone();
        self.constraints().0.iter().filter(move |one| info.as_ref().is_some_and(|info| !one.allows(info)))
    }

    /// Whether an agent out of sight meets the constraints.
    pub fn allows(&self, info: &AgentInfo) -> bool {
        self.constraints().allow(info)
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

    /// The agents away that would do if they were not.
    pub(super) fn fitting_away(&self, ask: &Ask<'_>, lift: Lift) -> impl Iterator<Item = u32> {
        ask.away.iter().copied().filter(move |agent| self.would_do(ask, *agent, lift))
    }

    /// The agents out of sight that would do if they were back: as far as what they have and what runs there tells.
    pub(super) fn fitting_absent<'a>(
        &self,
        ask: &Ask<'a>,
        lift: Lift,
    ) -> impl Iterator<Item = &'a Absent> + use<'a, '_> {
        let fits = |absent: &Absent| {
            let free = if lift.used { absent.total.clone() } else { absent.free() };
            let have = usable_by(&ask.role, ask.demand.is_none(), &free);
            match ask.demand {
                Some(demand) => lacking(&have, &demand.shape).is_empty(),
                None => self.config.is_enough(&have.scalars),
            }
        };
        let of_use: Vec<&'a Absent> =
            ask.outside.absent.iter().filter(|absent| ask.allows(&absent.info) && fits(absent)).collect();
        of_use.into_iter()
    }

    /// Whether one of the agents that meet the constraints would do, whatever the framework holds unanswered.
    pub(super) fn would_do(&self, ask: &Ask<'_>, agent: u32, lift: Lift) -> bool {
        let row = &self.agents.rows[agent];
        let free = self.free_without(ask, agent, lift);
        // Most agents fail here or below, before anything costly is computed.
        if let (Some(demand), [only]) = (ask.demand, free.portions())
            && !only.amount.scalars.contains(&demand.shape.scalars)
        {
            return false;
        }
        let without = Without { limits: true, headroom: true };
        let open = Purse::fill(&self.roles, ask.node, &Quantities::ZERO, Stage::Fair, without);
        if ask.demand.is_some() && carve::how_many(&free, &ask.role, &ask.shape, &open) == 0 {
            return false;
        }
        let mut room = self.room.clone();
        if row.counted {
            room.sub(&row.room);
        }
        room.add(&open_scalars(&free));
        let without = Without { limits: lift.limits, headroom: lift.headroom };
        let mut purse = Purse::fill(&self.roles, ask.node, &room, Stage::Fair, without);
        let mut declined =
            self.filters.declined(ask.client, agent).filter(|(_, until)| !lift.filters && *until > ask.now);
        if ask.demand.is_some() {
            carve::how_many(&free, &ask.role, &ask.shape, &purse) > 0
                && !declined.any(|(declined, _)| carve::covers(declined, &ask.shape))
        } else {
            let offer = carve::whole(&free, &ask.role, &mut purse);
            let scalars = offer.quantities();
            !scalars.is_zero()
                && self.config.is_enough(&scalars)
                && !declined.any(|(declined, _)| declined.contains(&offer))
        }
    }

    /// What would be free of an agent.
    pub(super) fn free_without(&self, ask: &Ask<'_>, agent: u32, lift: Lift) -> Cow<'_, Resources> {
        let row = &self.agents.rows[agent];
        let none_open = || row.holdings.iter().all(|h| h.offered.is_empty() && h.taken.is_empty());
        // What the framework is offered for this very demand is no room for the rest of it.
        let own = || row.holding(ask.client).into_iter().flat_map(|holding| &holding.grants);
        let same = || own().filter(|grant| ask.demand.is_some_and(|demand| demand.id == grant.demand));
        let free = if lift.used && lift.offers {
            Cow::Borrowed(&row.total)
        } else if lift.offers && !none_open() {
            // Not what is free and what offers hold: more may be held than there is.
            let mut used = Resources::EMPTY;
            row.holdings.iter().for_each(|holding| used.add(&holding.used));
            same().for_each(|grant| used.add(&grant.resources));
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

    /// What the role may have of some resources; for demands without volumes, which come on top of what is asked for.
    pub(super) fn usable(&self, ask: &Ask<'_>, resources: &Resources) -> Amount {
        usable_by(&ask.role, ask.demand.is_none(), resources)
    }

    /// Whether the framework declined what is asked for.
    pub(super) fn is_declined(&self, ask: &Ask<'_>, agent: u32) -> bool {
        self.declined_until(ask, agent).is_some()
    }

    /// Until when the framework wants nothing of what is asked for there, if it said so.
    pub(super) fn declined_until(&self, ask: &Ask<'_>, agent: u32) -> Option<Instant> {
        let declined = self.filters.declined(ask.client, agent).filter(|(_, until)| *until > ask.now);
        let declined = declined.filter(|(declined, _)| match ask.demand {
            Some(_) => carve::covers(declined, &ask.shape),
            None => carve::all_declined(&self.agents.rows[agent].free, Some(&ask.role), declined),
        });
        declined.map(|(_, until)| until).max()
    }

    pub(super) fn hostname(&self, agent: u32) -> String {
        self.agents.rows[agent].info.as_ref().map(|info| info.hostname.clone()).unwrap_or_default()
    }
}

fn usable_by(role: &Role, volumes: bool, resources: &Resources) -> Amount {
    let mut sum = Amount::default();
    for portion in resources.portions().iter().filter(|portion| volumes || portion.volume.is_none()) {
        if portion.reservation.as_ref().is_none_or(|kept| role.is_within(kept)) {
            sum.add(&portion.amount);
        }
    }
    sum
}

/// The scalars of what is kept for nobody and is no volume.
fn open_scalars(free: &Resources) -> Quantities {
    let mut sum = Quantities::ZERO;
    for portion in free.portions().iter().filter(|p| p.reservation.is_none() && p.volume.is_none()) {
        sum.add(&portion.amount.scalars);
    }
    sum
}
