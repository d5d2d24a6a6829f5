//! What happened, told from the log: the same words with the same numbers on every master, so that whoever follows them goes
//! on at any other one.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use proto::agent::AgentState;
use proto::id::{AgentId, FrameworkId};
use proto::log::{
    Accepted, AcceptedPart, AgentDrained, AgentOperated, Entry, RightsSet, TaskRecord, TokenCreated,
    VolumesForgotten,
};
use proto::operation::Operation;
use proto::operator::{EVENT_KINDS, Happened};
use proto::roster::Roster;
use proto::volume::Volume;

use crate::effect::{Effect, TaskKey};
use crate::registry::Registry;

/// Events that the registry and its image remember. Masters keep more of them in memory.
pub const HISTORY_MAX: usize = 10_000;

/// The last events; their numbers have no gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    ring: VecDeque<Arc<Happened>>,
}

/// What is to be told of an entry, as far as it can be known before it is applied. Of tasks the effect tells.
pub(crate) enum Told {
    /// This, if the entry changes anything.
    These(Vec<Happened>),
    /// The tasks of the effect were adopted, not launched.
    Adopted,
}

fn of(kind: &'static str) -> Happened {
    Happened { kind: Cow::Borrowed(kind), ..Happened::default() }
}

fn on(kind: &'static str, agent: &AgentId) -> Happened {
    Happened { agent: Some(agent.clone()), ..of(kind) }
}

fn framework(kind: &'static str, id: &FrameworkId) -> Happened {
    Happened { framework: Some(id.clone()), ..of(kind) }
}

fn about(kind: &'static str, subject: impl ToString, message: String) -> Happened {
    Happened { subject: subject.to_string(), message, ..of(kind) }
}

// === impl History ===

impl History {
    /// From an image.
    pub fn of_image(history: Vec<Arc<Happened>>) -> History {
        History { ring: history.into() }
    }

    /// Oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Happened>> {
        self.ring.iter()
    }

    /// The events after a number, as far as they are kept.
    pub fn after(&self, sequence: u64) -> impl Iterator<Item = &Arc<Happened>> {
        let first = self.ring.front().map_or(1, |oldest| oldest.sequence);
        let known = sequence.saturating_add(1).saturating_sub(first);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(self.ring.len());
        self.ring.range(known..)
    }

    fn record(&mut self, index: u64, at_ms: u64, event: Happened) {
        debug_assert!(EVENT_KINDS.contains(&event.kind.as_ref()), "{} is no word for it", event.kind);
        let sequence = self.ring.back().map_or(1, |newest| newest.sequence + 1);
        self.ring.push_back(Arc::new(Happened { sequence, at_ms, index, ..event }));
        if self.ring.len() > HISTORY_MAX {
            self.ring.pop_front();
        }
    }
}

// === impl Registry ===

impl Registry {
    /// What happened after the event of this number, as far as it is kept, oldest first.
    pub fn history_after(&self, sequence: u64) -> impl Iterator<Item = &Arc<Happened>> {
        self.history.after(sequence)
    }

    /// What an entry is about, before it is applied.
    pub(crate) fn told(&self, entry: &Entry) -> Told {
        let one = match entry {
            Entry::AgentAdmitted(info) => on(self.admitted_as(&info.id), &info.id),
            Entry::AgentUnreachable(id) => on("agent-unreachable", id),
            Entry::AgentGone(id) => on("agent-gone", id),
            Entry::AgentDrained(inner) => drained(inner),
            Entry::AgentResumed(id) => on("agent-resumed", id),
            Entry::AgentOperated(inner) => return Told::These(operated(inner)),
            Entry::FrameworkRegistered(inner) => {
                let kind = match self.framework(&inner.id).map(|known| &known.record) {
                    None => "framework-registered",
                    Some(record) if record.deadline_ms > 0 => "framework-reconnected",
                    Some(_) => "framework-changed",
                };
                Happened { message: inner.info.name.clone(), ..framework(kind, &inner.id) }
            }
            Entry::FrameworkDisconnected(inner) => framework("framework-disconnected", &inner.framework),
            Entry::FrameworkReconnected(id) => framework("framework-reconnected", id),
            Entry::FrameworkRemoved(id) => framework("framework-removed", id),
            Entry::Accepted(inner) => return Told::These(operations(inner)),
            Entry::TaskAdopted(_) => return Told::Adopted,
            Entry::TaskEnded(_) | Entry::KillWanted(_) => return Told::These(Vec::new()),
            Entry::VolumesForgotten(inner) => return Told::These(self.deleted(inner)),
            Entry::QuotaSet(inner) => about("quota-set", &inner.role, String::new()),
            Entry::WeightSet(inner) => {
                about("weight-set", &inner.role, format!("{} thousandths", inner.weight.milli()))
            }
            Entry::TokenCreated(token) => token_created(token),
            Entry::TokenUsed(id) => about("token-used", id, String::new()),
            Entry::MastersChanged(inner) => about("masters-changed", &inner.what, format!("by {}", inner.by)),
            Entry::MastersSettled(_) => {
                let words = self.roster().map(Roster::change_in_words).unwrap_or_default();
                about("masters-settled", words, String::new())
            }
            Entry::SecretSet(inner) => {
                let version = self.next_version(&inner.role, &inner.name);
                let message = format!("in {}, version {version}, by {}", inner.role, inner.by);
                about("secret-set", &inner.name, message)
            }
            Entry::SecretRemoved(inner) => {
                let last = self.next_version(&inner.role, &inner.name) - 1;
                let message = format!("in {}, version {last}, by {}", inner.role, inner.by);
                about("secret-removed", &inner.name, message)
            }
            Entry::RightsSet(RightsSet { principal, rights }) => {
                let message = rights.as_ref().map_or_else(|| "as its kind".to_owned(), ToString::to_string);
                about("rights-set", principal, message)
            }
        };
        Told::These(vec![one])
    }

