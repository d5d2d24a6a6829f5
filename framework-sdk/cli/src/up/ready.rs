//! When the cluster is ready: a leader, every agent, and the jobs framework.

use std::time::{Duration, Instant};

use proto::caller::Caller;
use proto::operator::{AgentView, Call, List, ReplyKind, SetRights};
use proto::rights::Rights;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_pki::PeerRole;

use super::layout::{JOBS, Layout};
use super::{UpArgs, UpError};

/// How often to look: the whole start takes about a second.
const LOOK: Duration = Duration::from_millis(25);

pub(super) async fn wait(layout: &Layout, args: &UpArgs, limit: Duration) -> Result<(), UpError> {
    let begun = Instant::now();
    let mut granted = args.no_jobs;
    loop {
        if !granted {
            granted = grant(layout).await;
        }
        let missing = match missing(layout, args).await {
            None if !granted => "the jobs framework has no rights yet".to_owned(),
            None => return Ok(()),
            Some(missing) => missing,
        };
        if begun.elapsed() >= limit {
            return Err(UpError::NotReady { waited_s: limit.as_secs(), missing, logs: layout.logs() });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The agents, as the first master that answers knows them; none when nobody answers.
pub(super) async fn agents(layout: &Layout) -> Vec<AgentView> {
    for address in &layout.masters {
        let channel = proto_grpc::channel(&address.to_string(), PeerRole::Master, &layout.operator).await;
        let Ok(channel) = channel else { continue };
        let Ok(reply) = OperatorClient::new(channel).ask(Call::Agents(List::default())).await else {
            continue;
        };
        if let ReplyKind::Agents(agents) = reply.into_inner().kind {
            return agents;
        }
    }
    Vec::new()
}

/// The jobs framework runs what people ask of it, in whatever role they name: it may take offers in all of them, unless
/// somebody has said otherwise of it since. True once the leader knows.
async fn grant(layout: &Layout) -> bool {
    let jobs = Caller::Framework(JOBS.to_owned());
    for address in &layout.masters {
        let channel = proto_grpc::channel(&address.to_string(), PeerRole::Master, &layout.operator).await;
        let Ok(channel) = channel else { continue };
        let mut client = OperatorClient::new(channel);
        let Ok(reply) = client.ask(Call::Principals).await.map(|reply| reply.into_inner()) else { continue };
        let known = match reply.kind {
            ReplyKind::Principals(known) if reply.from_leader => known,
            _ => continue,
        };
        if known.iter().any(|view| view.principal == jobs) {
            return true;
        }
        let set = Call::SetRights(SetRights { principal: jobs.clone(), rights: Some(Rights::all()) });
        let Ok(reply) = client.ask(set).await else { continue };
        return matches!(reply.into_inner().kind, ReplyKind::Done(_));
    }
    false
}

/// What is still missing, as the leader sees it; `None` when nothing is.
async fn missing(layout: &Layout, args: &UpArgs) -> Option<String> {
    for address in &layout.masters {
        let channel = proto_grpc::channel(&address.to_string(), PeerRole::Master, &layout.operator).await;
        let Ok(channel) = channel else { continue };
        let mut client = OperatorClient::new(channel);
        let Ok(reply) = client.ask(Call::Status).await else { continue };
        let ReplyKind::Status(status) = reply.into_inner().kind else { continue };
        if status.agents_active < u64::from(args.agents) {
            return Some(format!("{} of {} agents are there", status.agents_active, args.agents));
        }
        if args.no_jobs {
            return None;
        }
        let Ok(reply) = client.ask(Call::Frameworks(List::default())).await else { continue };
        let ReplyKind::Frameworks(frameworks) = reply.into_inner().kind else { continue };
        if frameworks.iter().any(|framework| framework.connected && !framework.info.address.is_empty()) {
            return None;
        }
        return Some("the jobs framework is not there".to_owned());
    }
    Some("no master leads".to_owned())
}
