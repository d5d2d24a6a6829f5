//! What a framework remembers over its lives: its id, which instances are over, where some of them ran last, how far
//! guarded changes are, and where volumes are.
//!
//! All else is read from the tasks that the master lists. Without this memory a framework begins anew, an instance that
//! was over runs again, and one that would stay is started anywhere.

use std::collections::BTreeMap;

use proto::id::{AgentId, FrameworkId, VolumeId};
use proto::task::TaskState;

use super::event::Change;
use super::rollout::Rollout;
use super::slot::Home;
use super::volumes::Kept;
use crate::desired::{GroupName, InstanceName, Revision};

pub(super) const FRAMEWORK: &str = "framework";
const OVER: &str = "over";
const END: &str = "end";
const HOME: &str = "home";

/// What is remembered, and what of it is not yet saved.
#[derive(Debug)]
pub(super) struct Memory {
    known: BTreeMap<String, String>,
    unsaved: Vec<Change>,
    /// How instances ended is not remembered here: the author does that itself.
    pub forgets_ends: bool,
}

// === impl Memory ===

impl Memory {
    pub fn new(known: BTreeMap<String, String>) -> Self {
        Memory { known, unsaved: Vec::new(), forgets_ends: false }
    }

    fn put(&mut self, key: String, value: Option<String>) {
        let before = match &value {
            Some(value) => self.known.insert(key.clone(), value.clone()),
            None => self.known.remove(&key),
        };
        if before != value {
            self.unsaved.push(Change { key, value });
        }
    }

    /// What has to be saved, in the order in which it came about.
    pub fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.unsaved)
    }

    pub fn framework(&mut self, id: &FrameworkId) {
        self.put(FRAMEWORK.to_owned(), Some(id.to_string()));
    }

    /// The framework is no more, and nothing of it but its volumes, which are its roles': the next start begins as a new one.
    pub fn forget_all(&mut self) {
        let is_volume = |key: &&String| key.starts_with("volume/") || key.starts_with("purge/");
        let keys: Vec<String> = self.known.keys().filter(|key| !is_volume(key)).cloned().collect();
        keys.into_iter().for_each(|key| self.put(key, None));
    }

    pub fn forget(&mut self, instance: &InstanceName) {
        for key in [over_key(instance), home_key(instance), end_key(instance)] {
            self.put(key, None);
        }
    }

    /// Forgets the instances of a group that are none any more.
    pub fn forget_others(&mut self, group: &GroupName, wanted: impl Fn(u32) -> bool) {
        // Only what stands under its name: there may be many other groups.
        let of = |kind: &str| (format!("{kind}/{group}."), format!("{kind}/{group}/"));
        let keys = [OVER, END, HOME].map(of).into_iter().flat_map(|(from, to)| self.known.range(from..to));
        let instances = keys.filter_map(|(key, _)| InstanceName::parse(key.split_once('/')?.1));
        let others = instances.filter(|instance| instance.group == *group && !wanted(instance.number));
        let others: Vec<InstanceName> = others.collect();
        others.iter().for_each(|instance| self.forget(instance));
    }

    pub fn set_over(&mut self, instance: &InstanceName, over: Option<(Revision, TaskState)>) {
        if self.forgets_ends {
            return;
        }
        self.put(over_key(instance), over.map(|(revision, state)| format!("{revision} {}", state.as_str())));
    }

    /// How an instance ended, in which revision.
    pub fn over(&self, instance: &InstanceName) -> Option<(Revision, TaskState)> {
        self.end(&over_key(instance))
    }

    fn end(&self, key: &str) -> Option<(Revision, TaskState)> {
        let (revision, state) = self.known.get(key)?.split_once(' ')?;
        let state = ENDS.into_iter().find(|end| end.as_str() == state)?;
        Some((Revision::parse(revision)?, state))
    }

    /// How a task of a group ended that is not stated yet: what that means is for the group to say.
    pub fn set_end(&mut self, instance: &InstanceName, end: (Revision, TaskState)) {
        if self.forgets_ends {
            return;
        }
        self.put(end_key(instance), Some(format!("{} {}", end.0, end.1.as_str())));
    }

    /// Takes such an end out: from now on it is known what it means.
    pub fn take_end(&mut self, instance: &InstanceName) -> Option<(Revision, TaskState)> {
        let end = self.end(&end_key(instance));
        self.put(end_key(instance), None);
        end
    }

    /// The revision of a group that was in service as a whole last.
    pub fn good(&self, group: &GroupName) -> Option<Revision> {
        self.known.get(&good_key(group)).and_then(|text| Revision::parse(text))
    }

    pub fn set_good(&mut self, group: &GroupName, good: Option<Revision>) {
        self.put(good_key(group), good.map(|revision| revision.to_string()));
    }

    /// The change of a group that is on its way.
    pub fn rollout(&self, group: &GroupName) -> Option<Rollout> {
        self.known.get(&rollout_key(group)).and_then(|text| Rollout::parse(text))
    }

    pub fn set_rollout(&mut self, group: &GroupName, rollout: Option<&Rollout>) {
        self.put(rollout_key(group), rollout.map(ToString::to_string));
    }

    /// Forgets what is remembered of a group as a whole.
    pub fn forget_group(&mut self, group: &GroupName) {
        self.set_good(group, None);
        self.set_rollout(group, None);
    }

    /// The volumes that an instance keeps.
    pub fn kept(&self, instance: &InstanceName) -> Option<Kept> {
        self.known.get(&volume_key(instance)).and_then(|text| Kept::parse(text))
    }

    pub fn set_kept(&mut self, instance: &InstanceName, kept: Option<&Kept>) {
        self.put(volume_key(instance), kept.map(ToString::to_string));
    }

    /// Every volume that instances of a group keep, also of such as there should be no more.
    pub fn all_kept(&self, group: &GroupName) -> Vec<(InstanceName, Kept)> {
        // Only what stands under its name: there may be many other groups.
        let keys = self.known.range(format!("volume/{group}.")..format!("volume/{group}/"));
        let kept = keys.filter_map(|(key, text)| {
            let instance = InstanceName::parse(key.strip_prefix("volume/")?)?;
            Some((instance, Kept::parse(text)?))
        });
        kept.filter(|(instance, _)| instance.group == *group).collect()
    }

    /// The volumes that are to be destroyed.
    pub fn purges(&self) -> Vec<Kept> {
        let texts = self.known.iter().filter(|(key, _)| key.starts_with("purge/"));
        texts.filter_map(|(_, text)| Kept::parse(text)).collect()
    }

    pub fn set_purge(&mut self, volume: &VolumeId, kept: Option<&Kept>) {
        self.put(format!("purge/{volume}"), kept.map(ToString::to_string));
    }

    pub fn set_home(&mut self, instance: &InstanceName, home: &Home) {
        self.put(home_key(instance), Some(format!("{} {}", home.agent, home.value)));
    }

    /// Where an instance runs, or ran last.
    pub fn home(&self, instance: &InstanceName) -> Option<Home> {
        let (agent, value) = self.known.get(&home_key(instance))?.split_once(' ')?;
        Some(Home { agent: AgentId::new(agent).ok()?, value: value.to_owned() })
    }
}

