//! The verdict: the rule without which an agent would do, and the words for it.

use proto::explain::Verdict;
use proto::role::Role;

use super::ask::{Ask, Lift};
use super::{Pictures, Said};
use crate::Allocator;

impl Pictures<'_> {
    pub(super) fn verdict(&self, ask: &Ask<'_>) -> Said {
        let settled = self.settled;
        let who = &settled.clients.clients[ask.client];
        if !settled.clients.frameworks[who.framework].active {
            return Said(Verdict::Disconnected, "the framework is not connected".to_owned());
        }
        if !who.subscribed || who.suppressed {
            let words = format!("the framework wants no offers in role {}; it must revive it", ask.role);
            return Said(Verdict::Suppressed, words);
        }
        if ask.active.is_empty() {
            return Said(Verdict::NoAgents, "no agent is connected".to_owned());
        }
        if ask.candidates.is_empty() {
            let agent = ask.active[0];
            let met = ask
                .refusals(settled, agent)
                .next()
                .map(|unmet| format!(", {} not {unmet}", settled.hostname(agent)));
            let words = format!("no connected agent meets the constraints{}", met.unwrap_or_default());
            return Said(Verdict::Constraints, words);
        }
        if settled.fits(ask, Lift::ALL).is_none() {
            let words = match ask.demand {
                Some(demand) => format!("{} is more than any agent has, even an empty one", demand.shape),
                None => "no agent has as much as an offer must have".to_owned(),
            };
            return Said(Verdict::TooLarge, words);
        }
        if let Some(agent) = self.before.fits(ask, Lift::NOTHING) {
            return self.others_first(ask, agent);
        }
        let single = [
            (Verdict::HoldsTooMuch, Lift { hold: true, ..Lift::NOTHING }),
            (Verdict::Filtered, Lift { filters: true, ..Lift::NOTHING }),
            (Verdict::QuotaLimit, Lift { limits: true, ..Lift::NOTHING }),
            (Verdict::QuotaHeadroom, Lift { headroom: true, ..Lift::NOTHING }),
            (Verdict::Offered, Lift { offers: true, ..Lift::NOTHING }),
            (Verdict::Reserved, Lift { reservations: true, ..Lift::NOTHING }),
            (Verdict::NoRoom, Lift { offers: true, used: true, ..Lift::NOTHING }),
        ];
        for (verdict, lift) in single {
            if let Some(agent) = settled.fits(ask, lift) {
                return settled.say(ask, verdict, agent);
            }
        }
        // Several rules at once: first whatever changes by itself, last what somebody must decide. The one that is
        // named is the last that had to go.
        let mut lift = Lift { offers: true, used: true, ..Lift::NOTHING };
        type Step = (Verdict, fn(&mut Lift));
        let steps: [Step; 5] = [
            (Verdict::Filtered, |lift| lift.filters = true),
            (Verdict::HoldsTooMuch, |lift| lift.hold = true),
            (Verdict::QuotaHeadroom, |lift| lift.headroom = true),
            (Verdict::QuotaLimit, |lift| lift.limits = true),
            (Verdict::Reserved, |lift| lift.reservations = true),
        ];
        for (verdict, step) in steps {
            step(&mut lift);
            if let Some(agent) = settled.fits(ask, lift) {
                let Said(verdict, words) = settled.say(ask, verdict, agent);
                return Said(verdict, format!("{words}; and it is not the only rule in the way"));
            }
        }
        Said(Verdict::TooLarge, "no agent would do".to_owned())
    }

    /// Before the copy allocated, an agent would have done: somebody else was given it.
    fn others_first(&self, ask: &Ask<'_>, agent: u32) -> Said {
        let id = self.settled.agents.rows[agent].id.as_ref();
        let own = self.settled.clients.clients[ask.client].id.as_ref();
        let host = self.settled.hostname(agent);
        let words = match self.grants.iter().find(|grant| Some(&grant.agent) == id) {
            Some(grant) if Some(&grant.framework) == own => {
                format!("something else that the framework asks for comes first, and gets {host}")
            }
            Some(grant) => {
                let name = (ask.names)(&grant.framework);
                format!(
                    "others with a smaller share or an unfulfilled guarantee come first: {name} gets {host}"
                )
            }
            None => "others with a smaller share or an unfulfilled guarantee come first".to_owned(),
        };
        Said(Verdict::FairShare, words)
    }
}

