//! The thread that writes: what comes while the disk is busy is made durable together, in one sync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{Record, Store, StoreError};

/// So many records at most in one sync: what comes first must not wait for ever for what comes later.
const BATCH_RECORDS_MAX: usize = 10_000;

/// The answer to a commit: durable, or never known to be.
pub type Commit = oneshot::Receiver<Result<(), Arc<StoreError>>>;

/// The writer has stopped: after an error, everything that comes is refused by dropping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's writer has stopped after an error")]
pub struct Stopped;

struct Order {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), Arc<StoreError>>>,
}

/// Hands records to the thread that writes them.
#[derive(Debug)]
pub struct Writer {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<Store>>,
}

// === impl Writer ===

impl Writer {
    /// Starts the thread.
    pub fn start(store: Store) -> std::io::Result<Writer> {
        let (orders, incoming) = channel();
        let thread =
            std::thread::Builder::new().name("journal".into()).spawn(move || write(store, &incoming))?;
        Ok(Writer { orders: Some(orders), thread: Some(thread) })
    }

    /// Makes records durable, in the order of the calls. The answer comes when they are. After an error the writer
    /// takes nothing more; the process should end and read its journal again.
    pub fn commit(&self, records: Vec<Record>) -> Result<Commit, Stopped> {
        let (done, answer) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or(Stopped)?;
        orders.send(Order { records, done }).map_err(|_| Stopped)?;
        Ok(answer)
    }

    /// Ends the thread after what was handed to it, and gives the store back; `None` if the thread panicked.
    pub fn stop(mut self) -> Option<Store> {
        self.orders = None;
        self.thread.take()?.join().ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

fn write(mut store: Store, incoming: &Receiver<Order>) -> Store {
    while let Ok(first) = incoming.recv() {
        let mut batch = first.records;
        let mut waiting = vec![first.done];
        while batch.len() < BATCH_RECORDS_MAX
            && let Ok(order) = incoming.try_recv()
        {
            batch.extend(order.records);
            waiting.push(order.done);
        }
        let result = store.append(batch).map_err(Arc::new);
        for done in waiting {
            // Whoever does not wait any more needs no answer.
            let _ = done.send(result.clone());
        }
        if let Err(error) = result {
            tracing::error!(%error, "the journal cannot be written; nothing more is taken");
            break;
        }
    }
    store
}
