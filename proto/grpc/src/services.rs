//! Clients and servers of every service, generated over domain types.
#![allow(missing_docs, clippy::all)]

pub mod scheduler {
    include!("gen/stoa.v1.scheduler.Scheduler.rs");
}
pub mod agent_link {
    include!("gen/stoa.v1.agent.AgentLink.rs");
}
pub mod agent_door {
    include!("gen/stoa.v1.agent.AgentDoor.rs");
}
pub mod operator {
    include!("gen/stoa.v1.operator.Operator.rs");
}
pub mod backups {
    include!("gen/stoa.v1.backup.Backups.rs");
}
pub mod raft {
    include!("gen/stoa.v1.raft.Raft.rs");
}
pub mod store_raft {
    include!("gen/stoa.v1.raft.StoreRaft.rs");
}
pub mod store {
    include!("gen/stoa.v1.store.Store.rs");
}
