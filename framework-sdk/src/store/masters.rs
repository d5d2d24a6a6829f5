//! `MasterStore`: what a framework keeps, in a space of the masters' store, fenced by the claim of one life.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc as blocking;
use std::time::Duration;

use framework_sdk_core::reconciler::Change;
use proto::refusal::Code;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::text::{read, written};
use super::{Loaded, StateStore, StoreError};
use crate::state::{Bytes, DeleteRange, Keys, Operation, Put, State, StateError, Txn};

/// Keys of what is kept begin with this.
const KEPT: &str = "framework/";
/// Keys of changes that are too many for one transaction begin with this: they stand here until they are all there.
const PARTS: &str = "framework.parts/";
/// Says of them that they are.
const WHOLE: &str = "framework.whole";
/// So many changes are one transaction; the masters take 128 steps.
const TXN_CHANGES_MAX: usize = 100;
/// And so many bytes of them. A larger value is a transaction of its own, and the masters say whether they take it.
const TXN_BYTES_MAX: usize = 512 << 10;
/// Before what failed is tried again: the masters have been asked for seconds already, or are about to elect.
const PAUSE: Duration = Duration::from_millis(50);

/// What a framework keeps, in a space of the masters' store. Each life claims the space, and fences the lives before.
#[derive(Debug)]
pub struct MasterStore {
    space: State,
    /// That of the election that this instance has won; 0 without one.
    lease: u64,
    runtime: Handle,
    /// Nobody waits for an answer any more.
    given_up: watch::Receiver<bool>,
}

// === impl MasterStore ===

impl MasterStore {
    /// In this space, which is claimed under this lease, or in any case if it is 0. While no master answers it waits, until
    /// `given_up` says that it shall not. It is made within a tokio runtime.
    pub(crate) fn new(space: State, lease: u64, given_up: watch::Receiver<bool>) -> Self {
        MasterStore { space, lease, runtime: Handle::current(), given_up }
    }

    /// Waits on this thread for what is done on the event loop's.
    fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, ended) = blocking::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = done.send(future.await);
        });
        ended.recv().unwrap_or_else(|_| Err(StoreError::Unknown("the event loop has ended".to_owned())))
    }
}

impl StateStore for MasterStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let (space, lease, given_up) = (self.space.clone(), self.lease, self.given_up.clone());
        self.wait(async move {
            let space = loop {
                match space.claim_under(lease).await {
                    Ok(space) => break space,
                    Err(error) if error.code() == Some(Code::NotFound) => {
                        return Err(StoreError::Fenced("the lease of its election has run out".to_owned()));
                    }
                    Err(error) => again(error, &given_up).await?,
                }
            };
            let whole = look(&space, &Keys::one(WHOLE), &given_up).await?;
            if !whole.is_empty() {
                info!("the last life had begun to save what is carried out now");
                finish(&space, &given_up).await?;
            }
            let kept = look(&space, &Keys::prefix(KEPT), &given_up).await?;
            Ok(Loaded { known: kept, fence: space.epoch().unwrap_or_default() })
        })
    }

    fn commit(&mut self, changes: &[Change], fence: u64) -> Result<(), StoreError> {
        let (space, given_up) = (self.space.at(fence), self.given_up.clone());
        let changes = latest(changes);
        self.wait(async move {
            let parts = parts(&changes);
            if let [_] = parts.as_slice() {
                return change(&space, changes.iter().map(kept).collect(), &given_up).await;
            }
            // They are all there from the moment on at which it is said that they are.
            change(&space, vec![forget(&Keys::prefix(PARTS))], &given_up).await?;
            for (number, part) in parts.into_iter().enumerate() {
                // Written as one text they are more bytes than they were: as many values as that takes.
                for (at, piece) in pieces(&written(&changes[part])).into_iter().enumerate() {
                    let key = format!("{PARTS}{number:08}.{at:08}");
                    change(&space, vec![put(&key, piece)], &given_up).await?;
                }
            }
            change(&space, vec![put(WHOLE, "")], &given_up).await?;
            finish(&space, &given_up).await
        })
    }
}

