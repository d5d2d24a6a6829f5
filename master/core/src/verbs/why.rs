//! Why a demand waits: the pool is walked agent by agent, as somebody with a pencil would. Only people ask for this.

use proto::agent::AgentState;
use proto::demand::Demand;
use proto::explain::{Explanation, FunnelStep, NearMiss, Verdict};
use proto::id::{DemandId, FrameworkId};
use proto::log::AgentRecord;
use proto::quantities::{Quantities, Scalar};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::role::Role;

use crate::desk::Desk;

/// Names shown for one step of the funnel.
const NAMES_MAX: usize = 20;
/// Nearest misses shown.
const NEAREST_MAX: usize = 3;

/// One agent, as far as it matters here.
struct Candidate<'a> {
    record: &'a AgentRecord,
    /// All of it that the role may have, with nothing in use.
    whole: Amount,
    /// The same, with what tasks use and offers hold taken away.
    free: Amount,
}

/// What stands in the way of a framework: of one demand, or of all it declares.
pub(crate) fn framework(d: &Desk<'_>, id: &FrameworkId, only: Option<&DemandId>) -> Vec<Explanation> {
    let Some(standing) = d.l.frameworks.get(id) else { return Vec::new() };
    let name = d.registry.framework(id).map(|f| f.record.info.name.clone()).unwrap_or_default();
    let subject = format!("framework {name} ({id})");
    if standing.session.is_none() && only.is_none() {
        let verdict = "it has no session; its tasks run on until its failover timeout";
        return vec![plain(subject, Verdict::Disconnected, verdict.to_owned())];
    }
    let demands: Vec<&Demand> =
        standing.demands.iter().filter(|demand| only.is_none_or(|only| demand.id == *only)).collect();
    if demands.is_empty() && only.is_none() {
        let open = d.l.offers.of_framework(id).len();
        let verdict = match (standing.demand_driven, open) {
            (true, _) => "it declares no demand".to_owned(),
            (false, 0) => {
                "it takes plain offers and none is open; it may have declined what is free".to_owned()
            }
            (false, open) => format!("it takes plain offers, and {open} are open"),
        };
        return vec![plain(subject, Verdict::WantsNothing, verdict)];
    }
    demands.into_iter().map(|demand| explain(d, id, demand)).collect()
}

fn plain(subject: String, verdict: Verdict, words: String) -> Explanation {
    Explanation {
        subject,
        code: verdict.code().to_owned(),
        verdict: words,
        funnel: Vec::new(),
        nearest: Vec::new(),
        help: Vec::new(),
    }
}

