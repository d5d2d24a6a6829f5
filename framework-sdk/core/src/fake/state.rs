//! `FakeState`: what frameworks keep on the masters, pretended: for each space all changes there ever were, and its leases.
//!
//! It answers what the masters answer, and `tests/sim` holds it against them. It lacks what no test waits for: a bound of the
//! past, and of how much a space and a principal may have.

mod leases;
mod space;
mod txn;

use std::collections::BTreeMap;

use proto::refusal::{Code, Refusal};
use proto::store::{
    Call, CallKind, Claimed, KeyValue, Keys, LeaseList, LeaseReply, LeaseView, Reply, ReplyKind, Watch,
    WatchReply,
};
use proto_machine::Instant;

use self::space::Space;

/// The state of all frameworks, as one pretend master has it.
#[derive(Clone, Debug, Default)]
pub struct FakeState {
    elections: u64,
    /// By principal and name.
    spaces: BTreeMap<(String, String), Space>,
}

/// Somebody who watches some keys.
#[derive(Clone, Debug)]
pub struct FakeWatch {
    space: (String, String),
    keys: Keys,
    prev_kv: bool,
    /// The first revision that was not yet looked at for it.
    next: u64,
    /// Up to where it was told.
    told: u64,
}

// === impl FakeState ===

impl FakeState {
    /// An empty one.
    pub fn new() -> Self {
        FakeState::default()
    }

    /// Another leader: every lease has its whole time before it.
    pub fn elect(&mut self, now: Instant) {
        self.elections += 1;
        self.spaces.values_mut().for_each(|space| space.leases.begin_again(now));
    }

    /// Lets the leases end whose time has come.
    pub fn attend(&mut self, now: Instant) {
        self.end_leases(|until| until <= now);
    }

    /// All leases that stand run out now, as if nobody had kept them alive for long enough.
    pub fn let_leases_run_out(&mut self) {
        self.end_leases(|_| true);
    }

    fn end_leases(&mut self, is_over: impl Fn(Instant) -> bool) {
        for space in self.spaces.values_mut() {
            for id in space.leases.over(&is_over) {
                space.revoke(id);
            }
        }
    }

    /// A key of a principal, such as `framework/pair`, as it is now.
    pub fn get(&self, owner: &str, space: &str, key: &str) -> Option<&KeyValue> {
        self.space(owner, space)?.get(key.as_bytes())
    }

    /// All keys of a space, in their order.
    pub fn keys(&self, owner: &str, space: &str) -> impl Iterator<Item = &KeyValue> {
        self.space(owner, space).into_iter().flat_map(Space::all)
    }

    /// How many leases stand in a space: of instances that take turns, each has one.
    pub fn leases(&self, owner: &str, space: &str) -> usize {
        self.space(owner, space).map_or(0, |space| space.leases.ids().len())
    }

    fn space(&self, owner: &str, space: &str) -> Option<&Space> {
        self.spaces.get(&(owner.to_owned(), space.to_owned()))
    }

    /// A call of a principal, such as `framework/pair`, and its answer.
    pub fn hear(&mut self, now: Instant, owner: &str, call: Call) -> Reply {
        self.attend(now);
        let id = (owner.to_owned(), call.space);
        let term = self.elections + 1;
        let mut fresh = Space::default();
        // A space comes to be with what is first done in it.
        let known = self.spaces.get_mut(&id);
        let is_new = known.is_none();
        let space = known.unwrap_or(&mut fresh);
        let answer = match call.epoch {
            Some(epoch) if epoch != space.epoch => {
                let message = format!("the space was claimed later, with epoch {}", space.epoch);
                Err(Refusal::new(Code::Fenced, message))
            }
            Some(_) | None => space.carry_out(now, call.kind),
        };
        let revision = space.revision;
        if is_new && answer.is_ok() {
            self.spaces.insert(id, fresh);
        }
        Reply { revision, term, kind: answer.unwrap_or_else(ReplyKind::Refused) }
    }

