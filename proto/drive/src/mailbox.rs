//! The mailbox of a machine: many senders, one reader that takes batches, and a high-water mark.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How many inputs may wait before [`Handle::send_async`] waits too. A batch is 1,024 inputs, so this is some
/// milliseconds of work; more would only be memory.
pub const QUEUE_HIGH_WATER: usize = 64 * 1024;
/// Waiting senders go on when the queue is down to this, so that they do not wake for one place each.
const QUEUE_LOW_WATER: usize = QUEUE_HIGH_WATER / 2;

/// The machine is no more; the input is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine has stopped")]
pub struct Closed;

/// Sends inputs to one machine, from any thread or task. Cheap to clone; the machine stops when the last one is gone.
pub struct Handle<I>(Arc<Shared<I>>);

struct Shared<I> {
    queue: Mutex<Queue<I>>,
    filled: Condvar,
    room: Notify,
}

struct Queue<I> {
    inputs: VecDeque<I>,
    /// No more inputs are taken.
    closed: bool,
    handles: usize,
    /// The reader sleeps and must be woken. False while it works, which spares a system call for each input.
    asleep: bool,
    /// Somebody waits for room.
    crowded: bool,
}

/// The reader's end.
pub(crate) struct Mailbox<I>(Arc<Shared<I>>);

/// A mailbox and its first handle.
pub(crate) fn mailbox<I>() -> (Handle<I>, Mailbox<I>) {
    let queue = Queue { inputs: VecDeque::new(), closed: false, handles: 1, asleep: false, crowded: false };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), filled: Condvar::new(), room: Notify::new() });
    (Handle(shared.clone()), Mailbox(shared))
}

// === impl Shared ===

impl<I> Shared<I> {
    /// Nobody panics while holding the lock, and a queue is whole between any two statements: poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Queue<I>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue<I>>, input: I) {
        queue.inputs.push_back(input);
        self.wake(queue);
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue<I>>) {
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.filled.notify_one();
        }
    }

    fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        self.wake(queue);
        self.room.notify_waiters();
    }
}

// === impl Handle ===

impl<I> Handle<I> {
    /// Sends an input and never waits: for threads, and for what must get through whatever waits before it (`Stored`).
    pub fn send(&self, input: I) -> Result<(), Closed> {
        let queue = self.0.lock();
        if queue.closed {
            return Err(Closed);
        }
        self.0.push(queue, input);
        Ok(())
    }

    /// Sends an input; waits while more than [`QUEUE_HIGH_WATER`] are queued. For whatever comes from the network: so
    /// a busy machine slows its callers down instead of growing. Nothing is sent if it is dropped before it is done.
    pub async fn send_async(&self, input: I) -> Result<(), Closed> {
        loop {
            let mut room = pin!(self.0.room.notified());
            // Registered before looking, or the notice could fall between the look and the wait.
            room.as_mut().enable();
            {
                let mut queue = self.0.lock();
                if queue.closed {
                    return Err(Closed);
                }
                if queue.inputs.len() < QUEUE_HIGH_WATER {
                    self.0.push(queue, input);
                    return Ok(());
                }
                queue.crowded = true;
            }
            room.await;
        }
    }

    /// Takes no more inputs; the machine stops when it has done what is queued.
    pub fn close(&self) {
        self.0.close();
    }

    /// How many inputs wait.
    pub fn queued(&self) -> usize {
        self.0.lock().inputs.len()
    }
}

impl<I> Clone for Handle<I> {
    fn clone(&self) -> Self {
        self.0.lock().handles += 1;
        Handle(self.0.clone())
    }
}

impl<I> Drop for Handle<I> {
    fn drop(&mut self) {
        let last = {
            let mut queue = self.0.lock();
            queue.handles -= 1;
            queue.handles == 0
        };
        if last {
            self.0.close();
        }
    }
}

impl<I> fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} queued)", self.queued())
    }
}

// === impl Mailbox ===

impl<I> Mailbox<I> {
    /// Moves up to `most` inputs into `batch`. Waits for the first until `patience` is over (`None`: for ever).
    /// False when the mailbox is closed and empty.
    pub(crate) fn take(&self, batch: &mut Vec<I>, most: usize, patience: Option<Duration>) -> bool {
        let mut queue = self.0.lock();
        if queue.inputs.is_empty() && !queue.closed && patience != Some(Duration::ZERO) {
            queue.asleep = true;
            // `asleep` is cleared by whoever wakes us: a spurious wake-up leaves it set.
            queue = match patience {
                None => self
                    .0
                    .filled
                    .wait_while(queue, |queue| queue.asleep)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    self.0
                        .filled
                        .wait_timeout_while(queue, patience, |queue| queue.asleep)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            queue.asleep = false;
        }
        let count = queue.inputs.len().min(most);
        batch.extend(queue.inputs.drain(..count));
        let open = !queue.closed || count > 0;
        let roomy = queue.crowded && queue.inputs.len() <= QUEUE_LOW_WATER;
        if roomy {
            queue.crowded = false;
        }
        // A burst is no reason to keep its memory.
        if queue.inputs.is_empty() && queue.inputs.capacity() > QUEUE_LOW_WATER {
            queue.inputs = VecDeque::new();
        }
        drop(queue);
        if roomy {
            self.0.room.notify_waiters();
        }
        open
    }

    /// How many inputs wait.
    pub(crate) fn queued(&self) -> usize {
        self.0.lock().inputs.len()
    }
}

impl<I> Drop for Mailbox<I> {
    fn drop(&mut self) {
        self.0.close();
        // What is queued will never be read; whoever waits inside an input (a reply's sender) learns it now. Dropped
        // outside the lock: an input may hold a handle.
        let rest = std::mem::take(&mut self.0.lock().inputs);
        drop(rest);
    }
}
