//! `Line`: the session with the leading master: finding it, subscribing, heartbeats, silence, epochs and sequence numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::framework::FrameworkInfo;
use proto::id::{Epoch, FrameworkId};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::scheduler::{Call, CallKind, Event, EventKind, Resume, Subscribe, UpdateDemands};
use proto::task::TaskStatus;
use proto_machine::{Dice, Instant, Now, Outbox};

use crate::driver::Output;
use crate::finder::Finder;
use crate::scheduler::Session;

/// How long a master may take to connect and answer a subscribe: an election is over by then, and a master that hangs
/// costs no more than this.
pub const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(3);
/// So many heartbeats may be missed before the line counts as dead.
const SILENT_HEARTBEATS: u32 = 3;
/// Never give up on a master that was silent for less: a busy machine is not a dead one.
const SILENCE_MIN: Duration = Duration::from_secs(2);
/// A session that stood for so long was a good one: the search after it starts anew without waiting.
const GOOD_SESSION: Duration = Duration::from_secs(1);
/// Bounds for the interval a master may ask for.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// One attempt to talk to a master. What comes from an earlier one is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not connected; the next try is due then.
    Waiting(Instant),
    /// Connected or connecting; the master must have answered by then.
    Subscribing(Instant),
    /// The session stands.
    Standing { since: Instant, heard: Instant, spoke: Instant, interval: Duration },
    /// Over for good.
    Ended,
}

/// What an event means for the driver.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Nothing to do.
    Nothing,
    /// A session stands; with `resumed` false the tasks are all that the master knows.
    Stands { session: Session, tasks: Vec<TaskStatus> },
    /// Over for good.
    Ended(Refusal),
    /// Something for the author.
    Event(EventKind),
}

/// The session with the leading master.
#[derive(Debug)]
pub(crate) struct Line {
    pub info: FrameworkInfo,
    pub suppressed: BTreeSet<Role>,
    /// What a master has taken from it as its demands, or would be told first; `None` for plain offers.
    pub demands: Option<UpdateDemands>,
    /// Which of several instances of the framework this is.
    pub fence: u64,
    id: Option<FrameworkId>,
    finder: Finder,
    dice: Dice,
    link: Link,
    phase: Phase,
    /// The highest epoch that was obeyed.
    epoch: Epoch,
    /// The last event of that epoch; `None` while the stream's start is not known.
    sequence: Option<u64>,
    /// Whether the events so far are whole, so that a session can go on behind them.
    resumable: bool,
}

// === impl Line ===

impl Line {
    pub fn new(info: FrameworkInfo, id: Option<FrameworkId>, masters: Vec<String>, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Line {
            info,
            suppressed: BTreeSet::new(),
            demands: None,
            fence: 0,
            id,
            finder: Finder::new(masters, &mut dice),
            dice,
            link: Link(0),
            phase: Phase::Waiting(Instant::default()),
            epoch: Epoch::default(),
            sequence: None,
            resumable: false,
        }
    }

