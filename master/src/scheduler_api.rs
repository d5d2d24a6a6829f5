//! The frameworks' door.

use std::pin::Pin;
use std::sync::Arc;

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

/// The frameworks' door.
pub(crate) struct SchedulerDoor {
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub audit: Arc<Audit>,
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
        audit.arrived(Via::Session(session), from.clone());
        tokio::spawn(async move {
            let mut first = true;
            loop {
                let next = match first {
                    true => first_word(calls.message()).await,
                    false => calls.message().await,
                };
                first = false;
                match next {
                    Ok(Some(call)) => {
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
