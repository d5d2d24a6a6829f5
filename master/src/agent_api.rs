//! The agents' door.

use std::pin::Pin;
use std::sync::Arc;

use master_core::{Input, Via};
use proto::agent_link::{SecretsReply, SecretsRequest, ToAgent, ToMaster};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto_drive::Handle;
use proto_grpc::services::agent_link::agent_link_server::AgentLink;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use crate::audit::{Audit, Draft};
use crate::caller::{caller, from, status};
use crate::doors::{Doors, first_word};
use crate::gate::code_of;
use crate::read_model::ReadModel;
use crate::vault::Vault;

/// The agents' door.
pub(crate) struct AgentDoor {
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub model: Arc<ReadModel>,
    pub vault: Arc<Vault>,
    pub audit: Arc<Audit>,
}

#[tonic::async_trait]
impl AgentLink for AgentDoor {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<ToAgent, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<ToMaster>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        // Whether it may speak as the agent that it names is decided where it registers.
        let who = caller(&request)?;
        let Caller::Agent(agent) = who else {
            return Err(Status::permission_denied(format!(
                "{who} is not an agent; use an agent's certificate"
            )));
        };
        let from = from(&request);
        let mut messages = request.into_inner();
        let (link, words) = self.doors.open_link();
        let (doors, handle, audit) = (self.doors.clone(), self.handle.clone(), self.audit.clone());
        audit.arrived(Via::Link(link), from.clone());
        tokio::spawn(async move {
            let mut first = true;
            loop {
                let next = match first {
                    true => first_word(messages.message()).await.and_then(introduced),
                    false => messages.message().await,
                };
                first = false;
                match next {
                    Ok(Some(message)) => {
                        let input = Input::Agent { link, agent: agent.clone(), message };
                        if handle.send_async(input).await.is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(broken) => {
                        if let Some(code) = code_of(&broken) {
                            let draft = Draft::done(Caller::Agent(agent), from, "agent-session", "");
                            audit.tell(draft.refused(code, broken.message()));
                        }
                        doors.fail_link(link, broken);
                        break;
                    }
                }
            }
            let _ = handle.send_async(Input::AgentClosed { link }).await;
            doors.close_link(link);
            audit.left(Via::Link(link));
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(words))))
    }

    async fn secrets(&self, request: Request<SecretsRequest>) -> Result<Response<SecretsReply>, Status> {
        let caller = caller(&request)?;
        let from = from(&request);
        let asked = request.into_inner();
        // Only what was committed before it led is sure to be known to a leader: anybody else may take a run for none.
        let (_, leads, _) = self.model.as_of();
        if !leads {
            return Err(Status::unavailable("this master does not lead"));
        }
        let task = self.model.task(&asked.framework, &asked.task);
        let task = task.filter(|task| task.status.run == Some(asked.run) && !task.status.state.is_terminal());
        let owner =
            task.as_ref().map(|task| Caller::Agent(task.agent.clone()).to_string()).unwrap_or_default();
        authorize(&caller, &Action::ReadSecrets { owner }).map_err(|refusal| status(&refusal))?;
        let Some(task) = task else { return Err(Status::not_found("there is no such run")) };
        let files =
            self.vault.open(&task.role, &task.info.command.secrets).map_err(|refusal| status(&refusal))?;
        debug!(agent_id = %task.agent, task_id = %asked.task, run_id = %asked.run, secrets = files.len(), "secrets given");
        self.audit.tell(Draft::done(
            &caller,
            from,
            "read-secrets",
            format!("{}/{}", asked.framework, asked.task),
        ));
        Ok(Response::new(SecretsReply { files }))
    }
}

/// A link begins with Register: whoever says something else would be listened to and never heard.
fn introduced(word: Option<ToMaster>) -> Result<Option<ToMaster>, Status> {
    match word {
        Some(ToMaster::Update(_) | ToMaster::Heartbeat | ToMaster::VolumesDestroyed(_)) => {
            Err(Status::failed_precondition("the first message of a link must be Register"))
        }
        Some(ToMaster::Register(_)) | None => Ok(word),
    }
}
