//! `Target`: something that reads what others wrote, and what must be true of it whatever that is.

/// How inputs are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Bytes,
    /// Words and lines.
    Text,
    /// Protobuf messages, by their fields.
    Wire,
}

/// What came of an input: whether it was taken, or refused as it may be; an error is a promise that was broken.
pub type Verdict = Result<Taken, String>;

/// Whether an input was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It means something.
    Yes,
    /// It was refused.
    No,
}

/// What is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// How people call it, and its corpus.
    pub name: &'static str,
    /// What must be true.
    pub about: &'static str,
    /// How its inputs are changed.
    pub kind: Kind,
    /// No input is longer.
    pub bytes_max: usize,
    /// How many bytes of memory each byte of an input may cost, beside a fixed amount.
    pub memory_factor: usize,
    /// What its language is made of.
    pub words: &'static [&'static str],
    /// Runs one input.
    pub run: fn(&[u8]) -> Verdict,
}

// === impl Target ===

impl Target {
    /// A target of ordinary bounds.
    pub const fn new(name: &'static str, about: &'static str, kind: Kind, run: fn(&[u8]) -> Verdict) -> Self {
        Target { name, about, kind, bytes_max: 4096, memory_factor: 1024, words: &[], run }
    }

    /// The same with other inputs.
    pub const fn up_to(self, bytes_max: usize) -> Self {
        Target { bytes_max, ..self }
    }

    /// The same, and each byte may cost so much.
    pub const fn costs(self, memory_factor: usize) -> Self {
        Target { memory_factor, ..self }
    }

    /// The same with a vocabulary.
    pub const fn words(self, words: &'static [&'static str]) -> Self {
        Target { words, ..self }
    }
}

/// An error unless it holds.
pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
