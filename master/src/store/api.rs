//! The frameworks' door to their state.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use master_store_core::{Input, Ticket, WatchId};
use proto::store::{Call, Reply, Watch, WatchReply};
use proto_drive::Handle;
use proto_grpc::services::store::store_server::Store;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::doors::{Doors, Words};
use crate::book::Book;
use crate::caller::caller;

/// The frameworks' door to their state. Who may do what is the machine's to say.
pub(crate) struct StoreDoor {
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub book: Book,
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
}

impl Stream for Listening {
    type Item = Result<WatchReply, Status>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.words.poll_recv(cx).map(|word| word.map(|word| Ok(word.take())))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.doors.close_watch(self.watch);
        let _ = self.handle.send(Input::WatchClosed { watch: self.watch });
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
        let (ticket, answer) = self.doors.open_ticket();
        let _waiting = Waiting { doors: self.doors.clone(), ticket };
        let input = Input::Ask { ticket, caller, call: request.into_inner() };
        self.handle.send_async(input).await.map_err(stopping)?;
        answer.await.map(|reply| self.book.stamp(reply)).map_err(stopping)
    }

    async fn watch(&self, request: Request<Watch>) -> Result<Response<Listening>, Status> {
        let caller = caller(&request)?;
        let (watch, words) = self.doors.open_watch();
        let listening = Listening { words, watch, doors: self.doors.clone(), handle: self.handle.clone() };
        let input = Input::Watch { watch, caller, ask: request.into_inner() };
        self.handle.send_async(input).await.map_err(stopping)?;
        Ok(self.book.stamp(listening))
    }
}
