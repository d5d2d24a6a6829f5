//! A framework's own door: mutual TLS before whatever services it has, and channels to other frameworks' doors.

pub use proto_grpc::{
    CALL_BYTES_MAX, ConnectError, Identity, Peer, PeerRole, REPLY_BYTES_MAX, ServeError, caller, channel,
    channel_lazy, serve, with_metrics,
};
pub use proto_pki::{Authority, Credentials, LEAF_VALIDITY, PkiError};
