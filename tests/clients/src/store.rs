//! Clients of the frameworks' state: teams that contend for a few keys at a time, and readers that know one master only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::state::{Reply, State, StateError};
use proto_machine::Dice;
use tests_history::store::{Answer, Answered, Asked, Guard, Key, Op};
use tokio::task::JoinHandle;

use crate::run::Run;
use crate::watches::{Heard, Watches};
use crate::words;

/// Spaces: each has an order of its own.
const SPACES: u32 = 2;
/// Teams of each space.
const TEAMS: u32 = 32;
/// Clients of each team.
const TEAM: u32 = 4;
/// Readers of each master and space.
const READERS: u32 = 3;
/// How long a reader waits for an answer. Shorter than any master is stopped: so it asks a stopped one over and over, and what that
/// one says first when it goes on answers a question that was asked long after others had taken its place.
const PATIENCE: Duration = Duration::from_millis(250);
/// Connections of each space that its clients share.
const CONNECTIONS: u32 = 2;
/// The key of the last change of all: one that every watch is told of.
const LAST: Key = 0;
/// A team goes on to its next two keys after so many calls, and when it does not know what came of one: the time that a search
/// takes grows with what may have happened at once.
const WINDOW: u32 = 64;

/// Two keys at a time, the same ones for all clients of a team.
struct Team {
    number: u32,
    calls: AtomicU32,
}

/// What was called, and what watches told of it.
pub struct Space {
    /// For people.
    pub name: String,
    /// In the order of the calls.
    pub ops: Vec<Op>,
    /// What each watch told.
    pub heard: Heard,
}

/// Clients that call until the run is over.
pub struct Load {
    run: Arc<Run>,
    spaces: Vec<Called>,
}

/// A space that is called.
struct Called {
    name: String,
    state: State,
    watches: Watches,
    clients: Vec<JoinHandle<Vec<Op>>>,
}

struct Client {
    run: Arc<Run>,
    number: u32,
    dice: Dice,
    state: State,
    teams: Arc<[Team]>,
    /// `None`: a reader, who looks at what any team has.
    team: Option<usize>,
    /// The window, and how its two keys were seen last: their revision and version.
    window: u32,
    seen: [(u64, u64); 2],
    made: u64,
    ops: Vec<Op>,
}

// === impl Team ===

impl Team {
    /// The window of the next call.
    fn next(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed) / WINDOW
    }

    fn current(&self) -> u32 {
        self.calls.load(Ordering::Relaxed) / WINDOW
    }

    /// Goes on to the window behind this one.
    fn leave(&self, window: u32) {
        self.calls.fetch_max((window + 1) * WINDOW, Ordering::Relaxed);
    }

    /// The first of its two keys.
    fn key(&self, window: u32) -> Key {
        (window * TEAMS + self.number) * 2
    }
}

// === impl Load ===

impl Load {
    /// Begins to call.
    pub async fn start(run: &Arc<Run>, profile: &Profile, seed: u64) -> Result<Load, String> {
        let mut spaces = Vec::new();
        for space in 0..SPACES {
            let name = format!("space-{space}");
            let state = State::new(profile).space(&name);
            let watches = Watches::start(run, profile, &name);
            let connections: Vec<State> =
                (0..CONNECTIONS).map(|_| State::new(profile).space(&name)).collect();
            let teams: Arc<[Team]> =
                (0..TEAMS).map(|number| Team { number, calls: AtomicU32::new(0) }).collect();
            let client = |number: u32, state: State, team: Option<usize>| Client {
                run: run.clone(),
                number,
                dice: Dice::new(seed ^ (u64::from(space) << 32) ^ u64::from(number)),
                state,
                teams: teams.clone(),
                team,
                window: u32::MAX,
                seen: [(0, 0); 2],
                made: 0,
                ops: Vec::new(),
            };
            let mut clients: Vec<Client> = Vec::new();
            for number in 0..TEAMS * TEAM {
                let state = connections[(number % CONNECTIONS) as usize].clone();
                clients.push(client(number, state, Some((number / TEAM) as usize)));
            }
            for (at, master) in profile.masters.iter().enumerate() {
                let only = Profile { masters: vec![master.clone()], ..profile.clone() };
                let state = State::new(&only).space(&name);
                for reader in 0..READERS {
                    let number = TEAMS * TEAM + at as u32 * READERS + reader;
                    clients.push(client(number, state.clone(), None));
                }
            }
            let clients = clients.into_iter().map(|client| tokio::spawn(client.work())).collect();
            spaces.push(Called { name, state, watches, clients });
        }
        Ok(Load { run: run.clone(), spaces })
    }

    /// What came of it, once all clients are done and all watches have told the last change.
    pub async fn end(self) -> Result<Vec<Space>, String> {
        let mut ended = Vec::new();
        for Called { name, state, watches, clients } in self.spaces {
            let mut ops = Vec::new();
            for client in clients {
                ops.extend(client.await.map_err(|error| error.to_string())?);
            }
            // The last change of all: whatever nobody knows of stands before it, or will never stand anywhere.
            let number = ops.iter().map(|op| op.client).max().unwrap_or(0) + 1;
            let last = put_last(&self.run, &state, number, &mut ops).await;
            ops.sort_by_key(|op| op.called);
            let heard = watches.end(last).await?;
            ended.push(Space { name, ops, heard });
        }
        Ok(ended)
    }
}

