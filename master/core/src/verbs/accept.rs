//! A framework uses offers: validated here, committed by consensus, and only then answered and sent to the agents.

use std::collections::{BTreeMap, BTreeSet};

use master_allocator::{Change, Transform};
use master_registry::{Effect, transformation};
use proto::agent_link::{Launch as LaunchRuns, TaskRun, ToAgentKind};
use proto::demand::Filter;
use proto::id::{AgentId, FrameworkId, OfferId, OperationId, TaskId};
use proto::log::{Accepted, AcceptedPart, Entry};
use proto::operation::{Launch, LaunchGroup, Operation};
use proto::operator::OfferEnd;
use proto::refusal::{Code, Refusal};
use proto::resources::Resources;
use proto::role::Role;
use proto::scheduler::{Accept, AcceptPart, Decline, Outcome};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};

use crate::batch::Pending;
use crate::config::ACCEPT_TASKS_MAX;
use crate::desk::Desk;
use crate::tables::offers::OpenOffer;
use crate::validate;

/// A task that will not run, and why.
type Rejected = (TaskInfo, TaskState, StatusReason, String);

/// What one part comes to: decided before anything is changed, so that all or nothing can still say nothing.
struct Plan {
    agent: AgentId,
    role: Role,
    offers: Vec<OfferId>,
    /// What is left of the agent's offers after the operations.
    left: Resources,
    used: Resources,
    /// What operations take out of the agent's total, and what they put there instead, in order.
    transforms: Vec<Transform>,
    operations: Vec<Operation>,
    rejected: Vec<Rejected>,
}

/// The first half.
pub(crate) fn accept(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Accept) {
    let Some(operation) = operation else {
        let refusal = Refusal::new(Code::Invalid, "operation_id is missing; an accept needs one");
        return d.refuse(id, None, refusal);
    };
    if let Some(index) = d.registry.framework(id).and_then(|f| f.operation(&operation)) {
        return d.answer(id, operation, Outcome::Committed(index));
    }
    if !d.l.frameworks.standing(id).in_flight.insert(operation.clone()) {
        // It was sent twice: both wait for the same answer.
        return;
    }
    let tasks: usize = call.parts.iter().flat_map(|part| &part.operations).map(tasks_of).sum();
    if tasks > ACCEPT_TASKS_MAX {
        let message = format!("accept.parts launch {tasks} tasks; at most {ACCEPT_TASKS_MAX} in one accept");
        return d.refuse(id, Some(operation), Refusal::new(Code::TooMuch, message));
    }
    let mut plans = Vec::with_capacity(call.parts.len());
    let mut rejected: Vec<Rejected> = Vec::new();
    let mut taken: Vec<OfferId> = Vec::new();
    let mut named: BTreeSet<TaskId> = BTreeSet::new();
    for part in call.parts {
        match plan(d, id, part, &taken, &mut named) {
            Ok(plan) if call.all_or_nothing && !plan.rejected.is_empty() => {
                let why = plan.rejected.first().map(|(task, _, _, why)| format!("task {}: {why}", task.id));
                let message = why.unwrap_or_default();
                return d.refuse(id, Some(operation), Refusal::new(Code::Invalid, message));
            }
            Ok(plan) => {
                taken.extend(&plan.offers);
                plans.push(plan);
            }
            Err((refusal, _)) if call.all_or_nothing => return d.refuse(id, Some(operation), refusal),
            Err((refusal, tasks)) => rejected.extend(tasks.into_iter().map(|task| {
                (task, TaskState::Dropped, StatusReason::InvalidOffers, refusal.message.clone())
            })),
        }
    }
    let mut parts = Vec::with_capacity(plans.len());
    for plan in plans {
        rejected.extend(plan.rejected.iter().cloned());
        if let Some(part) = carry_out(d, id, plan, call.filter) {
            parts.push(part);
        }
    }
    for (task, state, reason, why) in rejected {
        let mut status = TaskStatus::by_master(task.id, state, reason, &why, d.at_ms());
        status.agent = None;
        d.update(id, status);
    }
    if parts.is_empty() {
        return d.answer(id, operation, Outcome::Committed(0));
    }
    let entry = Entry::Accepted(Accepted { framework: id.clone(), operation: operation.clone(), parts });
    d.batch.propose(entry, Pending::Accept { framework: id.clone(), operation });
}

fn tasks_of(operation: &Operation) -> usize {
    match operation {
        Operation::Launch(launch) => launch.tasks.len(),
        Operation::LaunchGroup(launch) => launch.tasks.len(),
        Operation::Reserve(_)
        | Operation::Unreserve(_)
        | Operation::CreateVolume(_)
        | Operation::DestroyVolume(_) => 0,
    }
}

fn all_tasks(operations: Vec<Operation>) -> Vec<TaskInfo> {
    let mut tasks = Vec::new();
    for operation in operations {
        match operation {
            Operation::Launch(launch) => tasks.extend(launch.tasks),
            Operation::LaunchGroup(launch) => tasks.extend(launch.tasks),
            Operation::Reserve(_)
            | Operation::Unreserve(_)
            | Operation::CreateVolume(_)
            | Operation::DestroyVolume(_) => {}
        }
    }
    tasks
}

