//! What `/proc` says about a process: when it started, which with its number and the boot id is its identity.

/// Field 22 of a `/proc/PID/stat` line: start time in clock ticks since boot. Used between fork and exec: no allocation.
pub(crate) fn parse_start_time(stat: &[u8]) -> Option<u64> {
    // The command's name, field 2, stands in parentheses and may itself hold spaces and parentheses.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let digits = stat.get(name_end + 2..)?.split(|byte| *byte == b' ').nth(19)?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The start time of a live process; `None` if there is none of this number, or it is a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    match stat.get(name_end + 2)? {
        b'Z' | b'X' => None,
        _ => parse_start_time(&stat),
    }
}

/// All processes of which `/proc` tells.
pub(crate) fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The session of a live process; `None` if there is none of this number, or it is a zombie.
pub(crate) fn session(pid: i32) -> Option<i32> {
    parse_session(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 6 of a `/proc/PID/stat` line, of a process that is no zombie.
fn parse_session(stat: &[u8]) -> Option<i32> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_end + 2..)?.split(|byte| *byte == b' ');
    if matches!(fields.next()?, b"Z" | b"X") {
        return None;
    }
    std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()
}

/// The kernel's boot id.
pub(crate) fn boot_id() -> std::io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let invalid =
        || std::io::Error::new(std::io::ErrorKind::InvalidData, "the kernel's boot id is not a UUID");
    let id: crate::protocol::RunId = digits.parse().map_err(|_| invalid())?;
    Ok(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let stat = b"42 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        assert_eq!(parse_start_time(stat), Some(777));
    }

    #[test]
    fn a_session_is_that_of_the_living() {
        assert_eq!(parse_session(b"42 (a) b (c) S 1 2 3 4"), Some(3));
        assert_eq!(parse_session(b"42 (a) Z 1 2 3 4"), None);
        assert_eq!(parse_session(b"42 (a) S 1"), None);
    }

    #[test]
    fn nonsense_has_no_start_time() {
        for stat in [&b""[..], b")", b"1 (x) R 2", b"1 (x) R a b c d e f g h i j k l m n o p q r s t u"] {
            assert_eq!(parse_start_time(stat), None);
        }
    }

    #[test]
    fn this_process_has_one_and_pid_zero_has_none() {
        assert!(start_time(std::process::id() as i32).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(0), None);
    }
}
