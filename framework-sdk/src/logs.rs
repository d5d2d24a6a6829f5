//! Reads the output of tasks at their agents' doors.

use proto::agent_link::{LogsChunk, LogsRequest};
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use proto_grpc::{ConnectError, PeerRole, channel};
use proto_pki::Credentials;
use tonic::{Status, Streaming};

/// Why there is no output to read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The agent cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The agent refused, or the stream broke.
    #[error("the agent says: {}", .0.message())]
    Agent(#[from] Status),
}

/// One agent's door.
#[derive(Clone, Debug)]
pub struct AgentDoor {
    client: AgentDoorClient<tonic::transport::Channel>,
}

/// Some of a task's output after another.
#[derive(Debug)]
pub struct Logs {
    stream: Streaming<LogsChunk>,
}

// === impl AgentDoor ===

impl AgentDoor {
    /// Connects to the agent with this door (`host:port`, as `get agents` has it).
    pub async fn connect(address: &str, credentials: &Credentials) -> Result<Self, LogsError> {
        let channel = channel(address, PeerRole::Agent, credentials).await?;
        Ok(AgentDoor { client: AgentDoorClient::new(channel) })
    }

    /// The output of a task; one channel serves many at once.
    pub async fn logs(&self, request: LogsRequest) -> Result<Logs, LogsError> {
        Ok(Logs { stream: self.client.clone().logs(request).await?.into_inner() })
    }
}

// === impl Logs ===

impl Logs {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LogsError> {
        Ok(self.stream.message().await?.map(|chunk| chunk.data))
    }
}
