//! Marks: what must have happened in a slice of CI. A promise that is kept where nothing happens says nothing.

use std::collections::BTreeMap;

use crate::members;

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

/// What happens where masters come and go.
pub const OF_MEMBERS: &[&str] = &[
    "a bit of a master's log flipped",
    "a change of masters was refused",
    "a change of masters was taken back",
    "a lost master was given up during a change",
    "a master did not start with a damaged log",
    "a master did not start without its log",
    "a master was added",
    "a master was removed",
    "a master was replaced",
    "a master whose disk was lost was replaced",
    "a master whose disk was lost was to be replaced",
    "a master's log went away",
    "a new master was let in",
    "a removed master came back, and was turned away",
    "a removed master was told, and stopped",
    "a snapshot of the store was installed on a master that joins",
    "a snapshot was installed on a master that joins",
    "masters-changed",
    "masters-settled",
    "the lead was handed over",
    "the leader died during a change of masters",
    "the leader was removed",
    "the leader was replaced",
    "the log was cut while a master caught up",
];

/// What must have happened in so many seeds from this one on.
pub fn of_seeds(from: u64, count: u64) -> &'static [&'static str] {
    if from >= members::FIRST && count >= members::ENOUGH { OF_MEMBERS } else { &[] }
}

/// What of all that did not happen.
pub fn missing(wanted: &[&'static str], marks: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    wanted.iter().copied().filter(|what| !marks.contains_key(what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_named() {
        for (wanted, one) in [(OF_POOLS, "an offer ran out"), (OF_MEMBERS, "the leader was removed")] {
            let mut marks: BTreeMap<&'static str, u64> = wanted.iter().map(|what| (*what, 1)).collect();
            assert_eq!(marks.len(), wanted.len(), "each stands there once");
            assert!(missing(wanted, &marks).is_empty());
            marks.remove(one);
            assert_eq!(missing(wanted, &marks), [one]);
        }
        assert_eq!(of_seeds(members::FIRST, members::ENOUGH), OF_MEMBERS);
        assert!(of_seeds(members::FIRST, members::ENOUGH - 1).is_empty());
    }
}
