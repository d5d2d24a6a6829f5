//! Who uses the store: clients that write, swap, read, watch, claim and hold leases, each with one call at a time.

use proto::refusal::Code;
use proto::store::{
    Bytes, Call, CallKind, Claim, Compact, Compare, Comparison, DeleteRange, Keys, LeaseGrant,
    LeaseKeepAlive, LeaseRevoke, Operand, Operation, Put, Range, Reply, ReplyKind, Txn, Watch, WatchReply,
};

use crate::check::store::Write;
use crate::check::{Verdict, broken};
use crate::node::Node;
use crate::options::{MS, SECOND};
use crate::store_events::StoreEvent;
use crate::world::{Event, World};

/// A call without an answer is given up after this: what came of it nobody knows.
const PATIENCE: u64 = 2 * SECOND;
/// The longest lease.
pub const TTL_MAX: u64 = 4 * SECOND;
/// Keys that all write.
const KEYS: u64 = 5;
/// Calls that must be answered in calm times.
const CONTENT: u32 = 3;
/// What is compacted is at least so many revisions old.
const KEPT_REVISIONS: u64 = 30;

/// One client.
#[derive(Debug, Default)]
pub struct Client {
    /// The master that it asks.
    target: usize,
    asked: Option<Asked>,
    plans: u64,
    /// What it claimed.
    epoch: Option<u64>,
    /// The lease that it has, and how long it lasts.
    lease: Option<(u64, u64)>,
    watching: Option<Watching>,
    /// The last change it saw of each key.
    seen: Vec<u64>,
    /// Answers in calm times.
    answered: u32,
}

/// A call on its way.
#[derive(Debug)]
struct Asked {
    ticket: u64,
    kind: CallKind,
    /// The number of its write, if it is one.
    write: Option<u64>,
    at: u64,
    /// What was acknowledged, and claimed, when it was asked.
    acknowledged: u64,
    claimed: u64,
    /// Whether the lease that it is about had ended then.
    ended: bool,
}

/// What a client wants next.
struct Wish {
    kind: CallKind,
    /// The write that it is, by its number.
    write: Option<(u64, Write)>,
    /// What fences it.
    epoch: Option<u64>,
}

/// A watch.
#[derive(Debug)]
struct Watching {
    number: u64,
    keys: Keys,
    /// Everything up to there was told; nothing before the first word.
    told: Option<u64>,
    /// Whether a stream is open.
    open: bool,
}

// === impl Client ===

impl Client {
    /// Whether an answer with this number is for it.
    pub fn waits_for(&self, ticket: u64) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.ticket == ticket)
    }

    /// Whether it was answered often enough since nothing goes wrong any more.
    pub fn is_content(&self) -> bool {
        self.answered >= CONTENT
    }

    /// Whether it waits for an answer.
    pub fn is_busy(&self) -> bool {
        self.asked.is_some()
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number}"))
}

fn put(key: &Bytes, number: u64, lease: u64) -> Put {
    Put { key: key.clone(), value: number.to_string().into(), lease, ..Put::default() }
}

impl World {
    pub(crate) fn begin_clients(&mut self) {
        for client in 0..self.store.clients.len() {
            self.store.clients[client].seen = vec![0; KEYS as usize];
            self.plan_client(client, 100 * MS);
        }
    }

    /// Times are calm no more, and they ask again.
    pub(crate) fn clients_go_on(&mut self) {
        self.store.quiet = false;
        for client in 0..self.store.clients.len() {
            self.store.clients[client].answered = 0;
            self.plan_client(client, 100 * MS);
        }
    }

    fn plan_client(&mut self, client: usize, within: u64) {
        let at = self.now + 1 + self.store.dice.below(within);
        let one = &mut self.store.clients[client];
        one.plans += 1;
        let plan = StoreEvent::Client(client, one.plans);
        self.queue.push(at, Event::Store(plan));
    }

