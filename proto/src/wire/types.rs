//! The shared nouns on the wire.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto_wire::v1 as w;

use super::{Malformed, Wire, custom_of};
use crate::agent::{AgentInfo, AgentState};
use crate::attributes::{AttributeValue, Attributes, Constraint, Constraints, Predicate};
use crate::check::{Check, CheckKind, CheckPort, Checks, CommandCheck, HttpCheck, TcpCheck};
use crate::demand::{DeclineReason, Demand, Filter};
use crate::framework::FrameworkInfo;
use crate::offer::Offer;
use crate::operation::{CreateVolume, DestroyVolume, Launch, LaunchGroup, Operation, Reserve, Unreserve};
use crate::quantities::{Quantities, Scalar};
use crate::quota::{Limits, Quota};
use crate::ranges::Ranges;
use crate::refusal::{Code, Refusal};
use crate::resources::{Amount, Portion, Resources};
use crate::roster::Masters;
use crate::secret::SecretFile;
use crate::task::{Artifact, CommandInfo, Exit, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus};
use crate::volume::Volume;

// === resources ===

impl Wire for Quantities {
    type Message = w::Quantities;
    fn to_wire(&self) -> w::Quantities {
        let [cpus_milli, mem_bytes, disk_bytes, gpus] = *self.fixed();
        w::Quantities { cpus_milli, mem_bytes, disk_bytes, gpus, custom_milli: custom_of(self) }
    }
    fn from_wire(m: w::Quantities) -> Result<Self, Malformed> {
        let mut all = Quantities::of(m.cpus_milli, m.mem_bytes).with_disk(m.disk_bytes);
        all.set(&Scalar::Gpus, m.gpus);
        for (name, amount) in m.custom_milli {
            check_name("custom_milli", &name)?;
            match Scalar::named(&name) {
                scalar @ Scalar::Custom(_) => all.set(&scalar, amount),
                Scalar::Cpus | Scalar::Mem | Scalar::Disk | Scalar::Gpus => {
                    return Err(Malformed::at(
                        "custom_milli",
                        format!("names {name}, which has a field of its own"),
                    ));
                }
            }
        }
        Ok(all)
    }
}

fn check_name(path: &str, name: &str) -> Result<(), Malformed> {
    if crate::attributes::is_name(name) {
        return Ok(());
    }
    Err(Malformed::at(path, format!("names {name:?}; use up to 64 letters, digits, - _ . and /")))
}

impl Wire for Amount {
    type Message = w::Amount;
    fn to_wire(&self) -> w::Amount {
        let ranges = self.ranges().iter().map(|(name, ranges)| w::NamedRanges {
            name: name.to_string(),
            ranges: ranges
                .pairs()
                .iter()
                .map(|(first, last)| w::Range { first: *first, last: *last })
                .collect(),
        });
        let sets = self.sets().iter().map(|(name, items)| w::NamedSet {
            name: name.to_string(),
            items: items.iter().cloned().collect(),
        });
        w::Amount { scalars: Some(self.scalars.to_wire()), ranges: ranges.collect(), sets: sets.collect() }
    }
    fn from_wire(m: w::Amount) -> Result<Self, Malformed> {
        let scalars =
            m.scalars.map(Quantities::from_wire).transpose().map_err(|bad| bad.within("scalars"))?;
        let mut amount = Amount::scalars(scalars.unwrap_or_default());
        for named in m.ranges {
            check_name("ranges.name", &named.name)?;
            if let Some(bad) = named.ranges.iter().find(|range| range.first > range.last) {
                let why = format!("has first {} above last {}", bad.first, bad.last);
                return Err(Malformed::at("ranges.ranges", why));
            }
            let ranges = Ranges::from_pairs(named.ranges.iter().map(|range| (range.first, range.last)));
            amount.set_range(&named.name, ranges);
        }
        for named in m.sets {
            check_name("sets.name", &named.name)?;
            amount.set_set(&named.name, BTreeSet::from_iter(named.items));
        }
        Ok(amount)
    }
}

message!(Portion = w::Portion { optp reservation: reservation, optp volume: volume, req amount: amount });

