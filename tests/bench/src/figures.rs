//! Figures: many durations, told by their percentiles; and what the process weighs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Durations of one thing done many times.
#[derive(Default)]
pub struct Timings {
    nanos: Vec<u64>,
}

impl Timings {
    /// Does it once and notes how long it took.
    pub fn time<T>(&mut self, it: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = it();
        self.note(start.elapsed());
        result
    }

    /// Notes one duration.
    pub fn note(&mut self, took: Duration) {
        self.nanos.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes in those of another.
    pub fn take(&mut self, other: Timings) {
        self.nanos.extend(other.nanos);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nanos.len()
    }

    /// Microseconds at a percentile.
    pub fn micros(&mut self, percent: usize) -> f64 {
        self.nanos.sort_unstable();
        let at = (self.nanos.len() * percent / 100).min(self.nanos.len().saturating_sub(1));
        self.nanos.get(at).map_or(0.0, |nanos| *nanos as f64 / 1000.0)
    }

    /// All together, in microseconds.
    pub fn sum_micros(&self) -> f64 {
        self.nanos.iter().sum::<u64>() as f64 / 1000.0
    }

    /// Best, median, 99th percentile and worst, in microseconds.
    pub fn json(&mut self) -> Value {
        json!({
            "n": self.nanos.len(),
            "min_us": self.micros(0),
            "p50_us": self.micros(50),
            "p99_us": self.micros(99),
            "max_us": self.micros(100),
        })
    }
}

/// Resident memory of this process in MiB; 0 where the system does not tell.
pub fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
