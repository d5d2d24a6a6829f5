//! What can be asked of a leader: one verb, one file; two-step verbs have both halves in the same file.

pub(crate) mod accept;
pub(crate) mod acknowledge;
pub(crate) mod beat;
pub(crate) mod drain;
pub(crate) mod earmark;
pub(crate) mod expire;
pub(crate) mod explain;
pub(crate) mod interest;
pub(crate) mod kill;
pub(crate) mod lose_agent;
pub(crate) mod offer;
pub(crate) mod operate;
pub(crate) mod quota;
pub(crate) mod reconcile;
pub(crate) mod register;
pub(crate) mod rights;
pub(crate) mod secrets;
pub(crate) mod subscribe;
pub(crate) mod take_lead;
pub(crate) mod teardown;
pub(crate) mod update;
pub(crate) mod volumes;
pub(crate) mod why;
