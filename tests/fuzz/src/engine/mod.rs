//! The engine: inputs are changed, run, and kept when they reach something new.
//!
//! | file | what it holds |
//! |---|---|
//! | `mutate.rs`, `bytes.rs`, `tree.rs` | what becomes of an input |
//! | `seen.rs` | what was reached so far |
//! | `trial.rs` | one input: how it ends, what it took |
//! | `hunt.rs` | the loop |
//! | `corpus.rs` | inputs in a file that people can read |
//! | `keep.rs` | the fewest inputs that reach all of it |

mod bytes;
pub mod corpus;
pub mod hunt;
pub mod keep;
pub mod mutate;
mod seen;
pub mod tree;
pub mod trial;
