//! `Output`: what an agent wants done, in order.

use std::sync::Arc;
use std::time::Duration;

use proto::agent_link::{TaskRun, ToMaster};
use proto::check::CheckRole;
use proto::id::{Epoch, RunId};
use proto::ledger::Record;
use proto::refusal::Refusal;
use proto::volume::Volume;

use crate::input::LinkId;

/// What an agent wants done. The crate's page says what the order promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the ledger. Nothing behind it may be performed before it is written.
    Store {
        /// What.
        record: Record,
        /// Whether it must survive the loss of power too before anything behind it is performed.
        sync: bool,
    },
    /// Replace the whole ledger by these records: all or nothing, also if power is lost. What stands before it is in
    /// them, what stands behind it is not. Nothing behind it may be performed before it is done.
    Rewrite(Vec<Record>),
    /// Say to the master on the newest link; lost if that is broken.
    ToMaster(ToMaster),
    /// Do something with a container. Never fails: what comes of it is told as an input.
    Contain(Contain),
    /// Open a connection to this master, in place of any other; answered by `Linked` or `Unlinked`.
    Connect {
        /// Names it from now on.
        link: LinkId,
        /// `host:port`.
        address: String,
    },
    /// Close this connection.
    Disconnect(LinkId),
    /// Remember where the masters are, for the next start.
    Masters(Vec<String>),
    /// The pool does not want this agent: end the process. Tasks that still run are left alone.
    Leave(Refusal),
    /// `EndRuns` is done: the last run is over, and its end was said if there is a master to say it to. Nothing is said
    /// any more; the link is left open for what is on its way.
    Ended,
    /// Something an operator may want to know.
    Note(Note),
}

/// What to do with a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contain {
    /// Start it. A run that is already being started or known to the keeper is not started again.
    Launch(Arc<TaskRun>),
    /// End it: TERM, and KILL after the grace. May come twice, and for a run that is unknown or over.
    Kill {
        /// Which run.
        run: RunId,
        /// Time between TERM and KILL.
        grace: Duration,
    },
    /// Forget it; it is over and everybody knows how. May come for a run that is unknown.
    Destroy(RunId),
    /// Delete what is on this volume, and try until it is done: then `Input::VolumeRemoved`. There may be nothing on it.
    RemoveVolume(Volume),
    /// Carry out a check of a run, within its timeout: then `Container::Checked`, also when it could not be
    /// carried out.
    Check(Ask),
}

/// One question to one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// To which run.
    pub given: Arc<TaskRun>,
    /// Which of its task's checks.
    pub role: CheckRole,
    /// Names the question in its answer.
    pub number: u64,
}

/// Something an operator may want to know; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A master has admitted the agent.
    Joined {
        /// Which.
        address: String,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The link to the master that had admitted it is lost.
    Lost {
        /// Which.
        address: String,
    },
    /// The master said nothing for too long.
    Silent {
        /// Which.
        address: String,
    },
    /// A master that no longer leads was not obeyed.
    OldEpoch {
        /// Its.
        epoch: Epoch,
        /// The one obeyed before.
        obeyed: Epoch,
    },
    /// The master wants a run ended that the agent does not know; the master learns of that when it registers.
    UnknownKill {
        /// Which.
        run: RunId,
    },
    /// The master launched a run that is over, acknowledged and forgotten; its end was told again.
    ForgottenLaunch {
        /// Which.
        run: RunId,
    },
    /// The keeper runs something that the ledger does not know: it is ended.
    Orphan {
        /// Which.
        run: RunId,
    },
}
