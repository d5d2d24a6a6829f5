//! The agent's end of the keeper: the listening socket, and the one connection that counts.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::SOCKET_NAME;
use crate::protocol::{Event, Frames};
use crate::sys;

/// An agent that lets this much pile up is not reading; it can connect again and ask for a list.
const UNSENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most that is read in one turn.
const READ_BYTES_PER_TURN: usize = 1024 * 1024;

/// Creates the socket in the working directory, in the place of one a dead keeper left.
///
/// # Errors
/// Those of removing the old socket, binding, and changing the mode.
pub(crate) fn listen() -> io::Result<UnixListener> {
    match fs::remove_file(SOCKET_NAME) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    // Relative, because a socket's address holds 108 bytes and the directory's path may be longer.
    let listener = UnixListener::bind(SOCKET_NAME)?;
    fs::set_permissions(SOCKET_NAME, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A waiting connection of our own user or root; others are turned away. `None` when nobody waits.
pub(crate) fn accept(listener: &UnixListener) -> Option<UnixStream> {
    loop {
        let (stream, _) = listener.accept().ok()?;
        let trusted = sys::peer_uid(&stream).is_ok_and(|uid| uid == 0 || uid == sys::effective_uid());
        if trusted && stream.set_nonblocking(true).is_ok() {
            return Some(stream);
        }
    }
}

/// A connection and what is under way on it.
pub(crate) struct Connection {
    stream: UnixStream,
    /// Requests read and not yet handled.
    pub(crate) frames: Frames,
    unsent: Vec<u8>,
    /// The version agreed on; `None` before Hello.
    pub(crate) version: Option<u16>,
    /// What the connection is watched for at present.
    pub(crate) watched: sys::Interest,
}

/// The agent is gone, or has to be treated as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            frames: Frames::new(),
            unsent: Vec::new(),
            version: None,
            watched: sys::Interest::READ,
        }
    }

    /// Takes in what has arrived.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<(), Closed> {
        for _ in 0..READ_BYTES_PER_TURN / buffer.len().max(1) {
            match sys::read(&self.stream, buffer) {
                Ok(0) => return Err(Closed),
                Ok(len) => {
                    self.frames.extend(buffer.get(..len).unwrap_or_default());
                    if len < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
        Ok(())
    }

    /// Puts an event into the next write.
    pub(crate) fn tell(&mut self, event: &Event) {
        event.encode(&mut self.unsent);
    }

    /// Writes what the socket takes: everything told in one turn goes out in one call.
    pub(crate) fn flush(&mut self) -> Result<(), Closed> {
        while !self.unsent.is_empty() {
            match sys::send(&self.stream, &self.unsent) {
                Ok(len) => {
                    self.unsent.drain(..len);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
        if self.unsent.len() > UNSENT_BYTES_MAX { Err(Closed) } else { Ok(()) }
    }

    /// Whether something waits for the socket to take it.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}
