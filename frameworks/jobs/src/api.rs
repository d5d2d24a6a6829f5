//! The framework's own door: orders in, answers and events out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use framework_sdk::door::{Identity, caller};
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::run::Teller;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::rights::Rights;
use crate::scheduler::{Order, Output, Reply, Ticket, Watcher};
use crate::spec::JobSpec;
use crate::wire;
use crate::wire::service::jobs_server::Jobs;

/// Events that may wait for a slow watcher before its stream is cut; it asks again and is shown everything.
const EVENTS_WAITING_MAX: usize = 4096;
/// The bounds of a request id, in characters: nobody guesses sixteen, nobody needs more than sixty-four.
const REQUEST_ID: std::ops::RangeInclusive<usize> = 16..=64;

/// Who waits for something.
#[derive(Default)]
pub(crate) struct Waiting {
    next: AtomicU64,
    tickets: Mutex<BTreeMap<Ticket, oneshot::Sender<Reply>>>,
    watchers: Mutex<BTreeMap<Watcher, mpsc::Sender<Result<wire::JobEvent, Status>>>>,
}

/// The door.
pub(crate) struct Door {
    pub waiting: Arc<Waiting>,
    pub teller: Teller<Order>,
    pub rights: Rights,
}

/// Nobody panics while holding these locks, and a map is whole between any two calls: poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Waiting ===

impl Waiting {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn ticket(&self) -> (Ticket, oneshot::Receiver<Reply>) {
        let ticket = Ticket(self.number());
        let (sender, answer) = oneshot::channel();
        lock(&self.tickets).insert(ticket, sender);
        (ticket, answer)
    }

    /// Hands out what the scheduler says to people, to its log and to whoever reads metrics; what it wants stored is not for here.
    pub fn tell(&self, output: Output) {
        match output {
            Output::Store(_) => {}
            Output::Note(note) => note.log(),
            Output::Totals(totals) => totals.show(),
            Output::Reply(ticket, reply) => {
                if let Some(sender) = lock(&self.tickets).remove(&ticket) {
                    // Whoever asked may have gone.
                    let _ = sender.send(reply);
                }
            }
            Output::Tell(watcher, event) => {
                let mut watchers = lock(&self.watchers);
                let failed = watchers.get(&watcher).is_some_and(|sender| sender.try_send(Ok(event)).is_err());
                if failed {
                    watchers.remove(&watcher);
                }
            }
            Output::WatchOver(watcher, why) => {
                if let (Some(sender), Some(refusal)) = (lock(&self.watchers).remove(&watcher), why) {
                    let _ = sender.try_send(Err(status(&refusal)));
                }
            }
        }
    }
}

/// Tells the scheduler that a watcher is gone, when its stream is dropped.
struct Leaving {
    watcher: Watcher,
    waiting: Arc<Waiting>,
    teller: Teller<Order>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        lock(&self.waiting.watchers).remove(&self.watcher);
        self.teller.tell_now(Order::Unwatch(self.watcher));
    }
}

/// A refusal as the status that `jobs.proto` promises.
fn status(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal.code {
        Code::Invalid => Status::invalid_argument(text),
        Code::NotFound => Status::not_found(text),
        Code::Conflict => Status::already_exists(text),
        Code::Denied | Code::BadToken | Code::AgentGone => Status::permission_denied(text),
        Code::TooMuch => Status::resource_exhausted(text),
        Code::StaleOffer
        | Code::FrameworkRemoved
        | Code::SessionReplaced
        | Code::Compacted
        | Code::Fenced => Status::failed_precondition(text),
        Code::LeaderLost | Code::Unavailable => Status::unavailable(text),
    }
}

// === impl Door ===

impl Door {
    async fn order(&self, order: impl FnOnce(Ticket) -> Order) -> Result<Reply, Status> {
        let stopping = || Status::unavailable("the jobs framework is stopping");
        let (ticket, answer) = self.waiting.ticket();
        if !self.teller.tell(order(ticket)).await {
            lock(&self.waiting.tickets).remove(&ticket);
            return Err(stopping());
        }
        match answer.await {
            Ok(Reply::Refused(refusal)) => Err(status(&refusal)),
            Ok(reply) => Ok(reply),
            Err(_) => Err(stopping()),
        }
    }
}

