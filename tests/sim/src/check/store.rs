//! P15: what the store's group has acknowledged stays, in one dense order that everybody sees; leases and fences hold.

use std::collections::BTreeMap;

use master_store::Space;
use proto::store::{Bytes, Event, KeyValue, Keys};

use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "P15 state";

/// A write that a client asked for: its value in the store is its number.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// The epoch that fences it.
    pub epoch: Option<u64>,
    /// The greatest epoch that anybody was told of when it was asked for.
    pub claimed: u64,
    /// What it compares: the key was last changed then.
    pub seen: Option<u64>,
}

/// A lease, as its holder may count on it.
#[derive(Clone, Copy, Debug, Default)]
struct Lease {
    /// In true time.
    sure_until: u64,
    /// Somebody asked to end it.
    revoked: bool,
}

/// The one history, and what everybody was told of it.
#[derive(Debug, Default)]
pub struct StoreBooks {
    /// All changes, by revision, as they were first seen at any member.
    history: BTreeMap<u64, Vec<Event>>,
    /// Each key as it was from each revision on.
    keys: BTreeMap<Bytes, BTreeMap<u64, Option<KeyValue>>>,
    /// How far each member was looked at in this life.
    seen: BTreeMap<Node, u64>,
    writes: BTreeMap<u64, Write>,
    /// At which revision each stands.
    stands: BTreeMap<u64, u64>,
    leases: BTreeMap<u64, Lease>,
    /// When the end of a lease was first seen.
    ended: BTreeMap<u64, u64>,
    /// The epoch of the last write that was fenced.
    epoch: u64,
    claimed: u64,
    acknowledged: u64,
    counts: Counts,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Changes that watches told.
    pub told: u64,
    /// Leases that ended by themselves.
    pub ended: u64,
}

/// The first revision in which something can be.
const FIRST: u64 = 2;

impl StoreBooks {
    // === what clients do ===

    /// A client asks for a write of this number.
    pub fn asks(&mut self, number: u64, write: Write) {
        self.writes.insert(number, Write { claimed: self.claimed, ..write });
    }

    /// The revision that everybody may count on who asks now.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The greatest epoch that anybody was told of.
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// Whether the end of a lease was seen.
    pub fn has_ended(&self, lease: u64) -> bool {
        self.ended.contains_key(&lease)
    }

    /// A write was acknowledged with this revision.
    pub fn written(&mut self, number: u64, revision: u64) -> Verdict {
        self.counts.writes += 1;
        self.acknowledged = self.acknowledged.max(revision);
        match self.stands.get(&number) {
            Some(at) if *at == revision => Ok(()),
            at => {
                broken(PROMISE, format!("write {number} was acknowledged at {revision} and stands at {at:?}"))
            }
        }
    }

    /// Some other change was acknowledged.
    pub fn changed(&mut self, revision: u64) {
        self.acknowledged = self.acknowledged.max(revision);
    }

    /// A key was read, by a client that might count on revision `least` when it asked.
    pub fn read(&mut self, key: &Bytes, found: Option<&KeyValue>, revision: u64, least: u64) -> Verdict {
        self.counts.reads += 1;
        if revision < least {
            return broken(
                PROMISE,
                format!("a read answered as of {revision}, after {least} was acknowledged"),
            );
        }
        self.acknowledged = self.acknowledged.max(revision);
        let then = self.at(key, revision);
        if then != found {
            return broken(PROMISE, format!("a read at {revision} found {found:?} where {then:?} was"));
        }
        Ok(())
    }

    fn at(&self, key: &Bytes, revision: u64) -> Option<&KeyValue> {
        self.keys.get(key)?.range(..=revision).next_back()?.1.as_ref()
    }

    /// Somebody claimed the space, after `before` was the greatest epoch anybody knew of.
    pub fn claims(&mut self, epoch: u64, before: u64, under: Option<(u64, bool)>) -> Verdict {
        if let Some((lease, true)) = under {
            return broken(
                PROMISE,
                format!("epoch {epoch} was claimed under lease {lease}, which had ended"),
            );
        }
        if epoch <= before {
            return broken(PROMISE, format!("epoch {epoch} was claimed after {before}"));
        }
        self.claimed = self.claimed.max(epoch);
        Ok(())
    }

