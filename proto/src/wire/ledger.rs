//! The agent's ledger on disk.

use proto_wire::ledger as w;

use crate::id::Epoch;
use crate::ledger::{Acknowledged, Forgotten, KillTaken, Reached, Record, RunTaken, Started};
use crate::wire::{Malformed, Wire};

message!(RunTaken = w::RunTaken {
    plain run: run_id,
    plain framework: framework_id,
    req task: task,
    plain principal: principal,
    rep volumes: volumes,
});
message!(Reached = w::Reached { plain framework: framework_id, req status: status });
message!(Acknowledged = w::Acknowledged { plain run: run_id, plain sequence: sequence });
message!(KillTaken = w::KillTaken { plain run: run_id, plain grace: grace_ms, plain reason: reason, plain message: message });
message!(Started = w::Started { plain run: run_id, plain at_ms: at_ms });
message!(Forgotten = w::Forgotten { plain run: run_id });

impl Wire for Epoch {
    type Message = w::EpochSeen;
    fn to_wire(&self) -> w::EpochSeen {
        w::EpochSeen { epoch: self.0 }
    }
    fn from_wire(m: w::EpochSeen) -> Result<Self, Malformed> {
        Ok(Epoch(m.epoch))
    }
}

oneof!(Record = w::record::Kind {
    msg RunTaken: RunTaken,
    msg Reached: Reached,
    msg Acknowledged: Acknowledged,
    msg KillTaken: KillTaken,
    msg Forgotten: Forgotten,
    msg EpochSeen: EpochSeen,
    msg Started: Started,
});
only_oneof! { Record = w::Record; }