    pub fn stands(&self) -> bool {
        matches!(self.phase, Phase::Standing { .. })
    }

    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    pub fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(until) | Phase::Subscribing(until) => Some(until),
            Phase::Standing { heard, spoke, interval, .. } => {
                Some((heard + silence_limit(interval)).min(spoke + interval))
            }
            Phase::Ended => None,
        }
    }

    pub fn wake<O>(&mut self, now: Now, out: &mut Outbox<Output<O>>) {
        match self.phase {
            Phase::Waiting(until) if until <= now.monotonic => self.dial(now, out),
            Phase::Subscribing(until) if until <= now.monotonic => self.hang_up(now, out),
            Phase::Standing { heard, interval, .. } if heard + silence_limit(interval) <= now.monotonic => {
                self.hang_up(now, out);
            }
            Phase::Standing { spoke, interval, .. } if spoke + interval <= now.monotonic => {
                self.send(now, Call { operation: None, kind: CallKind::Heartbeat }, out);
            }
            Phase::Waiting(_) | Phase::Subscribing(_) | Phase::Standing { .. } | Phase::Ended => {}
        }
    }

    /// Sends, if the session stands.
    pub fn send<O>(&mut self, now: Now, call: Call, out: &mut Outbox<Output<O>>) {
        if let Phase::Standing { spoke, .. } = &mut self.phase {
            *spoke = now.monotonic;
            out.push(Output::Send { link: self.link, call });
        }
    }

    /// The link broke.
    pub fn lost<O>(&mut self, now: Now, link: Link, out: &mut Outbox<Output<O>>) {
        if link == self.link && !matches!(self.phase, Phase::Waiting(_) | Phase::Ended) {
            self.retry(now, out);
        }
    }

    /// No more: neither calls nor tries.
    pub fn end<O>(&mut self, out: &mut Outbox<Output<O>>) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            out.push(Output::Disconnect { link: self.link });
        }
    }

    pub fn hear<O>(&mut self, now: Now, link: Link, event: Event, out: &mut Outbox<Output<O>>) -> Heard {
        if link != self.link {
            return Heard::Nothing;
        }
        match &mut self.phase {
            Phase::Waiting(_) | Phase::Ended => return Heard::Nothing,
            Phase::Standing { heard, .. } => *heard = now.monotonic,
            Phase::Subscribing(_) => {
                // Events of the session come only after it stands.
                let early = matches!(
                    event.kind,
                    EventKind::Offers(_)
                        | EventKind::Rescind(_)
                        | EventKind::Update(_)
                        | EventKind::Answer(_)
                        | EventKind::Failure(_)
                        | EventKind::AgentDraining(_)
                        | EventKind::AgentResumed(_)
                );
                if early {
                    return Heard::Nothing;
                }
            }
        }
        match event.kind {
            EventKind::Redirect(redirect) => {
                out.push(Output::Disconnect { link });
                let wait = self.finder.redirected(&redirect.leader_address, &mut self.dice);
                self.try_again(now, wait, out);
                Heard::Nothing
            }
            EventKind::Fault(fault) if is_final(fault.refusal.code) => {
                self.end(out);
                Heard::Ended(fault.refusal)
            }
            EventKind::Fault(_) => {
                self.hang_up(now, out);
                Heard::Nothing
            }
            EventKind::Masters(masters) if event.sequence == 0 => {
                self.finder.learn(&masters);
                Heard::Nothing
            }
            EventKind::Heartbeat if event.sequence == 0 => Heard::Nothing,
            EventKind::Subscribed(subscribed) => {
                if subscribed.epoch < self.epoch || (subscribed.resumed && !self.can_resume(subscribed.epoch))
                {
                    // A master that lost the lead without knowing, or one that resumes what was not asked.
                    self.resumable = false;
                    self.hang_up(now, out);
                    return Heard::Nothing;
                }
                if let Some(id) = self.id.as_ref().filter(|id| **id != subscribed.framework) {
                    let message = format!("asked for framework {id}, was given {}", subscribed.framework);
                    self.end(out);
                    return Heard::Ended(Refusal::new(Code::Conflict, message));
                }
                if subscribed.resumed {
                    if self.sequence.is_some_and(|last| event.sequence == last + 1) {
                        self.sequence = Some(event.sequence);
                    }
                } else {
                    self.sequence = (event.sequence > 0).then_some(event.sequence);
                }
                self.id = Some(subscribed.framework.clone());
                self.epoch = subscribed.epoch;
                self.resumable = true;
                self.finder.stands();
                let interval = subscribed.heartbeat_interval.clamp(HEARTBEAT.0, HEARTBEAT.1);
                let time = now.monotonic;
                self.phase = Phase::Standing { since: time, heard: time, spoke: time, interval };
                let session = Session {
                    framework: subscribed.framework,
                    epoch: subscribed.epoch,
                    resumed: subscribed.resumed,
                };
                Heard::Stands { session, tasks: subscribed.tasks }
            }
            kind @ (EventKind::Heartbeat
            | EventKind::Masters(_)
            | EventKind::Offers(_)
            | EventKind::Rescind(_)
            | EventKind::Update(_)
            | EventKind::Answer(_)
            | EventKind::Failure(_)
            | EventKind::AgentDraining(_)
            | EventKind::AgentResumed(_)) => {
                if event.sequence > 0 {
                    if self.sequence.is_some_and(|last| event.sequence <= last) {
                        return Heard::Nothing;
                    }
                    if self.sequence.is_some_and(|last| event.sequence > last + 1) {
                        // Something was lost on the way: only a whole snapshot helps.
                        self.resumable = false;
                        self.hang_up(now, out);
                        return Heard::Nothing;
                    }
                    self.sequence = Some(event.sequence);
                }
                Heard::Event(kind)
            }
        }
    }

    fn can_resume(&self, epoch: Epoch) -> bool {
        self.resumable && epoch == self.epoch
    }

    fn hang_up<O>(&mut self, now: Now, out: &mut Outbox<Output<O>>) {
        out.push(Output::Disconnect { link: self.link });
        self.retry(now, out);
    }

    fn retry<O>(&mut self, now: Now, out: &mut Outbox<Output<O>>) {
        if let Phase::Standing { since, .. } = self.phase
            && now.monotonic - since >= GOOD_SESSION
        {
            self.finder.stood();
        }
        let wait = self.finder.failed(&mut self.dice);
        self.try_again(now, wait, out);
    }

    fn try_again<O>(&mut self, now: Now, wait: Duration, out: &mut Outbox<Output<O>>) {
        self.phase = Phase::Waiting(now.monotonic + wait);
        if wait.is_zero() {
            self.dial(now, out);
        }
    }

    fn dial<O>(&mut self, now: Now, out: &mut Outbox<Output<O>>) {
        let Some(master) = self.finder.take() else { return };
        self.link = Link(self.link.0 + 1);
        self.phase = Phase::Subscribing(now.monotonic + SUBSCRIBE_LIMIT);
        let resume = self
            .resumable
            .then_some(Resume { epoch: self.epoch, sequence: self.sequence.unwrap_or_default() });
        // Roles may have been given up since; a demand in one of them would be a reason to turn the framework away.
        let mut demands = self.demands.clone();
        if let Some(said) = &mut demands {
            said.demands.retain(|demand| self.info.roles.contains(&demand.role));
        }
        let subscribe = CallKind::Subscribe(Subscribe {
            framework: self.info.clone(),
            id: self.id.clone(),
            resume,
            suppressed_roles: self.suppressed.iter().cloned().collect(),
            demands,
            fence: self.fence,
        });
        out.push(Output::Connect { link: self.link, master });
        out.push(Output::Send { link: self.link, call: Call { operation: None, kind: subscribe } });
    }
}

fn silence_limit(interval: Duration) -> Duration {
    (interval * SILENT_HEARTBEATS).max(SILENCE_MIN)
}

/// Whether a fault is one that no other master and no later try will judge differently.
fn is_final(code: Code) -> bool {
    match code {
        Code::Denied
        | Code::NotFound
        | Code::Invalid
        | Code::Conflict
        | Code::StaleOffer
        | Code::FrameworkRemoved
        | Code::SessionReplaced
        | Code::BadToken
        | Code::AgentGone
        | Code::Compacted
        | Code::Fenced => true,
        Code::LeaderLost | Code::TooMuch | Code::Unavailable => false,
    }
}
