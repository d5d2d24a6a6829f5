//! A framework uses offers: validated here, committed by consensus, and only then answered and sent to the agents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use master_allocator::{Account, Change, Transform};
use master_registry::{Effect, transformation};
use proto::agent_link::{Launch as LaunchRuns, TaskRun, ToAgentKind};
use proto::caller::Caller;
use proto::demand::Filter;
use proto::id::{AgentId, FrameworkId, OfferId, OperationId, TaskId};
use proto::log::{Accepted, AcceptedPart, Entry};
use proto::operation::{CreateVolume, Launch, Operation};
use proto::operator::{EventKind as Changed, OfferEnd};
use proto::refusal::{Code, Refusal};
use proto::resources::{Portion, Resources};
use proto::role::Role;
use proto::scheduler::{Accept, AcceptPart, Decline, Outcome};
use proto::task::{StatusReason, TaskInfo, TaskState, TaskStatus};
use proto_machine::mutants::{self, Mutant};

use crate::batch::Pending;
use crate::config::ACCEPT_TASKS_MAX;
use crate::desk::Desk;
use crate::output::{Note, Output};
use crate::tables::offers::OpenOffer;
use crate::validate;
use crate::verbs::secrets;
use crate::views;
use proto::authorize::{Action, authorize};

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
        return repeated(d, id, operation, index, &call);
    }
    if !d.l.frameworks.standing(id).in_flight.insert(operation.clone()) {
        // It was sent twice: both wait for the same answer.
        return;
    }
    let Accept { parts, all_or_nothing, filter } = call;
    let offers: Vec<OfferId> = parts.iter().flat_map(|part| &part.offers).copied().collect();
    let tasks: usize = parts.iter().flat_map(|part| &part.operations).map(|o| tasks_of(o).len()).sum();
    if tasks > ACCEPT_TASKS_MAX {
        let message = format!("accept.parts launch {tasks} tasks; at most {ACCEPT_TASKS_MAX} in one accept");
        return turn_down(d, id, operation, offers, filter, Refusal::new(Code::TooMuch, message));
    }
    let mut plans = Vec::with_capacity(parts.len());
    let mut rejected: Vec<Rejected> = Vec::new();
    let mut taken: Vec<OfferId> = Vec::new();
    let mut named: BTreeSet<TaskId> = BTreeSet::new();
    for part in parts {
        let AcceptPart { offers: own, operations } = part;
        // A task has a status to say that it will not run. What a reservation or a volume came to, only the answer can
        // say: so an accept in which one cannot be made is refused whole.
        let whole = all_or_nothing || operations.iter().any(|operation| !is_launch(operation));
        tell_of_foreign(d, id, &own);
        let planned = match lease(d, id, own, &taken) {
            Ok(mut plan) => fill(d, id, &mut plan, operations, &mut named).map(|()| plan),
            Err(refusal) if whole => Err(refusal),
            Err(refusal) => {
                rejected.extend(operations.into_iter().flat_map(into_tasks).map(|task| {
                    (task, TaskState::Dropped, StatusReason::InvalidOffers, refusal.message.clone())
                }));
                continue;
            }
        };
        match planned {
            Ok(plan) => match plan.rejected.first().filter(|_| all_or_nothing) {
                Some((task, _, _, why)) => {
                    let refusal = Refusal::new(Code::Invalid, format!("task {}: {why}", task.id));
                    return turn_down(d, id, operation, offers, filter, refusal);
                }
                None => {
                    taken.extend(&plan.offers);
                    plans.push(plan);
                }
            },
            Err(refusal) => return turn_down(d, id, operation, offers, filter, refusal),
        }
    }
    let mut parts = Vec::with_capacity(plans.len());
    for plan in plans {
        rejected.extend(plan.rejected.iter().cloned());
        if let Some(part) = carry_out(d, id, plan, filter) {
            parts.push(part);
        }
    }
    if let Some((task, _, _, why)) =
        rejected.iter().find(|(_, _, reason, _)| *reason == StatusReason::TaskUnauthorized)
    {
        let refusal = Refusal::new(Code::Denied, format!("task {}: {why}", task.id));
        d.audit_refused(Some(id), &refusal, 1);
    }
    for (task, state, reason, why) in rejected {
        let mut status = TaskStatus::by_master(task.id, state, reason, &why, d.at_ms());
        status.agent = None;
        d.update(id, status);
    }
    // Whatever else the accept named: the framework has done with it.
    give_back(d, id, offers, Some(filter.refuse));
    if parts.is_empty() {
        return d.answer(id, operation, Outcome::Committed(0));
    }
    if mutants::is(Mutant::AnswerBeforeCommit) {
        d.answer(id, operation.clone(), Outcome::Committed(0));
    }
    let entry = Entry::Accepted(Accepted { framework: id.clone(), operation: operation.clone(), parts });
    d.batch.propose(entry, Pending::Accept { framework: id.clone(), operation });
}

