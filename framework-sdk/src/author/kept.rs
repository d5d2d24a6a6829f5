//! `Kept`: what a framework's author keeps, and saves together with the word that an event is taken in.

use std::collections::BTreeMap;

use framework_sdk_core::reconciler::Change;

/// The keys of an author begin with this, among all that a framework keeps.
const OWN: &str = "kept/";
/// The longest key that is taken, in bytes.
const KEY_BYTES_MAX: usize = 1024;
/// The longest value: the masters take no longer one.
const VALUE_BYTES_MAX: usize = proto::store::VALUE_BYTES_MAX;

/// What the author of a framework keeps over its lives, each a text by its key. What is changed while an event is taken in is
/// saved as one, before the event is acknowledged; when it is not taken in, nothing of it is changed.
#[derive(Debug)]
pub struct Kept<'a> {
    known: &'a BTreeMap<String, String>,
    changed: BTreeMap<String, Option<String>>,
}

/// Why something is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKept {
    /// The key is empty or too long.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {bytes}")]
    Key {
        /// How long it is.
        bytes: usize,
    },
    /// The value is too long.
    #[error(
        "the value of {key:?} has {bytes} bytes, at most {VALUE_BYTES_MAX} are kept; keep a reference to it instead"
    )]
    Value {
        /// Whose.
        key: String,
        /// How long it is.
        bytes: usize,
    },
}

impl<'a> Kept<'a> {
    pub(super) fn new(known: &'a BTreeMap<String, String>) -> Self {
        Kept { known, changed: BTreeMap::new() }
    }

    /// What is kept under a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        match self.changed.get(key) {
            Some(changed) => changed.as_deref(),
            None => self.known.get(key).map(String::as_str),
        }
    }

    /// Keeps something under a key, from when the event is taken in.
    pub fn put(&mut self, key: &str, value: impl Into<String>) -> Result<(), BadKept> {
        let value = value.into();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(BadKept::Key { bytes: key.len() });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(BadKept::Value { key: key.to_owned(), bytes: value.len() });
        }
        self.changed.insert(key.to_owned(), Some(value));
        Ok(())
    }

    /// Keeps nothing under a key any more.
    pub fn remove(&mut self, key: &str) {
        self.changed.insert(key.to_owned(), None);
    }

    /// Everything, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let unchanged = self.known.iter().filter(|(key, _)| !self.changed.contains_key(*key));
        let unchanged = unchanged.map(|(key, value)| (key.as_str(), value.as_str()));
        let changed = self.changed.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
        let all: BTreeMap<&str, &str> = unchanged.chain(changed).collect();
        all.into_iter()
    }

    pub(super) fn into_changed(self) -> BTreeMap<String, Option<String>> {
        self.changed
    }
}

/// Takes what the author keeps out of all that is kept.
pub(super) fn take_own(known: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut own = known.split_off(OWN);
    let after = own.keys().find(|key| !key.starts_with(OWN)).cloned();
    if let Some(after) = after {
        known.append(&mut own.split_off(&after));
    }
    own.into_iter().map(|(key, value)| (key[OWN.len()..].to_owned(), value)).collect()
}

/// The author's changes among all that is kept.
pub(super) fn changes(changed: &BTreeMap<String, Option<String>>) -> Vec<Change> {
    let change = |(key, value): (&String, &Option<String>)| Change {
        key: format!("{OWN}{key}"),
        value: value.clone(),
    };
    changed.iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_an_author_keeps_is_apart_and_seen_with_its_changes() {
        let mut known = texts(&[("home/a", "1"), ("kept/n", "1"), ("kept/m", "2"), ("over/a", "x")]);
        let own = take_own(&mut known);
        assert_eq!(known, texts(&[("home/a", "1"), ("over/a", "x")]));
        assert_eq!(own, texts(&[("m", "2"), ("n", "1")]));
        let mut kept = Kept::new(&own);
        kept.put("k", "3").expect("kept");
        kept.remove("m");
        assert_eq!(kept.iter().collect::<Vec<_>>(), [("k", "3"), ("n", "1")]);
        assert_eq!((kept.get("m"), kept.get("n")), (None, Some("1")));
        assert_eq!(kept.put("", "x"), Err(BadKept::Key { bytes: 0 }));
        assert!(kept.put("big", "x".repeat(VALUE_BYTES_MAX + 1)).is_err());
        let changes = changes(&kept.into_changed());
        assert_eq!(
            changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(),
            ["kept/k", "kept/m"]
        );
    }
}
