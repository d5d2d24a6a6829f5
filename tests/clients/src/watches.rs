//! Watches over the whole run: of everything, of some keys, and one that begins in the middle, each at another master first.

use std::sync::Arc;
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::state::{State, StateError};
use tests_history::store::Key;
use tests_history::watch::{Change, Told};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::run::Run;
use crate::words;

/// The keys that one of the watches is about: those of the first windows, and some of what comes later.
const SOME: (Key, Key) = (0, 4_000);
/// The last watch begins when this part of the calls is answered.
const LATE: (u64, u64) = (1, 2);
/// And so many revisions before what is there then: what it was not there for is told to it, too.
const CATCHES_UP: u64 = 500;
/// How long the last changes may take to be told.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether it is time for the last watch.
const LOOK: Duration = Duration::from_millis(20);

/// The watches of one space.
pub struct Watches {
    run: Arc<Run>,
    /// Set when the revision is known behind which nothing comes.
    last: watch::Sender<Option<u64>>,
    listening: Vec<JoinHandle<Result<Told, String>>>,
}

/// What they told.
pub struct Heard {
    /// All of it.
    pub whole: Told,
    /// Parts of it.
    pub parts: Vec<Told>,
    /// The last revision that was acknowledged.
    pub last: u64,
}

// === impl Watches ===

impl Watches {
    /// Begins to listen, before anything is put.
    pub fn start(run: &Arc<Run>, profile: &Profile, space: &str) -> Watches {
        let last = watch::Sender::new(None);
        let at = |first: usize| {
            let mut masters = profile.masters.clone();
            let count = masters.len().max(1);
            masters.rotate_left(first % count);
            State::new(&Profile { masters, ..profile.clone() }).space(space)
        };
        let told = |name: &str, (from, to): (Key, Key), start: u64| Told {
            name: format!("{space}, the watch of {name}"),
            from,
            to,
            start,
            changes: Vec::new(),
        };
        let all = (0, Key::MAX);
        let listening = vec![
            tokio::spawn(listen(at(0), told("everything", all, 2), last.subscribe())),
            tokio::spawn(listen(at(1), told("some keys", SOME, 2), last.subscribe())),
            tokio::spawn(listen_late(run.clone(), at(2), told("the second half", all, 0), last.subscribe())),
        ];
        Watches { run: run.clone(), last, listening }
    }

    /// What they told, once they have told everything up to a revision.
    pub async fn end(self, last: u64) -> Result<Heard, String> {
        self.last.send_replace(Some(last));
        let mut all = Vec::new();
        for listener in self.listening {
            let told = tokio::time::timeout(LIMIT, listener).await;
            let told =
                told.map_err(|_| format!("a watch has not told revision {last} in {} s", LIMIT.as_secs()))?;
            all.push(told.map_err(|error| error.to_string())??);
        }
        let whole = all.remove(0);
        let wanted = self.run.wanted();
        if all.iter().any(|part| part.changes.is_empty()) && wanted >= 10_000 {
            return Err("a watch was told nothing, and was of no use".to_owned());
        }
        Ok(Heard { whole, parts: all, last })
    }
}

/// The last watch waits until it is its time.
async fn listen_late(
    run: Arc<Run>,
    state: State,
    mut told: Told,
    last: watch::Receiver<Option<u64>>,
) -> Result<Told, String> {
    let time = run.wanted() * LATE.0 / LATE.1;
    while run.answered() < time && !run.is_over() {
        tokio::time::sleep(LOOK).await; // eventually: the run bounds it
    }
    let seen = loop {
        match state.list(words::keys(0, 0)).await {
            Ok((_, revision)) => break revision,
            Err(StateError::Refused(refusal)) => return Err(refusal.to_string()),
            Err(StateError::Unknown { .. } | StateError::Ask(_)) => {}
        }
    };
    told.start = seen.saturating_sub(CATCHES_UP).max(2);
    listen(state, told, last).await
}

/// Listens until everything up to the last revision is told.
async fn listen(
    state: State,
    mut told: Told,
    mut last: watch::Receiver<Option<u64>>,
) -> Result<Told, String> {
    let keys = words::keys(told.from, told.to);
    // The last change of all is one that every watch is told of.
    let mut next = told.start;
    loop {
        let mut watching = state.watch(keys.clone(), next);
        loop {
            let until = *last.borrow_and_update();
            if until.is_some_and(|until| watching.next_revision() > until) {
                return Ok(told);
            }
            let reply = tokio::select! {
                reply = watching.next() => reply,
                changed = last.changed() => {
                    changed.map_err(|_| "the run ended without a last revision".to_owned())?;
                    continue;
                }
            };
            match reply {
                Some(Ok(reply)) => {
                    for event in &reply.events {
                        let held = (!event.deleted).then(|| words::held(&event.kv)).transpose()?;
                        let key = words::number_of(&event.kv.key)?;
                        told.changes.push(Change { revision: event.kv.mod_revision, key, held });
                    }
                }
                // All masters were away for longer than it tries: it is taken up where it stands.
                Some(Err(StateError::Ask(_) | StateError::Unknown { .. })) | None => break,
                Some(Err(StateError::Refused(refusal))) => return Err(format!("{}: {refusal}", told.name)),
            }
        }
        // Not behind the last change that was told: if none of its keys changes for long, that is compacted.
        next = watching.next_revision();
    }
}
