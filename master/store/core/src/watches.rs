//! `Watches`: who wants to hear of changes, and up to where they have.

use std::collections::{BTreeMap, BTreeSet};

use master_store::{Space, SpaceId, Store};
use proto::store::{Keys, WatchReply};
use proto_machine::Outbox;
use proto_machine::mutants::{self, Mutant};

use crate::config::{WATCH_BYTES, WATCH_TOLD_REVISIONS};
use crate::input::WatchId;
use crate::output::Output;

/// Somebody who listens.
#[derive(Debug)]
struct Watcher {
    space: SpaceId,
    keys: Keys,
    prev_kv: bool,
    /// The first revision not yet looked at for it.
    next: u64,
    /// Up to where it was told.
    told: u64,
}

/// Everybody who listens, by space.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_id: BTreeMap<WatchId, Watcher>,
    by_space: BTreeMap<SpaceId, BTreeSet<WatchId>>,
}

impl Watches {
    /// How many listen to spaces of a principal.
    pub fn of_owner(&self, owner: &str) -> usize {
        let first = SpaceId { owner: owner.to_owned(), name: String::new() };
        let own = self.by_space.range(first..).take_while(|(space, _)| space.owner == owner);
        own.map(|(_, watches)| watches.len()).sum()
    }

    /// Somebody listens from now on, to changes at and behind `next`.
    pub fn add(&mut self, id: WatchId, space: SpaceId, keys: Keys, prev_kv: bool, next: u64) {
        self.by_space.entry(space.clone()).or_default().insert(id);
        self.by_id.insert(id, Watcher { space, keys, prev_kv, next, told: next.saturating_sub(1) });
    }

    pub fn remove(&mut self, id: WatchId) {
        let Some(watcher) = self.by_id.remove(&id) else { return };
        if let Some(watches) = self.by_space.get_mut(&watcher.space) {
            watches.remove(&id);
            if watches.is_empty() {
                self.by_space.remove(&watcher.space);
            }
        }
    }

    /// Tells everybody who listens to a space what is new in it.
    pub fn tell_space(&mut self, space: &SpaceId, store: &Store, out: &mut Outbox<Output>) {
        let ids: Vec<WatchId> = self.by_space.get(space).into_iter().flatten().copied().collect();
        ids.into_iter().for_each(|id| self.tell(id, store, out));
    }

    /// Tells everybody.
    pub fn tell_all(&mut self, store: &Store, out: &mut Outbox<Output>) {
        let ids: Vec<WatchId> = self.by_id.keys().copied().collect();
        ids.into_iter().for_each(|id| self.tell(id, store, out));
    }

    /// Tells one what is new for it.
    pub fn tell(&mut self, id: WatchId, store: &Store, out: &mut Outbox<Output>) {
        let Some(watcher) = self.by_id.get_mut(&id) else { return };
        let empty = Space::default();
        let space = store.space(&watcher.space).unwrap_or(&empty);
        while watcher.next <= space.revision() {
            match space.changes(&watcher.keys, watcher.next, watcher.prev_kv, WATCH_BYTES) {
                Ok(changes) => {
                    watcher.next = changes.next + u64::from(mutants::is(Mutant::WatchSkips));
                    if !changes.events.is_empty() {
                        let revision = changes.next - 1;
                        watcher.told = revision;
                        let reply = WatchReply { revision, events: changes.events, refused: None };
                        out.push(Output::ToWatch { watch: id, reply });
                    }
                }
                Err(fault) => {
                    let reply = WatchReply {
                        revision: space.revision(),
                        events: Vec::new(),
                        refused: Some(fault.into()),
                    };
                    out.push(Output::ToWatch { watch: id, reply });
                    out.push(Output::CloseWatch { watch: id });
                    return self.remove(id);
                }
            }
        }
        // It missed nothing, but what it was told last is compacted, or will be while it is away: it could not go on.
        let behind = watcher.next.saturating_sub(watcher.told + 1);
        let compacted = watcher.told + 1 < space.compacted();
        if compacted || behind >= WATCH_TOLD_REVISIONS {
            watcher.told = watcher.next - 1;
            let reply = WatchReply { revision: watcher.told, ..WatchReply::default() };
            out.push(Output::ToWatch { watch: id, reply });
        }
    }
}