    pub(crate) fn client_acts(&mut self, client: usize, plan: u64) {
        let one = &mut self.store.clients[client];
        if one.plans != plan {
            return;
        }
        if one.asked.take().is_some() {
            // It may have been carried out, or may be yet.
            self.mark("a call to the store was not answered");
            self.turn_away(client);
        }
        if self.store.quiet {
            return;
        }
        self.watch_on(client);
        match self.wish_of(client) {
            Some(wish) => self.ask_store(client, wish),
            None => self.plan_client(client, 300 * MS),
        }
    }

    fn turn_away(&mut self, client: usize) {
        // Whom people took away is not among the doors that clients are told of.
        let there: Vec<usize> =
            (0..self.store.members.len()).filter(|at| !self.stays_away(Node::Master(at + 1))).collect();
        if let Some(at) = self.store.dice.pick(&there).copied() {
            self.store.clients[client].target = at;
        }
    }

    fn wish_of(&mut self, client: usize) -> Option<Wish> {
        let draw = self.store.dice.below(100);
        let at = self.store.dice.below(KEYS);
        let key = key(at);
        let one = &self.store.clients[client];
        let (epoch, lease, seen) = (one.epoch, one.lease, one.seen[at as usize]);
        let write = Write { key: key.clone(), epoch, ..Write::default() };
        let plain = |kind| Some(Wish { kind, write: None, epoch });
        let writes = |kind, number, write| Some(Wish { kind, write: Some((number, write)), epoch });
        match draw {
            0..25 => {
                let number = self.store.number();
                writes(CallKind::Put(put(&key, number, 0)), number, write)
            }
            25..42 => {
                let number = self.store.number();
                let compare = Compare {
                    key: key.clone(),
                    range_end: Bytes::new(),
                    comparison: Comparison::Equal,
                    operand: Operand::ModRevision(seen),
                };
                let look = Range { key: key.clone(), ..Range::default() };
                let txn = Txn {
                    compare: vec![compare],
                    success: vec![Operation::Put(put(&key, number, 0))],
                    failure: vec![Operation::Range(look)],
                };
                writes(CallKind::Txn(txn), number, Write { seen: Some(seen), ..write })
            }
            42..60 => plain(CallKind::Range(Range { key, ..Range::default() })),
            60..65 => plain(CallKind::DeleteRange(DeleteRange { key, ..DeleteRange::default() })),
            65..70 => {
                let lease = lease.filter(|_| self.store.dice.chance(1, 2)).map_or(0, |(id, _)| id);
                Some(Wish { kind: CallKind::Claim(Claim { lease }), write: None, epoch: None })
            }
            70..92 => match lease {
                None => {
                    let ttl_ms = 1000 + self.store.dice.below(TTL_MAX / MS - 1000);
                    plain(CallKind::LeaseGrant(LeaseGrant { ttl_ms, id: 0 }))
                }
                Some((id, _)) if draw < 80 => plain(CallKind::LeaseKeepAlive(LeaseKeepAlive { id })),
                Some((id, _)) if draw < 90 => {
                    let (key, number) = (Bytes::from(format!("l{client}")), self.store.number());
                    let write = Write { key: key.clone(), epoch, ..Write::default() };
                    writes(CallKind::Put(put(&key, number, id)), number, write)
                }
                Some((id, _)) => plain(CallKind::LeaseRevoke(LeaseRevoke { id })),
            },
            92..94 => {
                let revision = self.store.books.acknowledged().checked_sub(KEPT_REVISIONS)?;
                plain(CallKind::Compact(Compact { revision }))
            }
            _ => None,
        }
    }

