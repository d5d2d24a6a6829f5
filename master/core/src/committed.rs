//! What follows from a committed entry: on the leader the second half of the verb that proposed it, on a follower a changed view.

use master_registry::{Effect, Registry};
use proto::id::AgentId;
use proto::log::Entry;
use proto::operator::ReplyKind;
use proto::refusal::{Code, Refusal};
use proto_machine::Outbox;

use crate::audited;
use crate::batch::Pending;
use crate::desk::Desk;
use crate::output::Output;
use crate::verbs::{
    accept, drain, earmark, kill, lose_agent, operate, quota, register, rights, secrets, subscribe, teardown,
    update,
};
use crate::views;

/// What an entry is about, apart from tasks.
pub(crate) enum Touched {
    Nothing,
    Agent(AgentId),
    Framework(proto::id::FrameworkId),
    Role(proto::role::Role),
    Secrets,
}

impl Touched {
    pub fn of(entry: &Entry) -> Touched {
        match entry {
            Entry::AgentAdmitted(info) => Touched::Agent(info.id.clone()),
            Entry::AgentUnreachable(id) | Entry::AgentGone(id) | Entry::AgentResumed(id) => {
                Touched::Agent(id.clone())
            }
            Entry::AgentDrained(inner) => Touched::Agent(inner.agent.clone()),
            Entry::AgentOperated(inner) => Touched::Agent(inner.agent.clone()),
            Entry::FrameworkRegistered(inner) => Touched::Framework(inner.id.clone()),
            Entry::FrameworkDisconnected(inner) => Touched::Framework(inner.framework.clone()),
            Entry::FrameworkReconnected(id) | Entry::FrameworkRemoved(id) => Touched::Framework(id.clone()),
            Entry::QuotaSet(inner) => Touched::Role(inner.role.clone()),
            Entry::WeightSet(inner) => Touched::Role(inner.role.clone()),
            Entry::SecretSet(_) | Entry::SecretRemoved(_) => Touched::Secrets,
            Entry::Accepted(_)
            | Entry::TaskEnded(_)
            | Entry::KillWanted(_)
            | Entry::TaskAdopted(_)
            | Entry::TokenCreated(_)
            | Entry::TokenUsed(_)
            | Entry::VolumesForgotten(_)
            | Entry::MastersChanged(_)
            | Entry::MastersSettled(_)
            | Entry::RightsSet(_) => Touched::Nothing,
        }
    }
}

