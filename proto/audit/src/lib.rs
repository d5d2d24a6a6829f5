//! The audit log as masters write it and anybody can check it: lines that each hold the hash of the line before.
//!
//! [`Entry`] is a line, [`Checker`] reads the lines of one master in order and names the first that is not as it was written,
//! [`files`] finds them on a disk. A line cannot be edited, taken out or put in without the next one showing it. What was cut
//! off at the end is shown by a [`Seal`]: the other masters write into their own logs up to where they have seen this one.

mod chain;
mod checker;
mod entry;
pub mod files;

pub use chain::{BadHead, Hash, Head, Seal};
pub use checker::{Broken, Checker, Found, How};
pub use entry::{Entry, Verdict, WITNESSED};
