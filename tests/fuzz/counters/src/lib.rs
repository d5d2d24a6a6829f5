//! What a fuzzer counts in its own process: which lines ran ([`lines`]), what was compared ([`compared`]), how much memory was
//! taken ([`memory`]).
//!
//! Lines and comparisons are counted by code that the compiler puts into the crates that are looked at (`tests/fuzz/wrap`
//! says how). In a build without it there are none, and whoever counts finds nothing.

pub mod compared;
pub mod lines;
pub mod memory;
