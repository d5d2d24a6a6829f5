//! An operator says what an agent's resources are kept for: reserves, gives back, makes volumes and destroys them. What is
//! offered of them is taken back first; what tasks have is not taken.

use master_allocator::{Change, Transform};
use master_registry::{Effect, transformation};
use proto::agent::AgentState;
use proto::caller::Caller;
use proto::id::{AgentId, OfferId};
use proto::log::{AgentOperated, Entry};
use proto::operation::{CreateVolume, Operation};
use proto::operator::{OperateAgent, ReplyKind};
use proto::refusal::{Code, Refusal};
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto::scheduler::RescindReason;

use crate::batch::Pending;
use crate::desk::Desk;

/// Operations in one order.
const OPERATIONS_MAX: usize = 64;

/// An order that can be carried out as things stand: decided before anything is changed.
pub(crate) struct Plan {
    agent: AgentId,
    operations: Vec<Operation>,
    transforms: Vec<Transform>,
    /// Offers that hold some of it.
    rescinds: Vec<OfferId>,
}

// === impl Plan ===

impl Plan {
    /// What is to be in the log.
    pub fn entry(self, caller: &Caller) -> Entry {
        let Plan { agent, operations, .. } = self;
        Entry::AgentOperated(AgentOperated { agent, operations, by: caller.to_string() })
    }
}

/// The first half; changes nothing.
pub(crate) fn plan(d: &Desk<'_>, call: &OperateAgent) -> Result<Plan, Refusal> {
    let OperateAgent { agent, operations } = call;
    let record = d
        .registry
        .agent(agent)
        .ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no agent {agent}")))?;
    if operations.is_empty() || operations.len() > OPERATIONS_MAX {
        let message = format!("operations has {} entries; name 1 to {OPERATIONS_MAX}", operations.len());
        return Err(Refusal::new(Code::Invalid, message));
    }
    let (mut total, mut free) = match (d.l.allocator.agent(agent), record.state) {
        (Some(picture), _) => (picture.total, picture.free),
        (None, AgentState::Gone) => {
            let message = format!("agent {agent} was declared gone");
            return Err(
                Refusal::new(Code::Conflict, message).with_help("nothing of it is anybody's any more")
            );
        }
        // What it has now, and what of it is offered a moment later, only its next word to this leader tells.
        (None, AgentState::Active | AgentState::Disconnected) => {
            let message = format!("agent {agent} has not registered with this leader yet");
            return Err(Refusal::new(Code::Unavailable, message));
        }
        (None, AgentState::Unreachable) => {
            let mut used = Resources::EMPTY;
            d.registry.tasks_on(agent).for_each(|task| used.add(&task.info.resources));
            (record.total.clone(), record.total.saturating_sub(&used))
        }
    };
    let mut open = d.l.offers.of_agent(agent);
    let mut plan = Plan {
        agent: agent.clone(),
        operations: operations.clone(),
        transforms: Vec::with_capacity(operations.len()),
        rescinds: Vec::new(),
    };
    for operation in operations {
        check(d, agent, &total, operation)?;
        let Some((from, to)) = transformation(operation, &total) else {
            return Err(no_such(agent, operation));
        };
        if !total.try_sub(&from) {
            return Err(too_much(agent, operation, &total, &from));
        }
        total.add(&to);
        while !free.contains(&from) {
            let overlapping = (0..).zip(&open).find_map(|(at, id): (usize, _)| {
                d.l.offers.get(*id).filter(|offer| offer.resources.overlaps(&from)).map(|offer| (at, offer))
            });
            let Some((at, offer)) = overlapping else { return Err(in_use(d, agent, &free, &from)) };
            free.add(&offer.resources);
            // The others stay for the operations after this one.
            plan.rescinds.push(open.remove(at));
        }
        free = free.saturating_sub(&from);
        free.add(&to);
        plan.transforms.push(Transform { from, to });
    }
    Ok(plan)
}

/// Takes back what is offered of it and books it, so that nothing of it is offered to others on its way through the log.
pub(crate) fn book(d: &mut Desk<'_>, plan: Plan, caller: &Caller) -> Entry {
    for offer in &plan.rescinds {
        d.rescind(*offer, RescindReason::Operator);
    }
    if d.l.agents.pooled(&plan.agent).is_some() {
        for transform in &plan.transforms {
            d.change(Change::Transformed { agent: plan.agent.clone(), transform: transform.clone() });
        }
    }
    d.l.agents.transforms(&plan.agent);
    // What is reserved counts against the limits of its role.
    for role in plan.operations.iter().filter_map(role_of) {
        let mut next = Some(role.clone());
        while let Some(role) = next {
            super::quota::rescind_beyond(d, &role);
            next = role.parent();
        }
    }
    plan.entry(caller)
}

/// The second half: it is in the log, and was carried out whole or not at all.
pub(crate) fn operated(
    d: &mut Desk<'_>,
    inner: &AgentOperated,
    index: u64,
    pending: &Pending,
    effect: &Effect,
) {
    if d.l.agents.transformed(&inner.agent) {
        super::register::match_total(d, &inner.agent);
    }
    d.show_agent(&inner.agent);
    if inner.operations.iter().any(|operation| matches!(operation, Operation::DestroyVolume(_)))
        && let Some(link) = d.l.agents.link_of(&inner.agent)
    {
        super::volumes::tell(d, link, &inner.agent);
    }
    let Pending::Reply { ticket } = pending else { return };
    let kind = match effect {
        Effect::Nothing => {
            let message = format!("agent {} changed on the way, and nothing was done", inner.agent);
            ReplyKind::Refused(Refusal::new(Code::Conflict, message).with_help("look again, and try again"))
        }
        Effect::Done
        | Effect::Launched { .. }
        | Effect::Repeated(_)
        | Effect::Fenced(_)
        | Effect::OutOfSight(_)
        | Effect::Ended(_)
        | Effect::Granted(_)
        | Effect::ToKill(_) => ReplyKind::Done(index),
    };
    d.reply(*ticket, kind);
}

