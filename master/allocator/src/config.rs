//! `Config`: the few numbers an operator may want otherwise.

use std::time::Duration;

use proto::quantities::Quantities;

/// What an operator may want otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A plain offer has at least so many thousandths of a cpu, or [`min_mem_bytes`](Config::min_mem_bytes). 10, as in
    /// Mesos (`--min_allocatable_resources`).
    pub min_cpus_milli: u64,
    /// See [`min_cpus_milli`](Config::min_cpus_milli). 32 MiB, as in Mesos.
    pub min_mem_bytes: u64,
    /// Once the unanswered offers of a framework hold such a part of the pool, in thousandths, it gets no more while
    /// another wants something. 500 by default; 1000 and more means no bound. Mesos had none, and one slow framework
    /// could hold all.
    pub hold_share_milli: u32,
    /// A declined agent is not offered again before so much time has passed, whatever the framework asked for. Mesos'
    /// floor was its allocation interval, 1 s; offers here are made at once, so that 100 ms keep a framework that
    /// declines with no filter from spinning.
    pub refuse_min: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            min_cpus_milli: 10,
            min_mem_bytes: 32 << 20,
            hold_share_milli: 500,
            refuse_min: Duration::from_millis(100),
        }
    }
}

impl Config {
    /// Whether so much is worth a plain offer.
    pub(crate) fn is_enough(&self, scalars: &Quantities) -> bool {
        scalars.cpus_milli() >= self.min_cpus_milli || scalars.mem_bytes() >= self.min_mem_bytes
    }
}
