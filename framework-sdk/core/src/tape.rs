//! `Tape`: a session as text: what a driver heard and said, and when. A tape that was kept plays again against a later
//! version of its scheduler.

use std::fmt;
use std::time::Duration;

use proto::scheduler::{Call, Event, EventKind};
use proto::wire::Wire;
use proto_machine::{Instant, Machine, Now, Outbox, WallTime};

use crate::config::Config;
use crate::driver::{Driver, Input, Output};
use crate::line::Link;
use crate::scheduler::Scheduler;

/// The first line of a tape.
const HEAD: &str = "stoa-session 1";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The master said something.
    Heard(Event),
    /// The link broke.
    Lost,
    /// Time was up for something.
    Woke,
    /// The author's shell said something; as the author writes it.
    Told(String),
    /// The framework sent something.
    Said(Call),
}

/// A session: what happened, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    /// What happened, and when.
    pub entries: Vec<(Now, Entry)>,
}

/// Why a text is no tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTape {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// The scheduler did something else than when the tape was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The time on the tape.
    pub at: Instant,
    /// What was sent then; `None` for nothing more.
    pub taped: Option<Call>,
    /// What is sent now.
    pub now: Option<Call>,
}

// === impl Tape ===

impl Tape {
    /// Writes one thing down.
    pub fn write(&mut self, now: Now, entry: Entry) {
        self.entries.push((now, entry));
    }

