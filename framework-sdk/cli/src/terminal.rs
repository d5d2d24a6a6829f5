//! `Terminal`: where a verb writes, and what it may assume of who reads.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Stop;

/// Where a verb writes: data on `out`, everything else on `err`.
pub struct Terminal<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// Messages.
    pub err: &'a mut dyn Write,
    /// Somebody who can answer a question; `None` when nobody can.
    pub answers: Option<&'a mut dyn BufRead>,
    /// Standard input, where it is a file or another program; `None` where it is somebody who types.
    pub piped: Option<&'a mut dyn BufRead>,
    /// Whether `out` is a terminal: then nothing raw of a task is written to it.
    pub interactive: bool,
    /// Whether colours are shown.
    pub colours: bool,
    /// Milliseconds since 1970.
    pub clock: fn() -> u64,
}

// === impl Terminal ===

impl Terminal<'_> {
    /// Writes data and flushes it: whoever reads a watch wants each line now.
    pub fn print(&mut self, text: &str) -> Result<(), Stop> {
        self.print_bytes(text.as_bytes())
    }

    /// Writes raw data and flushes it.
    pub fn print_bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        Ok(self.out.write_all(bytes).and_then(|()| self.out.flush())?)
    }

    /// Writes a message line. That nobody reads messages is no reason to stop.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }

    /// Asks a question that only `yes` or `y` answers well; `None` when nobody can answer.
    pub fn confirm(&mut self, question: &str) -> Option<bool> {
        let answers = self.answers.as_mut()?;
        let _ = write!(self.err, "{question} [y/N] ");
        let _ = self.err.flush();
        let mut answer = String::new();
        // No answer is no.
        let read = answers.read_line(&mut answer).is_ok();
        Some(read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

impl<'a> Terminal<'a> {
    /// The terminal of this process, over its three streams.
    pub fn of_process(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        answers: &'a mut dyn BufRead,
    ) -> Terminal<'a> {
        let typed = io::stdin().is_terminal();
        let can_answer = typed && io::stderr().is_terminal();
        let interactive = io::stdout().is_terminal();
        let (answers, piped) = match typed {
            true => (can_answer.then_some(answers), None),
            false => (None, Some(answers)),
        };
        Terminal {
            out,
            err,
            answers,
            piped,
            interactive,
            colours: interactive && wants_colours(),
            clock: wall_ms,
        }
    }
}

fn wants_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
