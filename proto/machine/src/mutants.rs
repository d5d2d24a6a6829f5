//! Bugs put in on purpose, to test the tests: one is planted for a whole process, and only in a build that asks for it.
//!
//! Without the feature `mutants` there are none: [`is`] is `false`, and nothing is left of the branches that ask it. No
//! crate turns the feature on but the simulator's own feature of that name, and a build without debug assertions refuses
//! it.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` puts bugs in; it is for debug builds of the simulator only");

macro_rules! mutants {
    ($($kind:ident, $name:literal, $what:literal;)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Mutant {
            $(#[doc = $what] $kind,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$kind,)+];

            /// The one of this name.
            pub fn named(name: &str) -> Option<Mutant> {
                Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
            }

            /// What it is called on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Mutant::$kind => $name,)+
                }
            }

            /// What it does.
            pub fn what(self) -> &'static str {
                match self {
                    $(Mutant::$kind => $what,)+
                }
            }
        }
    };
}

mutants! {
    // consensus
    AnswerBeforeStoring, "answer-before-storing", "a follower acknowledges entries before they are on its disk";
    ForgetVote, "forget-vote", "a member does not write down for whom it voted";
    DropPreVote, "drop-pre-vote", "a member campaigns without asking first whether it would be heard";
    LeadTooSoon, "lead-too-soon", "a leader begins before it has applied what earlier ones committed";
    ApplyTwice, "apply-twice", "the first entry behind a snapshot is applied twice";
    OneStep, "one-step", "voters come and go in one step, without two majorities in between";
    // the list of masters
    RetireEarly, "retire-early", "a change of masters is said to be through before the group of the frameworks' state is";
    LoseChange, "lose-change", "a new leader does not go on with a change of masters";
    NumberAgain, "number-again", "numbers of masters that have left are given again";
    BeginAnew, "begin-anew", "a master whose log is gone begins anew under its number";
    StayRemoved, "stay-removed", "a master that was removed does not stop, and is listened to";
    // the master
    AnswerBeforeCommit, "answer-before-commit", "an accept is answered before it is committed";
    ReuseRun, "reuse-run", "two tasks of one batch get the same run id";
    OfferTwice, "offer-twice", "what was offered to one framework is offered to another too";
    ForgetUse, "forget-use", "what the tasks of an accept use is counted as free";
    StaleAccept, "stale-accept", "an offer of an earlier leader is taken for one of the same number";
    AnyOwner, "any-owner", "an offer that was made to another framework may be used";
    ForgetRescind, "forget-rescind", "a framework is not told that an offer was taken back";
    OfferForever, "offer-forever", "an offer that nobody answers does not end";
    FilterForever, "filter-forever", "what was declined for a while is never offered again";
    QuotaOverrun, "quota-overrun", "limits of a quota do not bound what is offered";
    GiveReserved, "give-reserved", "what is reserved for a role is offered to others";
    LoseFailoverTimer, "lose-failover-timer", "a new leader does not wait for frameworks to come back";
    ForgetFence, "forget-fence", "an earlier instance of a framework keeps its session beside the latest";
    SlowFence, "slow-fence", "an earlier instance of a framework is let go some seconds after it was succeeded";
    ForgetFilter, "forget-filter", "what was declined is offered again at once";
    KillOnDisconnect, "kill-on-disconnect", "the tasks of a framework that is cut off are ended at once";
    // the agent
    TakeUnsynced, "take-unsynced", "a run is started before it is on disk that it was taken on";
    ObeyAnyone, "obey-anyone", "an agent obeys the leader of an earlier term";
    StartAgain, "start-again", "after a restart of its machine an agent starts what it had started";
    ForgetEnd, "forget-end", "an agent that is restarted forgets ends that were not acknowledged";
    RedeliverNever, "redeliver-never", "an update that was lost is not sent again";
    SkipNumber, "skip-number", "the updates of a run are numbered with gaps";
    KillOnRestart, "kill-on-restart", "an agent that is restarted ends what runs";
    KeepDestroyed, "keep-destroyed", "what is on a destroyed volume is not deleted";
    // the frameworks' state
    CasIgnoresRevision, "cas-ignores-revision", "a compare-and-swap does not compare";
    WatchSkips, "watch-skips", "a watch leaves a revision out";
    LeaseEndsWithLeader, "lease-ends-with-leader", "a new leader lets leases run out at once";
    ForgetKeepAlive, "forget-keep-alive", "a lease that is kept alive runs out all the same";
    StaleRead, "stale-read", "a read is answered without asking whether the leader still leads";
    ForgetEpoch, "forget-epoch", "a write of an earlier epoch than was claimed is taken";
    // the SDK
    AcknowledgeEarly, "acknowledge-early", "an update is acknowledged before its framework has taken it in";
    ForgetPending, "forget-pending", "a call without an answer is not sent to the next leader";
    // every machine
    Unseeded, "unseeded", "a machine draws randomness that is not the seed's";
}

#[cfg(feature = "mutants")]
mod planted {
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    use super::Mutant;

    const NONE: u8 = u8::MAX;
    static PLANTED: AtomicU8 = AtomicU8::new(NONE);
    static DRAWN: AtomicU64 = AtomicU64::new(0);

    /// Plants a bug, for as long as the process lives.
    pub fn plant(mutant: Mutant) {
        PLANTED.store(mutant as u8, Ordering::Relaxed);
    }

    /// Whether this bug is planted.
    pub fn is(mutant: Mutant) -> bool {
        PLANTED.load(Ordering::Relaxed) == mutant as u8
    }

    /// A number that no two calls of a process get.
    pub fn unseeded() -> u64 {
        DRAWN.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(feature = "mutants")]
pub use planted::{is, plant, unseeded};

/// Whether this bug is planted: none is in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_mutant: Mutant) -> bool {
    false
}

/// What a planted bug would draw; nothing in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn unseeded() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
    }

    #[test]
    fn none_is_planted_by_itself() {
        assert!(Mutant::ALL.iter().all(|mutant| !is(*mutant)));
    }
}
