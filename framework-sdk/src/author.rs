//! `Framework`: a framework in a few lines: what should run is stated, and what happens is told.

mod end;
mod kept;
mod listeners;
mod members;
mod shell;
mod turn;

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use framework_sdk_core::desired::{ElasticSet, Group, GroupName, InstanceName};
use framework_sdk_core::reconciler::{Asked, Event, Order, Output, remembered_framework};
use framework_sdk_core::{Config, Reconciler};
use proto::explain::Explanation;
use proto::framework::FrameworkInfo;
use proto::id::{DemandId, FrameworkId, TaskId};
use proto::operator::{Call, DemandRef, Explain, ReplyKind};
use proto::refusal::{Code, Refusal};
use proto::role::{BadRole, Role};
use proto_machine::Now;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use self::end::judged;
use self::listeners::Listeners;
use self::shell::{OnTask, Shell};
use self::turn::{Turn, wait_for_turn};
use crate::exec::{Exec, ExecError};
use crate::operator::{AskError, Operator};
use crate::profile::Profile;
use crate::run::{Running, StartError, spawn_fenced, unused_prefix};
use crate::state::{State, StateError};
use crate::store::{Forgetful, Loaded, MasterStore, StateFile, StateStore, StoreError};

pub use self::kept::{BadKept, Kept};
pub use self::members::Member;

/// A framework that keeps nothing cannot come back as itself, so its tasks need not wait long for it.
const FORGETFUL_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a framework keeps what must outlive it.
enum Keeping {
    Nothing,
    /// In a space of this name on the masters.
    Masters(String),
    Store(Box<dyn StateStore>),
}

/// What a framework starts with.
pub struct Builder {
    name: String,
    role: Result<Role, (String, BadRole)>,
    failover_timeout: Option<Duration>,
    labels: BTreeMap<String, String>,
    keeping: Keeping,
    in_turns: bool,
    on_task: Option<OnTask>,
}

/// A framework that runs. Everything about the session is done by itself: it finds the leader, fails over, takes up what
/// earlier lives left, acknowledges, and wants offers only while something waits.
#[derive(Debug)]
pub struct Framework {
    running: Running<Order>,
    listeners: Arc<Listeners>,
    operator: Operator,
    id: FrameworkId,
    /// 0 if nothing keeps earlier instances from acting.
    fence: u64,
    state: Option<State>,
    kept: BTreeMap<String, String>,
    turn: Option<Turn>,
    given_up: watch::Sender<bool>,
}

/// What happens to one group.
#[derive(Debug)]
pub struct Run {
    group: GroupName,
    events: mpsc::UnboundedReceiver<Event>,
    is_over: bool,
}

/// Why a framework does not work, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameworkError {
    /// Its role is not one.
    #[error("the role {role:?} {why}")]
    Role {
        /// As given.
        role: String,
        /// What is wrong with it.
        why: BadRole,
    },
    /// What earlier lives kept cannot be read.
    #[error("what the framework kept in its earlier lives cannot be read")]
    Store(#[source] StoreError),
    /// The masters do not say which instance has its turn.
    #[error("the masters do not say which instance of the framework has its turn")]
    Turn(#[source] StateError),
    /// High availability, and a store that instances on other machines do not have.
    #[error(
        "instances take turns by what is on the masters: say `.state(\"NAME\")` for where, not `.state_file(..)` or `.store(..)`"
    )]
    NotShared,
    /// Another instance has taken over: this one writes and starts nothing any more.
    #[error(
        "another instance of the framework has taken over ({why}); start this one anew and it waits for its turn"
    )]
    Fenced {
        /// How it learnt of it.
        why: String,
    },
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A master ended it.
    #[error("{0}")]
    Refused(Refusal),
    /// What it wanted remembered could not be saved.
    #[error("the framework's own shell failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// It has ended: by itself, or because a master said so before.
    #[error("the framework has ended; start it anew")]
    Ended,
    /// A fault of ours.
    #[error("the framework's thread panicked; please report it")]
    Panicked,
}

// === impl Builder ===

