//! `Trace`: a fold over everything that happened, so that two runs of a seed can be compared by one number.

/// FNV-1a, 64 bits (Fowler, Noll and Vo).
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The fold so far, and the lines of it that somebody wants to read.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    /// Whether lines are wanted.
    pub loud: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { hash: BASIS, events: 0, loud: false }
    }
}

impl Trace {
    /// Takes a number in.
    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Takes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hash = fold(self.hash, bytes);
    }

    /// Counts an event.
    pub fn event(&mut self, at: u64, node: u64, kind: u64) {
        self.events += 1;
        self.number(at);
        self.number(node << 8 | kind);
    }

    /// The fold.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Writes a line if lines are wanted.
    pub fn line(&self, at: u64, text: impl FnOnce() -> String) {
        if self.loud {
            println!("{:>11.6} {}", at as f64 / 1e9, text());
        }
    }
}

fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// The fold of some bytes alone.
pub fn hash_of(bytes: &[u8]) -> u64 {
    fold(BASIS, bytes)
}
