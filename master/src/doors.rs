//! Who is connected to this master: where the machine's words go.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use master_core::{LinkId, Saved, SessionId, Ticket};
use proto::agent_link::ToAgent;
use proto::operator::ReplyKind;
use proto::scheduler::Event;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// How long whoever opens a stream may take to say who it is.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(15);
/// Words that may wait for a slow listener, of all turns but the present one, before it is cut off; it resumes or starts
/// anew.
const WORDS_WAITING_MAX: usize = 16 * 1024;
/// Words that may wait at all. What one turn says to one listener (the state of all its tasks, say) is never a reason to
/// cut it off: it would ask for the same again. A queue takes memory for what is in it only.
const QUEUE_MAX: usize = 4 << 20;

/// A listener's end of its stream.
pub(crate) type Words<T> = mpsc::Receiver<Result<T, Status>>;

/// Who is connected.
#[derive(Default)]
pub(crate) struct Doors {
    next: AtomicU64,
    turn: AtomicU64,
    sessions: Listeners<SessionId, Event>,
    links: Listeners<LinkId, ToAgent>,
    tickets: Mutex<HashMap<Ticket, oneshot::Sender<ReplyKind>>>,
    saves: Mutex<HashMap<Ticket, oneshot::Sender<Option<Saved>>>>,
    readers: Mutex<HashMap<Ticket, oneshot::Sender<bool>>>,
}

struct Listeners<K, T>(Mutex<HashMap<K, Listener<T>>>);

struct Listener<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    /// When something was said to it last.
    turn: u64,
}

impl<K, T> Default for Listeners<K, T> {
    fn default() -> Self {
        Listeners(Mutex::new(HashMap::new()))
    }
}

/// Nobody panics while holding these locks, and a map is whole between any two calls: poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first word on a stream: whoever opens one and says nothing must not hold it for ever.
pub(crate) async fn first_word<T>(
    next: impl Future<Output = Result<Option<T>, Status>>,
) -> Result<Option<T>, Status> {
    match tokio::time::timeout(FIRST_WORD_LIMIT, next).await {
        Ok(word) => word,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "nothing was said for {} seconds; a session begins with Subscribe or Register",
            FIRST_WORD_LIMIT.as_secs()
        ))),
    }
}

// === impl Listeners ===

impl<K: Eq + Hash + Copy, T> Listeners<K, T> {
    fn open(&self, id: K) -> Words<T> {
        let (sender, words) = mpsc::channel(QUEUE_MAX);
        lock(&self.0).insert(id, Listener { sender, turn: 0 });
        words
    }

    /// Says a word; a listener that does not keep up loses its stream.
    fn say(&self, id: K, turn: u64, word: T) {
        let mut all = lock(&self.0);
        let Some(listener) = all.get_mut(&id) else { return };
        let waiting = listener.sender.max_capacity() - listener.sender.capacity();
        let behind = std::mem::replace(&mut listener.turn, turn) != turn && waiting > WORDS_WAITING_MAX;
        if behind || listener.sender.try_send(Ok(word)).is_err() {
            all.remove(&id);
            metrics::counter!("slow_listeners_closed_total").increment(1);
        }
    }

    fn close(&self, id: K) {
        lock(&self.0).remove(&id);
    }

    /// Closes with a fault, if there is room to say so.
    fn fail(&self, id: K, fault: Status) {
        if let Some(listener) = lock(&self.0).remove(&id) {
            let _ = listener.sender.try_send(Err(fault));
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

    /// For somebody who wants all that the log remembers.
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

    /// For somebody who wants to read what is committed.
    pub fn open_read(&self) -> (Ticket, oneshot::Receiver<bool>) {
        let ticket = Ticket(self.number());
        let (sender, answer) = oneshot::channel();
        lock(&self.readers).insert(ticket, sender);
        (ticket, answer)
    }

    /// It is there to be read, or nobody could say what is.
    pub fn confirmed(&self, ticket: Ticket, confirmed: bool) {
        if let Some(sender) = lock(&self.readers).remove(&ticket) {
            let _ = sender.send(confirmed);
        }
    }

    /// What is said from now on is said in a turn of its own.
    pub fn begin_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    pub fn say_to_session(&self, id: SessionId, event: Event) {
        self.sessions.say(id, self.turn.load(Ordering::Relaxed), event);
    }

    pub fn say_to_link(&self, id: LinkId, message: ToAgent) {
        self.links.say(id, self.turn.load(Ordering::Relaxed), message);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proto::scheduler::EventKind;

    fn said(words: &mut Words<Event>) -> usize {
        std::iter::from_fn(|| words.try_recv().ok()).count()
    }

    #[test]
    fn a_listener_is_cut_off_for_what_it_left_waiting_and_not_for_what_is_said_at_once() {
        let doors = Doors::default();
        let (session, mut words) = doors.open_session();
        let say = || doors.say_to_session(session, Event { sequence: 0, kind: EventKind::Heartbeat });
        doors.begin_turn();
        (0..3 * WORDS_WAITING_MAX).for_each(|_| say());
        assert_eq!(said(&mut words), 3 * WORDS_WAITING_MAX);
        doors.begin_turn();
        (0..=WORDS_WAITING_MAX).for_each(|_| say());
        doors.begin_turn();
        say();
        assert_eq!(said(&mut words), WORDS_WAITING_MAX + 1);
        assert!(words.is_closed(), "it did not keep up");
    }
}
