//! What watches told: every revision once, in order, none left out, and the same to everybody.

use crate::store::{Key, Kv};
use crate::{Broken, broken};

/// A key changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// At which revision.
    pub revision: u64,
    /// Which.
    pub key: Key,
    /// How it is since; `None`: it was deleted.
    pub held: Option<Kv>,
}

/// What a watch told, in the order in which it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// For people.
    pub name: String,
    /// The first key that it was to tell of.
    pub from: Key,
    /// The last.
    pub to: Key,
    /// The first revision that it was to tell.
    pub start: u64,
    /// What it told. The changes of one revision come together, whatever the messages.
    pub changes: Vec<Change>,
}

/// All changes, revision by revision.
#[derive(Clone, Debug, Default)]
pub struct History {
    first: u64,
    revisions: Vec<Vec<Change>>,
}

impl History {
    /// Of a watch that was to tell everything, up to a revision at least.
    pub fn of(told: &Told, last: u64) -> Result<History, Broken> {
        let mut history = History { first: told.start, revisions: Vec::new() };
        for change in &told.changes {
            if change.revision == history.last() {
                let same =
                    history.revisions.last_mut().filter(|same| same.iter().all(|c| c.key != change.key));
                match same {
                    Some(same) => same.push(change.clone()),
                    None => return broken(format!("{}: told twice: {change:?}", told.name)),
                }
                continue;
            }
            let next = history.last() + 1;
            if change.revision != next {
                return broken(format!("{}: revision {next} was to be told, and {change:?} came", told.name));
            }
            history.revisions.push(vec![change.clone()]);
        }
        if history.last() < last {
            return broken(format!(
                "{}: the last it told is revision {}, and {last} was acknowledged",
                told.name,
                history.last()
            ));
        }
        Ok(history)
    }

    /// The first revision.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last revision; the one before the first if there is none.
    pub fn last(&self) -> u64 {
        self.first + self.revisions.len() as u64 - 1
    }

    /// The changes of a revision, which must not lie before the first.
    pub fn at(&self, revision: u64) -> &[Change] {
        let at = revision.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.revisions.get(at)).map_or(&[], Vec::as_slice)
    }

    /// Each revision with its changes.
    pub fn revisions(&self) -> impl Iterator<Item = (u64, &[Change])> {
        (self.first..).zip(self.revisions.iter().map(Vec::as_slice))
    }

    /// Whether another watch told the same, as far as it was to tell anything, up to the last revision.
    pub fn agrees(&self, told: &Told) -> Result<u64, Broken> {
        let wanted = self.revisions.iter().flatten();
        let wanted = wanted.filter(|change| change.revision >= told.start);
        let mut wanted = wanted.filter(|change| (told.from..=told.to).contains(&change.key));
        let mut heard = told.changes.iter();
        let mut same = 0;
        loop {
            match (wanted.next(), heard.next()) {
                (None, None) => return Ok(same),
                (wanted, heard) if wanted == heard => same += 1,
                (wanted, heard) => {
                    return broken(format!(
                        "{}: after {same} changes {wanted:?} was to be told, and {heard:?} came",
                        told.name
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, key: Key) -> Change {
        Change { revision, key, held: None }
    }

    fn told(changes: &[(u64, Key)]) -> Told {
        let changes = changes.iter().map(|(revision, key)| change(*revision, *key)).collect();
        Told { name: "all".into(), from: 0, to: Key::MAX, start: 2, changes }
    }

    const WHOLE: [(u64, Key); 4] = [(2, 1), (3, 1), (3, 2), (4, 1)];

    #[test]
    fn a_gap_a_double_a_step_back_and_an_end_too_early_are_seen() {
        assert_eq!(History::of(&told(&WHOLE), 4).expect("it is whole").last(), 4);
        assert_eq!(History::of(&told(&[]), 1).expect("nothing was to be told").last(), 1);
        let faults: [&[(u64, Key)]; 5] = [
            &[(2, 1), (4, 1)],
            &[(2, 1), (2, 1), (3, 1), (4, 1)],
            &[(2, 1), (3, 1), (2, 1)],
            &[(3, 1)],
            &WHOLE[..3],
        ];
        for fault in faults {
            History::of(&told(fault), 4).expect_err("it is not whole");
        }
    }

    #[test]
    fn another_watch_tells_what_it_was_asked_for_and_nothing_else() {
        let history = History::of(&told(&WHOLE), 4).expect("it is whole");
        let one = |start, changes: &[(u64, Key)]| Told { to: 1, start, ..told(changes) };
        assert_eq!(history.agrees(&one(2, &[(2, 1), (3, 1), (4, 1)])), Ok(3));
        assert_eq!(history.agrees(&one(3, &[(3, 1), (4, 1)])), Ok(2));
        for fault in [&[(2, 1), (4, 1)][..], &[(2, 1), (3, 1)], &WHOLE, &[(2, 1), (3, 1), (4, 1), (4, 1)]] {
            history.agrees(&one(2, fault)).expect_err("it is another");
        }
    }
}
