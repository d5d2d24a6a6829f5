//! Reads the output of tasks at their agents' doors.

use proto::agent_link::{LogsChunk, LogsRequest};
use proto_grpc::services::agent_door::agent_door_client::AgentDoorClient;
use proto_grpc::{ConnectError, PeerRole, channel};
use proto_pki::Credentials;
use tonic::{Status, Streaming};

/// A line of a task that never ends is shown in pieces of this size.
const LINE_BYTES_MAX: usize = 64 * 1024;

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

/// Whole lines with a prefix before each, such as the name of their task.
#[derive(Debug)]
pub struct Lines {
    prefix: Vec<u8>,
    held: Vec<u8>,
}

// === impl AgentDoor ===

impl AgentDoor {
    /// Connects to the agent with this door (`host:port`, as `get agents` has it).
    pub async fn connect(address: &str, credentials: &Credentials) -> Result<Self, LogsError> {
        let channel = channel(address, PeerRole::Agent, credentials).await?;
        Ok(AgentDoor { client: AgentDoorClient::new(channel) })
    }

    pub(crate) fn client(&self) -> AgentDoorClient<tonic::transport::Channel> {
        self.client.clone()
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

// === impl Lines ===

impl Lines {
    /// None yet; before each stands the prefix.
    pub fn new(prefix: impl Into<Vec<u8>>) -> Lines {
        Lines { prefix: prefix.into(), held: Vec::new() }
    }

    /// The lines that are whole now.
    pub fn push(&mut self, data: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(data.len() + self.prefix.len());
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.held.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.held.len() >= LINE_BYTES_MAX {
                text.extend(self.take());
            }
        }
        text
    }

    /// What is left at the end, as a line.
    pub fn rest(&mut self) -> Vec<u8> {
        if self.held.is_empty() { Vec::new() } else { self.take() }
    }

    fn take(&mut self) -> Vec<u8> {
        let mut line = self.prefix.clone();
        line.append(&mut self.held);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_begins_with_its_name_wherever_it_was_cut() {
        let text = b"one\ntwo\n\nlast";
        for cut in 0..text.len() {
            let mut lines = Lines::new("web.1| ");
            let mut shown = lines.push(&text[..cut]);
            shown.extend(lines.push(&text[cut..]));
            shown.extend(lines.rest());
            assert_eq!(shown, b"web.1| one\nweb.1| two\nweb.1| \nweb.1| last\n", "cut at {cut}");
        }
        let mut lines = Lines::new("a| ");
        assert_eq!(
            lines.push(&vec![b'x'; LINE_BYTES_MAX]).len(),
            LINE_BYTES_MAX + 4,
            "an endless line is not held"
        );
        assert!(lines.rest().is_empty());
    }
}