impl Wire for Resources {
    type Message = w::Resources;
    fn to_wire(&self) -> w::Resources {
        w::Resources { portions: self.portions().iter().map(Wire::to_wire).collect() }
    }
    fn from_wire(m: w::Resources) -> Result<Self, Malformed> {
        let portions: Vec<Portion> = field_from!(rep m.portions, "portions");
        let mut all = Resources::EMPTY;
        portions.iter().for_each(|portion| all.add_portion(portion));
        Ok(all)
    }
}

impl Wire for Limits {
    type Message = w::Limits;
    fn to_wire(&self) -> w::Limits {
        w::Limits { by_name: field_to!(plain * self) }
    }
    fn from_wire(m: w::Limits) -> Result<Self, Malformed> {
        m.by_name.keys().try_for_each(|name| check_name("by_name", name))?;
        Ok(field_from!(plain m.by_name, "by_name"))
    }
}

message!(Quota = w::Quota { req guarantees: guarantees, req limits: limits });

// === agents ===

oneof!(AttributeValue = w::attribute_value::Kind { text Text: Text, text Scalar: ScalarMilli });
only_oneof! { AttributeValue = w::AttributeValue; }

impl Wire for Attributes {
    type Message = w::Attributes;
    fn to_wire(&self) -> w::Attributes {
        let by_name = self.0.iter().map(|(name, value)| (name.clone(), value.to_wire()));
        w::Attributes { by_name: by_name.collect() }
    }
    fn from_wire(m: w::Attributes) -> Result<Self, Malformed> {
        let mut all = Attributes::default();
        for (name, value) in m.by_name {
            check_name("by_name", &name)?;
            let value = AttributeValue::from_wire(value).map_err(|bad| bad.within("by_name"))?;
            all.0.insert(name, value);
        }
        Ok(all)
    }
}

impl Wire for Constraint {
    type Message = w::Constraint;
    fn to_wire(&self) -> w::Constraint {
        use w::constraint::Predicate as P;
        let words = |words: &Vec<String>| w::Words { words: words.clone() };
        let predicate = match &self.predicate {
            Predicate::Exists => P::Exists(w::Empty {}),
            Predicate::NotExists => P::NotExists(w::Empty {}),
            Predicate::In(list) => P::In(words(list)),
            Predicate::NotIn(list) => P::NotIn(words(list)),
            Predicate::AtLeast(milli) => P::AtLeastMilli(*milli),
            Predicate::AtMost(milli) => P::AtMostMilli(*milli),
        };
        w::Constraint { attribute: self.attribute.clone(), predicate: Some(predicate) }
    }
    fn from_wire(m: w::Constraint) -> Result<Self, Malformed> {
        use w::constraint::Predicate as P;
        check_name("attribute", &m.attribute)?;
        let predicate = match m.predicate {
            Some(P::Exists(_)) => Predicate::Exists,
            Some(P::NotExists(_)) => Predicate::NotExists,
            Some(P::In(list)) => Predicate::In(list.words),
            Some(P::NotIn(list)) => Predicate::NotIn(list.words),
            Some(P::AtLeastMilli(milli)) => Predicate::AtLeast(milli),
            Some(P::AtMostMilli(milli)) => Predicate::AtMost(milli),
            None => return Err(Malformed::at("predicate", "is not set, or is newer than this version")),
        };
        Ok(Constraint { attribute: m.attribute, predicate })
    }
}

message!(AgentInfo = w::AgentInfo {
    plain id: id,
    plain hostname: hostname,
    plain address: address,
    req resources: resources,
    req attributes: attributes,
    plain version: version,
});

numbered!(
    AgentState = w::AgentState {
        Active: AgentActive,
        Disconnected: AgentDisconnected,
        Unreachable: AgentUnreachable,
        Gone: AgentGone,
    }
);

impl Wire for Arc<AgentInfo> {
    type Message = w::AgentInfo;
    fn to_wire(&self) -> w::AgentInfo {
        (**self).to_wire()
    }
    fn from_wire(m: w::AgentInfo) -> Result<Self, Malformed> {
        AgentInfo::from_wire(m).map(Arc::new)
    }
}