/// It is in the log already. What the framework was told besides may have died with the leader that told it: of a task
/// that is not in the log it hears that nobody knows it.
fn repeated(d: &mut Desk<'_>, id: &FrameworkId, operation: OperationId, index: u64, call: &Accept) {
    d.answer(id, operation, Outcome::Committed(index));
    for task in call.parts.iter().flat_map(|part| &part.operations).flat_map(tasks_of) {
        if !d.registry.knows_task(id, &task.id) {
            super::reconcile::tell_one(d, id, &task.id);
        }
    }
}

/// Nothing of the accept is carried out.
fn turn_down(
    d: &mut Desk<'_>,
    id: &FrameworkId,
    operation: OperationId,
    offers: Vec<OfferId>,
    filter: Filter,
    refusal: Refusal,
) {
    // Even with a filter of no length the allocator waits a little: who is refused again and again must not spin.
    give_back(d, id, offers, Some(filter.refuse));
    d.refuse(id, Some(operation), refusal);
}

/// Ends those of the offers as declined that are open, and the framework's.
fn give_back(d: &mut Desk<'_>, id: &FrameworkId, offers: Vec<OfferId>, refuse: Option<Duration>) {
    for offer in offers {
        if d.l.offers.get(offer).is_none_or(|open| open.framework != *id) {
            continue;
        }
        let Some(ended) = d.end_offer(offer, OfferEnd::Declined) else { continue };
        d.recover(ended, refuse);
    }
}

/// Offers of others are to the framework what it has none of; whoever reads the audit log wants to know of it.
fn tell_of_foreign(d: &mut Desk<'_>, id: &FrameworkId, offers: &[OfferId]) {
    let foreign = |offer: &&OfferId| d.l.offers.get(**offer).is_some_and(|open| open.framework != *id);
    if let Some(offer) = offers.iter().find(foreign) {
        let refusal = Refusal::new(Code::Denied, format!("offer {offer} is of another framework"));
        d.audit_refused(Some(id), &refusal, 1);
    }
}

fn tasks_of(operation: &Operation) -> &[TaskInfo] {
    match operation {
        Operation::Launch(launch) => &launch.tasks,
        Operation::LaunchGroup(launch) => &launch.tasks,
        Operation::Reserve(_)
        | Operation::Unreserve(_)
        | Operation::CreateVolume(_)
        | Operation::DestroyVolume(_) => &[],
    }
}

fn into_tasks(operation: Operation) -> Vec<TaskInfo> {
    match operation {
        Operation::Launch(launch) => launch.tasks,
        Operation::LaunchGroup(launch) => launch.tasks,
        Operation::Reserve(_)
        | Operation::Unreserve(_)
        | Operation::CreateVolume(_)
        | Operation::DestroyVolume(_) => Vec::new(),
    }
}

fn is_launch(operation: &Operation) -> bool {
    matches!(operation, Operation::Launch(_) | Operation::LaunchGroup(_))
}

/// The offers of one part, if they can be used together, as a plan in which nothing is done with them.
fn lease(d: &Desk<'_>, id: &FrameworkId, offers: Vec<OfferId>, taken: &[OfferId]) -> Result<Plan, Refusal> {
    let epoch = |id: OfferId| if mutants::is(Mutant::StaleAccept) { d.l.epoch } else { id.epoch };
    let offers: Vec<OfferId> = offers.into_iter().map(|id| OfferId { epoch: epoch(id), ..id }).collect();
    let mut open: Vec<&OpenOffer> = Vec::with_capacity(offers.len());
    for (at, offer) in offers.iter().enumerate() {
        let found =
            d.l.offers.get(*offer).filter(|found| found.framework == *id || mutants::is(Mutant::AnyOwner));
        let again = taken.contains(offer) || offers[..at].contains(offer);
        match found {
            Some(found) if !again => open.push(found),
            Some(_) | None => {
                let message = format!("offer {offer} is not open for this framework");
                return Err(Refusal::new(Code::StaleOffer, message));
            }
        }
    }
    let Some(first) = open.first() else {
        let message = "accept.parts has a part without offers; name at least one";
        return Err(Refusal::new(Code::Invalid, message));
    };
    if open.iter().any(|offer| offer.agent != first.agent || offer.role != first.role) {
        let message = "accept.parts has a part with offers of several agents or roles";
        return Err(Refusal::new(Code::Invalid, message).with_help("make one part for each agent and role"));
    }
    let mut left = Resources::EMPTY;
    open.iter().for_each(|offer| left.add(&offer.resources));
    Ok(Plan {
        agent: first.agent.clone(),
        role: first.role.clone(),
        offers,
        left,
        used: Resources::EMPTY,
        transforms: Vec::new(),
        operations: Vec::new(),
        rejected: Vec::new(),
    })
}

