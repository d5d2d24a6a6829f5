//! Durations as people write and read them.

use std::time::Duration;

pub use framework_sdk::duration::show_duration;

/// Reads a duration that was typed; why not, if it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    framework_sdk::duration::parse_duration(text)
        .ok_or_else(|| format!("{text:?} is not a duration; write 500ms, 5s, 10m, 1h30m or 7d"))
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
    fn ages_are_short() {
        let ages = [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")];
        for (seconds, shown) in ages {
            assert_eq!(show_age(1000, 1000 + seconds * 1000), shown);
        }
        assert_eq!(show_age(0, 5000), "-");
        assert_eq!(show_age(9000, 5000), "0s", "clocks differ");
    }
}