const ENDS: [TaskState; 8] = [
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Error,
    TaskState::Lost,
    TaskState::Dropped,
    TaskState::Gone,
    TaskState::GoneByOperator,
];

fn over_key(instance: &InstanceName) -> String {
    format!("{OVER}/{instance}")
}

fn volume_key(instance: &InstanceName) -> String {
    format!("volume/{instance}")
}

fn good_key(group: &GroupName) -> String {
    format!("good/{group}")
}

fn rollout_key(group: &GroupName) -> String {
    format!("change/{group}")
}

fn end_key(instance: &InstanceName) -> String {
    format!("{END}/{instance}")
}

fn home_key(instance: &InstanceName) -> String {
    format!("{HOME}/{instance}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_forgets_its_own_instances_and_no_others() {
        let mut memory = Memory::new(BTreeMap::new());
        let home = Home { agent: AgentId::new("a1").expect("an id"), value: "a1".to_owned() };
        let names = ["web.0", "web.1", "web.1.0", "web-1.0", "we.0"].map(InstanceName::parse);
        let names = names.map(|name| name.expect("a name"));
        names.iter().for_each(|name| memory.set_home(name, &home));
        memory.forget_others(&names[0].group, |number| number == 0);
        let left: Vec<String> =
            names.iter().filter(|n| memory.home(n).is_some()).map(|n| n.to_string()).collect();
        assert_eq!(left, ["web.0", "web.1.0", "web-1.0", "we.0"]);
    }

    #[test]
    fn what_is_remembered_reads_back_and_is_saved_once() {
        let instance = InstanceName::parse("web.0").expect("a name");
        let mut memory = Memory::new(BTreeMap::new());
        let home = Home { agent: AgentId::new("a1").expect("an id"), value: "rack 7".to_owned() };
        let over = (Revision::of_hash(9), TaskState::Failed);
        memory.set_home(&instance, &home);
        memory.set_over(&instance, Some(over));
        memory.set_over(&instance, Some(over));
        let changes = memory.take();
        assert_eq!(changes.len(), 2, "{changes:?}");
        let saved = changes.into_iter().filter_map(|change| Some((change.key, change.value?))).collect();
        let mut later = Memory::new(saved);
        assert_eq!((later.home(&instance), later.over(&instance)), (Some(home), Some(over)));
        later.forget_all();
        assert_eq!(later.take().len(), 2);
        assert_eq!((later.home(&instance), later.over(&instance)), (None, None));
    }
}