/// Puts until that is acknowledged; at which revision. Each try is a call of its own.
async fn put_last(run: &Run, state: &State, client: u32, ops: &mut Vec<Op>) -> u64 {
    for attempt in 0.. {
        let asked = Asked::Put { key: LAST, value: u64::from(client) << 40 | attempt };
        let called = run.now();
        let reply = state.ask(words::call(&asked)).await;
        let answered = reply.ok().map(|reply| Answered {
            at: run.answers(called),
            revision: reply.revision,
            answer: Answer::Done,
        });
        let revision = answered.as_ref().map(|answered| answered.revision);
        ops.push(Op { client, called, asked, answered });
        if let Some(revision) = revision {
            return revision;
        }
        run.leaves_open();
    }
    unreachable!("it is tried until it is done")
}

// === impl Client ===

impl Client {
    async fn work(mut self) -> Vec<Op> {
        while !self.run.is_over() {
            let asked = self.choose();
            let (window, called) = (self.window, self.run.now());
            match self.ask(&asked).await {
                Ok(reply) => {
                    let revision = reply.revision;
                    match words::answer(&asked, reply.kind) {
                        Ok(answer) => {
                            let answered = Answered { at: self.run.answers(called), revision, answer };
                            self.learn(&asked, &answered);
                            self.note(asked, called, Some(answered));
                        }
                        Err(why) => self.run.fail(why),
                    }
                }
                Err(StateError::Refused(refusal)) => self.run.fail(format!("{asked:?}: {refusal}")),
                // That no master could be asked does not say that none has carried it out.
                Err(StateError::Unknown { .. } | StateError::Ask(_)) if asked.writes() => {
                    self.run.leaves_open();
                    self.note(asked, called, None);
                    if let Some(team) = self.team {
                        self.teams[team].leave(window);
                    }
                }
                Err(StateError::Unknown { .. } | StateError::Ask(_)) => self.run.is_void(),
            }
        }
        self.ops
    }

    async fn ask(&self, asked: &Asked) -> Result<Reply, StateError> {
        let call = self.state.ask(words::call(asked));
        match self.team {
            Some(_) => call.await,
            None => {
                let unknown = |_| StateError::Unknown { why: "it waited long enough".to_owned() };
                tokio::time::timeout(PATIENCE, call).await.map_err(unknown)?
            }
        }
    }

    fn note(&mut self, asked: Asked, called: u64, answered: Option<Answered>) {
        self.ops.push(Op { client: self.number, called, asked, answered });
    }

    /// What to call next.
    fn choose(&mut self) -> Asked {
        let Some(team) = self.team else { return self.choose_to_read() };
        let team = &self.teams[team];
        let window = team.next();
        if window != self.window {
            (self.window, self.seen) = (window, [(0, 0); 2]);
        }
        let first = team.key(window);
        let side = self.dice.below(2) as u32;
        let key = first + side;
        self.made += 1;
        let value = (u64::from(self.number) << 40) | self.made;
        match self.dice.below(100) {
            0..35 => Asked::Get { key, stale: false },
            35..40 => Asked::List { from: first, to: first + 1 },
            40..65 => Asked::Put { key, value },
            65..94 => {
                let (modified, version) = self.seen[side as usize];
                let guard = match self.dice.below(2) {
                    0 => Guard::Modified(modified),
                    _ => Guard::Version(version),
                };
                let also = self.dice.chance(1, 3).then_some(first + 1 - side);
                Asked::Swap { key, guard, value, also }
            }
            _ => Asked::Delete { key },
        }
    }

    /// A reader looks at what a team has now, or had long ago.
    fn choose_to_read(&mut self) -> Asked {
        let team = &self.teams[self.dice.below(self.teams.len() as u64) as usize];
        let current = team.current();
        let window = match self.dice.below(3) {
            0 => self.dice.below(u64::from(current) + 1) as u32,
            _ => current,
        };
        let first = team.key(window);
        match self.dice.below(10) {
            0..6 => Asked::Get { key: first + self.dice.below(2) as u32, stale: false },
            6 | 7 => Asked::List { from: first, to: first + 1 },
            _ => Asked::Get { key: first + self.dice.below(2) as u32, stale: true },
        }
    }

    /// How the keys stand, as far as an answer says.
    fn learn(&mut self, asked: &Asked, answered: &Answered) {
        let mut see = |key: Key, seen: (u64, u64)| self.seen[(key % 2) as usize] = seen;
        match (asked, &answered.answer) {
            (Asked::Get { key, .. }, Answer::Found(found))
            | (Asked::Swap { key, .. }, Answer::Otherwise(found)) => {
                see(*key, found.map_or((0, 0), |kv| (kv.modified, kv.version)));
            }
            (Asked::List { .. }, Answer::Listed(kvs)) => {
                kvs.iter().for_each(|(key, kv)| see(*key, (kv.modified, kv.version)));
            }
            (Asked::Put { key, .. } | Asked::Swap { key, .. }, Answer::Done) => {
                let version = self.seen[(*key % 2) as usize].1;
                self.seen[(*key % 2) as usize] = (answered.revision, version + 1);
            }
            (Asked::Delete { key }, Answer::Deleted(_)) => see(*key, (0, 0)),
            _ => {}
        }
    }
}
