//! `Life`: what happens in a pretend pool by itself: offers are made and expire, tasks start, run and end, agents repeat
//! what nobody acknowledged. It takes the time as an input, so it lives on a pretend clock as well as on a real one.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::id::{AgentId, OfferId, TaskId};
use proto::task::{Exit, TaskInfo, TaskState};
use proto_machine::{Deadlines, Instant};

use crate::fake::offers::OFFER_TIMEOUT;
use crate::fake::{Fake, Wish};

/// What a task does once it is launched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It runs until it is ended.
    #[default]
    Run,
    /// It ends well after so long.
    Finish(Duration),
    /// It ends badly after so long, with this exit code.
    Fail(Duration, i32),
    /// It never runs: nothing is heard of it after it was started, and it heeds no TERM.
    Hang,
}

/// How fast a pretend pool lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two rounds of offers.
    pub offers: Duration,
    /// How long an offer stands unanswered.
    pub offer_timeout: Duration,
    /// Between an accepted launch and its start.
    pub start: Duration,
    /// Between two times that an agent says the same.
    pub repeat: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            offers: Duration::from_secs(1),
            offer_timeout: OFFER_TIMEOUT,
            start: Duration::from_millis(100),
            repeat: Duration::from_secs(5),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    End,
    Kill,
}

/// The life of a pretend pool.
#[derive(Debug, Default)]
pub struct Life {
    pace: Pace,
    default: Behaviour,
    behaviours: Vec<(String, Behaviour)>,
    steps: Deadlines<(TaskId, Step)>,
    /// How many of the accepted tasks were seen to.
    seen: usize,
    /// Agents of which no offer is wanted until then.
    filters: BTreeMap<AgentId, Instant>,
    expiring: Deadlines<OfferId>,
    /// Agents whose tasks are ended then.
    emptied: Deadlines<AgentId>,
    offers_at: Instant,
    repeat_at: Instant,
}

// === impl Life ===

impl Life {
    /// At this pace, with tasks that run until they are ended.
    pub fn at(pace: Pace) -> Self {
        Life { pace, ..Life::default() }
    }

    /// Tasks whose id begins so behave so; the longest beginning counts. The empty one means all others.
    pub fn behave(&mut self, prefix: &str, behaviour: Behaviour) {
        if prefix.is_empty() {
            self.default = behaviour;
            return;
        }
        self.behaviours.retain(|(known, _)| known != prefix);
        self.behaviours.push((prefix.to_owned(), behaviour));
        self.behaviours.sort_by_key(|(known, _)| std::cmp::Reverse(known.len()));
    }

    fn behaviour(&self, task: &TaskId) -> Behaviour {
        let known = self.behaviours.iter().find(|(prefix, _)| task.as_str().starts_with(prefix.as_str()));
        known.map_or(self.default, |(_, behaviour)| *behaviour)
    }

    /// What runs on an agent at this time is ended, as a master does at the deadline of a drain; `None`: it may run on.
    pub fn empty(&mut self, agent: &AgentId, at: Option<Instant>) {
        match at {
            Some(at) => self.emptied.set(agent.clone(), at),
            None => drop(self.emptied.cancel(agent)),
        }
    }

    /// When something is due next.
    pub fn next_at(&self) -> Instant {
        let next = [self.steps.next(), self.expiring.next(), self.emptied.next()].into_iter().flatten();
        next.chain([self.offers_at, self.repeat_at]).min().unwrap_or_default()
    }

    /// Lets everything happen that is due.
    pub fn attend(&mut self, now: Instant, fake: &mut Fake) {
        fake.kills_take_time = true;
        self.take_up(now, fake);
        while let Some((task, step)) = self.steps.pop_due(now) {
            self.step(now, fake, &task, step);
        }
        while let Some(agent) = self.emptied.pop_due(now) {
            for task in fake.tasks_on(&agent) {
                self.kill(now, fake, task, None);
            }
        }
        while let Some(offer) = self.expiring.pop_due(now) {
            fake.expire(offer);
        }
        if self.repeat_at <= now {
            self.repeat_at = now + self.pace.repeat;
            fake.release_held();
            fake.redeliver();
        }
        if self.offers_at <= now {
            self.offers_at = now + self.pace.offers;
            self.filters.retain(|_, until| *until > now);
            fake.make_offers_of(&|agent| !self.filters.contains_key(agent));
        }
        for (offer, _) in fake.open_offers() {
            if self.expiring.get(&offer).is_none() {
                self.expiring.set(offer, now + self.pace.offer_timeout);
            }
        }
    }

    /// What the framework did since: launches, refusals, kills.
    fn take_up(&mut self, now: Instant, fake: &mut Fake) {
        for task in fake.accepted.iter().skip(self.seen) {
            self.steps.set((task.clone(), Step::Start), now + self.pace.start);
        }
        self.seen = fake.accepted.len();
        while let Some(wish) = fake.next_wish() {
            match wish {
                Wish::Refuse { agent, refuse } if refuse.is_zero() => drop(self.filters.remove(&agent)),
                Wish::Refuse { agent, refuse } => drop(self.filters.insert(agent, now + refuse)),
                Wish::Revive => self.filters.clear(),
                Wish::Kill { task, grace } => self.kill(now, fake, task, grace),
            }
        }
    }

    fn kill(&mut self, now: Instant, fake: &mut Fake, task: TaskId, grace: Option<Duration>) {
        let hangs = self.behaviour(&task) == Behaviour::Hang;
        let own = fake.task(task.as_str()).map_or(TaskInfo::KILL_GRACE_DEFAULT, |task| task.info.kill_grace);
        let wait = if hangs { grace.unwrap_or(own) } else { Duration::ZERO };
        self.steps.cancel(&(task.clone(), Step::Start));
        // Asking again changes nothing unless it shortens the grace, as with a real agent.
        let (step, at) = ((task.clone(), Step::Kill), now + wait);
        let asked = self.steps.get(&step);
        if asked.is_none_or(|asked| at < asked) {
            self.steps.set(step, at);
        }
        if hangs && asked.is_none() {
            fake.report_killing(&task, wait);
        }
    }

    fn step(&mut self, now: Instant, fake: &mut Fake, task: &TaskId, step: Step) {
        let behaviour = self.behaviour(task);
        match (step, behaviour) {
            (Step::Start, Behaviour::Hang) => fake.report(task, TaskState::Starting, None),
            (Step::Start, Behaviour::Run) => fake.report(task, TaskState::Running, None),
            (Step::Start, Behaviour::Finish(after) | Behaviour::Fail(after, _)) => {
                fake.report(task, TaskState::Running, None);
                self.steps.set((task.clone(), Step::End), now + after);
            }
            (Step::End, Behaviour::Finish(_)) => {
                fake.report(task, TaskState::Finished, Some(Exit::Code(0)));
            }
            (Step::End, Behaviour::Fail(_, code)) => {
                fake.report(task, TaskState::Failed, Some(Exit::Code(code)));
            }
            // It was told to behave otherwise meanwhile.
            (Step::End, Behaviour::Run | Behaviour::Hang) => {}
            (Step::Kill, Behaviour::Hang) => fake.report(task, TaskState::Killed, Some(Exit::Signal(9))),
            (Step::Kill, Behaviour::Run | Behaviour::Finish(_) | Behaviour::Fail(..)) => {
                fake.report(task, TaskState::Killed, Some(Exit::Signal(15)));
            }
        }
    }
}
