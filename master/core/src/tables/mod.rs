//! The leader's soft facts: each table owns its data and knows no sibling.

pub(crate) mod agents;
pub(crate) mod frameworks;
pub(crate) mod offers;
pub(crate) mod tasks;
