//! Where domain types and wire messages meet: what cannot be expressed here never gets in.

#[macro_use]
mod macros;
mod agent_link;
mod backup;
mod ledger;
mod log;
mod operator;
mod raft;
mod scheduler;
mod store;
mod store_log;
mod types;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::caller::Caller;
use crate::id::{Epoch, MasterId, OfferId, RunId};
use crate::quantities::{Quantities, Scalar};
use crate::rights::RolePattern;
use crate::role::{Role, Weight};
use crate::secret::Confidential;

/// A message that does not say what its kind must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field, as a path from the message's top: `accept.parts[0].operations[2].launch.tasks[0].id`.
    pub path: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

impl Malformed {
    /// A fault of one field.
    pub fn at(path: &str, why: impl Into<String>) -> Self {
        Malformed { path: path.to_owned(), why: why.into() }
    }

    /// The same fault, seen from one level further up.
    pub fn within(mut self, field: &str) -> Self {
        let gap = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{gap}{}", self.path);
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.why) } else { write!(f, "{} {}", self.path, self.why) }
    }
}

impl std::error::Error for Malformed {}

/// A domain type that travels: as which message, and how it is read back.
pub trait Wire: Sized {
    /// The wire message.
    type Message: prost::Message + Default;

    /// As a message.
    fn to_wire(&self) -> Self::Message;

    /// From a message. Errors name the field.
    fn from_wire(message: Self::Message) -> Result<Self, Malformed>;

    /// As bytes.
    fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(&self.to_wire())
    }

    /// From bytes.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = <Self::Message as prost::Message>::decode(bytes)
            .map_err(|error| Malformed::at("", format!("the bytes are not such a message: {error}")))?;
        Self::from_wire(message)
    }
}

/// A domain type that is a plain field on the wire.
pub(crate) trait Plain<W>: Sized {
    fn to_plain(&self) -> W;
    fn from_plain(wire: W) -> Result<Self, String>;
}

/// A domain enum that is a `oneof` on the wire.
pub(crate) trait OneOf<K>: Sized {
    fn to_oneof(&self) -> K;
    fn from_oneof(kind: K) -> Result<Self, Malformed>;
}

macro_rules! same {
    ($($ty:ty),+) => {$(
        impl Plain<$ty> for $ty {
            fn to_plain(&self) -> $ty {
                self.clone()
            }
            fn from_plain(wire: $ty) -> Result<Self, String> {
                Ok(wire)
            }
        }
    )+};
}

same!(prost::bytes::Bytes, String, u64, u32, i32, i64, bool, Vec<u8>, Vec<String>, BTreeMap<String, String>);

macro_rules! parsed {
    ($($ty:ty),+) => {$(
        impl Plain<String> for $ty {
            fn to_plain(&self) -> String {
                self.to_string()
            }
            fn from_plain(wire: String) -> Result<Self, String> {
                wire.parse().map_err(|bad| format!("{bad}"))
            }
        }
    )+};
}

parsed!(
    crate::id::AgentId,
    crate::id::FrameworkId,
    crate::id::TaskId,
    crate::id::OperationId,
    crate::id::VolumeId,
    crate::id::DemandId,
    crate::id::GroupId,
    crate::id::SecretName,
    crate::id::FileName,
    OfferId,
    Role,
    Caller,
    RolePattern
);

/// An optional name where the wire has a text that may be empty.
macro_rules! optional_names {
    ($($ty:ty),+) => {$(
        impl Plain<String> for Option<$ty> {
            fn to_plain(&self) -> String {
                self.as_ref().map(ToString::to_string).unwrap_or_default()
            }
            fn from_plain(wire: String) -> Result<Self, String> {
                if wire.is_empty() { Ok(None) } else { <$ty>::from_plain(wire).map(Some) }
            }
        }
    )+};
}

optional_names!(
    crate::id::AgentId,
    crate::id::FrameworkId,
    crate::id::TaskId,
    crate::id::OperationId,
    crate::id::FileName,
    Role,
    Caller
);

impl Plain<String> for Cow<'static, str> {
    fn to_plain(&self) -> String {
        self.to_string()
    }
    fn from_plain(wire: String) -> Result<Self, String> {
        Ok(Cow::Owned(wire))
    }
}

impl Plain<u64> for Duration {
    fn to_plain(&self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
    fn from_plain(wire: u64) -> Result<Self, String> {
        Ok(Duration::from_millis(wire))
    }
}

/// A port.
impl Plain<u32> for u16 {
    fn to_plain(&self) -> u32 {
        u32::from(*self)
    }
    fn from_plain(wire: u32) -> Result<Self, String> {
        u16::try_from(wire).map_err(|_| format!("is {wire}; a port is at most 65535"))
    }
}

impl Plain<u64> for Epoch {
    fn to_plain(&self) -> u64 {
        self.0
    }
    fn from_plain(wire: u64) -> Result<Self, String> {
        Ok(Epoch(wire))
    }
}

impl Plain<u64> for MasterId {
    fn to_plain(&self) -> u64 {
        self.0
    }
    fn from_plain(wire: u64) -> Result<Self, String> {
        if wire == 0 { Err("is 0; members count from 1".to_owned()) } else { Ok(MasterId(wire)) }
    }
}

impl Plain<u32> for Weight {
    fn to_plain(&self) -> u32 {
        self.milli()
    }
    fn from_plain(wire: u32) -> Result<Self, String> {
        Weight::from_milli(wire).ok_or_else(|| "is 0; a weight is above zero (1000 is ordinary)".to_owned())
    }
}

impl Plain<Vec<u8>> for Confidential {
    fn to_plain(&self) -> Vec<u8> {
        self.reveal().to_vec()
    }
    fn from_plain(wire: Vec<u8>) -> Result<Self, String> {
        Ok(Confidential::new(wire))
    }
}

impl Plain<Vec<u8>> for RunId {
    fn to_plain(&self) -> Vec<u8> {
        self.to_bytes().to_vec()
    }
    fn from_plain(wire: Vec<u8>) -> Result<Self, String> {
        let bytes: [u8; 16] = wire.try_into().map_err(|_| "is not sixteen bytes".to_owned())?;
        Ok(RunId::from_bytes(bytes))
    }
}

/// An optional run where the wire has bytes that may be empty.
impl Plain<Vec<u8>> for Option<RunId> {
    fn to_plain(&self) -> Vec<u8> {
        self.as_ref().map(Plain::to_plain).unwrap_or_default()
    }
    fn from_plain(wire: Vec<u8>) -> Result<Self, String> {
        if wire.is_empty() { Ok(None) } else { RunId::from_plain(wire).map(Some) }
    }
}

impl Plain<BTreeMap<String, u64>> for crate::quota::Limits {
    fn to_plain(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|(scalar, limit)| (scalar.name().to_owned(), *limit)).collect()
    }
    fn from_plain(wire: BTreeMap<String, u64>) -> Result<Self, String> {
        Ok(crate::quota::Limits(
            wire.into_iter().map(|(name, limit)| (Scalar::named(&name), limit)).collect(),
        ))
    }
}

pub(crate) fn custom_of(quantities: &Quantities) -> BTreeMap<String, u64> {
    quantities.custom().iter().map(|(name, amount)| (name.to_string(), *amount)).collect()
}