    fn ask_store(&mut self, client: usize, wish: Wish) {
        let Wish { kind, write, epoch } = wish;
        let number = write.as_ref().map(|(number, _)| *number);
        if let Some((number, write)) = write {
            self.store.books.asks(number, write);
        }
        if let CallKind::LeaseRevoke(revoke) = &kind {
            self.store.books.revokes(revoke.id);
        }
        let ended = matches!(&kind, CallKind::Claim(Claim { lease }) if self.store.books.has_ended(*lease));
        let ticket = self.store.number();
        let call = Call { space: String::new(), epoch, kind: kind.clone() };
        let (acknowledged, claimed) = (self.store.books.acknowledged(), self.store.books.claimed());
        let at = self.now;
        let one = &mut self.store.clients[client];
        one.asked = Some(Asked { ticket, kind, write: number, at, acknowledged, claimed, ended });
        let to = Node::Master(1 + one.target);
        let lost = !self.network.calm && self.store.dice.chance(self.options.lost_permille, 1000);
        if !lost {
            let at = self.now + self.store_delay();
            self.queue.push(at, Event::Store(StoreEvent::Call(client, to, ticket, Box::new(call))));
        }
        // The answer is given up then; an earlier one makes a plan of its own.
        self.store.clients[client].plans += 1;
        let plan = StoreEvent::Client(client, self.store.clients[client].plans);
        self.queue.push(self.now + PATIENCE, Event::Store(plan));
    }

    pub(crate) fn client_hears(&mut self, client: usize, ticket: u64, reply: Reply) -> Verdict {
        let one = &mut self.store.clients[client];
        let Some(asked) = one.asked.take_if(|asked| asked.ticket == ticket) else { return Ok(()) };
        if let ReplyKind::Redirect(to) = &reply.kind {
            let number =
                to.strip_prefix("master-").and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
            match number {
                Some(number) => one.target = number - 1,
                None => self.turn_away(client),
            }
            self.plan_client(client, 50 * MS);
            return Ok(());
        }
        self.store.clients[client].answered += u32::from(self.calm);
        self.plan_client(client, 300 * MS);
        if let ReplyKind::Refused(refusal) = &reply.kind {
            return self.client_is_refused(client, &asked, refusal.code, &refusal.message);
        }
        self.client_is_answered(client, asked, reply)
    }

    fn client_is_refused(&mut self, client: usize, asked: &Asked, code: Code, why: &str) -> Verdict {
        let one = &mut self.store.clients[client];
        match (code, &asked.kind) {
            (Code::Fenced, _) if one.epoch.is_some() => {
                one.epoch = None;
                self.mark("a client of the store was fenced");
            }
            (
                Code::NotFound,
                CallKind::LeaseKeepAlive(_)
                | CallKind::LeaseRevoke(_)
                | CallKind::Put(_)
                | CallKind::Claim(_),
            ) => {
                one.lease = None;
            }
            // Somebody else compacted further.
            (Code::Compacted, CallKind::Compact(_)) | (Code::LeaderLost | Code::Unavailable, _) => {}
            (code, kind) => {
                return broken("P15 state", format!("{kind:?} was refused: {} {why}", code.as_str()));
            }
        }
        Ok(())
    }

