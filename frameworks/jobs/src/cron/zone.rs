//! `Zone`: a time zone by its name. The tables are part of the program, so every framework answers alike.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::spec::meant;

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    pub(super) rules: TimeZone,
}

/// There is no such time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadZone {
    name: String,
    hint: Option<String>,
}

impl fmt::Display for BadZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no time zone; ", self.name)?;
        match &self.hint {
            Some(name) => write!(f, "did you mean {name:?}?"),
            None => f.write_str("write a name such as \"Europe/Berlin\" or \"UTC\""),
        }
    }
}

impl std::error::Error for BadZone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

// === impl Zone ===

impl Zone {
    /// Universal time.
    pub fn utc() -> Zone {
        Zone { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// By its name in the time zone database, in any case.
    pub fn named(name: &str) -> Result<Zone, BadZone> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Zone::utc());
        }
        let tables = TimeZoneDatabase::bundled();
        let rules = tables.get(name).map_err(|_| {
            let known: Vec<String> = tables.available().map(|known| known.to_string()).collect();
            let words: Vec<&str> = known.iter().map(String::as_str).collect();
            // `Berlin` is no slip of `Europe/Berlin`, and yet it is clear.
            let city = known.iter().find(|known| {
                known
                    .rsplit('/')
                    .next()
                    .is_some_and(|last| last.eq_ignore_ascii_case(&name.replace(' ', "_")))
            });
            BadZone {
                name: name.chars().take(60).collect(),
                hint: city.cloned().or_else(|| meant(name, &words).map(str::to_owned)),
            }
        })?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Zone { name, rules })
    }

    /// A time as the clocks there show it, with what they differ from universal time: `2026-06-05T10:20:00+02:00`.
    pub fn show(&self, ms: u64) -> String {
        let at =
            i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
        at.display_with_offset(self.rules.to_offset(at)).to_string()
    }
}