    /// Reads a text as [`Tape`] shows itself. What follows a `#` is for people.
    pub fn parse(text: &str) -> Result<Tape, BadTape> {
        let mut tape = Tape::default();
        for (at, line) in text.lines().enumerate() {
            let bad = |why: &str| BadTape { line: at + 1, why: why.to_owned() };
            if at == 0 {
                if line.trim() != HEAD {
                    return Err(bad(&format!("a tape begins with `{HEAD}`")));
                }
                continue;
            }
            let mut words = line.splitn(4, ' ');
            let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
            let (Some(nanos), Some(millis)) = (number(), number()) else {
                return Err(bad("a line begins with two times"));
            };
            let now = Now { monotonic: Instant::from_nanos(nanos), wall: WallTime::from_millis(millis) };
            let (kind, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let bytes = || {
                let digits = rest.split('#').next().unwrap_or_default().trim();
                from_hex(digits).ok_or_else(|| bad("an even number of hexadecimal digits is expected"))
            };
            let entry = match kind {
                "heard" => Entry::Heard(Event::decode(&bytes()?).map_err(|error| bad(&error.to_string()))?),
                "said" => Entry::Said(Call::decode(&bytes()?).map_err(|error| bad(&error.to_string()))?),
                "lost" => Entry::Lost,
                "woke" => Entry::Woke,
                "told" => Entry::Told(unquoted(rest).ok_or_else(|| bad("the text is not quoted"))?),
                other => return Err(bad(&format!("{other:?} is not heard, said, lost, woke or told"))),
            };
            tape.write(now, entry);
        }
        Ok(tape)
    }

    /// Plays the tape against a scheduler, which must send what was sent then. `told` reads what the author's shell said.
    /// The scheduler, to look at what has become of it.
    pub fn replay<S: Scheduler>(
        &self,
        config: Config,
        scheduler: S,
        told: impl Fn(&str) -> Option<S::Input>,
    ) -> Result<Driver<S>, Box<Divergence>> {
        let start = self.entries.first().map(|(now, _)| *now).unwrap_or_default();
        let nothing = |_| Box::new(Divergence { at: start.monotonic, taped: None, now: None });
        let mut driver = Driver::new(config, scheduler).map_err(nothing)?;
        let mut link = Link(0);
        let mut entries = self.entries.iter().peekable();
        while let Some((now, entry)) = entries.next() {
            let mut out = Outbox::new();
            match entry {
                Entry::Heard(event) => {
                    driver.step(*now, Input::Event { link, event: event.clone() }, &mut out);
                }
                Entry::Lost => driver.step(*now, Input::Lost { link }, &mut out),
                Entry::Woke => driver.wake(*now, &mut out),
                Entry::Told(text) => {
                    if let Some(input) = told(text) {
                        driver.step(*now, Input::Author(input), &mut out);
                    }
                }
                Entry::Said(call) => {
                    // What is sent now was taken from the tape already: this was sent then only.
                    let taped = Some(call.clone());
                    return Err(Box::new(Divergence { at: now.monotonic, taped, now: None }));
                }
            }
            driver.settle(*now, &mut out);
            for output in out.take() {
                match output {
                    Output::Connect { link: next, .. } => link = next,
                    Output::Send { call, .. } => {
                        let taped = match entries.peek() {
                            Some((_, Entry::Said(taped))) => Some(taped),
                            Some(_) | None => None,
                        };
                        if taped != Some(&call) {
                            let taped = taped.cloned();
                            let at = now.monotonic;
                            return Err(Box::new(Divergence { at, taped, now: Some(call) }));
                        }
                        entries.next();
                    }
                    Output::Disconnect { .. } | Output::Ended { .. } | Output::Author(_) => {}
                }
            }
        }
        Ok(driver)
    }
}

impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        for (now, entry) in &self.entries {
            write!(f, "{} {} ", now.monotonic.as_nanos(), now.wall.as_millis())?;
            match entry {
                Entry::Heard(event) => writeln!(f, "heard {} # {}", hex(&event.encode()), gist(&event.kind))?,
                Entry::Said(call) => {
                    let word = format!("{:?}", call.kind);
                    let word = word.split(['(', ' ']).next().unwrap_or_default();
                    writeln!(f, "said {} # {word}", hex(&call.encode()))?;
                }
                Entry::Lost => writeln!(f, "lost")?,
                Entry::Woke => writeln!(f, "woke")?,
                Entry::Told(text) => writeln!(f, "told {text:?}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for BadTape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the tape: {}", self.line, self.why)
    }
}

impl std::error::Error for BadTape {}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos(self.at.as_nanos());
        match (&self.taped, &self.now) {
            (Some(taped), Some(now)) => write!(f, "after {at:?} it sends {now:?} instead of {taped:?}"),
            (Some(taped), None) => write!(f, "after {at:?} it does not send {taped:?}"),
            (None, Some(now)) => write!(f, "after {at:?} it sends {now:?}, which it did not before"),
            (None, None) => f.write_str("the configuration is not one"),
        }
    }
}

impl std::error::Error for Divergence {}

fn gist(kind: &EventKind) -> String {
    match kind {
        EventKind::Update(status) => format!("update: {} is {}", status.task, status.state.as_str()),
        EventKind::Offers(offers) => format!("{} offers", offers.offers.len()),
        EventKind::Answer(answer) => format!("answer to {}", answer.operation),
        EventKind::Subscribed(subscribed) => format!("subscribed as {}", subscribed.framework),
        EventKind::Rescind(_) => "rescind".to_owned(),
        EventKind::Failure(failure) => format!("{} is {}", failure.agent, failure.state.as_str()),
        EventKind::AgentDraining(notice) => format!("{} drains", notice.agent),
        EventKind::AgentResumed(notice) => format!("{} takes work again", notice.agent),
        EventKind::Fault(fault) => format!("fault: {}", fault.refusal.code.as_str()),
        EventKind::Redirect(redirect) => format!("redirect to {:?}", redirect.leader_address),
        EventKind::Masters(masters) => format!("masters at {}", masters.addresses.join(", ")),
        EventKind::Heartbeat => "heartbeat".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// Reads what `{:?}` makes of a text.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next()? {
            'n' => plain.push('\n'),
            't' => plain.push('\t'),
            'r' => plain.push('\r'),
            '0' => plain.push('\0'),
            'u' => {
                let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                plain.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}
