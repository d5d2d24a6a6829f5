//! Tells the other masters how this one's audit log stands: what they have written down cannot be cut off here any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::id::MasterId;
use proto::operator::{AuditCall, AuditSeal, Call, ReplyKind};
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_grpc::{PeerRole, channel};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::Channel;

use super::{Audit, Synced, lock};
use crate::peers::Own;

/// So often, if something was written meanwhile. The end of a log that is younger can be cut off and nobody knows.
const EVERY: Duration = Duration::from_secs(5);
/// How long another master may take to write it down.
const LIMIT: Duration = Duration::from_secs(5);

/// Until it is dropped.
pub(crate) async fn keep_sealed(audit: Arc<Audit>, own: Own) {
    let mut doors: BTreeMap<MasterId, OperatorClient<Channel>> = BTreeMap::new();
    let mut told: BTreeMap<MasterId, u64> = BTreeMap::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Synced { head, own: written } = *lock(&audit.shared.synced);
        if head.sequence == 0 {
            continue;
        }
        let call = Call::Audit(AuditCall::Seal(AuditSeal { master: own.id, head: head.to_string() }));
        let members = own.book.roster().addresses();
        doors.retain(|id, _| members.contains_key(id));
        for (id, address) in members.iter().filter(|(id, _)| **id != own.id) {
            if told.get(id) == Some(&written) {
                continue;
            }
            let door = doors.remove(id);
            let seen = timeout(LIMIT, tell(door, address, &own, call.clone())).await;
            // One that is down is told the next time.
            if let Ok(Some(door)) = seen {
                doors.insert(*id, door);
                told.insert(*id, written);
            }
        }
    }
}

/// The door, if it was written down.
async fn tell(
    door: Option<OperatorClient<Channel>>,
    address: &str,
    own: &Own,
    call: Call,
) -> Option<OperatorClient<Channel>> {
    let mut door = match door {
        Some(door) => door,
        None => OperatorClient::new(channel(address, PeerRole::Master, &own.shown.now()).await.ok()?),
    };
    match door.ask(call).await.ok()?.into_inner().kind {
        ReplyKind::Done(_) => Some(door),
        _ => None,
    }
}
