//! The operators' conversation on the wire.

use std::sync::Arc;

use proto_wire::operator as w;
use proto_wire::v1::Empty;

use crate::explain::{Explanation, FunnelStep, NearMiss, Remedy, RemedyStep, Waiting, WaitingGroup};
use crate::operator::{
    AgentView, AuditCall, AuditLines, AuditPlace, AuditRead, AuditSeal, Call, CanI, CancelMasters,
    ChangeMasters, CreateToken, DemandRef, Drain, DrainAgent, Event, EventKind, Events, EventsAfter, Explain,
    FrameworkView, Happened, Join, Joined, KillTask, List, MarkAgentGone, MemberView, OfferEnd, OfferEnded,
    OfferView, OperateAgent, PrincipalView, Raft, RemoveSecret, Reply, ReplyKind, ResumeAgent, RoleView,
    SecretView, SetQuota, SetRights, SetSecret, SetWeight, Snapshot, Status, Supposed, TaskRef, TaskView,
    TeardownFramework, Token, TokenKind, TransferLead, Verdict, Watch,
};
use crate::rights::Rights;
use crate::roster::{Master, Roster, Standing};
use crate::wire::{Malformed, OneOf, Plain, Wire};

message!(Drain = w::Drain {
    plain since_ms: since_ms,
    plain deadline_ms: deadline_ms,
    plain reason: reason,
    plain by: by,
});
message!(AgentView = w::AgentView {
    req info: info,
    plain state: state,
    req total: total,
    req used: used,
    req offered: offered,
    plain tasks: tasks,
    plain since_ms: since_ms,
    opt drain: drain,
});
message!(FrameworkView = w::FrameworkView {
    plain id: id,
    req info: info,
    plain principal: principal,
    plain connected: connected,
    req used: used,
    req offered: offered,
    plain tasks: tasks,
    plain since_ms: since_ms,
    repp suppressed_roles: suppressed_roles,
});
message!(TaskView = w::TaskView {
    plain framework: framework_id,
    plain framework_name: framework_name,
    req info: info,
    plain agent: agent_id,
    plain hostname: hostname,
    req status: status,
    plain role: role,
    plain accepted_ms: accepted_ms,
});
message!(OfferView = w::OfferView {
    plain id: id,
    plain framework: framework_id,
    plain framework_name: framework_name,
    plain agent: agent_id,
    plain hostname: hostname,
    plain role: role,
    req resources: resources,
    plain made_ms: made_ms,
});
message!(RoleView = w::RoleView {
    plain role: role,
    plain weight: weight_milli,
    req quota: quota,
    req used: used,
    req offered: offered,
    req reserved: reserved,
    plain frameworks: frameworks,
});
message!(SecretView = w::SecretView {
    plain role: role,
    plain name: name,
    plain version: version,
    plain size_bytes: size_bytes,
    plain changed_ms: changed_ms,
});
message!(MemberView = w::MemberView {
    plain id: id,
    plain address: address,
    plain pid: pid,
    plain leader: leader,
    plain alive: alive,
    plain matched: matched,
    plain standing: standing,
});
numbered!(Standing = w::Standing { Votes: Votes, Joins: Joins, Leaves: Leaves });
message!(Master = w::Master { plain id: id, plain address: address, plain standing: standing });
message!(Roster = w::Roster { plain version: version, rep masters: masters, repp retired: retired });
message!(ChangeMasters = w::ChangeMasters { rep add: add, repp remove: remove });
message!(TransferLead = w::TransferLead { plain to: to });
impl Wire for CancelMasters {
    type Message = w::CancelMasters;
    fn to_wire(&self) -> w::CancelMasters {
        w::CancelMasters {}
    }
    fn from_wire(_: w::CancelMasters) -> Result<Self, Malformed> {
        Ok(CancelMasters)
    }
}

