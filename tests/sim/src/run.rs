//! One seed from its beginning to its verdict: rough times, in which only safety is demanded, then calm ones, in
//! which everything has to heal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use master_raft::Role;
use proto::id::Epoch;

use crate::check::{Broken, Verdict, broken, liveness};
use crate::frameworks::Part;
use crate::node::Node;
use crate::options::{MS, Options, Personality, SECOND};
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
    let options = Options::of(seed);
    let mut world = World::new(options, seed);
    world.trace.loud = loud;
    let rough = world.options.rough;
    let verdict = world.run_until(rough).and_then(|()| calm(&mut world));
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
            marks: world.marks,
        }),
        Err(broken) => Err((broken, world.now)),
    }
}

/// Runs a seed; a panic is a broken promise too. What was broken, and when.
pub fn judged(seed: u64, loud: bool) -> Result<Report, String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, loud))) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err((broken, at))) => Err(format!("{:.3}s: {broken}", at as f64 / 1e9)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("0s: no panic: {}", text.unwrap_or_default()))
        }
    }
}

/// Once whoever slept has had a moment to catch up.
fn no_offer_outlives_its_lease(world: &World, calm_since: u64) -> Verdict {
    let [leader] = world.leaders()[..] else { return Ok(()) };
    let role = world.master_machine(leader).map(|machine| machine.raft_status().role);
    let Some(Role::Leader { term }) = role else { return Ok(()) };
    if world.now < calm_since + CATCH_UP {
        return Ok(());
    }
    // Its clock may be slow by as much as the options allow.
    let drift = world.options.offer_timeout / 1_000_000 * world.options.drift_ppm;
    let lease = world.options.offer_timeout + drift + CATCH_UP;
    world.checks.offers.overdue(world.now, Epoch(term), lease)
}

fn calm(world: &mut World) -> Result<u64, Broken> {
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
        world.checks.rescinds.rest(node, world.now, &world.checks.offers)?;
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
