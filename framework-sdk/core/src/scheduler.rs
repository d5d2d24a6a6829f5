//! The trait `Scheduler`: what a framework author writes.

use proto::agent::AgentState;
use proto::demand::Demand;
use proto::id::{AgentId, Epoch, FrameworkId, OfferId};
use proto::offer::Offer;
use proto::refusal::Refusal;
use proto::scheduler::{AgentDraining, CallKind, Outcome, RescindReason};
use proto_machine::{Instant, Now, WallTime};

use crate::calls::{Calls, Update};

/// A session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The framework's id: keep it durably, it is the claim to the tasks.
    pub framework: FrameworkId,
    /// The leader.
    pub epoch: Epoch,
    /// False: every offer of before is void, and statuses that changed meanwhile follow as updates.
    pub resumed: bool,
}

/// A call got its one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The call.
    pub call: CallKind,
    /// What came of it.
    pub outcome: Outcome,
    /// The tag under which it was made ([`Calls::tag`]); 0 without.
    pub tag: u64,
}

/// An operator wants an agent empty, on which the framework has tasks or something reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Which.
    pub agent: AgentId,
    /// What still runs there then is ended; `None`: what runs may end by itself.
    pub deadline: Option<WallTime>,
    /// For people; may be empty.
    pub reason: String,
}

impl Draining {
    pub(crate) fn of(notice: AgentDraining) -> Self {
        let deadline = Some(notice.deadline_ms).filter(|at| *at > 0).map(WallTime::from_millis);
        Draining { agent: notice.agent, deadline, reason: notice.reason }
    }
}

/// The second level of scheduling: decides what runs on the offers. It is called by a [`crate::Driver`], which keeps the
/// session, and says what it wants through [`Calls`]. It must not wait, read a clock or touch a disk: it runs the same
/// in production, in tests and in the simulator.
pub trait Scheduler {
    /// What its own shell may tell it; `()` if nothing.
    type Input;
    /// What it wants of its own shell; `()` if nothing.
    type Output;

    /// What is wanted when the framework starts: said with the first call, so that the first offers come for it already.
    /// `None` for plain offers; no demands for none until [`Calls::demand`] names some. Asked once.
    fn demands(&self) -> Option<Vec<Demand>> {
        None
    }

    /// A session stands, for the first time or again.
    fn subscribed(&mut self, _now: Now, _session: &Session, _out: &mut Calls<Self::Output>) {}

    /// The session broke. It is taken up again by itself; until then nothing is heard.
    fn disconnected(&mut self, _now: Now) {}

    /// Offers. Each is moved into a [`crate::Room`] and accepted, or declined, or held; one that is not mentioned is
    /// declined with reason `Unused`.
    fn offers(&mut self, now: Now, offers: Vec<Offer>, out: &mut Calls<Self::Output>);

    /// A task's status changed. Give the update to [`Calls::done`] once it is taken in, whatever it says; a later one of
    /// the same task comes only after that. Until then it may come again.
    fn update(&mut self, now: Now, update: Update, out: &mut Calls<Self::Output>);

    /// An offer that is held is void.
    fn rescinded(&mut self, _now: Now, _offer: OfferId, _why: RescindReason, _out: &mut Calls<Self::Output>) {
    }

    /// A call was carried out or refused. The tasks of a refused accept also come as updates with state Dropped.
    fn answered(&mut self, _now: Now, _answered: &Answered, _out: &mut Calls<Self::Output>) {}

    /// An agent is lost or unreachable; updates of its tasks come besides.
    fn failure(&mut self, _now: Now, _agent: &AgentId, _state: AgentState, _out: &mut Calls<Self::Output>) {}

    /// An agent is to be empty: what runs there is best started elsewhere before the deadline. It is told again when the
    /// deadline changes, and in each session that is not resumed as long as it lasts.
    fn draining(&mut self, _now: Now, _notice: &Draining, _out: &mut Calls<Self::Output>) {}

    /// An agent that was to be empty takes work again.
    fn resumed(&mut self, _now: Now, _agent: &AgentId, _out: &mut Calls<Self::Output>) {}

    /// The session is over for good: another instance took over, or the framework was removed. Nothing works any more.
    fn ended(&mut self, _now: Now, _why: &Refusal, _out: &mut Calls<Self::Output>) {}

    /// Something from its own shell.
    fn input(&mut self, _now: Now, _input: Self::Input, _out: &mut Calls<Self::Output>) {}

    /// The time it named has come.
    fn wake(&mut self, _now: Now, _out: &mut Calls<Self::Output>) {}

    /// When it wants to be woken.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// The driver's batch is over: what was gathered to be stored or sent at once goes out now.
    fn settle(&mut self, _now: Now, _out: &mut Calls<Self::Output>) {}
}
