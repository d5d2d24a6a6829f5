//! One field of a schedule: which of its numbers are meant.

/// What a field may hold.
#[derive(Debug)]
pub(super) struct Field {
    /// For messages.
    pub name: &'static str,
    pub least: u8,
    pub most: u8,
    /// Names of its numbers, from `least` on; three letters each.
    pub words: &'static [&'static str],
    /// A value that is wrong but often meant, with what to write.
    pub example: &'static str,
}

/// What one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meant {
    /// Bit n stands for number n.
    pub bits: u64,
    /// It begins with `*`.
    pub star: bool,
}

pub(super) const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, words: &[], example: "0, */5 or 10,40" },
    Field { name: "hour", least: 0, most: 23, words: &[], example: "3, 9-17 or */2" },
    Field { name: "day of month", least: 1, most: 31, words: &[], example: "1, 1-7 or *" },
    Field {
        name: "month",
        least: 1,
        most: 12,
        words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        example: "1, jan or *",
    },
    Field {
        name: "day of week",
        least: 0,
        // Seven is Sunday too.
        most: 7,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        example: "1-5, mon-fri or *",
    },
];

// === impl Field ===

impl Field {
    pub fn read(&self, text: &str) -> Result<Meant, String> {
        let mut bits = 0;
        for item in text.split(',') {
            bits |= self.item(item)?;
        }
        Ok(Meant { bits, star: text.starts_with('*') })
    }

    /// `*`, `*/5`, `3`, `3-9`, `3-9/2`, `mon`, `mon-fri`.
    fn item(&self, item: &str) -> Result<u64, String> {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => (range, Some(self.step(item, step)?)),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None => {
                let number = self.number(range)?;
                if let Some(step) = step {
                    return Err(format!(
                        "{item:?} steps from a single {}; write {number}-{}/{step}",
                        self.name, self.most
                    ));
                }
                (number, number)
            }
        };
        if first > last {
            return Err(format!(
                "{item:?} runs backwards; write the {} as two ranges with a comma between them",
                self.name
            ));
        }
        Ok((first..=last).step_by(usize::from(step.unwrap_or(1))).fold(0, |bits, n| bits | 1 << n))
    }

    fn step(&self, item: &str, text: &str) -> Result<u8, String> {
        match digits(text) {
            Some(step) if step > 0 => Ok(step),
            Some(_) | None => Err(format!("{item:?} has no step between 1 and 255 behind its /")),
        }
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let lower = text.to_ascii_lowercase();
        let word = self.words.iter().position(|word| **word == lower);
        let number = match word.and_then(|at| u8::try_from(at).ok()) {
            Some(at) => Some(at + self.least),
            None => digits(text),
        };
        number.filter(|number| (self.least..=self.most).contains(number)).ok_or_else(|| {
            let shown: String = text.chars().take(20).collect();
            let (least, most) = (self.least, self.most);
            format!("{shown:?} is no {} ({least} to {most}); write for example {}", self.name, self.example)
        })
    }
}

/// Digits only: `+5` is no number here.
fn digits(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
