//! `Trim`: what of a seed's misfortunes is left out of a run, so that the few that matter can be found.

use std::collections::BTreeSet;
use std::fmt;

use crate::options::Options;

/// A kind of misfortune that is not drawn now and then but is there all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Luck {
    /// Processes die in the middle of what they want done.
    Midway,
    /// Datagrams are lost, and come twice.
    Loss,
    /// Messages are late.
    Late,
    /// Syncs are slow.
    SlowSync,
    /// Clocks differ.
    Clocks,
    /// Operators want things.
    Operator,
    /// Tasks fail, cannot be started, do not listen.
    Tasks,
    /// There is more to do as time goes on.
    Work,
}

impl Luck {
    /// All of them.
    pub const ALL: [Luck; 8] = [
        Luck::Midway,
        Luck::Loss,
        Luck::Late,
        Luck::SlowSync,
        Luck::Clocks,
        Luck::Operator,
        Luck::Tasks,
        Luck::Work,
    ];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Luck::Midway => "midway",
            Luck::Loss => "loss",
            Luck::Late => "late",
            Luck::SlowSync => "slow-sync",
            Luck::Clocks => "clocks",
            Luck::Operator => "operator",
            Luck::Tasks => "tasks",
            Luck::Work => "work",
        }
    }

    fn spare(self, options: &mut Options) {
        match self {
            Luck::Midway => options.midway = false,
            Luck::Loss => (options.lost_permille, options.doubled_permille) = (0, 0),
            Luck::Late => options.late_permille = 0,
            Luck::SlowSync => options.slow_sync_permille = 0,
            Luck::Clocks => (options.skew_ms, options.drift_ppm) = (0, 0),
            Luck::Operator => options.operator_every = 0,
            Luck::Tasks => {
                (options.failing_permille, options.unstartable_permille, options.deaf_permille) = (0, 0, 0);
            }
            Luck::Work => options.work_every = 0,
        }
    }
}

/// What is left out of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trim {
    /// Of the faults that the rest draws, only these come, by their number from 1.
    pub only: Option<BTreeSet<usize>>,
    /// Of the waves of a pool, only these come.
    pub waves: Option<BTreeSet<u64>>,
    /// What is spared.
    pub without: BTreeSet<Luck>,
    /// Everything else falls differently.
    pub shuffle: u64,
}

impl Trim {
    /// Takes a flag of the command line; what is wrong with it.
    pub fn take(&mut self, flag: &str, value: &str) -> Result<(), String> {
        let numbers = || {
            let number = |word: &str| word.parse().map_err(|_| format!("{flag}: {word:?} is not a number"));
            value.split(',').map(number).collect::<Result<Vec<u64>, String>>()
        };
        match flag {
            "--only" if value == "none" => self.only = Some(BTreeSet::new()),
            "--only" => self.only = Some(numbers()?.into_iter().map(|number| number as usize).collect()),
            "--waves" => self.waves = Some(numbers()?.into_iter().collect()),
            "--shuffle" => {
                self.shuffle = value.parse().map_err(|_| format!("--shuffle: {value:?} is not a number"))?;
            }
            "--without" => {
                for word in value.split(',') {
                    let known = Luck::ALL.into_iter().find(|luck| luck.name() == word);
                    let names = Luck::ALL.map(Luck::name).join(", ");
                    self.without.insert(known.ok_or(format!("--without: {word:?} is none of {names}"))?);
                }
            }
            _ => return Err(format!("{flag} is not known")),
        }
        Ok(())
    }

    /// Leaves out what is always there.
    pub fn spare(&self, options: &mut Options) {
        self.without.iter().for_each(|luck| luck.spare(options));
    }

    /// Whether a wave of a pool comes.
    pub fn has_wave(&self, number: u64) -> bool {
        self.waves.as_ref().is_none_or(|waves| waves.contains(&number))
    }

    /// Whether any wave behind this one comes; one that is not bounded has no last one.
    pub fn goes_on_behind(&self, number: u64) -> bool {
        self.waves.as_ref().is_none_or(|waves| waves.last().is_some_and(|last| *last > number))
    }
}

impl fmt::Display for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(waves) = &self.waves {
            words.push(format!("--waves {}", joined(waves)));
        }
        if !self.without.is_empty() {
            words.push(format!("--without {}", joined(self.without.iter().map(|luck| luck.name()))));
        }
        if self.shuffle > 0 {
            words.push(format!("--shuffle {}", self.shuffle));
        }
        if let Some(only) = &self.only {
            words.push(format!("--only {}", if only.is_empty() { "none".to_owned() } else { joined(only) }));
        }
        f.write_str(&words.join(" "))
    }
}

fn joined<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_said_again() {
        let trim = Trim {
            only: Some([3, 17].into()),
            waves: Some([2].into()),
            without: [Luck::Loss, Luck::Midway].into(),
            shuffle: 4,
        };
        for trim in [trim, Trim { only: Some(BTreeSet::new()), ..Trim::default() }, Trim::default()] {
            let text = trim.to_string();
            let words: Vec<&str> = text.split_whitespace().collect();
            let mut again = Trim::default();
            for pair in words.chunks(2) {
                again.take(pair[0], pair[1]).expect("it is known");
            }
            assert_eq!(again, trim, "{text}");
        }
        assert!(Trim::default().take("--without", "rain").is_err());
        assert!(Trim::default().take("--only", "x").is_err());
    }
}
