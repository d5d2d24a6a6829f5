//! Bytes and text: what can be done to either without knowing what it means.

use proto_machine::Dice;

use super::mutate::{Pantry, interesting};

/// Changes one thing.
pub fn mutate(input: &mut Vec<u8>, dice: &mut Dice, pantry: &Pantry<'_>) {
    let length = input.len() as u64;
    if length == 0 {
        let word = pantry.word(dice);
        return input.extend(if word.is_empty() { vec![dice.next_u64() as u8] } else { word });
    }
    let at = dice.below(length) as usize;
    match dice.below(16) {
        0 => input[at] ^= 1 << dice.below(8),
        1 => input[at] = dice.next_u64() as u8,
        2 => input[at] = input[at].wrapping_add([1, 255, 16, 240][dice.below(4) as usize]),
        3 => input.truncate(at),
        4 => {
            let run = range(dice, length);
            input.drain(run);
        }
        5 => {
            let piece = input[range(dice, length)].to_vec();
            splice(input, at, &piece, 0);
        }
        6 => {
            let piece = input[range(dice, length)].to_vec();
            splice(input, at, &piece, piece.len());
        }
        7 => {
            let piece = input[range(dice, length.min(64))].repeat(1 + dice.below(40) as usize);
            splice(input, at, &piece, 0);
        }
        8 | 9 => {
            let word = pantry.word(dice);
            let over = if dice.chance(1, 2) { word.len() } else { 0 };
            splice(input, at, &word, over);
        }
        10 => {
            let number = interesting(dice).to_le_bytes();
            let width = 1 << dice.below(4);
            splice(input, at, &number[..width], width);
        }
        11 => {
            let mut number = interesting(dice).to_be_bytes().to_vec();
            let width = 1 << dice.below(4);
            number.drain(..8 - width);
            splice(input, at, &number, width);
        }
        12 => number_in_text(input, at, dice),
        13 => lines(input, dice),
        14 => {
            if let Some(donor) = pantry.donor(dice).filter(|donor| !donor.is_empty()) {
                let piece = donor[range(dice, donor.len() as u64)].to_vec();
                let over = if dice.chance(1, 2) { piece.len() } else { 0 };
                splice(input, at, &piece, over);
            }
        }
        _ => {
            if let Some(donor) = pantry.donor(dice).filter(|donor| !donor.is_empty()) {
                let from = dice.below(donor.len() as u64) as usize;
                input.truncate(at);
                input.extend_from_slice(&donor[from..]);
            }
        }
    }
}

/// Some part, mostly a short one.
fn range(dice: &mut Dice, length: u64) -> std::ops::Range<usize> {
    let from = dice.below(length);
    let most = if dice.chance(3, 4) { 16 } else { length };
    let run = 1 + dice.below(most.min(length - from));
    from as usize..(from + run) as usize
}

/// Puts a piece in, over so many bytes of what was there.
fn splice(input: &mut Vec<u8>, at: usize, piece: &[u8], over: usize) {
    let end = (at + over).min(input.len());
    input.splice(at..end, piece.iter().copied());
}

/// Another number where digits stand.
fn number_in_text(input: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(from) = input[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let run = input[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match dice.below(3) {
        0 => interesting(dice),
        1 => dice.below(100),
        _ => dice.next_u64() >> dice.below(64),
    };
    splice(input, from, number.to_string().as_bytes(), run);
}

/// Lines removed, doubled, moved.
fn lines(input: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let (n, m) = (dice.below(lines.len() as u64) as usize, dice.below(lines.len() as u64) as usize);
    match dice.below(3) {
        0 => {
            lines.remove(n);
        }
        1 => lines.insert(m, lines[n]),
        _ => lines.swap(n, m),
    }
    *input = lines.join(&b'\n');
}
