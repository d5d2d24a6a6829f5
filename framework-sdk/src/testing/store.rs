//! `FakeStore`: a store for an author's tests, shared by the lives of a framework, that fails when a test says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use framework_sdk_core::reconciler::Change;
use tokio::sync::watch;

use crate::store::{Loaded, StateStore, StoreError};

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is saved, and the answer is lost: the life ends as if it was killed right after the save.
    LostAnswer,
    /// It is not saved: the life ends as if it was killed right before the save.
    NotSaved,
    /// Another instance has taken over.
    Fenced,
}

/// A store that is shared by all who hold a clone of it, and fences each life when the next one loads.
#[derive(Clone, Debug, Default)]
pub struct FakeStore(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    books: Mutex<Books>,
    /// A commit goes on.
    released: Condvar,
    /// Commits that wait.
    waiting: watch::Sender<usize>,
}

/// Says of a commit whether it is meant.
type Which = Box<dyn Fn(&[Change]) -> bool + Send>;

#[derive(Default)]
struct Books {
    known: BTreeMap<String, String>,
    fence: u64,
    commits: Vec<Vec<Change>>,
    failure: Option<(Which, Failure)>,
    is_held: bool,
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books")
            .field("known", &self.known)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

impl FakeStore {
    /// An empty one.
    pub fn new() -> Self {
        FakeStore::default()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept.
    pub fn known(&self) -> BTreeMap<String, String> {
        self.books().known.clone()
    }

    /// What was saved so far, each commit as one.
    pub fn commits(&self) -> Vec<Vec<Change>> {
        self.books().commits.clone()
    }

    /// The next commit of which this holds fails so.
    pub fn fail_when(&self, holds: impl Fn(&[Change]) -> bool + Send + 'static, failure: Failure) {
        self.books().failure = Some((Box::new(holds), failure));
    }

    /// Commits wait from now on: the store is slow.
    pub fn hold(&self) {
        self.books().is_held = true;
    }

    /// They go on.
    pub fn release(&self) {
        self.books().is_held = false;
        self.0.released.notify_all();
    }

    /// Resolves when a commit waits.
    pub async fn until_one_waits(&self) {
        let mut waiting = self.0.waiting.subscribe();
        // The sender lives as long as `self`.
        let _ = waiting.wait_for(|waiting| *waiting > 0).await;
    }
}

impl StateStore for FakeStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut books = self.books();
        books.fence += 1;
        Ok(Loaded { known: books.known.clone(), fence: books.fence })
    }

    fn commit(&mut self, changes: &[Change], fence: u64) -> Result<(), StoreError> {
        let mut books = self.books();
        if books.is_held {
            self.0.waiting.send_modify(|waiting| *waiting += 1);
            books = self
                .0
                .released
                .wait_while(books, |books| books.is_held)
                .unwrap_or_else(PoisonError::into_inner);
            self.0.waiting.send_modify(|waiting| *waiting -= 1);
        }
        let failure = books.failure.take_if(|(holds, _)| holds(changes)).map(|(_, failure)| failure);
        if fence < books.fence || failure == Some(Failure::Fenced) {
            return Err(StoreError::Fenced(format!("the life of fence {} has begun", books.fence)));
        }
        if failure == Some(Failure::NotSaved) {
            return Err(StoreError::Failed("not saved, as the test wants".into()));
        }
        for change in changes {
            change.clone().apply_to(&mut books.known);
        }
        books.commits.push(changes.to_vec());
        if failure == Some(Failure::LostAnswer) {
            return Err(StoreError::Unknown("the answer was lost, as the test wants".to_owned()));
        }
        Ok(())
    }
}
