//! One seed from its beginning to its verdict: rough times, in which only safety is demanded, then calm ones, in
//! which everything has to heal.

use std::collections::BTreeMap;

use crate::check::{Broken, broken, liveness};
use crate::options::{MS, Options};
use crate::world::World;

/// How often a healing world is looked at.
const LOOK_EVERY: u64 = 250 * MS;

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
            compared: world.checks.agreement.compared(),
            marks: world.marks,
        }),
        Err(broken) => Err((broken, world.now)),
    }
}

fn calm(world: &mut World) -> Result<u64, Broken> {
    let began = world.now;
    world.heal();
    let end = began + world.options.heal_within;
    loop {
        let until = world.now + LOOK_EVERY;
        world.run_until(until)?;
        let missing = match liveness::missing(world) {
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
    let registries = world.registries();
    if registries.iter().any(|registry| *registry != registries[0]) {
        broken("P5 agreement", "the registries of a world at rest differ")?;
    }
    Ok(world.now - began)
}
