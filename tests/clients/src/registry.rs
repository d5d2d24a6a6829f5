//! Clients of the registry: operators who set and read weights, quotas, rights and secrets, each try a call of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use framework_sdk::Profile;
use proto::caller::Caller;
use proto::id::SecretName;
use proto::operator::{
    Call, List, RemoveSecret, Reply, ReplyKind, SetQuota, SetRights, SetSecret, SetWeight,
};
use proto::quantities::Scalar;
use proto::quota::{Limits, Quota};
use proto::refusal::Code;
use proto::rights::{Rights, RolePattern};
use proto::role::{Role, Weight};
use proto::secret::Confidential;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::{Dialer, PeerRole, REPLY_BYTES_MAX};
use proto_machine::Dice;
use tests_history::object::{Action, Op};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::run::Run;

/// Clients that set and read.
const CLIENTS: u32 = 12;
/// Readers of each master.
const READERS: u32 = 4;
/// Objects of each kind.
const OBJECTS: u64 = 12;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a reader does. Shorter than any master is stopped, and it keeps its connection: so it asks a stopped one over and over,
/// and what that one says first when it goes on answers a question that was asked long after others had taken its place.
const PATIENCE_OF_READERS: Duration = Duration::from_millis(250);
/// How long a client waits when a master is not there, or leads nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// A secret holds at most so many bytes; how many it holds is what is read of it.
const SECRET_BYTES: u64 = 2_000;

/// Something that the registry keeps.
#[derive(Clone)]
enum Thing {
    Weight(Role),
    Quota(Role),
    Rights(Caller),
    Secret(Role, SecretName),
}

/// Clients that call until the run is over.
pub struct Load {
    clients: Vec<JoinHandle<Vec<Op>>>,
}

struct Client {
    run: Arc<Run>,
    number: u32,
    dice: Dice,
    things: Arc<[Thing]>,
    /// The next number to set.
    next: Arc<AtomicU64>,
    dialer: Dialer,
    masters: Vec<String>,
    /// The master that is asked, and the way there.
    at: usize,
    channels: BTreeMap<usize, OperatorClient<Channel>>,
    reads_only: bool,
    ops: Vec<Op>,
}

/// What came of one try.
enum Came {
    Answer(Reply),
    /// The master says that it was not carried out, or it was never sent.
    NotDone,
    /// Nobody knows.
    Unknown,
}

fn role(path: &str) -> Result<Role, String> {
    Role::new(path).map_err(|bad| bad.to_string())
}

fn things() -> Result<Vec<Thing>, String> {
    let mut things = Vec::new();
    for number in 0..OBJECTS {
        things.push(Thing::Weight(role(&format!("weight-{number:02}"))?));
        things.push(Thing::Quota(role(&format!("quota-{number:02}"))?));
        things.push(Thing::Rights(Caller::Framework(format!("rights-{number:02}"))));
        let name = SecretName::new(&format!("secret-{number:02}")).map_err(|bad| bad.to_string())?;
        things.push(Thing::Secret(role("secrets")?, name));
    }
    Ok(things)
}

// === impl Load ===

impl Load {
    /// Begins to call.
    pub fn start(run: &Arc<Run>, profile: &Profile, seed: u64) -> Result<Load, String> {
        let dialer = Dialer::new(&profile.credentials).map_err(|error| error.to_string())?;
        let things: Arc<[Thing]> = things()?.into();
        // Not 1000, which is the weight of a role of which nobody has said anything.
        let next = Arc::new(AtomicU64::new(2_000));
        let masters = profile.masters.len() as u32;
        let client = |number: u32| {
            let reader = number.checked_sub(CLIENTS);
            let masters = match reader {
                Some(reader) => vec![profile.masters[(reader / READERS) as usize].clone()],
                None => profile.masters.clone(),
            };
            Client {
                run: run.clone(),
                number,
                dice: Dice::new(seed.wrapping_mul(31) ^ u64::from(number) << 20),
                things: things.clone(),
                next: next.clone(),
                dialer: dialer.clone(),
                masters,
                at: 0,
                channels: BTreeMap::new(),
                reads_only: reader.is_some(),
                ops: Vec::new(),
            }
        };
        let clients = (0..CLIENTS + masters * READERS).map(|number| tokio::spawn(client(number).work()));
        Ok(Load { clients: clients.collect() })
    }