/// Decides what becomes of one part, and changes nothing.
fn plan(
    d: &Desk<'_>,
    id: &FrameworkId,
    part: AcceptPart,
    taken: &[OfferId],
    named: &mut BTreeSet<TaskId>,
) -> Result<Plan, (Refusal, Vec<TaskInfo>)> {
    let AcceptPart { offers, operations } = part;
    let mut open: Vec<&OpenOffer> = Vec::with_capacity(offers.len());
    for (at, offer) in offers.iter().enumerate() {
        let found = d.l.offers.get(*offer).filter(|found| found.framework == *id);
        let again = taken.contains(offer) || offers[..at].contains(offer);
        match found {
            Some(found) if !again => open.push(found),
            Some(_) | None => {
                let message = format!("offer {offer} is not open for this framework");
                return Err((Refusal::new(Code::StaleOffer, message), all_tasks(operations)));
            }
        }
    }
    let Some(first) = open.first() else {
        let refusal =
            Refusal::new(Code::Invalid, "accept.parts has a part without offers; name at least one");
        return Err((refusal, all_tasks(operations)));
    };
    if open.iter().any(|offer| offer.agent != first.agent || offer.role != first.role) {
        let message = "accept.parts has a part with offers of several agents or roles";
        let refusal = Refusal::new(Code::Invalid, message).with_help("make one part for each agent and role");
        return Err((refusal, all_tasks(operations)));
    }
    let mut plan = Plan {
        agent: first.agent.clone(),
        role: first.role.clone(),
        offers,
        left: Resources::EMPTY,
        used: Resources::EMPTY,
        transforms: Vec::new(),
        operations: Vec::new(),
        rejected: Vec::new(),
    };
    open.iter().for_each(|offer| plan.left.add(&offer.resources));
    for operation in operations {
        match operation {
            Operation::Launch(launch) => {
                let mut tasks = Vec::with_capacity(launch.tasks.len());
                for task in launch.tasks {
                    match fit(d, id, &mut plan, named, &task) {
                        Ok(()) => tasks.push(task),
                        Err((state, reason, why)) => plan.rejected.push((task, state, reason, why)),
                    }
                }
                if !tasks.is_empty() {
                    plan.operations.push(Operation::Launch(Launch { tasks }));
                }
            }
            Operation::LaunchGroup(launch) => {
                // A group runs whole or not at all.
                let before = (plan.left.clone(), plan.used.clone());
                let mut tasks = Vec::with_capacity(launch.tasks.len());
                let mut fault = None;
                for task in &launch.tasks {
                    match fit(d, id, &mut plan, named, task) {
                        Ok(()) => tasks.push(task.clone()),
                        Err(why) => {
                            fault = Some(why);
                            break;
                        }
                    }
                }
                match fault {
                    None => {
                        plan.operations
                            .push(Operation::LaunchGroup(LaunchGroup { group: launch.group, tasks }));
                    }
                    Some((state, reason, why)) => {
                        (plan.left, plan.used) = before;
                        plan.rejected
                            .extend(launch.tasks.into_iter().map(|task| (task, state, reason, why.clone())));
                    }
                }
            }
            Operation::Reserve(_)
            | Operation::Unreserve(_)
            | Operation::CreateVolume(_)
            | Operation::DestroyVolume(_) => {
                if let Err(refusal) = transform(&mut plan, &operation) {
                    return Err((refusal, all_tasks(vec![operation])));
                }
                plan.operations.push(operation);
            }
        }
    }
    Ok(plan)
}

/// Whether one task can run on what is left; takes its resources if so.
fn fit(
    d: &Desk<'_>,
    id: &FrameworkId,
    plan: &mut Plan,
    named: &mut BTreeSet<TaskId>,
    task: &TaskInfo,
) -> Result<(), (TaskState, StatusReason, String)> {
    let error = |why: String| (TaskState::Error, StatusReason::TaskInvalid, why);
    validate::task(task).map_err(error)?;
    let known = d.registry.knows_task(id, &task.id) || d.l.tasks.launching(id, &task.id);
    if known || !named.insert(task.id.clone()) {
        let why = format!("id {} is taken by another task of this framework; choose a new one", task.id);
        return Err(error(why));
    }
    if !plan.left.try_sub(&task.resources) {
        let lacking = plan.left.flatten().lacking(&task.resources.flatten());
        let why = if lacking.is_empty() {
            format!("resources {} are not in the offers as they are reserved", task.resources)
        } else {
            format!("resources exceed the offers by {lacking}")
        };
        return Err(error(why));
    }
    plan.used.add(&task.resources);
    Ok(())
}

