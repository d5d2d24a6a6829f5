//! Refusals: a stable code, what is wrong, and what to do.

use std::fmt;

/// The stable codes of refusals; each has a help line and a section in `docs/guide/reasons.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The caller's certificate does not allow it.
    Denied,
    /// Something named does not exist.
    NotFound,
    /// A field is malformed or out of bounds.
    Invalid,
    /// It clashes with what is there.
    Conflict,
    /// The offers are over, or another's.
    StaleOffer,
    /// The leader changed before it was committed; the same operation id may be sent again.
    LeaderLost,
    /// The framework was torn down; its id is dead.
    FrameworkRemoved,
    /// A newer session of the same framework took over.
    SessionReplaced,
    /// Too much at once.
    TooMuch,
    /// A join token is unknown, used up or out of time.
    BadToken,
    /// The agent was declared gone and may not come back under this id.
    AgentGone,
    /// The answering master cannot do it now.
    Unavailable,
    /// That revision of the store is no longer remembered.
    Compacted,
    /// Somebody claimed this space of the store later.
    Fenced,
}

impl Code {
    /// All codes, for the tests that hold documentation and help lines against them.
    pub const ALL: [Code; 14] = [
        Code::Denied,
        Code::NotFound,
        Code::Invalid,
        Code::Conflict,
        Code::StaleOffer,
        Code::LeaderLost,
        Code::FrameworkRemoved,
        Code::SessionReplaced,
        Code::TooMuch,
        Code::BadToken,
        Code::AgentGone,
        Code::Unavailable,
        Code::Compacted,
        Code::Fenced,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Denied => "denied",
            Code::NotFound => "not-found",
            Code::Invalid => "invalid",
            Code::Conflict => "conflict",
            Code::StaleOffer => "stale-offer",
            Code::LeaderLost => "leader-lost",
            Code::FrameworkRemoved => "framework-removed",
            Code::SessionReplaced => "session-replaced",
            Code::TooMuch => "too-much",
            Code::BadToken => "bad-token",
            Code::AgentGone => "agent-gone",
            Code::Unavailable => "unavailable",
            Code::Compacted => "compacted",
            Code::Fenced => "fenced",
        }
    }

    /// What to do about it, when the refusal itself says nothing better.
    pub fn help(self) -> &'static str {
        match self {
            Code::Denied => "ask an operator for a principal with this right",
            Code::NotFound => "list what exists with `stoa get`",
            Code::Invalid => "mend the named field and send it again",
            Code::Conflict => {
                "look at what is there with `stoa describe`, then choose another name or change that"
            }
            Code::StaleOffer => "wait for fresh offers; unused ones expire",
            Code::LeaderLost => "send it again with the same operation id; it is carried out at most once",
            Code::FrameworkRemoved => "subscribe without a framework id to start anew",
            Code::SessionReplaced => "only one instance of a framework can act; stop the other or this one",
            Code::TooMuch => "send less at once",
            Code::BadToken => "make a fresh one with `stoa token create`",
            Code::AgentGone => "wipe the agent's data directory and join again",
            Code::Unavailable => "try again in a moment, or ask another master",
            Code::Compacted => "read what is there now, and watch from the revision of that reply",
            Code::Fenced => "another instance has taken over; stop this one, or claim the space again",
        }
    }

    /// The code of a word on the wire.
    pub fn parse(word: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

/// A refusal: an answer, never an error inside a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What is wrong, naming the field or object.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Refusal {
    /// A refusal with the code's own help.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal { code, message: message.into(), help: code.help().to_owned() }
    }

    /// The same with better help.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}); {}", self.message, self.code.as_str(), self.help)
    }
}
