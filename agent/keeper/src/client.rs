//! A blocking speaker of the keeper's protocol, for tests, benches and tools.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::SOCKET_NAME;
use crate::protocol::{Event, Frames, Request, VERSION};

/// A connection to a keeper.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: Frames,
}

impl Client {
    /// Connects to the keeper of `dir` and says Hello; the first event is its Welcome. The directory's path may be of
    /// any length: the socket is addressed through a descriptor, because a socket's address holds 108 bytes at most.
    ///
    /// # Errors
    /// Those of opening the directory and of connecting; `ConnectionRefused` or `NotFound` mean that no keeper runs.
    pub fn connect(dir: &Path) -> io::Result<Client> {
        let dir = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_raw_fd());
        let mut client = Client { stream: UnixStream::connect(path)?, frames: Frames::new() };
        client.send(&[Request::Hello { version: VERSION }])?;
        Ok(client)
    }

    /// Bounds how long [`Client::event`] waits.
    ///
    /// # Errors
    /// Those of the socket option.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Sends requests in one write.
    ///
    /// # Errors
    /// `InvalidInput` for a request too long for a frame; those of writing.
    pub fn send(&mut self, requests: &[Request]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for request in requests {
            request.encode(&mut bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        }
        self.send_raw(&bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of writing.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Ends the conversation.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn close(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Both)
    }

    /// Waits for the next event; `None` when the keeper has closed the connection.
    ///
    /// # Errors
    /// `InvalidData` for what is no event, `WouldBlock` after the timeout, those of reading.
    pub fn event(&mut self) -> io::Result<Option<Event>> {
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(body) = self.frames.next_body().map_err(invalid)? {
                return Event::decode(body).map(Some).map_err(invalid);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Ok(None),
                len => self.frames.extend(chunk.get(..len).unwrap_or_default()),
            }
        }
    }
}