    /// Of those named, the ones that no earlier entry has forgotten.
    fn deleted(&self, inner: &VolumesForgotten) -> Vec<Happened> {
        let one = |volume: &Volume| Happened {
            subject: volume.id.to_string(),
            message: format!("in {}", volume.role),
            ..on("volume-deleted", &inner.agent)
        };
        let known = self.agent(&inner.agent).into_iter().flat_map(|record| &record.destroyed);
        known.filter(|volume| inner.volumes.contains(volume)).map(one).collect()
    }

    fn admitted_as(&self, id: &AgentId) -> &'static str {
        match self.agent(id).map(|record| record.state) {
            None => "agent-admitted",
            Some(AgentState::Unreachable) => "agent-back",
            // One that is gone is not admitted: nothing changes, and nothing is told.
            Some(AgentState::Active | AgentState::Disconnected | AgentState::Gone) => "agent-changed",
        }
    }

    /// Tells what an entry did.
    pub(crate) fn tell(&mut self, index: u64, at_ms: u64, told: Told, effect: &Effect) {
        let (mut events, launched) = match told {
            Told::These(events) => (events, "task-launched"),
            Told::Adopted => (Vec::new(), "task-adopted"),
        };
        match effect {
            Effect::Nothing | Effect::Fenced(_) | Effect::Repeated(_) => return,
            Effect::Launched { runs, dropped } => {
                events.extend(runs.iter().filter_map(|(key, _)| self.task_event(launched, key)));
                events.extend(dropped.iter().map(ended));
            }
            Effect::Ended(records) => events.extend(records.iter().map(ended)),
            Effect::OutOfSight(keys) => {
                events.extend(keys.iter().filter_map(|key| self.task_event("task-unreachable", key)));
            }
            Effect::ToKill(keys) => {
                events.extend(keys.iter().filter_map(|key| self.task_event("task-kill-wanted", key)));
            }
            Effect::Granted(who) => events.push(about("rights-set", who, self.rights(who).to_string())),
            Effect::Done => {}
        }
        events.into_iter().for_each(|event| self.history.record(index, at_ms, event));
    }

    fn task_event(&self, kind: &'static str, key: &TaskKey) -> Option<Happened> {
        self.task(key).map(|record| of_task(kind, record))
    }
}

fn drained(inner: &AgentDrained) -> Happened {
    let until = match inner.drain.deadline_ms {
        0 => String::new(),
        deadline_ms => format!(", what runs is ended at {deadline_ms}"),
    };
    let reason = if inner.drain.reason.is_empty() { "" } else { ": " };
    let message = format!("by {}{until}{reason}{}", inner.drain.by, inner.drain.reason);
    Happened { message, ..on("agent-drained", &inner.agent) }
}

fn token_created(token: &TokenCreated) -> Happened {
    let whom = if token.name.is_empty() { "any agent" } else { &token.name };
    about("token-created", &token.id, format!("for {whom}, {} uses", token.uses))
}

/// What an accept did besides launching.
fn operations(accepted: &Accepted) -> Vec<Happened> {
    let of_part = |part: &AcceptedPart| {
        let framework = Some(accepted.framework.clone());
        let told = part.operations.iter().filter_map(|operation| of_operation(&part.agent, operation));
        told.map(|event| Happened { framework: framework.clone(), ..event }).collect::<Vec<_>>()
    };
    accepted.parts.iter().flat_map(of_part).collect()
}

/// What an operator did with an agent's resources.
fn operated(inner: &AgentOperated) -> Vec<Happened> {
    let told = inner.operations.iter().filter_map(|operation| of_operation(&inner.agent, operation));
    told.map(|event| Happened { message: format!("{}, by {}", event.message, inner.by), ..event }).collect()
}

fn of_operation(agent: &AgentId, operation: &Operation) -> Option<Happened> {
    let (kind, subject, message) = match operation {
        Operation::Launch(_) | Operation::LaunchGroup(_) => return None,
        Operation::Reserve(r) => ("reserved", r.role.to_string(), r.amount.to_string()),
        Operation::Unreserve(r) => ("unreserved", r.role.to_string(), r.amount.to_string()),
        Operation::CreateVolume(v) => ("volume-created", v.volume.to_string(), format!("in {}", v.role)),
        Operation::DestroyVolume(v) => ("volume-destroyed", v.volume.to_string(), format!("in {}", v.role)),
    };
    Some(Happened { subject, message, ..on(kind, agent) })
}

fn of_task(kind: &'static str, record: &TaskRecord) -> Happened {
    Happened {
        framework: Some(record.framework.clone()),
        task: Some(record.info.id.clone()),
        ..on(kind, &record.agent)
    }
}

fn ended(record: &TaskRecord) -> Happened {
    let state = record.status.state.as_str();
    let message = match record.status.message.as_str() {
        "" => state.to_owned(),
        said => format!("{state}: {said}"),
    };
    Happened { message, ..of_task("task-ended", record) }
}