message!(List = w::List {
    plain framework: framework_id,
    plain agent: agent_id,
    plain ended: ended,
    plain stale: stale,
    plain called: called,
});
message!(TaskRef = w::TaskRef { plain framework: framework, plain task: task_id });
message!(DemandRef = w::DemandRef { plain framework: framework, plain demand: demand_id });
message!(Supposed = w::Supposed { plain framework: framework, rep demands: demands });
message!(KillTask = w::KillTask { plain framework: framework_id, plain task: task_id, optp grace: grace_ms });
message!(SetQuota = w::SetQuota { plain role: role, req quota: quota });
message!(SetWeight = w::SetWeight { plain role: role, plain weight: weight_milli });
message!(TeardownFramework = w::TeardownFramework { plain framework: framework_id });
message!(MarkAgentGone = w::MarkAgentGone { plain agent: agent_id });
numbered!(
    TokenKind =
        w::TokenKind { Agent: TokenAgent, Framework: TokenFramework, Master: TokenMaster, User: TokenUser }
);
message!(CreateToken = w::CreateToken {
    plain kind: kind,
    plain ttl: ttl_ms,
    plain uses: uses,
    plain name: name,
    opt rights: rights,
});
message!(EventsAfter = w::EventsAfter { optp since: since, plain wait: wait_ms, plain at_most: at_most });
message!(Rights = w::Rights { repp roles: roles });
message!(DrainAgent = w::DrainAgent { plain agent: agent_id, optp within: within_ms, plain reason: reason });
message!(ResumeAgent = w::ResumeAgent { plain agent: agent_id });
message!(OperateAgent = w::OperateAgent { plain agent: agent_id, rep operations: operations });
message!(SetSecret = w::SetSecret { plain role: role, plain name: name, plain value: value });
message!(RemoveSecret = w::RemoveSecret { plain role: role, plain name: name });
message!(SetRights = w::SetRights { plain principal: principal, opt rights: rights });
message!(CanI = w::CanI {
    plain verb: verb,
    plain role: role,
    plain user: user,
    plain owner: owner,
    plain principal: principal,
});

message!(AuditPlace = w::AuditPlace { plain segment: segment, plain offset: offset });
message!(AuditRead = w::AuditRead {
    opt from: from,
    plain last: last,
    plain wait: wait_ms,
    plain principal: principal,
    plain denied: denied,
});
message!(AuditSeal = w::AuditSeal { plain master: master_id, plain head: head });
message!(AuditLines = w::AuditLines { plain master: master_id, plain lines: lines, req next: next, plain more: more });
oneof!(AuditCall = w::audit_call::Kind { msg Read: Read, msg Seal: Seal });
only_oneof! { AuditCall = w::AuditCall; }

impl Wire for Explain {
    type Message = w::Explain;
    fn to_wire(&self) -> w::Explain {
        let what = match self {
            Explain::Framework(name) => w::explain::What::Framework(name.clone()),
            Explain::Task(task) => w::explain::What::Task(task.to_wire()),
            Explain::Demand(demand) => w::explain::What::Demand(demand.to_wire()),
            Explain::Role(role) => w::explain::What::Role(role.to_plain()),
            Explain::Agent(name) => w::explain::What::Agent(name.clone()),
            Explain::Summary => w::explain::What::Summary(Empty {}),
            Explain::Supposed(supposed) => w::explain::What::Supposed(supposed.to_wire()),
        };
        w::Explain { what: Some(what) }
    }
    fn from_wire(m: w::Explain) -> Result<Self, Malformed> {
        match m.what {
            Some(w::explain::What::Framework(name)) => Ok(Explain::Framework(name)),
            Some(w::explain::What::Task(task)) => Ok(Explain::Task(Wire::from_wire(task)?)),
            Some(w::explain::What::Demand(demand)) => Ok(Explain::Demand(Wire::from_wire(demand)?)),
            Some(w::explain::What::Role(role)) => {
                Ok(Explain::Role(Plain::from_plain(role).map_err(|why| Malformed::at("role", why))?))
            }
            Some(w::explain::What::Agent(name)) => Ok(Explain::Agent(name)),
            Some(w::explain::What::Summary(Empty {})) => Ok(Explain::Summary),
            Some(w::explain::What::Supposed(supposed)) => Ok(Explain::Supposed(Wire::from_wire(supposed)?)),
            None => Err(Malformed::at(
                "what",
                "is not set; name a framework, a task, a demand, a role or an agent, or ask for the summary",
            )),
        }
    }
}

oneof!(Call = w::call::Kind {
    unit Status: Status,
    unit Raft: Raft,
    msg Agents: Agents,
    msg Frameworks: Frameworks,
    msg Tasks: Tasks,
    msg Offers: Offers,
    msg Roles: Roles,
    msg Explain: Explain,
    msg KillTask: KillTask,
    msg SetQuota: SetQuota,
    msg SetWeight: SetWeight,
    msg TeardownFramework: TeardownFramework,
    msg MarkAgentGone: MarkAgentGone,
    msg CreateToken: CreateToken,
    unit StatusHere: StatusHere,
    unit RaftHere: RaftHere,
    boxed DryRun: DryRun,
    unit WhoAmI: WhoAmI,
    msg CanI: CanI,
    unit Principals: Principals,
    msg SetRights: SetRights,
    msg DrainAgent: DrainAgent,
    msg ResumeAgent: ResumeAgent,
    msg Events: Events,
    msg OperateAgent: OperateAgent,
    unit Secrets: Secrets,
    msg SetSecret: SetSecret,
    msg RemoveSecret: RemoveSecret,
    msg ChangeMasters: ChangeMasters,
    msg CancelMasters: CancelMasters,
    msg TransferLead: TransferLead,
    msg Audit: Audit,
});
only_oneof! { Call = w::Call; }

