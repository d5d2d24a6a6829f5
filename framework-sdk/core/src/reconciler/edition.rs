//! `Edition`: a spec of a group, with what is asked of it at every launch.

use std::sync::Arc;

use proto::resources::Amount;

use crate::desired::{Revision, TaskSpec};

/// A spec, and what is often asked of it.
#[derive(Clone, Debug)]
pub(super) struct Edition {
    pub spec: TaskSpec,
    pub revision: Revision,
    /// Of one instance.
    pub shape: Amount,
    /// Of each of its tasks.
    pub shapes: Vec<Amount>,
    pub task_bytes: usize,
}

/// Which edition an instance is started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    Stated,
    Good,
}

// === impl Edition ===

impl Edition {
    /// Shared, since each launch looks at it.
    pub fn of(spec: &TaskSpec) -> Arc<Self> {
        Arc::new(Edition {
            revision: spec.revision(),
            shape: spec.shape(),
            shapes: spec.shapes(),
            task_bytes: spec.task_bytes(),
            spec: spec.clone(),
        })
    }
}
