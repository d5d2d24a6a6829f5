//! `Gather`: what is made of a list while it comes in parts.

use proto::operator::{Call, Reply, ReplyKind};
use proto_grpc::services::operator::operator_client::OperatorClient;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Takes a list as it comes.
pub(crate) trait Gather: Send {
    /// The list comes from its beginning: for the first time, or because a master went away in the middle of it.
    fn begin(&mut self);
    /// The next part of it. False if it is no part of such a list.
    fn take(&mut self, part: Reply) -> bool;
}

/// What a master said to one call.
pub(super) enum Said {
    /// The answer, and what stood beside it.
    Whole(Reply, MetadataMap),
    /// A list, and whoever gathers it has it all.
    Gathered,
    /// Something else than was asked for.
    Other,
}

/// Asks one master; a list goes to whoever gathers it.
pub(super) async fn ask(
    door: &mut OperatorClient<Channel>,
    call: &Call,
    gather: Option<&mut (dyn Gather + '_)>,
) -> Result<Said, Status> {
    let Some(gather) = gather else {
        let (beside, reply, _) = door.ask(call.clone()).await?.into_parts();
        return Ok(Said::Whole(reply, beside));
    };
    gather.begin();
    let mut parts = match door.list(call.clone()).await {
        Ok(parts) => parts.into_inner(),
        // A master of an earlier version.
        Err(status) if status.code() == Code::Unimplemented => {
            let reply = door.ask(call.clone()).await?.into_inner();
            return Ok(part(reply, gather).unwrap_or(Said::Gathered));
        }
        Err(status) => return Err(status),
    };
    let mut any = false;
    while let Some(reply) = parts.message().await? {
        any = true;
        if let Some(said) = part(reply, gather) {
            return Ok(said);
        }
    }
    if any { Ok(Said::Gathered) } else { Ok(Said::Other) }
}

/// What ends the list, if this is no part of it.
fn part(reply: Reply, gather: &mut (dyn Gather + '_)) -> Option<Said> {
    match &reply.kind {
        ReplyKind::Redirect(_) | ReplyKind::Refused(_) => Some(Said::Whole(reply, MetadataMap::new())),
        _ => (!gather.take(reply)).then_some(Said::Other),
    }
}
