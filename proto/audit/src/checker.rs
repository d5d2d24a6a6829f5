//! `Checker`: reads the lines of one master's log in order, and stops at the first that is not as it was written.

use std::collections::BTreeMap;
use std::fmt;

use crate::chain::{Hash, Head, Seal};
use crate::entry::Entry;

/// What is wrong with a log, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The number of the line, as far as it has one.
    pub sequence: u64,
    /// What was done to it.
    pub how: How,
}

/// What was done to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// The line is not what the line after it was written behind.
    Edited,
    /// The line is no line of an audit log.
    Unreadable,
    /// The line is another master's.
    Foreign(u64),
    /// The lines from this one up to that one are not there.
    Missing(u64),
    /// A line of this number stands where another one must.
    Inserted,
    /// The log ends before it; others have seen it go up to that line.
    Cut(u64),
    /// Others have seen another line of this number.
    Rewritten,
}

/// What a log holds that is not broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many lines.
    pub entries: u64,
    /// The number of the first one; what came before it is not kept any more.
    pub first: u64,
    /// Up to where it stands.
    pub head: Head,
    /// Up to where others have seen it as it is; 0: nobody has.
    pub sealed: u64,
}

/// Reads the lines of one master's log.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    master: Option<u64>,
    seals: BTreeMap<u64, Hash>,
    /// Of every line that was taken: their numbers have no gaps.
    hashes: Vec<Hash>,
    found: Found,
}

// === impl Checker ===

impl Checker {
    /// Of this master's log; `None`: of whose the first line is.
    pub fn new(master: Option<u64>) -> Self {
        Checker { master, ..Checker::default() }
    }

