//! The next time that a schedule names, and the latest.

use jiff::civil::Date;
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::{Schedule, Zone};

/// A day of the calendar that is looked for longer than this is not found: 29 February on a Sunday comes every 28 years,
/// except that 2100 has none.
const DAYS_MAX: usize = 45 * 366;
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// More than any change of clocks.
const NEAR: SignedDuration = SignedDuration::from_hours(50);

// === impl Schedule ===

impl Schedule {
    /// The first time after this one, in milliseconds since 1970; `None` when there is none within decades.
    pub fn next(&self, zone: &Zone, after_ms: u64) -> Option<u64> {
        let after = timestamp(after_ms)?;
        if let Some(soon) = self.soon(zone, after) {
            return u64::try_from(soon.as_millisecond()).ok();
        }
        let first = zone.rules.to_datetime(after).date().checked_sub(1.day()).ok()?;
        let days = first.series(1.day()).take(DAYS_MAX);
        self.nearest(days, zone, |at| at > after, Ord::min)
    }

    /// The first time after this one when it comes within a day and no clock is changed near it, as is nearly always so:
    /// then nobody need ask what each minute of the wall means.
    fn soon(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        let near = after.checked_sub(NEAR).ok()?;
        let change = zone.rules.following(near).next();
        if change.is_some_and(|change| change.timestamp() <= after.saturating_add(NEAR).unwrap_or(after)) {
            return None;
        }
        let wall = zone.rules.to_datetime(after);
        let days = wall.date().series(1.day()).take(2).filter(|date| self.includes(*date));
        let mut times =
            days.flat_map(|date| self.times().map(move |(hour, minute)| date.at(hour, minute, 0, 0)));
        let ahead = times.find(|time| *time > wall)?.duration_since(wall);
        if ahead > DAY { None } else { after.checked_add(ahead).ok() }
    }

    /// The latest time after `after_ms` and not after `until_ms`.
    pub fn latest(&self, zone: &Zone, after_ms: u64, until_ms: u64) -> Option<u64> {
        let (after, until) = (timestamp(after_ms)?, timestamp(until_ms)?);
        // It is asked each minute: then one is due at most, and no days need be looked through.
        let first = self.next(zone, after_ms).filter(|first| *first <= until_ms)?;
        if self.next(zone, first).is_none_or(|second| second > until_ms) {
            return Some(first);
        }
        let first = zone.rules.to_datetime(after).date().checked_sub(1.day()).ok()?;
        let last = zone.rules.to_datetime(until).date().checked_add(1.day()).ok()?;
        let days = last.series(-1.day()).take_while(|date| *date >= first);
        self.nearest(days, zone, |at| at > after && at <= until, Ord::max)
    }

    /// Of the times on these days that will do, the one that `nearer` prefers: times of one day may lie behind those of
    /// the next when clocks are changed at midnight, so two days more than needed are looked at.
    fn nearest(
        &self,
        days: impl Iterator<Item = Date>,
        zone: &Zone,
        will_do: impl Fn(Timestamp) -> bool,
        nearer: impl Fn(Timestamp, Timestamp) -> Timestamp,
    ) -> Option<u64> {
        let mut best: Option<Timestamp> = None;
        let mut more = 2;
        for date in days {
            if best.is_some() {
                if more == 0 {
                    break;
                }
                more -= 1;
            }
            if !self.includes(date) {
                continue;
            }
            for (hour, minute) in self.times() {
                for at in self.instants(date, hour, minute, zone).into_iter().flatten() {
                    if will_do(at) {
                        best = Some(best.map_or(at, |best| nearer(best, at)));
                    }
                }
            }
        }
        u64::try_from(best?.as_millisecond()).ok()
    }

    /// When it runs for this minute of the wall: never, once, or twice.
    fn instants(&self, date: Date, hour: i8, minute: i8, zone: &Zone) -> [Option<Timestamp>; 2] {
        let time = date.at(hour, minute, 0, 0);
        let ambiguous = zone.rules.to_ambiguous_timestamp(time);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(time).ok(), None],
            AmbiguousOffset::Fold { before, after } => {
                let again = if self.goes_with_the_wall() { after.to_timestamp(time).ok() } else { None };
                [before.to_timestamp(time).ok(), again]
            }
            AmbiguousOffset::Gap { before, .. } => {
                if self.goes_with_the_wall() {
                    return [None, None];
                }
                // By the old clock the time lies behind the change; by the new one there is none.
                let behind = before.to_timestamp(time).ok().and_then(|at| at.checked_add(1.second()).ok());
                let change = behind.and_then(|at| zone.rules.preceding(at).next());
                [change.map(|change| change.timestamp()), None]
            }
        }
    }
}

fn timestamp(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}