    /// Somebody watches from now on, and is told this first: that it listens, and from where.
    pub fn watch(&self, owner: &str, ask: Watch) -> (FakeWatch, WatchReply) {
        let space = (owner.to_owned(), ask.space);
        let revision = self.spaces.get(&space).map_or(1, |space| space.revision);
        let next = if ask.start_revision == 0 { revision + 1 } else { ask.start_revision };
        let told = next.saturating_sub(1);
        let keys = Keys { key: ask.key, end: ask.range_end };
        let watch = FakeWatch { space, keys, prev_kv: ask.prev_kv, next, told };
        (watch, WatchReply { revision: told, ..WatchReply::default() })
    }

    /// What is new for whoever watches; behind a refusal comes nothing more.
    pub fn news(&self, watch: &mut FakeWatch) -> Option<WatchReply> {
        let space = self.spaces.get(&watch.space)?;
        if watch.next <= space.revision {
            let events = match space.changes(&watch.keys, watch.next, watch.prev_kv) {
                Ok(events) => events,
                Err(refusal) => {
                    let refused = Some(refusal);
                    return Some(WatchReply { revision: space.revision, events: Vec::new(), refused });
                }
            };
            watch.next = space.revision + 1;
            if !events.is_empty() {
                watch.told = space.revision;
                return Some(WatchReply { revision: space.revision, events, refused: None });
            }
        }
        // It missed nothing, but could not go on from what it was told last: that is compacted.
        if watch.told + 1 < space.compacted() {
            watch.told = watch.next - 1;
            return Some(WatchReply { revision: watch.told, ..WatchReply::default() });
        }
        None
    }
}

// === impl Space ===

impl Space {
    fn carry_out(&mut self, now: Instant, kind: CallKind) -> Result<ReplyKind, Refusal> {
        match kind {
            CallKind::Range(range) => {
                txn::check_keys(&range.key, &range.range_end)?;
                self.range(&range).map(ReplyKind::Range)
            }
            CallKind::Put(put) => {
                txn::check_put(&put)?;
                self.as_one(|space| space.put(&put)).map(ReplyKind::Put)
            }
            CallKind::DeleteRange(delete) => {
                txn::check_keys(&delete.key, &delete.range_end)?;
                self.as_one(|space| Ok(space.delete(&delete))).map(ReplyKind::DeleteRange)
            }
            CallKind::Txn(txn) => self.txn(&txn).map(ReplyKind::Txn),
            CallKind::Compact(compact) => self.compact(compact.revision).map(|()| ReplyKind::Done),
            CallKind::LeaseGrant(asked) => self.leases.grant(now, &asked).map(ReplyKind::Lease),
            CallKind::LeaseRevoke(asked) => {
                self.leases.get(asked.id)?;
                self.revoke(asked.id);
                Ok(ReplyKind::Done)
            }
            CallKind::LeaseKeepAlive(asked) => {
                let ttl_ms = self.leases.keep_alive(now, asked.id)?;
                Ok(ReplyKind::Lease(LeaseReply { id: asked.id, ttl_ms }))
            }
            CallKind::LeaseLook(asked) => {
                let lease = self.leases.get(asked.id)?;
                let (ttl_ms, left) = (lease.ttl_ms, lease.until.since(now));
                let remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                let of_it = self.all().filter(|kv| asked.keys && kv.lease == asked.id);
                let keys = of_it.map(|kv| kv.key.clone()).collect();
                Ok(ReplyKind::LeaseView(LeaseView { id: asked.id, ttl_ms, remaining_ms, keys }))
            }
            CallKind::Leases => Ok(ReplyKind::Leases(LeaseList { ids: self.leases.ids() })),
            CallKind::Claim(claim) => {
                if claim.lease != 0 {
                    self.leases.get(claim.lease)?;
                }
                self.epoch += 1;
                Ok(ReplyKind::Claimed(Claimed { epoch: self.epoch }))
            }
        }
    }
}
