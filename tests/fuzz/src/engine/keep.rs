//! The fewest and shortest inputs that reach all that some inputs reach.

use std::collections::BTreeSet;

use super::seen::Seen;
use super::{tree, trial};
use crate::target::{Kind, Target};

/// What an input reaches: places, and about how often.
type Features = BTreeSet<(u32, u8)>;

/// Inputs that reach everything that `inputs` reach, up to so many bytes in a file: those that reach the most first.
pub fn fewest(target: &Target, inputs: Vec<Vec<u8>>, most_bytes: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<(Vec<u8>, Features)> = inputs
        .into_iter()
        .filter_map(|input| Some((features(target, &input)?, input)))
        .map(|(f, i)| (i, f))
        .collect();
    all.sort_by_key(|(input, _)| input.len());
    let mut reached = BTreeSet::new();
    let mut kept = Vec::new();
    let mut bytes = 0;
    while bytes < most_bytes {
        // What a byte of it reaches anew, with a constant for the line itself.
        let worth = |input: &Vec<u8>, features: &Features| {
            features.difference(&reached).count() * 1_000 / (input.len() + 32)
        };
        let best = all.iter().max_by_key(|(input, features)| worth(input, features));
        let Some((input, features)) = best.filter(|(_, features)| !features.is_subset(&reached)) else {
            break;
        };
        let (input, new) = (input.clone(), features.difference(&reached).copied().collect::<BTreeSet<_>>());
        let short = shorter(target, input, &new);
        bytes += super::corpus::escape(&short).len() + 1;
        reached.extend(new);
        if bytes <= most_bytes {
            kept.push(short);
        }
    }
    kept
}

fn features(target: &Target, input: &[u8]) -> Option<Features> {
    Seen::clear();
    trial::run(target, input).ok()?;
    Some(Seen::features().into_iter().collect())
}

/// The input without what it does not need for these features.
fn shorter(target: &Target, input: Vec<u8>, wanted: &Features) -> Vec<u8> {
    let holds = |input: &[u8]| features(target, input).is_some_and(|reached| wanted.is_subset(&reached));
    let mut input = input;
    let mut budget = 400;
    if target.kind == Kind::Wire
        && let Some(mut fields) = tree::parse(&input)
        && tree::emit(&fields) == input
    {
        tree::prune(&mut fields, &mut |fields| {
            budget -= 1;
            budget > 0 && holds(&tree::emit(fields))
        });
        return tree::emit(&fields);
    }
    let mut piece = input.len() / 2;
    while piece > 0 && budget > 0 {
        let mut at = 0;
        while at < input.len() && budget > 0 {
            let mut less = input.clone();
            less.drain(at..(at + piece).min(input.len()));
            budget -= 1;
            if holds(&less) { input = less } else { at += piece }
        }
        piece /= 2;
    }
    input
}
