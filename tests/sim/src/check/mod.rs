//! The checkers: one file for each promise. They know nothing of how the machines keep it.

pub mod agreement;
pub mod alive;
pub mod conservation;
pub mod durable;
pub mod effort;
pub mod fencing;
pub mod launches;
pub mod liveness;
pub mod members;
pub mod offers;
pub mod one_place;
pub mod quota;
pub mod rescinds;
pub mod store;
pub mod takeover;
pub mod updates;
pub mod volumes;

use std::fmt;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: &'static str,
    /// How.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.how)
    }
}

/// What a checker says.
pub type Verdict = Result<(), Broken>;

/// The promise is broken.
pub fn broken(promise: &'static str, how: impl Into<String>) -> Verdict {
    Err(Broken { promise, how: how.into() })
}

/// All checkers that keep books over a whole run.
#[derive(Debug, Default)]
pub struct Checks {
    /// Same index, same registry.
    pub agreement: agreement::Agreement,
    /// Nobody ends a task that nobody asked to end.
    pub alive: alive::Alive,
    /// No more is done than the world asks for.
    pub effort: effort::Effort,
    /// Nothing offered or used twice, as leaders see it.
    pub conservation: conservation::Conservation,
    /// One leader in an epoch, and no obedience to an older one.
    pub fencing: fencing::Fencing,
    /// What was accepted runs or is reported.
    pub launches: launches::Launches,
    /// Each offer ends once.
    pub offers: offers::Ledger,
    /// A task starts once.
    pub one_place: one_place::OnePlace,
    /// Limits and reservations bound what is offered.
    pub quota: quota::Quotas,
    /// Frameworks know which of their offers are over.
    pub rescinds: rescinds::Rescinds,
    /// An instance that was succeeded can do nothing.
    pub takeover: takeover::Takeover,
    /// Updates come in order.
    pub updates: updates::Updates,
    /// Data is kept, for its owner, until it is destroyed.
    pub volumes: volumes::Volumes,
    /// What was written under each number of a master.
    pub written: durable::Written,
}

/// Which promise the words of a verdict name, behind the time if there is one.
pub fn promise_of(how: &str) -> &str {
    let words = match how.split_once("s: ") {
        Some((at, words)) if at.parse::<f64>().is_ok() => words,
        Some(_) | None => how,
    };
    words.split_once(':').map_or(words, |(promise, _)| promise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_its_promise() {
        assert_eq!(promise_of("12.250s: P4 in order: it was: not"), "P4 in order");
        assert_eq!(promise_of("volumes: its data: gone"), "volumes");
    }
}
