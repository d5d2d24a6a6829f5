//! The JSON of what every noun is made of. Field names are promised: they are added to, never changed.

use std::collections::{BTreeMap, BTreeSet};

use proto::quantities::Scalar;
use serde::Serialize;

/// The version of every JSON and YAML document.
pub const API_VERSION: &str = "stoa/v1";

/// One object as a document.
#[derive(Debug, Serialize)]
pub struct Document<T> {
    #[serde(rename = "apiVersion")]
    pub api_version: &'static str,
    pub kind: &'static str,
    #[serde(flatten)]
    pub body: T,
}

/// A document of this kind.
pub fn document<T>(kind: &'static str, body: T) -> Document<T> {
    Document { api_version: API_VERSION, kind, body }
}

/// A list.
#[derive(Debug, Serialize)]
pub struct Listing<T> {
    /// The index of the log as of which it holds.
    pub as_of: u64,
    pub from_leader: bool,
    pub items: Vec<T>,
}

/// One line of a watch.
#[derive(Debug, Serialize)]
pub struct Change<T> {
    pub epoch: u64,
    pub sequence: u64,
    /// `current`, `changed`, or how it ended: `removed`, `accepted`, `declined`, `rescinded`, `expired`.
    pub change: &'static str,
    /// What it is now, or was last.
    pub item: T,
}

/// Scalars.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantities {
    pub cpus_milli: u64,
    pub mem_bytes: u64,
    pub disk_bytes: u64,
    pub gpus: u64,
    /// Thousandths by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_milli: BTreeMap<String, u64>,
}

impl From<&proto::quantities::Quantities> for Quantities {
    fn from(all: &proto::quantities::Quantities) -> Self {
        Quantities {
            cpus_milli: all.get(&Scalar::Cpus),
            mem_bytes: all.get(&Scalar::Mem),
            disk_bytes: all.get(&Scalar::Disk),
            gpus: all.get(&Scalar::Gpus),
            custom_milli: all.custom().iter().map(|(name, milli)| (name.to_string(), *milli)).collect(),
        }
    }
}

/// Limits: what is absent is unbounded.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub cpus_milli: Option<u64>,
    pub mem_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub gpus: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_milli: BTreeMap<String, u64>,
}

impl From<&proto::quota::Limits> for Limits {
    fn from(limits: &proto::quota::Limits) -> Self {
        let mut shape = Limits::default();
        for (scalar, limit) in &limits.0 {
            match scalar {
                Scalar::Cpus => shape.cpus_milli = Some(*limit),
                Scalar::Mem => shape.mem_bytes = Some(*limit),
                Scalar::Disk => shape.disk_bytes = Some(*limit),
                Scalar::Gpus => shape.gpus = Some(*limit),
                Scalar::Custom(name) => drop(shape.custom_milli.insert(name.to_string(), *limit)),
            }
        }
        shape
    }
}

/// Scalars, ranges and sets.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub scalars: Quantities,
    /// Inclusive pairs by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<String, Vec<(u64, u64)>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

impl From<&proto::resources::Amount> for Amount {
    fn from(amount: &proto::resources::Amount) -> Self {
        Amount {
            scalars: (&amount.scalars).into(),
            ranges: amount
                .ranges()
                .iter()
                .map(|(name, ranges)| (name.to_string(), ranges.pairs().to_vec()))
                .collect(),
            sets: amount.sets().iter().map(|(name, items)| (name.to_string(), items.clone())).collect(),
        }
    }
}

/// One portion of an agent.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Portion {
    /// For which role it is kept; null for anybody.
    pub reservation: Option<String>,
    /// Whose disk it is; null for no volume's.
    pub volume: Option<String>,
    #[serde(flatten)]
    pub amount: Amount,
}

/// The portions of resources.
pub fn portions(resources: &proto::resources::Resources) -> Vec<Portion> {
    let shape = |portion: &proto::resources::Portion| Portion {
        reservation: portion.reservation.as_ref().map(ToString::to_string),
        volume: portion.volume.as_ref().map(ToString::to_string),
        amount: (&portion.amount).into(),
    };
    resources.portions().iter().map(shape).collect()
}
