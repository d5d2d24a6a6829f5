//! What an author wants to run: groups of tasks by name, stated as they should be and never as steps to get there.

mod change;
mod elastic;
mod group;
mod name;
mod restart;
mod spec;
mod volume;

pub use change::RollingChange;
pub use elastic::{ElasticSet, Standing};
pub use group::{BadGroup, Group, Numbers, Spread, Unreachable};
pub(crate) use name::{Birth, Life};
pub use name::{GroupName, InstanceName, Revision};
pub use restart::{BackOff, Counts, End, Next, Restart};
pub use spec::TaskSpec;
pub use volume::VolumeSpec;