impl Wire for Arc<TaskInfo> {
    type Message = w::TaskInfo;
    fn to_wire(&self) -> w::TaskInfo {
        (**self).to_wire()
    }
    fn from_wire(m: w::TaskInfo) -> Result<Self, Malformed> {
        TaskInfo::from_wire(m).map(Arc::new)
    }
}

// === frameworks ===

message!(FrameworkInfo = w::FrameworkInfo {
    plain name: name,
    repp roles: roles,
    plain failover_timeout: failover_timeout_ms,
    plain address: address,
    plain labels: labels,
});

impl Wire for Demand {
    type Message = w::Demand;
    fn to_wire(&self) -> w::Demand {
        w::Demand {
            id: self.id.to_string(),
            role: self.role.to_string(),
            shape: Some(self.shape.to_wire()),
            count: self.count,
            constraints: self.constraints.0.iter().map(Wire::to_wire).collect(),
            priority: self.priority,
        }
    }
    fn from_wire(m: w::Demand) -> Result<Self, Malformed> {
        Ok(Demand {
            id: field_from!(plain m.id, "id"),
            role: field_from!(plain m.role, "role"),
            shape: field_from!(req m.shape, "shape"),
            count: m.count,
            constraints: Constraints(field_from!(rep m.constraints, "constraints")),
            priority: m.priority,
        })
    }
}

message!(Filter = w::Filter { plain refuse: refuse_ms });

numbered!(
    DeclineReason = w::DeclineReason {
        Unused: Unused,
        TooSmall: TooSmall,
        Constraints: Constraints,
        EnoughHere: EnoughHere,
        BackOff: BackOff,
    }
);

message!(Offer = w::Offer {
    plain id: id,
    req agent: agent,
    plain role: role,
    req resources: resources,
    plain expires_in: expires_in_ms,
    optp demand: demand,
});

// === tasks ===

message!(Artifact = w::Artifact {
    plain uri: uri,
    plain sha256: sha256,
    plain executable: executable,
    plain name: name,
});

message!(CommandInfo = w::CommandInfo {
    plain argv: argv,
    plain shell: shell,
    plain env: env,
    plain user: user,
    rep artifacts: artifacts,
    rep secrets: secrets,
});

message!(SecretFile = w::SecretFile { plain name: name, plain file: file });

oneof!(CheckPort = w::check_port::Kind { text Number: Number, text Index: Index });
only_oneof! { CheckPort = w::CheckPort; }

message!(CommandCheck = w::CommandCheck { plain argv: argv, plain shell: shell });
message!(HttpCheck = w::HttpCheck { plain path: path, req port: port, plain https: https });
message!(TcpCheck = w::TcpCheck { req port: port });

oneof!(CheckKind = w::check::Kind { msg Command: Command, msg Http: Http, msg Tcp: Tcp });

message!(Check = w::Check {
    one kind: kind,
    plain delay: delay_ms,
    plain interval: interval_ms,
    plain timeout: timeout_ms,
    plain grace: grace_ms,
    plain failures: failures,
});

message!(Checks = w::Checks { opt health: health, opt readiness: readiness });

message!(TaskInfo = w::TaskInfo {
    plain id: id,
    plain name: name,
    req command: command,
    req resources: resources,
    plain kill_grace: kill_grace_ms,
    plain labels: labels,
    optp group: group,
    some checks: checks,
    optp longest_run: longest_run_ms,
});

numbered!(
    TaskState = w::TaskState {
        Staging: TaskStaging,
        Starting: TaskStarting,
        Running: TaskRunning,
        Killing: TaskKilling,
        Finished: TaskFinished,
        Failed: TaskFailed,
        Killed: TaskKilled,
        Error: TaskError,
        Lost: TaskLost,
        Dropped: TaskDropped,
        Unreachable: TaskUnreachable,
        Gone: TaskGone,
        GoneByOperator: TaskGoneByOperator,
        Unknown: TaskUnknown,
    }
);