/// Decides what becomes of the operations of one part, and changes nothing.
fn fill(
    d: &Desk<'_>,
    id: &FrameworkId,
    plan: &mut Plan,
    operations: Vec<Operation>,
    named: &mut BTreeSet<TaskId>,
) -> Result<(), Refusal> {
    for operation in operations {
        match operation {
            Operation::Launch(launch) => {
                let mut tasks = Vec::with_capacity(launch.tasks.len());
                for task in launch.tasks {
                    match fit(d, id, plan, named, &task) {
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
                let fault = launch.tasks.iter().find_map(|task| fit(d, id, plan, named, task).err());
                match fault {
                    None => plan.operations.push(Operation::LaunchGroup(launch)),
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
                transform(d, plan, &operation)?;
                plan.operations.push(operation);
            }
        }
    }
    Ok(())
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
    may_run_as(d, id, &task.command.user)
        .map_err(|why| (TaskState::Error, StatusReason::TaskUnauthorized, why))?;
    secrets::known(d.registry, &plan.role, &task.command.secrets)?;
    let known = d.registry.knows_task(id, &task.id) || d.l.tasks.launching(id, &task.id);
    if known || !named.insert(task.id.clone()) {
        let why = format!("id {} is taken by another task of this framework; choose a new one", task.id);
        return Err(error(why));
    }
    let whole = |portion: &Portion| plan.left.portions().contains(portion);
    validate::volumes(task, whole).map_err(error)?;
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

/// Whether the framework's tasks may name this user; a task that names none is the agent's to give one.
fn may_run_as(d: &Desk<'_>, id: &FrameworkId, user: &str) -> Result<(), String> {
    let Some(framework) = d.registry.framework(id).filter(|_| !user.is_empty()) else { return Ok(()) };
    let principal: Caller = framework.record.principal.parse()?;
    let action = Action::RunAs { user: user.to_owned(), root_granted: d.config.root_tasks.clone() };
    authorize(&principal, &action).map_err(|refusal| {
        format!(
            "command.user is {user}, and {}; name another user, or start masters with --allow-root-tasks {principal} \
             and agents with --allow-root-tasks",
            refusal.message
        )
    })
}

/// Applies a reservation or volume to what is left.
fn transform(d: &Desk<'_>, plan: &mut Plan, operation: &Operation) -> Result<(), Refusal> {
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
    if let Operation::CreateVolume(wanted) = operation {
        check_new(d, plan, wanted)?;
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

/// Whether a volume can be made: it has a size, and a name that the role has not given on this agent.
fn check_new(d: &Desk<'_>, plan: &Plan, wanted: &CreateVolume) -> Result<(), Refusal> {
    let CreateVolume { role, volume, disk_bytes } = wanted;
    if *disk_bytes == 0 {
        return Err(Refusal::new(Code::Invalid, format!("volume {volume} has no size; give it disk_bytes")));
    }
    let held = |resources: &Resources| resources.has_volume(role, volume);
    let planned = plan.transforms.iter().rev().find(|moved| held(&moved.from) || held(&moved.to));
    let there = match planned {
        Some(moved) => held(&moved.to),
        // The books are ahead of the log, but a volume for which the agent has no room is in the log only.
        None => {
            let lapsed = d.registry.has_volume(&plan.agent, role, volume)
                && d.registry.agent(&plan.agent).is_some_and(|record| !held(&record.total));
            lapsed || d.l.allocator.agent(&plan.agent).is_some_and(|booked| held(&booked.total))
        }
    };
    if there {
        let message = format!("role {role} has a volume {volume} on agent {}", plan.agent);
        return Err(Refusal::new(Code::Conflict, message).with_help("use another name, or destroy it first"));
    }
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
        used: if mutants::is(Mutant::ForgetUse) { Resources::EMPTY } else { plan.used },
        until: d.now.monotonic + filter.refuse.min(Filter::MAX),
    });
    if plan.operations.is_empty() {
        return None;
    }
    let tasks = plan.operations.iter().flat_map(tasks_of);
    tasks.for_each(|task| d.l.tasks.launch(id, &task.id));
    if !plan.operations.iter().all(is_launch) {
        d.l.agents.transforms(&plan.agent);
    }
    Some(AcceptedPart { agent: plan.agent, role: plan.role, operations: plan.operations })
}

/// The second half: it is in the log, so it is answered and the agents are told.
pub(crate) fn accepted(
    d: &mut Desk<'_>,
    id: &FrameworkId,
    operation: OperationId,
    index: u64,
    entry: &Accepted,
    effect: Effect,
) {
    let (runs, dropped) = match effect {
        Effect::Launched { runs, dropped } => {
            d.out.push(Output::Note(Note::Accepted {
                framework: id.clone(),
                operation: operation.clone(),
                index,
                tasks: runs.len() as u64,
            }));
            d.answer(id, operation, Outcome::Committed(index));
            (runs, dropped)
        }
        Effect::Repeated(index) => {
            d.answer(id, operation, Outcome::Committed(index));
            (Vec::new(), Vec::new())
        }
        Effect::Done
        | Effect::Nothing
        | Effect::Fenced(_)
        | Effect::OutOfSight(_)
        | Effect::Ended(_)
        | Effect::Granted(_)
        | Effect::ToKill(_) => {
            let refusal = Refusal::new(Code::FrameworkRemoved, format!("framework {id} was torn down"));
            d.refuse(id, Some(operation), refusal);
            (Vec::new(), Vec::new())
        }
    };
    let begun: BTreeSet<&TaskId> = runs.iter().map(|((_, task), _)| task).collect();
    for part in &entry.parts {
        settle(d, id, part, &begun);
    }
    for record in dropped {
        d.update(id, record.status.clone());
        let view = views::task(d.registry, &record, None);
        d.changed(Changed::TaskChanged(view));
    }
    let principal = d.registry.framework(id).map(|known| known.record.principal.clone()).unwrap_or_default();
    let mut by_agent: BTreeMap<AgentId, Vec<TaskRun>> = BTreeMap::new();
    for (key, run) in runs {
        if let Some(record) = d.registry.task(&key) {
            let task = (*record.info).clone();
            let volumes = d.registry.volumes_of(record);
            let launch = TaskRun { run, framework: id.clone(), task, principal: principal.clone(), volumes };
            by_agent.entry(record.agent.clone()).or_default().push(launch);
        }
        d.show_task(&key);
    }
    for (agent, runs) in by_agent {
        // An agent that is not connected gets them when it is back: the log remembers.
        d.tell_agent(&agent, ToAgentKind::Launch(LaunchRuns { runs }));
    }
}

/// Brings the books of one part from what was planned to what the log made of it: what its tasks would have used that
/// did not begin is free again.
fn settle(d: &mut Desk<'_>, id: &FrameworkId, part: &AcceptedPart, begun: &BTreeSet<&TaskId>) {
    let mut unused = Resources::EMPTY;
    for task in part.operations.iter().flat_map(tasks_of) {
        d.l.tasks.launched(id, &task.id);
        if !begun.contains(&task.id) {
            unused.add(&task.resources);
        }
    }
    // Where the agent was lost meanwhile, all that was held of it is gone from the books already.
    if !unused.is_empty() && d.l.agents.pooled(&part.agent).is_some() {
        d.change(Change::Recovered {
            framework: id.clone(),
            role: part.role.clone(),
            agent: part.agent.clone(),
            resources: unused,
            from: Account::Used,
            demand: None,
        });
    }
    if !part.operations.iter().all(is_launch) {
        if d.l.agents.transformed(&part.agent) {
            super::register::match_total(d, &part.agent);
        }
        d.show_agent(&part.agent);
    }
    if part.operations.iter().any(|operation| matches!(operation, Operation::DestroyVolume(_)))
        && let Some(link) = d.l.agents.link_of(&part.agent)
    {
        super::volumes::tell(d, link, &part.agent);
    }
}

/// A framework gives offers back.
pub(crate) fn decline(d: &mut Desk<'_>, id: &FrameworkId, operation: Option<OperationId>, call: Decline) {
    tell_of_foreign(d, id, &call.offers);
    give_back(d, id, call.offers, (!call.filter.refuse.is_zero()).then_some(call.filter.refuse));
    d.done(id, operation);
}
