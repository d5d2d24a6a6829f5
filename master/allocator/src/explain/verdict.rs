//! The verdict: the rule without which an agent would do, and the words for it.

use std::collections::BTreeMap;

use proto::explain::Verdict;
use proto::id::{AgentId, FrameworkId};
use proto::resources::Amount;
use proto::role::Role;

use super::Pictures;
use super::ask::{Ask, Lift};
use crate::Allocator;

/// A verdict, how it is said, and whom it is about.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub verdict: Verdict,
    pub words: String,
    pub about: About,
}

/// Whom a verdict is about, where it is one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Nobody,
    Framework(FrameworkId),
    Role(Role),
    Agent(AgentId),
}

// === impl Said ===

impl Said {
    pub fn new(verdict: Verdict, words: impl Into<String>) -> Said {
        Said { verdict, words: words.into(), about: About::Nobody }
    }

    pub fn about(self, about: About) -> Said {
        Said { about, ..self }
    }
}

impl Pictures<'_> {
    pub(super) fn verdict(&self, ask: &Ask<'_>) -> Said {
        let settled = self.settled;
        let who = &settled.clients.clients[ask.client];
        let own = || who.id.clone().map_or(About::Nobody, About::Framework);
        if !settled.clients.frameworks[who.framework].active {
            return Said::new(Verdict::Disconnected, "the framework is not connected").about(own());
        }
        if !who.subscribed || who.suppressed {
            let words = format!("the framework wants no offers in role {}; it must revive it", ask.role);
            return Said::new(Verdict::Suppressed, words).about(own());
        }
        if ask.agents.active.is_empty() && ask.agents.away.is_empty() && ask.outside.absent.is_empty() {
            return Said::new(Verdict::NoAgents, "there is no agent");
        }
        let absent_meets = || ask.outside.absent.iter().any(|absent| ask.allows(&absent.info));
        if ask.candidates.is_empty() && ask.away.is_empty() && !absent_meets() {
            return Said::new(Verdict::Constraints, settled.unmet(ask));
        }
        if settled.fits(ask, Lift::ALL).is_none() {
            let said = settled.away(ask, Lift::ALL);
            return said.unwrap_or_else(|| Said::new(Verdict::TooLarge, settled.too_large(ask)));
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
        ];
        for (verdict, lift) in single {
            if let Some(agent) = settled.fits(ask, lift) {
                return settled.say(ask, verdict, agent);
            }
        }
        if let Some(said) = settled.away(ask, Lift::NOTHING) {
            return said;
        }
        if let Some(agent) = settled.fits(ask, Lift { offers: true, used: true, ..Lift::NOTHING }) {
            return settled.say(ask, Verdict::NoRoom, agent);
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
                let said = settled.say(ask, verdict, agent);
                let words = format!("{}; and it is not the only rule in the way", said.words);
                return Said { words, ..said };
            }
        }
        Said::new(Verdict::TooLarge, settled.too_large(ask))
    }

    /// Before the copy allocated, an agent would have done: somebody else was given it.
    fn others_first(&self, ask: &Ask<'_>, agent: u32) -> Said {
        let id = self.settled.agents.rows[agent].id.as_ref();
        let own = self.settled.clients.clients[ask.client].id.as_ref();
        let host = self.settled.hostname(agent);
        let (words, about) = match self.grants.iter().find(|grant| Some(&grant.agent) == id) {
            Some(grant) if Some(&grant.framework) == own => {
                let words =
                    format!("something else that the framework asks for comes first, and gets {host}");
                (words, About::Nobody)
            }
            Some(grant) => {
                let name = (ask.outside.name)(&grant.framework);
                let words = format!(
                    "others with a smaller share or an unfulfilled guarantee come first: {name} gets {host}"
                );
                (words, About::Framework(grant.framework.clone()))
            }
            None => {
                let words = "others with a smaller share or an unfulfilled guarantee come first".to_owned();
                (words, About::Nobody)
            }
        };
        Said::new(Verdict::FairShare, words).about(about)
    }
}

