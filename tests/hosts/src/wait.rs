//! Waiting for something to be so, and for an amount of time only where time itself is the fault.

use std::time::{Duration, Instant};

/// Looks until there is an answer, twenty times a second.
///
/// # Errors
/// When there is none in time; `what` is told.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if begun.elapsed() >= limit {
            return Err(format!("not within {} s: {what}", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50)); // eventually
    }
}

/// Looks all the time that a fault lasts, and complains as soon as something is not as it must be.
///
/// # Errors
/// What is not as it must be.
pub fn throughout(lasts: Duration, mut look: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        look()?;
        std::thread::sleep(Duration::from_millis(50)); // eventually
    }
    Ok(())
}
