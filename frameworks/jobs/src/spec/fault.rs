//! What is wrong with a job, said so that it can be mended.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line of the file, from 1, if it came from one.
    pub line: Option<usize>,
    /// The key as a path: `artifacts[0].uri`. Empty: the whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a file, or with one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file; empty when it came over the wire.
    pub file: String,
    /// In the order of the file; never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            if !self.file.is_empty() {
                write!(f, "{}:", self.file)?;
                if let Some(line) = fault.line {
                    write!(f, "{line}:")?;
                }
                f.write_str(" ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The known word that a wrong one was probably meant to be: at most one letter in three differs.
pub(crate) fn meant<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase();
    // Far longer than any word of ours: not a slip, and not worth the square of its length.
    if given.len() > 64 {
        return None;
    }
    let close = known.iter().map(|word| (distance(&given, word), *word));
    close
        .filter(|(far, word)| *far <= (word.len() / 3).max(1))
        .min_by_key(|(far, _)| *far)
        .map(|(_, word)| word)
}

/// How many letters must be put in, left out, changed or swapped with the next to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = rows[i][j] + usize::from(x != y);
            let mut best = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["instances", "cpus", "mem", "command"];
        assert_eq!(meant("instnaces", &known), Some("instances"));
        assert_eq!(meant("cpu", &known), Some("cpus"));
        assert_eq!(meant("Memory", &known), None);
        assert_eq!(meant("commands", &known), Some("command"));
        assert_eq!(meant(&"x".repeat(100_000), &known), None);
        assert_eq!(meant("", &known), None);
    }
}
