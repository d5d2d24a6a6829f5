//! What is not well about the pool: frameworks, offers, quotas, and agents that come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::operator::{Events, FrameworkView, OfferView, RoleView};
use proto::quantities::Quantities;

use super::{Check, fail, names, ok, warn};
use crate::duration::show_duration;

/// Who holds an offer longer than it stands by default has it from masters that let it, and keeps it from others.
const OFFER_LIMIT_MS: u64 = 65_000;
/// An agent that was lost and came back so often within an hour will be again.
const TURNS: usize = 3;
const HOUR_MS: u64 = 3600 * 1000;

pub(super) fn of_frameworks(frameworks: &[FrameworkView]) -> Check {
    let gone = names(frameworks.iter().filter(|f| !f.connected).map(|f| f.info.name.as_str()));
    if gone.is_empty() {
        return ok("frameworks", format!("{} are connected", frameworks.len()));
    }
    warn(
        "frameworks",
        format!("without a session: {gone}"),
        "start them again before their failover timeout ends their tasks; their logs say why they stopped",
    )
}

pub(super) fn of_offers(offers: &[OfferView], now_ms: u64) -> Check {
    let mut held: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for offer in offers {
        let age_ms = now_ms.saturating_sub(offer.made_ms);
        if age_ms > OFFER_LIMIT_MS {
            let (count, oldest_ms) = held.entry(&offer.framework_name).or_default();
            *count += 1;
            *oldest_ms = age_ms.max(*oldest_ms);
        }
    }
    if held.is_empty() {
        return ok("offers", format!("{} are open, none for long", offers.len()));
    }
    let all: Vec<String> = held
        .iter()
        .map(|(name, (count, oldest_ms))| {
            format!("{name} ({count}, for {})", show_duration(Duration::from_secs(oldest_ms / 1000)))
        })
        .collect();
    warn(
        "offers",
        format!("held unanswered for more than a minute: {}", names(all.iter().map(String::as_str))),
        "the framework should decline what it does not use; masters take offers back after --offer-timeout-s",
    )
}

/// Promises that the pool cannot keep, and limits that let nothing run.
pub(super) fn of_roles(roles: &[RoleView], total: &Quantities) -> Check {
    let mut sum = Quantities::ZERO;
    // A guarantee of a role above holds those below it.
    let top = |role: &&RoleView| {
        !roles.iter().any(|above| {
            above.role != role.role && role.role.is_within(&above.role) && !above.quota.guarantees.is_zero()
        })
    };
    roles.iter().filter(top).for_each(|role| sum.add(&role.quota.guarantees));
    let lacking = total.lacking(&sum);
    if !lacking.is_zero() {
        let promised = roles.iter().filter(|role| !role.quota.guarantees.is_zero());
        let promised = names(promised.map(|role| role.role.as_str()));
        return fail(
            "quotas",
            format!("the pool has {lacking} less than is guaranteed to {promised}"),
            "lower a guarantee with `stoa quota set ROLE --guarantee AMOUNTS`, or add agents",
        );
    }
    let shut: Vec<String> = roles
        .iter()
        .filter_map(|role| {
            let (scalar, _) = role.quota.limits.0.iter().find(|(_, limit)| **limit == 0)?;
            Some(format!("{} (no {scalar})", role.role))
        })
        .collect();
    if !shut.is_empty() {
        return warn(
            "quotas",
            format!("roles whose limit lets nothing run: {}", names(shut.iter().map(String::as_str))),
            "raise it with `stoa quota set ROLE --limit AMOUNTS`, or take it away with `stoa quota clear ROLE`",
        );
    }
    ok("quotas", "what is guaranteed is there")
}

pub(super) fn of_events(events: &Events, now_ms: u64) -> Option<Check> {
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &events.events {
        if event.kind == "agent-back" && now_ms.saturating_sub(event.at_ms) < HOUR_MS {
            let agent = event.agent.as_ref().map_or("", |agent| agent.as_str());
            *turns.entry(agent).or_default() += 1;
        }
    }
    let often: Vec<String> = turns
        .iter()
        .filter(|(_, turns)| **turns >= TURNS)
        .map(|(agent, turns)| format!("{agent} ({turns} times)"))
        .collect();
    (!often.is_empty()).then(|| {
        warn(
            "flapping",
            format!("lost and back within the last hour: {}", names(often.iter().map(String::as_str))),
            "look at the network and the load of these machines; `stoa agent drain NAME` keeps work off one meanwhile",
        )
    })
}