    /// What was called, and what came of it, in the order of the calls.
    pub async fn end(self) -> Result<Vec<Op>, String> {
        let mut ops = Vec::new();
        for client in self.clients {
            ops.extend(client.await.map_err(|error| error.to_string())?);
        }
        ops.sort_by_key(|op| op.called);
        Ok(ops)
    }
}

// === impl Client ===

impl Client {
    async fn work(mut self) -> Vec<Op> {
        while !self.run.is_over() {
            let thing = self.things[self.dice.below(self.things.len() as u64) as usize].clone();
            let (call, writes) = self.choose(&thing);
            let (called, came) = self.ask(&call).await;
            let object = thing.name();
            match came {
                Came::Answer(reply) => match thing.action(&call, reply) {
                    Ok(Some(action)) => {
                        let answered = Some(self.run.answers(called));
                        self.ops.push(Op { object, client: self.number, called, answered, action });
                    }
                    // It was said to be old.
                    Ok(None) => {
                        self.run.is_void();
                        self.pause().await;
                    }
                    Err(why) => self.run.fail(why),
                },
                Came::NotDone => self.pause().await,
                Came::Unknown => match writes {
                    Some(action) => {
                        self.run.leaves_open();
                        self.ops.push(Op { object, client: self.number, called, answered: None, action });
                    }
                    None => self.run.is_void(),
                },
            }
        }
        self.ops
    }

    /// A master that is away, or leads nothing, is not asked again at once.
    async fn pause(&self) {
        tokio::time::sleep(PAUSE).await; // eventually: it is asked until the run is over
    }

    /// What to call, and what it means if nobody knows what came of it.
    fn choose(&mut self, thing: &Thing) -> (Call, Option<Action>) {
        if self.reads_only || self.dice.chance(3, 5) {
            return (thing.read(), None);
        }
        if let Thing::Secret(role, name) = thing
            && self.dice.chance(1, 4)
        {
            let call = RemoveSecret { role: role.clone(), name: name.clone() };
            return (Call::RemoveSecret(call), Some(Action::Remove(None)));
        }
        let (call, value) = thing.set(self.next.fetch_add(1, Ordering::Relaxed));
        (call, Some(Action::Set(value)))
    }

    /// One try, and when it was made.
    async fn ask(&mut self, call: &Call) -> (u64, Came) {
        let client = match self.channels.get(&self.at).cloned() {
            Some(client) => client,
            None => match self.dialer.channel(&self.masters[self.at], PeerRole::Master).await {
                Ok(channel) => {
                    let client = OperatorClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
                    self.channels.insert(self.at, client.clone());
                    client
                }
                Err(_) => {
                    self.turn(None);
                    return (0, Came::NotDone);
                }
            },
        };
        let patience = if self.reads_only { PATIENCE_OF_READERS } else { PATIENCE };
        let called = self.run.now();
        let mut client = client;
        let came = match tokio::time::timeout(patience, client.ask(call.clone())).await {
            Ok(Ok(reply)) => self.judge(reply.into_inner()),
            Err(_) if self.reads_only => Came::Unknown,
            Ok(Err(_)) | Err(_) => {
                self.channels.remove(&self.at);
                self.turn(None);
                Came::Unknown
            }
        };
        (called, came)
    }

    fn judge(&mut self, reply: Reply) -> Came {
        match &reply.kind {
            ReplyKind::Redirect(leader) => {
                self.turn(Some(leader));
                Came::NotDone
            }
            ReplyKind::Refused(refusal) if matches!(refusal.code, Code::LeaderLost | Code::Unavailable) => {
                Came::Unknown
            }
            _ => Came::Answer(reply),
        }
    }

    /// The next one asks another master.
    fn turn(&mut self, leader: Option<&str>) {
        let known = leader.and_then(|leader| self.masters.iter().position(|master| master == leader));
        self.at = known.unwrap_or((self.at + 1) % self.masters.len());
    }
}

// === impl Thing ===

impl Thing {
    fn name(&self) -> String {
        match self {
            Thing::Weight(role) | Thing::Quota(role) => role.to_string(),
            Thing::Rights(principal) => principal.to_string(),
            Thing::Secret(role, name) => format!("{role}/{name}"),
        }
    }

