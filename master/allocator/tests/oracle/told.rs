//! What explanations say before an allocation: it must come so, and each verdict must hold in the model.

use std::collections::BTreeMap;

use master_allocator::{Account, Allocator, Away, Grant, Outside};
use proto::demand::Demand;
use proto::explain::Explanation;
use proto::id::{AgentId, DemandId};
use proto::quantities::Quantities;
use proto::quota::Limits;
use proto::resources::{Amount, Resources};
use proto::role::Role;

use crate::model::{Client, Model};

/// What was said of a client, or of one of its demands.
pub type Told = BTreeMap<(Client, Option<DemandId>), Explanation>;

/// Everybody's explanations.
pub fn foretell(allocator: &Allocator, model: &Model) -> Told {
    let mut told = BTreeMap::new();
    let outside = Outside {
        name: &ToString::to_string,
        away: &|_| Away::default(),
        tasks: &|_| Vec::new(),
        absent: &[],
    };
    for (id, framework) in &model.frameworks {
        let answers = allocator.explain(id, None, &outside, model.now);
        if framework.driven {
            for (demand, answer) in framework.stated.iter().zip(answers) {
                // Only the first of those with the same id in a role counts.
                if !is_stated(demand) {
                    continue;
                }
                let key = ((id.clone(), demand.role.clone()), Some(demand.id.clone()));
                told.entry(key).or_insert(answer);
            }
        } else {
            for (role, answer) in framework.roles.keys().zip(answers) {
                told.insert(((id.clone(), role.clone()), None), answer);
            }
        }
    }
    told
}

/// Holds what was said against what came: `before` and `after` are the model around the grants.
pub fn check(told: &Told, grants: &[Grant], before: &Model, after: &Model) {
    for ((client, id), answer) in told {
        let mine = |g: &Grant| g.framework == client.0 && g.role == client.1 && g.demand == *id;
        let (given, promised) = (grants.iter().any(mine), answer.verdict.contains("about to be made"));
        let context = || format!("{client:?} {id:?}: {answer:#?}\n{grants:#?}\n{after:#?}");
        assert_eq!(given, promised, "{}", context());
        assert!(!answer.verdict.is_empty(), "{}", context());
        assert!(answer.funnel.is_sorted_by(|a, b| a.left >= b.left), "{}", context());
        assert!(answer.nearest.len() <= 3 && answer.funnel.iter().all(|step| step.fell_out.len() <= 20));
        // Somebody who waits for a rule of the pool finds no agent at the end of the funnel.
        let waits =
            !matches!(&*answer.code, "served" | "wants-nothing" | "suppressed" | "framework-disconnected");
        let last = answer.funnel.last().map(|step| step.left);
        assert!(!waits || last == Some(0), "{}", context());
        let stated = after.frameworks[&client.0].stated.iter();
        let demand =
            stated.into_iter().find(|d| is_stated(d) && Some(&d.id) == id.as_ref() && d.role == client.1);
        if let Err(why) = holds(client, demand, answer, before, after) {
            panic!("{why}: {}", context());
        }
    }
}

/// Whether a verdict is true by the plainest reading of it.
fn holds(
    client: &Client,
    demand: Option<&Demand>,
    answer: &Explanation,
    before: &Model,
    after: &Model,
) -> Result<(), &'static str> {
    let framework = &after.frameworks[&client.0];
    let yes = |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(why) };
    let active: Vec<&AgentId> = after.agents.iter().filter(|(_, row)| row.active).map(|(id, _)| id).collect();
    match &*answer.code {
        "framework-disconnected" => return yes(!framework.active, "it is connected"),
        "suppressed" => return yes(framework.roles.get(&client.1) != Some(&false), "it is not suppressed"),
        "no-agents" => return yes(after.agents.is_empty(), "there are agents"),
        "agent-disconnected" => {
            let away = after.agents.values().any(|row| !row.active);
            return yes(away, "every agent is connected");
        }
        "holds-too-much" => return yes(!after.may_hold(client, &Quantities::ZERO), "it may hold more"),
        _ => {}
    }
    let Some(demand) = demand else { return Ok(()) };
    let allowed: Vec<&AgentId> =
        active.into_iter().filter(|agent| demand.constraints.allow(&after.agents[*agent].info)).collect();
    if answer.code == "constraints" {
        return yes(allowed.is_empty(), "an agent meets the constraints");
    }
    let any = |does: &dyn Fn(&AgentId) -> bool| allowed.iter().any(|agent| does(agent));
    let total = |agent: &AgentId| after.agents[agent].total.clone();
    // Several rules at once: only the agents as they are can be judged simply.
    let alone = !answer.verdict.contains("not the only rule");
    let (whole, roomy) = (
        any(&|agent| has(&total(agent), None, demand)),
        any(&|agent| has(&total(agent), Some(&client.1), demand)),
    );
    match &*answer.code {
        "too-large" => yes(!whole, "an agent is large enough"),
        "reserved" => {
            yes(whole && (!alone || any(&|agent| has(&after.free(agent), None, demand))), "nothing is")
        }
        "no-room" => yes(roomy && !any(&|agent| would_fit(after, client, demand, agent)), "there is room"),
        "offered" => {
            let mut freed = after.clone();
            freed.pieces.retain(|piece| piece.account == Account::Used);
            yes(any(&|agent| has(&freed.free(agent), Some(&client.1), demand)), "offers hold nothing")
        }
        "filtered" if alone => {
            let roles = after.all_roles();
            let fits = |agent: &AgentId| after.fits(client, demand, agent, &roles, 1);
            let refused = |agent: &AgentId| after.is_refused(client, demand, agent, (false, true));
            yes(any(&|agent| fits(agent) && refused(agent)), "nothing that fits was declined")
        }
        "quota-limit" if alone => {
            let mut freed = after.clone();
            freed.quotas.values_mut().for_each(|quota| quota.limits = Limits::default());
            yes(any(&|agent| would_fit(&freed, client, demand, agent)), "without limits it does not fit")
        }
        "quota-headroom" if alone => {
            let mut freed = after.clone();
            freed.quotas.values_mut().for_each(|quota| quota.guarantees = Quantities::ZERO);
            yes(any(&|agent| would_fit(&freed, client, demand, agent)), "without guarantees it does not fit")
        }
        "fair-share" => yes(any(&|agent| would_fit(before, client, demand, agent)), "it never fitted"),
        _ => Ok(()),
    }
}

/// One for nothing is as if it were not stated.
fn is_stated(demand: &Demand) -> bool {
    demand.count > 0 && !demand.shape.is_empty()
}

fn would_fit(model: &Model, client: &Client, demand: &Demand, agent: &AgentId) -> bool {
    let roles = model.all_roles();
    model.fits(client, demand, agent, &roles, 1) && !model.is_refused(client, demand, agent, (false, true))
}

/// Whether some resources, without volumes, hold one unit; with a role only what that may have.
fn has(resources: &Resources, role: Option<&Role>, demand: &Demand) -> bool {
    let mut all = Amount::default();
    for portion in resources.portions().iter().filter(|portion| portion.volume.is_none()) {
        let kept = portion.reservation.as_ref();
        if kept.is_none_or(|kept| role.is_none_or(|role| role.is_within(kept))) {
            all.add(&portion.amount);
        }
    }
    all.scalars.contains(&demand.shape.scalars)
        && demand.shape.ranges().iter().all(|(name, ranges)| all.range(name).count() >= ranges.count())
        && demand.shape.sets().iter().all(|(name, items)| {
            all.sets().iter().any(|(found, have)| found == name && items.is_subset(have))
        })
}
