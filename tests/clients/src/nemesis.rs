//! The nemesis: kills and stops masters while clients call, the ones that lead before all others, and lets them come back.

use std::fmt;
use std::time::{Duration, Instant};

use framework_sdk::views::MemberView;
use proto::operator::{Call as Order, ReplyKind};
use proto::store::{Call, CallKind, LeaseLook, ReplyKind as Said};
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::services::store::store_client::StoreClient;
use proto_grpc::{Dialer, PeerRole};
use rustix::process::Signal;

use crate::cluster::{Cluster, eventually, signal};
use crate::run::Run;

/// How long anything may take that is waited for here.
const LIMIT: Duration = Duration::from_secs(120);
/// How long one master is asked who leads.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// So many calls are answered by others before a stopped master goes on: what it knows is old by then.
const BEHIND: u64 = 4_000;

/// What happens to the masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The one that leads the group of the frameworks' state is killed.
    KillStoreLeader,
    /// The one that leads the registry's.
    KillRegistryLeader,
    /// One that leads neither, if there is one.
    KillFollower,
    /// The leader of the state is stopped until another one leads, and then goes on.
    StopStoreLeader,
    /// The same of the registry.
    StopRegistryLeader,
    /// One that leads neither is stopped for a while.
    StopFollower,
    /// The leader of the state and another one are killed: there is no majority.
    KillTwo,
    /// All are killed.
    KillAll,
}

/// The order in which they come, over and over.
const ROUND: [Fault; 9] = [
    Fault::KillStoreLeader,
    Fault::StopRegistryLeader,
    Fault::KillRegistryLeader,
    Fault::StopStoreLeader,
    Fault::KillFollower,
    Fault::KillStoreLeader,
    Fault::KillTwo,
    Fault::StopFollower,
    Fault::KillAll,
];

/// A fault that happened.
pub struct Happened {
    /// What.
    pub fault: Fault,
    /// To so many masters.
    pub masters: usize,
    /// All masters were there again after this.
    pub healed: Duration,
}

impl Fault {
    /// Whether it ends processes.
    pub fn kills(self) -> bool {
        match self {
            Fault::KillStoreLeader
            | Fault::KillRegistryLeader
            | Fault::KillFollower
            | Fault::KillTwo
            | Fault::KillAll => true,
            Fault::StopStoreLeader | Fault::StopRegistryLeader | Fault::StopFollower => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::KillStoreLeader => "kill the leader of the store",
            Fault::KillRegistryLeader => "kill the leader of the registry",
            Fault::KillFollower => "kill one that leads nothing",
            Fault::StopStoreLeader => "stop the leader of the store until another one leads",
            Fault::StopRegistryLeader => "stop the leader of the registry until another one leads",
            Fault::StopFollower => "stop one that leads nothing",
            Fault::KillTwo => "kill the leader of the store and another one",
            Fault::KillAll => "kill all",
        })
    }
}

/// Lets faults happen, evenly over the calls of a run; each when the one before it is healed.
pub async fn plague(run: &Run, cluster: &Cluster, count: u64) -> Result<Vec<Happened>, String> {
    let dialer = Dialer::new(&cluster.profile().credentials).map_err(|error| error.to_string())?;
    let mut happened = Vec::new();
    let mut gone = Vec::new();
    for (number, fault) in (0..count).zip(ROUND.iter().cycle()) {
        let members = cluster.whole_group(LIMIT, &gone).await?;
        let step = run.wanted() / (count + 1);
        let due = (step * (number + 1)).max(run.answered() + step / 4);
        eventually("clients go on", LIMIT, async || (run.answered() >= due).then_some(())).await?;
        let (after, begun) = (run.answered(), Instant::now());
        let chosen = choose(&dialer, *fault, &members).await?;
        if fault.kills() {
            for member in &chosen {
                signal(member.pid, Signal::KILL)?;
            }
            gone = chosen.iter().map(|member| member.pid).collect();
        } else {
            gone = Vec::new();
            pause(run, &dialer, *fault, &members, &chosen).await?;
        }
        cluster.whole_group(LIMIT, &gone).await?;
        let healed = begun.elapsed();
        println!("after {after} answers: {fault}; all are there {} ms later", healed.as_millis());
        happened.push(Happened { fault: *fault, masters: chosen.len(), healed });
    }
    Ok(happened)
}

