//! Inputs in a file: one on each line, with everything that is no plain character escaped. `#` begins a remark.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the inputs of a target are kept.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{name}.txt"))
}

/// The inputs of a target; none if nothing was kept yet.
pub fn read(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let path = path(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let bad = |at: usize| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}:{}: no escaped input", path.display(), at + 1))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines.map(|(at, line)| unescape(line).ok_or_else(|| bad(at))).collect()
}

/// An input as a line, that stands between single quotes in a shell too.
pub fn escape(input: &[u8]) -> String {
    let line = input.escape_ascii().to_string().replace("\\'", "\\x27");
    // A line that begins like a remark would be read as one.
    line.strip_prefix('#').map(|rest| format!("\\x23{rest}")).unwrap_or(line)
}

/// A line as an input.
pub fn unescape(line: &str) -> Option<Vec<u8>> {
    let mut input = Vec::with_capacity(line.len());
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            input.push(byte);
            continue;
        }
        input.push(match rest.next()? {
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'x' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            same @ (b'\\' | b'\'' | b'"') => same,
            _ => return None,
        });
    }
    Some(input)
}

/// Writes the inputs of a target, the shortest first. Remarks of before, and the lines right below them, stay: they are what was found.
pub fn write(name: &str, inputs: &[Vec<u8>]) -> io::Result<()> {
    let path = path(name);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut text = String::new();
    let mut found = Vec::new();
    let mut lines = before.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            text += &format!("{line}\n");
            if let Some(input) = lines.next_if(|next| !next.starts_with('#')) {
                text += &format!("{input}\n");
                found.extend(unescape(input));
            }
        }
    }
    let mut inputs: Vec<&Vec<u8>> = inputs.iter().filter(|input| !found.contains(input)).collect();
    inputs.sort_by_key(|input| (input.len(), (*input).clone()));
    inputs.dedup();
    for input in inputs {
        text += &escape(input);
        text.push('\n');
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_a_line_that_reads_back() {
        let all: Vec<u8> = (0..=255).collect();
        for input in [&b"# no remark"[..], b"", b"\\x41\n\"'", &all] {
            let line = escape(input);
            assert!(!line.contains('\n') && !line.starts_with('#'));
            assert_eq!(unescape(&line).as_deref(), Some(input));
        }
        assert_eq!(unescape("\\x4"), None);
        assert_eq!(unescape("\\q"), None);
    }
}
