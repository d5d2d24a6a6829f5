//! The simulator: the house's own machines in a pretend world, driven by one seed.
//!
//! A world is one loop over a queue of events ordered by time. There is no thread, no clock and no randomness but the
//! seed's, so a seed always gives the same run. Masters, agents and the frameworks' sessions are the machines of
//! production; what surrounds them is pretended: disks that forget what was not synced, a network that loses, doubles
//! and delays, containers that run, fail and hang, clocks that differ, processes that die or sleep.
//!
//! | file | what it holds |
//! |---|---|
//! | `world.rs`, `streams.rs` | the loop, the nodes, who hears what when |
//! | `masters.rs`, `peers.rs`, `agents.rs`, `frameworks.rs` | how each kind of node is driven and its outputs performed |
//! | `store.rs`, `store_events.rs`, `store_clients.rs` | what frameworks keep on the masters: its group, how its messages travel, and who uses it |
//! | `members.rs`, `shell.rs` | masters that come and go: who wants it, and what of a master's process is not its machine |
//! | `instances.rs` | frameworks that go for good, and instances that succeed others |
//! | `operator.rs`, `faults.rs` | what people want, what goes wrong |
//! | `network.rs`, `disk.rs`, `hardware.rs`, `containers.rs`, `volumes.rs`, `clock.rs`, `queue.rs` | the pretended things |
//! | `workload.rs`, `wrong.rs` | framework personalities |
//! | `options.rs` | what a seed does |
//! | `pool.rs` | worlds that live for hours |
//! | `check/` | the promises, one file each |
//! | `mutants.rs`, `hunt.rs` | bugs put in on purpose, and what must catch them |
//! | `run.rs`, `soak.rs` | a seed from its beginning to its verdict; many of them |
//! | `trim.rs`, `shrink.rs` | runs without some of what goes wrong, and how little it takes |
//! | `replay.rs`, `state.rs` | what changes from step to step |
//! | `story.rs`, `words.rs` | golden transcripts, and how messages read in them |
//! | `marks.rs` | what must have happened |
//! | `trace.rs` | the fold by which two runs are compared |

pub mod agents;
pub mod check;
pub mod clock;
pub mod containers;
pub mod disk;
pub mod faults;
pub mod frameworks;
pub mod hardware;
#[cfg(feature = "mutants")]
pub mod hunt;
pub mod instances;
pub mod marks;
pub mod masters;
pub mod members;
pub mod mutants;
pub mod network;
pub mod node;
pub mod operator;
pub mod options;
pub mod peers;
pub mod pool;
pub mod queue;
pub mod replay;
pub mod run;
pub mod shell;
pub mod shrink;
pub mod soak;
pub mod state;
pub mod store;
pub mod store_clients;
pub mod store_events;
pub mod story;
pub mod streams;
pub mod trace;
pub mod trim;
pub mod volumes;
pub mod words;
pub mod workload;
pub mod world;
pub mod wrong;
