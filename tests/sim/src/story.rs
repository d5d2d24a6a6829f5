//! Stories: a short script, and the golden transcript of everything that everybody said.

/// What happened, as lines.
#[derive(Debug, Default)]
pub struct Transcript {
    lines: Vec<String>,
    last: u64,
}

impl Transcript {
    /// One says something to another.
    pub fn says(&mut self, at: u64, from: &str, to: &str, what: &str) {
        self.pass(at);
        self.lines.push(format!("{from:<8} -> {to:<8}  {what}"));
    }

    /// A node does something.
    pub fn does(&mut self, at: u64, who: &str, what: &str) {
        self.pass(at);
        self.lines.push(format!("{who:<8}              {what}"));
    }

    fn pass(&mut self, at: u64) {
        let waited = at.saturating_sub(self.last) / 1_000_000_000;
        if waited > 0 {
            self.lines.push(format!("... {waited}s"));
        }
        self.last = at;
    }

    /// The lines so far.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}
