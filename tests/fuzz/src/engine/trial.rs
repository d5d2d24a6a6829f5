//! A trial: one input on one target, and how it ends.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tests_fuzz_counters::memory::Meter;

use crate::target::{Taken, Target};

/// What any input may cost.
const MEMORY_BYTES: usize = 1 << 20;
/// No input may keep a processor busy for longer. Nobody waits that long for one message or one line.
const TIME: Duration = Duration::from_secs(1);
/// A machine that has other work makes the same input slow once, not three times.
const TIMES: usize = 3;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic of what is tried is noted, not printed.
pub fn note_panics() {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !TRIES.get() {
            return others(info);
        }
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let words = info.payload().downcast_ref::<String>().cloned();
        let words = words.or_else(|| info.payload().downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = format!("panic at {place}: {}", words.unwrap_or_default());
        PANIC.with(|panic| *panic.borrow_mut() = Some(text));
    }));
}

/// How an input ended, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether it was taken.
    pub taken: Taken,
    /// How long it took.
    pub time: Duration,
    /// How much memory it took at once, in bytes.
    pub memory: usize,
}

/// Runs an input. An error says what was broken.
pub fn run(target: &Target, input: &[u8]) -> Result<Ended, String> {
    let mut ended = once(target, input)?;
    if ended.time > TIME {
        for _ in 1..TIMES {
            ended.time = ended.time.min(once(target, input)?.time);
        }
        if ended.time > TIME {
            return Err(format!("{} bytes take {} ms", input.len(), ended.time.as_millis()));
        }
    }
    Ok(ended)
}

fn once(target: &Target, input: &[u8]) -> Result<Ended, String> {
    let (meter, began) = (Meter::start(), Instant::now());
    TRIES.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    TRIES.set(false);
    let (memory, time) = (meter.most(), began.elapsed());
    let Ok(verdict) = ended else {
        let noted = PANIC.with(|panic| panic.borrow_mut().take());
        return Err(noted.unwrap_or_else(|| "panic".to_owned()));
    };
    let taken = verdict?;
    let most = MEMORY_BYTES + input.len() * target.memory_factor;
    if memory > most {
        return Err(format!("{} bytes take {memory} bytes of memory, {most} are the most", input.len()));
    }
    Ok(Ended { taken, time, memory })
}
