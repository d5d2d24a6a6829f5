//! Names: of groups and instances, and the ids of tasks, from which a later life of the framework reads whose they are.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use proto::id::{BadId, TaskId};

/// With number, revision and birth the longest task id stays below the 128 bytes of an id.
const NAME_BYTES_MAX: usize = 64;
/// Digits of a revision and of a life: 36 to the 7th is 78 thousand millions.
const DIGITS: usize = 7;
const DIGITS_BELOW: u64 = 36u64.pow(DIGITS as u32);

/// The name of a group: at most 64 bytes of what an id may hold, but for `@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// One instance of a group, such as `web.0`: it keeps its name however often its task is started again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// The group.
    pub group: GroupName,
    /// Which of it, from 0.
    pub number: u32,
}

/// What a task runs, as a fingerprint of its spec: tasks of one revision are alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

/// The digits that no other life of the framework puts into its task ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life(u64);

/// What a task id says of its task: `web.0-1ab2c3d-9xyz01k4` is instance 0 of `web`, its revision, and the life and
/// serial number of its launch. An instance that is several tasks has more of them, with `.1` and so on behind the first
/// one's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub instance: InstanceName,
    pub revision: Revision,
    /// Which task of its instance, from 0.
    pub part: u32,
}

// === impl GroupName ===

impl GroupName {
    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, BadId> {
        // It is an id: with `/` or blanks in it no task of the group could have one.
        TaskId::new(text)?;
        if text.len() > NAME_BYTES_MAX {
            return Err(BadId::BadForm("a name of at most 64 bytes"));
        }
        if text.contains('@') {
            return Err(BadId::BadCharacter('@'));
        }
        Ok(GroupName(Arc::from(text)))
    }

    /// The name of a group that was given none.
    pub(crate) fn main() -> Self {
        GroupName(Arc::from(super::Group::NAME_DEFAULT))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for GroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl InstanceName ===

impl InstanceName {
    /// Whose task it is, by its id; `None` for one that no reconciler launched.
    pub fn of_task(task: &TaskId) -> Option<Self> {
        Birth::parse(task).map(|birth| birth.instance)
    }

    /// Of an instance that is several tasks: the first of those that were started with this one, and which of them it is,
    /// from 0. `None` for a task that no reconciler launched.
    pub fn part_of_launch(task: &TaskId) -> Option<(TaskId, u32)> {
        Birth::parse(task).map(|birth| (birth.first_of(task), birth.part))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (group, number) = text.rsplit_once('.')?;
        let canonical = number == "0" || !number.starts_with(['0', '+']);
        Some(InstanceName {
            group: GroupName::new(group).ok()?,
            number: number.parse().ok().filter(|_| canonical)?,
        })
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.group.0, self.number))
    }
}

// === impl Revision ===

impl Revision {
    /// The spec that a task was started from; `None` for one that no reconciler launched.
    pub fn of_task(task: &TaskId) -> Option<Self> {
        Birth::parse(task).map(|birth| birth.revision)
    }

    pub(crate) fn of_hash(hash: u64) -> Self {
        Revision(hash % DIGITS_BELOW)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (text.len() == DIGITS).then(|| from_base36(text)).flatten().map(Revision)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0>DIGITS$}", base36(self.0))
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl Life ===

impl Life {
    pub fn drawn(random: u64) -> Self {
        Life(random % DIGITS_BELOW)
    }

    /// What no other life, and nothing else in this one, is called.
    pub fn with(self, serial: u64) -> String {
        format!("{:0>DIGITS$}{}", base36(self.0), base36(serial))
    }
}

// === impl Birth ===

impl Birth {
    /// The id of a task. With a serial number that this life has not used before it was never used at all.
    pub fn task_id(&self, life: Life, serial: u64) -> Result<TaskId, BadId> {
        let first = format!("{}-{}-{}", self.instance, self.revision, life.with(serial));
        TaskId::new(&if self.part == 0 { first } else { format!("{first}.{}", self.part) })
    }

    /// The first task of the instance that such a task is a part of.
    pub fn first_of(&self, task: &TaskId) -> TaskId {
        let first = task.as_str().rsplit_once('.').filter(|_| self.part > 0);
        first.and_then(|(first, _)| TaskId::new(first).ok()).unwrap_or_else(|| task.clone())
    }

    /// Reads an id; `None` for one that was not made here.
    pub fn parse(task: &TaskId) -> Option<Self> {
        let mut parts = task.as_str().rsplitn(3, '-');
        let (launch, revision, instance) = (parts.next()?, parts.next()?, parts.next()?);
        let (launch, part) = match launch.split_once('.') {
            Some((launch, part)) => (launch, part.parse().ok().filter(|part| *part > 0)?),
            None => (launch, 0),
        };
        if launch.len() <= DIGITS || !is_base36(launch) {
            return None;
        }
        Some(Birth { instance: InstanceName::parse(instance)?, revision: Revision::parse(revision)?, part })
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(u32::try_from(number % 36).ok().and_then(|digit| char::from_digit(digit, 36)));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn is_base36(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
}

fn from_base36(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 36).ok().filter(|_| is_base36(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_whose_task_it_is() {
        for group in ["web", "a.b-c", "x-0.1", &"g".repeat(64)] {
            let instance = InstanceName { group: GroupName::new(group).expect("a name"), number: u32::MAX };
            let first = Birth { instance, revision: Revision::of_hash(u64::MAX), part: 0 };
            let id = first.task_id(Life::drawn(5), u64::MAX).expect("an id");
            assert_eq!(Birth::parse(&id), Some(first.clone()), "{id}");
            let beside = Birth { part: u32::MAX, ..first };
            let other = beside.task_id(Life::drawn(5), u64::MAX).expect("an id");
            assert_eq!(Birth::parse(&other), Some(beside.clone()), "{other}");
            assert_eq!(beside.first_of(&other), id);
            assert_eq!(InstanceName::part_of_launch(&other), Some((id.clone(), u32::MAX)));
            assert_eq!(InstanceName::part_of_launch(&id), Some((id, 0)));
        }
    }

    #[test]
    fn ids_of_others_are_not_read() {
        for id in [
            "web",
            "web.0",
            "web.0-2n",
            "web.00-0000001-00000010",
            "web.0-000001-00000010",
            "web.0-0000001-A0000010",
            "web.0-0000001-00000010.0",
            "web.0-0000001-00000010.x",
        ] {
            assert_eq!(Birth::parse(&TaskId::new(id).expect("an id")), None, "{id}");
        }
    }

    #[test]
    fn a_group_name_is_short_and_can_stand_in_an_id() {
        assert!(GroupName::new("").is_err());
        assert!(GroupName::new("a b").is_err());
        assert!(GroupName::new("a@b").is_err(), "demands are named with it");
        assert!(GroupName::new(&"g".repeat(65)).is_err());
    }
}
