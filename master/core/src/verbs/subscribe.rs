//! A framework starts or takes up its session, changes what it says of itself, or is cut off.

use std::time::Duration;

use master_allocator::Change;
use master_registry::Effect;
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::{FrameworkId, OperationId};
use proto::log::{Entry, FrameworkDisconnected, FrameworkRegistered};
use proto::operator::EventKind as Changed;
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::scheduler::{
    EventKind, Fault, Outcome, RescindReason, Resume, Subscribe, Subscribed, UpdateFramework,
};
use proto_machine::mutants::{self, Mutant};

use crate::audited::Calling;
use crate::batch::Pending;
use crate::config::{FRAMEWORKS_MAX, HEARTBEAT_INTERVAL, SILENCE_LIMIT};
use crate::consensus::unconfirmed;
use crate::desk::Desk;
use crate::input::SessionId;
use crate::leading::Deadline;
use crate::output::{Note, Output};
use crate::tables::frameworks::Held;
use crate::validate;
use crate::verbs::rights;

/// A session is to begin. Who leads as far as it knows may have slept while another one did: what such a master takes for unknown
/// is none, and a framework that is turned away for that does not come again. So it is heard when a majority has confirmed how
/// far the log is; true is returned if that has to be asked.
pub(crate) fn subscribe(d: &mut Desk<'_>, session: SessionId, caller: &Caller, call: Subscribe) -> bool {
    let table = &mut d.l.frameworks;
    if table.on(session).is_some()
        || table.subscribing.contains_key(&session)
        || table.held.contains_key(&session)
    {
        let refusal = Refusal::new(Code::Conflict, "this session is subscribed already")
            .with_help("send Subscribe once, as the first call of a session");
        fault(d, session, &caller.to_string(), refusal);
        return false;
    }
    table.held.insert(session, Held { caller: caller.clone(), call, confirmed: false });
    true
}

/// What the log says is as of now for this session, or nobody confirms that.
pub(crate) fn confirmed(d: &mut Desk<'_>, session: SessionId, sure: bool) {
    let Some(held) = d.l.frameworks.held.get_mut(&session) else { return };
    held.confirmed = sure;
    if sure {
        return hear_held(d);
    }
    let caller = held.caller.clone();
    let calling = Calling { session, caller: &caller, call: "subscribe" };
    d.for_call(calling, |d| fault(d, session, &caller.to_string(), unconfirmed()));
}

/// Whoever waited is heard, as soon as it can be said which tasks there are. Behind a restoring that is when the agents have come:
/// what a framework that takes up its tasks is not told of then, it takes for lost and starts anew.
pub(crate) fn hear_held(d: &mut Desk<'_>) {
    let awaits = d.registry.awaits_agents();
    let heard = |held: &Held| held.confirmed && !(awaits && held.call.id.is_some());
    let ready = d.l.frameworks.held.iter().filter(|(_, held)| heard(held));
    for session in ready.map(|(session, _)| *session).collect::<Vec<_>>() {
        let Some(Held { caller, call, .. }) = d.l.frameworks.held.remove(&session) else { continue };
        let calling = Calling { session, caller: &caller, call: "subscribe" };
        d.for_call(calling, |d| begin(d, session, &caller, call));
    }
}

