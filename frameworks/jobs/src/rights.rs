//! Whether the framework may take offers in the role that a job names: asked of the masters before the job is taken, so
//! that whoever submits it is told, and not whoever starts the framework the next time.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::operator::Operator;
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::role::Role;
use framework_sdk::views::{Call, CanI, ReplyKind};
use tokio::time::timeout;

/// How long the masters are asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the masters say of this framework's rights.
pub(crate) struct Rights {
    operator: Operator,
    /// Roles that were allowed; whoever may no more is cut off by the masters.
    allowed: Mutex<BTreeSet<Role>>,
}

// === impl Rights ===

impl Rights {
    pub fn new(profile: &Profile) -> Rights {
        Rights { operator: Operator::new(profile), allowed: Mutex::default() }
    }

    /// Refuses a role in which the masters would refuse this framework. Masters that cannot be asked have not said no:
    /// they have the last word when the framework asks for the role itself.
    pub async fn check(&self, role: &Role) -> Result<(), Refusal> {
        let known = || self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(role) {
            return Ok(());
        }
        let asked = CanI { verb: "subscribe".to_owned(), role: Some(role.clone()), ..CanI::default() };
        let Ok(Ok(reply)) = timeout(PATIENCE, self.operator.ask(Call::CanI(asked))).await else {
            return Ok(());
        };
        match reply.kind {
            ReplyKind::Verdict(verdict) if verdict.allowed => {
                known().insert(role.clone());
                Ok(())
            }
            ReplyKind::Verdict(verdict) => {
                Err(Refusal::new(Code::Denied, format!("role: {}", verdict.why)).with_help(verdict.help))
            }
            _ => Ok(()),
        }
    }
}
