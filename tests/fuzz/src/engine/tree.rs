//! Trees: bytes as the fields of a protobuf message, and what can be done to one without breaking the lengths around it.
//!
//! No schema is used: what reads as a message is taken for one.

use proto_machine::Dice;

use super::bytes;
use super::mutate::{Pantry, interesting};

/// How deep a message is looked into. What is deeper stays bytes.
const DEPTH_MAX: usize = 16;
/// How often a field is repeated at most.
const REPEATS_MAX: u64 = 40;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number.
    pub number: u64,
    /// What it holds.
    pub value: Value,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes or packed numbers.
    Bytes(Vec<u8>),
    /// A message.
    Message(Vec<Field>),
    /// Four bytes.
    Fixed32(u32),
}

/// Bytes as a message; `None` if they are none.
pub fn parse(bytes: &[u8]) -> Option<Vec<Field>> {
    parse_at(bytes, 0)
}

fn parse_at(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let number = key >> 3;
        if number == 0 || number > 1 << 29 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(take_varint(&mut bytes)?),
            1 => Value::Fixed64(u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                inner(take(&mut bytes, length)?, depth)
            }
            5 => Value::Fixed32(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?)),
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn inner(bytes: &[u8], depth: usize) -> Value {
    let text = !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    if !text
        && depth < DEPTH_MAX
        && let Some(fields) = parse_at(bytes, depth + 1)
    {
        return Value::Message(fields);
    }
    Value::Bytes(bytes.to_vec())
}

/// The fields of the outermost message that hold bytes, as far as they can be read.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let key = take_varint(&mut bytes)?;
            match key & 7 {
                0 => drop(take_varint(&mut bytes)?),
                1 => drop(take(&mut bytes, 8)?),
                2 => {
                    let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                    return Some((key >> 3, take(&mut bytes, length)?));
                }
                5 => drop(take(&mut bytes, 4)?),
                _ => return None,
            }
        }
    })
}

/// The first field of this number that is a number; 0 if there is none, as protobuf has it.
pub fn number(mut bytes: &[u8], wanted: u64) -> u64 {
    let mut look = || {
        loop {
            let key = take_varint(&mut bytes)?;
            match key & 7 {
                0 => {
                    let value = take_varint(&mut bytes)?;
                    if key >> 3 == wanted {
                        return Some(value);
                    }
                }
                1 => drop(take(&mut bytes, 8)?),
                2 => {
                    let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                    take(&mut bytes, length)?;
                }
                5 => drop(take(&mut bytes, 4)?),
                _ => return None,
            }
        }
    };
    look().unwrap_or_default()
}