/// The first half: who may, and what has to be logged for it.
fn begin(d: &mut Desk<'_>, session: SessionId, caller: &Caller, call: Subscribe) {
    let demands = call.demands.as_ref().map_or(&[][..], |said| &said.demands);
    let checked = authorize(caller, &Action::BeFramework)
        .and_then(|()| validate::framework(&call.framework))
        .and_then(|()| rights::takes(d.registry, caller, &call.framework.roles))
        .and_then(|()| validate::demands(demands, &call.framework));
    if let Err(refusal) = checked {
        return fault(d, session, &caller.to_string(), refusal);
    }
    let id = match call.id {
        None => {
            let owner = caller.to_string();
            let own = d.registry.frameworks().filter(|f| f.record.principal == owner).count();
            if own >= FRAMEWORKS_MAX {
                let message = format!("{owner} has {own} frameworks; at most {FRAMEWORKS_MAX}");
                let refusal = Refusal::new(Code::TooMuch, message)
                    .with_help("take up one of them by its id, or end some with `stoa framework teardown`");
                return fault(d, session, &owner, refusal);
            }
            d.l.named += 1;
            let text = format!("F{}-{}", d.l.epoch, d.l.named);
            let Ok(id) = FrameworkId::new(&text) else { return };
            id
        }
        Some(id) => {
            let Some(framework) = d.registry.framework(&id) else {
                let refusal = if d.registry.was_removed(&id) {
                    Refusal::new(Code::FrameworkRemoved, format!("framework {id} was torn down"))
                } else {
                    Refusal::new(Code::NotFound, format!("framework_id {id} is unknown"))
                        .with_help("subscribe without a framework id to start anew")
                };
                return fault_about(d, session, &caller.to_string(), Some(&id), refusal);
            };
            let owner = framework.record.principal.clone();
            if let Err(refusal) = authorize(caller, &Action::ResumeFramework { owner }) {
                return fault_about(d, session, &caller.to_string(), Some(&id), refusal);
            }
            let asked = d.l.frameworks.get(&id).map_or(0, |standing| standing.fence);
            let latest = framework.record.fence.max(asked);
            if call.fence < latest {
                let refusal = fenced(&id, latest);
                return fault_about(d, session, &caller.to_string(), Some(&id), refusal);
            }
            id
        }
    };
    let known = d.registry.framework(&id);
    let standing = d.l.frameworks.standing(&id);
    standing.fence = call.fence;
    standing.suppressed = call.suppressed_roles.iter().cloned().collect();
    standing.refused_demands = None;
    match call.demands {
        Some(said) => (standing.demands, standing.demand_driven) = (said.demands, said.demand_driven),
        None if call.resume.is_none() => (standing.demands, standing.demand_driven) = (Vec::new(), false),
        None => {}
    }
    // Behind a restoring always by the log, in which before it stands what agents brought.
    let same = known.is_some_and(|f| {
        f.record.info == call.framework && f.record.deadline_ms == 0 && f.record.fence == call.fence
    }) && !d.registry.is_restored();
    if same {
        return attach(d, session, &id, call.resume);
    }
    d.l.frameworks.subscribing.insert(session, id.clone());
    let entry = Entry::FrameworkRegistered(FrameworkRegistered {
        id: id.clone(),
        info: call.framework,
        principal: caller.to_string(),
        fence: call.fence,
    });
    d.batch.propose(entry, Pending::Subscribe { session, framework: id, resume: call.resume });
}

/// It is in the log what a framework says of itself: the second half of Subscribe and of UpdateFramework.
pub(crate) fn registered(d: &mut Desk<'_>, index: u64, id: &FrameworkId, pending: Pending, effect: &Effect) {
    let refusal = match effect {
        // Its end came before it in the log.
        Effect::Nothing => {
            Some(Refusal::new(Code::FrameworkRemoved, format!("framework {id} was torn down")))
        }
        // Another instance did.
        Effect::Fenced(fence) => Some(fenced(id, *fence)),
        _ => None,
    };
    match (pending, refusal) {
        (Pending::Subscribe { session, framework, resume }, None) => {
            subscribed(d, session, &framework, resume);
        }
        (Pending::Subscribe { session, framework, .. }, Some(refusal)) => {
            if d.l.frameworks.subscribing.contains_key(&session) {
                fault(d, session, framework.as_str(), refusal);
            }
            super::teardown::forget_if_empty(d, &framework);
        }
        (Pending::Answer { framework, operation }, None) => {
            updated(d, id);
            d.answer(&framework, operation, Outcome::Committed(index));
            hold_to_rights(d, id);
        }
        (Pending::Answer { framework, operation }, Some(refusal)) => {
            d.refuse(&framework, Some(operation), refusal);
        }
        (
            Pending::Nothing
            | Pending::Unanswered { .. }
            | Pending::Admit { .. }
            | Pending::Reply { .. }
            | Pending::Accept { .. },
            None,
        ) => {
            updated(d, id);
            hold_to_rights(d, id);
        }
        (_, Some(_)) => {}
    }
}

/// A later instance of a framework is known.
fn fenced(id: &FrameworkId, fence: u64) -> Refusal {
    Refusal::new(Code::Fenced, format!("instance {fence} of framework {id} has taken over"))
        .with_help("stop this instance; started anew it waits for its turn")
}

/// The framework is in the log.
fn subscribed(d: &mut Desk<'_>, session: SessionId, id: &FrameworkId, resume: Option<Resume>) {
    if d.l.frameworks.subscribing.remove(&session).is_some() {
        attach(d, session, id, resume);
        return hold_to_rights(d, id);
    }
    // The session has ended while the log was asked.
    if d.l.frameworks.get(id).is_some_and(|standing| standing.session.is_some()) {
        // Another one stands, and hears nothing of this but what the framework now says of itself.
        updated(d, id);
        return hold_to_rights(d, id);
    }
    enter(d, id);
    cut_off(d, id);
}

