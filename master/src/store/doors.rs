//! Who waits for a reply, and who listens for changes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use master_store_core::{Ticket, WatchId};
use proto::store::{Reply, WatchReply};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::lock;

/// Words that may wait for a slow listener before it is cut off; it goes on from the revision it was told last. All there
/// is to catch up with, which is told at once, is some forty words of a MiB.
const WORDS_MAX: usize = 1024;

/// A listener's end of its stream.
pub(crate) type Words = mpsc::Receiver<Result<WatchReply, Status>>;

/// Who is connected.
#[derive(Default)]
pub(crate) struct Doors {
    next: AtomicU64,
    tickets: Mutex<HashMap<Ticket, oneshot::Sender<Reply>>>,
    watches: Mutex<HashMap<WatchId, mpsc::Sender<Result<WatchReply, Status>>>>,
}

impl Doors {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn open_ticket(&self) -> (Ticket, oneshot::Receiver<Reply>) {
        let ticket = Ticket(self.number());
        let (sender, answer) = oneshot::channel();
        lock(&self.tickets).insert(ticket, sender);
        (ticket, answer)
    }

    /// Answers a ticket; whoever gave up waiting hears nothing.
    pub fn answer(&self, ticket: Ticket, reply: Reply) {
        if let Some(sender) = lock(&self.tickets).remove(&ticket) {
            let _ = sender.send(reply);
        }
    }

    pub fn drop_ticket(&self, ticket: Ticket) {
        lock(&self.tickets).remove(&ticket);
    }

    pub fn open_watch(&self) -> (WatchId, Words) {
        let id = WatchId(self.number());
        let (sender, words) = mpsc::channel(WORDS_MAX);
        lock(&self.watches).insert(id, sender);
        (id, words)
    }

    /// Tells a watch; one that does not keep up loses its stream.
    pub fn tell(&self, id: WatchId, reply: WatchReply) {
        let mut watches = lock(&self.watches);
        if watches.get(&id).is_some_and(|sender| sender.try_send(Ok(reply)).is_err()) {
            watches.remove(&id);
            metrics::counter!("slow_listeners_closed_total").increment(1);
        }
    }

    pub fn close_watch(&self, id: WatchId) {
        lock(&self.watches).remove(&id);
    }
}
