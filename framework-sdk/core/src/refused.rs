//! What a refused call means: to be sent again, or the end of it and of the tasks in it.

use proto::id::TaskId;
use proto::refusal::{Code, Refusal};
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::Now;

/// A call that is too much for the master so many times in a row is too much for good.
const TOO_MUCH_MAX: u32 = 5;

/// Whether a refusal is one that passes: the same call may be sent again.
pub(crate) fn passes(code: Code, refusals: u32) -> bool {
    match code {
        Code::LeaderLost | Code::Unavailable => true,
        Code::TooMuch => refusals < TOO_MUCH_MAX,
        Code::Denied
        | Code::NotFound
        | Code::Invalid
        | Code::Conflict
        | Code::StaleOffer
        | Code::FrameworkRemoved
        | Code::SessionReplaced
        | Code::BadToken
        | Code::AgentGone
        | Code::Compacted
        | Code::Fenced => false,
    }
}

/// The status of a task whose accept was refused as a whole.
pub(crate) fn never_started(now: Now, task: &TaskId, refusal: &Refusal) -> TaskStatus {
    let (state, reason) = match refusal.code {
        Code::Denied => (TaskState::Error, StatusReason::TaskUnauthorized),
        Code::Invalid | Code::NotFound | Code::Conflict => (TaskState::Dropped, StatusReason::TaskInvalid),
        Code::StaleOffer
        | Code::LeaderLost
        | Code::FrameworkRemoved
        | Code::SessionReplaced
        | Code::TooMuch
        | Code::BadToken
        | Code::AgentGone
        | Code::Unavailable
        | Code::Compacted
        | Code::Fenced => (TaskState::Dropped, StatusReason::InvalidOffers),
    };
    TaskStatus::by_master(task.clone(), state, reason, &refusal.message, now.wall.as_millis())
}
