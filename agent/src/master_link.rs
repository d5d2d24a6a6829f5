//! The link to a master: one connection at a time, opened and closed as the machine says.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};

use agent_core::{Input, LinkId};
use proto::agent_link::ToMaster;
use proto_drive::Handle as Machine;
use proto_grpc::services::agent_link::agent_link_client::AgentLinkClient;
use proto_grpc::{ConnectError, Credentials, PeerRole, Shown, channel};
use tokio::runtime::Handle as Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::{debug, info};

use crate::secrets::Secrets;

/// The largest message taken of a master. A launch of very many tasks is one message; what is longer than the longest
/// record of the ledger must not get in.
const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The machine, for those it is given to before it is there.
pub(crate) type LateMachine = Arc<OnceLock<Machine<Input>>>;

/// The link to a master.
pub(crate) struct MasterLink {
    runtime: Runtime,
    machine: LateMachine,
    shown: Shown,
    secrets: Arc<Secrets>,
    current: Option<Current>,
}

struct Current {
    link: LinkId,
    task: JoinHandle<()>,
    say: mpsc::UnboundedSender<ToMaster>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{} ({})", .0.message(), .0.code())]
    Refused(#[from] tonic::Status),
    #[error("the master closed the session")]
    Closed,
    #[error("the agent stops")]
    Stopped(#[from] proto_drive::Closed),
}

impl MasterLink {
    /// With nobody. `runtime` is where connections live.
    pub fn new(runtime: Runtime, machine: LateMachine, shown: Shown, secrets: Arc<Secrets>) -> MasterLink {
        MasterLink { runtime, machine, shown, secrets, current: None }
    }

    /// Opens a connection in place of any other. What comes of it is told to the machine.
    pub fn connect(&mut self, link: LinkId, address: String) {
        self.close();
        let (say, said) = mpsc::unbounded_channel();
        let (machine, credentials) = (self.machine.clone(), self.shown.now());
        let secrets = self.secrets.clone();
        let task = self.runtime.spawn(async move {
            let Some(machine) = machine.get() else { return };
            let Err(end) = session(link, &address, &credentials, machine, &secrets, said).await;
            secrets.unlinked(link);
            tell(&address, &end);
            // Stopped: nobody needs to know.
            let _ = machine.send_async(Input::Unlinked(link)).await;
        });
        self.current = Some(Current { link, task, say });
    }

    /// Closes a connection, if it is still this one.
    pub fn disconnect(&mut self, link: LinkId) {
        if self.current.as_ref().is_some_and(|current| current.link == link) {
            self.close();
        }
    }

    /// Says something on the newest connection; lost if that is broken.
    pub fn say(&self, word: ToMaster) {
        if let Some(current) = &self.current {
            // The machine learns of a broken link from the link.
            let _ = current.say.send(word);
        }
    }

    /// All has been said: what is on its way still gets there, and then the master ends the session, if there is one.
    pub fn finish(&mut self) -> Option<JoinHandle<()>> {
        self.current.take().map(|current| current.task)
    }

    fn close(&mut self) {
        if let Some(current) = self.current.take() {
            current.task.abort();
            self.secrets.unlinked(current.link);
        }
    }
}

impl Drop for MasterLink {
    fn drop(&mut self) {
        self.close();
    }
}

async fn session(
    link: LinkId,
    address: &str,
    credentials: &Credentials,
    machine: &Machine<Input>,
    secrets: &Secrets,
    said: mpsc::UnboundedReceiver<ToMaster>,
) -> Result<std::convert::Infallible, Ended> {
    let channel = channel(address, PeerRole::Master, credentials).await?;
    // Before the session is asked for: a master answers the first message, and the machine says that on this word.
    machine.send_async(Input::Linked(link)).await?;
    secrets.linked(link, channel.clone());
    let mut client = AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut heard = client.session(UnboundedReceiverStream::new(said)).await?.into_inner();
    while let Some(message) = heard.message().await? {
        machine.send_async(Input::FromMaster(link, message)).await?;
    }
    Err(Ended::Closed)
}

/// Failed attempts are many while there is no leader, and say little; the end of a session is news.
fn tell(address: &str, end: &Ended) {
    metrics::counter!("agent_links_ended_total").increment(1);
    match end {
        Ended::Connect(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            debug!(master = address, %error, cause, "no connection");
        }
        Ended::Refused(_) | Ended::Closed => info!(master = address, why = %end, "session ended"),
        Ended::Stopped(_) => {}
    }
}