    /// A lease was granted or kept alive: its holder counts on it until then, by clocks that may differ by `slack`.
    pub fn holds(&mut self, lease: u64, until: u64, slack: u64) -> Verdict {
        let known = self.leases.entry(lease).or_default();
        known.sure_until = known.sure_until.max(until);
        // The word may come behind the end; it must not have been wrong.
        match self.ended.get(&lease) {
            Some(at) if !known.revoked && at + slack < until => {
                broken(PROMISE, format!("lease {lease} ended at {at}, and is told to last until {until}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Somebody asks to end a lease.
    pub fn revokes(&mut self, lease: u64) {
        self.leases.entry(lease).or_default().revoked = true;
    }

    /// A watch that had told everything up to `told` tells of these changes, and that they are all up to `revision`.
    pub fn told(&mut self, keys: &Keys, told: u64, revision: u64, events: &[Event]) -> Verdict {
        self.counts.told += events.len() as u64;
        let between = self.history.range(told + 1..).take_while(|(at, _)| **at <= revision);
        let between = between.flat_map(|(_, events)| events);
        let wanted: Vec<&Event> = between.filter(|event| keys.contains(&event.kv.key)).collect();
        let same = wanted.len() == events.len() && wanted.iter().zip(events).all(|(a, b)| *a == b);
        if same && revision >= told {
            return Ok(());
        }
        let revisions = |events: &[&Event]| {
            events.iter().map(|event| event.kv.mod_revision.to_string()).collect::<Vec<_>>().join(" ")
        };
        let heard: Vec<&Event> = events.iter().collect();
        broken(
            PROMISE,
            format!(
                "behind {told} a watch told {} up to {revision}; there was {}",
                revisions(&heard),
                revisions(&wanted)
            ),
        )
    }

    // === what members hold ===

    /// A member begins anew: all of it is looked at again.
    pub fn forgets(&mut self, member: Node) {
        self.seen.remove(&member);
    }

    /// What is new at a member is as it is everywhere. `slack` is by how much clocks may differ over a whole lease.
    pub fn holds_what_is_known(&mut self, member: Node, space: &Space, now: u64, slack: u64) -> Verdict {
        let seen = self.seen.get(&member).copied().unwrap_or(FIRST - 1);
        if seen >= space.revision() {
            return Ok(());
        }
        self.seen.insert(member, space.revision());
        let from = (seen + 1).max(space.compacted());
        let all = Keys { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") };
        let Ok(changes) = space.changes(&all, from, false, u64::MAX) else { return Ok(()) };
        let mut by_revision: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
        for event in changes.events {
            by_revision.entry(event.kv.mod_revision).or_default().push(event);
        }
        for revision in from.max(FIRST)..=space.revision() {
            let events = by_revision.remove(&revision).unwrap_or_default();
            match self.history.get(&revision) {
                Some(known) if *known == events => {}
                Some(known) => {
                    let how = format!("revision {revision} is {events:?} at {member}, and was {known:?}");
                    return broken(PROMISE, how);
                }
                None => self.is_new(revision, events, member, now, slack)?,
            }
        }
        Ok(())
    }

    fn is_new(&mut self, revision: u64, events: Vec<Event>, member: Node, now: u64, slack: u64) -> Verdict {
        let last = self.history.last_key_value().map_or(FIRST - 1, |(last, _)| *last);
        if revision != last + 1 || events.is_empty() {
            return broken(
                PROMISE,
                format!("{member} has revision {revision} after {last}, with {events:?}"),
            );
        }
        for event in &events {
            let before = self.at(&event.kv.key, last).cloned();
            if event.deleted {
                if let Some(lease) = before.map(|kv| kv.lease).filter(|lease| *lease != 0) {
                    self.ends(lease, now, slack)?;
                }
                self.keys.entry(event.kv.key.clone()).or_default().insert(revision, None);
                continue;
            }
            self.is_written(revision, &event.kv, before.as_ref())?;
            self.keys.entry(event.kv.key.clone()).or_default().insert(revision, Some(event.kv.clone()));
        }
        self.history.insert(revision, events);
        Ok(())
    }

    fn ends(&mut self, lease: u64, now: u64, slack: u64) -> Verdict {
        let known = self.leases.get(&lease).copied().unwrap_or_default();
        if self.ended.insert(lease, now).is_none() && !known.revoked {
            self.counts.ended += 1;
        }
        if !known.revoked && now + slack < known.sure_until {
            let early = (known.sure_until - now) / 1_000_000;
            return broken(PROMISE, format!("lease {lease} ended {early} ms before its time"));
        }
        Ok(())
    }

    fn is_written(&mut self, revision: u64, kv: &KeyValue, before: Option<&KeyValue>) -> Verdict {
        let number = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse::<u64>().ok());
        let asked = number.and_then(|number| Some((number, self.writes.get(&number)?)));
        let Some((number, write)) = asked else {
            return broken(PROMISE, format!("revision {revision} holds {kv:?}, for which nobody asked"));
        };
        if write.key != kv.key || self.stands.insert(number, revision).is_some() {
            return broken(PROMISE, format!("{kv:?} stands twice, or where it should not: {write:?}"));
        }
        if write.seen.is_some_and(|seen| seen != before.map_or(0, |kv| kv.mod_revision)) {
            return broken(PROMISE, format!("a swap of what was {:?} was done on {before:?}", write.seen));
        }
        if let Some(epoch) = write.epoch {
            if epoch < write.claimed || epoch < self.epoch {
                let later = write.claimed.max(self.epoch);
                return broken(
                    PROMISE,
                    format!("a write of epoch {epoch} was taken after epoch {later} was claimed"),
                );
            }
            self.epoch = epoch;
        }
        Ok(())
    }

    /// At rest a member holds all that was ever acknowledged, and nothing else.
    pub fn rests(&self, member: Node, space: &Space) -> Verdict {
        let last = self.history.last_key_value().map_or(FIRST - 1, |(last, _)| *last);
        if space.revision() != last || self.acknowledged > last {
            let how = format!(
                "{member} rests at revision {}; the last is {last}, acknowledged is {}",
                space.revision(),
                self.acknowledged
            );
            return broken(PROMISE, how);
        }
        let live = self
            .keys
            .values()
            .filter(|versions| versions.last_key_value().is_some_and(|(_, version)| version.is_some()));
        let live = live.count() as u64;
        if space.live_keys() != live {
            return broken(PROMISE, format!("{member} has {} keys, there are {live}", space.live_keys()));
        }
        Ok(())
    }

    /// How much was checked.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use master_store::{SpaceId, Store};
    use proto::store::{LeaseGrant, LeaseRevoke, Put};
    use proto::store_log::{Entry, EntryKind};

    const WHO: Node = Node::Master(1);

    fn id() -> SpaceId {
        SpaceId { owner: "framework/kept".into(), name: String::new() }
    }

    fn apply(store: &mut Store, kind: EntryKind) {
        let entry = Entry { owner: id().owner, space: String::new(), epoch: None, kind };
        store.apply(entry).outcome.expect("it fits");
    }

    fn put(store: &mut Store, key: &'static str, number: u64, lease: u64) {
        let put = Put { key: key.into(), value: number.to_string().into(), lease, ..Put::default() };
        apply(store, EntryKind::Put(put));
    }

    fn look(books: &mut StoreBooks, store: &Store, now: u64) -> Verdict {
        books.holds_what_is_known(WHO, store.space(&id()).expect("it is there"), now, 0)
    }

    fn write(key: &'static str, epoch: Option<u64>) -> Write {
        Write { key: key.into(), epoch, ..Write::default() }
    }

    #[test]
    fn a_write_that_nobody_asked_for_or_that_is_lost_is_seen() {
        let (mut books, mut store) = (StoreBooks::default(), Store::default());
        books.asks(1, write("a", None));
        put(&mut store, "a", 1, 0);
        look(&mut books, &store, 0).expect("it was asked for");
        books.written(1, 2).expect("it is there");
        assert!(books.written(1, 3).is_err(), "another revision than where it stands");
        assert!(books.rests(WHO, &Space::default()).is_err(), "what was acknowledged is gone");
        put(&mut store, "a", 7, 0);
        assert!(look(&mut books, &store, 0).is_err(), "nobody asked for 7");
    }

    #[test]
    fn a_deposed_writer_and_a_lease_that_ends_early_are_seen() {
        let (mut books, mut store) = (StoreBooks::default(), Store::default());
        books.claims(1, 0, None).expect("the first");
        books.claims(2, 1, None).expect("the second");
        books.asks(1, write("a", Some(1)));
        put(&mut store, "a", 1, 0);
        assert!(look(&mut books, &store, 0).is_err(), "epoch 1 was over");
        assert!(books.claims(2, 2, None).is_err(), "an epoch is given once");

        let (mut books, mut store) = (StoreBooks::default(), Store::default());
        apply(&mut store, EntryKind::LeaseGrant(LeaseGrant { ttl_ms: 1000, id: 5 }));
        books.holds(5, 1_000, 0).expect("it is granted");
        books.asks(1, write("l", None));
        put(&mut store, "l", 1, 5);
        look(&mut books, &store, 0).expect("it was asked for");
        apply(&mut store, EntryKind::LeaseRevoke(LeaseRevoke { id: 5 }));
        assert!(look(&mut books, &store, 999).is_err(), "nobody revoked it");
    }

    #[test]
    fn a_gap_or_a_double_in_what_a_watch_tells_and_an_old_read_are_seen() {
        let (mut books, mut store) = (StoreBooks::default(), Store::default());
        for number in 1..=3 {
            books.asks(number, write("a", None));
            put(&mut store, "a", number, 0);
        }
        look(&mut books, &store, 0).expect("all were asked for");
        let events: Vec<Event> = books.history.values().flatten().cloned().collect();
        let keys = Keys::one("a");
        books.told(&keys, 1, 4, &events).expect("all of it");
        assert!(books.told(&keys, 1, 4, &events[1..]).is_err(), "a gap");
        assert!(books.told(&keys, 3, 4, &events[1..]).is_err(), "a double");
        let (old, new) = (events[0].kv.clone(), events[2].kv.clone());
        books.read(&"a".into(), Some(&new), 4, 4).expect("the present");
        assert!(books.read(&"a".into(), Some(&old), 4, 4).is_err(), "another value than was there");
        assert!(books.read(&"a".into(), Some(&old), 2, 4).is_err(), "as of an older revision");
    }
}
