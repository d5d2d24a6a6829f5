//! Text that comes from the cluster, made harmless for a terminal.
//!
//! Names, labels and messages are chosen by whoever runs tasks; printed raw they could move the cursor, retitle the
//! window or make one line look like another.

use std::borrow::Cow;

/// Text for tables and messages: whatever is not a plain visible character is shown as `\n`, `\x1b` or `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly all is: lists of thousands of names are printed.
    if text.bytes().all(is_plain) || !text.chars().any(is_special) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_special(c) { push_escape(&mut shown, c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Whether a byte is a visible character of ASCII, or a space.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Controls, and characters that are invisible or change the order of others.
pub(crate) fn is_special(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// JSON in which invisible and reordering characters are escaped too; the writer escapes controls below 0x20 only.
/// The meaning stays the same: outside strings JSON holds nothing but plain characters and line breaks.
pub(crate) fn escaped_json(json: String) -> String {
    let obeyed = |c: char| is_special(c) && c != '\n';
    if json.bytes().all(|byte| is_plain(byte) || byte == b'\n') || !json.chars().any(obeyed) {
        return json;
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // All of them are in the basic plane, so four digits do.
        if obeyed(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    shown
}

/// The same of the JSON that begins there.
pub(crate) fn escape_json_from(text: &mut Vec<u8>, from: usize) {
    let json = text.get(from..).unwrap_or_default();
    // Without a way out before the end many bytes are looked at in one step.
    let strange = json.iter().fold(false, |found, byte| found | !(is_plain(*byte) | (*byte == b'\n')));
    if !strange {
        return;
    }
    // JSON is written in UTF-8: nothing is lost.
    let json = escaped_json(String::from_utf8_lossy(json).into_owned());
    text.truncate(from);
    text.extend_from_slice(json.as_bytes());
}

fn push_escape(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c if u32::from(c) < 0x100 => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
    }
}

/// A stream of output of a task on its way to a terminal: text and colours pass, everything else that a terminal would
/// obey is shown instead. Remembers what was cut in two between chunks.
#[derive(Debug, Default)]
pub struct Sanitizer {
    /// An unfinished escape sequence or character.
    held: Vec<u8>,
}

/// The longest colour sequence that is waited for; a longer one is no colour.
const SEQUENCE_BYTES_MAX: usize = 32;

// === impl Sanitizer ===

impl Sanitizer {
    /// What may be printed of what has come so far.
    pub fn push(&mut self, chunk: &[u8]) -> String {
        self.held.extend_from_slice(chunk);
        let bytes = std::mem::take(&mut self.held);
        let mut shown = String::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        while let Some(first) = rest.first() {
            let used = match first {
                0x1b => match colour_length(rest) {
                    Length::Is(length) => {
                        shown.push_str(&String::from_utf8_lossy(rest.get(..length).unwrap_or_default()));
                        length
                    }
                    Length::Unfinished => break,
                    Length::NoColour => {
                        shown.push_str("\\x1b");
                        1
                    }
                },
                _ => match next_char(rest) {
                    Some(Ok((c, length))) => {
                        if is_special(c) && !matches!(c, '\n' | '\t' | '\r') {
                            push_escape(&mut shown, c);
                        } else {
                            shown.push(c);
                        }
                        length
                    }
                    Some(Err(())) => {
                        shown.push('\u{fffd}');
                        1
                    }
                    None => break,
                },
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        self.held = rest.to_vec();
        shown
    }

    /// The end of the stream: what was held back, shown.
    pub fn finish(self) -> String {
        escaped(&String::from_utf8_lossy(&self.held)).into_owned()
    }
}

enum Length {
    Is(usize),
    Unfinished,
    NoColour,
}

/// `ESC [ digits ; digits m` and nothing else.
fn colour_length(bytes: &[u8]) -> Length {
    for (at, byte) in bytes.iter().enumerate() {
        match (at, byte) {
            (0, 0x1b) | (1, b'[') => {}
            (2.., b'm') => return Length::Is(at + 1),
            (2..SEQUENCE_BYTES_MAX, b'0'..=b'9' | b';' | b':') => {}
            (_, _) => return Length::NoColour,
        }
    }
    Length::Unfinished
}

/// The first character and its length; `Err` when the bytes are not UTF-8, `None` when they are not all there.
fn next_char(bytes: &[u8]) -> Option<Result<(char, usize), ()>> {
    let window = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            let valid = window.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(error) => return error.error_len().map(|_| Err(())),
    };
    valid.chars().next().map(|c| Ok((c, c.len_utf8())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(escaped("plain ünicode"), "plain ünicode");
        assert_eq!(escaped("a\u{1b}[31mb\nc\u{9b}d\u{202e}e\u{7f}"), "a\\x1b[31mb\\nc\\x9bd\\u{202e}e\\x7f");
    }

    #[test]
    fn logs_keep_their_colours_and_lose_their_tricks() {
        let mut sanitizer = Sanitizer::default();
        let shown = sanitizer.push(b"\x1b[1;31mred\x1b[0m\tok\r\n\x1b]0;title\x07 \x1b[2J \xff \xc2\x9b");
        assert_eq!(shown, "\u{1b}[1;31mred\u{1b}[0m\tok\r\n\\x1b]0;title\\x07 \\x1b[2J \u{fffd} \\x9b");
        assert_eq!(sanitizer.finish(), "");
    }

    #[test]
    fn where_the_chunks_are_cut_does_not_matter() {
        let stream =
            "a\u{1b}[31mé\u{1b}[0m\u{1b}[H€ \u{1b}[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17m".as_bytes();
        let mut whole = Sanitizer::default();
        let expected = whole.push(stream) + &whole.finish();
        for cut in 0..stream.len() {
            let mut parts = Sanitizer::default();
            let (first, second) = stream.split_at(cut);
            let shown = parts.push(first) + &parts.push(second) + &parts.finish();
            assert_eq!(shown, expected, "cut at {cut}");
        }
        let mut bytewise = Sanitizer::default();
        let shown: String = stream.iter().map(|byte| bytewise.push(&[*byte])).collect();
        assert_eq!(shown + &bytewise.finish(), expected);
    }

    #[test]
    fn an_unfinished_end_is_shown() {
        let mut sanitizer = Sanitizer::default();
        assert_eq!(sanitizer.push(b"x\x1b[3"), "x");
        assert_eq!(sanitizer.finish(), "\\x1b[3");
    }
}
