//! Who is at a door: from the certificate to the subject of authorization.

use proto::caller::Caller;
use tonic::{Request, Status};

use crate::audit::from_of;

/// Who sent a request; refused without a certificate of this cluster.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    proto_grpc::caller(request).map(Caller::from)
}

/// Where a request came from.
pub(crate) fn from<T>(request: &Request<T>) -> String {
    from_of(request.extensions().get())
}

/// A refusal where only a gRPC status can be given.
pub(crate) fn status(refusal: &proto::refusal::Refusal) -> Status {
    use proto::refusal::Code;
    let text = refusal.to_string();
    match refusal.code {
        Code::Denied | Code::BadToken | Code::AgentGone => Status::permission_denied(text),
        Code::NotFound => Status::not_found(text),
        Code::Invalid => Status::invalid_argument(text),
        Code::Conflict | Code::StaleOffer | Code::FrameworkRemoved | Code::SessionReplaced | Code::Fenced => {
            Status::failed_precondition(text)
        }
        Code::Compacted => Status::out_of_range(text),
        Code::TooMuch => Status::resource_exhausted(text),
        Code::LeaderLost | Code::Unavailable => Status::unavailable(text),
    }
}
