//! One line of the audit log.

use serde::{Deserialize, Serialize};

use crate::chain::{Head, Seal};

/// The call under which a master writes down how the log of another one stands.
pub const WITNESSED: &str = "seal-audit";

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Carried out.
    Done,
    /// Not carried out; the code says why.
    Denied,
    /// Nobody could tell the caller whether it will be carried out.
    Unknown,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Denied => "denied",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One line. Fields are added to, never changed: a line is checked as it stands, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Given once in the log of this master, without gaps.
    pub sequence: u64,
    /// When, in milliseconds since 1970, by the clock of this master.
    pub at_ms: u64,
    /// The master that wrote it.
    pub master: u64,
    /// A principal, such as `framework/spark`; of what masters do by themselves `master/N`; `nobody` of who showed no certificate.
    pub who: String,
    /// `host:port` of the other end; empty where there is none, or it is gone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// A word of the guide.
    pub call: String,
    /// What it was about; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// What came of it.
    pub verdict: Verdict,
    /// The code of the refusal; empty when it was carried out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// In words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where in the masters' log it was committed; 0 where it was not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub index: u64,
    /// How often, since the line before with the same who, call, verdict and code; of launches, how many tasks.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// SHA-256 of the line before, in hex; zeros in the very first one.
    pub prev: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn one() -> u64 {
    1
}

fn is_one(number: &u64) -> bool {
    *number == 1
}

// === impl Entry ===

impl Entry {
    /// A line as it stands in a file, without its end. An error if it is none.
    pub fn parse(line: &str) -> Result<Entry, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// The line.
    pub fn to_line(&self) -> String {
        // Texts, numbers and a unit variant: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How another master's log stands, if this says so. Only that master itself can have said it to this one.
    pub fn witnessed(&self) -> Option<Seal> {
        if self.call != WITNESSED || self.verdict != Verdict::Done {
            return None;
        }
        let master = self.who.strip_prefix("master/")?.parse().ok()?;
        let head: Head = self.object.parse().ok()?;
        Some(Seal { master, head })
    }
}
