//! The store against a model that keeps every state there ever was, over random lives of one space.

mod life;
mod model;

use master_store::{SpaceId, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proto::store::{Bytes, Keys};
use proto::store_log::Entry;

use life::{Step, steps};
use model::Model;

fn id() -> SpaceId {
    SpaceId { owner: "framework/jobs".to_owned(), name: String::new() }
}

fn runner(cases: u32) -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(Config { cases, failure_persistence: None, ..Config::default() }, rng)
}

/// Plays a life on both, and holds everything that can be seen of one against the other.
fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut store, mut model) = (Store::default(), Model::default());
    let mut applied = 0;
    for step in steps {
        match step {
            Step::Change(kind) => {
                let entry =
                    Entry { owner: id().owner, space: String::new(), epoch: None, kind: kind.clone() };
                let told = store.apply(entry);
                let expected = model.apply(&kind);
                applied += u32::from(expected.is_ok());
                prop_assert_eq!(&told.outcome, &expected, "{:?}", kind);
                prop_assert_eq!(told.revision, model.revision(), "{:?}", kind);
            }
            Step::Look(range) => {
                let default = master_store::Space::default();
                let space = store.space(&id()).unwrap_or(&default);
                prop_assert_eq!(space.range(&range), model.range(&range), "{:?}", range);
            }
            Step::Watch { keys, from, prev_kv } => {
                let default = master_store::Space::default();
                let space = store.space(&id()).unwrap_or(&default);
                let told = space.changes(&keys, from, prev_kv, u64::MAX);
                let told = told.map(|changes| changes.events);
                prop_assert_eq!(told, model.changes(&keys, from, prev_kv), "{:?} {}", keys, from);
            }
            Step::Restart => {
                let image = store.to_image();
                let back = Store::from_image(&image).map_err(|bad| TestCaseError::fail(bad.to_string()))?;
                prop_assert_eq!(&back, &store);
                prop_assert_eq!(&back.to_image(), &image);
                store = back;
            }
        }
        if let Some(space) = store.space(&id()) {
            prop_assert_eq!(space.live_bytes(), model.live_bytes());
            for (lease, ttl_ms, _) in space.leases() {
                let keys: Vec<Bytes> = space.lease_keys(lease).cloned().collect();
                prop_assert_eq!((Some(ttl_ms), keys), (model.ttl(lease), model.keys_of(lease)));
            }
            // When nothing is remembered but what is there, nothing is counted for the past.
            if space.compacted() == space.revision() {
                prop_assert_eq!(space.history_bytes(), 0);
            }
        }
    }
    prop_assume!(applied > 0);
    Ok(())
}

#[test]
fn the_store_does_what_the_model_does() {
    runner(400).run(&steps(), play).unwrap();
}

#[test]
fn changes_can_be_taken_in_any_portions() {
    let portions = (steps(), 0..600u64);
    let test = |(steps, bytes): (Vec<Step>, u64)| {
        let mut store = Store::default();
        for step in steps {
            if let Step::Change(kind) = step {
                store.apply(Entry { owner: id().owner, space: String::new(), epoch: None, kind });
            }
        }
        let Some(space) = store.space(&id()) else { return Ok(()) };
        let keys = Keys::prefix("");
        let whole = space.changes(&keys, space.compacted(), true, u64::MAX).unwrap();
        let (mut next, mut told) = (space.compacted(), Vec::new());
        while next <= space.revision() {
            let part = space.changes(&keys, next, true, bytes).unwrap();
            prop_assert!(part.next > next, "it gets on");
            prop_assert!(
                part.events.iter().all(|event| event.kv.mod_revision < part.next),
                "whole revisions"
            );
            told.extend(part.events);
            next = part.next;
        }
        prop_assert_eq!(told, whole.events);
        prop_assert_eq!(next, whole.next);
        Ok(())
    };
    runner(100).run(&portions, test).unwrap();
}

#[test]
fn damaged_images_are_refused_or_understood() {
    let damaged = (steps(), any::<prop::sample::Index>(), any::<u8>());
    let test = |(steps, at, with): (Vec<Step>, prop::sample::Index, u8)| {
        let mut store = Store::default();
        for step in steps {
            if let Step::Change(kind) = step {
                store.apply(Entry { owner: id().owner, space: String::new(), epoch: None, kind });
            }
        }
        let mut image = store.to_image();
        let at = at.index(image.len());
        image[at] ^= with;
        // Whatever it says, reading it ends.
        let _ = Store::from_image(&image);
        Ok(())
    };
    runner(200).run(&damaged, test).unwrap();
}