/// The leader goes on with whatever proposed the entry.
pub(crate) fn second_half(d: &mut Desk<'_>, index: u64, entry: &Entry, pending: Pending, effect: Effect) {
    audited::committed(d, index, entry, &pending, &effect);
    match entry {
        Entry::AgentUnreachable(id) => lose_agent::lost(d, id, effect),
        Entry::AgentGone(id) => lose_agent::given_up(d, id, effect),
        Entry::FrameworkRemoved(id) => {
            teardown::removed(d, id, index, &pending, effect);
            if let Pending::Reply { ticket } = pending {
                d.reply(ticket, ReplyKind::Done(index));
            }
            return;
        }
        Entry::TaskEnded(_) => {
            if let Effect::Ended(records) = effect {
                records.into_iter().for_each(|record| update::logged(d, record));
            }
        }
        Entry::KillWanted(inner) => kill::ask(d, &(inner.framework.clone(), inner.task.clone())),
        Entry::TaskAdopted(inner) => register::adopted(d, inner, &effect),
        Entry::QuotaSet(inner) => quota::role_set(d, &inner.role),
        Entry::WeightSet(inner) => quota::role_set(d, &inner.role),
        Entry::Accepted(inner) => {
            if let Pending::Accept { framework, operation } = pending {
                accept::accepted(d, &framework, operation, index, inner, effect);
            }
            return;
        }
        Entry::FrameworkRegistered(inner) => {
            return subscribe::registered(d, index, &inner.id, pending, &effect);
        }
        Entry::FrameworkDisconnected(inner) => {
            subscribe::disconnected(d, &inner.framework, inner.deadline_ms);
        }
        Entry::TokenUsed(_) => return operate::redeemed(d, index, &pending, &effect),
        Entry::RightsSet(inner) => rights::set(d, &inner.principal),
        Entry::AgentDrained(inner) => drain::changed(d, &inner.agent),
        Entry::AgentResumed(id) => drain::changed(d, id),
        Entry::SecretSet(_) | Entry::SecretRemoved(_) => {
            return secrets::settled(d, index, entry, &pending, &effect);
        }
        Entry::AgentOperated(inner) => return earmark::operated(d, inner, index, &pending, &effect),
        Entry::MastersChanged(_) => {
            if let (Pending::Reply { ticket }, Effect::Nothing) = (&pending, &effect) {
                let refusal = Refusal::new(Code::Conflict, "another change of masters came first")
                    .with_help("look at `stoa raft status`, and order it again if it is still wanted");
                return d.reply(*ticket, ReplyKind::Refused(refusal));
            }
        }
        Entry::AgentAdmitted(_)
        | Entry::MastersSettled(_)
        | Entry::FrameworkReconnected(_)
        | Entry::TokenCreated(_)
        | Entry::VolumesForgotten(_) => {}
    }
    match pending {
        Pending::Nothing
        | Pending::Unanswered { .. }
        | Pending::Accept { .. }
        | Pending::Subscribe { .. } => {}
        Pending::Admit { link, register } => register::admitted(d, link, *register),
        Pending::Reply { ticket } => d.reply(ticket, ReplyKind::Done(index)),
        Pending::Answer { framework, operation } => {
            d.answer(&framework, operation, proto::scheduler::Outcome::Committed(index));
        }
    }
}

/// A follower shows what the log changed.
pub(crate) fn show(registry: &Registry, touched: &Touched, effect: Effect, out: &mut Outbox<Output>) {
    use proto::operator::EventKind as Changed;
    let task = |key: &master_registry::TaskKey| {
        registry.task(key).map(|record| Changed::TaskChanged(views::task(registry, record, None)))
    };
    match effect {
        Effect::Launched { runs, dropped } => {
            out.extend(runs.iter().filter_map(|(key, _)| task(key)).map(Output::Changed));
            let views = dropped.iter().map(|record| views::task(registry, record, None));
            out.extend(views.map(|view| Output::Changed(Changed::TaskChanged(view))));
        }
        Effect::OutOfSight(keys) | Effect::ToKill(keys) => {
            out.extend(keys.iter().filter_map(task).map(Output::Changed));
        }
        Effect::Ended(records) => {
            let views = records.iter().map(|record| views::task(registry, record, None));
            out.extend(views.map(|view| Output::Changed(Changed::TaskChanged(view))));
        }
        Effect::Done | Effect::Nothing | Effect::Fenced(_) | Effect::Granted(_) | Effect::Repeated(_) => {}
    }
    let changed = match touched {
        Touched::Agent(id) => {
            registry.agent(id).map(|record| Changed::AgentChanged(views::agent(record, true)))
        }
        Touched::Framework(id) => match registry.framework(id) {
            Some(framework) => Some(Changed::FrameworkChanged(views::logged_framework(framework))),
            None => Some(Changed::FrameworkRemoved(id.clone())),
        },
        Touched::Secrets => {
            out.push(Output::Secrets(registry.secrets().clone()));
            None
        }
        Touched::Role(role) => Some(Changed::RoleChanged(views::role(registry, role))),
        Touched::Nothing => None,
    };
    out.extend(changed.map(Output::Changed));
}

/// Shows everything the log knows: after a snapshot, and to whoever saw a leader show more.
pub(crate) fn show_everything(registry: &Registry, out: &mut Outbox<Output>) {
    let snapshot = views::snapshot(registry, None, 0);
    out.push(Output::Changed(proto::operator::EventKind::Snapshot(snapshot)));
    out.push(Output::Secrets(registry.secrets().clone()));
}
