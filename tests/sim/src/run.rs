//! One seed from its beginning to its verdict: rough times, in which only safety is demanded, then calm ones, in
//! which everything has to heal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use master_raft::Role;
use proto::id::Epoch;

use crate::check::{Broken, Verdict, broken, liveness};
use crate::faults::Came;
use crate::frameworks::Part;
use crate::node::Node;
use crate::options::{MS, Options, Personality, SECOND};
use crate::pool;
use crate::trim::Trim;
use crate::world::World;

/// How often a healing world is looked at.
const LOOK_EVERY: u64 = 250 * MS;

/// How long a process that slept may need to do what it should have done meanwhile.
const CATCH_UP: u64 = 2 * SECOND;

/// How long a healed world is looked at: several times as long as anybody declines for.
const LINGERS: u64 = 20 * SECOND;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The fold over everything that happened.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How long the world lived, in its own nanoseconds.
    pub lived: u64,
    /// How long it took to heal.
    pub healed_in: u64,
    /// How many tasks were executed.
    pub executed: usize,
    /// How many offers were made.
    pub offers: usize,
    /// How many statuses were told.
    pub told: u64,
    /// The most events, and the most offers, in one second.
    pub busiest: (u64, u64),
    /// How often registries were compared.
    pub compared: u64,
    /// How often what happened that is worth counting.
    pub marks: BTreeMap<&'static str, u64>,
}

/// Runs a seed.
pub fn run(seed: u64, loud: bool) -> Result<Report, (Broken, u64)> {
    let mut world = World::new(Options::of(seed), seed);
    world.trace.loud = loud;
    live(&mut world)
}

/// Lets a world live to its end.
pub fn live(world: &mut World) -> Result<Report, (Broken, u64)> {
    let rough = world.options.rough;
    let verdict = match world.options.lives {
        0 => world.run_until(rough).and_then(|()| calm(world)),
        _ => pool::live(world),
    };
    match verdict {
        Ok(healed_in) => Ok(Report {
            hash: world.trace.hash(),
            events: world.trace.events(),
            lived: world.now,
            healed_in,
            executed: world.checks.one_place.count(),
            offers: world.checks.offers.counts().0,
            told: world.checks.updates.count(),
            busiest: world.checks.effort.most(),
            compared: world.checks.agreement.compared(),
            marks: std::mem::take(&mut world.marks),
        }),
        Err(broken) => Err((broken, world.now)),
    }
}

/// What came of a run, and the faults that came in it.
pub struct Outcome {
    /// What was broken, and when; or what there is to say of a run without that.
    pub verdict: Result<Report, String>,
    /// The faults, in their order: up to what was broken, if anything was.
    pub came: Vec<Came>,
}

/// Runs a seed without what is to be left out. Faults are known by their number in the seed's own run.
pub fn trimmed(seed: u64, loud: bool, trim: &Trim) -> Outcome {
    let mut world = trimmed_world(seed, trim);
    world.trace.loud = loud;
    outcome(world)
}

/// The world of a seed without what is to be left out.
pub fn trimmed_world(seed: u64, trim: &Trim) -> World {
    let given = trim.only.as_ref().map(|only| {
        let all = outcome(World::new(Options::of(seed), seed)).came;
        (1..).zip(all).filter(|(number, _)| only.contains(number)).map(|(_, came)| came).collect()
    });
    World::trimmed(Options::of(seed), seed, trim.clone(), given)
}

/// The same with these faults.
pub fn given_faults(seed: u64, trim: &Trim, given: Option<Vec<Came>>) -> Outcome {
    outcome(World::trimmed(Options::of(seed), seed, trim.clone(), given))
}

/// What comes of a world; a panic is a broken promise too.
pub fn outcome(mut world: World) -> Outcome {
    let verdict = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let verdict = match verdict {
        Ok(Ok(report)) => Ok(report),
        Ok(Err((broken, at))) => Err(format!("{:.3}s: {broken}", at as f64 / 1e9)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("{:.3}s: no panic: {}", world.now as f64 / 1e9, text.unwrap_or_default()))
        }
    };
    Outcome { verdict, came: std::mem::take(&mut world.faults.came) }
}

/// Runs a seed; a panic is a broken promise too. What was broken, and when.
pub fn judged(seed: u64, loud: bool) -> Result<Report, String> {
    trimmed(seed, loud, &Trim::default()).verdict
}

/// Once whoever slept has had a moment to catch up.
pub(crate) fn no_offer_outlives_its_lease(world: &World, calm_since: u64) -> Verdict {
    let [leader] = world.leaders()[..] else { return Ok(()) };
    let role = world.master_machine(leader).map(|machine| machine.role());
    let Some(Role::Leader { term }) = role else { return Ok(()) };
    if world.now < calm_since + CATCH_UP {
        return Ok(());
    }
    // Its clock may be slow by as much as the options allow.
    let drift = world.options.offer_timeout / 1_000_000 * world.options.drift_ppm;
    let lease = world.options.offer_timeout + drift + CATCH_UP;
    world.checks.offers.overdue(world.now, Epoch(term), lease)
}

/// Nothing goes wrong any more; how long it took to heal.
pub(crate) fn calm(world: &mut World) -> Result<u64, Broken> {
    let began = world.now;
    world.heal();
    let end = began + world.options.heal_within;
    loop {
        let until = world.now + LOOK_EVERY;
        world.run_until(until)?;
        no_offer_outlives_its_lease(world, began)?;
        let store = world.store_missing();
        let missing = match liveness::missing(world).or(store) {
            None if world.operator.has_lifted() => break,
            None => "an operator's limits are not lifted".to_owned(),
            Some(missing) => missing,
        };
        if world.now >= end {
            let waited = (world.now - began) / 1_000_000_000;
            broken("P13 it heals", format!("{waited}s after the last fault: {missing}"))?;
        }
    }
    liveness::nothing_forgotten(world)?;
    for node in world.nodes().into_iter().filter(|node| matches!(node, Node::Framework(_))) {
        let ended_at = |offer| world.checks.offers.ended_at(offer);
        world.checks.rescinds.rest(node, world.now, ended_at)?;
    }
    let registries = world.registries();
    if registries.iter().any(|registry| *registry != registries[0]) {
        broken("P5 agreement", "the registries of a world at rest differ")?;
    }
    world.store_rests()?;
    let healed_in = world.now - began;
    if world.options.lingers {
        offers_flow(world)?;
    }
    Ok(healed_in)
}

/// What was declined for a while is offered again, in a world in which nobody uses anything or keeps it to himself.
fn offers_flow(world: &mut World) -> Verdict {
    let since = world.now;
    world.run_until(since + LINGERS)?;
    if world
        .frameworks
        .iter()
        .any(|one| one.part == Part::Plays && one.plan.personality == Personality::Silent)
    {
        return Ok(());
    }
    for (framework, number) in world.frameworks.iter().zip(1..) {
        if framework.part == Part::Plays && framework.plan.personality == Personality::Declining {
            world.checks.rescinds.flow(Node::Framework(number), since)?;
        }
    }
    Ok(())
}