impl Builder {
    /// The role in which it takes offers; `default` unless said.
    pub fn role(mut self, path: &str) -> Self {
        self.role = Role::new(path).map_err(|why| (path.to_owned(), why));
        self
    }

    /// How long its tasks run on without it, before they are ended. A week unless said; a minute for a framework that keeps
    /// nothing, and would not come back as itself.
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.failover_timeout = Some(timeout);
        self
    }

    /// A label, for people.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Keeps on the masters what must outlive this process: the next one, on whatever machine, goes on with its tasks. The
    /// space is the principal's, and of this name; keys in it that begin with `framework` are not the author's. Whoever
    /// starts takes over from whoever is there, unless instances take turns ([`high_availability`](Self::high_availability)).
    pub fn state(mut self, space: impl Into<String>) -> Self {
        self.keeping = Keeping::Masters(space.into());
        self
    }

    /// Instances of the framework take turns: one acts, the others wait in [`connect`](Self::connect) until it has ended or
    /// was silent for three seconds. Its state is on the masters; in the space of the framework's name, unless said.
    pub fn high_availability(mut self) -> Self {
        self.in_turns = true;
        self
    }

    /// Keeps in this file what must outlive this process: the next one goes on with its tasks. A relative path is one below
    /// the directory that `STOA_DATA` names, if it is set, else below the working directory.
    pub fn state_file(self, path: impl Into<PathBuf>) -> Self {
        self.store(StateFile::in_data(path))
    }

    /// Keeps elsewhere what must outlive this process.
    pub fn store(mut self, store: impl StateStore + 'static) -> Self {
        self.keeping = Keeping::Store(Box::new(store));
        self
    }

    /// Calls this for every change of a task, on the framework's thread. A change is acknowledged once it returns `Ok`; on
    /// an error it is told again after a pause, and what happens to the task after it waits.
    pub fn on_task<F>(self, mut take_in: F) -> Self
    where
        F: FnMut(&Event) -> Result<(), Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        self.on_task_keeping(move |event, _| take_in(event))
    }

    /// The same, with what the author keeps: its changes are saved before the change of the task is acknowledged. So what
    /// was taken in is kept, and what is not kept is told again, also to the next life.
    pub fn on_task_keeping<F>(mut self, take_in: F) -> Self
    where
        F: FnMut(&Event, &mut Kept<'_>) -> Result<(), Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        self.on_task = Some(Box::new(take_in));
        self
    }

    /// Starts it, and waits until its session stands: for as long as no master is there, too, and as long as another
    /// instance has its turn.
    pub async fn connect(self, profile: Profile) -> Result<Framework, FrameworkError> {
        let role = self.role.map_err(|(role, why)| FrameworkError::Role { role, why })?;
        let keeps = self.in_turns || !matches!(self.keeping, Keeping::Nothing);
        let default = if keeps { FrameworkInfo::FAILOVER_TIMEOUT_DEFAULT } else { FORGETFUL_TIMEOUT };
        let given_up = watch::Sender::new(false);
        let keeping = match self.keeping {
            Keeping::Nothing if self.in_turns => Keeping::Masters(self.name.clone()),
            Keeping::Store(_) if self.in_turns => return Err(FrameworkError::NotShared),
            keeping => keeping,
        };
        let mut turn = None;
        let mut space = None;
        let mut store: Box<dyn StateStore> = match keeping {
            Keeping::Nothing => Box::new(Forgetful),
            Keeping::Store(store) => store,
            Keeping::Masters(name) => {
                let own = State::new(&profile).space(&name);
                if self.in_turns {
                    turn = Some(wait_for_turn(&own).await.map_err(FrameworkError::Turn)?);
                }
                space = Some(own.clone());
                let lease = turn.as_ref().map_or(0, Turn::lease);
                Box::new(MasterStore::new(own, lease, given_up.subscribe()))
            }
        };
        let loading = spawn_blocking(move || {
            let loaded = store.load();
            (store, loaded)
        });
        let (store, loaded) = loading.await.map_err(|_| FrameworkError::Panicked)?;
        let Loaded { mut known, fence } = loaded.map_err(|error| match error {
            StoreError::Fenced(why) => FrameworkError::Fenced { why },
            error => FrameworkError::Store(error),
        })?;
        let own = kept::take_own(&mut known);
        let kept = own.clone();
        let id = remembered_framework(&known);
        let info = FrameworkInfo {
            name: self.name.clone(),
            roles: vec![role],
            failover_timeout: self.failover_timeout.unwrap_or(default),
            address: String::new(),
            labels: self.labels,
        };
        let random = RandomState::new().hash_one(unused_prefix());
        let mut reconciler = Reconciler::new(info.clone(), known, random);
        if self.on_task.is_some() {
            reconciler = reconciler.acknowledged_by_author();
        }
        let operator = Operator::new(&profile);
        let config = Config {
            info,
            id,
            operation_prefix: unused_prefix(),
            masters: profile.masters,
            seed: random,
            believed: Vec::new(),
        };
        let listeners = Arc::new(Listeners::default());
        let mut events = listeners.listen(None);
        let (give, given) = blocking::sync_channel(1);
        let (on_task, told) = (self.on_task, listeners.clone());
        let mut shell = Shell { store, fence, own, on_task, listeners: told, given, teller: None };
        let perform = move |_: Now, output: Output| shell.perform(output);
        let mut running = spawn_fenced("framework", profile.credentials, config, fence, reconciler, perform)?;
        // The receiver is in the shell, which lives as long as the framework's thread.
        let _ = give.send(running.teller());
        if let Some(turn) = &turn {
            let running = running.teller();
            turn.when_lost(given_up.clone(), move || running.stop());
        }
        let state = space.map(|space| space.at(fence));
        loop {
            match events.recv().await {
                Some(Event::Session(session)) => {
                    let id = session.framework;
                    return Ok(Framework {
                        running,
                        listeners,
                        operator,
                        id,
                        fence,
                        state,
                        kept,
                        turn,
                        given_up,
                    });
                }
                Some(Event::Ended(_)) | None => {
                    let end = running.ended().await;
                    return Err(judged(end, turn, fence > 0).await.err().unwrap_or(FrameworkError::Ended));
                }
                Some(_) => {}
            }
        }
    }
}

