//! The disk of an agent: what its ledger holds is read as what was written, or named as damaged, and makes an agent that can say
//! it all again.

use std::fs;

use agent::ledger::{Done, Ledger};

use crate::engine::tree;
use crate::scratch::Scratch;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

const BOOT: &str = "2c1d1f2e-0000-4000-8000-000000000001";
const SALT: u64 = 0x0123_4567_89ab_cdef;
const HEADER_BYTES: usize = 32;

/// A frame as the format says, written here once more.
fn frame(file: &mut Vec<u8>, kind: u8, synced: u64, body: &[u8]) {
    let length = (body.len() as u32 + 1).to_le_bytes();
    let mut sum = SALT.to_le_bytes().to_vec();
    sum.extend(length);
    let mut rest = synced.to_le_bytes().to_vec();
    rest.push(kind);
    rest.extend_from_slice(body);
    sum.extend(&rest);
    file.extend(length);
    file.extend(crc32fast::hash(&sum).to_le_bytes());
    file.extend(rest);
}

fn header() -> Vec<u8> {
    let mut header = b"STOALEDG".to_vec();
    header.extend(1u32.to_le_bytes());
    header.extend(SALT.to_le_bytes());
    header.extend((HEADER_BYTES as u64).to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

pub(super) const LEDGER: Target = Target::new(
    "ledger",
    "any file is read as the records of an agent, the same each time, or named as damaged",
    Kind::Wire,
    ledger,
)
.up_to(8 << 10);

/// Field 1: the file as it is. Fields 2 and 3: a frame with a record, and one with the start of the machine. Field 4: bytes.
fn ledger(input: &[u8]) -> Verdict {
    thread_local! {
        static DIR: Scratch = Scratch::new("ledger");
    }
    DIR.with(|dir| {
        dir.clear();
        let mut file = header();
        for (number, message) in tree::messages(input) {
            let end = file.len() as u64;
            match number {
                1 => file = message.to_vec(),
                2 => frame(&mut file, 2, end, message),
                3 => frame(&mut file, 1, end, message),
                4 => file.extend_from_slice(message),
                _ => {}
            }
        }
        fs::write(dir.path().join("ledger"), &file).map_err(|error| error.to_string())?;
        let Ok(opened) = Ledger::open(dir.path(), BOOT) else { return Ok(Taken::No) };
        let records = opened.records;
        drop(opened.ledger);
        let again =
            Ledger::open(dir.path(), BOOT).map_err(|error| format!("it was read once, and then: {error}"))?;
        ensure(again.records == records, || format!("it was {records:?} and is {:?}", again.records))?;
        let mut ledger = again.ledger;
        let done =
            ledger.append(&records, true).map_err(|error| format!("its own records are refused: {error}"))?;
        ensure(done == Done::Whole, || "the disk of the fuzzer is full".to_owned())?;
        drop(ledger);
        let twice = Ledger::open(dir.path(), BOOT).map_err(|error| error.to_string())?;
        ensure(twice.records == [records.clone(), records.clone()].concat(), || {
            "what was appended is not there".to_owned()
        })?;
        Ok(if records.is_empty() { Taken::No } else { Taken::Yes })
    })
}