impl Allocator {
    /// What is said when an agent would do that may not be offered: because it drains, is not connected, or is out of
    /// sight, whichever ends first.
    fn away(&self, ask: &Ask<'_>, lift: Lift) -> Option<Said> {
        let why = |agent: u32| {
            let id = self.agents.rows[agent].id.clone()?;
            Some(((ask.outside.away)(&id), id))
        };
        let mut others = None;
        for agent in self.fitting_away(ask, lift) {
            let Some((away, id)) = why(agent) else { continue };
            let verdict = if away.drains { Verdict::AgentDraining } else { Verdict::AgentDisconnected };
            let others_too = self.also_away(ask);
            let words = format!("{} would do, but it {}{others_too}", self.hostname(agent), away.words());
            let said = Said::new(verdict, words).about(About::Agent(id));
            if verdict == Verdict::AgentDraining {
                return Some(said);
            }
            others.get_or_insert(said);
        }
        others.or_else(|| {
            let absent = self.fitting_absent(ask, lift).next()?;
            let host = &absent.info.hostname;
            let words = format!("{host} would do, but it is out of sight{}", self.also_away(ask));
            let about = About::Agent(absent.info.id.clone());
            Some(Said::new(Verdict::AgentUnreachable, words).about(about))
        })
    }

    /// Where no agent at all may be offered, that is the news.
    fn also_away(&self, ask: &Ask<'_>) -> String {
        if !ask.agents.active.is_empty() {
            return String::new();
        }
        let all = ask.agents.away.len() + ask.outside.absent.len();
        match all {
            1 => "; there is no other agent".to_owned(),
            _ => format!("; none of the {all} agents may be offered"),
        }
    }

    /// Which constraints nobody meets, and what the agents are like instead.
    fn unmet(&self, ask: &Ask<'_>) -> String {
        let agents = if ask.agents.active.is_empty() { &ask.agents.away } else { &ask.agents.active };
        let infos = || agents.iter().filter_map(|agent| self.agents.rows[*agent].info.as_ref());
        let met_by_nobody =
            ask.constraints().0.iter().find(|constraint| !infos().any(|info| constraint.allows(info)));
        let Some(constraint) = met_by_nobody else {
            let all: Vec<String> = ask.constraints().0.iter().map(ToString::to_string).collect();
            return format!("no agent meets all of {}, though each is met by some", all.join(", "));
        };
        let mut values: BTreeMap<String, usize> = BTreeMap::new();
        for info in infos() {
            if let Some(value) = info.attributes.0.get(&constraint.attribute) {
                *values.entry(value.to_string()).or_default() += 1;
            }
        }
        let name = &constraint.attribute;
        let has = match values.len() {
            _ if name == "hostname" || name == "agent" => "there is no such agent".to_owned(),
            0 => format!("no agent has an attribute {name}"),
            n => {
                let shown = values.iter().take(VALUES_SHOWN);
                let mut shown: Vec<String> =
                    shown.map(|(value, agents)| format!("{name}={value} on {agents}")).collect();
                if n > VALUES_SHOWN {
                    shown.push(format!("{} more values", n - VALUES_SHOWN));
                }
                format!("there is {}", shown.join(", "))
            }
        };
        format!("no agent meets the constraint {constraint}: {has}")
    }

    /// Of what even the largest agents have too little.
    fn too_large(&self, ask: &Ask<'_>) -> String {
        let Some(demand) = ask.demand else {
            return "no agent has as much as an offer must have".to_owned();
        };
        let have: Vec<(u32, Amount)> = ask
            .candidates
            .iter()
            .chain(ask.away.iter())
            .map(|agent| (*agent, self.usable(ask, &self.agents.rows[*agent].total)))
            .collect();
        let mut short = Vec::new();
        for (scalar, wanted) in demand.shape.scalars.iter() {
            let largest = have.iter().max_by_key(|(_, amount)| amount.scalars.get(&scalar));
            let most = largest.map_or(0, |(_, amount)| amount.scalars.get(&scalar));
            if most < wanted {
                let host = largest.map(|(agent, _)| format!(" on {}", self.hostname(*agent)));
                let host = host.filter(|_| most > 0).unwrap_or_default();
                short.push((
                    format!("{scalar}:{}", scalar.show(wanted)),
                    format!("{}{host}", scalar.show(most)),
                ));
            }
        }
        for (name, wanted) in demand.shape.ranges() {
            let most = have.iter().map(|(_, amount)| amount.range(name).count()).max().unwrap_or(0);
            if most < wanted.count() {
                short.push((format!("{} of {name}", wanted.count()), most.to_string()));
            }
        }
        let more = |(wanted, most): &(String, String)| {
            format!("{wanted} is more than any agent has, even an empty one (the most is {most})")
        };
        match short.is_empty() {
            true => format!("no agent has {} at once, not even an empty one", demand.shape),
            false => short.iter().map(more).collect::<Vec<_>>().join("; "),
        }
    }

