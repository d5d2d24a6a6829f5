//! The messages of every conversation and of every format on disk: what is read is written back and read again as the same.
//!
//! An input is a field for each message: its number says of which kind the message is.

use std::fmt::Debug;

use proto::wire::Wire;

use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

type Trip = fn(&[u8]) -> Verdict;

/// What is read back must be what was read, and no longer than by what defaults cost.
fn trip<T: Wire + PartialEq + Debug>(bytes: &[u8]) -> Verdict {
    let Ok(value) = T::decode(bytes) else { return Ok(Taken::No) };
    let written = value.encode();
    let again =
        T::decode(&written).map_err(|bad| format!("what was written is refused: {bad}; {value:?}"))?;
    ensure(again == value, || format!("{value:?}\nis read back as\n{again:?}"))?;
    ensure(again.encode() == written, || format!("{value:?} is written in two ways"))?;
    Ok(Taken::Yes)
}

fn trips(trips: &[Trip], input: &[u8]) -> Verdict {
    let mut taken = Taken::No;
    for (number, message) in tree::messages(input) {
        let Some(trip) = trips.get((number as usize).wrapping_sub(1)) else { continue };
        if trip(message)? == Taken::Yes {
            taken = Taken::Yes;
        }
    }
    Ok(taken)
}

macro_rules! family {
    ($target:ident $kinds:ident $name:literal $about:literal: $($package:literal $ty:ty = $message:literal;)+) => {
        /// The names of its messages in the contracts, in the order of their numbers.
        pub const $kinds: &[(&str, &str)] = &[$(($package, $message)),+];
        pub(super) const $target: Target = Target::new($name, $about, Kind::Wire, |input| {
            const TRIPS: &[Trip] = &[$(trip::<$ty>),+];
            trips(TRIPS, input)
        });
    };
}

family! { SCHEDULER SCHEDULER_KINDS "scheduler" "what frameworks and masters say reads back as it was written":
    "scheduler" proto::scheduler::Call = "Call";
    "scheduler" proto::scheduler::Event = "Event";
}
family! { AGENT AGENT_KINDS "agent" "what agents and masters say reads back as it was written":
    "agent" proto::agent_link::ToMaster = "ToMaster";
    "agent" proto::agent_link::ToAgent = "ToAgent";
    "agent" proto::agent_link::LogsRequest = "LogsRequest";
    "agent" proto::agent_link::LogsChunk = "LogsChunk";
    "agent" proto::agent_link::ExecInput = "ExecInput";
    "agent" proto::agent_link::ExecOutput = "ExecOutput";
    "agent" proto::agent_link::SecretsRequest = "SecretsRequest";
    "agent" proto::agent_link::SecretsReply = "SecretsReply";
}
family! { OPERATOR OPERATOR_KINDS "operator" "what operators and masters say reads back as it was written":
    "operator" proto::operator::Call = "Call";
    "operator" proto::operator::Reply = "Reply";
    "operator" proto::operator::Watch = "Watch";
    "operator" proto::operator::Event = "Event";
    "operator" proto::operator::Join = "Join";
    "operator" proto::operator::Joined = "Joined";
}
family! { STORE STORE_KINDS "state" "what frameworks say of their state reads back as it was written":
    "store" proto::store::Call = "Call";
    "store" proto::store::Reply = "Reply";
    "store" proto::store::Watch = "Watch";
    "store" proto::store::WatchReply = "WatchReply";
}
family! { DISKS DISKS_KINDS "records" "what stands in logs and images reads back as it was written":
    "log" proto::log::Batch = "Batch";
    "log" proto::log::RegistryImage = "Registry";
    "store_log" proto::store_log::Batch = "Batch";
    "store_log" proto::store_log::StoreImage = "Image";
    "ledger" proto::ledger::Record = "Record";
}
family! { MASTERS MASTERS_KINDS "masters" "what masters say to each other and hand out reads back as it was written":
    "raft" proto::raft::Envelope = "Envelope";
    "raft" proto::raft::Delivered = "Delivered";
    "backup" proto::backup::Save = "Save";
    "backup" proto::backup::SavedBytes = "SavedBytes";
    "backup" proto::backup::Backup = "Backup";
}

/// The families, with the kinds of their messages.
pub const FAMILIES: &[(&str, &[(&str, &str)])] = &[
    ("scheduler", SCHEDULER_KINDS),
    ("agent", AGENT_KINDS),
    ("operator", OPERATOR_KINDS),
    ("state", STORE_KINDS),
    ("records", DISKS_KINDS),
    ("masters", MASTERS_KINDS),
];
