//! Durations as people write and read them.

use std::time::Duration;

/// Reads `500ms`, `5s`, `10m`, `1h30m`, `7d`. A bare number is refused: of what?
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration; write 500ms, 5s, 10m, 1h30m or 7d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let part = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "d" => number.checked_mul(24 * 3600).map(Duration::from_secs),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = after;
    }
    // What travels is milliseconds in 64 bits.
    u64::try_from(total.as_millis()).map(|_| total).map_err(|_| bad())
}

/// A duration as [`parse_duration`] reads it: exact, largest units first.
pub fn show_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        let count = millis / size;
        millis %= size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// How long ago, roughly: `12s`, `5m`, `3h`, `2d`. `-` for a moment nobody noted.
pub fn show_age(since_ms: u64, now_ms: u64) -> String {
    if since_ms == 0 {
        return "-".to_owned();
    }
    let seconds = now_ms.saturating_sub(since_ms) / 1000;
    // Two digits of the unit before going on to the next tell more than one of it: 90s, 90m, 36h.
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show() {
        for (text, millis) in [("500ms", 500), ("5s", 5000), ("1h30m", 5_400_000), ("7d", 604_800_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        for bad in
            ["", "5", "s", "5 s", "-5s", "5y", "1.5h", "99999999999999999999s", "999999999999999999d", "5sm"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ages_are_short() {
        let ages = [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")];
        for (seconds, shown) in ages {
            assert_eq!(show_age(1000, 1000 + seconds * 1000), shown);
        }
        assert_eq!(show_age(0, 5000), "-");
        assert_eq!(show_age(9000, 5000), "0s", "clocks differ");
    }
}
