//! Mutants: bugs put in on purpose, each of which a checker has to catch within a stated number of seeds.

pub use proto_machine::mutants::Mutant;

use std::collections::BTreeSet;

use crate::members;
use crate::options::{FURTHER, Options, Personality};
use crate::pool;
use crate::trim::Trim;

/// What has to catch a mutant, and how soon.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The promise that it breaks. What catches it first may be another that rests on that one.
    pub promise: &'static str,
    /// Within so many seeds.
    pub seeds: u64,
    /// Of worlds of this kind.
    pub worlds: Worlds,
}

/// The worlds in which a mutant can show itself: the others are passed over, and not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worlds {
    /// Any.
    All,
    /// With clients of the frameworks' state.
    Store,
    /// In which frameworks reserve, and make and destroy volumes.
    Volumes,
    /// In which the log is cut early.
    Cut,
    /// From the seed on with which worlds have habits that came later.
    Further,
    /// From the seed on with which masters come and go.
    Members,
    /// The first wave of pools with a framework that asks for what is others'.
    Pools,
}

impl Worlds {
    /// What they are called.
    pub fn name(self) -> &'static str {
        match self {
            Worlds::All => "any",
            Worlds::Store => "with a store",
            Worlds::Volumes => "with volumes",
            Worlds::Cut => "with a short log",
            Worlds::Further => "from 4294967296",
            Worlds::Members => "from 12884901888",
            Worlds::Pools => "a wave of pools",
        }
    }

    /// Whether the world of a seed is one of them.
    pub fn has(self, options: &Options) -> bool {
        match self {
            Worlds::All => true,
            Worlds::Store => options.store_clients > 1,
            Worlds::Volumes => makes_volumes(options),
            Worlds::Cut => options.snapshot_after_bytes <= 4 << 10,
            Worlds::Further | Worlds::Members => true,
            Worlds::Pools => options.frameworks.iter().any(|plan| plan.personality == Personality::Wrong),
        }
    }

    /// How much of a world is run.
    pub fn trim(self) -> Trim {
        let waves = (self == Worlds::Pools).then(|| BTreeSet::from([1]));
        Trim { waves, ..Trim::default() }
    }

    /// The seed to begin with.
    pub fn first(self) -> u64 {
        match self {
            Worlds::Further => FURTHER,
            Worlds::Members => members::FIRST,
            Worlds::Pools => pool::FIRST,
            Worlds::All | Worlds::Store | Worlds::Volumes | Worlds::Cut => 1,
        }
    }
}

fn makes_volumes(options: &Options) -> bool {
    options.frameworks.iter().any(|plan| plan.habits.reserves && plan.jobs > 0)
}

/// What has to catch a mutant, and within how many seeds.
pub fn bound(mutant: Mutant) -> Bound {
    use Worlds::{All, Cut, Further, Members, Pools, Store, Volumes};
    let (promise, seeds, worlds) = match mutant {
        Mutant::AnswerBeforeStoring => ("P3", 20, All),
        Mutant::ForgetVote => ("P6", 10, All),
        Mutant::DropPreVote => ("P6", 10, All),
        Mutant::LeadTooSoon => ("P1", 150, All),
        Mutant::ApplyTwice => ("P5", 60, Cut),
        Mutant::OneStep => ("members", 10, Members),
        Mutant::RetireEarly => ("members", 10, Members),
        Mutant::LoseChange => ("P13", 40, Members),
        Mutant::NumberAgain => ("members", 40, Members),
        Mutant::BeginAnew => ("P6", 150, Members),
        Mutant::StayRemoved => ("P13", 20, Members),
        Mutant::AnswerBeforeCommit => ("P3", 10, All),
        Mutant::ReuseRun => ("P2", 20, All),
        Mutant::OfferTwice => ("P1", 20, All),
        Mutant::ForgetUse => ("P1", 10, All),
        Mutant::StaleAccept => ("P9", 40, Further),
        Mutant::AnyOwner => ("P9", 6, Pools),
        Mutant::ForgetRescind => ("P9", 30, All),
        Mutant::OfferForever => ("P9", 30, All),
        Mutant::FilterForever => ("P13", 40, Further),
        Mutant::QuotaOverrun => ("P10", 20, Further),
        Mutant::GiveReserved => ("P10", 20, Volumes),
        Mutant::LoseFailoverTimer => ("P8", 40, Further),
        Mutant::ForgetFence => ("P8", 30, Further),
        Mutant::SlowFence => ("P8", 300, Further),
        Mutant::ForgetFilter => ("P11", 60, All),
        Mutant::KillOnDisconnect => ("P7", 40, All),
        Mutant::TakeUnsynced => ("P2", 60, All),
        Mutant::ObeyAnyone => ("P6", 200, Further),
        Mutant::StartAgain => ("P2", 60, All),
        Mutant::ForgetEnd => ("P2", 60, All),
        Mutant::RedeliverNever => ("P4", 40, All),
        Mutant::SkipNumber => ("P4", 10, All),
        Mutant::KillOnRestart => ("P7", 60, All),
        Mutant::KeepDestroyed => ("volumes", 40, Volumes),
        Mutant::CasIgnoresRevision => ("P15", 20, Store),
        Mutant::WatchSkips => ("P15", 20, Store),
        Mutant::LeaseEndsWithLeader => ("P15", 20, Store),
        Mutant::ForgetKeepAlive => ("P15", 20, Store),
        Mutant::StaleRead => ("P15", 100, Store),
        Mutant::ForgetEpoch => ("P15", 20, Store),
        Mutant::AcknowledgeEarly => ("P4", 10, All),
        Mutant::ForgetPending => ("P3", 40, All),
        Mutant::Unseeded => ("P14", 1, All),
    };
    Bound { promise, seeds, worlds }
}

/// All of them as the table of docs/reliability.md.
pub fn table() -> String {
    let mut table =
        "| mutant | what it does | breaks | caught within | worlds |\n|---|---|---|---|---|\n".to_owned();
    for mutant in Mutant::ALL {
        let Bound { promise, seeds, worlds } = bound(*mutant);
        let (name, what, worlds) = (mutant.name(), mutant.what(), worlds.name());
        table += &format!("| `{name}` | {what} | {promise} | {seeds} seeds | {worlds} |\n");
    }
    table
}
