//! The masters' envelopes on the wire.

use proto_wire::raft as w;

use crate::raft::{Delivered, Envelope};

message!(Envelope = w::Envelope {
    plain from: from,
    plain to: to,
    plain cluster: cluster,
    plain part: part,
    plain more: more,
    plain announces: announces,
    plain image: image,
    plain pid: pid,
});
empty_message! { Delivered = w::Delivered; }
