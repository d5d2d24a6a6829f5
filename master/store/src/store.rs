//! `Store`: all spaces, and the one way they change.

use std::collections::BTreeMap;

use proto::roster::Roster;
use proto::store::{CallKind, Claimed, LeaseReply, ReplyKind};
use proto::store_log::{Entry, EntryKind, Limits};

use crate::change::Change;
use crate::check::{check_delete_form, check_put_form};
use crate::txn::only_looks;
use crate::{Fault, Space};

/// Spaces of one principal.
pub const SPACES_MAX: usize = 16;

/// Whose space, and which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceId {
    /// The principal, as `framework/NAME`.
    pub owner: String,
    /// The space's name.
    pub name: String,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The space.
    pub space: SpaceId,
    /// Its revision behind it.
    pub revision: u64,
    /// What the one who asked is told.
    pub outcome: Result<ReplyKind, Fault>,
    /// What a leader has to know of it.
    pub effect: Effect,
}

/// What an entry did besides changing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A lease is there.
    Granted {
        /// Its id.
        id: u64,
        /// How long it lasts, in milliseconds.
        ttl_ms: u64,
        /// Which grant it is.
        grant: u64,
    },
    /// A lease is gone.
    Ended {
        /// Its id.
        id: u64,
        /// Which grant it was.
        grant: u64,
    },
}

/// All spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    pub(crate) spaces: BTreeMap<SpaceId, Space>,
    pub(crate) roster: Option<Roster>,
}

impl Store {
    /// The spaces there are, by principal and name.
    pub fn spaces(&self) -> impl Iterator<Item = (&SpaceId, &Space)> {
        self.spaces.iter()
    }

    /// The newest list of masters that this log knows; `None`: it was never changed.
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    /// A list of masters was committed; an older one than is known says nothing. Whether it is news.
    pub fn learn_roster(&mut self, roster: Roster) -> bool {
        let news = self.roster.as_ref().is_none_or(|known| known.version < roster.version);
        if news {
            self.roster = Some(roster);
        }
        news
    }

    /// One of them.
    pub fn space(&self, id: &SpaceId) -> Option<&Space> {
        self.spaces.get(id)
    }

    /// Whether a call with this epoch may do anything in a space.
    pub fn check_epoch(&self, id: &SpaceId, epoch: Option<u64>) -> Result<(), Fault> {
        let there = self.spaces.get(id).map_or(0, Space::epoch);
        match epoch {
            Some(epoch) if epoch != there => Err(Fault::Fenced { epoch: there }),
            Some(_) | None => Ok(()),
        }
    }

    /// Applies one committed entry within the ordinary limits. An entry that is refused changes nothing.
    pub fn apply(&mut self, entry: Entry) -> Applied {
        self.apply_within(entry, Limits::default())
    }

    /// The same within the limits with which it was proposed: every member applies it by the same ones.
    pub fn apply_within(&mut self, entry: Entry, limits: Limits) -> Applied {
        let Entry { owner, space: name, epoch, kind } = entry;
        let id = SpaceId { owner, name };
        let fresh = !self.spaces.contains_key(&id);
        let admitted = self.check_epoch(&id, epoch).and_then(|()| self.check_room_for(&id));
        let (outcome, effect) = match admitted {
            Ok(()) => perform(self.spaces.entry(id.clone()).or_default(), kind, limits),
            Err(fault) => (Err(fault), Effect::None),
        };
        if fresh && outcome.is_err() {
            self.spaces.remove(&id);
        }
        let revision = self.spaces.get(&id).map_or(1, Space::revision);
        Applied { space: id, revision, outcome, effect }
    }

    fn check_room_for(&self, id: &SpaceId) -> Result<(), Fault> {
        if self.spaces.contains_key(id) {
            return Ok(());
        }
        let first = SpaceId { owner: id.owner.clone(), name: String::new() };
        let own = self.spaces.range(first..).take_while(|(other, _)| other.owner == id.owner).count();
        if own < SPACES_MAX { Ok(()) } else { Err(Fault::TooManySpaces) }
    }
}

fn perform(space: &mut Space, kind: EntryKind, limits: Limits) -> (Result<ReplyKind, Fault>, Effect) {
    let outcome = match kind {
        EntryKind::Put(put) => {
            check_put_form(&put, limits).and_then(|()| space.check_put(&put)).and_then(|more| {
                space.check_room(more, limits)?;
                let mut change = Change::begin(space);
                let reply = change.put(&put);
                change.end();
                Ok(ReplyKind::Put(reply))
            })
        }
        EntryKind::DeleteRange(delete) => check_delete_form(&delete).map(|()| {
            let mut change = Change::begin(space);
            let reply = change.delete(&delete);
            change.end();
            ReplyKind::DeleteRange(reply)
        }),
        EntryKind::Txn(txn) => space.txn(&txn, limits).map(ReplyKind::Txn),
        EntryKind::Compact(compact) => space.compact(compact.revision).map(|()| ReplyKind::Done),
        EntryKind::LeaseGrant(asked) => match space.grant(&asked) {
            Ok(LeaseReply { id, ttl_ms }) => {
                let grant = space.lease(id).map_or(0, |(_, grant)| grant);
                return (
                    Ok(ReplyKind::Lease(LeaseReply { id, ttl_ms })),
                    Effect::Granted { id, ttl_ms, grant },
                );
            }
            Err(fault) => Err(fault),
        },
        EntryKind::LeaseRevoke(asked) => return ended(asked.id, space.revoke(asked.id)),
        EntryKind::LeaseExpired(seen) => return ended(seen.id, space.expire(seen.id, seen.grant)),
        // Who had it has lost the election that it stood for.
        EntryKind::Claim(claim) if claim.lease != 0 && space.lease(claim.lease).is_none() => {
            Err(Fault::LeaseNotFound)
        }
        EntryKind::Claim(_) => {
            space.epoch += 1;
            Ok(ReplyKind::Claimed(Claimed { epoch: space.epoch }))
        }
    };
    (outcome, Effect::None)
}

fn ended(id: u64, outcome: Result<u64, Fault>) -> (Result<ReplyKind, Fault>, Effect) {
    match outcome {
        Ok(grant) => (Ok(ReplyKind::Done), Effect::Ended { id, grant }),
        Err(fault) => (Err(fault), Effect::None),
    }
}

/// A call as what the log is to remember, or back as it is if it changes nothing there.
pub fn entry_kind(call: CallKind) -> Result<EntryKind, CallKind> {
    match call {
        CallKind::Put(inner) => Ok(EntryKind::Put(inner)),
        CallKind::DeleteRange(inner) => Ok(EntryKind::DeleteRange(inner)),
        CallKind::Txn(inner) if only_looks(&inner) => Err(CallKind::Txn(inner)),
        CallKind::Txn(inner) => Ok(EntryKind::Txn(inner)),
        CallKind::Compact(inner) => Ok(EntryKind::Compact(inner)),
        CallKind::LeaseGrant(inner) => Ok(EntryKind::LeaseGrant(inner)),
        CallKind::LeaseRevoke(inner) => Ok(EntryKind::LeaseRevoke(inner)),
        CallKind::Claim(inner) => Ok(EntryKind::Claim(inner)),
        read @ (CallKind::Range(_)
        | CallKind::LeaseKeepAlive(_)
        | CallKind::LeaseLook(_)
        | CallKind::Leases) => Err(read),
    }
}
