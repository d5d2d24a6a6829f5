//! Who speaks, as its certificate says: the subject of every authorization.

use std::fmt;
use std::str::FromStr;

use crate::id::{AgentId, MasterId};

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A member of the master group.
    Master(MasterId),
    /// An agent.
    Agent(AgentId),
    /// A framework's principal.
    Framework(String),
    /// A person.
    User(String),
}

// === impl Caller ===

impl Caller {
    /// Whether it may read the metrics of a process. Here, because agents and frameworks have a page too, and ask the
    /// same question as the masters' authorization: people and masters may, guests and agents have no business there.
    pub fn may_read_metrics(&self) -> bool {
        match self {
            Caller::Master(_) | Caller::User(_) => true,
            Caller::Agent(_) | Caller::Framework(_) => false,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Master(id) => write!(f, "master/{id}"),
            Caller::Agent(id) => write!(f, "agent/{id}"),
            Caller::Framework(name) => write!(f, "framework/{name}"),
            Caller::User(name) => write!(f, "user/{name}"),
        }
    }
}

impl FromStr for Caller {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not of the form master/1, agent/ID, framework/NAME or user/NAME");
        let (kind, name) = text.split_once('/').ok_or_else(bad)?;
        let name_ok = !name.is_empty()
            && name.len() <= 128
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@'));
        match kind {
            "master" => {
                name.parse().ok().filter(|id| *id > 0).map(|id| Caller::Master(MasterId(id))).ok_or_else(bad)
            }
            "agent" => AgentId::new(name).map(Caller::Agent).map_err(|_| bad()),
            "framework" if name_ok => Ok(Caller::Framework(name.to_owned())),
            "user" if name_ok => Ok(Caller::User(name.to_owned())),
            _ => Err(bad()),
        }
    }
}
