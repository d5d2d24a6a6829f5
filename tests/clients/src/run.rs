//! `Run`: one clock for all calls, and how far they have come.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;

/// What all clients share.
pub struct Run {
    begun: Instant,
    wanted: u64,
    answered: AtomicU64,
    /// Calls that may have changed something, and whose answer never came.
    unknown: AtomicU64,
    /// Reads whose answer never came, or was said to be old: they mean nothing.
    void: AtomicU64,
    over: AtomicBool,
    failure: watch::Sender<Option<String>>,
    longest: Mutex<u64>,
}

// === impl Run ===

impl Run {
    /// One that ends when so many calls are answered.
    pub fn new(wanted: u64) -> Run {
        Run {
            begun: Instant::now(),
            wanted,
            answered: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            void: AtomicU64::new(0),
            over: AtomicBool::new(false),
            failure: watch::Sender::new(None),
            longest: Mutex::new(0),
        }
    }

    /// In nanoseconds since it began. The same clock for everybody in this process: what one client sees answered before
    /// another one calls really was.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A call was answered that was made at this time; when.
    pub fn answers(&self, called: u64) -> u64 {
        let now = self.now();
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = (*longest).max(now - called);
        now
    }

    /// A call that may have changed something was not.
    pub fn leaves_open(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// A read was not answered, or not as of now.
    pub fn is_void(&self) {
        self.void.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many were not, and may have changed something.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// How many mean nothing.
    pub fn void(&self) -> u64 {
        self.void.load(Ordering::Relaxed)
    }

    /// How long the slowest answer took, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner) / 1_000_000
    }

    /// How many are to be answered.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Whether so many are.
    pub fn is_enough(&self) -> bool {
        self.answered() >= self.wanted
    }

    /// Nobody calls any more.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Somebody cannot go on.
    pub fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(why);
            first
        });
    }

    /// Waits until somebody cannot; why.
    pub async fn failure(&self) -> String {
        let mut failure = self.failure.subscribe();
        let why = failure.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_default()
    }
}
