//! The verbs: one file for each thing that is asked of an agent or that it does.

pub(crate) mod acknowledge;
pub(crate) mod check;
pub(crate) mod contain;
pub(crate) mod join;
pub(crate) mod kill;
pub(crate) mod launch;
pub(crate) mod leave;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod volumes;