message!(Status = w::StatusReply {
    plain masters: masters,
    plain masters_alive: masters_alive,
    plain agents_active: agents_active,
    plain agents_lost: agents_lost,
    plain frameworks_connected: frameworks_connected,
    plain frameworks_disconnected: frameworks_disconnected,
    plain tasks_running: tasks_running,
    req total: total,
    req used: used,
});
message!(Raft = w::RaftReply {
    rep members: members,
    plain term: term,
    plain applied: applied,
    plain next_id: next_id,
    plain change: change,
});
message!(FunnelStep = w::FunnelStep {
    plain name: name,
    plain left: left,
    plain fell_out: fell_out,
    plain more: more,
    plain names: names,
});
message!(RemedyStep = w::RemedyStep {
    plain kind: kind,
    plain change: change,
    plain command: command,
    plain agent: agent_id,
    plain framework: framework_id,
    plain task: task_id,
    plain role: role,
    req amount: amount,
    plain weight_milli: weight_milli,
});
message!(Remedy = w::Remedy { rep steps: steps, plain helps: helps, plain outcome: outcome, plain code: code });
message!(NearMiss = w::NearMiss {
    plain agent: agent_id,
    plain hostname: hostname,
    req lacking: lacking,
    plain rule: rule,
});
message!(Explanation = w::Explanation {
    plain subject: subject,
    plain code: code,
    plain verdict: verdict,
    rep funnel: funnel,
    rep nearest: nearest,
    plain help: help,
    rep tried: tried,
    plain untried: untried,
    plain notes: notes,
    plain waiting_ms: waiting_ms,
    plain fits: fits,
});
message!(WaitingGroup = w::WaitingGroup {
    plain code: code,
    plain demands: demands,
    plain units: units,
    plain frameworks: frameworks,
    plain oldest_ms: oldest_ms,
    plain framework: framework,
    plain role: role,
    plain example: example,
    plain verdict: verdict,
});
message!(Waiting = w::WaitingReply {
    plain demands: demands,
    plain units: units,
    plain oldest_ms: oldest_ms,
    rep groups: groups,
    plain worst_framework: worst_framework,
    plain worst_role: worst_role,
    opt best: best,
    plain best_demands: best_demands,
    plain best_units: best_units,
    plain tried: tried,
    plain unexamined: unexamined,
    plain undeclared: undeclared,
    plain notes: notes,
});
message!(Happened = w::Happened {
    plain sequence: sequence,
    plain at_ms: at_ms,
    plain index: index,
    plain kind: kind,
    plain agent: agent_id,
    plain framework: framework_id,
    plain task: task_id,
    plain subject: subject,
    plain message: message,
});
impl Wire for Arc<Happened> {
    type Message = w::Happened;
    fn to_wire(&self) -> w::Happened {
        self.as_ref().to_wire()
    }
    fn from_wire(message: w::Happened) -> Result<Self, Malformed> {
        Happened::from_wire(message).map(Arc::new)
    }
}
message!(Events = w::EventList { rep events: events, plain oldest: oldest, plain newest: newest });
message!(PrincipalView = w::PrincipalView {
    plain principal: principal,
    req rights: rights,
    plain set: set,
    plain may: may,
});
message!(Verdict = w::Verdict { plain allowed: allowed, plain principal: principal, plain why: why, plain help: help });
message!(Token = w::TokenReply { plain token: token, plain expires_ms: expires_ms });

fn all<T: Wire>(items: &[T]) -> Vec<T::Message> {
    items.iter().map(Wire::to_wire).collect()
}

