//! The masters' log and its snapshot on disk.

use std::sync::Arc;

use proto_wire::log as w;

use crate::log::{
    Accepted, AcceptedPart, AgentDrained, AgentOperated, AgentRecord, Batch, Entry, FrameworkDisconnected,
    FrameworkRecord, FrameworkRegistered, KillWanted, MastersChanged, OperationRecord, QuotaSet,
    RegistryImage, Restored, RightsSet, RoleRecord, SecretRecord, SecretRemoved, SecretSet, TaskAdopted,
    TaskEnded, TaskRecord, TokenCreated, VolumeRecord, VolumesForgotten, WeightSet,
};
use crate::wire::{Malformed, OneOf, Plain, Wire};

message!(FrameworkRegistered = w::FrameworkRegistered {
    plain id: framework_id,
    req info: framework,
    plain principal: principal,
    plain fence: fence,
});
message!(FrameworkDisconnected = w::FrameworkDisconnected {
    plain framework: framework_id,
    plain deadline_ms: deadline_ms,
});
message!(AcceptedPart = w::AcceptedPart { plain agent: agent_id, plain role: role, rep operations: operations });
message!(Accepted = w::Accepted {
    plain framework: framework_id,
    plain operation: operation_id,
    rep parts: parts,
});
message!(TaskEnded = w::TaskEnded { plain framework: framework_id, req status: status });
message!(KillWanted = w::KillWanted { plain framework: framework_id, plain task: task_id, plain grace: grace_ms });
message!(TaskAdopted = w::TaskAdopted {
    plain framework: framework_id,
    plain agent: agent_id,
    req task: task,
    req status: status,
});
message!(QuotaSet = w::QuotaSet { plain role: role, req quota: quota });
message!(WeightSet = w::WeightSet { plain role: role, plain weight: weight_milli });
message!(TokenCreated = w::TokenCreated {
    plain id: token_id,
    plain secret_sha256: secret_sha256,
    plain kind: kind,
    plain expires_ms: expires_ms,
    plain uses: uses,
    plain name: name,
    opt rights: rights,
});
message!(AgentDrained = w::AgentDrained { plain agent: agent_id, req drain: drain });
message!(AgentOperated = w::AgentOperated { plain agent: agent_id, rep operations: operations, plain by: by });
message!(SecretSet = w::SecretSet {
    plain role: role,
    plain name: name,
    plain nonce: nonce,
    plain ciphertext: ciphertext,
    plain size_bytes: size_bytes,
    plain by: by,
});
message!(SecretRemoved = w::SecretRemoved { plain role: role, plain name: name, plain by: by });
message!(MastersChanged = w::MastersChanged { req roster: roster, plain on: on, plain by: by, plain what: what });
message!(RightsSet = w::RightsSet { plain principal: principal, opt rights: rights });

message!(VolumesForgotten = w::VolumesForgotten { plain agent: agent_id, rep volumes: volumes });

