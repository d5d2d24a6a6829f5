//! The words agent and keeper exchange: requests one way, events the other, framed on a unix stream socket.
//!
//! A frame is a `u32` length (little endian, of what follows) and a body; a body is a tag byte and fields in a fixed
//! order. The first request on a connection is [`Request::Hello`] with the newest version its sender speaks; the keeper
//! answers [`Event::Welcome`] with the version both will use from then on. A keeper outlives agents, so a newer agent
//! must go on speaking to an older keeper: versions add messages, they never change one.
//!
//! Nothing here panics on bytes: what cannot be read is [`Malformed`], and the connection ends there.

mod codec;
mod event;
mod frames;
mod request;
mod visit;

pub use codec::{Malformed, TooLong};
pub use event::{Cause, Event, Exit, Failure, How, Loss, Run, RunState, Rusage, Stage};
pub use frames::Frames;
pub use request::{Output, Request, Rlimit, SecretFile, Secrets, Spawn, User};
pub use visit::{Outcome, Visit};

pub(crate) use codec::{Reader, Writer};
pub(crate) use event::{get_exit, get_failure, put_exit, put_failure};
pub(crate) use request::{decode_spawn, encode_spawn};

/// The protocol version this build speaks. Since 2 there is [`Request::Visit`], since 3 [`Spawn::secrets`].
pub const VERSION: u16 = 3;

/// The oldest version this build still understands.
pub const VERSION_MIN: u16 = 1;

/// Longest frame body either side accepts, in bytes. A launch with more arguments and environment than this is refused
/// by the sender ([`TooLong`]); the kernel's own limit for both together is 2 MiB by default (a quarter of the stack limit).
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Names one incarnation of a task. The agent draws it and never uses it twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for RunId {
    type Err = Malformed;

    /// Reads what `Display` writes: 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<RunId, Malformed> {
        const WHAT: Malformed = Malformed { what: "run id: 32 hexadecimal digits" };
        let mut id = [0; 16];
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WHAT);
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| WHAT)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| WHAT)?;
        }
        Ok(RunId(id))
    }
}
