//! The doors of the pretend masters: the frameworks' session, and what a framework's own client asks to find it.

use std::pin::Pin;
use std::sync::Arc;

use proto::caller::Caller;
use proto::operator::{self, FrameworkView, Join, Joined, Reply, ReplyKind, Watch};
use proto::quantities::Quantities;
use proto::refusal::{Code, Refusal};
use proto::scheduler::{Call, CallKind, Event, EventKind, Fault, Redirect, Subscribe};
use proto_grpc::services::operator::operator_server::Operator;
use proto_grpc::services::scheduler::scheduler_server::Scheduler;
use proto_grpc::{Identity, caller};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Noted, Session, Shared, State};

/// One master's door.
#[derive(Clone)]
pub(super) struct Door {
    pub shared: Arc<Shared>,
    /// Which master's, from 0.
    pub number: usize,
    /// By which way it is reached.
    pub cable: usize,
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

#[tonic::async_trait]
impl Scheduler for Door {
    type SessionStream = Events;

    async fn session(&self, request: Request<Streaming<Call>>) -> Result<Response<Events>, Status> {
        if !matches!(caller(&request)?, Identity::Framework(_)) {
            return Err(Status::permission_denied("only frameworks hold a framework's session"));
        }
        let mut calls = request.into_inner();
        let (sender, events) = mpsc::unbounded_channel();
        let shared = self.shared.clone();
        {
            let mut state = shared.lock();
            state.journal.note(Noted::Dialled(self.number));
            if state.shut || state.cables[self.cable].is_cut {
                shared.notify(state);
                return Err(Status::unavailable("nobody leads"));
            }
            if state.leader != self.number {
                let leader_address = state.leader_by(self.cable);
                let kind = EventKind::Redirect(Redirect { leader_address });
                // The stream's other end is right here.
                let _ = sender.send(Ok(Event { sequence: 0, kind }));
                shared.notify(state);
                return Ok(Response::new(Box::pin(UnboundedReceiverStream::new(events))));
            }
            shared.notify(state);
        }
        let door = self.clone();
        // Given away with the session: a stream that somebody else holds too does not end with it.
        let mut sender = Some(sender);
        tokio::spawn(async move {
            let mut mine = None;
            while let Ok(Some(call)) = calls.message().await {
                let mut state = shared.lock();
                if let CallKind::Subscribe(subscribe) = &call.kind
                    && let Some(sender) = sender.take()
                {
                    mine = door.begin(&mut state, subscribe, sender);
                }
                if !mine.is_some_and(|number| state.stands(number)) {
                    shared.notify(state);
                    return;
                }
                state.journal.note(Noted::Called(call.clone()));
                let is_accept = matches!(call.kind, CallKind::Accept(_));
                state.fake.hear(call);
                if is_accept && std::mem::take(&mut state.dies_with_next_accept) {
                    // It is committed, and the answer is lost with the leader.
                    shared.move_lead(&mut state);
                }
                shared.flush(state);
            }
            let mut state = shared.lock();
            if mine.is_some_and(|number| state.stands(number)) {
                state.fake.disconnect();
                state.end_session();
                shared.notify(state);
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(events))))
    }
}

impl Door {
    /// A session begins and takes the place of the one before, unless it is turned away; its number.
    fn begin(
        &self,
        state: &mut State,
        subscribe: &Subscribe,
        sender: mpsc::UnboundedSender<Result<Event, Status>>,
    ) -> Option<u64> {
        if state.shut || state.leader != self.number || state.cables[self.cable].is_cut {
            return None;
        }
        if let Some(refusal) = state.fake.turns_away(subscribe) {
            let event = Event { sequence: 0, kind: EventKind::Fault(Fault { refusal }) };
            // Whoever is gone need not know.
            let _ = sender.send(Ok(event.clone()));
            state.journal.note(Noted::Told(event));
            return None;
        }
        state.fake.disconnect();
        state.sessions += 1;
        let number = state.sessions;
        state.session = Some(Session { number, cable: self.cable, sender });
        Some(number)
    }
}

#[tonic::async_trait]
impl Operator for Door {
    async fn ask(&self, request: Request<operator::Call>) -> Result<Response<Reply>, Status> {
        caller(&request)?;
        let state = self.shared.lock();
        if state.cables[self.cable].is_cut {
            return Err(Status::unavailable("the cable is cut"));
        }
        let kind = match request.into_inner() {
            operator::Call::Frameworks(_) => ReplyKind::Frameworks(view(&state).into_iter().collect()),
            _ => {
                ReplyKind::Refused(Refusal::new(Code::Unavailable, "a pretend master knows frameworks only"))
            }
        };
        Ok(Response::new(Reply { as_of: 0, from_leader: true, kind }))
    }

    type ListStream = Pin<Box<dyn Stream<Item = Result<Reply, Status>> + Send>>;

    async fn list(&self, _: Request<operator::Call>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("a pretend master answers whole"))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<operator::Event, Status>> + Send>>;

    async fn watch(&self, _: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("a pretend master is not watched"))
    }

    async fn join(&self, _: Request<Join>) -> Result<Response<Joined>, Status> {
        Err(Status::unimplemented("nobody joins a pretend master"))
    }
}

/// The framework as operators see it: where its own door is.
fn view(state: &State) -> Option<FrameworkView> {
    let info = state.fake.framework_info()?.clone();
    Some(FrameworkView {
        id: framework_sdk_core::harness::framework_id()?,
        principal: Caller::Framework(info.name.clone()).to_string(),
        info,
        connected: state.fake.is_connected(),
        used: Quantities::default(),
        offered: Quantities::default(),
        tasks: 0,
        since_ms: 0,
        suppressed_roles: Vec::new(),
    })
}
