//! Carries the driver's calls to a master and the master's events back, one session at a time.

use proto::refusal::{Code, Refusal};
use proto::scheduler::{Call, Event, EventKind, Fault};
use proto_drive::Handle;
use proto_grpc::services::scheduler::scheduler_client::SchedulerClient;
use proto_grpc::{ConnectError, PeerRole, REPLY_BYTES_MAX, channel, retry_after};
use proto_pki::Credentials;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tracing::{debug, info, warn};

use framework_sdk_core::{Input, Link};

/// The link of the moment.
pub(crate) struct Links<I> {
    runtime: runtime::Handle,
    credentials: Credentials,
    machine: Handle<Input<I>>,
    open: Option<Open>,
}

struct Open {
    link: Link,
    /// Unbounded, because the driver bounds what it has unanswered and a link that does not answer is given up.
    calls: mpsc::UnboundedSender<Call>,
    task: JoinHandle<()>,
}

// === impl Links ===

impl<I: Send + 'static> Links<I> {
    pub fn new(runtime: runtime::Handle, credentials: Credentials, machine: Handle<Input<I>>) -> Self {
        Links { runtime, credentials, machine, open: None }
    }

    /// The machine whose sessions these are.
    pub fn machine(&self) -> &Handle<Input<I>> {
        &self.machine
    }

    /// Opens a session; an earlier one ends.
    pub fn connect(&mut self, link: Link, master: String) {
        self.close();
        let (calls, queued) = mpsc::unbounded_channel();
        let (credentials, machine) = (self.credentials.clone(), self.machine.clone());
        let task = self.runtime.spawn(async move {
            match session(link, &master, &credentials, queued, &machine).await {
                Ok(()) => debug!(master, "the session ended"),
                Err(Broken::Connect(error)) => debug!(master, error = chain(&error), "no session"),
                Err(Broken::Status(status)) => match final_fault(&status) {
                    Some(refusal) => {
                        warn!(master, code = refusal.code.as_str(), "the session was refused");
                        let kind = EventKind::Fault(Fault { refusal });
                        let _ = machine.send(Input::Event { link, event: Event { sequence: 0, kind } });
                    }
                    None => {
                        debug!(master, status = status.message(), "the session broke");
                        if let Some(wait) = retry_after(&status) {
                            tokio::time::sleep(wait).await;
                        }
                    }
                },
            }
            // The machine may be gone, and then nobody wants to know.
            let _ = machine.send(Input::Lost { link });
        });
        self.open = Some(Open { link, calls, task });
    }

    /// Sends a call; nothing when the link is not the present one, because then the driver knows or will be told.
    pub fn send(&self, link: Link, call: Call) {
        if let Some(open) = self.open.as_ref().filter(|open| open.link == link) {
            let _ = open.calls.send(call);
        }
    }

    /// Ends a session. What was sent before still goes out if the connection stands.
    pub fn disconnect(&mut self, link: Link) {
        if self.open.as_ref().is_some_and(|open| open.link == link) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.task.abort();
        }
    }
}

impl<I> Drop for Links<I> {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.task.abort();
        }
    }
}

enum Broken {
    Connect(ConnectError),
    Status(Status),
}

async fn session<I: Send>(
    link: Link,
    master: &str,
    credentials: &Credentials,
    calls: mpsc::UnboundedReceiver<Call>,
    machine: &Handle<Input<I>>,
) -> Result<(), Broken> {
    let channel = channel(master, PeerRole::Master, credentials).await.map_err(Broken::Connect)?;
    let mut client = SchedulerClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
    let response = client.session(UnboundedReceiverStream::new(calls)).await.map_err(Broken::Status)?;
    info!(master, "session opened");
    let mut events = response.into_inner();
    while let Some(event) = events.message().await.map_err(Broken::Status)? {
        if machine.send_async(Input::Event { link, event }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A status that every master will give for the same calls: sending them again would go on for ever.
fn final_fault(status: &Status) -> Option<Refusal> {
    let code = match status.code() {
        tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => Code::Denied,
        // Out of range: a call that is larger than any master takes.
        tonic::Code::InvalidArgument | tonic::Code::Unimplemented | tonic::Code::OutOfRange => Code::Invalid,
        _ => return None,
    };
    Some(Refusal::new(code, status.message()))
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