impl OneOf<w::entry::Kind> for Entry {
    fn to_oneof(&self) -> w::entry::Kind {
        use w::entry::Kind as K;
        match self {
            Entry::AgentAdmitted(info) => K::AgentAdmitted(w::AgentAdmitted { agent: Some(info.to_wire()) }),
            Entry::AgentUnreachable(id) => {
                K::AgentUnreachable(w::AgentUnreachable { agent_id: id.to_plain() })
            }
            Entry::AgentGone(id) => K::AgentGone(w::AgentGone { agent_id: id.to_plain() }),
            Entry::FrameworkRegistered(inner) => K::FrameworkRegistered(inner.to_wire()),
            Entry::FrameworkDisconnected(inner) => K::FrameworkDisconnected(inner.to_wire()),
            Entry::FrameworkReconnected(id) => {
                K::FrameworkReconnected(w::FrameworkReconnected { framework_id: id.to_plain() })
            }
            Entry::FrameworkRemoved(id) => {
                K::FrameworkRemoved(w::FrameworkRemoved { framework_id: id.to_plain() })
            }
            Entry::Accepted(inner) => K::Accepted(inner.to_wire()),
            Entry::TaskEnded(inner) => K::TaskEnded(inner.to_wire()),
            Entry::KillWanted(inner) => K::KillWanted(inner.to_wire()),
            Entry::TaskAdopted(inner) => K::TaskAdopted(inner.to_wire()),
            Entry::QuotaSet(inner) => K::QuotaSet(inner.to_wire()),
            Entry::WeightSet(inner) => K::WeightSet(inner.to_wire()),
            Entry::TokenCreated(inner) => K::TokenCreated(inner.to_wire()),
            Entry::TokenUsed(id) => K::TokenUsed(w::TokenUsed { token_id: id.clone() }),
            Entry::VolumesForgotten(inner) => K::VolumesForgotten(inner.to_wire()),
            Entry::RightsSet(inner) => K::RightsSet(inner.to_wire()),
            Entry::AgentDrained(inner) => K::AgentDrained(inner.to_wire()),
            Entry::AgentOperated(inner) => K::AgentOperated(inner.to_wire()),
            Entry::SecretSet(inner) => K::SecretSet(inner.to_wire()),
            Entry::SecretRemoved(inner) => K::SecretRemoved(inner.to_wire()),
            Entry::MastersChanged(inner) => K::MastersChanged(inner.to_wire()),
            Entry::MastersSettled(version) => K::MastersSettled(w::MastersSettled { version: *version }),
            Entry::AgentResumed(id) => K::AgentResumed(w::AgentResumed { agent_id: id.to_plain() }),
        }
    }
    fn from_oneof(kind: w::entry::Kind) -> Result<Self, Malformed> {
        use w::entry::Kind as K;
        Ok(match kind {
            K::AgentAdmitted(m) => Entry::AgentAdmitted(field_from!(req m.agent, "agent_admitted.agent")),
            K::AgentUnreachable(m) => {
                Entry::AgentUnreachable(field_from!(plain m.agent_id, "agent_unreachable.agent_id"))
            }
            K::AgentGone(m) => Entry::AgentGone(field_from!(plain m.agent_id, "agent_gone.agent_id")),
            K::FrameworkRegistered(m) => Entry::FrameworkRegistered(Wire::from_wire(m)?),
            K::FrameworkDisconnected(m) => Entry::FrameworkDisconnected(Wire::from_wire(m)?),
            K::FrameworkReconnected(m) => Entry::FrameworkReconnected(
                field_from!(plain m.framework_id, "framework_reconnected.framework_id"),
            ),
            K::FrameworkRemoved(m) => {
                Entry::FrameworkRemoved(field_from!(plain m.framework_id, "framework_removed.framework_id"))
            }
            K::Accepted(m) => Entry::Accepted(Wire::from_wire(m)?),
            K::TaskEnded(m) => Entry::TaskEnded(Wire::from_wire(m)?),
            K::KillWanted(m) => Entry::KillWanted(Wire::from_wire(m)?),
            K::TaskAdopted(m) => Entry::TaskAdopted(Wire::from_wire(m)?),
            K::QuotaSet(m) => Entry::QuotaSet(Wire::from_wire(m)?),
            K::WeightSet(m) => Entry::WeightSet(Wire::from_wire(m)?),
            K::TokenCreated(m) => Entry::TokenCreated(Wire::from_wire(m)?),
            K::TokenUsed(m) => Entry::TokenUsed(m.token_id),
            K::VolumesForgotten(m) => Entry::VolumesForgotten(Wire::from_wire(m)?),
            K::RightsSet(m) => Entry::RightsSet(Wire::from_wire(m)?),
            K::AgentDrained(m) => Entry::AgentDrained(Wire::from_wire(m)?),
            K::AgentOperated(m) => Entry::AgentOperated(Wire::from_wire(m)?),
            K::SecretSet(m) => Entry::SecretSet(Wire::from_wire(m)?),
            K::SecretRemoved(m) => Entry::SecretRemoved(Wire::from_wire(m)?),
            K::MastersChanged(m) => Entry::MastersChanged(Wire::from_wire(m)?),
            K::MastersSettled(m) => Entry::MastersSettled(m.version),
            K::AgentResumed(m) => {
                Entry::AgentResumed(field_from!(plain m.agent_id, "agent_resumed.agent_id"))
            }
        })
    }
}
only_oneof! { Entry = w::Entry; }

message!(Batch = w::Batch { plain at_ms: at_ms, rep entries: entries });

message!(VolumeRecord = w::VolumeRecord { req volume: volume, plain disk_bytes: disk_bytes });
message!(AgentRecord = w::AgentRecord {
    req info: info,
    plain state: state,
    req total: total,
    plain since_ms: since_ms,
    rep volumes: volumes,
    rep destroyed: destroyed,
    plain last_birth: last_birth,
    opt drain: drain,
});
message!(OperationRecord = w::OperationRecord { plain operation: operation_id, plain index: index });
message!(FrameworkRecord = w::FrameworkRecord {
    plain id: id,
    req info: info,
    plain principal: principal,
    plain deadline_ms: deadline_ms,
    plain since_ms: since_ms,
    rep operations: operations,
    plain fence: fence,
});
message!(TaskRecord = w::TaskRecord {
    plain framework: framework_id,
    plain agent: agent_id,
    plain role: role,
    req info: info,
    req status: status,
    plain accepted_ms: accepted_ms,
    optp kill_grace: kill_grace_ms,
});
message!(RoleRecord = w::RoleRecord { plain role: role, plain weight: weight_milli, req quota: quota });
message!(SecretRecord = w::SecretRecord {
    plain role: role,
    plain name: name,
    plain version: version,
    plain nonce: nonce,
    plain ciphertext: ciphertext,
    plain size_bytes: size_bytes,
    plain changed_ms: changed_ms,
});
impl Wire for Arc<SecretRecord> {
    type Message = w::SecretRecord;
    fn to_wire(&self) -> w::SecretRecord {
        self.as_ref().to_wire()
    }
    fn from_wire(message: w::SecretRecord) -> Result<Self, Malformed> {
        SecretRecord::from_wire(message).map(Arc::new)
    }
}
message!(RegistryImage = w::Registry {
    plain format: format,
    rep agents: agents,
    rep frameworks: frameworks,
    rep tasks: tasks,
    rep ended: ended,
    rep roles: roles,
    rep tokens: tokens,
    rep removed_frameworks: removed_frameworks,
    rep rights: rights,
    rep history: history,
    rep secrets: secrets,
    opt restored: restored,
    opt roster: roster,
});
message!(Restored = w::Restored { plain known_index: known_index, plain index: index, plain at_ms: at_ms });
