//! What the secrets of a run hold: asked of the leading master over the agent's own connection, and kept nowhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_containerizer::{RunId as ContainerId, Secret, SecretSource, SecretsFetched};
use agent_core::LinkId;
use proto::agent_link::{SecretsReply, SecretsRequest, TaskRun};
use proto_grpc::services::agent_link::agent_link_client::AgentLinkClient;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;
use tracing::debug;

use crate::sandbox::container;

/// A failover takes a second. Whoever waits for longer waits for people, and they want to see it.
const PATIENCE: Duration = Duration::from_secs(120);
/// One answer is at most a MiB.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Between two tries, growing: a master that does not lead yet will soon, or somebody else does.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Asks for secrets.
pub(crate) struct Secrets {
    /// To the master that the agent is connected to, by the newest link.
    master: watch::Sender<Option<(LinkId, Channel)>>,
    /// What to ask for runs that are on their way.
    coming: Mutex<HashMap<ContainerId, SecretsRequest>>,
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets { master: watch::channel(None).0, coming: Mutex::default() }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

// === impl Secrets ===

impl Secrets {
    /// The agent is connected to this master.
    pub fn linked(&self, link: LinkId, master: Channel) {
        self.master.send_replace(Some((link, master)));
    }

    /// That link is over. Said late, it is not said of the next one.
    pub fn unlinked(&self, link: LinkId) {
        self.master.send_if_modified(|master| match master {
            Some((known, _)) if *known == link => {
                *master = None;
                true
            }
            Some(_) | None => false,
        });
    }

    /// This run is about to be prepared.
    pub fn will_be_asked_for(&self, given: &TaskRun) {
        if given.task.command.secrets.is_empty() {
            return;
        }
        let (run, framework, task) = (given.run, given.framework.clone(), given.task.id.clone());
        self.lock().insert(container(run), SecretsRequest { run, framework, task });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, SecretsRequest>> {
        // Nobody panics while holding it.
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretSource for Secrets {
    fn fetch(&self, run: ContainerId) -> SecretsFetched {
        let request = self.lock().remove(&run);
        let master = self.master.subscribe();
        Box::pin(async move {
            let Some(request) = request else { return Err("nobody said whose they are".to_owned()) };
            match timeout(PATIENCE, ask(request, master)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no leading master gave them within {} seconds", PATIENCE.as_secs())),
            }
        })
    }
}

async fn ask(
    request: SecretsRequest,
    mut master: watch::Receiver<Option<(LinkId, Channel)>>,
) -> Result<Vec<Secret>, String> {
    let (mut pause, most) = PAUSES;
    loop {
        let connected = match master.wait_for(Option::is_some).await {
            Ok(connected) => connected.clone(),
            Err(_) => return Err("the agent stops".to_owned()),
        };
        if let Some((_, channel)) = connected {
            let mut client = AgentLinkClient::new(channel);
            match timeout(ANSWER_LIMIT, client.secrets(request.clone())).await {
                Ok(Ok(reply)) => return Ok(files(reply.into_inner())),
                Ok(Err(status)) if is_final(status.code()) => return Err(status.message().to_owned()),
                Ok(Err(status)) => debug!(run_id = %request.run, why = %status.message(), "no secrets yet"),
                Err(_) => debug!(run_id = %request.run, "no secrets yet: no answer"),
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(most);
    }
}

/// Whether asking again, or another master, would be of no use.
fn is_final(code: Code) -> bool {
    match code {
        Code::PermissionDenied
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::Unimplemented => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

fn files(reply: SecretsReply) -> Vec<Secret> {
    let file = |content: proto::agent_link::SecretContent| Secret {
        file: content.file.to_string(),
        value: content.value.reveal().to_vec(),
    };
    reply.files.into_iter().map(file).collect()
}
