//! Soaks: many seeds, each on one thread, as many at a time as the machine has cores; and what came of them together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::run::{Report, judged};

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// How many there were.
    pub seeds: u64,
    /// Those that broke a promise, and how.
    pub broken: BTreeMap<u64, String>,
    /// How long all worlds lived, in their own nanoseconds.
    pub lived: u128,
    /// How many events there were.
    pub events: u64,
    /// How many tasks were executed.
    pub tasks: u64,
    /// The longest that one took to heal, and which.
    pub slowest: (u64, u64),
    /// The most events, and the most offers, in one second.
    pub busiest: (u64, u64),
    /// How often what happened that is worth counting.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Sum {
    fn add(&mut self, seed: u64, verdict: Result<Report, String>) {
        self.seeds += 1;
        match verdict {
            Ok(report) => {
                self.lived += u128::from(report.lived);
                self.events += report.events;
                self.tasks += report.executed as u64;
                self.slowest = self.slowest.max((report.healed_in, seed));
                let (events, offers) = report.busiest;
                self.busiest = (self.busiest.0.max(events), self.busiest.1.max(offers));
                report.marks.iter().for_each(|(what, count)| *self.marks.entry(what).or_default() += count);
            }
            Err(how) => {
                self.broken.insert(seed, how);
            }
        }
    }

    fn join(mut self, other: Sum) -> Sum {
        self.seeds += other.seeds;
        self.broken.extend(other.broken);
        self.lived += other.lived;
        self.events += other.events;
        self.tasks += other.tasks;
        self.slowest = self.slowest.max(other.slowest);
        self.busiest = (self.busiest.0.max(other.busiest.0), self.busiest.1.max(other.busiest.1));
        other.marks.into_iter().for_each(|(what, count)| *self.marks.entry(what).or_default() += count);
        self
    }

    /// How many hours all worlds lived.
    pub fn hours(&self) -> f64 {
        self.lived as f64 / 3.6e12
    }

    /// How fast it went, for people.
    pub fn speed(&self, took: Duration) -> String {
        let minutes = took.as_secs_f64() / 60.0;
        format!(
            "{:.1} minutes; {:.0} simulated hours a minute, {:.0} events a second",
            minutes,
            self.hours() / minutes,
            self.events as f64 / took.as_secs_f64(),
        )
    }
}

/// Runs so many seeds from this one on; what breaks a promise is told at once.
pub fn soak(from: u64, count: u64, tell: impl Fn(u64, &str) + Sync) -> Sum {
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return sum;
            }
            let verdict = judged(from + at, false);
            if let Err(how) = &verdict {
                tell(from + at, how);
            }
            sum.add(from + at, verdict);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let sums = workers.into_iter().map(|worker| worker.join().expect("a worker ends well"));
        sums.fold(Sum::default(), Sum::join)
    })
}
