//! Who is connected to this master: where the machine's words go.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use master_core::{LinkId, SessionId, Ticket};
use proto::agent_link::ToAgent;
use proto::operator::ReplyKind;
use proto::scheduler::Event;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// Words that may wait for a slow listener before it is cut off; it resumes or starts anew.
const WORDS_WAITING_MAX: usize = 16 * 1024;

/// A listener's end of its stream.
pub(crate) type Words<T> = mpsc::Receiver<Result<T, Status>>;

/// Who is connected.
#[derive(Default)]
pub(crate) struct Doors {
    next: AtomicU64,
    sessions: Listeners<SessionId, Event>,
    links: Listeners<LinkId, ToAgent>,
    tickets: Mutex<HashMap<Ticket, oneshot::Sender<ReplyKind>>>,
}

struct Listeners<K, T>(Mutex<HashMap<K, mpsc::Sender<Result<T, Status>>>>);

impl<K, T> Default for Listeners<K, T> {
    fn default() -> Self {
        Listeners(Mutex::new(HashMap::new()))
    }
}

/// Nobody panics while holding these locks, and a map is whole between any two calls: poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Listeners ===

impl<K: Eq + Hash + Copy, T> Listeners<K, T> {
    fn open(&self, id: K) -> Words<T> {
        let (sender, words) = mpsc::channel(WORDS_WAITING_MAX);
        lock(&self.0).insert(id, sender);
        words
    }

    /// Says a word; a listener that does not keep up loses its stream.
    fn say(&self, id: K, word: T) {
        let mut all = lock(&self.0);
        let failed = all.get(&id).is_some_and(|sender| sender.try_send(Ok(word)).is_err());
        if failed {
            all.remove(&id);
            metrics::counter!("slow_listeners_closed_total").increment(1);
        }
    }

    fn close(&self, id: K) {
        lock(&self.0).remove(&id);
    }

    /// Closes with a fault, if there is room to say so.
    fn fail(&self, id: K, fault: Status) {
        if let Some(sender) = lock(&self.0).remove(&id) {
            let _ = sender.try_send(Err(fault));
        }
    }
}

// === impl Doors ===

impl Doors {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn open_session(&self) -> (SessionId, Words<Event>) {
        let id = SessionId(self.number());
        (id, self.sessions.open(id))
    }

    pub fn open_link(&self) -> (LinkId, Words<ToAgent>) {
        let id = LinkId(self.number());
        (id, self.links.open(id))
    }

    pub fn open_ticket(&self) -> (Ticket, oneshot::Receiver<ReplyKind>) {
        let ticket = Ticket(self.number());
        let (sender, answer) = oneshot::channel();
        lock(&self.tickets).insert(ticket, sender);
        (ticket, answer)
    }

    pub fn say_to_session(&self, id: SessionId, event: Event) {
        self.sessions.say(id, event);
    }

    pub fn say_to_link(&self, id: LinkId, message: ToAgent) {
        self.links.say(id, message);
    }

    pub fn close_session(&self, id: SessionId) {
        self.sessions.close(id);
    }

    pub fn close_link(&self, id: LinkId) {
        self.links.close(id);
    }

    pub fn fail_session(&self, id: SessionId, fault: Status) {
        self.sessions.fail(id, fault);
    }

    pub fn fail_link(&self, id: LinkId, fault: Status) {
        self.links.fail(id, fault);
    }

    /// Answers a ticket; whoever gave up waiting hears nothing.
    pub fn answer(&self, ticket: Ticket, kind: ReplyKind) {
        if let Some(sender) = lock(&self.tickets).remove(&ticket) {
            let _ = sender.send(kind);
        }
    }

    pub fn drop_ticket(&self, ticket: Ticket) {
        lock(&self.tickets).remove(&ticket);
    }
}
