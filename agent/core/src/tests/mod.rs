//! Stories of one agent, rule by rule, and a world that crashes it everywhere.

mod chaos;
mod checks;
pub(crate) mod fixtures;
mod join;
mod kill;
mod launch;
mod restore;
mod rig;
mod room;
mod status;
mod volumes;
