//! What `stoa sdk new rust` writes: the framework with its own five tests, and its report card.

extern crate self as framework;

#[path = "../template/rust/tests/framework.rs"]
mod its_tests;
#[path = "../template/rust/src/lib.rs"]
mod keep;

pub use keep::Keep;
