//! Doors over real sockets: who gets in, who does not, and that nobody who does not brings the house down.

use std::time::Duration;

use bytes::{Buf, BufMut};
use proto::id::{AgentId, MasterId};
use proto::operator::{Call, Event, Join, Joined, Reply, ReplyKind, Status as ClusterStatus, Watch};
use proto::wire::Wire;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::services::operator::operator_server::{Operator, OperatorServer};
use proto_grpc::{
    ConnectError, Credentials, Dialer, Identity, PageError, PeerRole, caller, channel, channel_lazy,
    joining_channel, read_metrics, serve, with_metrics,
};
use proto_pki::{Authority, LEAF_VALIDITY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// Long enough that only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A master that answers with the caller's name.
struct Mirror;

#[tonic::async_trait]
impl Operator for Mirror {
    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let who = caller(&request)?;
        let kind = match request.into_inner() {
            Call::Status => ReplyKind::Redirect(who.to_string()),
            _ => ReplyKind::Status(ClusterStatus::default()),
        };
        Ok(Response::new(Reply { as_of: 1, from_leader: true, kind }))
    }

    type ListStream = ReceiverStream<Result<Reply, Status>>;
    async fn list(&self, _: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("list"))
    }

    type WatchStream = ReceiverStream<Result<Event, Status>>;
    async fn watch(&self, request: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        caller(&request)?;
        let (sender, events) = tokio::sync::mpsc::channel(1);
        // A stream that never ends by itself.
        tokio::spawn(async move { sender.closed().await });
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn join(&self, request: Request<Join>) -> Result<Response<Joined>, Status> {
        let masters = vec![request.into_inner().name];
        Ok(Response::new(Joined {
            certificate_pem: String::new(),
            ca_pem: String::new(),
            masters,
            authority_key_pem: String::new(),
            roster: None,
        }))
    }
}

struct House {
    ca: Authority,
    address: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), proto_grpc::ServeError>>,
}

impl House {
    async fn open() -> House {
        House::open_as(Identity::Master(MasterId(1))).await
    }

    async fn open_as(identity: Identity) -> House {
        let ca = Authority::create("pool-1").unwrap();
        let credentials = ca.issue(&identity, LEAF_VALIDITY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let routes = with_metrics(Routes::new(OperatorServer::new(Mirror)), || "answer 42\n".to_owned());
        let serving = tokio::spawn(async move {
            serve(listener, &credentials, routes, async { drop(stopped.await) }).await
        });
        House { ca, address, stop, serving }
    }

    fn ada(&self) -> Credentials {
        self.ca.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap()
    }

    async fn ask_as(&self, credentials: &Credentials) -> Result<String, Status> {
        let channel = channel(&self.address, PeerRole::Master, credentials).await.unwrap();
        who_am_i(channel).await
    }

    async fn still_serves(&self) {
        assert_eq!(self.ask_as(&self.ada()).await.unwrap(), "user/ada");
    }
}

async fn who_am_i(channel: Channel) -> Result<String, Status> {
    match OperatorClient::new(channel).ask(Call::Status).await?.into_inner().kind {
        ReplyKind::Redirect(who) => Ok(who),
        other => panic!("{other:?}"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_caller_is_known_by_its_certificate() {
    let house = House::open().await;
    house.still_serves().await;
    let agent = Identity::Agent(AgentId::new("a1").unwrap());
    let agent = house.ca.issue(&agent, LEAF_VALIDITY).unwrap();
    assert_eq!(house.ask_as(&agent).await.unwrap(), "agent/a1");
    let lazy = channel_lazy(&house.address, PeerRole::Master, &agent).unwrap();
    assert_eq!(who_am_i(lazy).await.unwrap(), "agent/a1");
}

#[tokio::test]
async fn without_a_certificate_one_can_join_and_nothing_else() {
    let house = House::open().await;
    let channel = joining_channel(&house.address, house.ca.ca_sha256()).await.unwrap();
    let refused = who_am_i(channel.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("token"), "{refused}");
    let watch = OperatorClient::new(channel.clone()).watch(Watch::default()).await.unwrap_err();
    assert_eq!(watch.code(), Code::Unauthenticated);
    let join = Join { token: String::new(), csr_pem: String::new(), name: "a1".into() };
    let joined = OperatorClient::new(channel).join(join).await.unwrap().into_inner();
    assert_eq!(joined.masters, ["a1"]);
}

#[tokio::test]
async fn a_joiner_refuses_a_master_of_another_authority() {
    let house = House::open().await;
    let other = Authority::create("pool-1").unwrap();
    let error = joining_channel(&house.address, other.ca_sha256()).await.unwrap_err();
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));
    // The right hash on an agent's door: not a master.
    let agents = House::open_as(Identity::Agent(AgentId::new("a1").unwrap())).await;
    assert!(joining_channel(&agents.address, agents.ca.ca_sha256()).await.is_err());
    house.still_serves().await;
}

#[tokio::test]
async fn strangers_are_refused_from_both_sides() {
    let house = House::open().await;
    let other = Authority::create("pool-1").unwrap();
    let theirs = other.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap();
    // They do not trust us.
    let error = channel(&house.address, PeerRole::Master, &theirs).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }));
    assert!(error.to_string().contains(&house.address), "{error}");
    assert!(error.reason().contains("not of this cluster"), "{}", error.reason());
    assert!(error.is_distrust());
    // They say they do, but we would not trust them: that is told before anything is sent.
    let sly = Credentials { ca_pem: house.ca.ca_pem().to_owned(), ..theirs.clone() };
    let error = channel(&house.address, PeerRole::Master, &sly).await.unwrap_err();
    assert!(matches!(error, ConnectError::Foreign { .. }), "{error:?}");
    assert!(error.to_string().contains("cert.pem") && error.to_string().contains("ca.pem"), "{error}");
    // Who does not look at its own certificate is refused all the same.
    let page = scrape(&house, Some(&theirs)).await;
    assert!(page.is_err(), "{page:?}");
    house.still_serves().await;
}

