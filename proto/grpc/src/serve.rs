//! A server behind mutual TLS that no stranger, talker of nonsense or sleeper can bring down.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto_pki::{Credentials, PkiError};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::peer::Peer;
use crate::room::{Bounds, Place, Room};
use crate::shown::Shown;
use crate::verify;

/// How long TLS may take; whoever is slower is not of us.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is probed, and how long the answer may take.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// In all half of the usual hard limit of open files. One address has no more than half of them: many agents behind one
/// address are a pool, but not the only one. Those that do not speak are closed by their time; this many of them at most
/// wait for that, and hold no more memory than a few MiB.
const BOUNDS: Bounds = Bounds { all: 10_000, of_address: 5_000, unknown_of_address: 1_000 };
/// Calls at once on one connection: a framework has one session, the web UI a dozen watchers.
const STREAMS_MAX: u32 = 128;
/// Windows bound what one stream, and one connection, can make us hold.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// After a shutdown, streams have so long to end by themselves.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// Longer than any process runs, and within what timers take.
const ALWAYS: Duration = Duration::from_secs(365 * 24 * 3600);
/// Out of files or memory: accepting again at once would only spin.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// Why a server cannot be, or is no more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The credentials cannot be used.
    #[error("the credentials cannot be used")]
    Credentials(#[from] PkiError),
    /// TLS cannot be set up with the credentials.
    #[error("TLS cannot be set up with these credentials")]
    Tls(#[from] rustls::Error),
    /// The client verifier cannot be set up with the cluster's authority.
    #[error("clients cannot be verified with this CA certificate")]
    ClientVerifier(#[from] rustls::server::VerifierBuilderError),
    /// The server gave up.
    #[error("the server stopped")]
    Server(#[from] tonic::transport::Error),
}

/// Serves `routes` on `listener` until `shutdown` resolves and the streams have ended, or a grace of a second is over.
///
/// A client certificate is optional in TLS, because `Join` comes without; every other method asks
/// [`caller`](crate::caller) first. A certificate that is not the cluster's ends the connection, and so does anything
/// that is not TLS 1.3. When the time of a client's certificate ends, its connection does, too.
pub async fn serve(
    listener: TcpListener,
    credentials: &Credentials,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    serve_shown(listener, &Shown::new(credentials.clone())?, routes, shutdown).await
}

/// The same with credentials that are replaced meanwhile.
pub async fn serve_shown(
    listener: TcpListener,
    shown: &Shown,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let config = Arc::new(server_config(shown)?);
    let (cluster, _) = shown.now().identity()?;
    let (severed, sever) = watch::channel(false);
    let door = Door {
        acceptor: TlsAcceptor::from(config),
        cluster: cluster.into(),
        room: Room::new(BOUNDS),
        severed: sever,
    };
    // Small: a connection that is through waits here until the server takes it, no more.
    let (through, incoming) = mpsc::channel(16);
    tokio::spawn(door.admit_all(listener, through));

    let (stopping, mut stopped) = watch::channel(false);
    let signal = async move {
        shutdown.await;
        stopping.send_replace(true);
    };
    let serving = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .serve_with_incoming_shutdown(
            routes.prepare().into_axum_router(),
            ReceiverStream::new(incoming),
            signal,
        );
    let overdue = async {
        // An error means that the server, which holds the sender, is done: then this must not win.
        if stopped.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(SHUTDOWN_GRACE).await;
        severed.send_replace(true);
    };
    tokio::pin!(serving);
    tokio::select! {
        done = &mut serving => return Ok(done?),
        () = overdue => {}
    }
    // Severed connections end at once, so this does too.
    Ok(serving.await?)
}

fn server_config(shown: &Shown) -> Result<ServerConfig, ServeError> {
    let roots = verify::roots(shown.now().ca()?)?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots, verify::provider())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(verify::provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(shown.clone()));
    // HTTP/1.1 is for scrapers and browsers.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Connections last for days: resumption would cost memory for every one and save nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Lets connections in.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    cluster: Arc<str>,
    room: Room,
    severed: watch::Receiver<bool>,
}

type Through = mpsc::Sender<Result<Connection, io::Error>>;

// === impl Door ===

impl Door {
    async fn admit_all(self, listener: TcpListener, through: Through) {
        loop {
            let next = async {
                let permit = self.room.free().await?;
                Some((listener.accept().await, permit))
            };
            let (accepted, permit) = tokio::select! {
                Some(next) = next => next,
                () = through.closed() => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    let Some(place) = self.room.enter(address, permit) else {
                        refused(address, "its address has as many connections as it may have", "many");
                        continue;
                    };
                    let (door, through) = (self.clone(), through.clone());
                    tokio::spawn(async move { door.admit(stream, address, place, through).await });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_BACK_OFF).await;
                }
            }
        }
    }

    async fn admit(self, stream: TcpStream, address: SocketAddr, mut place: Place, through: Through) {
        // Only latency is lost without it.
        let _ = stream.set_nodelay(true);
        let tls = match timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return refused(address, &error.to_string(), "tls"),
            Err(_) => return refused(address, "the TLS handshake took too long", "slow"),
        };
        place.through();
        let peer = Peer::new(Some(address), tls.get_ref().1.peer_certificates(), &self.cluster);
        let mut severed = self.severed;
        let valid_for = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(time_left);
        let severed = Box::pin(async move {
            // The sender lives as long as `serve`; when it is gone, so are we.
            let stopped = severed.wait_for(|severed| *severed);
            // Whoever has renewed its certificate meanwhile shows that, and is let in again.
            let _ = timeout(valid_for.unwrap_or(ALWAYS), stopped).await;
        });
        // The server may be stopping; then the connection is simply dropped.
        let _ = through.send(Ok(Connection { tls, peer, severed, _place: place })).await;
    }
}

/// How long a certificate is good from now on.
fn time_left(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let ends = Duration::from_millis(proto_pki::ends_ms(certificate).ok()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(ends.saturating_sub(now).min(ALWAYS))
}

fn refused(address: SocketAddr, why: &str, label: &'static str) {
    debug!(%address, why, "connection refused");
    metrics::counter!("connections_refused_total", "why" => label).increment(1);
}

/// One connection that is through TLS. It counts against the room until it is dropped.
struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    severed: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: Place,
}

// === impl Connection ===

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.severed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
