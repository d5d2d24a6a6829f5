//! Before all doors: what is refused there is written into the audit log.

use std::sync::Arc;

use proto::refusal::Code as Refused;
use proto_grpc::{Gate, Peer};
use tonic::{Code, Status};

use crate::audit::{Audit, Draft, NOBODY, from_of};

/// Where a stranger shows a token; that door tells by itself what came of it.
const JOIN: &str = "/stoa.v1.operator.Operator/Join";

/// Before all doors of a master.
pub(crate) struct MasterGate {
    pub audit: Arc<Audit>,
}

/// The word for a call in the audit log.
fn word(path: &str) -> &'static str {
    match path {
        "/stoa.v1.scheduler.Scheduler/Session" => "session",
        "/stoa.v1.agent.AgentLink/Session" => "agent-session",
        "/stoa.v1.agent.AgentLink/Secrets" => "read-secrets",
        "/stoa.v1.operator.Operator/Ask" => "ask",
        "/stoa.v1.operator.Operator/List" => "list",
        "/stoa.v1.operator.Operator/Watch" => "watch",
        JOIN => "join",
        "/stoa.v1.backup.Backups/Save" => "save-backup",
        "/stoa.v1.store.Store/Ask" => "store",
        "/stoa.v1.store.Store/Watch" => "store-watch",
        "/stoa.v1.raft.Raft/Deliver" | "/stoa.v1.raft.StoreRaft/Deliver" => "deliver",
        "/metrics" => "read-metrics",
        _ => "unknown",
    }
}

/// What a refusal at a door means; none for what is no fault of the caller.
pub(crate) fn code_of(status: &Status) -> Option<Refused> {
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Some(Refused::Denied),
        Code::InvalidArgument => Some(Refused::Invalid),
        // That is what a message is that is larger than its door takes.
        Code::OutOfRange | Code::ResourceExhausted => Some(Refused::TooMuch),
        Code::NotFound | Code::Unimplemented => Some(Refused::NotFound),
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => Some(Refused::Conflict),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => None,
    }
}

/// Who is at the other end, as far as it showed that.
pub(crate) fn who_of(peer: Option<&Peer>) -> String {
    match peer.map(Peer::identity) {
        Some(Ok(identity)) => identity.to_string(),
        Some(Err(_)) | None => NOBODY.to_owned(),
    }
}

impl Gate for MasterGate {
    fn admit(&self, _: Option<&Peer>, _: &str) -> Result<(), Status> {
        Ok(())
    }

    fn refused(&self, peer: Option<&Peer>, path: &str, status: &Status) {
        if path == JOIN && status.code() != Code::ResourceExhausted {
            return;
        }
        if let Some(code) = code_of(status) {
            let draft = Draft::done(who_of(peer), from_of(peer), word(path), "");
            self.audit.tell(draft.refused(code, status.message()));
        }
    }
}
