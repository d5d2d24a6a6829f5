//! Elections: of several instances of a framework one acts, as long as it keeps its lease alive.

use std::time::Duration;

use proto::refusal::Code;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Bytes, Compare, Comparison, Doors, Keys, Operand, Operation, OperationReply, Put, Range, State,
    StateError, Txn,
};

/// So many times a lease is kept alive within its time.
const BEATS: u32 = 3;
/// Whoever waits looks again so often, whatever is told of changes: a master that hangs tells nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// So long it waits before it looks again at what a watch could not tell.
const AFTER_COMPACTED: Duration = Duration::from_millis(200);

/// The lead of an election. Dropped, it is given up when its lease runs out; [`Leadership::resign`] does it at once.
#[derive(Debug)]
pub struct Leadership {
    state: State,
    key: Bytes,
    token: u64,
    lease: Lease,
}

/// A lease that is kept alive as long as this is held.
#[derive(Debug)]
struct Lease {
    id: u64,
    lost: watch::Receiver<bool>,
    keeping: JoinHandle<()>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl State {
    /// The same, with another master to be tried first.
    fn turned(mut self) -> State {
        let mut masters = self.doors.all();
        if !masters.is_empty() {
            masters.rotate_left(1);
        }
        self.doors = Doors::new(&masters);
        self.last = Default::default();
        self
    }
}

impl Lease {
    async fn take(state: &State, ttl: Duration) -> Result<Lease, StateError> {
        let begun = Instant::now();
        let granted = state.grant(ttl).await?;
        let (said, lost) = watch::channel(false);
        let (state, id, ttl) = (state.clone(), granted.id, Duration::from_millis(granted.ttl_ms));
        let keeping = tokio::spawn(async move {
            keep(state, id, ttl, begun).await;
            said.send_replace(true);
        });
        Ok(Lease { id, lost, keeping })
    }

    async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error is the end of the keeper, which is the same.
        let _ = lost.wait_for(|lost| *lost).await;
    }
}

/// Keeps a lease alive until it is lost, by the clock of this side: its time counts from when it was last asked for, so that
/// it is over here before it is over there.
async fn keep(mut state: State, id: u64, ttl: Duration, begun: Instant) {
    let beat = ttl / BEATS;
    let (mut sure_until, mut pause) = (begun + ttl, beat);
    loop {
        sleep(pause).await;
        let asked = Instant::now();
        // A master that hangs must not cost the lease: the next try begins with another one.
        let patience = (asked + beat).min(sure_until);
        match timeout_at(patience, state.keep_alive(id)).await {
            Ok(Ok(_)) => (sure_until, pause) = (asked + ttl, beat),
            Ok(Err(error)) if error.code().is_some() => return,
            Ok(Err(_)) | Err(_) if Instant::now() < sure_until => {
                (state, pause) = (state.turned(), beat / 10);
            }
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Waits until this instance leads the election `name`, and says who it is. Whoever leads must stop acting as soon as
/// [`Leadership::lost`] says so, and give every write [`Leadership::guard`] to be sure.
pub async fn campaign(
    state: &State,
    name: &str,
    who: impl Into<Bytes>,
    ttl: Duration,
) -> Result<Leadership, StateError> {
    let key = Bytes::from(format!("election/{name}"));
    let who = who.into();
    let mut lease = Lease::take(state, ttl).await?;
    loop {
        let put = Put { key: key.clone(), value: who.clone(), lease: lease.id, ..Put::default() };
        let look = Range { key: key.clone(), ..Range::default() };
        let txn = Txn {
            compare: vec![holds(&key, 0)],
            success: vec![Operation::Put(put), Operation::Range(look.clone())],
            failure: vec![Operation::Range(look)],
        };
        let (there, seen_at) = match state.txn(txn).await {
            Ok((reply, revision)) => match reply.responses.into_iter().next_back() {
                Some(OperationReply::Range(range)) => (range.kvs.into_iter().next(), revision),
                _ => (None, revision),
            },
            // The next look shows whether it was carried out.
            Err(StateError::Unknown { .. }) => {
                let (found, revision) = state.list(Keys::one(key.clone())).await?;
                (found.into_iter().next(), revision)
            }
            Err(error) if error.code() == Some(Code::NotFound) => {
                lease = Lease::take(state, ttl).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(leader) = there else { continue };
        if leader.lease == lease.id {
            return Ok(Leadership { state: state.clone(), key, token: leader.create_revision, lease });
        }
        // Not from when the leader came: what is as old as that may be compacted.
        let gone = gone(state, &key, seen_at + 1);
        tokio::pin!(gone);
        loop {
            tokio::select! {
                ended = &mut gone => {
                    ended?;
                    break;
                }
                () = lease.lost() => {
                    lease = Lease::take(state, ttl).await?;
                    break;
                }
                () = sleep(LOOK_AGAIN) => {
                    let there = state.get(key.clone()).await?;
                    if there.is_none_or(|kv| kv.mod_revision != leader.mod_revision) {
                        break;
                    }
                }
            }
        }
    }
}

/// Waits until a key is deleted.
async fn gone(state: &State, key: &Bytes, from: u64) -> Result<(), StateError> {
    let mut changes = state.watch(Keys::one(key.clone()), from);
    while let Some(reply) = changes.next().await {
        match reply {
            Ok(reply) if reply.events.iter().any(|event| event.deleted) => return Ok(()),
            Ok(_) => {}
            // So much has changed since that it is worth another look.
            Err(error) if error.code() == Some(Code::Compacted) => {
                sleep(AFTER_COMPACTED).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn holds(key: &Bytes, create_revision: u64) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        comparison: Comparison::Equal,
        operand: Operand::CreateRevision(create_revision),
    }
}

// === impl Leadership ===

impl Leadership {
    /// The fencing token: greater than that of everybody who led before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// What holds as long as nobody else leads: compared in a transaction, it makes a write of a deposed instance fail.
    pub fn guard(&self) -> Compare {
        holds(&self.key, self.token)
    }

    /// Takes the space over in which the election is held, unless the lead is lost: `NotFound`. What it gives fences
    /// everybody who led before.
    pub async fn claim(&self) -> Result<State, StateError> {
        self.state.claim_under(self.lease.id).await
    }

    /// The lease that it stands and falls with.
    pub fn lease(&self) -> u64 {
        self.lease.id
    }

    /// Waits until the lead is lost.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }

    /// Gives the lead up.
    pub async fn resign(&self) -> Result<(), StateError> {
        self.state.revoke(self.lease.id).await
    }
}
