//! Certificates end, and are replaced while processes run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proto::id::MasterId;
use proto_grpc::{
    ConnectError, Credentials, Identity, PeerRole, Shown, channel, read_metrics, renew, serve_shown,
    with_metrics,
};
use proto_grpc::{Dialer, ServeError};
use proto_pki::{Authority, LEAF_VALIDITY};
use tokio::net::{TcpListener, TcpStream};
use tonic::service::Routes;

/// Long enough that only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn master() -> Identity {
    Identity::Master(MasterId(1))
}

fn ada(ca: &Authority, validity: Duration) -> Credentials {
    ca.issue(&Identity::User("ada".into()), validity).unwrap()
}

/// A server that shows these; its address.
async fn serves(shown: &Shown) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (shown, routes) = (shown.clone(), with_metrics(Routes::default(), || "answer 42\n".to_owned()));
    tokio::spawn(async move { serve_shown(listener, &shown, routes, std::future::pending()).await });
    address
}

/// Looks until it is so.
async fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let waiting = async {
        while !look() {
            tokio::time::sleep(Duration::from_millis(20)).await; // eventually
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited too long for {what}"));
}

/// Connects until that is refused: a certificate is good to the end of its last second.
async fn until_refused(address: &str, credentials: &Credentials) -> ConnectError {
    let refused = async {
        loop {
            match channel(address, PeerRole::Master, credentials).await {
                Err(error) => return error,
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await, // eventually
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it is refused")
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("stoa-renewal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_server_shows_its_new_certificate_without_a_restart() {
    let ca = Authority::create("pool-1").unwrap();
    // Its time is over already.
    let shown = Shown::new(ca.issue(&master(), Duration::ZERO).unwrap()).unwrap();
    let address = serves(&shown).await;
    let ada = ada(&ca, LEAF_VALIDITY);
    let error = until_refused(&address, &ada).await;
    assert!(error.is_distrust(), "{error:?}");
    shown.replace(ca.issue(&master(), LEAF_VALIDITY).unwrap()).unwrap();
    channel(&address, PeerRole::Master, &ada).await.unwrap();
}

#[tokio::test]
async fn nobody_becomes_somebody_else_by_it() {
    let ca = Authority::create("pool-1").unwrap();
    let own = ca.issue(&master(), LEAF_VALIDITY).unwrap();
    let shown = Shown::new(own.clone()).unwrap();
    let other = ca.issue(&Identity::Master(MasterId(2)), LEAF_VALIDITY).unwrap();
    let foreign = Authority::create("pool-1").unwrap().issue(&master(), LEAF_VALIDITY).unwrap();
    let torn = Credentials { key_pem: other.key_pem.clone(), ..own.clone() };
    for (bad, what) in [(&other, "another name"), (&foreign, "another authority"), (&torn, "another key")] {
        let refused: Result<(), ServeError> = shown.replace(bad.clone());
        assert!(refused.is_err(), "{what}");
        assert_eq!(*shown.now(), own, "{what}");
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_opened_it() {
    let ca = Authority::create("pool-1").unwrap();
    let shown = Shown::new(ca.issue(&master(), LEAF_VALIDITY).unwrap()).unwrap();
    let address = serves(&shown).await;
    // Two connections that say nothing: what the server does with them is seen on the wire.
    let (short, long) = (ada(&ca, Duration::from_secs(2)), ada(&ca, LEAF_VALIDITY));
    let (mut ends, mut stays) = (tls(&address, &short).await, tls(&address, &long).await);
    let closed = tokio::time::timeout(PATIENCE, until_closed(&mut ends)).await;
    closed.expect("it ends when its certificate does");
    let open = tokio::time::timeout(Duration::from_millis(50), until_closed(&mut stays)).await;
    assert!(open.is_err(), "the other stands");
    // Whoever has a new one is let in.
    let dialer = Dialer::new(&ada(&ca, LEAF_VALIDITY)).unwrap();
    assert!(read_metrics(&address, PeerRole::Master, &dialer).await.is_ok());
    let error = until_refused(&address, &short).await;
    assert!(matches!(error, ConnectError::Foreign { .. }), "the old one opens nothing any more: {error:?}");
}

async fn tls(address: &str, credentials: &Credentials) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(credentials.ca().unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![credentials.certificate().unwrap()], credentials.key().unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = rustls::pki_types::ServerName::try_from(PeerRole::Master.server_name()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap()
}

async fn until_closed(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) {
    use tokio::io::AsyncReadExt;
    let mut buffer = [0; 64];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn a_certificate_is_renewed_when_a_third_of_its_time_is_left_and_tried_again_if_that_fails() {
    let ca = Authority::create("pool-1").unwrap();
    let dir = Dir::new("renewed");
    // Of three seconds two pass first; the first try fails.
    let first = ca.issue(&master(), Duration::from_secs(3)).unwrap();
    first.save(&dir.0).unwrap();
    let shown = Shown::new(first.clone()).unwrap();
    let next = ca.issue(&master(), LEAF_VALIDITY).unwrap();
    let asked = AtomicU32::new(0);
    let keeping = renew::keep(shown.clone(), dir.0.clone(), || {
        let answer = match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err("no master answers".to_owned()),
            _ => Ok(next.clone()),
        };
        std::future::ready(answer)
    });
    tokio::select! {
        () = keeping => unreachable!("it goes on"),
        () = eventually("the next one", || *shown.now() == next) => {}
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "and no more often");
    assert_eq!(Credentials::load(&dir.0).unwrap(), next, "the next start shows it, too");
}

/// It looks each second of a clock that only goes when nobody has anything to do.
async fn a_while() {
    let _ = tokio::time::timeout(Duration::from_secs(3), std::future::pending::<()>()).await;
}

/// Plays while a process keeps what it shows good.
async fn beside(keeping: impl Future<Output = ()>, play: impl Future<Output = ()>) {
    tokio::select! {
        () = keeping => unreachable!("it goes on"),
        () = play => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_somebody_puts_there_is_shown_and_one_of_another_is_not() {
    let ca = Authority::create("pool-1").unwrap();
    let dir = Dir::new("found");
    let first = ca.issue(&master(), LEAF_VALIDITY).unwrap();
    first.save(&dir.0).unwrap();
    let shown = Shown::new(first.clone()).unwrap();
    let keeping = renew::keep(shown.clone(), dir.0.clone(), || async { Err("not asked".to_owned()) });
    let other = ca.issue(&Identity::Master(MasterId(2)), LEAF_VALIDITY).unwrap();
    let next = ca.issue(&master(), LEAF_VALIDITY * 2).unwrap();
    let last = ca.issue(&master(), LEAF_VALIDITY * 3).unwrap();
    beside(keeping, async {
        for (put, is_shown) in [(&other, &first), (&next, &next), (&other, &next)] {
            put.save(&dir.0).unwrap();
            a_while().await;
            assert_eq!(*shown.now(), *is_shown);
        }
        // Files that are copied one after the other are shown when they fit.
        std::fs::write(dir.0.join("cert.pem"), &last.certificate_pem).unwrap();
        a_while().await;
        assert_eq!(*shown.now(), next, "half of it is nothing");
        std::fs::write(dir.0.join("key.pem"), &last.key_pem).unwrap();
        a_while().await;
        assert_eq!(*shown.now(), last);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_not_shown_and_is_tried_again() {
    let ca = Authority::create("pool-1").unwrap();
    let dir = Dir::new("kept");
    let first = ca.issue(&master(), Duration::ZERO).unwrap();
    let shown = Shown::new(first.clone()).unwrap();
    // There is a file where the directory is to be.
    std::fs::write(&dir.0, "").unwrap();
    let next = ca.issue(&master(), LEAF_VALIDITY).unwrap();
    let keeping = renew::keep(shown.clone(), dir.0.clone(), || std::future::ready(Ok(next.clone())));
    beside(keeping, async {
        a_while().await;
        assert_eq!(*shown.now(), first);
        std::fs::remove_file(&dir.0).unwrap();
        a_while().await;
        assert_eq!((*shown.now() == next, Credentials::load(&dir.0).unwrap() == next), (true, true));
    })
    .await;
}