    fn read(&self) -> Call {
        match self {
            Thing::Weight(role) | Thing::Quota(role) => {
                Call::Roles(List { called: vec![role.to_string()], ..List::default() })
            }
            Thing::Rights(_) => Call::Principals,
            Thing::Secret(..) => Call::Secrets,
        }
    }

    /// The order, and what is read of it afterwards.
    fn set(&self, number: u64) -> (Call, u64) {
        match self {
            Thing::Weight(role) => {
                let milli = u32::try_from(number).unwrap_or(u32::MAX);
                let weight = Weight::from_milli(milli).unwrap_or_default();
                (Call::SetWeight(SetWeight { role: role.clone(), weight }), u64::from(weight.milli()))
            }
            Thing::Quota(role) => {
                let limits = Limits(BTreeMap::from([(Scalar::Cpus, number)]));
                let quota = Quota { limits, ..Quota::default() };
                (Call::SetQuota(SetQuota { role: role.clone(), quota }), number)
            }
            Thing::Rights(principal) => {
                let one = Role::new(&number.to_string()).unwrap_or_else(|_| Role::default_role());
                let rights = Some(Rights { roles: vec![RolePattern::One(one)] });
                (Call::SetRights(SetRights { principal: principal.clone(), rights }), number)
            }
            Thing::Secret(role, name) => {
                let bytes = 1 + number % SECRET_BYTES;
                let value = Confidential::new(vec![b's'; usize::try_from(bytes).unwrap_or(1)]);
                (Call::SetSecret(SetSecret { role: role.clone(), name: name.clone(), value }), bytes)
            }
        }
    }

    /// What was done, by its answer; `None`: a read that was answered as of some time ago, and says so.
    fn action(&self, call: &Call, reply: Reply) -> Result<Option<Action>, String> {
        let Reply { from_leader, kind, .. } = reply;
        let read =
            |value: u64, version: Option<u64>| Ok(from_leader.then_some(Action::Read { value, version }));
        match (self, kind) {
            (_, ReplyKind::Done(_)) => match call {
                Call::RemoveSecret(_) => Ok(Some(Action::Remove(Some(true)))),
                Call::SetWeight(set) => Ok(Some(Action::Set(u64::from(set.weight.milli())))),
                Call::SetQuota(set) => Ok(Some(Action::Set(limit(&set.quota)))),
                Call::SetRights(set) => Ok(Some(Action::Set(granted(set.rights.as_ref())))),
                Call::SetSecret(set) => Ok(Some(Action::Set(set.value.reveal().len() as u64))),
                other => Err(format!("{other:?} was answered as if it were an order")),
            },
            (Thing::Secret(..), ReplyKind::Refused(refusal)) if refusal.code == Code::NotFound => {
                Ok(Some(Action::Remove(Some(false))))
            }
            (Thing::Weight(role), ReplyKind::Roles(roles)) => {
                let view = roles.iter().find(|view| view.role == *role);
                let milli = view.map_or(1000, |view| view.weight.milli());
                read(if milli == 1000 { 0 } else { u64::from(milli) }, None)
            }
            (Thing::Quota(role), ReplyKind::Roles(roles)) => {
                let view = roles.iter().find(|view| view.role == *role);
                read(view.map_or(0, |view| limit(&view.quota)), None)
            }
            (Thing::Rights(principal), ReplyKind::Principals(all)) => {
                let view = all.iter().find(|view| view.principal == *principal);
                read(granted(view.map(|view| &view.rights)), None)
            }
            (Thing::Secret(role, name), ReplyKind::Secrets(all)) => {
                let view = all.iter().find(|view| view.role == *role && view.name == *name);
                let (bytes, version) = view.map_or((0, 0), |view| (view.size_bytes, view.version));
                read(bytes, Some(version))
            }
            (_, other) => Err(format!("{call:?} was answered with {other:?}")),
        }
    }
}

fn limit(quota: &Quota) -> u64 {
    quota.limits.0.get(&Scalar::Cpus).copied().unwrap_or(0)
}

/// The number in the only role that was granted.
fn granted(rights: Option<&Rights>) -> u64 {
    match rights.and_then(|rights| rights.roles.first()) {
        Some(RolePattern::One(role)) => role.as_str().parse().unwrap_or(0),
        Some(RolePattern::Any | RolePattern::Below(_)) | None => 0,
    }
}
