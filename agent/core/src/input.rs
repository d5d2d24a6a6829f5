//! `Input`: what can happen to an agent.

use proto::agent::AgentInfo;
use proto::agent_link::ToAgent;
use proto::check::CheckRole;
use proto::id::RunId;
use proto::ledger::Record;
use proto::task::Exit;
use proto::volume::Volume;

/// Names one connection to a master: what comes from an earlier one is not listened to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What can happen to an agent.
#[derive(Clone, Debug)]
pub enum Input {
    /// What its ledger remembers. First of all inputs, once.
    Restore(Restore),
    /// What its keeper remembers: all of it. After `Restore`, and whenever the keeper had to be asked anew. The agent
    /// looks for a master after the first one.
    Recovered(Vec<Found>),
    /// The connection asked for is open.
    Linked(LinkId),
    /// The connection asked for could not be opened, or broke.
    Unlinked(LinkId),
    /// The master says something.
    FromMaster(LinkId, ToAgent),
    /// A container says something.
    Container(Container),
    /// What was on a volume is deleted, as `Contain::RemoveVolume` wanted.
    VolumeRemoved(Volume),
    /// What the agent says of itself has changed: it presents itself anew.
    InfoChanged(AgentInfo),
    /// How much room there is where the ledger and the tasks' sandboxes are: before `Recovered`, and whenever it changes.
    Room(Room),
    /// The ledger has grown too long: answered by `Output::Rewrite`.
    Rewrite,
    /// The operator wants the agent to end and to leave nothing behind: all runs are ended and reported, none is taken
    /// on any more. Answered by `Output::Ended` when the last one is over.
    EndRuns,
}

/// How much room there is on the agent's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    #[default]
    Enough,
    /// None for new tasks. What is kept free in the ledger is for those that the agent has.
    None,
}

/// What the ledger remembers.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// Its records, oldest first, all of them synced.
    pub records: Vec<Record>,
    /// Whether the machine was restarted since the last of them: nothing that ran runs any more. A driver must go on
    /// saying so, at the next start too, until the outputs of the first `Recovered` have been performed and synced:
    /// only then is it in the ledger what became of the runs.
    pub rebooted: bool,
}

/// What happens to a container. Those of one run come in the order `Started`, `Exited`, or `StartFailed` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Container {
    /// Its command was executed.
    Started {
        /// Of which run.
        run: RunId,
        /// Its first process.
        pid: u32,
    },
    /// Its command was not executed and will not be.
    StartFailed {
        /// Of which run.
        run: RunId,
        /// Why.
        failure: StartFailure,
    },
    /// It is over.
    Exited {
        /// Of which run.
        run: RunId,
        /// How.
        end: End,
    },
    /// A check was carried out, as `Contain::Check` wanted. May come at any time.
    Checked(Checked),
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Of which run.
    pub run: RunId,
    /// Which check.
    pub role: CheckRole,
    /// The number of the question.
    pub number: u64,
    /// What came of it.
    pub result: CheckOutcome,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It was good.
    Good,
    /// It was not, and why, for people.
    Bad(String),
    /// It was not carried out, for a reason that is not the task's: it says nothing about the task.
    NotCarriedOut,
}

/// Why a command was not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// In one word.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// Why a command was not executed, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something of its container could not be made.
    Launch,
    /// An artifact could not be fetched.
    Fetch,
    /// A secret could not be brought to it.
    Secret,
    /// It may not run so on this agent.
    Unauthorized,
    /// It was killed before it was begun.
    Canceled,
}

/// The end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub how: How,
    /// Whether the kernel killed in it for want of memory.
    pub oom: bool,
    /// When it was seen, in milliseconds since 1970.
    pub at_ms: u64,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself or by a signal. The keeper has this on disk until it is told to forget.
    Exit(Exit),
    /// Nobody saw how.
    Lost(Loss),
}

/// Why nobody saw how a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The machine was restarted.
    Rebooted,
    /// The keeper died.
    KeeperDied,
}

/// A run the keeper knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub run: RunId,
    /// Where it stands.
    pub state: FoundState,
}

/// Where a run stands at the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// Accepted, not yet executed; `Started` or `StartFailed` will follow.
    Starting,
    /// Executed and not over.
    Running {
        /// Its first process.
        pid: u32,
    },
    /// Over.
    Exited(End),
    /// Never executed.
    StartFailed(StartFailure),
}
