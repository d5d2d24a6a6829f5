//! Channels to masters, agents and frameworks, with both sides proven.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use proto_pki::{Credentials, PeerRole, PkiError};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

use crate::verify::{self, Verifier};

/// How long a TCP connect may take: a machine that is down answers nothing at all, and there is another to try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long TLS may take after that: a stopped process accepts connections (its kernel does) and then says nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is probed, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Windows bound what one stream, and one connection, can make the other side hold for it.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("{address:?} is not an address; write host:port")]
    Address {
        /// What was given.
        address: String,
    },
    /// The credentials cannot be used.
    #[error("the credentials cannot be used")]
    Credentials(#[from] PkiError),
    /// TLS cannot be set up with the credentials.
    #[error("TLS cannot be set up with these credentials")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// One's own certificate would be refused by everybody who trusts the same authority. A refusing server just closes the
    /// connection (TLS 1.3 tells a client before it is checked that all is well), so it is said here.
    #[error("the certificate (cert.pem) is not a valid one of the authority beside it (ca.pem): {why}")]
    Foreign {
        /// What is wrong with it.
        why: String,
    },
    /// Nobody there, or not whom we want.
    #[error("cannot reach a {role} at {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// Who was looked for.
        role: PeerRole,
        /// Why not.
        source: tonic::transport::Error,
    },
}

// === impl ConnectError ===

impl ConnectError {
    /// The deepest cause, in words: `connection refused` rather than `transport error`.
    pub fn reason(&self) -> String {
        let deepest = self.deepest();
        match deepest.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(why)) => format!(
                "its certificate is not of this cluster, or of another role ({why}); are the credentials of another cluster?"
            ),
            Some(_) | None => deepest.to_string(),
        }
    }

    /// Whether somebody is there who is not of the authority we trust, or of another role: another try is no better.
    pub fn is_distrust(&self) -> bool {
        matches!(self.deepest().downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
    }

    fn deepest(&self) -> &(dyn Error + 'static) {
        let mut deepest: &(dyn Error + 'static) = self;
        loop {
            // An IO error that wraps another one shows it but does not count it among its sources.
            let wrapped = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            match wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| deepest.source()) {
                Some(cause) => deepest = cause,
                None => return deepest,
            }
        }
    }
}

/// Opens channels with credentials that were checked once: to read and to check them takes longer than to find a door shut.
#[derive(Clone)]
pub struct Dialer {
    verifier: Arc<Verifier>,
    identity: TlsIdentity,
}

// === impl Dialer ===

impl Dialer {
    /// With these credentials.
    ///
    /// # Errors
    /// [`ConnectError`]: they cannot be used, or nobody would take them.
    pub fn new(credentials: &Credentials) -> Result<Dialer, ConnectError> {
        let verifier =
            Verifier::of_authority(credentials.ca()?).map_err(|error| ConnectError::Tls(error.into()))?;
        verify::as_a_client(credentials.ca()?, &credentials.certificate()?)
            .map_err(|why| ConnectError::Foreign { why })?;
        let identity = TlsIdentity::from_pem(&credentials.certificate_pem, &credentials.key_pem);
        Ok(Dialer { verifier: Arc::new(verifier), identity })
    }

    /// Connects to a process of this role. Resolves when TLS is done; later breaks are mended by the channel itself.
    pub async fn channel(&self, address: &str, role: PeerRole) -> Result<Channel, ConnectError> {
        connected(self.endpoint(address, role)?, address, role).await
    }

    fn endpoint(&self, address: &str, role: PeerRole) -> Result<Endpoint, ConnectError> {
        let tls = ClientTlsConfig::new().identity(self.identity.clone());
        secured(address, role, tls, self.verifier.clone())
    }
}

/// Connects to a process of this role. Resolves when TLS is done; later breaks are mended by the channel itself.
pub async fn channel(
    address: &str,
    role: PeerRole,
    credentials: &Credentials,
) -> Result<Channel, ConnectError> {
    Dialer::new(credentials)?.channel(address, role).await
}

/// The same without connecting: the first call does, and says so if it cannot.
pub fn channel_lazy(
    address: &str,
    role: PeerRole,
    credentials: &Credentials,
) -> Result<Channel, ConnectError> {
    Ok(Dialer::new(credentials)?.endpoint(address, role)?.connect_lazy())
}

/// Connects to a master without a certificate, for `Join` only. The master proves that it belongs to the authority
/// whose hash the join token carries.
pub async fn joining_channel(address: &str, ca_sha256: [u8; 32]) -> Result<Channel, ConnectError> {
    let tls = ClientTlsConfig::new();
    let endpoint = secured(address, PeerRole::Master, tls, Arc::new(Verifier::of_hash(ca_sha256)))?;
    connected(endpoint, address, PeerRole::Master).await
}

async fn connected(endpoint: Endpoint, address: &str, role: PeerRole) -> Result<Channel, ConnectError> {
    endpoint.connect().await.map_err(|source| ConnectError::Unreachable {
        address: address.to_owned(),
        role,
        source,
    })
}

fn secured(
    address: &str,
    role: PeerRole,
    tls: ClientTlsConfig,
    verifier: Arc<Verifier>,
) -> Result<Endpoint, ConnectError> {
    let bad_address = || ConnectError::Address { address: address.to_owned() };
    // A scheme, a path or a user in it would change what is connected to.
    let (host, port) = address.rsplit_once(':').ok_or_else(bad_address)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(plain) || port.parse::<u16>().is_err() {
        return Err(bad_address());
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(|_| bad_address())?;
    let tls = tls.domain_name(role.server_name()).timeout(HANDSHAKE_TIMEOUT);
    let endpoint =
        endpoint.tls_config_with_verifier(tls, verifier).map_err(|error| ConnectError::Tls(error.into()))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}
