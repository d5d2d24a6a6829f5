//! A change of a group's spec on its way: how far it is, whether it waits for a word, and what is done when it fails.

use std::fmt;
use std::time::Duration;

use proto::task::TaskState;
use proto_machine::Now;

use super::event::{Event, RolloutStep, WhyBack};
use super::slot::Attempt;
use super::table::{Edition, Table};
use super::{Due, Reconciler};
use crate::desired::{GroupName, Restart, Revision};

/// A change that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rollout {
    pub to: Revision,
    pub phase: Phase,
    /// Since when no instance more has come into service with the new spec, in milliseconds since 1970.
    since_ms: u64,
    /// How many tasks of the new spec have ended badly since then.
    failures: u32,
    /// The most instances that were in service with it so far.
    best: usize,
    /// The author knows how this phase ended.
    told: bool,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Some change first, and then it waits for a word.
    Canary,
    /// All change.
    Rest,
    /// It failed: all go back to what was good, or it stops.
    Failed(WhyBack),
}

// === impl Rollout ===

impl Rollout {
    fn begin(to: Revision, phase: Phase, now_ms: u64) -> Self {
        Rollout { to, phase, since_ms: now_ms, failures: 0, best: 0, told: false }
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        (self.phase, self.since_ms, self.failures, self.told) = (phase, now_ms, 0, false);
    }

    fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Failed(_))
    }

    /// As it is remembered.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let to = Revision::parse(words.next()?)?;
        let phase = words.next()?;
        let phase = PHASES.into_iter().find(|known| phase == word(*known))?;
        let (since_ms, failures, best) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Rollout { to, phase, since_ms, failures, best, told: false })
    }
}

const PHASES: [Phase; 5] = [
    Phase::Canary,
    Phase::Rest,
    Phase::Failed(WhyBack::Deadline),
    Phase::Failed(WhyBack::Failures),
    Phase::Failed(WhyBack::Abandoned),
];

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Canary => "canary",
        Phase::Rest => "rest",
        Phase::Failed(WhyBack::Deadline) => "deadline",
        Phase::Failed(WhyBack::Failures) => "failures",
        Phase::Failed(WhyBack::Abandoned) => "abandoned",
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} {}", self.to, word(self.phase), self.since_ms, self.failures, self.best)
    }
}

// === impl Reconciler ===

impl Reconciler {
    /// What is remembered of a group's change comes back to it.
    pub(super) fn remember_rollout(&self, table: &mut Table) {
        let name = table.group.name.clone();
        table.know_good(self.memory.good(&name));
        let known = self.memory.rollout(&name).filter(|rollout| rollout.to == table.stated.revision);
        if known.is_some() && table.good_revision.is_some_and(|good| good != table.stated.revision) {
            table.rollout = known;
            table.reaim();
        }
    }

