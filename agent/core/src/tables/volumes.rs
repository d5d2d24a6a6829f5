//! Volumes that are destroyed and not yet deleted. The log remembers them until the agent has said that they are, so here
//! they need not outlive the process.

use std::collections::BTreeMap;

use proto::volume::Volume;

/// How far the deleting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A run may still use it.
    Held,
    /// Asked for.
    Asked,
}

/// Volumes that are to be deleted.
#[derive(Default)]
pub(crate) struct Table {
    steps: BTreeMap<Volume, Step>,
    /// How many are `Held`.
    held: usize,
}

impl Table {
    /// One more; nothing changes when it is known.
    pub fn add(&mut self, volume: Volume) {
        self.steps.entry(volume).or_insert_with(|| {
            self.held += 1;
            Step::Held
        });
    }

    /// Whether some wait for a run to be over.
    pub fn any_held(&self) -> bool {
        self.held > 0
    }

    /// Those that wait and that nothing uses: from now on they are asked for.
    pub fn release(&mut self, is_used: impl Fn(&Volume) -> bool) -> Vec<Volume> {
        let free = |(volume, step): &(&Volume, &mut Step)| **step == Step::Held && !is_used(volume);
        let released: Vec<Volume> = self
            .steps
            .iter_mut()
            .filter(free)
            .map(|(volume, step)| {
                *step = Step::Asked;
                volume.clone()
            })
            .collect();
        self.held -= released.len();
        released
    }

    /// It is deleted; false when it was not asked for.
    pub fn remove(&mut self, volume: &Volume) -> bool {
        let asked = self.steps.get(volume) == Some(&Step::Asked);
        if asked {
            self.steps.remove(volume);
        }
        asked
    }

    /// Whether nothing is left to delete.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
