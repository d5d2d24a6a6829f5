//! A leader that slept: what it says when it wakes up is not what was so before others took its place.

use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::operator::Operator;
use framework_sdk::views::{
    Call, EventsAfter, List, RemoveSecret, Reply, ReplyKind, SetRights, SetSecret, SetWeight,
};
use proto::caller::Caller;
use proto::id::SecretName;
use proto::refusal::Code;
use proto::rights::{Rights, RolePattern};
use proto::role::{Role, Weight};
use proto::secret::Confidential;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::{PeerRole, channel};

use super::cluster::{Cluster, eventually};

const ROUNDS: u32 = 4;
/// A stopped process answers nothing for so long, and what is asked of it has reached it by then.
const SILENCE: Duration = Duration::from_millis(300);

fn role() -> Role {
    Role::new("slept").unwrap()
}

fn principal() -> Caller {
    Caller::Framework("slept".to_owned())
}

/// Everything that is read, of a registry in which everything was set to this number.
fn reads() -> Vec<Call> {
    vec![
        Call::Roles(List { called: vec!["slept".to_owned()], ..List::default() }),
        Call::Secrets,
        Call::Principals,
        Call::Events(EventsAfter { since: None, wait: Duration::ZERO, at_most: 1 }),
    ]
}

async fn set_all(operator: &Operator, number: u32) {
    let weight = Weight::from_milli(number).unwrap();
    let name = SecretName::new("slept").unwrap();
    let rights = Rights { roles: vec![RolePattern::One(Role::new(&number.to_string()).unwrap())] };
    let orders = [
        Call::SetWeight(SetWeight { role: role(), weight }),
        Call::SetSecret(SetSecret { role: role(), name, value: Confidential::new(vec![1; number as usize]) }),
        Call::SetRights(SetRights { principal: principal(), rights: Some(rights) }),
    ];
    for order in orders {
        let reply = operator.ask(order).await.unwrap();
        assert!(matches!(reply.kind, ReplyKind::Done(_)), "{reply:?}");
    }
}

/// The number that a read tells, if it says that it is as of now.
fn told(reply: Reply) -> Option<u64> {
    if !reply.from_leader {
        return None;
    }
    match reply.kind {
        ReplyKind::Roles(roles) => roles.first().map(|view| u64::from(view.weight.milli())),
        ReplyKind::Secrets(secrets) => {
            secrets.iter().find(|view| view.name.as_str() == "slept").map(|view| view.size_bytes)
        }
        ReplyKind::Principals(all) => {
            let view = all.into_iter().find(|view| view.principal == principal())?;
            match view.rights.roles.first() {
                Some(RolePattern::One(role)) => role.as_str().parse().ok(),
                _ => None,
            }
        }
        _ => None,
    }
}

#[test]
fn a_leader_that_slept_tells_nothing_old_as_if_it_still_led() {
    let cluster = Cluster::up("slept", &["--no-jobs"]);
    let profile = Profile::load(&cluster.context()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let operator = Operator::new(&profile);
        set_all(&operator, 100).await;
        for round in 1..=ROUNDS {
            let (id, pid) = cluster.leader();
            let ReplyKind::Raft(raft) = operator.ask(Call::Raft).await.unwrap().kind else {
                panic!("masters")
            };
            let address = raft.members.iter().find(|member| member.id.0 == id).unwrap().address.clone();
            let way = channel(&address, PeerRole::Master, &profile.credentials).await.unwrap();
            let old = OperatorClient::new(way);
            let ask = |read: Call| {
                let mut old = old.clone();
                async move { old.ask(read).await.ok().map(|reply| reply.into_inner()) }
            };
            let mut before = None;
            for read in reads() {
                before = newest(&ask(read).await.expect("the way is open"));
            }
            signal(pid, "-STOP");
            // Others take its place, and things change.
            let masters = profile.masters.iter().filter(|master| **master != address).cloned().collect();
            let others = Operator::new(&Profile { masters, ..profile.clone() });
            set_all(&others, 100 + round).await;
            let fresh = SecretName::new(&format!("fresh-{round}")).unwrap();
            let set = SetSecret { role: role(), name: fresh.clone(), value: Confidential::new(vec![1]) };
            others.ask(Call::SetSecret(set)).await.unwrap();
            // Asked now, and answered when it wakes up.
            let asked = (0..8).flat_map(|_| reads());
            let mut asked: Vec<_> = asked.map(|read| (read.clone(), tokio::spawn(ask(read)))).collect();
            let remove = tokio::spawn(ask(Call::RemoveSecret(RemoveSecret { role: role(), name: fresh })));
            let silent = tokio::time::timeout(SILENCE, &mut asked[0].1).await;
            assert!(silent.is_err(), "it sleeps");
            signal(pid, "-CONT");
            for (read, answer) in asked {
                let Some(reply) = answer.await.unwrap() else { continue };
                let after = newest(&reply);
                assert!(after.is_none() || after > before, "{read:?} was told of nothing since: {after:?}");
                if let Some(number) = told(reply) {
                    assert_eq!(number, u64::from(100 + round), "{read:?} was told what was so before");
                }
            }
            if let Some(reply) = remove.await.unwrap()
                && let ReplyKind::Refused(refusal) = reply.kind
            {
                assert_ne!(refusal.code, Code::NotFound, "it is there: {refusal}");
            }
            eventually("it follows", Duration::from_secs(20), || {
                (cluster.stoa(&["status"]).code == 0).then_some(())
            });
        }
    });
    cluster.down_leaves_nothing();
}

/// The number of the last event, if the leader told it.
fn newest(reply: &Reply) -> Option<u64> {
    match &reply.kind {
        ReplyKind::Events(events) if reply.from_leader => Some(events.newest),
        _ => None,
    }
}

fn signal(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