    /// Somebody has seen a log like this; those of other masters are passed over. Of two words about one line that differ,
    /// the line can match one only, and so is found rewritten.
    pub fn seal(&mut self, seal: Seal) -> Result<(), Broken> {
        if self.master != Some(seal.master) {
            return Ok(());
        }
        let Head { sequence, hash } = seal.head;
        match self.seals.insert(sequence, hash) {
            Some(before) if before != hash => Err(Broken { sequence, how: How::Rewritten }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whose log it is, as far as that is known.
    pub fn master(&self) -> Option<u64> {
        self.master
    }

    /// The next line, and what it says.
    pub fn take(&mut self, line: &str) -> Result<Entry, Broken> {
        let last = self.found.head;
        let next = last.sequence + 1;
        let begun = self.found.entries > 0;
        let Ok(entry) = Entry::parse(line) else {
            let sequence = if begun { next } else { 0 };
            return Err(Broken { sequence, how: How::Unreadable });
        };
        let sequence = entry.sequence;
        if *self.master.get_or_insert(entry.master) != entry.master {
            return Err(Broken { sequence, how: How::Foreign(entry.master) });
        }
        if begun && sequence > next {
            return Err(Broken { sequence: next, how: How::Missing(sequence - 1) });
        }
        if begun && sequence < next {
            return Err(Broken { sequence, how: How::Inserted });
        }
        let before = if begun || sequence == 1 { Some(last.hash.to_string()) } else { None };
        if before.is_some_and(|before| before != entry.prev) {
            return Err(Broken { sequence: last.sequence.max(1), how: How::Edited });
        }
        let hash = Hash::of(line.as_bytes());
        if !begun {
            self.found.first = sequence;
        }
        self.found.entries += 1;
        self.hashes.push(hash);
        self.found.head = Head { sequence, hash };
        Ok(entry)
    }

    /// There are no more lines: what was found, if all that others have seen is there and as they saw it.
    pub fn end(mut self) -> Result<Found, Broken> {
        let Found { first, head, .. } = self.found;
        for (sequence, hash) in &self.seals {
            let at = sequence.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            match at.and_then(|at| self.hashes.get(at)) {
                Some(there) if there != hash => {
                    return Err(Broken { sequence: *sequence, how: How::Rewritten });
                }
                Some(_) => self.found.sealed = self.found.sealed.max(*sequence),
                None if *sequence > head.sequence => {
                    return Err(Broken { sequence: head.sequence + 1, how: How::Cut(*sequence) });
                }
                // No longer kept.
                None => {}
            }
        }
        Ok(self.found)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.sequence;
        match self.how {
            How::Edited => write!(
                f,
                "entry {at} is not as it was written: the entry after it has the hash of another line"
            ),
            How::Unreadable if at == 0 => f.write_str("the first line is no entry of an audit log"),
            How::Unreadable => write!(f, "where entry {at} must stand is a line that is no entry"),
            How::Foreign(master) => write!(f, "entry {at} is of master {master}"),
            How::Missing(last) if last == at => write!(f, "entry {at} was removed"),
            How::Missing(last) => write!(f, "the entries {at} to {last} were removed"),
            How::Inserted => write!(f, "an entry {at} stands where it does not belong: one was inserted"),
            How::Cut(sealed) => {
                write!(
                    f,
                    "the end was cut off: entry {at} is not there, and others have seen it go up to {sealed}"
                )
            }
            How::Rewritten => write!(f, "entry {at} is not the one that others have seen"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Verdict, WITNESSED};

    fn entry(sequence: u64, prev: &str) -> Entry {
        Entry {
            sequence,
            at_ms: 1_000 + sequence,
            master: 1,
            who: "user/ada".into(),
            from: "10.0.0.9:4000".into(),
            call: "set-quota".into(),
            object: format!("role-{sequence}"),
            verdict: Verdict::Done,
            code: String::new(),
            message: String::new(),
            index: sequence,
            count: 1,
            prev: prev.to_owned(),
        }
    }

    fn log(entries: u64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut prev = Hash::default();
        for sequence in 1..=entries {
            let line = entry(sequence, &prev.to_string()).to_line();
            prev = Hash::of(line.as_bytes());
            lines.push(line);
        }
        lines
    }

    fn seal(lines: &[String], sequence: u64) -> Seal {
        let line = &lines[usize::try_from(sequence).unwrap() - 1];
        Seal { master: 1, head: Head { sequence, hash: Hash::of(line.as_bytes()) } }
    }

    fn check(lines: &[String], seals: &[Seal]) -> Result<Found, Broken> {
        let mut checker = Checker::new(Some(1));
        for seal in seals {
            checker.seal(*seal)?;
        }
        for line in lines {
            checker.take(line)?;
        }
        checker.end()
    }

    #[test]
    fn a_whole_log_is_whole_and_so_is_one_whose_oldest_lines_are_not_kept() {
        let lines = log(9);
        let found = check(&lines, &[seal(&lines, 8)]).unwrap();
        assert_eq!((found.entries, found.first, found.head.sequence, found.sealed), (9, 1, 9, 8));
        let found = check(&lines[4..], &[seal(&lines, 2), seal(&lines, 6)]).unwrap();
        assert_eq!((found.entries, found.first, found.sealed), (5, 5, 6));
    }

    #[test]
    fn an_edit_of_any_line_is_found_there() {
        let lines = log(9);
        for at in 0..9 {
            let mut edited = lines.clone();
            edited[at] = edited[at].replace("user/ada", "user/eve");
            let sequence = at as u64 + 1;
            // Of the last one nothing but a seal tells.
            let how = if at == 8 { How::Rewritten } else { How::Edited };
            assert_eq!(check(&edited, &[seal(&lines, 9)]), Err(Broken { sequence, how }));
        }
    }

    #[test]
    fn a_removal_an_insertion_and_a_change_of_order_are_found_where_they_are() {
        let lines = log(9);
        let mut removed = lines.clone();
        removed.drain(3..5);
        assert_eq!(check(&removed, &[]), Err(Broken { sequence: 4, how: How::Missing(5) }));
        for twice in [3, 4] {
            let mut inserted = lines.clone();
            let forged =
                entry(twice, &Hash::of(lines[2].as_bytes()).to_string()).to_line().replace("ada", "eve");
            inserted.insert(3, forged);
            let broken = check(&inserted, &[]).unwrap_err();
            assert_eq!((broken.sequence, broken.how), (twice, How::Inserted), "{twice}");
        }
        let mut swapped = lines.clone();
        swapped.swap(5, 6);
        assert_eq!(check(&swapped, &[]), Err(Broken { sequence: 6, how: How::Missing(6) }));
        let mut nonsense = lines;
        nonsense[5] = "gone".to_owned();
        assert_eq!(check(&nonsense, &[]), Err(Broken { sequence: 6, how: How::Unreadable }));
    }

    #[test]
    fn a_cut_end_and_a_log_written_anew_are_found_by_what_others_have_seen() {
        let lines = log(9);
        assert_eq!(check(&lines[..6], &[]).map(|found| found.entries), Ok(6), "nobody has seen more");
        let cut = Broken { sequence: 7, how: How::Cut(8) };
        assert_eq!(check(&lines[..6], &[seal(&lines, 3), seal(&lines, 8)]), Err(cut));
        assert_eq!(check(&[], &[seal(&lines, 8)]), Err(Broken { sequence: 1, how: How::Cut(8) }));
        let mut anew: Vec<String> = Vec::new();
        let mut prev = Hash::default();
        for sequence in 1..=9 {
            let line = Entry { who: "user/eve".into(), ..entry(sequence, &prev.to_string()) }.to_line();
            prev = Hash::of(line.as_bytes());
            anew.push(line);
        }
        assert!(check(&anew, &[]).is_ok(), "by itself it is whole");
        assert_eq!(check(&anew, &[seal(&lines, 5)]), Err(Broken { sequence: 5, how: How::Rewritten }));
    }

    #[test]
    fn what_a_master_has_seen_of_another_reads_back_and_nobody_else_can_say_it() {
        let lines = log(4);
        let seen = seal(&lines, 4);
        let line = Entry {
            who: "master/1".into(),
            call: WITNESSED.into(),
            object: seen.head.to_string(),
            master: 2,
            ..entry(1, &Hash::default().to_string())
        };
        assert_eq!(Entry::parse(&line.to_line()).unwrap().witnessed(), Some(seen));
        assert_eq!(seen.to_string().parse(), Ok(seen));
        for who in ["user/ada", "framework/master/1", "agent/1"] {
            assert_eq!(Entry { who: who.into(), ..line.clone() }.witnessed(), None);
        }
        for bad in ["", "1/", "1/4", "x/4:ab", "1/4:ab"] {
            assert!(bad.parse::<Seal>().is_err(), "{bad}");
        }
    }
}
