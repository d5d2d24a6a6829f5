//! `Schedule`: five fields of crontab(5), read.

use std::fmt;

use jiff::civil::Date;

use super::field::{FIELDS, Meant};

/// When something runs, in some time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As it was written, with single spaces.
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0 and only 0.
    weekdays: u64,
    /// A day is right when one of day of month and day of week is, because both were given.
    either: bool,
    /// It goes with the clock on the wall, see the module.
    wall: bool,
}

/// Why a text is no schedule, and what would be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSchedule(String);

impl fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSchedule {}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The words of crontab(5), and the fields that they stand for.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const TEXT_BYTES_MAX: usize = 256;

// === impl Schedule ===

impl Schedule {
    /// Reads `*/5 9-17 * * mon-fri` or `@daily`.
    pub fn parse(text: &str) -> Result<Schedule, BadSchedule> {
        let bad = |why: String| Err(BadSchedule(why));
        if text.len() > TEXT_BYTES_MAX {
            return bad(format!("is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let fields = if text.starts_with('@') {
            let lower = text.to_ascii_lowercase();
            match WORDS.iter().find(|(word, _)| *word == lower) {
                Some((_, fields)) => fields,
                None if lower.starts_with("@every") => {
                    return bad("has no @every; write for example \"*/5 * * * *\"".to_owned());
                }
                None => {
                    let known: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                    return bad(format!("{text:?} is no schedule; known are {}", known.join(", ")));
                }
            }
        } else {
            text.as_str()
        };
        let fields: Vec<&str> = fields.split(' ').collect();
        if fields.iter().any(|field| field.contains("TZ=")) {
            return bad("holds a time zone; write it at the key timezone".to_owned());
        }
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            let count = fields.iter().filter(|field| !field.is_empty()).count();
            return bad(format!(
                "has {count} fields instead of five (minute, hour, day of month, month, day of week); write for example \"*/5 * * * *\" or \"@daily\""
            ));
        };
        let read = |at: usize, text: &str| -> Result<Meant, BadSchedule> {
            FIELDS[at].read(text).map_err(BadSchedule)
        };
        let (minute, hour) = (read(0, minute)?, read(1, hour)?);
        let (day, month, weekday) = (read(2, day)?, read(3, month)?, read(4, weekday)?);
        let schedule = Schedule {
            minutes: minute.bits,
            hours: hour.bits,
            days: day.bits,
            months: month.bits,
            weekdays: (weekday.bits | weekday.bits >> 7) & 0x7f,
            either: !day.star && !weekday.star,
            wall: minute.star || hour.star,
            text,
        };
        // The calendar repeats every 28 years for as long as nobody asks for 2100.
        let mut all = (2000..2040).flat_map(|year| {
            (1..=12).flat_map(move |month| (1..=31).filter_map(move |day| Date::new(year, month, day).ok()))
        });
        if !all.any(|date| schedule.includes(date)) {
            return bad("names a day that there never is".to_owned());
        }
        Ok(schedule)
    }

    /// Whether it runs on this day.
    pub(super) fn includes(&self, date: Date) -> bool {
        let has = |bits: u64, number: i8| bits >> number & 1 == 1;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either { day || weekday } else { day && weekday }
    }

    /// The times of day at which it runs, in order.
    pub(super) fn times(&self) -> impl DoubleEndedIterator<Item = (i8, i8)> {
        let among = |bits: u64| (0..60i8).filter(move |number| bits >> number & 1 == 1);
        let minutes = self.minutes;
        among(self.hours).flat_map(move |hour| among(minutes).map(move |minute| (hour, minute)))
    }

    /// Whether it goes with the clock on the wall, see the module.
    pub(super) fn goes_with_the_wall(&self) -> bool {
        self.wall
    }
}
