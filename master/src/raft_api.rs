//! The masters' doors for each other, one for each group.

use std::sync::Arc;

use bytes::Bytes;
use master_raft::{Image, NodeId};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::MasterId;
use proto::raft::{Delivered, Envelope};
use proto_grpc::services::raft::raft_server::Raft;
use proto_grpc::services::store_raft::store_raft_server::StoreRaft;
use tonic::{Request, Response, Status, Streaming};

use crate::book::{Book, removal, removed};
use crate::caller::{caller, status};
use crate::peers::{Heard, Tell};

/// The largest message or image that is put together from parts.
const WHOLE_BYTES_MAX: usize = 1 << 30;

/// The masters' door to one group.
pub(crate) struct RaftDoor {
    pub id: MasterId,
    pub cluster: String,
    pub book: Book,
    pub tell: Tell,
    pub heard: Arc<Heard>,
}

/// The masters' door to the group of the frameworks' state.
pub(crate) struct StoreRaftDoor(pub RaftDoor);

#[tonic::async_trait]
impl Raft for RaftDoor {
    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Delivered>, Status> {
        self.take_in(request).await
    }
}

#[tonic::async_trait]
impl StoreRaft for StoreRaftDoor {
    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Delivered>, Status> {
        self.0.take_in(request).await
    }
}

impl RaftDoor {
    async fn take_in(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Delivered>, Status> {
        let who = caller(&request)?;
        authorize(&who, &Action::BeMaster).map_err(|refusal| status(&refusal))?;
        let Caller::Master(from) = who else {
            return Err(Status::permission_denied("only masters speak here"));
        };
        if self.book.roster().is_retired(from) {
            return Err(removed(from));
        }
        // It may be one of whom this master does not know yet. Its certificate says that it is a master, and what its words are
        // worth is for consensus to say.
        self.book.meet(from, request.metadata());
        let mut stream = request.into_inner();
        let mut removal = std::pin::pin!(removal(self.book.subscribe(), from));
        let mut whole = Vec::new();
        let mut announced: Option<Bytes> = None;
        loop {
            let envelope = tokio::select! {
                message = stream.message() => message?,
                () = &mut removal => return Err(removed(from)),
            };
            let Some(envelope) = envelope else { break };
            if envelope.from != from || envelope.to != self.id || envelope.cluster != self.cluster {
                return Err(Status::invalid_argument(format!(
                    "a stray envelope: from {} to {} of cluster {:?}",
                    envelope.from, envelope.to, envelope.cluster
                )));
            }
            self.heard.heard(from, envelope.pid);
            if whole.len() + envelope.part.len() > WHOLE_BYTES_MAX {
                return Err(Status::resource_exhausted("a message of more than a GiB"));
            }
            if whole.is_empty() {
                whole = envelope.part;
            } else {
                whole.extend_from_slice(&envelope.part);
            }
            if envelope.more {
                continue;
            }
            let bytes = Bytes::from(std::mem::take(&mut whole));
            let from = NodeId(from.0);
            let input = match (envelope.announces, envelope.image, announced.take()) {
                (true, _, _) => {
                    announced = Some(bytes);
                    continue;
                }
                (false, true, Some(message)) => {
                    master_raft::Input::PeerSnapshot { from, bytes: message, image: Image::Bytes(bytes) }
                }
                (false, false, None) => master_raft::Input::Peer { from, bytes },
                (false, true, None) | (false, false, Some(_)) => {
                    return Err(Status::invalid_argument(
                        "a snapshot's message and image do not belong together",
                    ));
                }
            };
            // Consensus is never made to wait: it is what everything else waits for.
            if !(self.tell)(input) {
                return Err(Status::unavailable("this master is stopping"));
            }
        }
        Ok(Response::new(Delivered))
    }
}