fn explain(d: &Desk<'_>, id: &FrameworkId, demand: &Demand) -> Explanation {
    let subject = format!("demand {} ({} x {})", demand.id, demand.count, demand.shape);
    let Some(standing) = d.l.frameworks.get(id) else {
        return plain(subject, Verdict::Disconnected, String::new());
    };
    if standing.session.is_none() {
        return plain(subject, Verdict::Disconnected, "the framework has no session".to_owned());
    }
    if standing.suppressed.contains(&demand.role) {
        let words = format!("the framework wants no offers in role {}; it must revive it", demand.role);
        return plain(subject, Verdict::Suppressed, words);
    }
    if demand.count == 0 {
        return plain(subject, Verdict::Served, "it has all it asked for".to_owned());
    }
    let open = d.l.offers.of_framework(id);
    let offered = open
        .iter()
        .filter(|offer| d.l.offers.get(**offer).and_then(|o| o.demand.as_ref()) == Some(&demand.id));
    let offered = offered.count();
    if offered > 0 {
        return plain(
            subject,
            Verdict::Served,
            format!("{offered} offers for it are open; the framework is to answer"),
        );
    }

    let mut funnel = Vec::new();
    let all: Vec<&AgentRecord> = d.registry.agents().collect();
    let mut left: Vec<Candidate<'_>> = all.iter().map(|record| candidate(d, record, &demand.role)).collect();
    step(&mut funnel, "all", &mut left, |_| true);
    let active = |c: &Candidate<'_>| {
        c.record.state == AgentState::Active && d.l.agents.link_of(&c.record.info.id).is_some()
    };
    step(&mut funnel, "active", &mut left, active);
    if left.is_empty() {
        return told(subject, Verdict::NoAgents, "no agent is connected".to_owned(), funnel, Vec::new());
    }
    let refused = |c: &Candidate<'_>| demand.constraints.first_refusal(&c.record.info);
    let unmet: Vec<NearMiss> = left
        .iter()
        .filter_map(|c| {
            refused(c).map(|constraint| miss(c, Amount::default(), format!("constraint {constraint}")))
        })
        .take(NEAREST_MAX)
        .collect();
    step(&mut funnel, "constraints", &mut left, |c| refused(c).is_none());
    if left.is_empty() {
        let words = "no agent meets the constraints".to_owned();
        return told(subject, Verdict::Constraints, words, funnel, unmet);
    }
    let nearest_whole = nearest(&left, |c| lacking(&c.whole, &demand.shape));
    let would_fit = |c: &Candidate<'_>| lacking(&c.whole, &demand.shape).is_empty();
    if !left.iter().any(would_fit) {
        // Without anybody's reservations: is it their fault?
        let fits_bare = left.iter().any(|c| lacking(&c.record.total.flatten(), &demand.shape).is_empty());
        by_resource(&mut funnel, &mut left, &demand.shape, |c| &c.whole);
        return if fits_bare {
            let words = "what would fit is reserved for other roles".to_owned();
            told(subject, Verdict::Reserved, words, funnel, nearest_whole)
        } else {
            let words = format!("{} is more than any agent has, even an empty one", demand.shape);
            let mut told = told(subject, Verdict::TooLarge, words, funnel, nearest_whole);
            told.help = smaller(&told.nearest, &demand.shape);
            told
        };
    }
    step(&mut funnel, "role", &mut left, would_fit);
    let nearest_free = nearest(&left, |c| lacking(&c.free, &demand.shape));
    if let Some((role, scalar, limit)) = over_limit(d, demand) {
        let words = format!("role {role} would pass its limit of {scalar}:{}", scalar.show(limit));
        return told(subject, Verdict::QuotaLimit, words, funnel, Vec::new());
    }
    let has_room = |c: &Candidate<'_>| lacking(&c.free, &demand.shape).is_empty();
    if !left.iter().any(has_room) {
        let held = left.iter().any(|c| !d.l.offers.of_agent(&c.record.info.id).is_empty());
        by_resource(&mut funnel, &mut left, &demand.shape, |c| &c.free);
        let (verdict, words) = if held {
            (Verdict::Offered, "what would fit is in use, or in offers that others have not answered")
        } else {
            (Verdict::NoRoom, "it would fit an empty agent, but too much of every such agent is in use")
        };
        return told(subject, verdict, words.to_owned(), funnel, nearest_free);
    }
    step(&mut funnel, "room", &mut left, has_room);
    let names: Vec<&str> = left.iter().take(3).map(|c| c.record.info.hostname.as_str()).collect();
    let words = format!(
        "there is room on {}, held back by the framework's own filters, by guarantees of other roles, or by fair turns",
        names.join(", ")
    );
    Explanation {
        code: "held-back".to_owned(),
        ..told(subject, Verdict::Filtered, words, funnel, Vec::new())
    }
}

fn told(
    subject: String,
    verdict: Verdict,
    words: String,
    funnel: Vec<FunnelStep>,
    nearest: Vec<NearMiss>,
) -> Explanation {
    Explanation { funnel, nearest, ..plain(subject, verdict, words) }
}

fn candidate<'a>(d: &Desk<'_>, record: &'a AgentRecord, role: &Role) -> Candidate<'a> {
    let mut free = record.total.clone();
    for task in d.registry.tasks_on(&record.info.id) {
        let _ = free.try_sub(&task.info.resources);
    }
    for offer in d.l.offers.of_agent(&record.info.id) {
        if let Some(open) = d.l.offers.get(offer) {
            let _ = free.try_sub(&open.resources);
        }
    }
    Candidate { record, whole: usable(&record.total, role), free: usable(&free, role) }
}

/// What a role may have of it: what is kept for nobody, for the role or for one above it; volumes apart.
fn usable(resources: &Resources, role: &Role) -> Amount {
    let mut sum = Amount::default();
    let own = |reserved: &Option<Role>| reserved.as_ref().is_none_or(|reserved| role.is_within(reserved));
    resources
        .portions()
        .iter()
        .filter(|portion| portion.volume.is_none() && own(&portion.reservation))
        .for_each(|portion| sum.add(&portion.amount));
    sum
}