// === impl Framework ===

impl Framework {
    /// Begins one of this name.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            role: Ok(Role::default_role()),
            failover_timeout: None,
            labels: BTreeMap::new(),
            keeping: Keeping::Nothing,
            in_turns: false,
            on_task: None,
        }
    }

    /// States a group, for the first time or anew; what happens to it from now on is told by the run.
    pub async fn submit(&self, group: Group) -> Result<Run, FrameworkError> {
        let name = group.name().clone();
        let events = self.listeners.listen(Some(name.clone()));
        self.order(Order::Submit(group)).await?;
        Ok(Run { group: name, events, is_over: false })
    }

    /// States all groups there are: any other one ends, also those that earlier lives left.
    pub async fn exactly(&self, groups: Vec<Group>) -> Result<(), FrameworkError> {
        self.order(Order::Exactly(groups)).await
    }

    /// Ends a group.
    pub async fn withdraw(&self, group: &GroupName) -> Result<(), FrameworkError> {
        self.order(Order::Withdraw(group.clone())).await
    }

    /// Ends a group, and destroys the volumes of its instances with what is on them.
    pub async fn purge(&self, group: &GroupName) -> Result<(), FrameworkError> {
        self.order(Order::Purge(group.clone())).await
    }

    /// Aims an elastic group at something else.
    pub async fn aim(&self, group: &GroupName, set: ElasticSet) -> Result<(), FrameworkError> {
        self.order(Order::Aim(group.clone(), set)).await
    }

    /// Lets a member of an elastic group go that is not needed any more.
    pub async fn release(&self, member: &InstanceName) -> Result<(), FrameworkError> {
        self.order(Order::Release(member.clone())).await
    }

    /// The canaries of a changed group do well: the others follow.
    pub async fn promote(&self, group: &GroupName) -> Result<(), FrameworkError> {
        self.order(Order::Promote(group.clone())).await
    }

    /// A change of a group is not wanted any more: it goes back to the spec before.
    pub async fn abandon(&self, group: &GroupName) -> Result<(), FrameworkError> {
        self.order(Order::Abandon(group.clone())).await
    }

    /// The work of a task that is drained is taken away: it can be ended before its time.
    pub async fn drained(&self, task: &TaskId) -> Result<(), FrameworkError> {
        self.order(Order::Drained(task.clone())).await
    }

    /// Everything that happens from now on. Read it, or drop it: what is not read is kept.
    pub fn events(&self) -> mpsc::UnboundedReceiver<Event> {
        self.listeners.listen(None)
    }

    /// Why instances of a group wait for an offer, as the leader sees it; nothing when none does. It does not speak of one
    /// that rests after an end, or holds out for the agent that it ran on.
    pub async fn explain(&self, group: &GroupName) -> Result<Vec<Explanation>, AskError> {
        // A group's name can always name a demand.
        let Ok(demand) = DemandId::new(group.as_str()) else { return Ok(Vec::new()) };
        let what = Explain::Demand(DemandRef { framework: self.id.to_string(), demand });
        match self.operator.ask(Call::Explain(what)).await.map(|reply| reply.kind) {
            Ok(ReplyKind::Explain(why)) => Ok(why),
            // It is not demanded, so nobody waits.
            Err(AskError::Refused(refusal)) if refusal.code == Code::NotFound => Ok(Vec::new()),
            Ok(_) => Err(AskError::Unfitting { asked: "explain" }),
            Err(error) => Err(error),
        }
    }

    /// Begins a command beside a task of this framework that runs: in its namespaces, limits and sandbox, as its user, with its
    /// environment. Dropped, it is killed.
    pub async fn exec<S: Into<String>>(
        &self,
        task: &TaskId,
        argv: impl IntoIterator<Item = S>,
    ) -> Result<Exec, ExecError> {
        self.operator.exec(&self.id, task, argv).await
    }

    async fn order(&self, order: Order) -> Result<(), FrameworkError> {
        if self.running.teller().tell(order).await { Ok(()) } else { Err(FrameworkError::Ended) }
    }

    /// Ends the framework and all its tasks.
    pub async fn finish(mut self) -> Result<(), FrameworkError> {
        let mut events = self.listeners.listen(None);
        self.order(Order::Finish).await?;
        while let Some(event) = events.recv().await {
            match event {
                Event::Refused { what: Asked::Teardown, refusal } => {
                    return Err(FrameworkError::Refused(refusal));
                }
                Event::Ended(_) => break,
                _ => {}
            }
        }
        self.ended().await
    }

    /// Ends the session. The tasks run on until the failover timeout; a framework that keeps its state takes them up again,
    /// and if instances take turns the next one has its turn at once.
    pub async fn leave(mut self) -> Result<(), FrameworkError> {
        self.given_up.send_replace(true);
        self.running.stop();
        self.ended().await
    }

    /// Waits until it has ended, and says how: well, if it was ended by its author. [`FrameworkError::Fenced`] when another
    /// instance has taken over.
    pub async fn ended(&mut self) -> Result<(), FrameworkError> {
        let end = self.running.ended().await;
        judged(end, self.turn.take(), self.fence > 0).await
    }

    /// What its author had kept when this life began ([`Builder::on_task_keeping`]).
    pub fn kept(&self) -> &BTreeMap<String, String> {
        &self.kept
    }

    /// The space of the masters in which its state is, for what else its author keeps there. It is fenced: once another
    /// instance has taken over, this one reads and writes nothing. `None` if its state is elsewhere.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        self.given_up.send_replace(true);
        self.running.stop();
    }
}

// === impl Run ===

impl Run {
    /// Its group.
    pub fn group(&self) -> &GroupName {
        &self.group
    }

    /// What happens next to the group. `None` once every instance is over, the group is withdrawn with nothing left of it,
    /// or the framework has ended.
    pub async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = self.events.recv().await;
        self.is_over = match &event {
            Some(Event::Over(_) | Event::Withdrawn(_) | Event::Ended(_)) | None => true,
            Some(_) => false,
        };
        event
    }
}
