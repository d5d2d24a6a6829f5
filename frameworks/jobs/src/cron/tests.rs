//! Schedules against what crontab(5) says, and next times against an oracle that looks at every minute.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

fn ms(text: &str) -> u64 {
    let at: Timestamp = text.parse().expect("a time");
    u64::try_from(at.as_millisecond()).expect("after 1970")
}

fn shown(ms: u64) -> String {
    Timestamp::from_millisecond(i64::try_from(ms).expect("before 9999")).expect("a time").to_string()
}

fn times(schedule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (schedule, zone) =
        (Schedule::parse(schedule).expect("a schedule"), Zone::named(zone).expect("a zone"));
    let mut at = ms(after);
    let mut found = Vec::new();
    for _ in 0..count {
        at = schedule.next(&zone, at).expect("a next time");
        found.push(shown(at));
    }
    found
}

#[test]
fn fields_words_ranges_and_steps() {
    let berlin = "Europe/Berlin";
    assert_eq!(
        times("*/20 9-10 * * mon-fri", berlin, "2026-06-05T08:05:00Z", 4),
        ["2026-06-05T08:20:00Z", "2026-06-05T08:40:00Z", "2026-06-08T07:00:00Z", "2026-06-08T07:20:00Z"]
    );
    assert_eq!(times("@daily", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-02T00:00:00Z"]);
    assert_eq!(times("@Yearly", "UTC", "2026-01-01T00:00:00Z", 1), ["2027-01-01T00:00:00Z"]);
    assert_eq!(times("0 12 * jan,JUL sun", "UTC", "2026-01-31T00:00:00Z", 1), ["2026-07-05T12:00:00Z"]);
    assert_eq!(
        times("0 0 * * 5-7", "UTC", "2026-06-05T00:00:00Z", 2),
        ["2026-06-06T00:00:00Z", "2026-06-07T00:00:00Z"]
    );
    assert_eq!(times("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
}

/// "If both fields are restricted (i.e., do not contain the * character), the command will be run when either field
/// matches" (crontab(5)).
#[test]
fn either_day_will_do_when_both_are_given() {
    let days = |schedule| -> Vec<String> {
        times(schedule, "UTC", "2026-06-01T00:00:00Z", 4).into_iter().map(|at| at[8..10].to_owned()).collect()
    };
    assert_eq!(days("30 4 1,15 * fri"), ["01", "05", "12", "15"]);
    assert_eq!(days("30 4 * * fri"), ["05", "12", "19", "26"]);
    assert_eq!(days("30 4 1,15 * *"), ["01", "15", "01", "15"]);
    assert_eq!(days("30 4 */2 * fri"), ["05", "19", "03", "17"], "a step contains a *, so both must match");
}

#[test]
fn what_is_no_schedule_is_told_what_would_be() {
    for (text, told) in [
        ("", "has 0 fields instead of five"),
        ("* * * *", "has 4 fields"),
        ("0 */5 * * * *", "has 6 fields"),
        ("60 * * * *", "\"60\" is no minute (0 to 59)"),
        ("* 24 * * *", "\"24\" is no hour (0 to 23)"),
        ("* * 0 * *", "\"0\" is no day of month (1 to 31)"),
        ("* * * 13 *", "\"13\" is no month"),
        ("* * * foo *", "write for example 1, jan or *"),
        ("* * * * 8", "\"8\" is no day of week (0 to 7)"),
        ("* * L * *", "\"L\" is no day of month"),
        ("*/0 * * * *", "has no step"),
        ("*/x * * * *", "has no step"),
        ("5/15 * * * *", "write 5-59/15"),
        ("50-10 * * * *", "runs backwards"),
        ("+5 * * * *", "\"+5\" is no minute"),
        ("1, * * * *", "\"\" is no minute"),
        ("@reboot", "known are @yearly"),
        ("@every 5m", "write for example \"*/5 * * * *\""),
        ("TZ=UTC * * * * *", "at the key timezone"),
        ("0 0 30 2 *", "names a day that there never is"),
        ("0 0 31 4,6,9,11 *", "names a day that there never is"),
    ] {
        let why = Schedule::parse(text).expect_err(text).to_string();
        assert!(why.contains(told), "{text}: {why}");
    }
    assert!(Schedule::parse("0 0 30 2 1").is_ok(), "every Monday of February");
    assert_eq!(Schedule::parse(" 0   0 * *  1 ").expect("spaces").to_string(), "0 0 * * 1");
}

#[test]
fn a_time_of_day_that_is_skipped_runs_once_right_after() {
    // Berlin goes from 02:00 to 03:00 on 2026-03-29, at 01:00Z.
    let spring = |schedule, count| times(schedule, "Europe/Berlin", "2026-03-28T12:00:00Z", count);
    assert_eq!(spring("30 2 * * *", 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(spring("0,15,30 2,3 29 * *", 2), ["2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z"]);
    // With the clock on the wall, what is skipped is skipped.
    assert_eq!(spring("30 */2 29 3 *", 2), ["2026-03-28T23:30:00Z", "2026-03-29T02:30:00Z"]);
    // Samoa left out the whole of 2011-12-30.
    assert_eq!(
        times("0 12 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
        ["2011-12-30T10:00:00Z", "2012-01-29T22:00:00Z"]
    );
}

#[test]
fn a_time_of_day_that_comes_twice_runs_the_first_time() {
    // Berlin goes from 03:00 back to 02:00 on 2026-10-25, at 01:00Z.
    let autumn = |schedule, count| times(schedule, "Europe/Berlin", "2026-10-24T12:00:00Z", count);
    assert_eq!(autumn("30 2 * * *", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // With the clock on the wall, an hour that comes twice runs twice: none is without its run.
    assert_eq!(
        autumn("@hourly", 16)[12..],
        ["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z", "2026-10-25T04:00:00Z"]
    );
    assert_eq!(
        autumn("*/30 2 25 10 *", 4),
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"]
    );
}

#[test]
fn zones_have_names() {
    assert_eq!(Zone::named("utc").expect("UTC"), Zone::utc());
    assert_eq!(Zone::named("america/new_york").expect("in any case").to_string(), "America/New_York");
    for (name, told) in [
        ("Berlin", "did you mean \"Europe/Berlin\"?"),
        ("new york", "did you mean \"America/New_York\"?"),
        ("Europe/Berln", "did you mean \"Europe/Berlin\"?"),
        ("Mars/Olympus", "write a name such as"),
        ("", "write a name such as"),
        ("../etc/passwd", "write a name such as"),
    ] {
        let why = Zone::named(name).expect_err(name).to_string();
        assert!(why.contains(told), "{why}");
    }
}

/// Every minute that runs between two times, found by walking through all of them with the clock on the wall beside:
/// what the module's page says, said once more and naively.
fn walk(schedule: &Schedule, zone: &Zone, from: u64, until: u64) -> BTreeSet<u64> {
    const MINUTE: i64 = 60_000;
    let wall = |ms: i64| zone.rules.to_datetime(Timestamp::from_millisecond(ms).expect("a time"));
    let times: BTreeSet<(i8, i8)> = schedule.times().collect();
    let runs = |at: DateTime| {
        at.second() == 0 && schedule.includes(at.date()) && times.contains(&(at.hour(), at.minute()))
    };
    let (from, until) = (i64::try_from(from).expect("a time"), i64::try_from(until).expect("a time"));
    let mut found = BTreeSet::new();
    // The furthest that the wall has shown: a time of day at or before it was there already. Two days earlier, so that it
    // knows what came before.
    let mut seen = wall(from - 2 * 24 * 60 * MINUTE);
    let mut last = seen;
    let mut at = from - 2 * 24 * 60 * MINUTE;
    while at <= until {
        let now = wall(at);
        let mut hit = runs(now) && (schedule.goes_with_the_wall() || now > seen);
        // What lies between the last minute and this one was skipped.
        if !schedule.goes_with_the_wall() && now > seen {
            let mut skipped = last.max(seen) + SignedDuration::from_mins(1);
            while skipped < now {
                hit |= runs(skipped);
                skipped += SignedDuration::from_mins(1);
            }
        }
        if hit && at > from {
            found.insert(u64::try_from(at).expect("after 1970"));
        }
        (seen, last) = (seen.max(now), now);
        at += MINUTE;
    }
    found
}

fn agrees(schedule: &Schedule, zone: &Zone, from: u64, days: u64) {
    let until = from + days * 24 * 3_600_000;
    let expected: Vec<u64> = walk(schedule, zone, from, until).into_iter().collect();
    // Of a schedule that runs every minute, a part will do.
    let step = (expected.len() / 60).max(1);
    for (n, at) in std::iter::once(&from).chain(&expected).enumerate() {
        if n % step > 1 && n + 3 < expected.len() {
            continue;
        }
        let next = schedule.next(zone, *at).filter(|next| *next <= until);
        let what = || format!("{schedule} in {zone} after {}", shown(*at));
        assert_eq!(next.map(shown), expected.get(n).map(|at| shown(*at)), "{}", what());
    }
    assert_eq!(schedule.latest(zone, from, until), expected.last().copied(), "{schedule} in {zone}");
    // Asked often, it names each as it becomes due.
    let mut before = from;
    for at in expected.iter().copied().take(3) {
        assert_eq!(schedule.latest(zone, before, at - 1), None, "{schedule} in {zone} before {}", shown(at));
        assert_eq!(schedule.latest(zone, before, at), Some(at), "{schedule} in {zone} at {}", shown(at));
        before = at;
    }
}

/// Zones whose changes differ: by an hour, by half an hour, at midnight, over the date line, in winter, never.
const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Asia/Beirut",
    "America/Havana",
    "Asia/Kolkata",
    "UTC",
];

fn number(least: u8, most: u8) -> impl Strategy<Value = String> {
    (least..=most, least..=most, 1u8..=9, 0u8..6).prop_map(|(a, b, step, form)| {
        let (first, last) = (a.min(b), a.max(b));
        match form {
            0 | 1 => "*".to_owned(),
            2 => format!("*/{step}"),
            3 => format!("{first}-{last}/{step}"),
            4 => format!("{first},{last}"),
            _ => first.to_string(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(20_260_329),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn next_times_are_those_of_the_oracle(
        zone in 0..ZONES.len(),
        year in 1990u64..2040,
        change in 0usize..6,
        before in 0u64..3 * 24 * 60,
        (minute, hour) in (number(0, 59), number(0, 23)),
        (day, month, weekday) in (number(1, 31), number(1, 12), number(0, 7)),
    ) {
        let zone = Zone::named(ZONES[zone]).expect("a zone");
        let Ok(schedule) = Schedule::parse(&format!("{minute} {hour} {day} {month} {weekday}")) else {
            return Ok(());
        };
        // Around a change of the clocks of that year, where there is one.
        let start = Timestamp::from_second(i64::try_from((year - 1970) * 31_556_952).expect("small")).expect("a time");
        let change = zone.rules.following(start).nth(change).map_or(start, |change| change.timestamp());
        let minutes = u64::try_from(change.as_second() / 60).expect("after 1970") - before;
        agrees(&schedule, &zone, minutes * 60_000, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever is typed: it is a schedule, the same when it is read again, or it is told what is wrong.
    #[test]
    fn no_text_makes_it_panic(text in "[0-9*/,@a-z -]{0,24}", other in any::<String>()) {
        for text in [format!("{text} * * *"), text, other] {
            match Schedule::parse(&text) {
                Ok(schedule) => prop_assert_eq!(Schedule::parse(&schedule.to_string()), Ok(schedule)),
                Err(why) => prop_assert!(!why.to_string().is_empty()),
            }
            let _ = Zone::named(&text);
        }
    }
}

/// The oracle and the schedules that people write, over every change of two years in every zone.
#[test]
fn usual_schedules_agree_around_every_change() {
    for name in ZONES.into_iter().chain(["Pacific/Apia", "America/Scoresbysund"]) {
        let zone = Zone::named(name).expect("a zone");
        for start in ["2011-01-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
            let year = zone.rules.following(start.parse().expect("a time"));
            for change in year.take(2) {
                let seconds = u64::try_from(change.timestamp().as_second()).expect("after 1970");
                for text in
                    ["0 2 * * *", "30 2 * * *", "30 0,1,2,3,23 * * *", "@daily", "@hourly", "*/30 1-3 * * *"]
                {
                    let schedule = Schedule::parse(text).expect("a schedule");
                    agrees(&schedule, &zone, (seconds / 60 - 2 * 24 * 60) * 60_000, 4);
                }
            }
        }
    }
}
