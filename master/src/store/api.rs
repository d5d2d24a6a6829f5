//! The frameworks' door to their state.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use master_store_core::{Input, Ticket, WatchId};
use proto::refusal::{Code, Refusal};
use proto::store::{Call, Reply, ReplyKind, Watch, WatchReply};
use proto_drive::Handle;
use proto_grpc::services::store::store_server::Store;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::doors::{Doors, Words};
use crate::audit::{Audit, Draft};
use crate::book::Book;
use crate::caller::{caller, from};

/// The frameworks' door to their state. Who may do what is the machine's to say.
pub(crate) struct StoreDoor {
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub book: Book,
    pub audit: Arc<Audit>,
}

/// Forgets a ticket whose caller has gone away.
struct Waiting {
    doors: Arc<Doors>,
    ticket: Ticket,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.doors.drop_ticket(self.ticket);
    }
}

/// The changes, as long as somebody listens.
pub(crate) struct Listening {
    words: Words,
    watch: WatchId,
    doors: Arc<Doors>,
    handle: Handle<Input>,
    who: String,
    from: String,
    audit: Arc<Audit>,
}

impl Stream for Listening {
    type Item = Result<WatchReply, Status>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let word = std::task::ready!(self.words.poll_recv(cx)).map(|word| word.take());
        if let Some(refusal) = word.as_ref().and_then(|reply| reply.refused.as_ref())
            && matches!(refusal.code, Code::Denied | Code::TooMuch)
        {
            let draft = Draft::done(&self.who, self.from.clone(), "store-watch", "");
            self.audit.tell(draft.refused(refusal.code, &refusal.message));
        }
        Poll::Ready(word.map(Ok))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.doors.close_watch(self.watch);
        let _ = self.handle.send(Input::WatchClosed { watch: self.watch });
    }
}

/// What its caller may not, or has too much of: all else is between a framework and its state.
fn refused_for_good(reply: &Reply) -> Option<&Refusal> {
    match &reply.kind {
        ReplyKind::Refused(refusal)
            if matches!(refusal.code, Code::Denied | Code::TooMuch | Code::Fenced) =>
        {
            Some(refusal)
        }
        _ => None,
    }
}

fn stopping<E>(_: E) -> Status {
    Status::unavailable("this master is stopping")
}

#[tonic::async_trait]
impl Store for StoreDoor {
    type WatchStream = Listening;

    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let caller = caller(&request)?;
        let from = from(&request);
        let who = caller.to_string();
        let (ticket, answer) = self.doors.open_ticket();
        let _waiting = Waiting { doors: self.doors.clone(), ticket };
        let input = Input::Ask { ticket, caller, call: request.into_inner() };
        self.handle.send_async(input).await.map_err(stopping)?;
        let reply = answer.await.map_err(stopping)?;
        if let Some(refusal) = refused_for_good(&reply) {
            self.audit.tell(Draft::done(who, from, "store", "").refused(refusal.code, &refusal.message));
        }
        Ok(self.book.stamp(reply))
    }

    async fn watch(&self, request: Request<Watch>) -> Result<Response<Listening>, Status> {
        let caller = caller(&request)?;
        let (watch, words) = self.doors.open_watch();
        let listening = Listening {
            words,
            watch,
            doors: self.doors.clone(),
            handle: self.handle.clone(),
            who: caller.to_string(),
            from: from(&request),
            audit: self.audit.clone(),
        };
        let input = Input::Watch { watch, caller, ask: request.into_inner() };
        self.handle.send_async(input).await.map_err(stopping)?;
        Ok(self.book.stamp(listening))
    }
}
