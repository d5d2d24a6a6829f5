//! What is written to the wire reads back the same, for every type that travels, and nothing that arrives makes a reader panic.

mod list;
mod messages;
mod round_trip;

use messages::Messages;

#[test]
fn every_type_reads_back_as_it_was_written() {
    let messages = Messages::of_the_contracts();
    list::TRIPS.iter().for_each(|trip| (trip.whole)(trip, &messages));
}

#[test]
fn damaged_bytes_are_refused_or_understood() {
    let messages = Messages::of_the_contracts();
    list::TRIPS.iter().for_each(|trip| (trip.damaged)(trip, &messages));
}