    /// Takes a change as far as it has come.
    pub(super) fn advance_rollout(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name).filter(|table| !table.withdrawn) else { return };
        if table.rollout.is_none() && !begins(table) {
            if table.stands_well() && table.sums().wanted > 0 {
                self.is_good(name);
            }
            return;
        }
        let now_ms = now.wall.as_millis();
        let (change, to) = (table.group.change, table.stated.revision);
        let mut step = None;
        let mut rollout = match table.rollout.take() {
            Some(rollout) => rollout,
            None => {
                step = Some(RolloutStep::Begun);
                let phase = if change.canary > 0 { Phase::Canary } else { Phase::Rest };
                Rollout::begin(to, phase, now_ms)
            }
        };
        if rollout.phase == Phase::Canary && change.canary == 0 {
            rollout.enter(Phase::Rest, now_ms);
        }
        let changed = table.sums().changed;
        if rollout.is_under_way() && changed > rollout.best {
            (rollout.best, rollout.since_ms, rollout.failures) = (changed, now_ms, 0);
        }
        // As the phase is now: what follows asks who is a canary, and what should run.
        let new_phase = step.is_some();
        table.rollout = Some(rollout.clone());
        if new_phase {
            table.reaim();
        }
        let ran_for = Duration::from_millis(now_ms.saturating_sub(rollout.since_ms));
        let waits = rollout.phase == Phase::Canary && (rollout.told || canaries_serve(table));
        let why = match (change.deadline, change.failures) {
            _ if !rollout.is_under_way() => None,
            (_, Some(most)) if rollout.failures >= most.max(1) => Some(WhyBack::Failures),
            (Some(deadline), _) if !waits && ran_for >= deadline => Some(WhyBack::Deadline),
            _ => None,
        };
        self.tell_rollout(name, step);
        if let Some(why) = why {
            return self.fail_rollout(now, name, why);
        }
        self.conclude_rollout(name, waits);
        self.await_deadline(now, name);
        self.keep_rollout(name);
    }

    /// A phase may be over.
    fn conclude_rollout(&mut self, name: &GroupName, waits: bool) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let sums = table.sums();
        let all = sums.changed == sums.wanted && table.stands();
        let stands_well = table.stands_well();
        let goes_back = table.back_to().is_some();
        let Some(rollout) = &mut table.rollout else { return };
        let step = match rollout.phase {
            Phase::Canary if waits && !rollout.told => RolloutStep::CanaryWaits,
            Phase::Failed(why) if goes_back && stands_well && !rollout.told => RolloutStep::RolledBack(why),
            Phase::Rest if all => {
                table.rollout = None;
                self.is_good(name);
                self.due.cancel(&Due::Deadline(name.clone()));
                return self.tell_rollout(name, Some(RolloutStep::Done));
            }
            Phase::Canary | Phase::Rest | Phase::Failed(_) => return,
        };
        rollout.told = true;
        self.tell_rollout(name, Some(step));
    }

    /// The spec as it is stated is one to go back to.
    fn is_good(&mut self, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let revision = table.stated.revision;
        table.good_revision = Some(revision);
        if table.good.as_ref().is_none_or(|good| good.revision != revision) {
            table.good = Some(table.stated.clone());
        }
        self.keep_rollout(name);
    }

    /// What has to outlive the process is remembered.
    fn keep_rollout(&mut self, name: &GroupName) {
        let Some(table) = self.groups.get(name) else { return };
        let guarded = table.group.change.is_guarded();
        self.memory.set_good(name, table.good_revision.filter(|_| guarded));
        self.memory.set_rollout(name, table.rollout.as_ref().filter(|_| guarded));
    }

    fn await_deadline(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get(name) else { return };
        let due = Due::Deadline(name.clone());
        let runs = |rollout: &&Rollout| match rollout.phase {
            Phase::Canary => !rollout.told,
            Phase::Rest => true,
            Phase::Failed(_) => false,
        };
        match (table.group.change.deadline, table.rollout.as_ref().filter(runs)) {
            (Some(deadline), Some(rollout)) => {
                let ran_for = now.wall.as_millis().saturating_sub(rollout.since_ms);
                let left = deadline.saturating_sub(Duration::from_millis(ran_for));
                self.due.set(due, now.monotonic + left.max(Duration::from_millis(1)));
            }
            (None, _) | (_, None) => drop(self.due.cancel(&due)),
        }
    }

    fn fail_rollout(&mut self, now: Now, name: &GroupName, why: WhyBack) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let Some(rollout) = &mut table.rollout else { return };
        rollout.enter(Phase::Failed(why), now.wall.as_millis());
        let goes_back = table.back_to().is_some();
        table.reaim();
        self.due.cancel(&Due::Deadline(name.clone()));
        self.keep_rollout(name);
        let step = if goes_back { RolloutStep::GoesBack(why) } else { RolloutStep::Stopped(why) };
        self.tell_rollout(name, Some(step));
        // Perhaps nothing has to be done for it.
        self.touched.insert(name.clone());
    }

    fn tell_rollout(&mut self, name: &GroupName, step: Option<RolloutStep>) {
        let Some(revision) = self.groups.get(name).map(|table| table.stated.revision) else { return };
        if let Some(step) = step {
            self.tell(Event::Rollout { group: name.clone(), revision, step });
        }
    }

    /// The author likes what the canaries do: the others follow.
    pub(super) fn promote(&mut self, now: Now, name: &GroupName) {
        let Some(table) = self.groups.get_mut(name) else { return };
        let canary = |rollout: &&mut Rollout| rollout.phase == Phase::Canary;
        let Some(rollout) = table.rollout.as_mut().filter(canary) else { return };
        rollout.enter(Phase::Rest, now.wall.as_millis());
        table.reaim();
        self.tell_rollout(name, Some(RolloutStep::Promoted));
        self.touched.insert(name.clone());
    }

    /// The author does not want the change any more.
    pub(super) fn abandon(&mut self, now: Now, name: &GroupName) {
        let rollout = self.groups.get(name).and_then(|table| table.rollout.as_ref());
        if rollout.is_some_and(Rollout::is_under_way) {
            self.fail_rollout(now, name, WhyBack::Abandoned);
        }
    }
}

// === impl Table ===

impl Table {
    /// A task ended that nobody wanted to end: of a change that speaks against it.
    pub fn count_failure(&mut self, attempt: &Attempt, state: TaskState) {
        let always = self.group.restart == Restart::Always;
        let bad = match state {
            TaskState::Failed | TaskState::Error => true,
            TaskState::Finished => always,
            // That it was ended, or lost its machine, says nothing of the spec.
            TaskState::Killed
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown
            | TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Unreachable => false,
        };
        if let Some(rollout) = &mut self.rollout
            && rollout.is_under_way()
            && attempt.revision == rollout.to
            && bad
        {
            rollout.failures = rollout.failures.saturating_add(1);
        }
    }
}

/// Whether the stated spec is a change of one that was good.
fn begins(table: &mut Table) -> bool {
    if table.good_revision.is_none() && table.group.change.is_guarded() && table.has_old() {
        // An earlier life did not say what was good: then it is what runs, if that is one spec.
        let one = {
            let staying = table.slots().flat_map(|(_, slot)| slot.staying());
            let mut running = staying.filter(|attempt| attempt.ready).map(|attempt| attempt.revision);
            running.next().filter(|first| running.all(|other| other == *first))
        };
        table.good_revision = one.filter(|revision| *revision != table.stated.revision);
        let previous = table.group.previous.as_ref().map(Edition::of);
        table.good = previous.filter(|previous| Some(previous.revision) == table.good_revision);
    }
    table.good_revision.is_some_and(|good| good != table.stated.revision)
}

fn canaries_serve(table: &Table) -> bool {
    let stated = table.stated.revision;
    let serves = |number: u32| {
        table.slot(number).is_some_and(|slot| {
            slot.staying().any(|attempt| attempt.ready && attempt.revision == stated)
                || slot.is_over(Some(stated))
        })
    };
    table.canaries().all(serves) && table.sums().surging == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_reads_back() {
        for phase in PHASES {
            let rollout = Rollout {
                to: Revision::of_hash(77),
                phase,
                since_ms: 1_700_000_000_000,
                failures: 2,
                best: 5,
                told: false,
            };
            assert_eq!(Rollout::parse(&rollout.to_string()), Some(rollout));
        }
        assert_eq!(Rollout::parse("0000025 sideways 1 2 3"), None);
    }
}
