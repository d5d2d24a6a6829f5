//! Of several instances of a framework one has its turn, as long as its lease stands; the others wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::state::{Leadership, State, StateError, campaign};

/// How long an instance may be silent before another takes over. It is kept alive three times within that.
pub(super) const TTL: Duration = Duration::from_secs(3);
/// The election of the instances of a framework, in its space.
const ELECTION: &str = "framework";
/// Before it is tried again when no master answered for as long as one is asked.
const AGAIN: Duration = Duration::from_millis(200);
/// How long it is tried to let the next one in at once.
const RESIGN_LIMIT: Duration = Duration::from_secs(3);

/// The turn of this instance.
#[derive(Debug)]
pub(super) struct Turn {
    leadership: Arc<Leadership>,
    lost: Arc<AtomicBool>,
}

/// Waits for the turn of this instance, for as long as it takes.
pub(super) async fn wait_for_turn(space: &State) -> Result<Turn, StateError> {
    let who = who();
    info!(who, "waiting for the turn of this instance");
    loop {
        match campaign(space, ELECTION, who.clone(), TTL).await {
            Ok(leadership) => {
                info!(who, token = leadership.token(), "this instance has its turn");
                return Ok(Turn { leadership: Arc::new(leadership), lost: Arc::default() });
            }
            Err(error) if error.passes() => {
                warn!(%error, "no master says whose turn it is; trying again");
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// This instance, for people who look whose turn it is.
fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} pid {}", host.trim(), std::process::id())
}

// === impl Turn ===

impl Turn {
    /// The lease that it stands and falls with.
    pub fn lease(&self) -> u64 {
        self.leadership.lease()
    }

    /// Does something as soon as the turn is lost, unless it is given up before.
    pub fn when_lost(&self, given_up: watch::Sender<bool>, act: impl FnOnce() + Send + 'static) {
        let (leadership, lost) = (self.leadership.clone(), self.lost.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = leadership.lost() => {
                    lost.store(true, Ordering::Release);
                    given_up.send_replace(true);
                    act();
                }
                // It has ended in whatever way: the next one need not wait for the lease.
                () = given_up.closed() => resign(&leadership).await,
            }
        });
    }

    /// Whether it was lost.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Lets the next one in at once.
    pub async fn give_up(&self) {
        resign(&self.leadership).await;
    }
}

async fn resign(leadership: &Leadership) {
    if let Ok(Err(error)) = timeout(RESIGN_LIMIT, leadership.resign()).await {
        warn!(%error, "the next instance waits until the lease of this one runs out");
    }
}
