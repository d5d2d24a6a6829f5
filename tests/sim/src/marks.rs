//! Marks: what must have happened in a slice of CI. A promise that is kept where nothing happens says nothing.

use std::collections::BTreeMap;

/// So many hours of pools have seen everything.
pub const ENOUGH: u64 = 300;

/// What happens in pools sooner or later: faults, what people do, what comes of offers and tasks, and what the log tells.
pub const OF_POOLS: &[&str] = &[
    // what goes wrong
    "a clock was set",
    "a datagram came twice",
    "a datagram was lost",
    "a disk was slow",
    "a framework asked for what is others'",
    "a framework died",
    "a framework died midway",
    "a framework was succeeded by another instance",
    "a leader slept",
    "a master died",
    "a master died midway",
    "a master was cut off",
    "a process slept",
    "a process stopped at a sync that failed",
    "a process stopped at its full disk",
    "a process was away for long",
    "a stream broke",
    "agents lost a leader while an earlier one slept",
    "an agent died",
    "an agent died midway",
    "an agent refused a task for want of room",
    "an agent waited for room on its disk",
    "an agent's machine was restarted",
    "two nodes could not speak",
    // what comes of it
    "a call was refused",
    "a framework ended itself",
    "a framework was removed",
    "a ledger was rewritten",
    "a master took the lead",
    "a member took the lead of the store",
    "a snapshot was sent",
    "an instance of a framework was sent away",
    "an offer ran out",
    "an offer was declined",
    "an offer was taken back",
    "an offer was used",
    // what people and frameworks want
    "a group was to be launched",
    "a volume was to be made or destroyed",
    "a volume was used again",
    "a volume was used first",
    "a volume's data was deleted",
    "an agent was to be drained",
    "disk was to be reserved or not",
    "several offers were used all or none",
    // what the log tells
    "agent-admitted",
    "agent-back",
    "agent-changed",
    "agent-drained",
    "agent-resumed",
    "agent-unreachable",
    "framework-changed",
    "framework-disconnected",
    "framework-reconnected",
    "framework-registered",
    "framework-removed",
    "quota-set",
    "reserved",
    "task-ended",
    "task-kill-wanted",
    "task-launched",
    "task-unreachable",
    "unreserved",
    "volume-created",
    "volume-deleted",
    "volume-destroyed",
    "weight-set",
];

/// What of all that did not happen.
pub fn missing(marks: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    OF_POOLS.iter().copied().filter(|what| !marks.contains_key(what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_named() {
        let mut marks: BTreeMap<&'static str, u64> = OF_POOLS.iter().map(|what| (*what, 1)).collect();
        assert_eq!(marks.len(), OF_POOLS.len(), "each stands there once");
        assert!(missing(&marks).is_empty());
        marks.remove("an offer ran out");
        assert_eq!(missing(&marks), ["an offer ran out"]);
    }
}
