//! Clients of the registry: operators who set and read weights, quotas, rights and secrets, each try a call of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use framework_sdk::Profile;
use proto::operator::{Call, Reply, ReplyKind};
use proto::refusal::Code;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::{Dialer, PeerRole, REPLY_BYTES_MAX};
use proto_machine::Dice;
use tests_history::object::{Action, Op};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::run::Run;
use crate::things::{Thing, things};

/// Clients that set and read.
const CLIENTS: u32 = 12;
/// Readers of each master.
const READERS: u32 = 4;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a reader does. Shorter than any master is stopped, and it keeps its connection: so it asks a stopped one over and over,
/// and what that one says first when it goes on answers a question that was asked long after others had taken its place.
const PATIENCE_OF_READERS: Duration = Duration::from_millis(250);
/// How long a client waits when a master is not there, or leads nothing.
const PAUSE: Duration = Duration::from_millis(20);

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
        if let Some(call) = thing.remove()
            && self.dice.chance(1, 4)
        {
            return (call, Some(Action::Remove(None)));
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
