//! Who waits for a reply, and who listens for changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use master_store_core::{Saved, Ticket, WatchId};
use proto::store::{Reply, WatchReply};
use tokio::sync::{mpsc, oneshot};

use super::lock;

/// Words that may wait for a slow listener before it is cut off; it goes on from the revision it was told last.
const WORDS_MAX: usize = 1024;

/// And the bytes of them: twice all there is to catch up with, which is told at once, or one listener that does not read would
/// keep what its space has long let go.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A word on its way to a listener, counted until it is taken.
pub(crate) struct Word {
    reply: WatchReply,
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Word {
    /// Takes it off the way.
    pub fn take(mut self) -> WatchReply {
        std::mem::take(&mut self.reply)
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A listener's end of its stream.
pub(crate) type Words = mpsc::Receiver<Word>;

/// The masters' end of it.
struct Listener {
    words: mpsc::Sender<Word>,
    waiting: Arc<AtomicUsize>,
}

impl Listener {
    /// False when it does not keep up.
    fn tell(&self, reply: WatchReply) -> bool {
        let kvs = reply.events.iter().flat_map(|event| [Some(&event.kv), event.prev_kv.as_ref()]).flatten();
        let bytes = kvs.map(|kv| kv.key.len() + kv.value.len()).sum();
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let word = Word { reply, bytes, waiting: self.waiting.clone() };
        before + bytes <= WAITING_BYTES_MAX && self.words.try_send(word).is_ok()
    }
}

/// Who is connected.
#[derive(Default)]
pub(crate) struct Doors {
    next: AtomicU64,
    tickets: Mutex<HashMap<Ticket, oneshot::Sender<Reply>>>,
    saves: Mutex<HashMap<Ticket, oneshot::Sender<Option<Saved>>>>,
    watches: Mutex<HashMap<WatchId, Listener>>,
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

    /// For somebody who wants all that the store holds.
    pub fn open_save(&self) -> (Ticket, oneshot::Receiver<Option<Saved>>) {
        let ticket = Ticket(self.number());
        let (sender, answer) = oneshot::channel();
        lock(&self.saves).insert(ticket, sender);
        (ticket, answer)
    }

    /// It is there, or will not come.
    pub fn saved(&self, ticket: Ticket, saved: Option<Saved>) {
        if let Some(sender) = lock(&self.saves).remove(&ticket) {
            let _ = sender.send(saved);
        }
    }

    pub fn open_watch(&self) -> (WatchId, Words) {
        let id = WatchId(self.number());
        let (sender, words) = mpsc::channel(WORDS_MAX);
        lock(&self.watches).insert(id, Listener { words: sender, waiting: Arc::default() });
        (id, words)
    }

    /// Tells a watch; one that does not keep up loses its stream.
    pub fn tell(&self, id: WatchId, reply: WatchReply) {
        let mut watches = lock(&self.watches);
        if watches.get(&id).is_some_and(|listener| !listener.tell(reply)) {
            watches.remove(&id);
            metrics::counter!("slow_listeners_closed_total").increment(1);
        }
    }

    /// How many listen.
    pub fn watches(&self) -> usize {
        lock(&self.watches).len()
    }

    pub fn close_watch(&self, id: WatchId) {
        lock(&self.watches).remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::store::{Event, KeyValue};

    fn word(bytes: usize) -> WatchReply {
        let kv = KeyValue { value: vec![0; bytes].into(), ..KeyValue::default() };
        WatchReply { events: vec![Event { kv, ..Event::default() }], ..WatchReply::default() }
    }

    #[tokio::test]
    async fn a_listener_that_does_not_read_is_cut_off_by_what_waits_for_it_and_one_that_reads_is_not() {
        let doors = Doors::default();
        let ((idle, mut unread), (busy, mut read)) = (doors.open_watch(), doors.open_watch());
        for _ in 0..=4 {
            doors.tell(idle, word(WAITING_BYTES_MAX / 4));
            doors.tell(busy, word(WAITING_BYTES_MAX / 4));
            assert_eq!(read.recv().await.unwrap().take().events.len(), 1);
        }
        let mut heard = 0;
        while let Some(word) = unread.recv().await {
            drop(word);
            heard += 1;
        }
        assert_eq!(heard, 4, "and what was told before is there to be read");
    }
}