message!(Masters = w::Masters { plain addresses: addresses });

numbered!(
    StatusReason = w::StatusReason {
        None: Unspecified,
        CommandExited: ReasonCommandExited,
        LaunchFailed: ReasonLaunchFailed,
        FetchFailed: ReasonFetchFailed,
        LimitMemory: ReasonLimitMemory,
        KillRequested: ReasonKillRequested,
        KilledDuringLaunch: ReasonKilledDuringLaunch,
        GroupEnded: ReasonGroupEnded,
        FrameworkRemoved: ReasonFrameworkRemoved,
        InvalidOffers: ReasonInvalidOffers,
        TaskInvalid: ReasonTaskInvalid,
        TaskUnauthorized: ReasonTaskUnauthorized,
        AgentDisconnected: ReasonAgentDisconnected,
        AgentUnreachable: ReasonAgentUnreachable,
        AgentReregistered: ReasonAgentReregistered,
        AgentGone: ReasonAgentGone,
        AgentRebooted: ReasonAgentRebooted,
        KeeperLost: ReasonKeeperLost,
        Reconciliation: ReasonReconciliation,
        TaskUnknown: ReasonTaskUnknown,
        AgentDraining: ReasonAgentDraining,
        QuotaExceeded: ReasonQuotaExceeded,
        TimeLimit: ReasonTimeLimit,
        Unhealthy: ReasonUnhealthy,
        CheckChanged: ReasonCheckChanged,
        SecretUnknown: ReasonSecretUnknown,
        SecretFailed: ReasonSecretFailed,
        AgentDiskFull: ReasonAgentDiskFull,
    }
);

numbered!(StatusSource = w::StatusSource { Master: SourceMaster, Agent: SourceAgent });

oneof!(Exit = w::exit::How { text Code: Code, text Signal: Signal });

impl Wire for Exit {
    type Message = w::Exit;
    fn to_wire(&self) -> w::Exit {
        w::Exit { how: field_to!(one * self) }
    }
    fn from_wire(m: w::Exit) -> Result<Self, Malformed> {
        Ok(field_from!(one m.how, "how"))
    }
}

message!(TaskStatus = w::TaskStatus {
    plain task: task_id,
    plain state: state,
    plain reason: reason,
    plain source: source,
    plain message: message,
    plain at_ms: at_ms,
    optp agent: agent_id,
    plain run: run_id,
    plain sequence: sequence,
    opt exit: exit,
    plain pid: pid,
    optp healthy: healthy,
    optp ready: ready,
    optp grace: grace_ms,
});

// === operations ===

message!(Launch = w::Launch { rep tasks: tasks });
message!(LaunchGroup = w::LaunchGroup { plain group: group_id, rep tasks: tasks });
message!(Reserve = w::Reserve { plain role: role, req amount: amount });
message!(Unreserve = w::Unreserve { plain role: role, req amount: amount });
message!(Volume = w::Volume { plain role: role, plain id: volume_id, plain birth: birth });
message!(CreateVolume = w::CreateVolume { plain role: role, plain volume: volume_id, plain disk_bytes: disk_bytes });
message!(DestroyVolume = w::DestroyVolume { plain role: role, plain volume: volume_id });

oneof!(Operation = w::operation::Kind {
    msg Launch: Launch,
    msg LaunchGroup: LaunchGroup,
    msg Reserve: Reserve,
    msg Unreserve: Unreserve,
    msg CreateVolume: CreateVolume,
    msg DestroyVolume: DestroyVolume,
});
only_oneof! { Operation = w::Operation; }

// === refusals ===

impl Wire for Refusal {
    type Message = w::Refusal;
    fn to_wire(&self) -> w::Refusal {
        w::Refusal {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            help: self.help.clone(),
        }
    }
    fn from_wire(m: w::Refusal) -> Result<Self, Malformed> {
        let code = Code::parse(&m.code).ok_or_else(|| {
            Malformed::at("code", format!("is {:?}, which this version does not know", m.code))
        })?;
        Ok(Refusal { code, message: m.message, help: m.help })
    }
}
