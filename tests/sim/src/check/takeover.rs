//! P8: once another instance of a framework has its session, the earlier one can do nothing.

use std::collections::BTreeSet;

use proto::id::{FrameworkId, OperationId};

use super::{Verdict, broken};

/// What instances asked for when they were not the latest any more.
#[derive(Debug, Default)]
pub struct Takeover {
    late: BTreeSet<(FrameworkId, OperationId)>,
}

impl Takeover {
    /// One that was succeeded asks for something.
    pub fn asks_late(&mut self, framework: Option<&FrameworkId>, operation: Option<&OperationId>) {
        if let (Some(framework), Some(operation)) = (framework, operation) {
            self.late.insert((framework.clone(), operation.clone()));
        }
    }

    /// A master has carried an accept out.
    pub fn carried_out(&self, framework: &FrameworkId, operation: &OperationId) -> Verdict {
        if !self.late.contains(&(framework.clone(), operation.clone())) {
            return Ok(());
        }
        let how =
            format!("{operation} of {framework} was carried out, asked by an instance that was succeeded");
        broken("P8 fenced instances", how)
    }
}
