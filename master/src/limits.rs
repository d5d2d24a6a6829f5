//! How much each caller may ask for in a second: buckets that fill by themselves, one for each principal and kind of call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use proto::operation::Operation;
use proto::scheduler::CallKind;

/// A call costs so much, and others a part or a multiple of it.
pub(crate) const CALL: u64 = 100;
/// Streams that one principal may open: as many as it may have frameworks at once, when a new leader is found, and then so many a second.
const OPENS_AT_ONCE: u64 = 300;
const OPENS_A_SECOND: u64 = 20;
/// Strangers at one address: a rack that is installed joins at once.
const JOINS_AT_ONCE: u64 = 1_000;
const JOINS_A_SECOND: u64 = 50;
/// Buckets are forgotten when they are full, once there are so many.
const BUCKETS_MAX: usize = 4_096;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Questions and orders, each a call.
    Asks,
    /// Those of people: they may do all there is in any case, and their scripts are many.
    People,
    /// What is said on the sessions of frameworks.
    Calls,
    /// Streams that are opened, by the word for what they are.
    Opens(&'static str),
    /// Tokens that are shown, by the address of the stranger.
    Joins,
}

/// What fills and how far.
#[derive(Clone, Copy, Debug)]
struct Flow {
    at_once: u64,
    a_second: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In hundredths of a call; below zero: owed.
    level: i64,
    at: Instant,
}

/// The buckets of all callers.
pub(crate) struct Buckets {
    calls_a_second: u64,
    buckets: Mutex<HashMap<(String, Kind), Bucket>>,
}

impl Flow {
    fn full(self) -> i64 {
        i64::try_from(self.at_once.saturating_mul(CALL)).unwrap_or(i64::MAX)
    }

    /// What has come in since.
    fn filled(self, bucket: Bucket, now: Instant) -> i64 {
        let since = now.saturating_duration_since(bucket.at).as_micros();
        let more = since.saturating_mul(u128::from(self.a_second * CALL)) / 1_000_000;
        bucket.level.saturating_add(i64::try_from(more).unwrap_or(i64::MAX)).min(self.full())
    }

    /// How long until so much has come in.
    fn wait(self, lacking: i64) -> Duration {
        let micros = u64::try_from(lacking).unwrap_or(0).saturating_mul(1_000_000);
        Duration::from_micros(micros.div_ceil((self.a_second * CALL).max(1)))
    }
}

// === impl Buckets ===

impl Buckets {
    /// With so many calls a second for each principal, and twice as many at once.
    pub fn new(calls_a_second: u64) -> Buckets {
        Buckets { calls_a_second: calls_a_second.max(1), buckets: Mutex::default() }
    }

    /// How many calls a second a principal may make.
    pub fn calls_a_second(&self) -> u64 {
        self.calls_a_second
    }

    fn flow(&self, kind: Kind) -> Flow {
        match kind {
            Kind::Asks | Kind::Calls => {
                Flow { at_once: 2 * self.calls_a_second, a_second: self.calls_a_second }
            }
            Kind::People => Flow { at_once: 20 * self.calls_a_second, a_second: 10 * self.calls_a_second },
            Kind::Opens(_) => Flow { at_once: OPENS_AT_ONCE, a_second: OPENS_A_SECOND },
            Kind::Joins => Flow { at_once: JOINS_AT_ONCE, a_second: JOINS_A_SECOND },
        }
    }

    fn with<T>(&self, who: &str, kind: Kind, now: Instant, then: impl FnOnce(Flow, &mut i64) -> T) -> T {
        let flow = self.flow(kind);
        // Nobody panics while holding it.
        let mut all = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= BUCKETS_MAX {
            all.retain(|(_, kind), bucket| {
                let flow = self.flow(*kind);
                flow.filled(*bucket, now) < flow.full()
            });
        }
        let bucket = all.entry((who.to_owned(), kind)).or_insert(Bucket { level: flow.full(), at: now });
        bucket.level = flow.filled(*bucket, now);
        bucket.at = now;
        then(flow, &mut bucket.level)
    }

    /// Takes one call, or says in how long there is one.
    pub fn take(&self, who: &str, kind: Kind, now: Instant) -> Result<(), Duration> {
        let one = i64::try_from(CALL).unwrap_or(i64::MAX);
        self.with(who, kind, now, |flow, level| {
            if *level < one {
                return Err(flow.wait(one - *level));
            }
            *level -= one;
            Ok(())
        })
    }

    /// Takes so much in any case, and says how long to wait until it has come in.
    pub fn owe(&self, who: &str, kind: Kind, cost: u64, now: Instant) -> Duration {
        self.with(who, kind, now, |flow, level| {
            *level = level.saturating_sub(i64::try_from(cost).unwrap_or(i64::MAX));
            if *level < 0 { flow.wait(-*level) } else { Duration::ZERO }
        })
    }
}

