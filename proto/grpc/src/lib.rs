//! The doors: tonic services over domain types, and the TLS that stands before each of them.
//!
//! [`connect`] opens a channel to a process of a certain role; [`serve`](mod@serve) answers behind mutual TLS and
//! says with [`caller`] who asks. There is no plaintext variant of either.

pub mod codec;
pub mod connect;
mod gate;
pub mod join;
mod metrics_page;
mod peer;
pub mod renew;
mod room;
pub mod serve;
pub mod services;
mod shown;
mod verify;

pub use connect::{ConnectError, Dialer, channel, channel_lazy, joining_channel};
pub use gate::{Gate, RETRY_AFTER, retry_after, too_often, with_gate};
pub use metrics_page::{PageError, read_metrics, with_metrics, with_metrics_if};
pub use peer::{Peer, caller};
pub use proto_pki::{Credentials, Identity, PeerRole};
pub use serve::{ServeError, serve, serve_shown};
pub use shown::Shown;

/// In the metadata of a master's answers: the doors of all masters, with commas between them, where the list was changed since
/// the founding.
pub const MASTERS: &str = "stoa-masters";

/// The largest message a server takes, in bytes (tonic's default, named here because clients split by it).
pub const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest message a client of the cluster takes, in bytes: a list of every task of a large pool is one message.
/// Set it with `max_decoding_message_size` on clients that list or watch.
pub const REPLY_BYTES_MAX: usize = 256 * 1024 * 1024;