fn role_of(operation: &Operation) -> Option<&Role> {
    match operation {
        Operation::Reserve(inner) => Some(&inner.role),
        Operation::Unreserve(inner) => Some(&inner.role),
        Operation::CreateVolume(inner) => Some(&inner.role),
        Operation::DestroyVolume(inner) => Some(&inner.role),
        Operation::Launch(_) | Operation::LaunchGroup(_) => None,
    }
}

/// What can be wrong with an operation by itself, or with the name of a volume.
fn check(d: &Desk<'_>, agent: &AgentId, total: &Resources, operation: &Operation) -> Result<(), Refusal> {
    let invalid = |message: &str, help: &str| Err(Refusal::new(Code::Invalid, message).with_help(help));
    let amount = |amount: &Amount| match amount.is_empty() {
        true => invalid("amount is empty", "name cpus, mem, disk, gpus or ports"),
        false => Ok(()),
    };
    match operation {
        Operation::Launch(_) | Operation::LaunchGroup(_) => {
            invalid("operations has a launch", "tasks are started by frameworks, on offers")
        }
        Operation::Reserve(inner) => amount(&inner.amount),
        Operation::Unreserve(inner) => amount(&inner.amount),
        Operation::CreateVolume(CreateVolume { disk_bytes: 0, .. }) => {
            invalid("disk_bytes is 0", "give the volume a size, such as 10GiB")
        }
        // One for which the agent has no room at present is in the log only.
        Operation::CreateVolume(CreateVolume { role, volume, .. })
            if d.registry.has_volume(agent, role, volume) || total.has_volume(role, volume) =>
        {
            let message = format!("role {role} has a volume {volume} on agent {agent}");
            Err(Refusal::new(Code::Conflict, message).with_help("use another name, or destroy it first"))
        }
        Operation::CreateVolume(_) | Operation::DestroyVolume(_) => Ok(()),
    }
}

fn no_such(agent: &AgentId, operation: &Operation) -> Refusal {
    let message = match operation {
        Operation::DestroyVolume(inner) => {
            format!("role {} has no volume {} on agent {agent}", inner.role, inner.volume)
        }
        other => format!("{other:?} cannot be done on agent {agent}"),
    };
    Refusal::new(Code::NotFound, message).with_help("`stoa get volumes` lists them")
}

/// The amount of one portion that has the reservation and volume of another.
fn alike(all: &Resources, portion: &Portion) -> Amount {
    let same = |other: &&Portion| other.reservation == portion.reservation && other.volume == portion.volume;
    all.portions().iter().find(same).map(|found| found.amount.clone()).unwrap_or_default()
}

fn in_words(portion: &Portion) -> String {
    match (&portion.reservation, &portion.volume) {
        (Some(role), Some(volume)) => format!("in volume {volume} of role {role}"),
        (Some(role), None) => format!("reserved for role {role}"),
        (None, _) => "that is not reserved".to_owned(),
    }
}

/// The agent does not have it.
fn too_much(agent: &AgentId, operation: &Operation, total: &Resources, from: &Resources) -> Refusal {
    let lacking = from.portions().iter().find_map(|portion| {
        let lacking = alike(total, portion).lacking(&portion.amount);
        (!lacking.is_empty()).then_some((portion, lacking))
    });
    let Some((portion, lacking)) = lacking else {
        return Refusal::new(Code::Conflict, format!("agent {agent} does not have {from}"));
    };
    let have = match alike(total, portion) {
        amount if amount.is_empty() => "nothing".to_owned(),
        amount => amount.to_string(),
    };
    let message = format!(
        "agent {agent} has {have} {}, not {}: {lacking} is missing",
        in_words(portion),
        portion.amount
    );
    let help = match operation {
        Operation::CreateVolume(wanted) => {
            format!(
                "a volume is made of reserved disk: `stoa reserve {agent} --role {} --disk SIZE` first",
                wanted.role
            )
        }
        _ => format!("ask for less; `stoa describe agent {agent}` shows what it has"),
    };
    Refusal::new(Code::Conflict, message).with_help(help)
}

/// The agent has it, and tasks have it.
fn in_use(d: &Desk<'_>, agent: &AgentId, free: &Resources, from: &Resources) -> Refusal {
    let held = from.portions().iter().find_map(|portion| {
        let lacking = alike(free, portion).lacking(&portion.amount);
        (!lacking.is_empty()).then(|| format!("{lacking} {}", in_words(portion)))
    });
    let held = held.unwrap_or_else(|| from.to_string());
    let mut by = d.registry.tasks_on(agent).filter(|task| task.info.resources.overlaps(from));
    let message = match (by.next(), by.count()) {
        (Some(one), 0) => format!("{held} on agent {agent} is in use by task {}", one.info.id),
        (Some(one), more) => {
            format!("{held} on agent {agent} is in use, by task {} and {more} more", one.info.id)
        }
        (None, _) => format!("{held} on agent {agent} is being taken by an accept at this moment"),
    };
    let help = format!(
        "wait until they end, or end them: `stoa get tasks --agent {agent}` lists them, `stoa agent drain {agent}` lets no \
         other begin"
    );
    Refusal::new(Code::Conflict, message).with_help(help)
}