#[tokio::test]
async fn a_server_of_another_role_is_refused() {
    let agents = House::open_as(Identity::Agent(AgentId::new("a1").unwrap())).await;
    let error = channel(&agents.address, PeerRole::Master, &agents.ada()).await.unwrap_err();
    assert!(chain(&error).contains("not valid for name"), "{}", chain(&error));
    assert!(channel(&agents.address, PeerRole::Agent, &agents.ada()).await.is_ok());
}

#[tokio::test]
async fn who_does_not_speak_tls_is_let_go() {
    let house = House::open().await;
    for words in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0; 4096], &[0xff; 4096]]
    {
        let mut stream = TcpStream::connect(&house.address).await.unwrap();
        stream.write_all(words).await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset; either ends it.
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open");
    }
    // One that says nothing at all, and one that goes away in the middle, hold nobody up.
    let _silent = TcpStream::connect(&house.address).await.unwrap();
    drop(TcpStream::connect(&house.address).await.unwrap());
    house.still_serves().await;
}

#[tokio::test]
async fn bad_addresses_are_named() {
    let ca = Authority::create("pool-1").unwrap();
    let ada = ca.issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap();
    for bad in
        ["", "host", "host:", "host:99999", "https://host:1", "user@host:1", "host:1/path", ":1", "h\n:1"]
    {
        let error = channel_lazy(bad, PeerRole::Master, &ada).unwrap_err();
        assert!(matches!(error, ConnectError::Address { .. }), "{bad:?}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = channel(&nobody, PeerRole::Master, &ada).await.unwrap_err();
    assert!(error.reason().contains("refused"), "{}", error.reason());
}

/// Sends any bytes at all.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining()).to_vec()))
    }
}

async fn send_raw(house: &House, bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    let channel = channel(&house.address, PeerRole::Master, &house.ada()).await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = "/stoa.v1.operator.Operator/Ask".parse().unwrap();
    client.unary(Request::new(bytes), path, Raw).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_message_of_100_mb_is_refused_and_the_server_goes_on() {
    let house = House::open().await;
    let refused = send_raw(&house, vec![0; 100_000_000]).await.unwrap_err();
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
    house.still_serves().await;
}

#[tokio::test]
async fn a_malformed_message_is_answered_with_the_field() {
    let house = House::open().await;
    assert!(send_raw(&house, Call::Status.encode()).await.is_ok());
    let empty = send_raw(&house, Vec::new()).await.unwrap_err();
    assert_eq!((empty.code(), empty.message().contains("kind")), (Code::InvalidArgument, true), "{empty:?}");
    let noise = send_raw(&house, vec![0xff; 100]).await.unwrap_err();
    assert_eq!(noise.code(), Code::InvalidArgument);
    let quota = proto_wire::operator::SetQuota { role: "no such role/".into(), quota: None };
    let kind = proto_wire::operator::call::Kind::SetQuota(quota);
    let bytes = prost::Message::encode_to_vec(&proto_wire::operator::Call { kind: Some(kind) });
    let bad = send_raw(&house, bytes).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    assert!(bad.message().starts_with("set_quota.role"), "{bad:?}");
}

#[tokio::test]
async fn metrics_are_for_those_who_show_a_certificate() {
    let house = House::open().await;
    for who in [Identity::User("ada".into()), Identity::Master(MasterId(1))] {
        let shown = house.ca.issue(&who, LEAF_VALIDITY).unwrap();
        assert!(scrape(&house, Some(&shown)).await.unwrap().ends_with("answer 42\n"));
    }
    let read = async |who| {
        let shown = house.ca.issue(&who, LEAF_VALIDITY).unwrap();
        read_metrics(&house.address, PeerRole::Master, &Dialer::new(&shown)?).await
    };
    assert_eq!(read(Identity::User("ada".into())).await.unwrap(), "answer 42\n");
    let refused = read(Identity::Framework("jobs".into())).await;
    assert!(
        matches!(&refused, Err(PageError::Refused { status, .. }) if status.as_u16() == 403),
        "{refused:?}"
    );
    let refused = scrape(&house, None).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("42\n"), "{refused}");
    for who in [Identity::Agent(AgentId::new("a1").unwrap()), Identity::Framework("jobs".into())] {
        let shown = house.ca.issue(&who, LEAF_VALIDITY).unwrap();
        let refused = scrape(&house, Some(&shown)).await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("42\n"), "{refused}");
        assert!(refused.contains("may not read metrics"), "{refused}");
    }
}

async fn scrape(house: &House, shown: Option<&Credentials>) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ada().ca().unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        Some(shown) => {
            config.with_client_auth_cert(vec![shown.certificate().unwrap()], shown.key().unwrap()).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(&house.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("master.stoa").unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut tls = connector.connect(name, stream).await.unwrap();
    tls.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut page = String::new();
    tls.read_to_string(&mut page).await?;
    Ok(page)
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_endless_streams() {
    let house = House::open().await;
    let channel = channel(&house.address, PeerRole::Master, &house.ada()).await.unwrap();
    let mut watching = OperatorClient::new(channel).watch(Watch::default()).await.unwrap().into_inner();
    house.stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, house.serving).await.unwrap().unwrap().unwrap();
    // The stream is cut, not left hanging.
    assert!(tokio::time::timeout(PATIENCE, watching.message()).await.unwrap().is_err());
    assert!(TcpStream::connect(&house.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_idle_server_shuts_down() {
    let house = House::open().await;
    house.stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, house.serving).await.unwrap().unwrap().unwrap();
}
