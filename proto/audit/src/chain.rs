//! Hashes of lines, and up to where a log stands.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// SHA-256 of a line.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// Up to where a log stands: the number of a line, and its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Of the last line; 0 when there is none.
    pub sequence: u64,
    /// Of that line.
    pub hash: Hash,
}

/// Somebody saw the log of this master stand like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Whose log.
    pub master: u64,
    /// How it stood.
    pub head: Head,
}

/// A text that is no head or seal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {1}")]
pub struct BadHead(String, &'static str);

// === impl Hash ===

impl Hash {
    /// Of a line, without its end.
    pub fn of(line: &[u8]) -> Hash {
        Hash(Sha256::digest(line).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a text cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        f.write_str(&hex)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = BadHead;
    fn from_str(text: &str) -> Result<Self, BadHead> {
        let bad = || BadHead(text.to_owned(), "a SHA-256 of 64 hex digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
        }
        Ok(Hash(bytes))
    }
}

// === impl Head ===

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = BadHead;
    fn from_str(text: &str) -> Result<Self, BadHead> {
        let parts = text.split_once(':').and_then(|(sequence, hash)| Some((sequence.parse().ok()?, hash)));
        let (sequence, hash) = parts
            .ok_or_else(|| BadHead(text.to_owned(), "SEQUENCE:HASH, as `stoa audit verify` prints it"))?;
        Ok(Head { sequence, hash: hash.parse()? })
    }
}

// === impl Seal ===

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.master, self.head)
    }
}

impl FromStr for Seal {
    type Err = BadHead;
    fn from_str(text: &str) -> Result<Self, BadHead> {
        let parts = text.split_once('/').and_then(|(master, head)| Some((master.parse().ok()?, head)));
        let bad = || BadHead(text.to_owned(), "MASTER/SEQUENCE:HASH, as `stoa audit verify` prints it");
        let (master, head) = parts.ok_or_else(bad)?;
        Ok(Seal { master, head: head.parse().map_err(|_| bad())? })
    }
}