/// What its principal may can have changed while the log was asked: one that holds a role it may no more is cut off.
fn hold_to_rights(d: &mut Desk<'_>, id: &FrameworkId) {
    let Some(session) = d.l.frameworks.get(id).and_then(|standing| standing.session) else { return };
    let roles = d.registry.framework(id).map(|framework| framework.record.info.roles.clone());
    if let Err(refusal) = takes(d, id, &roles.unwrap_or_default()) {
        fault(d, session, id.as_str(), refusal);
    }
}

/// Whether a framework may take offers in these roles, by what its principal may.
fn takes(d: &Desk<'_>, id: &FrameworkId, roles: &[Role]) -> Result<(), Refusal> {
    let owner = d.registry.framework(id).map(|framework| framework.record.principal.as_str());
    let principal: Caller =
        owner.unwrap_or_default().parse().map_err(|why: String| Refusal::new(Code::Denied, why))?;
    rights::takes(d.registry, &principal, roles)
}

/// The allocator gets to know the framework, or what it now says of itself.
fn enter(d: &mut Desk<'_>, id: &FrameworkId) {
    let Some(framework) = d.registry.framework(id) else { return };
    let roles = framework.record.info.roles.clone();
    let suppressed = d.l.frameworks.standing(id).suppressed.iter().cloned().collect();
    d.change(Change::FrameworkAdded { id: id.clone(), roles, suppressed });
}

fn attach(d: &mut Desk<'_>, session: SessionId, id: &FrameworkId, resume: Option<Resume>) {
    let Some(framework) = d.registry.framework(id) else { return };
    let roles = framework.record.info.roles.clone();
    let old = d.l.frameworks.connect(id, session);
    let forgets = mutants::is(Mutant::ForgetFence) || mutants::is(Mutant::SlowFence);
    if let Some(old) = old.filter(|_| !forgets) {
        let refusal =
            Refusal::new(Code::SessionReplaced, format!("another session of framework {id} took over"));
        d.l.deadlines.cancel(&Deadline::Session(old));
        d.tell_session(old, EventKind::Fault(Fault { refusal }));
        d.out.push(Output::CloseFramework { session: old });
        // What the old session was offered is the old session's: the new one gets its own.
        for offer in d.l.offers.of_framework(id) {
            d.rescind(offer, RescindReason::Operator);
        }
    }
    d.l.deadlines.cancel(&Deadline::Framework(id.clone()));
    d.after(Deadline::Session(session), SILENCE_LIMIT);

    let epoch = d.l.epoch;
    let missed = resume
        .filter(|resume| resume.epoch == epoch)
        .and_then(|resume| d.l.frameworks.get(id).and_then(|standing| standing.since(resume)));
    let resumed = missed.is_some();
    let tasks = if resumed { Vec::new() } else { super::reconcile::statuses(d, id) };
    let subscribed =
        Subscribed { framework: id.clone(), epoch, heartbeat_interval: HEARTBEAT_INTERVAL, resumed, tasks };
    match missed {
        Some(events) => {
            d.tell_session(session, EventKind::Subscribed(subscribed));
            for event in events {
                d.out.push(Output::ToFramework { session, event });
            }
        }
        None => {
            d.tell(id, EventKind::Subscribed(subscribed));
            for status in d.l.tasks.unacknowledged(id) {
                d.tell(id, EventKind::Update(status));
            }
            super::drain::tell_all(d, id);
        }
    }
    crate::masters::tell_session(d, session);
    enter(d, id);
    let standing = d.l.frameworks.standing(id);
    // Before the first offers: a framework that says what it wants is never offered anything else.
    if standing.demand_driven {
        let (demands, demand_driven) = (standing.demands.clone(), standing.demand_driven);
        d.change(Change::Demands { framework: id.clone(), demands, demand_driven });
    }
    d.out.push(Output::Note(Note::Framework { framework: id.clone(), what: "subscribed" }));
    d.audit_done(id, "subscribe", id.to_string(), 0, 1);
    d.show_framework(id);
    show_roles(d, roles);
}

