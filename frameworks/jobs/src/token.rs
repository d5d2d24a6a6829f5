//! Random words from the operating system: what nobody guesses and nothing repeats.

use std::fs::File;
use std::io::{self, Read};

/// So many random bytes as lowercase hex.
pub(crate) fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
