//! The tables: they own their data and know no sibling.

pub(crate) mod checks;
pub(crate) mod forgotten;
pub(crate) mod membership;
pub(crate) mod parting;
pub(crate) mod runs;
pub(crate) mod updates;
pub(crate) mod volumes;
