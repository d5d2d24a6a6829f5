//! `Framework`: a framework in a few lines: what should run is stated, and what happens is told.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::time::Duration;

use framework_sdk_core::desired::{ElasticSet, Group, GroupName, InstanceName};
use framework_sdk_core::reconciler::{Asked, Event, Order, Output, Ticket, remembered_framework};
use framework_sdk_core::{Config, Reconciler};
use proto::explain::Explanation;
use proto::framework::FrameworkInfo;
use proto::id::{DemandId, FrameworkId, TaskId};
use proto::operator::{Call, DemandRef, Explain, ReplyKind};
use proto::refusal::{Code, Refusal};
use proto::role::{BadRole, Role};
use proto_machine::Now;
use tokio::sync::mpsc;
use tracing::warn;

use crate::memory::{Forgetful, Memory, MemoryError, StateFile};
use crate::operator::{AskError, Operator};
use crate::profile::Profile;
use crate::run::{End, Running, StartError, Teller, spawn, unused_prefix};

/// A framework without a memory cannot come back as itself, so its tasks need not wait long for it.
const FORGETFUL_TIMEOUT: Duration = Duration::from_secs(60);

/// Takes an event in, or says why not: then it is told again.
type OnTask = Box<dyn FnMut(&Event) -> Result<(), Box<dyn Error + Send + Sync>> + Send>;

