//! The pretend disk of an agent's volumes: tasks leave their mark there, and it outlives them and the agent's process.

use std::collections::BTreeMap;

use agent_core::Input;
use proto::agent_link::TaskRun;
use proto::id::RunId;
use proto::volume::Volume;

use crate::check::Verdict;
use crate::containers::Slot;
use crate::node::Node;
use crate::options::{MS, SECOND};
use crate::world::{Event, World};

/// What is on the volumes of an agent: the runs that had each, in order.
#[derive(Clone, Debug, Default)]
pub struct VolumesDisk {
    marks: BTreeMap<Volume, Vec<RunId>>,
}

impl VolumesDisk {
    /// A run is executed with a volume: what it finds there before it leaves its mark.
    pub fn use_it(&mut self, volume: &Volume, run: RunId) -> Vec<RunId> {
        let marks = self.marks.entry(volume.clone()).or_default();
        let found = marks.clone();
        marks.push(run);
        found
    }

    /// The volumes on which there is something.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.marks.keys()
    }
}

impl World {
    pub(crate) fn volumes_used(&mut self, node: Node, given: &TaskRun) -> Verdict {
        for volume in &given.volumes {
            let found = self.agents[node.index()].volumes.use_it(volume, given.run);
            self.mark(if found.is_empty() { "a volume was used first" } else { "a volume was used again" });
            self.checks.volumes.used(node, given.run, volume, &found)?;
        }
        self.checks.volumes.has_its_own(given)
    }

    /// The agent's process begins to delete.
    pub(crate) fn volume_goes(&mut self, node: Node, volume: Volume) {
        let life = self.life(node).0;
        let most = if self.dice.chance(1, 4) { 5 * SECOND } else { 20 * MS };
        let at = self.now + MS + self.dice.below(most);
        self.queue.push(at, Event::VolumeGone { agent: node, life, volume });
    }

    pub(crate) fn volume_gone(&mut self, node: Node, life: u32, volume: Volume) -> Verdict {
        if self.life(node) != (life, true) {
            self.mark("an agent died while it deleted a volume");
            return Ok(());
        }
        self.trace.event(self.now, node.number(), 9);
        let agent = &mut self.agents[node.index()];
        let has_it = |(run, slot): (RunId, &Slot)| slot.given.volumes.contains(&volume).then_some(run);
        let user = agent.keeper.alive().find_map(has_it);
        self.checks.volumes.deleted(node, &volume, user)?;
        if agent.volumes.marks.remove(&volume).is_some() {
            self.mark("a volume's data was deleted");
        }
        self.agents[node.index()].mailbox.push_back(Input::VolumeRemoved(volume));
        self.plan(node);
        Ok(())
    }
}
