//! Ids: one macro, one list; ids of different things never mix.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id that is accepted, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadId {
    /// Nothing there.
    Empty,
    /// Longer than [`ID_BYTES_MAX`].
    TooLong,
    /// A control character, white space, `/` or `\`.
    BadCharacter(char),
    /// Not of this id's own form.
    BadForm(&'static str),
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadId::Empty => f.write_str("is empty; give it a value"),
            BadId::TooLong => write!(f, "is longer than {ID_BYTES_MAX} bytes; shorten it"),
            BadId::BadCharacter(c) => {
                write!(f, "holds {c:?}; use letters, digits and - _ . : @ # and the like")
            }
            BadId::BadForm(form) => write!(f, "is not of the form {form}"),
        }
    }
}

fn check_id(text: &str) -> Result<(), BadId> {
    if text.is_empty() {
        return Err(BadId::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(BadId::TooLong);
    }
    // Ids become file names, metric labels and terminal output: what would be special there is refused here.
    if text == "." || text == ".." {
        return Err(BadId::BadForm("a name other than . and .."));
    }
    // As nearly all are: lists of thousands are read.
    if text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\')) {
        return Ok(());
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\')) {
        Some(c) => Err(BadId::BadCharacter(c)),
        None => Ok(()),
    }
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a text.
            pub fn new(text: &str) -> Result<Self, BadId> {
                check_id(text).map(|()| Self(Arc::from(text)))
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

text_ids! {
    /// One agent, for its whole life; made by the agent at its first start.
    AgentId;
    /// One framework, over all its failovers; given by the master at the first subscribe.
    FrameworkId;
    /// One task of a framework; chosen by the framework, unique while the master remembers it.
    TaskId;
    /// One call of a framework, chosen by it; the same id is never carried out twice.
    OperationId;
    /// One persistent volume on one agent; chosen by the framework.
    VolumeId;
    /// One declared demand of a framework; chosen by it.
    DemandId;
    /// A task group of a framework; chosen by it.
    GroupId;
    /// One secret of a role; chosen by an operator.
    SecretName;
    /// The file of a secret, for a task.
    FileName;
}

/// One member of the master group: the id of its Raft peer. Never zero, never reused after data loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterId(pub u64);

impl fmt::Display for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The term of a leader: it fences every message of an older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One offer: the epoch of the leader that made it and its number there, so that no two leaders make the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId {
    /// The epoch of the leader that made it.
    pub epoch: Epoch,
    /// Its number, from 1, within that epoch.
    pub number: u64,
}

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "O{}-{}", self.epoch.0, self.number)
    }
}

impl fmt::Debug for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for OfferId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        const FORM: BadId = BadId::BadForm("O<epoch>-<number>");
        let (epoch, number) = text.strip_prefix('O').and_then(|t| t.split_once('-')).ok_or(FORM)?;
        Ok(OfferId {
            epoch: Epoch(epoch.parse().map_err(|_| FORM)?),
            number: number.parse().map_err(|_| FORM)?,
        })
    }
}

/// One start of a task: its incarnation. Made from the place of the launch in the log, so it is never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u128);

impl RunId {
    /// The run launched as number `ordinal` by the log entry at `index`.
    pub fn at(index: u64, ordinal: u64) -> Self {
        RunId((u128::from(index) << 64) | u128::from(ordinal))
    }

    /// Sixteen bytes, big endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From sixteen bytes, big endian.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        RunId(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.0 >> 64, self.0 as u64)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_would_be_special_in_a_path() {
        assert_eq!(TaskId::new(""), Err(BadId::Empty));
        assert_eq!(TaskId::new("a/b"), Err(BadId::BadCharacter('/')));
        assert_eq!(TaskId::new("a\u{1b}"), Err(BadId::BadCharacter('\u{1b}')));
        assert!(matches!(TaskId::new(".."), Err(BadId::BadForm(_))));
        assert_eq!(TaskId::new(&"x".repeat(129)), Err(BadId::TooLong));
        assert_eq!(TaskId::new("web.1").map(|t| t.to_string()), Ok("web.1".into()));
    }

    #[test]
    fn an_offer_id_reads_back() {
        let id = OfferId { epoch: Epoch(7), number: 42 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("7-42".parse::<OfferId>().is_err());
    }
}