/// What a framework starts with.
pub struct Builder {
    name: String,
    role: Result<Role, (String, BadRole)>,
    failover_timeout: Option<Duration>,
    labels: BTreeMap<String, String>,
    memory: Option<Box<dyn Memory>>,
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
    /// What earlier lives remembered cannot be read.
    #[error("what the framework remembers of its earlier lives cannot be read")]
    Memory(#[source] MemoryError),
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

#[derive(Debug, thiserror::Error)]
#[error("what the framework should remember could not be saved")]
struct NotSaved(#[source] MemoryError);

/// Who wants to hear what.
#[derive(Debug, Default)]
struct Listeners(Mutex<Option<Vec<Listener>>>);

#[derive(Debug)]
struct Listener {
    /// `None`: of everything.
    group: Option<GroupName>,
    events: mpsc::UnboundedSender<Event>,
}

// === impl Builder ===

impl Builder {
    /// The role in which it takes offers; `default` unless said.
    pub fn role(mut self, path: &str) -> Self {
        self.role = Role::new(path).map_err(|why| (path.to_owned(), why));
        self
    }

    /// How long its tasks run on without it, before they are ended. A week unless said; a minute for a framework without
    /// a memory, which would not come back as itself.
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.failover_timeout = Some(timeout);
        self
    }

    /// A label, for people.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Remembers in this file who it is: the next process goes on with the tasks of this one. A relative path is one below
    /// the directory that `STOA_DATA` names, if it is set, else below the working directory.
    pub fn state_file(self, path: impl Into<PathBuf>) -> Self {
        let base = std::env::var_os("STOA_DATA").map(PathBuf::from).unwrap_or_default();
        self.memory(StateFile::at(base.join(path.into())))
    }

    /// Remembers elsewhere who it is.
    pub fn memory(mut self, memory: impl Memory + 'static) -> Self {
        self.memory = Some(Box::new(memory));
        self
    }

    /// Calls this for every change of a task, on the framework's thread. A change is acknowledged once it returns `Ok`; on
    /// an error it is told again after a pause, and what happens to the task after it waits.
    pub fn on_task<F>(mut self, take_in: F) -> Self
    where
        F: FnMut(&Event) -> Result<(), Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        self.on_task = Some(Box::new(take_in));
        self
    }

    /// Starts it, and waits until its session stands: for as long as no master is there, too.
    pub async fn connect(self, profile: Profile) -> Result<Framework, FrameworkError> {
        let role = self.role.map_err(|(role, why)| FrameworkError::Role { role, why })?;
        let default =
            if self.memory.is_some() { FrameworkInfo::FAILOVER_TIMEOUT_DEFAULT } else { FORGETFUL_TIMEOUT };
        let mut memory = self.memory.unwrap_or_else(|| Box::new(Forgetful));
        let known = memory.load().map_err(FrameworkError::Memory)?;
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
        let listeners = Arc::new(Listeners(Mutex::new(Some(Vec::new()))));
        let mut events = listeners.listen(None);
        let (give, given) = blocking::sync_channel(1);
        let mut shell =
            Shell { memory, on_task: self.on_task, listeners: listeners.clone(), given, teller: None };
        let perform = move |_: Now, output: Output| shell.perform(output);
        let mut running = spawn("framework", profile.credentials, config, reconciler, perform)?;
        // The receiver is in the shell, which lives as long as the framework's thread.
        let _ = give.send(running.teller());
        loop {
            match events.recv().await {
                Some(Event::Session(session)) => {
                    return Ok(Framework { running, listeners, operator, id: session.framework });
                }
                Some(Event::Ended(_)) | None => return Err(failed(running.ended().await)),
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
            memory: None,
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
        ended_well(self.running.ended().await)
    }

    /// Ends the session. The tasks run on until the failover timeout; a framework that remembers takes them up again.
    pub async fn leave(mut self) -> Result<(), FrameworkError> {
        self.running.stop();
        ended_well(self.running.ended().await)
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
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

// === impl Listeners ===

impl Listeners {
    fn listen(&self, group: Option<GroupName>) -> mpsc::UnboundedReceiver<Event> {
        let (events, heard) = mpsc::unbounded_channel();
        if let Some(listeners) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            listeners.push(Listener { group, events });
        }
        heard
    }

    fn tell(&self, event: &Event) {
        let concerns = |listener: &Listener| match (&listener.group, event) {
            (None, _) | (Some(_), Event::Ended(_)) => true,
            (Some(group), event) => event.group() == Some(group),
        };
        if let Some(listeners) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            listeners.retain(|listener| !concerns(listener) || listener.events.send(event.clone()).is_ok());
        }
        if matches!(event, Event::Ended(_)) {
            self.close();
        }
    }

    /// Nothing more will be told.
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Does what the reconciler wants of its shell.
struct Shell {
    memory: Box<dyn Memory>,
    on_task: Option<OnTask>,
    listeners: Arc<Listeners>,
    given: blocking::Receiver<Teller<Order>>,
    teller: Option<Teller<Order>>,
}

impl Drop for Shell {
    /// The framework's thread is over, however it ended: whoever listens must learn it.
    fn drop(&mut self) {
        self.listeners.close();
    }
}

impl Shell {
    fn perform(&mut self, output: Output) -> Result<(), NotSaved> {
        match output {
            Output::Save(changes) => self.memory.save(&changes).map_err(NotSaved),
            Output::Tell(event, ticket) => {
                if self.is_taken_in(&event, ticket) {
                    self.listeners.tell(&event);
                }
                Ok(())
            }
        }
    }

    fn is_taken_in(&mut self, event: &Event, ticket: Option<Ticket>) -> bool {
        let (Some(ticket), Some(take_in)) = (ticket, &mut self.on_task) else { return true };
        let outcome = take_in(event);
        if let Err(error) = &outcome {
            warn!(%error, %event, "not taken in; it will be told again");
        }
        if self.teller.is_none() {
            self.teller = self.given.recv().ok();
        }
        if let Some(teller) = &self.teller {
            teller.tell_now(Order::TakenIn(ticket, outcome.is_ok()));
        }
        outcome.is_ok()
    }
}

fn ended_well(end: End) -> Result<(), FrameworkError> {
    match end {
        End::TornDown | End::Stopped => Ok(()),
        end @ (End::Refused(_) | End::Failed(_) | End::Panicked) => Err(failed(end)),
    }
}

fn failed(end: End) -> FrameworkError {
    match end {
        End::Stopped | End::TornDown => FrameworkError::Ended,
        End::Refused(refusal) => FrameworkError::Refused(refusal),
        End::Failed(fault) => FrameworkError::Failed(fault),
        End::Panicked => FrameworkError::Panicked,
    }
}
