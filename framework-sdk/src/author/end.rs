//! How a framework ended, in an author's words.

use proto::refusal::Code;

use super::FrameworkError;
use super::shell::NotSaved;
use super::turn::Turn;
use crate::run::End;
use crate::store::StoreError;

/// How an instance that was silent for too long learns of it.
const RUN_OUT: &str = "its lease has run out";

/// How it ended; the next instance has its turn. `fences`: whatever comes later fences this one.
pub(super) async fn judged(end: End, turn: Option<Turn>, fences: bool) -> Result<(), FrameworkError> {
    let lost = turn.as_ref().is_some_and(Turn::is_lost);
    if let Some(turn) = turn.filter(|_| !lost) {
        turn.give_up().await;
    }
    match end {
        End::Stopped if lost => Err(fenced(RUN_OUT)),
        End::TornDown | End::Stopped => Ok(()),
        End::Refused(refusal) if refusal.code == Code::Fenced => Err(fenced(refusal.message)),
        End::Refused(refusal) if fences && refusal.code == Code::SessionReplaced => {
            Err(fenced(refusal.message))
        }
        End::Refused(refusal) => Err(FrameworkError::Refused(refusal)),
        End::Failed(fault) => Err(match fault.downcast::<NotSaved>() {
            Ok(fault) => match *fault {
                NotSaved(StoreError::Fenced(why)) => fenced(why),
                NotSaved(_) if lost => fenced(RUN_OUT),
                fault @ NotSaved(_) => FrameworkError::Failed(Box::new(fault)),
            },
            Err(fault) => FrameworkError::Failed(fault),
        }),
        End::Panicked => Err(FrameworkError::Panicked),
    }
}

fn fenced(why: impl Into<String>) -> FrameworkError {
    FrameworkError::Fenced { why: why.into() }
}