/// What a call of a framework costs: what it makes the master do. Those that come by themselves with each task are nearly nothing.
pub(crate) fn cost_of(kind: &CallKind) -> u64 {
    let many = |count: usize, each: u64| CALL + (count as u64).saturating_mul(each);
    match kind {
        CallKind::Heartbeat | CallKind::Acknowledge(_) => CALL / 50,
        CallKind::Accept(accept) => {
            let operations = accept.parts.iter().flat_map(|part| &part.operations);
            many(operations.map(tasks_of).sum::<usize>() + accept.parts.len(), CALL / 10)
        }
        CallKind::Decline(decline) => many(decline.offers.len(), 1),
        // They forget the filters, or the demands, and offers are made anew.
        CallKind::Revive(_) | CallKind::UpdateFramework(_) => 10 * CALL,
        CallKind::UpdateDemands(demands) => many(demands.demands.len(), CALL / 10),
        // All of them.
        CallKind::Reconcile(asked) if asked.tasks.is_empty() => 200 * CALL,
        CallKind::Reconcile(asked) => many(asked.tasks.len(), CALL / 10),
        CallKind::Subscribe(_) | CallKind::Suppress(_) | CallKind::Kill(_) | CallKind::Teardown => CALL,
    }
}

fn tasks_of(operation: &Operation) -> usize {
    match operation {
        Operation::Launch(launch) => launch.tasks.len(),
        Operation::LaunchGroup(launch) => launch.tasks.len(),
        Operation::Reserve(_)
        | Operation::Unreserve(_)
        | Operation::CreateVolume(_)
        | Operation::DestroyVolume(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::scheduler::{Reconcile, Revive};

    #[test]
    fn as_many_as_are_allowed_and_not_one_more() {
        let buckets = Buckets::new(10);
        let now = Instant::now();
        for call in 0..20 {
            assert_eq!(buckets.take("framework/evil", Kind::Asks, now), Ok(()), "{call}");
        }
        let wait = buckets.take("framework/evil", Kind::Asks, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(buckets.take("framework/good", Kind::Asks, now), Ok(()), "others are not held to it");
        assert_eq!(buckets.take("framework/evil", Kind::Opens("watch"), now), Ok(()), "nor other kinds");
        let people = (0..1000).filter(|_| buckets.take("user/ada", Kind::People, now).is_ok()).count();
        assert_eq!(people, 200);
        let early = now + wait - Duration::from_millis(1);
        assert!(buckets.take("framework/evil", Kind::Asks, early).is_err());
        assert_eq!(buckets.take("framework/evil", Kind::Asks, now + wait), Ok(()));
        let later = now + Duration::from_secs(3600);
        let again = (0..30).filter(|_| buckets.take("framework/evil", Kind::Asks, later).is_ok()).count();
        assert_eq!(again, 20, "what was not used does not add up");
    }

    #[test]
    fn streams_are_opened_as_often_as_a_principal_has_frameworks_and_then_slowly() {
        let buckets = Buckets::new(10);
        let now = Instant::now();
        let open = |now| buckets.take("framework/evil", Kind::Opens("session"), now);
        assert_eq!((0..1000).filter(|_| open(now).is_ok()).count() as u64, OPENS_AT_ONCE);
        let second = now + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| open(second).is_ok()).count() as u64, OPENS_A_SECOND);
    }

    #[test]
    fn what_is_owed_is_waited_for_and_dear_calls_longer() {
        let buckets = Buckets::new(100);
        let now = Instant::now();
        let cheap = cost_of(&CallKind::Heartbeat);
        for _ in 0..10_000 {
            assert_eq!(buckets.owe("framework/busy", Kind::Calls, cheap, now), Duration::ZERO);
        }
        assert!(buckets.owe("framework/busy", Kind::Calls, cheap, now) > Duration::ZERO);
        let all = cost_of(&CallKind::Reconcile(Reconcile { tasks: Vec::new() }));
        let revive = cost_of(&CallKind::Revive(Revive { roles: Vec::new() }));
        assert!(all > revive && revive > CALL && cheap < CALL);
        assert_eq!(buckets.owe("framework/new", Kind::Calls, 200 * CALL, now), Duration::ZERO);
        assert_eq!(buckets.owe("framework/new", Kind::Calls, all, now), Duration::from_secs(2));
    }

    #[test]
    fn callers_who_have_gone_are_forgotten() {
        let buckets = Buckets::new(10);
        let now = Instant::now();
        for number in 0..BUCKETS_MAX {
            let _ = buckets.take(&format!("agent/{number}"), Kind::Asks, now);
        }
        let later = now + Duration::from_secs(10);
        let _ = buckets.take("agent/last", Kind::Asks, later);
        assert_eq!(buckets.buckets.lock().unwrap().len(), 1);
    }
}
