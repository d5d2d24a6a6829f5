//! What a framework says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::role::Role;

/// What a framework says of itself when it subscribes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkInfo {
    /// The name people know it by.
    pub name: String,
    /// The roles it takes offers in; at least one.
    pub roles: Vec<Role>,
    /// How long its tasks live on after it disconnects.
    pub failover_timeout: Duration,
    /// `host:port` of its own door; empty when it has none.
    pub address: String,
    /// Anything else, for people.
    pub labels: BTreeMap<String, String>,
}

impl FrameworkInfo {
    /// Seven days: long enough for a weekend. Mesos' default was zero, which killed every task at the first hiccup.
    pub const FAILOVER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
}
