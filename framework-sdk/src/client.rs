//! `Client`: the session as async calls, for tools that would rather ask than be asked.

use std::collections::BTreeMap;
use std::convert::Infallible;

use framework_sdk_core::{Answered, Calls, Config, Draining, Room, Scheduler, Session, Update};
use proto::agent::AgentState;
use proto::demand::{DeclineReason, Demand, Filter};
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, OfferId, TaskId};
use proto::offer::Offer;
use proto::refusal::Refusal;
use proto::scheduler::{Outcome, RescindReason};
use proto_machine::Now;
use proto_pki::Credentials;
use tokio::sync::{mpsc, oneshot};

use crate::run::{End, Running, StartError, Teller, spawn};

/// What the session tells.
#[derive(Debug)]
pub enum Event {
    /// It stands; with `resumed` false every lease of before is void.
    Session(Session),
    /// An offer.
    Lease(Lease),
    /// A task's status; give it to [`Client::done`].
    Update(Update),
    /// An offer is void.
    Rescinded(OfferId, RescindReason),
    /// An agent is lost.
    Failure(AgentId, AgentState),
    /// An agent is to be empty.
    Draining(Draining),
    /// It takes work again.
    Resumed(AgentId),
    /// It is over for good.
    Ended(Refusal),
}

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The master refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The session is over for good.
    #[error("the session is over; start the framework anew")]
    Ended,
}

/// An offer that is held. Use it up with [`Lease::room`] and [`Client::accept`]; dropped, it declines itself.
#[derive(Debug)]
pub struct Lease {
    offer: Option<Offer>,
    teller: Teller<Ask>,
}

// === impl Lease ===

impl Lease {
    /// What is offered.
    pub fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    /// Begins to use it. Until it is accepted the room is only a plan; one that is forgotten expires.
    pub fn room(mut self) -> Option<Room> {
        self.offer.take().map(Room::new)
    }

    /// Gives it back and says why.
    pub fn decline(mut self, reason: DeclineReason, filter: Filter) {
        if let Some(offer) = self.offer.take() {
            self.teller.tell_now(Ask::Decline(offer, reason, filter));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.teller.tell_now(Ask::Decline(offer, DeclineReason::Unused, Filter::DEFAULT));
        }
    }
}

/// A framework's session as async calls. Calls are sent until they are answered, whatever breaks meanwhile.
#[derive(Debug)]
pub struct Client {
    running: Running<Ask>,
    events: mpsc::UnboundedReceiver<Told>,
}

type Reply = oneshot::Sender<Outcome>;

/// What a client asks of its bridge.
#[derive(Debug)]
pub(crate) enum Ask {
    Accept { rooms: Vec<Room>, together: bool, filter: Filter, reply: Reply },
    Decline(Offer, DeclineReason, Filter),
    Demand(Vec<Demand>, Reply),
    Kill(TaskId, Option<std::time::Duration>, Reply),
    Reconcile(Vec<TaskId>, Reply),
    Framework(FrameworkInfo, Reply),
    Done(Update),
    Teardown(Reply),
}

/// What the bridge tells; an offer becomes a lease outside.
#[derive(Debug)]
enum Told {
    Session(Session),
    Offer(Offer),
    Update(Update),
    Rescinded(OfferId, RescindReason),
    Failure(AgentId, AgentState),
    Draining(Draining),
    Resumed(AgentId),
    Ended(Refusal),
}

// === impl Client ===

impl Client {
    /// Starts a session; it stands once [`Client::next`] says so.
    pub fn start(credentials: Credentials, config: Config) -> Result<Self, StartError> {
        let (sender, events) = mpsc::unbounded_channel();
        let tell = move |_: Now, told: Told| {
            // A client that is gone wants to know nothing.
            let _ = sender.send(told);
            Ok::<(), Infallible>(())
        };
        let running = spawn("client", credentials, config, Bridge::default(), tell)?;
        Ok(Client { running, events })
    }

    /// What the session tells next; `None` when it is over.
    pub async fn next(&mut self) -> Option<Event> {
        Some(match self.events.recv().await? {
            Told::Session(session) => Event::Session(session),
            Told::Offer(offer) => Event::Lease(Lease { offer: Some(offer), teller: self.running.teller() }),
            Told::Update(update) => Event::Update(update),
            Told::Rescinded(offer, why) => Event::Rescinded(offer, why),
            Told::Failure(agent, state) => Event::Failure(agent, state),
            Told::Draining(notice) => Event::Draining(notice),
            Told::Resumed(agent) => Event::Resumed(agent),
            Told::Ended(why) => Event::Ended(why),
        })
    }

    async fn call(&self, ask: impl FnOnce(Reply) -> Ask) -> Result<u64, CallError> {
        let (reply, answer) = oneshot::channel();
        if !self.running.teller().tell(ask(reply)).await {
            return Err(CallError::Ended);
        }
        match answer.await {
            Ok(Outcome::Committed(index)) => Ok(index),
            Ok(Outcome::Refused(refusal)) => Err(CallError::Refused(refusal)),
            Err(_) => Err(CallError::Ended),
        }
    }