    fn client_is_answered(&mut self, client: usize, asked: Asked, reply: Reply) -> Verdict {
        let revision = reply.revision;
        let slack = self.store_slack(TTL_MAX);
        let one = &mut self.store.clients[client];
        let books = &mut self.store.books;
        let seen = |key: &Bytes| {
            key.strip_prefix(b"k").and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok())
        };
        match (asked.kind, reply.kind) {
            (CallKind::Put(put), ReplyKind::Put(_)) => {
                if let Some(at) = seen(&put.key) {
                    one.seen[at] = revision;
                }
                asked.write.map_or(Ok(()), |number| books.written(number, revision))
            }
            (CallKind::Txn(txn), ReplyKind::Txn(done)) => {
                let key = txn.compare[0].key.clone();
                let at = seen(&key).unwrap_or_default();
                if done.succeeded {
                    one.seen[at] = revision;
                    return asked.write.map_or(Ok(()), |number| books.written(number, revision));
                }
                let found = match done.responses.into_iter().next() {
                    Some(proto::store::OperationReply::Range(range)) => range.kvs.into_iter().next(),
                    other => return broken("P15 state", format!("a swap that failed answers {other:?}")),
                };
                let there = found.as_ref().map_or(0, |kv| kv.mod_revision);
                let wanted = std::mem::replace(&mut one.seen[at], there);
                if there == wanted {
                    return broken("P15 state", format!("a swap of {wanted} failed where {there} was"));
                }
                books.read(&key, found.as_ref(), revision, asked.acknowledged)
            }
            (CallKind::Range(range), ReplyKind::Range(found)) => {
                let found = found.kvs.into_iter().next();
                if let Some(at) = seen(&range.key) {
                    one.seen[at] = found.as_ref().map_or(0, |kv| kv.mod_revision);
                }
                books.read(&range.key, found.as_ref(), revision, asked.acknowledged)
            }
            (CallKind::DeleteRange(_) | CallKind::Compact(_), _) => {
                books.changed(revision);
                Ok(())
            }
            (CallKind::Claim(claim), ReplyKind::Claimed(claimed)) => {
                one.epoch = Some(claimed.epoch);
                let under = (claim.lease != 0).then_some((claim.lease, asked.ended));
                books.claims(claimed.epoch, asked.claimed, under)
            }
            (CallKind::LeaseGrant(_) | CallKind::LeaseKeepAlive(_), ReplyKind::Lease(lease)) => {
                let ttl = lease.ttl_ms * MS;
                one.lease = Some((lease.id, ttl));
                books.holds(lease.id, asked.at + ttl, slack)
            }
            (CallKind::LeaseRevoke(_), ReplyKind::Done) => {
                one.lease = None;
                books.changed(revision);
                Ok(())
            }
            (kind, reply) => broken("P15 state", format!("{kind:?} was answered with {reply:?}")),
        }
    }

    // === watches ===

    fn watch_on(&mut self, client: usize) {
        let masters = self.store.members.len() as u64;
        if self.store.clients[client].watching.is_none() {
            if !self.store.dice.chance(1, 5) {
                return;
            }
            let keys = match self.store.dice.below(3) {
                0 => Keys::one(key(self.store.dice.below(KEYS))),
                1 => Keys::prefix("k"),
                _ => Keys { key: Bytes::from_static(b"\0"), end: Bytes::from_static(b"\0") },
            };
            self.store.clients[client].watching = Some(Watching { number: 0, keys, told: None, open: false });
        }
        let number = self.store.number();
        let Some(watching) = self.store.clients[client].watching.as_mut().filter(|watching| !watching.open)
        else {
            return;
        };
        (watching.number, watching.open) = (number, true);
        let ask = Watch {
            space: String::new(),
            key: watching.keys.key.clone(),
            range_end: watching.keys.end.clone(),
            start_revision: watching.told.map_or(0, |told| told + 1),
            prev_kv: false,
        };
        // Any master tells.
        let to = Node::Master(1 + self.store.dice.below(masters) as usize);
        let at = self.now + self.store_delay();
        self.queue.push(at, Event::Store(StoreEvent::Watch(client, to, number, Box::new(ask))));
    }

    pub(crate) fn client_is_told(&mut self, client: usize, watch: u64, word: Option<WatchReply>) -> Verdict {
        let store = &mut self.store;
        let one = &mut store.clients[client];
        let Some(watching) = one.watching.as_mut().filter(|watching| watching.number == watch) else {
            return Ok(());
        };
        let Some(word) = word else {
            watching.open = false;
            return Ok(());
        };
        if let Some(refusal) = word.refused {
            if refusal.code != Code::Compacted {
                return broken("P15 state", format!("a watch was refused: {refusal}"));
            }
            // What was missed is read anew; from here on nothing is.
            (watching.told, watching.number) = (None, 0);
            watching.open = false;
            self.mark("a watch of the store began anew after a compaction");
            return Ok(());
        }
        let told = watching.told.unwrap_or(word.revision);
        watching.told = Some(word.revision);
        store.books.told(&watching.keys, told, word.revision, &word.events)
    }
}
