//! The pretend masters' door to what frameworks keep.

use std::pin::Pin;

use framework_sdk_core::fake::FakeWatch;
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::Epoch;
use proto::store::{Call, Reply, ReplyKind, Watch, WatchReply};
use proto_grpc::caller;
use proto_grpc::services::store::store_server::Store;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::cable::Cut;
use super::door::Door;

/// Words that may wait for whoever listens.
const WORDS_WAITING_MAX: usize = 64;

type Changes = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

#[tonic::async_trait]
impl Store for Door {
    type WatchStream = Changes;

    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let owner = Caller::from(caller(&request)?);
        let call = request.into_inner();
        let mut state = self.shared.lock();
        if state.cables[self.cable].is_cut {
            return Err(broken());
        }
        let answer = |kind| Ok(Response::new(Reply { revision: 0, term: 0, kind }));
        if let Err(refusal) = authorize(&owner, &Action::UseStore { owner: owner.to_string() }) {
            return answer(ReplyKind::Refused(refusal));
        }
        if state.leader != self.number {
            return answer(ReplyKind::Redirect(state.leader_by(self.cable)));
        }
        let cut = state.cables[self.cable].takes(&call);
        if cut == Some(Cut::Before) {
            state.cut(self.cable);
            self.shared.flush(state);
            return Err(broken());
        }
        let reply = state.kept.hear(self.shared.now(), &owner.to_string(), call);
        if matches!(reply.kind, ReplyKind::Lease(_)) {
            self.shared.tick(&mut state);
        }
        if cut == Some(Cut::After) {
            state.cut(self.cable);
            self.shared.flush(state);
            return Err(broken());
        }
        self.shared.notify(state);
        Ok(Response::new(reply))
    }

    async fn watch(&self, request: Request<Watch>) -> Result<Response<Changes>, Status> {
        let owner = Caller::from(caller(&request)?);
        let ask = request.into_inner();
        let (sender, words) = mpsc::channel(WORDS_WAITING_MAX);
        let (watch, first, leader) = {
            let state = self.shared.lock();
            if state.cables[self.cable].is_cut {
                return Err(broken());
            }
            let (watch, first) = state.kept.watch(&owner.to_string(), ask);
            (watch, first, state.fake.epoch())
        };
        let refused = authorize(&owner, &Action::UseStore { owner: owner.to_string() }).err();
        let is_refused = refused.is_some();
        // The other end is right here, and has room.
        let _ = sender.try_send(Ok(WatchReply { refused, ..first }));
        if !is_refused {
            tokio::spawn(self.clone().tell(watch, leader, sender));
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(words))))
    }
}

impl Door {
    /// Tells of changes, as long as somebody listens, the same leader leads and the cable holds.
    async fn tell(
        self,
        mut watch: FakeWatch,
        leader: Epoch,
        sender: mpsc::Sender<Result<WatchReply, Status>>,
    ) {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let word = {
                let state = self.shared.lock();
                if state.is_over || state.cables[self.cable].is_cut || state.fake.epoch() != leader {
                    return;
                }
                state.kept.news(&mut watch)
            };
            if let Some(word) = word {
                let is_last = word.refused.is_some();
                if sender.send(Ok(word)).await.is_err() || is_last {
                    return;
                }
            }
            tokio::select! {
                ended = changed.changed() => if ended.is_err() { return },
                () = sender.closed() => return,
            }
        }
    }
}

fn broken() -> Status {
    Status::unavailable("the cable is cut")
}
