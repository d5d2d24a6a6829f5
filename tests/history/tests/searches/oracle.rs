//! The search against a second opinion: every order of small histories, tried one after another.

use proto_machine::Dice;
use tests_history::key::OneKey;
use tests_history::object::{Action, Object};
use tests_history::search::{Event, Model, Verdict, search};
use tests_history::store::events_of;

use super::play::Play;

/// Whether one of all orders of these, with or without each of those that were not answered, explains them. No memory and
/// no cleverness: each order is written down, and then looked at.
fn can_be<M: Model>(model: &M, events: &[Event<M::Action>]) -> bool {
    let open: Vec<usize> = (0..events.len()).filter(|at| events[*at].answered.is_none()).collect();
    (0..1_u32 << open.len()).any(|chosen| {
        let left = |at: &usize| match open.iter().position(|of| of == at) {
            Some(place) => chosen & (1 << place) != 0,
            None => true,
        };
        let mut order: Vec<usize> = (0..events.len()).filter(left).collect();
        let length = order.len();
        any_order(&mut order, length, &mut |order| explains(model, events, order))
    })
}

/// Heap's algorithm.
fn any_order(order: &mut Vec<usize>, length: usize, is_it: &mut impl FnMut(&[usize]) -> bool) -> bool {
    if length <= 1 {
        return is_it(order);
    }
    for at in 0..length {
        if any_order(order, length - 1, is_it) {
            return true;
        }
        order.swap(if length.is_multiple_of(2) { at } else { 0 }, length - 1);
    }
    false
}

fn explains<M: Model>(model: &M, events: &[Event<M::Action>], order: &[usize]) -> bool {
    for (place, later) in order.iter().enumerate() {
        let first_called = events[*later].called;
        let behind = order[place + 1..].iter();
        // Whatever stands behind it must not have been answered before it was called.
        if behind.filter_map(|at| events[*at].answered).any(|answered| answered < first_called) {
            return false;
        }
    }
    let mut state = model.first();
    order.iter().all(|at| match model.after(&state, &events[*at].action) {
        Some(next) => {
            state = next;
            true
        }
        None => false,
    })
}

/// Looks at both, and counts what they agree on: possible, impossible.
fn compare<M: Model>(model: &M, events: &[Event<M::Action>], counts: &mut [u32; 2], seed: u64)
where
    M::Action: std::fmt::Debug,
{
    let can = can_be(model, events);
    let found = match search(model, events, 1_000_000) {
        Verdict::Ordered(_) => true,
        Verdict::Impossible { .. } => false,
        Verdict::Undecided => panic!("seed {seed}: undecided"),
    };
    assert_eq!(found, can, "seed {seed}: {events:#?}");
    counts[usize::from(!can)] += 1;
}

fn span(dice: &mut Dice) -> (u64, Option<u64>) {
    let called = dice.below(12);
    (called, (!dice.chance(1, 5)).then(|| called + dice.below(6)))
}

#[test]
fn the_search_says_what_every_order_of_a_small_history_says_of_objects() {
    let mut counts = [0; 2];
    for seed in 0..6_000 {
        let mut dice = Dice::new(seed);
        let count = 1 + dice.below(6);
        let events: Vec<Event<Action>> = (0..count)
            .map(|_| {
                let (called, answered) = span(&mut dice);
                let action = match dice.below(6) {
                    0 | 1 => Action::Set(1 + dice.below(2)),
                    2 => Action::Remove(answered.map(|_| dice.chance(1, 2))),
                    3 => Action::Read { value: dice.below(3), version: Some(dice.below(3)) },
                    _ => Action::Read { value: dice.below(3), version: None },
                };
                Event { called, answered, action }
            })
            .filter(|event| event.answered.is_some() || !matches!(event.action, Action::Read { .. }))
            .collect();
        compare(&Object, &events, &mut counts, seed);
    }
    assert!(counts.iter().all(|count| *count > 1_000), "both were seen: {counts:?}");
}

#[test]
fn the_search_says_what_every_order_of_a_small_history_says_of_keys() {
    let mut counts = [0; 2];
    for seed in 0..6_000 {
        let mut dice = Dice::new(seed);
        let ops = Play::new(seed, 3, 1).play(8);
        let mut events = events_of(&ops.ops, 0)
            .expect("answers fit")
            .into_iter()
            .map(|(_, event)| event)
            .collect::<Vec<_>>();
        events.truncate(6);
        let count = events.len() as u64;
        if count > 0 && dice.chance(3, 4) {
            // Two that could have been told each other's answers, or another time.
            let (a, b) = (dice.below(count) as usize, dice.below(count) as usize);
            let action = events[a].action.clone();
            match dice.below(3) {
                0 => events[b].action = action,
                1 => {
                    let times = (events[a].called, events[a].answered);
                    if times.1.is_some() == events[b].answered.is_some() {
                        (events[b].called, events[b].answered) = times;
                    }
                }
                _ => {
                    events[b].called += 3;
                    events[b].answered = events[b].answered.map(|answered| answered + 3);
                }
            }
        }
        compare(&OneKey, &events, &mut counts, seed);
    }
    assert!(counts.iter().all(|count| *count > 1_000), "both were seen: {counts:?}");
}
