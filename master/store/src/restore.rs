//! A store whose log is begun anew from a backup: numbers that the old one gave after it are not given again.

use crate::{Space, Store};

impl Store {
    /// The store of a log that begins anew, with all its numbers at this one or behind it; it is beyond anything that the old log
    /// could have given.
    ///
    /// Whoever watches from a revision of the old log is told that it is compacted, and reads what is there. Whoever claimed
    /// a space is fenced, and claims it anew: two instances could hold the same epoch otherwise, one of each log. (etcd's
    /// `snapshot restore --bump-revision --mark-compacted` is for the same.)
    ///
    /// The list of masters is forgotten: the registry's log has the one of the new group, and tells it.
    pub fn restored(mut self, floor: u64) -> Store {
        self.roster = None;
        self.spaces.values_mut().for_each(|space| space.restore(floor));
        self
    }
}

impl Space {
    fn restore(&mut self, floor: u64) {
        self.forget(self.revision);
        self.history.clear();
        self.revision = floor.max(self.revision + 1);
        self.compacted = self.revision;
        if self.epoch > 0 {
            self.epoch = floor.max(self.epoch + 1);
        }
    }
}
