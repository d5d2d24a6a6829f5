//! What the masters say to each other: opaque Raft messages in envelopes.

use crate::id::MasterId;

/// One message, or a part of one, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender.
    pub from: MasterId,
    /// The receiver; a stray envelope is refused.
    pub to: MasterId,
    /// The cluster it belongs to.
    pub cluster: String,
    /// The message or a part of it.
    pub part: Vec<u8>,
    /// More parts of the same message follow.
    pub more: bool,
    /// The message announces a snapshot: its image follows on the same stream, before anything else.
    pub announces: bool,
    /// A part of such an image.
    pub image: bool,
    /// The sender's process id, for operators.
    pub pid: u32,
}

/// The stream was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered;