/// The framework changes what it says of itself.
pub(crate) fn update(
    d: &mut Desk<'_>,
    id: &FrameworkId,
    operation: Option<OperationId>,
    call: UpdateFramework,
) {
    let Some(framework) = d.registry.framework(id) else { return };
    let checked = validate::framework(&call.framework).and_then(|()| takes(d, id, &call.framework.roles));
    if let Err(refusal) = checked {
        return d.refuse(id, operation, refusal);
    }
    let entry = Entry::FrameworkRegistered(FrameworkRegistered {
        id: id.clone(),
        info: call.framework,
        principal: framework.record.principal.clone(),
        fence: framework.record.fence,
    });
    let pending = match operation {
        Some(operation) => Pending::Answer { framework: id.clone(), operation },
        None => Pending::Unanswered { framework: id.clone() },
    };
    d.batch.propose(entry, pending);
}

/// The framework's new word is in the log.
fn updated(d: &mut Desk<'_>, id: &FrameworkId) {
    let Some(framework) = d.registry.framework(id) else { return };
    let roles = framework.record.info.roles.clone();
    for offer in d.l.offers.of_framework(id) {
        if d.l.offers.get(offer).is_some_and(|open| !roles.contains(&open.role)) {
            d.rescind(offer, RescindReason::DemandChanged);
        }
    }
    let suppressed = d.l.frameworks.standing(id).suppressed.iter().cloned().collect();
    d.change(Change::FrameworkRoles { id: id.clone(), roles: roles.clone(), suppressed });
    d.show_framework(id);
    show_roles(d, roles);
}

fn show_roles(d: &mut Desk<'_>, roles: Vec<Role>) {
    for role in roles {
        let view = crate::views::role(d.registry, &role);
        d.changed(Changed::RoleChanged(view));
    }
}

/// A session is over: offers come back, tasks run on, the failover timer starts.
pub(crate) fn close(d: &mut Desk<'_>, session: SessionId) {
    d.l.deadlines.cancel(&Deadline::Session(session));
    let Some(id) = d.l.frameworks.disconnect(session) else { return };
    cut_off(d, &id);
}

fn cut_off(d: &mut Desk<'_>, id: &FrameworkId) {
    for offer in d.l.offers.of_framework(id) {
        d.rescind(offer, RescindReason::Operator);
    }
    d.change(Change::FrameworkActive { id: id.clone(), active: false });
    start_timer(d, id);
    if mutants::is(Mutant::KillOnDisconnect) {
        let ids: Vec<_> = d.registry.tasks_of(id).map(|task| task.info.id.clone()).collect();
        ids.into_iter()
            .for_each(|task| super::kill::want(d, (id.clone(), task), Duration::ZERO, Pending::Nothing));
    }
    if d.registry.framework(id).is_some() {
        d.out.push(Output::Note(Note::Framework { framework: id.clone(), what: "disconnected" }));
        d.show_framework(id);
    }
}

/// Has it logged until when a framework without a session is waited for.
pub(crate) fn start_timer(d: &mut Desk<'_>, id: &FrameworkId) {
    let Some(framework) = d.registry.framework(id) else { return };
    let deadline_ms = d.deadline_ms(framework.record.info.failover_timeout);
    let entry = Entry::FrameworkDisconnected(FrameworkDisconnected { framework: id.clone(), deadline_ms });
    d.batch.propose(entry, Pending::Nothing);
}

/// It is in the log that the framework is cut off, and until when it is waited for: only now does its timer start, since
/// a timer of no length would otherwise end before the log knows what for.
pub(crate) fn disconnected(d: &mut Desk<'_>, id: &FrameworkId, deadline_ms: u64) {
    if d.registry.framework(id).is_none() {
        return;
    }
    if d.l.frameworks.get(id).is_some_and(|standing| standing.session.is_some()) {
        // It came back while the log was asked. The next leader must not take it for one that is cut off.
        return d.batch.propose(Entry::FrameworkReconnected(id.clone()), Pending::Nothing);
    }
    d.at(Deadline::Framework(id.clone()), deadline_ms);
}

/// Ends a session with a fault.
pub(crate) fn fault(d: &mut Desk<'_>, session: SessionId, caller: &str, refusal: Refusal) {
    let id = d.l.frameworks.on(session).or_else(|| d.l.frameworks.subscribing.get(&session)).cloned();
    fault_about(d, session, caller, id.as_ref(), refusal);
}

fn fault_about(
    d: &mut Desk<'_>,
    session: SessionId,
    caller: &str,
    id: Option<&FrameworkId>,
    refusal: Refusal,
) {
    let note =
        Note::Refused { caller: caller.to_owned(), code: refusal.code, message: refusal.message.clone() };
    d.out.push(Output::Note(note));
    d.audit_refused(id, &refusal, 1);
    d.tell_session(session, EventKind::Fault(Fault { refusal }));
    d.out.push(Output::CloseFramework { session });
    close(d, session);
}
