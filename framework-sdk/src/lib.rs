//! What a framework author, or any tool of the cluster, needs: the session with the master, and the words it speaks.
//!
//! Four ways to use it, each alone:
//! - [`Framework`]: state what should run, in groups, and have it kept so. Start here.
//! - [`run`]: write a [`Scheduler`], hand it over, and have it driven until it ends. It finds the leader, fails over,
//!   reconciles, acknowledges and declines by itself. [`spawn`] is the same for a framework with a shell of its own.
//! - [`client::Client`]: the session as async calls, for tools that would rather ask than be asked.
//! - [`state::State`]: what a framework keeps on the masters, and [`state::campaign`]: which of its instances acts.
//!   [`Framework`] uses both by itself; [`store::StateStore`] is the narrow trait before it.
//! - [`operator::Operator`]: what people ask of a cluster; [`logs`] reads the output of tasks.
//!
//! The pure layer is `framework-sdk-core`, re-exported here; [`harness`] is for an author's tests.

pub mod author;
pub mod client;
pub mod door;
mod doors;
pub mod duration;
pub mod exec;
mod link;
pub mod logs;
pub mod operator;
pub mod profile;
pub mod run;
pub mod state;
pub mod store;
pub mod testing;
mod tries;

pub use author::Framework;
pub use framework_sdk_core::{
    ACCEPT_TASKS_MAX, Answered, BadConfig, Calls, Config, Draining, Driver, Input, Link, Output, Packing,
    Reconciler, Room, Scheduler, Session, Together, Update, choose, choose_spread, desired, harness,
    place_together, reconciler, task as tasks, value_of,
};
pub use profile::{Profile, ProfileError};
pub use proto::operator as views;
pub use proto::{
    agent, agent_link, attributes, check, demand, explain, framework, id, offer, operation, quantities,
    ranges, refusal, resources, role, scheduler as conversation, secret, task,
};
pub use proto_drive::{Clock, telemetry};
pub use proto_machine::{Deadlines, Dice, Instant, Machine, Now, Outbox, WallTime};
pub use run::{End, Running, StartError, run, spawn, spawn_fenced, unused_prefix};

/// Everything for a first framework.
pub mod prelude {
    pub use crate::author::{Framework, Kept, Member};
    pub use crate::check::{Check, CheckPort};
    pub use crate::demand::{DeclineReason, Demand, Filter};
    pub use crate::desired::{
        BackOff, ElasticSet, Group, Restart, RollingChange, TaskSpec, Unreachable, VolumeSpec,
    };
    pub use crate::id::{DemandId, FileName, SecretName, TaskId};
    pub use crate::offer::Offer;
    pub use crate::quantities::Quantities;
    pub use crate::reconciler::{Event, RolloutStep};
    pub use crate::resources::Amount;
    pub use crate::task::{TaskInfo, TaskState};
    pub use crate::{Calls, Now, Profile, Room, Scheduler, Session, Update, run, tasks};
}
