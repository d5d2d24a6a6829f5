//! The mailbox of a machine: many senders, one reader that takes batches, and a high-water mark.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto_machine::Haste;
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
    /// In the order they came, but for those that overtake.
    inputs: VecDeque<I>,
    overtaking: VecDeque<I>,
    /// No more inputs are taken.
    closed: bool,
    handles: usize,
    /// What the reader is to be woken for.
    reader: Reader,
    haste: fn(&I) -> Haste,
    /// How many of `inputs` cannot wait.
    urgent: usize,
    /// Somebody waits for room.
    crowded: bool,
}

/// What the reader does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// It works, and will look by itself; so an input costs no system call.
    Works,
    /// It sleeps until there is an input.
    Sleeps,
    /// It sleeps until there is an input that cannot wait, or so many that they fill a batch.
    Gathers {
        /// So many.
        full_at: usize,
    },
}

/// The reader's end.
pub(crate) struct Mailbox<I> {
    shared: Arc<Shared<I>>,
    /// Since when inputs that can wait are gathered.
    gathers_since: Option<Instant>,
}

/// A mailbox and its first handle.
pub(crate) fn mailbox<I>(haste: fn(&I) -> Haste) -> (Handle<I>, Mailbox<I>) {
    let queue = Queue {
        inputs: VecDeque::new(),
        overtaking: VecDeque::new(),
        closed: false,
        handles: 1,
        reader: Reader::Works,
        haste,
        urgent: 0,
        crowded: false,
    };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), filled: Condvar::new(), room: Notify::new() });
    (Handle(shared.clone()), Mailbox { shared, gathers_since: None })
}

// === impl Queue ===

impl<I> Queue<I> {
    fn len(&self) -> usize {
        self.inputs.len() + self.overtaking.len()
    }

    /// A burst is no reason to keep its memory.
    fn shrink(&mut self) {
        for queue in [&mut self.inputs, &mut self.overtaking] {
            if queue.is_empty() && queue.capacity() > QUEUE_LOW_WATER {
                *queue = VecDeque::new();
            }
        }
    }
}

// === impl Shared ===

impl<I> Shared<I> {
    /// Nobody panics while holding the lock, and a queue is whole between any two statements: poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Queue<I>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue<I>>, input: I) {
        let haste = (queue.haste)(&input);
        match haste {
            Haste::Overtakes => queue.overtaking.push_back(input),
            Haste::Now | Haste::Waits => {
                queue.urgent += usize::from(haste == Haste::Now);
                queue.inputs.push_back(input);
            }
        }
        let wanted = match queue.reader {
            Reader::Works => false,
            Reader::Sleeps => true,
            Reader::Gathers { full_at } => haste != Haste::Waits || queue.inputs.len() >= full_at,
        };
        if wanted {
            self.wake(queue);
        }
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue<I>>) {
        let before = std::mem::replace(&mut queue.reader, Reader::Works);
        drop(queue);
        if before != Reader::Works {
            self.filled.notify_one();
        }
    }

    /// Sleeps until somebody wakes the reader, or `patience` is over.
    fn sleep<'a>(
        &self,
        mut queue: MutexGuard<'a, Queue<I>>,
        as_what: Reader,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, Queue<I>> {
        queue.reader = as_what;
        // `reader` is changed by whoever wakes us: a spurious wake-up leaves it as it is.
        let asleep = |queue: &mut Queue<I>| queue.reader != Reader::Works;
        queue = match patience {
            None => self.filled.wait_while(queue, asleep).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let woken = self.filled.wait_timeout_while(queue, patience, asleep);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        queue.reader = Reader::Works;
        queue
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
                if queue.len() < QUEUE_HIGH_WATER {
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
        self.0.lock().len()
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
    /// Moves up to `most` inputs into `batch`. Waits for the first until `patience` is over (`None`: for ever). While all
    /// there are can wait, others are gathered, for as long as `gather` since the first and never beyond `patience`; what
    /// overtakes is meanwhile taken alone. False when the mailbox is closed and empty.
    pub(crate) fn take(
        &mut self,
        batch: &mut Vec<I>,
        most: usize,
        patience: Option<Duration>,
        gather: impl FnOnce() -> Duration,
    ) -> bool {
        let begun = Instant::now();
        let left = |patience: Duration| patience.saturating_sub(begun.elapsed());
        let shared = &*self.shared;
        let mut queue = shared.lock();
        if queue.len() == 0 && !queue.closed && patience != Some(Duration::ZERO) {
            queue = shared.sleep(queue, Reader::Sleeps, patience);
        }
        let gather = if queue.inputs.is_empty() { Duration::ZERO } else { gather() };
        let gathered = loop {
            let may_gather =
                !gather.is_zero() && queue.urgent == 0 && !queue.closed && queue.inputs.len() < most;
            if queue.inputs.is_empty() || !may_gather {
                break true;
            }
            let since = *self.gathers_since.get_or_insert_with(Instant::now);
            let longer = gather.saturating_sub(since.elapsed());
            if longer.is_zero() {
                break true;
            }
            let patience = patience.map(left);
            if !queue.overtaking.is_empty() || patience == Some(Duration::ZERO) {
                break false;
            }
            let longer = patience.map_or(longer, |patience| patience.min(longer));
            queue = shared.sleep(queue, Reader::Gathers { full_at: most }, Some(longer));
        };
        let before = batch.len();
        let count = queue.overtaking.len().min(most);
        batch.extend(queue.overtaking.drain(..count));
        if gathered {
            self.gathers_since = None;
            let count = queue.inputs.len().min(most - count);
            let haste = queue.haste;
            let from = batch.len();
            batch.extend(queue.inputs.drain(..count));
            let urgent = batch.iter().skip(from).filter(|input| haste(input) == Haste::Now).count();
            queue.urgent = queue.urgent.saturating_sub(urgent);
        }
        let open = !queue.closed || batch.len() > before;
        let roomy = queue.crowded && queue.len() <= QUEUE_LOW_WATER;
        if roomy {
            queue.crowded = false;
        }
        queue.shrink();
        drop(queue);
        if roomy {
            shared.room.notify_waiters();
        }
        open
    }

    /// How many inputs wait.
    pub(crate) fn queued(&self) -> usize {
        self.shared.lock().len()
    }
}

impl<I> Drop for Mailbox<I> {
    fn drop(&mut self) {
        self.shared.close();
        // What is queued will never be read; whoever waits inside an input (a reply's sender) learns it now. Dropped
        // outside the lock: an input may hold a handle.
        let mut queue = self.shared.lock();
        let rest = (std::mem::take(&mut queue.inputs), std::mem::take(&mut queue.overtaking));
        drop(queue);
        drop(rest);
    }
}