impl Allocator {
    /// Words for a verdict that was found by leaving out its rule: then `agent` would do.
    fn say(&self, ask: &Ask<'_>, verdict: Verdict, agent: u32) -> Said {
        let host = self.hostname(agent);
        let words = match verdict {
            Verdict::HoldsTooMuch => {
                let owner = self.clients.clients[ask.client].framework;
                let held = &self.clients.frameworks[owner].offered;
                format!(
                    "the framework has not answered offers of {held}: one may hold no more while others wait"
                )
            }
            Verdict::Filtered => {
                let filter = self.filters.declined(ask.client, agent);
                let left =
                    filter.map(|(_, until)| format!(" for {} s more", until.since(ask.now).as_secs() + 1));
                format!("the framework declined what would fit, {host} for one{}", left.unwrap_or_default())
            }
            Verdict::QuotaLimit => match self.limit_in_the_way(ask) {
                Some((role, limit)) => format!("role {role} would pass its limit of {limit}"),
                None => format!("role {} is at its limit", ask.role),
            },
            Verdict::QuotaHeadroom => {
                format!(
                    "what is free is kept for guarantees, of which {} are not fulfilled",
                    self.roles.required()
                )
            }
            Verdict::Offered => format!("what would fit on {host} is {}", self.holder(ask, agent)),
            Verdict::Reserved => {
                let portions = self.agents.rows[agent].total.portions().iter();
                let kept = portions.filter_map(|portion| portion.reservation.as_ref());
                let role = kept.into_iter().find(|kept| !ask.role.is_within(kept));
                let role = role.map_or_else(|| "other roles".to_owned(), |role| format!("role {role}"));
                format!("what would fit on {host} is reserved for {role}")
            }
            Verdict::NoRoom => {
                "it would fit an empty agent, but of every such agent too much is in use".to_owned()
            }
            Verdict::Served
            | Verdict::WantsNothing
            | Verdict::Disconnected
            | Verdict::Suppressed
            | Verdict::NoAgents
            | Verdict::Constraints
            | Verdict::TooLarge
            | Verdict::FairShare => String::new(),
        };
        Said(verdict, words)
    }

    /// Who holds unanswered what of an agent: others rather than the framework itself.
    fn holder(&self, ask: &Ask<'_>, agent: u32) -> String {
        let open = || self.agents.rows[agent].holdings.iter().filter(|holding| !holding.offered.is_empty());
        let own = &self.clients.clients[ask.client].id;
        let mut others = open().filter_map(|holding| self.clients.clients[holding.client].id.as_ref());
        match others.find(|id| Some(*id) != own.as_ref()) {
            Some(id) => format!("offered to {}, who has not answered", (ask.names)(id)),
            None if open().next().is_some() => {
                "offered to the framework itself for something else".to_owned()
            }
            None => "in an accepted offer that is on its way through the log".to_owned(),
        }
    }

    /// The role on the path whose limit one more unit would pass, and that limit.
    fn limit_in_the_way(&self, ask: &Ask<'_>) -> Option<(Role, String)> {
        let least = ask.least(self);
        for node in self.roles.path(ask.node) {
            let row = &self.roles.nodes[node];
            let passed = row.limits.0.iter().find(|(scalar, limit)| {
                let more = least.get(scalar);
                more > 0 && row.consumed.get(scalar).saturating_add(more) > **limit
            });
            if let (Some((scalar, limit)), Some(role)) = (passed, &row.role) {
                return Some((role.clone(), format!("{scalar}:{}", scalar.show(*limit))));
            }
        }
        None
    }

    pub(super) fn hostname(&self, agent: u32) -> String {
        self.agents.rows[agent].info.as_ref().map(|info| info.hostname.clone()).unwrap_or_default()
    }
}