/// Applies a reservation or volume to what is left.
fn transform(plan: &mut Plan, operation: &Operation) -> Result<(), Refusal> {
    let role = match operation {
        Operation::Reserve(inner) => &inner.role,
        Operation::Unreserve(inner) => &inner.role,
        Operation::CreateVolume(inner) => &inner.role,
        Operation::DestroyVolume(inner) => &inner.role,
        Operation::Launch(_) | Operation::LaunchGroup(_) => return Ok(()),
    };
    if !plan.role.is_within(role) {
        let message = format!("operations name role {role}, the offer is for role {}", plan.role);
        return Err(
            Refusal::new(Code::Denied, message).with_help("reserve for the offer's role or one above it")
        );
    }
    let moved = transformation(operation, &plan.left).filter(|(from, _)| plan.left.try_sub(from));
    let Some((from, to)) = moved else {
        let message = format!("{operation:?} needs more than the offers hold");
        return Err(Refusal::new(Code::Invalid, message));
    };
    plan.left.add(&to);
    plan.transforms.push(Transform { from, to });
    Ok(())
}

/// Ends the offers, books what is used, and gives the rest back.
fn carry_out(d: &mut Desk<'_>, id: &FrameworkId, plan: Plan, filter: Filter) -> Option<AcceptedPart> {
    let mut offered = Resources::EMPTY;
    for offer in &plan.offers {
        let Some(ended) = d.end_offer(*offer, OfferEnd::Accepted) else { continue };
        offered.add(&ended.resources);
        let OpenOffer { framework, agent, role, resources, demand, .. } = ended;
        d.change(Change::Taken { framework, role, agent, resources, demand });
    }
    // Booked before it is committed: if it never is, this leader is over and its books with it.
    d.change(Change::Accepted {
        framework: id.clone(),
        role: plan.role.clone(),
        agent: plan.agent.clone(),
        offered,
        transforms: plan.transforms,
        used: plan.used,
        until: d.now.monotonic + filter.refuse.min(Filter::MAX),
    });
    if plan.operations.is_empty() {
        return None;
    }
    for operation in &plan.operations {
        let tasks = match operation {
            Operation::Launch(launch) => &launch.tasks,
            Operation::LaunchGroup(launch) => &launch.tasks,
            Operation::Reserve(_)
            | Operation::Unreserve(_)
            | Operation::CreateVolume(_)
            | Operation::DestroyVolume(_) => continue,
        };
        tasks.iter().for_each(|task| d.l.tasks.launch(id, &task.id));
    }
    Some(AcceptedPart { agent: plan.agent, role: plan.role, operations: plan.operations })
}

/// The second half: it is in the log, so it is answered and the agents are told.
pub(crate) fn accepted(
    d: &mut Desk<'_>,
    id: &FrameworkId,
    operation: OperationId,
    index: u64,
    entry: &Entry,
    effect: Effect,
) {
    let launched = match effect {
        Effect::Launched(launched) => launched,
        Effect::Repeated(index) => return d.answer(id, operation, Outcome::Committed(index)),
        Effect::Done | Effect::Nothing | Effect::OutOfSight(_) | Effect::Ended(_) | Effect::ToKill(_) => {
            let refusal = Refusal::new(Code::FrameworkRemoved, format!("framework {id} was torn down"));
            return d.refuse(id, Some(operation), refusal);
        }
    };
    if let Entry::Accepted(accepted) = entry {
        for part in &accepted.parts {
            let transforms = part.operations.iter().any(|operation| tasks_of(operation) == 0);
            for operation in &part.operations {
                let tasks: &[TaskInfo] = match operation {
                    Operation::Launch(launch) => &launch.tasks,
                    Operation::LaunchGroup(launch) => &launch.tasks,
                    Operation::Reserve(_)
                    | Operation::Unreserve(_)
                    | Operation::CreateVolume(_)
                    | Operation::DestroyVolume(_) => &[],
                };
                tasks.iter().for_each(|task| d.l.tasks.launched(id, &task.id));
            }
            if transforms {
                d.show_agent(&part.agent);
            }
        }
    }
    d.answer(id, operation, Outcome::Committed(index));
    let principal = d.registry.framework(id).map(|known| known.record.principal.clone()).unwrap_or_default();
    let mut by_agent: BTreeMap<AgentId, Vec<TaskRun>> = BTreeMap::new();
    for (key, run) in launched {
        if let Some(record) = d.registry.task(&key) {
            let task = (*record.info).clone();
            let launch = TaskRun { run, framework: id.clone(), task, principal: principal.clone() };
            by_agent.entry(record.agent.clone()).or_default().push(launch);
        }
        d.show_task(&key);
    }
    for (agent, runs) in by_agent {
        // An agent that is not connected gets them when it is back: the log remembers.
        d.tell_agent(&agent, ToAgentKind::Launch(LaunchRuns { runs }));
    }
}

/// A framework gives offers back.
pub(crate) fn decline(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Decline) {
    for offer in call.offers {
        if d.l.offers.get(offer).is_none_or(|open| open.framework != *id) {
            continue;
        }
        let Some(ended) = d.end_offer(offer, OfferEnd::Declined) else { continue };
        d.recover(ended, (!call.filter.refuse.is_zero()).then_some(call.filter.refuse));
    }
    d.done(id, operation);
}