/// Carries out what stands whole in parts. It is as good to do it twice.
async fn finish(space: &State, given_up: &watch::Receiver<bool>) -> Result<(), StoreError> {
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for (key, piece) in look(space, &Keys::prefix(PARTS), given_up).await? {
        let number = key.strip_prefix(PARTS).and_then(|rest| rest.split('.').next()).unwrap_or_default();
        parts.entry(number.to_owned()).or_default().push_str(&piece);
    }
    for part in parts.into_values() {
        change(space, read(&part).iter().map(kept).collect(), given_up).await?;
    }
    change(space, vec![forget(&Keys::one(WHOLE)), forget(&Keys::prefix(PARTS))], given_up).await
}

/// The keys below a prefix, without it.
async fn look(
    space: &State,
    keys: &Keys,
    given_up: &watch::Receiver<bool>,
) -> Result<BTreeMap<String, String>, StoreError> {
    let found = loop {
        match space.list(keys.clone()).await {
            Ok((found, _)) => break found,
            Err(error) => again(error, given_up).await?,
        }
    };
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let named = found.iter().map(|kv| {
        let key = text(&kv.key);
        (key.strip_prefix(KEPT).unwrap_or(&key).to_owned(), text(&kv.value))
    });
    Ok(named.collect())
}

/// Changes keys as one revision. Only this life writes here, so it is as good to do it twice.
async fn change(
    space: &State,
    steps: Vec<Operation>,
    given_up: &watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let txn = Txn { compare: Vec::new(), success: steps, failure: Vec::new() };
    loop {
        match space.txn(txn.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => again(error, given_up).await?,
        }
    }
}

/// Whether it is worth another try, as long as somebody waits for it; after a pause.
async fn again(error: StateError, given_up: &watch::Receiver<bool>) -> Result<(), StoreError> {
    if error.code() == Some(Code::Fenced) {
        return Err(StoreError::Fenced(error.to_string()));
    }
    if !error.passes() {
        return Err(StoreError::Failed(error.into()));
    }
    // Also when whoever began this is no more.
    if *given_up.borrow() || given_up.has_changed().is_err() {
        return Err(StoreError::Unknown(error.to_string()));
    }
    warn!(%error, "the masters do not keep the framework's state; trying again");
    sleep(PAUSE).await;
    Ok(())
}

/// No key twice: a transaction changes each once.
fn latest(changes: &[Change]) -> Vec<Change> {
    let mut seen = std::collections::BTreeSet::new();
    let mut latest: Vec<Change> =
        changes.iter().rev().filter(|change| seen.insert(change.key.as_str())).cloned().collect();
    latest.reverse();
    latest
}

/// The changes that go together into one transaction.
fn parts(changes: &[Change]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (at, change) in changes.iter().enumerate() {
        let more = change.key.len() + change.value.as_ref().map_or(0, String::len);
        if at > begin && (at - begin >= TXN_CHANGES_MAX || bytes + more > TXN_BYTES_MAX) {
            parts.push(begin..at);
            (begin, bytes) = (at, 0);
        }
        bytes += more;
    }
    parts.push(begin..changes.len());
    parts
}

/// A text in pieces that the masters take as values.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let most = TXN_BYTES_MAX.min(text.len());
        let end = (1..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        text = rest;
    }
    pieces
}

fn kept(change: &Change) -> Operation {
    let key = format!("{KEPT}{}", change.key);
    match &change.value {
        Some(value) => put(&key, value),
        None => forget(&Keys::one(key)),
    }
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Put(Put { key: key.to_owned().into(), value: value.to_owned().into(), ..Put::default() })
}

fn forget(keys: &Keys) -> Operation {
    Operation::DeleteRange(DeleteRange { key: keys.key.clone(), range_end: keys.end.clone(), prev_kv: false })
}

#[cfg(test)]
mod tests;