/// Whom a fault is about.
async fn choose(dialer: &Dialer, fault: Fault, members: &[MemberView]) -> Result<Vec<MemberView>, String> {
    let store = leader(dialer, members, Group::Store, &[]).await?;
    let registry = leader(dialer, members, Group::Registry, &[]).await?;
    let named = |address: &str| members.iter().filter(|member| member.address == address).cloned().collect();
    let neither = members.iter().find(|member| member.address != store && member.address != registry);
    // Of three masters two lead at most.
    let neither = neither.map(|member| member.address.clone()).unwrap_or_default();
    Ok(match fault {
        Fault::KillStoreLeader | Fault::StopStoreLeader => named(&store),
        Fault::KillRegistryLeader | Fault::StopRegistryLeader => named(&registry),
        Fault::KillFollower | Fault::StopFollower => named(&neither),
        Fault::KillTwo => members
            .iter()
            .filter(|member| member.address == store || member.address == neither)
            .cloned()
            .collect(),
        Fault::KillAll => members.to_vec(),
    })
}

/// Stops masters, until others have taken their place and clients have gone on with them.
async fn pause(
    run: &Run,
    dialer: &Dialer,
    fault: Fault,
    members: &[MemberView],
    chosen: &[MemberView],
) -> Result<(), String> {
    let stopped: Vec<&str> = chosen.iter().map(|member| member.address.as_str()).collect();
    for member in chosen {
        signal(member.pid, Signal::STOP)?;
    }
    let replaced = async {
        for group in [Group::Store, Group::Registry] {
            leader(dialer, members, group, &stopped).await?;
        }
        let enough = run.answered() + BEHIND;
        eventually("clients go on without it", LIMIT, async || (run.answered() >= enough).then_some(())).await
    };
    let ended = replaced.await;
    // Whatever went wrong: a stopped process must not be left behind.
    for member in chosen {
        signal(member.pid, Signal::CONT)?;
    }
    ended.map_err(|why| format!("{fault}: {why}"))
}

#[derive(Clone, Copy, Debug)]
enum Group {
    Store,
    Registry,
}

/// Who leads a group, by the word of those that are not stopped, and is not one of the stopped.
async fn leader(
    dialer: &Dialer,
    members: &[MemberView],
    group: Group,
    stopped: &[&str],
) -> Result<String, String> {
    let asked: Vec<&str> = members.iter().map(|member| member.address.as_str()).collect();
    let asked: Vec<&str> = asked.into_iter().filter(|address| !stopped.contains(address)).collect();
    let what = format!("a leader of {group:?}");
    eventually(&what, LIMIT, async || {
        for address in &asked {
            let said = tokio::time::timeout(ASK_LIMIT, ask(dialer, group, address)).await.ok().flatten();
            if let Some(leader) =
                said.filter(|leader| !leader.is_empty() && !stopped.contains(&leader.as_str()))
            {
                return Some(leader);
            }
        }
        None
    })
    .await
}

/// Who leads a group, by the word of one master.
async fn ask(dialer: &Dialer, group: Group, address: &str) -> Option<String> {
    let channel = dialer.channel(address, PeerRole::Master).await.ok()?;
    match group {
        Group::Store => {
            // Only the leader answers that, and there is no such lease.
            let kind = CallKind::LeaseLook(LeaseLook { id: u64::MAX, keys: false });
            let call = Call { space: "nemesis".to_owned(), epoch: None, kind };
            match StoreClient::new(channel).ask(call).await.ok()?.into_inner().kind {
                Said::Redirect(leader) => Some(leader),
                Said::Refused(refusal) if refusal.code == proto::refusal::Code::NotFound => {
                    Some(address.to_owned())
                }
                _ => None,
            }
        }
        Group::Registry => {
            let reply = OperatorClient::new(channel).ask(Order::RaftHere).await.ok()?.into_inner();
            let ReplyKind::Raft(raft) = reply.kind else { return None };
            raft.members.into_iter().find(|member| member.leader).map(|member| member.address)
        }
    }
}
