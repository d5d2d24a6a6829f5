//! What becomes of an input: some changes, each drawn from what its kind allows.

use proto_machine::Dice;
use tests_fuzz_counters::compared::Pair;

use super::{bytes, tree};
use crate::target::Kind;

/// Numbers at which programs change their mind.
const INTERESTING: [u64; 24] = [
    0,
    1,
    2,
    3,
    7,
    15,
    16,
    63,
    127,
    128,
    255,
    256,
    511,
    512,
    1_000,
    4_096,
    65_535,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// What inputs can be made richer with.
pub struct Pantry<'a> {
    /// Other inputs.
    pub inputs: &'a [Vec<u8>],
    /// Words of the language.
    pub words: &'a [&'a str],
}

impl<'a> Pantry<'a> {
    /// Another input.
    pub fn donor(&self, dice: &mut Dice) -> Option<&'a [u8]> {
        dice.pick(self.inputs).map(Vec::as_slice)
    }

    /// A word, or a part of another input if the language has none.
    pub fn word(&self, dice: &mut Dice) -> Vec<u8> {
        dice.pick(self.words).map(|word| word.as_bytes().to_vec()).unwrap_or_default()
    }
}

/// A number at which programs change their mind.
pub fn interesting(dice: &mut Dice) -> u64 {
    let number = dice.pick(&INTERESTING).copied().unwrap_or_default();
    match dice.below(4) {
        0 => number.wrapping_neg(),
        1 => number.wrapping_add(dice.below(3)).wrapping_sub(1),
        _ => number,
    }
}

/// Changes an input, some times over.
pub fn mutate(kind: Kind, input: &mut Vec<u8>, dice: &mut Dice, pantry: &Pantry<'_>) {
    let times = 1 << dice.below(4);
    if kind == Kind::Wire
        && !dice.chance(1, 8)
        && let Some(mut fields) = tree::parse(input)
    {
        for _ in 0..times {
            tree::mutate(&mut fields, dice, pantry);
        }
        *input = tree::emit(&fields);
        return;
    }
    for _ in 0..times {
        bytes::mutate(input, dice, pantry);
    }
}

/// The input with one side of a comparison in place of the other, wherever the other is found first from a random place on.
pub fn give(input: &[u8], pair: Pair, dice: &mut Dice) -> Option<Vec<u8>> {
    let (from, to) = if dice.chance(1, 2) { (pair.left, pair.right) } else { (pair.right, pair.left) };
    let width = pair.bytes.min(8);
    let little = |number: u64| number.to_le_bytes()[..width].to_vec();
    let big = |number: u64| number.to_be_bytes()[8 - width..].to_vec();
    let varint = |number: u64| {
        let mut bytes = Vec::new();
        tree::put_varint(&mut bytes, number);
        bytes
    };
    let (from, to) = match dice.below(4) {
        0 | 1 => (little(from), little(to)),
        2 => (big(from), big(to)),
        _ => (varint(from), varint(to)),
    };
    let start = dice.below(input.len() as u64) as usize;
    let found = |bytes: &[u8]| bytes.windows(from.len()).position(|window| window == from);
    let at = found(&input[start..]).map(|at| start + at).or_else(|| found(input))?;
    let mut given = input.to_vec();
    given.splice(at..at + from.len(), to);
    Some(given)
}
