//! Keys and values as lines of text: `key TAB value`, or a key alone for one that is gone.

use std::borrow::Cow;

use framework_sdk_core::reconciler::Change;

const ESCAPES: [(char, char); 4] = [('\\', '\\'), ('\n', 'n'), ('\r', 'r'), ('\t', 't')];

/// A text without line ends and tabs that reads back as this one.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let escape = |c: char| ESCAPES.into_iter().find(|(plain, _)| *plain == c).map(|(_, letter)| letter);
    if !text.contains(|c| escape(c).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match escape(c) {
            Some(letter) => written.extend(['\\', letter]),
            None => written.push(c),
        }
    }
    Cow::Owned(written)
}

/// The text that was escaped. What is no escape stands for itself: earlier versions wrote none.
pub(super) fn unescaped(text: &str) -> String {
    let mut read = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            read.push(c);
            continue;
        }
        let rest = chars.clone();
        match chars.next().and_then(|letter| ESCAPES.into_iter().find(|(_, known)| *known == letter)) {
            Some((plain, _)) => read.push(plain),
            None => {
                read.push('\\');
                chars = rest;
            }
        }
    }
    read
}

/// Changes as one text.
pub(super) fn written(changes: &[Change]) -> String {
    let line = |change: &Change| match &change.value {
        Some(value) => format!("{}\t{}\n", escaped(&change.key), escaped(value)),
        None => format!("{}\n", escaped(&change.key)),
    };
    changes.iter().map(line).collect()
}

/// The changes of a text that [`written`] wrote.
pub(super) fn read(text: &str) -> Vec<Change> {
    let change = |line: &str| match line.split_once('\t') {
        Some((key, value)) => Change { key: unescaped(key), value: Some(unescaped(value)) },
        None => Change { key: unescaped(line), value: None },
    };
    text.lines().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_reads_back_and_so_does_what_earlier_versions_wrote() {
        for text in ["", "plain", "a\tb\nc\r\\d", "\\n", "\\\\", "ends in \\"] {
            assert!(!escaped(text).contains(['\n', '\r', '\t']), "{text:?}");
            assert_eq!(unescaped(&escaped(text)), text);
        }
        assert_eq!(unescaped("C:\\dir \\"), "C:\\dir \\");
        let change =
            |key: &str, value: Option<&str>| Change { key: key.into(), value: value.map(str::to_owned) };
        let changes = vec![change("a\tb", Some("1\n2")), change("c", None), change("d", Some(""))];
        assert_eq!(read(&written(&changes)), changes);
    }
}