/// People give orders; frameworks, agents and masters have no business here.
fn person<T>(request: &Request<T>) -> Result<(), Status> {
    match caller(request)? {
        Identity::User(_) => Ok(()),
        other => Err(Status::permission_denied(format!("{other} may not give orders to the jobs framework"))),
    }
}

fn unfitting(reply: &Reply) -> Status {
    Status::internal(format!("an unfitting answer: {reply:?}"))
}

#[tonic::async_trait]
impl Jobs for Door {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

    async fn submit(
        &self,
        request: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitReply>, Status> {
        person(&request)?;
        let wire::SubmitRequest { request_id, spec, ephemeral, replace } = request.into_inner();
        let plain = request_id.chars().all(|c| c.is_ascii_graphic());
        if !REQUEST_ID.contains(&request_id.len()) || !plain {
            return Err(Status::invalid_argument("request_id is not 16 to 64 printable ASCII characters"));
        }
        let spec = spec.ok_or_else(|| Status::invalid_argument("spec is missing"))?;
        let spec = JobSpec::from_wire(spec).map_err(|faults| Status::invalid_argument(faults.to_string()))?;
        if let Some(role) = &spec.role {
            self.rights.check(role).await.map_err(|refusal| status(&refusal))?;
        }
        let spec = Arc::new(spec);
        let order = |ticket| Order::Submit { ticket, request: request_id, spec, ephemeral, replace };
        match self.order(order).await? {
            Reply::Submitted(reply) => Ok(Response::new(reply)),
            other => Err(unfitting(&other)),
        }
    }

    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<wire::GetReply>, Status> {
        person(&request)?;
        let wire::GetRequest { name, tasks } = request.into_inner();
        match self.order(|ticket| Order::Get { ticket, name, tasks }).await? {
            Reply::Got(reply) => Ok(Response::new(reply)),
            other => Err(unfitting(&other)),
        }
    }

    async fn stop(&self, request: Request<wire::StopRequest>) -> Result<Response<wire::StopReply>, Status> {
        person(&request)?;
        let wire::StopRequest { name, purge } = request.into_inner();
        match self.order(|ticket| Order::Stop { ticket, name, purge }).await? {
            Reply::Stopped(reply) => Ok(Response::new(reply)),
            other => Err(unfitting(&other)),
        }
    }

    async fn promote(
        &self,
        request: Request<wire::PromoteRequest>,
    ) -> Result<Response<wire::PromoteReply>, Status> {
        person(&request)?;
        let wire::PromoteRequest { name } = request.into_inner();
        match self.order(|ticket| Order::Promote { ticket, name }).await? {
            Reply::Promoted(reply) => Ok(Response::new(reply)),
            other => Err(unfitting(&other)),
        }
    }

    async fn rollback(
        &self,
        request: Request<wire::RollbackRequest>,
    ) -> Result<Response<wire::RollbackReply>, Status> {
        person(&request)?;
        let wire::RollbackRequest { name } = request.into_inner();
        match self.order(|ticket| Order::Rollback { ticket, name }).await? {
            Reply::RolledBack(reply) => Ok(Response::new(reply)),
            other => Err(unfitting(&other)),
        }
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        person(&request)?;
        let wire::WatchRequest { name, until_over } = request.into_inner();
        let watcher = Watcher(self.waiting.number());
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        lock(&self.waiting.watchers).insert(watcher, sender);
        let leaving = Leaving { watcher, waiting: self.waiting.clone(), teller: self.teller.clone() };
        if !self.teller.tell(Order::Watch { watcher, name, until_over }).await {
            return Err(Status::unavailable("the jobs framework is stopping"));
        }
        let stream = ReceiverStream::new(events).map(move |event| {
            // Held as long as the stream.
            let _ = &leaving;
            event
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainReply>, Status> {
        person(&request)?;
        let wire::ExplainRequest { name } = request.into_inner();
        match self.order(|ticket| Order::Explain { ticket, name }).await? {
            Reply::Explained(reply) => Ok(Response::new(reply)),
            other => Err(unfitting(&other)),
        }
    }
}
