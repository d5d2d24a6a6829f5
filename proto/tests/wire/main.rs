//! What is written to the wire reads back the same, for every type that travels, and nothing that arrives makes a reader panic.

mod list;
mod messages;
mod round_trip;

use std::path::Path;

use messages::Messages;
use proto::wire::Wire as _;

fn contracts() -> Messages {
    Messages::of_the_contracts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("v1"))
}

#[test]
fn every_type_reads_back_as_it_was_written() {
    let messages = contracts();
    list::TRIPS.iter().for_each(|trip| (trip.whole)(trip, &messages));
}

#[test]
fn damaged_bytes_are_refused_or_understood() {
    let messages = contracts();
    list::TRIPS.iter().for_each(|trip| (trip.damaged)(trip, &messages));
}

#[test]
fn an_event_of_a_later_version_is_read_as_a_sign_of_life_in_its_place() {
    // Field 1 is the sequence, 7; field 31 is a message of a kind that nobody knows.
    let bytes = [0x08, 7, 0xfa, 0x01, 2, 0x08, 1];
    let event = proto::scheduler::Event::decode(&bytes).expect("it is understood");
    assert_eq!(event, proto::scheduler::Event { sequence: 7, kind: proto::scheduler::EventKind::Heartbeat });
}
