//! The frameworks' door.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use master_core::{Input, Via};
use proto::authorize::{Action, authorize};
use proto::scheduler::{Call, Event};
use proto_drive::Handle;
use proto_grpc::services::scheduler::scheduler_server::Scheduler;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::audit::{Audit, Draft};
use crate::caller::{caller, from, status};
use crate::doors::{Doors, first_word};
use crate::gate::code_of;
use crate::limits::{Buckets, Kind, cost_of};

/// The frameworks' door.
pub(crate) struct SchedulerDoor {
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub audit: Arc<Audit>,
    pub buckets: Arc<Buckets>,
}

#[tonic::async_trait]
impl Scheduler for SchedulerDoor {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<Call>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = caller(&request)?;
        authorize(&caller, &Action::BeFramework).map_err(|refusal| status(&refusal))?;
        let from = from(&request);
        let mut calls = request.into_inner();
        let (session, events) = self.doors.open_session();
        let (doors, handle, audit) = (self.doors.clone(), self.handle.clone(), self.audit.clone());
        let buckets = self.buckets.clone();
        audit.arrived(Via::Session(session), from.clone());
        tokio::spawn(async move {
            let (mut first, who) = (true, caller.to_string());
            loop {
                let next = match first {
                    true => first_word(calls.message()).await,
                    false => calls.message().await,
                };
                first = false;
                match next {
                    Ok(Some(call)) => {
                        // Nothing is lost and nothing piles up: what is not read yet waits at the other end.
                        let wait = buckets.owe(&who, Kind::Calls, cost_of(&call.kind), Instant::now());
                        if !wait.is_zero() {
                            metrics::counter!("calls_slowed_total").increment(1);
                            let limit = buckets.calls_a_second();
                            let message = format!("{limit} calls a second is what a principal may make");
                            let draft = Draft::done(&who, from.clone(), call.kind.word(), "");
                            audit.tell(draft.slowed(&message));
                            tokio::time::sleep(wait).await;
                        }
                        let input = Input::Framework { session, caller: caller.clone(), call };
                        if handle.send_async(input).await.is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(broken) => {
                        // A malformed call ends the session with the field's name; a broken connection just ends it.
                        if let Some(code) = code_of(&broken) {
                            let draft = Draft::done(&caller, from, "session", "");
                            audit.tell(draft.refused(code, broken.message()));
                        }
                        doors.fail_session(session, broken);
                        break;
                    }
                }
            }
            let _ = handle.send_async(Input::FrameworkClosed { session }).await;
            doors.close_session(session);
            audit.left(Via::Session(session));
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }
}