impl OneOf<w::reply::Kind> for ReplyKind {
    fn to_oneof(&self) -> w::reply::Kind {
        use w::reply::Kind as K;
        match self {
            ReplyKind::Status(inner) => K::Status(inner.to_wire()),
            ReplyKind::Raft(inner) => K::Raft(inner.to_wire()),
            ReplyKind::Agents(items) => K::Agents(w::AgentList { agents: all(items) }),
            ReplyKind::Frameworks(items) => K::Frameworks(w::FrameworkList { frameworks: all(items) }),
            ReplyKind::Tasks(items) => K::Tasks(w::TaskList { tasks: all(items) }),
            ReplyKind::Offers(items) => K::Offers(w::OfferList { offers: all(items) }),
            ReplyKind::Roles(items) => K::Roles(w::RoleList { roles: all(items) }),
            ReplyKind::Explain(items) => K::Explain(w::ExplainReply { explanations: all(items) }),
            ReplyKind::Done(index) => K::Done(w::Done { index: *index }),
            ReplyKind::Token(inner) => K::Token(inner.to_wire()),
            ReplyKind::Refused(refusal) => K::Refused(refusal.to_wire()),
            ReplyKind::Redirect(address) => K::Redirect(address.clone()),
            ReplyKind::Principal(inner) => K::Principal(inner.to_wire()),
            ReplyKind::Principals(items) => K::Principals(w::PrincipalList { principals: all(items) }),
            ReplyKind::Verdict(inner) => K::Verdict(inner.to_wire()),
            ReplyKind::Events(inner) => K::Events(inner.to_wire()),
            ReplyKind::Waiting(inner) => K::Waiting(inner.to_wire()),
            ReplyKind::Secrets(items) => K::Secrets(w::SecretList { secrets: all(items) }),
            ReplyKind::Audit(inner) => K::Audit(inner.to_wire()),
        }
    }
    fn from_oneof(kind: w::reply::Kind) -> Result<Self, Malformed> {
        use w::reply::Kind as K;
        Ok(match kind {
            K::Status(m) => ReplyKind::Status(Wire::from_wire(m)?),
            K::Raft(m) => ReplyKind::Raft(Wire::from_wire(m)?),
            K::Agents(m) => ReplyKind::Agents(field_from!(rep m.agents, "agents")),
            K::Frameworks(m) => ReplyKind::Frameworks(field_from!(rep m.frameworks, "frameworks")),
            K::Tasks(m) => ReplyKind::Tasks(field_from!(rep m.tasks, "tasks")),
            K::Offers(m) => ReplyKind::Offers(field_from!(rep m.offers, "offers")),
            K::Roles(m) => ReplyKind::Roles(field_from!(rep m.roles, "roles")),
            K::Explain(m) => ReplyKind::Explain(field_from!(rep m.explanations, "explanations")),
            K::Done(m) => ReplyKind::Done(m.index),
            K::Token(m) => ReplyKind::Token(Wire::from_wire(m)?),
            K::Refused(m) => ReplyKind::Refused(Wire::from_wire(m)?),
            K::Redirect(address) => ReplyKind::Redirect(address),
            K::Principal(m) => ReplyKind::Principal(Wire::from_wire(m)?),
            K::Principals(m) => ReplyKind::Principals(field_from!(rep m.principals, "principals")),
            K::Verdict(m) => ReplyKind::Verdict(Wire::from_wire(m)?),
            K::Events(m) => ReplyKind::Events(Wire::from_wire(m)?),
            K::Waiting(m) => ReplyKind::Waiting(Wire::from_wire(m)?),
            K::Secrets(m) => ReplyKind::Secrets(field_from!(rep m.secrets, "secrets")),
            K::Audit(m) => ReplyKind::Audit(Wire::from_wire(m)?),
        })
    }
}
message!(Reply = w::Reply { plain as_of: as_of, plain from_leader: from_leader, one kind: kind });

message!(Watch = w::Watch { plain epoch: epoch, plain sequence: sequence });
message!(Snapshot = w::Snapshot {
    rep agents: agents,
    rep frameworks: frameworks,
    rep tasks: tasks,
    rep offers: offers,
    rep roles: roles,
});
numbered!(
    OfferEnd = w::OfferEnd {
        Accepted: OfferAccepted,
        Declined: OfferDeclined,
        Rescinded: OfferRescinded,
        Expired: OfferExpired,
    }
);
message!(OfferEnded = w::OfferEnded { plain offer: offer_id, plain how: how });
oneof!(EventKind = w::event::Kind {
    msg Snapshot: Snapshot,
    msg AgentChanged: AgentChanged,
    msg FrameworkChanged: FrameworkChanged,
    text FrameworkRemoved: FrameworkRemoved,
    msg TaskChanged: TaskChanged,
    msg OfferMade: OfferMade,
    msg OfferEnded: OfferEnded,
    msg RoleChanged: RoleChanged,
});
message!(Event = w::Event { plain epoch: epoch, plain sequence: sequence, one kind: kind });

message!(Join = w::Join { plain token: token, plain csr_pem: csr_pem, plain name: name });
message!(Joined = w::Joined {
    plain certificate_pem: certificate_pem,
    plain ca_pem: ca_pem,
    plain masters: masters,
    plain authority_key_pem: authority_key_pem,
    opt roster: roster,
});

/// Nothing to say, where a conversation needs a type for it.
impl Wire for () {
    type Message = Empty;
    fn to_wire(&self) -> Empty {
        Empty {}
    }
    fn from_wire(_: Empty) -> Result<Self, Malformed> {
        Ok(())
    }
}
