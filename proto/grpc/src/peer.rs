//! `Peer`: who is at the other end of a connection, found out once when it is accepted.

use std::net::SocketAddr;
use std::sync::Arc;

use proto_pki::{BadIdentity, Identity};
use rustls::pki_types::CertificateDer;
use tonic::{Request, Status};

/// Who is at the other end of a connection. Stands in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    address: Option<SocketAddr>,
    identity: Result<Identity, Unknown>,
}

/// Why nobody knows who it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unknown {
    #[error(
        "no client certificate was shown; join the cluster with a token, or use the credentials of `stoa up`"
    )]
    NoCertificate,
    #[error("the client certificate names nobody: {0}; ask for a new one with a join token")]
    Nobody(#[from] BadIdentity),
    #[error(
        "the client certificate is of cluster {theirs:?}, this is {ours:?}; use credentials of this cluster"
    )]
    OtherCluster { theirs: String, ours: String },
}

// === impl Peer ===

impl Peer {
    /// From what TLS has verified.
    pub(crate) fn new(
        address: Option<SocketAddr>,
        certificates: Option<&[CertificateDer<'_>]>,
        ours: &str,
    ) -> Self {
        let identity = match certificates.and_then(<[_]>::first) {
            None => Err(Unknown::NoCertificate),
            Some(leaf) => match Identity::of_certificate(leaf) {
                Ok((theirs, identity)) if theirs == ours => Ok(identity),
                Ok((theirs, _)) => Err(Unknown::OtherCluster { theirs, ours: ours.to_owned() }),
                Err(bad) => Err(bad.into()),
            },
        };
        Peer(Arc::new(Facts { address, identity }))
    }

    /// Its address, as the connection has it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Who it is, or why nobody knows, with what to do.
    pub fn identity(&self) -> Result<&Identity, Status> {
        self.0.identity.as_ref().map_err(|unknown| Status::unauthenticated(unknown.to_string()))
    }
}

/// Who asks. Every method but `Join` begins with it; the error is UNAUTHENTICATED and says what to do.
pub fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    match request.extensions().get::<Peer>() {
        Some(peer) => peer.identity().cloned(),
        // Not through `serve`: nobody has verified anything.
        None => Err(Status::unauthenticated(Unknown::NoCertificate.to_string())),
    }
}
