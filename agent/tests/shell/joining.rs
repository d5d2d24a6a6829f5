//! The first start with a join token: a key made here, a certificate from the master, and an id for life.

use std::sync::Arc;

use agent::Config;
use proto::id::AgentId;
use proto::operator::{Call, Event, Join, Joined, Reply, Watch};
use proto_grpc::services::operator::operator_server::{Operator, OperatorServer};
use proto_pki::{Authority, Credentials, Identity, JoinToken, LEAF_VALIDITY};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::master::Master;
use super::node::Node;

struct Registrar(Arc<Authority>, JoinToken);

#[tonic::async_trait]
impl Operator for Registrar {
    async fn ask(&self, _: Request<Call>) -> Result<Response<Reply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type ListStream = ReceiverStream<Result<Reply, Status>>;
    async fn list(&self, _: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("list"))
    }

    type WatchStream = ReceiverStream<Result<Event, Status>>;
    async fn watch(&self, _: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn join(&self, request: Request<Join>) -> Result<Response<Joined>, Status> {
        let join = request.into_inner();
        if join.token != self.1.to_string() {
            return Err(Status::permission_denied("the token is used up"));
        }
        let id = AgentId::new(&join.name).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let certificate_pem = self.0.sign(&join.csr_pem, &Identity::Agent(id), LEAF_VALIDITY).unwrap();
        let masters = vec!["127.0.0.1:9".to_owned()];
        let (ca_pem, authority_key_pem) = (self.0.ca_pem().to_owned(), String::new());
        Ok(Response::new(Joined { certificate_pem, ca_pem, masters, authority_key_pem, roster: None }))
    }
}

#[tokio::test]
async fn a_token_makes_an_agent_of_a_stranger() {
    let node = Node::new();
    let ca = Arc::new(Authority::from_pem(node.ca.ca_pem(), node.ca.key_pem()).unwrap());
    let token = JoinToken::generate(ca.ca_sha256()).unwrap();
    let registrar = OperatorServer::new(Registrar(ca, token.clone()));
    let mut master = Master::open(&node.ca, 1, Routes::new(registrar)).await;
    let credentials_dir = node.dir().join("joined");
    let config = |join: Option<String>| Config {
        credentials_dir: credentials_dir.clone(),
        join,
        ..node.config(&[&master.address])
    };

    let without = agent::start(config(None), String::new).await.err().expect("no credentials").to_string();
    assert!(without.contains("stoa token create --kind agent"), "{without}");
    let used = JoinToken::generate(node.ca.ca_sha256()).unwrap().to_string();
    let refused = agent::start(config(Some(used)), String::new).await.err().expect("refused").to_string();
    assert!(refused.contains("used up"), "{refused}");
    let other = Authority::create("other").unwrap();
    let foreign = JoinToken::generate(other.ca_sha256()).unwrap().to_string();
    assert!(agent::start(config(Some(foreign)), String::new).await.is_err(), "another cluster's master");

    let (with, again) = (config(Some(token.to_string())), config(None));
    let running = agent::start(with, String::new).await.unwrap();
    let id = running.id().clone();
    let (session, register) = master.admit().await;
    assert_eq!((session.agent, register.agent.id), (Identity::Agent(id.clone()), id.clone()));
    assert_eq!(
        Credentials::load(&credentials_dir).unwrap().identity().unwrap().1,
        Identity::Agent(id.clone())
    );
    running.stop().await;
    let running = agent::start(again, String::new).await.unwrap();
    assert_eq!(running.id(), &id, "without the token from then on");
    running.stop().await;
}