    /// Words for a verdict that was found by leaving out its rule: then `agent` would do.
    fn say(&self, ask: &Ask<'_>, verdict: Verdict, agent: u32) -> Said {
        let host = self.hostname(agent);
        let owner = self.clients.clients[ask.client].framework;
        let own = || self.clients.frameworks[owner].id.clone().map_or(About::Nobody, About::Framework);
        let role = |role: Option<Role>| role.map_or(About::Nobody, About::Role);
        let (words, about) = match verdict {
            Verdict::HoldsTooMuch => {
                let held = &self.clients.frameworks[owner].offered;
                let words = format!(
                    "the framework has not answered offers of {held}: one may hold no more while others wait"
                );
                (words, own())
            }
            Verdict::Filtered => {
                let left = self.declined_until(ask, agent);
                let left = left.map(|until| format!(" for {} s more", until.since(ask.now).as_secs() + 1));
                let left = left.unwrap_or_default();
                (format!("the framework declined what would fit, {host} for one{left}"), own())
            }
            Verdict::QuotaLimit => match self.limit_in_the_way(ask) {
                Some((at, limit)) => (format!("role {at} would pass its limit of {limit}"), role(Some(at))),
                None => (format!("role {} is at its limit", ask.role), role(Some(ask.role.clone()))),
            },
            Verdict::QuotaHeadroom => {
                let required = self.roles.required();
                let words =
                    format!("what is free is kept for guarantees, of which {required} are not fulfilled");
                (words, role(self.owed_most()))
            }
            Verdict::Offered => {
                let (words, holder) = self.holder(ask, agent);
                let about = holder.map_or(About::Nobody, About::Framework);
                (format!("what would fit on {host} is {words}"), about)
            }
            Verdict::Reserved => {
                let portions = self.agents.rows[agent].total.portions().iter();
                let kept = portions.filter_map(|portion| portion.reservation.as_ref());
                let kept = kept.into_iter().find(|kept| !ask.role.is_within(kept)).cloned();
                let whose =
                    kept.as_ref().map_or_else(|| "other roles".to_owned(), |kept| format!("role {kept}"));
                (format!("what would fit on {host} is reserved for {whose}"), role(kept))
            }
            Verdict::NoRoom => {
                let words = match self.fitting(ask, Lift::ALL).nth(1) {
                    Some(_) => {
                        "it would fit an empty agent, but of every such agent too much is in use".to_owned()
                    }
                    None => format!("it would fit {host} if that were empty, but too much of it is in use"),
                };
                (words, About::Nobody)
            }
            _ => (String::new(), About::Nobody),
        };
        Said { verdict, words, about }
    }

    /// The role whose guarantee keeps most, by its share of the pool.
    pub(super) fn owed_most(&self) -> Option<Role> {
        let owed = |(role, node): (&Role, &u32)| {
            let row = &self.roles.nodes[*node];
            let owed = !row.missing.is_zero() && !row.guarantee.is_zero();
            owed.then(|| (self.scale.share(&row.missing, 1000).millionths(), role.clone()))
        };
        self.roles.by_role.iter().filter_map(owed).max_by_key(|(share, _)| *share).map(|(_, role)| role)
    }

    /// Who holds unanswered what of an agent: others rather than the framework itself.
    fn holder(&self, ask: &Ask<'_>, agent: u32) -> (String, Option<FrameworkId>) {
        let open = || self.agents.rows[agent].holdings.iter().filter(|holding| !holding.offered.is_empty());
        let own = &self.clients.clients[ask.client].id;
        let mut others = open().filter_map(|holding| self.clients.clients[holding.client].id.as_ref());
        match others.find(|id| Some(*id) != own.as_ref()) {
            Some(id) => {
                (format!("offered to {}, who has not answered", (ask.outside.name)(id)), Some(id.clone()))
            }
            None if open().next().is_some() => {
                ("offered to the framework itself for something else".to_owned(), own.clone())
            }
            None => ("in an accepted offer that is on its way through the log".to_owned(), None),
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
}

/// Values of an attribute that are shown.
const VALUES_SHOWN: usize = 4;