/// The first field of this number that holds bytes; none if there is none.
pub fn bytes(input: &[u8], wanted: u64) -> &[u8] {
    messages(input).find(|(number, _)| *number == wanted).map_or(&[], |(_, bytes)| bytes)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A number as protobuf writes it.
pub fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// A field of bytes.
pub fn put_bytes(to: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(to, number << 3 | 2);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// A field that is a number.
pub fn put_number(to: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(to, number << 3);
    put_varint(to, value);
}

/// The bytes of a message.
pub fn emit(fields: &[Field]) -> Vec<u8> {
    let mut to = Vec::new();
    for Field { number, value } in fields {
        match value {
            Value::Varint(value) => put_number(&mut to, *number, *value),
            Value::Fixed64(value) => {
                put_varint(&mut to, number << 3 | 1);
                to.extend(value.to_le_bytes());
            }
            Value::Bytes(bytes) => put_bytes(&mut to, *number, bytes),
            Value::Message(fields) => put_bytes(&mut to, *number, &emit(fields)),
            Value::Fixed32(value) => {
                put_varint(&mut to, number << 3 | 5);
                to.extend(value.to_le_bytes());
            }
        }
    }
    to
}

fn count(fields: &[Field]) -> u64 {
    fields
        .iter()
        .map(|field| 1 + if let Value::Message(inner) = &field.value { count(inner) } else { 0 })
        .sum()
}

/// Does `act` to the message that holds the `at`th field of a tree, and to the field's place in it.
fn at_field(fields: &mut Vec<Field>, at: &mut u64, act: &mut dyn FnMut(&mut Vec<Field>, usize)) -> bool {
    for n in 0..fields.len() {
        if *at == 0 {
            act(fields, n);
            return true;
        }
        *at -= 1;
        if let Value::Message(inner) = &mut fields[n].value
            && at_field(inner, at, act)
        {
            return true;
        }
    }
    false
}

fn every<'a>(fields: &'a [Field], into: &mut Vec<&'a Field>) {
    for field in fields {
        into.push(field);
        if let Value::Message(inner) = &field.value {
            every(inner, into);
        }
    }
}

/// Removes what can be: each field, the outer ones first, whose loss `holds`.
pub fn prune(fields: &mut Vec<Field>, holds: &mut dyn FnMut(&[Field]) -> bool) {
    let mut at = 0;
    while at < count(fields) {
        let mut less = fields.clone();
        at_field(&mut less, &mut at.clone(), &mut |siblings, n| {
            siblings.remove(n);
        });
        if holds(&less) { *fields = less } else { at += 1 }
    }
}

/// Changes one thing; `false` if there is nothing to change.
pub fn mutate(fields: &mut Vec<Field>, dice: &mut Dice, pantry: &Pantry<'_>) -> bool {
    let donor = pantry.donor(dice).and_then(parse).unwrap_or_default();
    let all = count(fields);
    if all == 0 {
        fields.extend(donor);
        return !fields.is_empty();
    }
    let mut at = dice.below(all);
    at_field(fields, &mut at, &mut |siblings, n| change(siblings, n, dice, pantry, &donor))
}

fn change(siblings: &mut Vec<Field>, n: usize, dice: &mut Dice, pantry: &Pantry<'_>, donor: &[Field]) {
    let mut others = Vec::new();
    every(donor, &mut others);
    match dice.below(16) {
        0 => {
            siblings.remove(n);
        }
        1 => siblings.insert(n, siblings[n].clone()),
        2 => {
            let times = dice.below(REPEATS_MAX);
            let field = siblings[n].clone();
            siblings.extend((0..times).map(|_| field.clone()));
        }
        3 => {
            let other = dice.below(siblings.len() as u64) as usize;
            siblings.swap(n, other);
        }
        4 => siblings[n].number = 1 + (siblings[n].number + dice.below(3)).wrapping_sub(2) % 64,
        // A field of the same number out of another input: mostly of the same kind.
        5..8 => {
            let alike: Vec<&&Field> =
                others.iter().filter(|field| field.number == siblings[n].number).collect();
            if let Some(field) = dice.pick(&alike) {
                siblings[n] = (**field).clone();
            }
        }
        8 => {
            if let Some(field) = dice.pick(&others) {
                siblings.insert(n, (*field).clone());
            }
        }
        9 if dice.chance(1, 4) => {
            let depth = dice.below(120);
            let number = siblings[n].number;
            for _ in 0..depth {
                let inner = std::mem::replace(&mut siblings[n].value, Value::Varint(0));
                siblings[n].value = Value::Message(vec![Field { number, value: inner }]);
            }
        }
        _ => leaf(&mut siblings[n].value, dice, pantry),
    }
}

fn leaf(value: &mut Value, dice: &mut Dice, pantry: &Pantry<'_>) {
    match value {
        Value::Varint(number) => *number = other_number(*number, dice),
        Value::Fixed64(number) => *number = other_number(*number, dice),
        Value::Fixed32(number) => *number = other_number(u64::from(*number), dice) as u32,
        Value::Bytes(bytes) => bytes::mutate(bytes, dice, pantry),
        Value::Message(fields) => match dice.below(4) {
            0 => fields.clear(),
            1 => fields.reverse(),
            2 => *value = Value::Bytes(emit(fields)),
            _ => *value = Value::Varint(interesting(dice)),
        },
    }
}

fn other_number(number: u64, dice: &mut Dice) -> u64 {
    match dice.below(6) {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 => number ^ 1 << dice.below(64),
        3 => dice.below(8),
        4 => dice.next_u64() >> dice.below(64),
        _ => interesting(dice),
    }
}