    /// Uses leases of up to 1,000 tasks, each on its own; the index of the log at which they are committed.
    pub async fn accept(&self, rooms: Vec<Room>, filter: Filter) -> Result<u64, CallError> {
        self.call(|reply| Ask::Accept { rooms, together: false, filter, reply }).await
    }

    /// Uses leases all or none.
    pub async fn accept_together(&self, rooms: Vec<Room>, filter: Filter) -> Result<u64, CallError> {
        self.call(|reply| Ask::Accept { rooms, together: true, filter, reply }).await
    }

    /// Says all that is wanted from now on.
    pub async fn demand(&self, demands: Vec<Demand>) -> Result<u64, CallError> {
        self.call(|reply| Ask::Demand(demands, reply)).await
    }

    /// Ends a task.
    pub async fn kill(&self, task: TaskId, grace: Option<std::time::Duration>) -> Result<u64, CallError> {
        self.call(|reply| Ask::Kill(task, grace, reply)).await
    }

    /// Asks for states; they come as updates.
    pub async fn reconcile(&self, tasks: Vec<TaskId>) -> Result<u64, CallError> {
        self.call(|reply| Ask::Reconcile(tasks, reply)).await
    }

    /// Changes what the framework says of itself.
    pub async fn update_framework(&self, info: FrameworkInfo) -> Result<u64, CallError> {
        self.call(|reply| Ask::Framework(info, reply)).await
    }

    /// Ends the framework and its tasks.
    pub async fn teardown(&self) -> Result<u64, CallError> {
        self.call(Ask::Teardown).await
    }

    /// The update is taken in.
    pub fn done(&self, update: Update) {
        self.running.teller().tell_now(Ask::Done(update));
    }

    /// Ends the session; tasks run on until the failover timeout.
    pub async fn stop(mut self) -> End {
        self.running.stop();
        self.running.ended().await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.running.stop();
    }
}

/// A scheduler that decides nothing: it passes on.
#[derive(Debug, Default)]
struct Bridge {
    next: u64,
    waiting: BTreeMap<u64, Reply>,
}

impl Bridge {
    fn tag(&mut self, reply: Reply, out: &mut Calls<Told>) {
        self.next += 1;
        self.waiting.insert(self.next, reply);
        out.tag(self.next);
    }
}

impl Scheduler for Bridge {
    type Input = Ask;
    type Output = Told;

    fn subscribed(&mut self, _now: Now, session: &Session, out: &mut Calls<Told>) {
        out.emit(Told::Session(session.clone()));
    }

    fn offers(&mut self, _now: Now, offers: Vec<Offer>, out: &mut Calls<Told>) {
        for offer in offers {
            out.hold(&offer);
            out.emit(Told::Offer(offer));
        }
    }

    fn update(&mut self, _now: Now, update: Update, out: &mut Calls<Told>) {
        out.emit(Told::Update(update));
    }

    fn rescinded(&mut self, _now: Now, offer: OfferId, why: RescindReason, out: &mut Calls<Told>) {
        out.emit(Told::Rescinded(offer, why));
    }

    fn answered(&mut self, _now: Now, answered: &Answered, _out: &mut Calls<Told>) {
        if let Some(reply) = self.waiting.remove(&answered.tag) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(answered.outcome.clone());
        }
    }

    fn failure(&mut self, _now: Now, agent: &AgentId, state: AgentState, out: &mut Calls<Told>) {
        out.emit(Told::Failure(agent.clone(), state));
    }

    fn draining(&mut self, _now: Now, notice: &Draining, out: &mut Calls<Told>) {
        out.emit(Told::Draining(notice.clone()));
    }

    fn resumed(&mut self, _now: Now, agent: &AgentId, out: &mut Calls<Told>) {
        out.emit(Told::Resumed(agent.clone()));
    }

    fn ended(&mut self, _now: Now, why: &Refusal, out: &mut Calls<Told>) {
        self.waiting.clear();
        out.emit(Told::Ended(why.clone()));
    }

    fn input(&mut self, _now: Now, ask: Ask, out: &mut Calls<Told>) {
        match ask {
            Ask::Accept { rooms, together, filter, reply } => {
                if rooms.iter().all(Room::is_unused) {
                    // They are declined, and there is nothing to wait for.
                    let _ = reply.send(Outcome::Committed(0));
                } else {
                    self.tag(reply, out);
                }
                if together { out.accept_together(rooms, filter) } else { out.accept(rooms, filter) }
            }
            Ask::Decline(offer, reason, filter) => out.decline(offer, reason, filter),
            Ask::Demand(demands, reply) => {
                self.tag(reply, out);
                out.demand(demands);
            }
            Ask::Kill(task, grace, reply) => {
                self.tag(reply, out);
                out.kill(task, grace);
            }
            Ask::Reconcile(tasks, reply) => {
                self.tag(reply, out);
                out.reconcile(tasks);
            }
            Ask::Framework(info, reply) => {
                self.tag(reply, out);
                out.update_framework(info);
            }
            Ask::Done(update) => out.done(update),
            Ask::Teardown(reply) => {
                self.tag(reply, out);
                out.teardown();
            }
        }
    }
}