/// What `have` lacks of a shape, in which ranges mean "so many".
fn lacking(have: &Amount, shape: &Amount) -> Amount {
    let mut lacking = Amount::scalars(have.scalars.lacking(&shape.scalars));
    for (name, wanted) in shape.ranges() {
        let missing = wanted.count().saturating_sub(have.range(name).count());
        if missing > 0 {
            lacking.set_range(name, Ranges::single(1, missing));
        }
    }
    lacking
}

fn step(
    funnel: &mut Vec<FunnelStep>,
    name: &str,
    left: &mut Vec<Candidate<'_>>,
    stays: impl Fn(&Candidate<'_>) -> bool,
) {
    let mut fell_out = Vec::new();
    left.retain(|candidate| {
        let stays = stays(candidate);
        if !stays && fell_out.len() < NAMES_MAX {
            fell_out.push(candidate.record.info.hostname.clone());
        }
        stays
    });
    funnel.push(FunnelStep { name: name.to_owned(), left: left.len() as u64, fell_out });
}

/// One step of the funnel for each resource of the shape.
fn by_resource(
    funnel: &mut Vec<FunnelStep>,
    left: &mut Vec<Candidate<'_>>,
    shape: &Amount,
    of: impl for<'b> Fn(&'b Candidate<'_>) -> &'b Amount,
) {
    for (scalar, wanted) in shape.scalars.iter() {
        step(funnel, scalar.name(), left, |c| of(c).scalars.get(&scalar) >= wanted);
    }
    for (name, wanted) in shape.ranges() {
        step(funnel, name, left, |c| of(c).range(name).count() >= wanted.count());
    }
}

/// The agents that lack least, by the largest part of the shape that is missing.
fn nearest(left: &[Candidate<'_>], lacks: impl Fn(&Candidate<'_>) -> Amount) -> Vec<NearMiss> {
    let mut misses: Vec<(u128, &Candidate<'_>, Amount)> = left
        .iter()
        .map(|candidate| {
            let lacking = lacks(candidate);
            (weight(&lacking.scalars, &candidate.whole.scalars), candidate, lacking)
        })
        .filter(|(_, _, lacking)| !lacking.is_empty())
        .collect();
    misses.sort_by_key(|(weight, candidate, _)| (*weight, candidate.record.info.hostname.clone()));
    misses.into_iter().take(NEAREST_MAX).map(|(_, c, lacking)| miss(c, lacking, String::new())).collect()
}

/// How much is missing, in millionths of what the agent has, the worst scalar.
fn weight(lacking: &Quantities, whole: &Quantities) -> u128 {
    let part = |(scalar, missing): (Scalar, u64)| {
        u128::from(missing) * 1_000_000 / u128::from(whole.get(&scalar).max(1))
    };
    lacking.iter().map(part).max().unwrap_or(0)
}

fn miss(candidate: &Candidate<'_>, lacking: Amount, rule: String) -> NearMiss {
    NearMiss {
        agent: candidate.record.info.id.clone(),
        hostname: candidate.record.info.hostname.clone(),
        lacking,
        rule,
    }
}

/// The sizes at which it would fit the nearest agents: exact, since they are what those agents have.
fn smaller(nearest: &[NearMiss], shape: &Amount) -> Vec<String> {
    let fits = |miss: &NearMiss| {
        let rest = shape.scalars.saturating_sub(&miss.lacking.scalars);
        format!("with {rest} it would fit {} when that is empty", miss.hostname)
    };
    nearest.iter().take(1).filter(|miss| miss.lacking.ranges().is_empty()).map(fits).collect()
}

/// The limit that one more unit would pass, of the role or one above it.
fn over_limit(d: &Desk<'_>, demand: &Demand) -> Option<(Role, Scalar, u64)> {
    let mut next = Some(demand.role.clone());
    while let Some(role) = next {
        let limits = d.registry.quota(&role).limits;
        if !limits.is_unbounded() {
            let mut held = demand.shape.scalars.clone();
            for task in d.registry.tasks().filter(|task| task.role.is_within(&role)) {
                held.add(&task.info.resources.quantities());
            }
            for offer in d.l.offers.all().filter(|offer| offer.role.is_within(&role)) {
                held.add(&offer.resources.quantities());
            }
            let passed = limits.0.iter().find(|(scalar, limit)| held.get(scalar) > **limit);
            if let Some((scalar, limit)) = passed {
                return Some((role, scalar.clone(), *limit));
            }
        }
        next = role.parent();
    }
    None
}
