//! The frameworks' conversation on the wire.

use proto_wire::scheduler as w;

use crate::scheduler::{
    Accept, AcceptPart, Acknowledge, AgentDraining, AgentResumed, Answer, Call, CallKind, Decline, Event,
    EventKind, Failure, Fault, Kill, Offers, Outcome, Reconcile, Redirect, Rescind, RescindReason, Resume,
    Revive, Subscribe, Subscribed, Suppress, UpdateDemands, UpdateFramework,
};
use crate::wire::{Malformed, OneOf, Wire};

message!(Subscribe = w::Subscribe {
    req framework: framework,
    optp id: framework_id,
    opt resume: resume,
    repp suppressed_roles: suppressed_roles,
    opt demands: demands,
    plain fence: fence,
});
message!(Resume = w::Resume { plain epoch: epoch, plain sequence: sequence });
message!(AcceptPart = w::AcceptPart { repp offers: offer_ids, rep operations: operations });
message!(Accept = w::Accept { rep parts: parts, plain all_or_nothing: all_or_nothing, req filter: filter });
message!(Decline = w::Decline { repp offers: offer_ids, plain reason: reason, req filter: filter });
message!(Suppress = w::Suppress { repp roles: roles });
message!(Revive = w::Revive { repp roles: roles });
message!(UpdateDemands = w::UpdateDemands { rep demands: demands, plain demand_driven: demand_driven });
message!(Kill = w::Kill { plain task: task_id, optp grace: grace_ms });
message!(Acknowledge = w::Acknowledge { plain task: task_id, plain run: run_id, plain sequence: sequence });
message!(Reconcile = w::Reconcile { repp tasks: task_ids });
message!(UpdateFramework = w::UpdateFramework { req framework: framework });

oneof!(CallKind = w::call::Kind {
    msg Subscribe: Subscribe,
    msg Accept: Accept,
    msg Decline: Decline,
    msg Suppress: Suppress,
    msg Revive: Revive,
    msg UpdateDemands: UpdateDemands,
    msg Kill: Kill,
    msg Acknowledge: Acknowledge,
    msg Reconcile: Reconcile,
    msg UpdateFramework: UpdateFramework,
    unit Teardown: Teardown,
    unit Heartbeat: Heartbeat,
});
message!(Call = w::Call { plain operation: operation_id, one kind: kind });

message!(Subscribed = w::Subscribed {
    plain framework: framework_id,
    plain epoch: epoch,
    plain heartbeat_interval: heartbeat_interval_ms,
    plain resumed: resumed,
    rep tasks: tasks,
});
message!(Offers = w::Offers { rep offers: offers });
message!(Rescind = w::Rescind { plain offer: offer_id, plain reason: reason });
message!(Failure = w::Failure { plain agent: agent_id, plain state: state });
message!(AgentDraining = w::AgentDraining { plain agent: agent_id, plain deadline_ms: deadline_ms, plain reason: reason });
message!(AgentResumed = w::AgentResumed { plain agent: agent_id });
message!(Fault = w::Fault { req refusal: refusal });
message!(Redirect = w::Redirect { plain leader_address: leader_address });

numbered!(
    RescindReason = w::RescindReason {
        Expired: Expired,
        AgentLost: AgentLost,
        ResourcesChanged: ResourcesChanged,
        DemandChanged: DemandChanged,
        Operator: Operator,
    }
);

impl OneOf<w::answer::Outcome> for Outcome {
    fn to_oneof(&self) -> w::answer::Outcome {
        match self {
            Outcome::Committed(index) => w::answer::Outcome::Committed(w::Committed { index: *index }),
            Outcome::Refused(refusal) => w::answer::Outcome::Refused(Wire::to_wire(refusal)),
        }
    }
    fn from_oneof(kind: w::answer::Outcome) -> Result<Self, Malformed> {
        match kind {
            w::answer::Outcome::Committed(committed) => Ok(Outcome::Committed(committed.index)),
            w::answer::Outcome::Refused(refusal) => {
                Wire::from_wire(refusal).map(Outcome::Refused).map_err(|bad: Malformed| bad.within("refused"))
            }
        }
    }
}
message!(Answer = w::Answer { plain operation: operation_id, one outcome: outcome });

oneof!(EventKind = w::event::Kind {
    msg Subscribed: Subscribed,
    msg Offers: Offers,
    msg Rescind: Rescind,
    msg Update: Update,
    msg Answer: Answer,
    msg Failure: Failure,
    msg Fault: Fault,
    msg Redirect: Redirect,
    unit Heartbeat: Heartbeat,
    msg AgentDraining: AgentDraining,
    msg AgentResumed: AgentResumed,
    msg Masters: Masters,
});

impl Wire for Event {
    type Message = w::Event;
    fn to_wire(&self) -> w::Event {
        w::Event { sequence: self.sequence, kind: Some(OneOf::to_oneof(&self.kind)) }
    }
    fn from_wire(message: w::Event) -> Result<Self, Malformed> {
        // A kind of a later version: masters may be newer than frameworks, and whoever does not know of it needs it not.
        let kind = message.kind.map_or(Ok(EventKind::Heartbeat), OneOf::from_oneof)?;
        Ok(Event { sequence: message.sequence, kind })
    }
}
