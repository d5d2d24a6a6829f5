//! What becomes of an agent's total: by operations, with the volumes they make and destroy, and by a new size.

use proto::agent::AgentState;
use proto::id::{AgentId, VolumeId};
use proto::log::{AgentOperated, AgentRecord, TaskRecord, VolumeRecord, VolumesForgotten};
use proto::operation::Operation;
use proto::quantities::Quantities;
use proto::resources::{Amount, Portion, Resources};
use proto::role::Role;
use proto::task::StatusReason;
use proto::volume::Volume;

use crate::effect::Effect;
use crate::registry::Registry;

/// What an operation takes out of an agent's total and what it puts there instead: `None` for launches, and for what
/// cannot be done with that total.
pub fn transformation(operation: &Operation, total: &Resources) -> Option<(Resources, Resources)> {
    match operation {
        Operation::Launch(_) | Operation::LaunchGroup(_) => None,
        Operation::Reserve(r) => Some((
            Resources::unreserved(r.amount.clone()),
            Resources::reserved(r.role.clone(), r.amount.clone()),
        )),
        Operation::Unreserve(r) => Some((
            Resources::reserved(r.role.clone(), r.amount.clone()),
            Resources::unreserved(r.amount.clone()),
        )),
        Operation::CreateVolume(v) => {
            Some((disk(&v.role, None, v.disk_bytes), disk(&v.role, Some(&v.volume), v.disk_bytes)))
        }
        Operation::DestroyVolume(v) => {
            let bytes = total
                .portions()
                .iter()
                .find(|p| p.reservation.as_ref() == Some(&v.role) && p.volume.as_ref() == Some(&v.volume))
                .map(|p| p.amount.scalars.disk_bytes())?;
            Some((disk(&v.role, Some(&v.volume), bytes), disk(&v.role, None, bytes)))
        }
    }
}

fn disk(role: &Role, volume: Option<&VolumeId>, bytes: u64) -> Resources {
    let mut one = Resources::EMPTY;
    one.add_portion(&Portion {
        reservation: Some(role.clone()),
        volume: volume.cloned(),
        amount: Amount::scalars(Quantities::ZERO.with_disk(bytes)),
    });
    one
}

/// The total of an agent that comes back with other resources. Volumes come first, as data is worth more than room, and
/// one that has no room is there again when the agent is large enough again; then what was reserved stays reserved as far
/// as it is still there; the rest is unreserved.
pub(crate) fn rebased(record: &AgentRecord, now: &Resources) -> Resources {
    if record.info.resources == *now {
        return record.total.clone();
    }
    let mut rest = now.clone();
    let mut rebased = Resources::EMPTY;
    let mut keep = |portion: &Portion| {
        if rest.try_sub(&Resources::unreserved(portion.amount.clone())) {
            rebased.add_portion(portion);
        }
    };
    for VolumeRecord { volume, disk_bytes } in &record.volumes {
        disk(&volume.role, Some(&volume.id), *disk_bytes).portions().iter().for_each(&mut keep);
    }
    let plain = |portion: &&Portion| portion.reservation.is_some() && portion.volume.is_none();
    record.total.portions().iter().filter(plain).for_each(keep);
    rebased.add(&rest);
    rebased
}

/// Why a task cannot run with these volumes: one of them is not on the agent.
pub(crate) fn lacking_volume(record: &AgentRecord, resources: &Resources) -> Option<(StatusReason, String)> {
    let (role, id) = resources.volumes().find(|(role, id)| find(&record.volumes, role, id).is_none())?;
    let message = format!("volume {id} of role {role} is not on agent {}", record.info.id);
    Some((StatusReason::InvalidOffers, message))
}

fn find<'a>(volumes: &'a [VolumeRecord], role: &Role, id: &VolumeId) -> Option<&'a VolumeRecord> {
    volumes.iter().find(|known| known.volume.role == *role && known.volume.id == *id)
}

impl Registry {
    /// The volumes that a task has. They cannot change while it has not ended: until then they cannot be destroyed.
    pub fn volumes_of(&self, task: &TaskRecord) -> Vec<Volume> {
        // Most tasks have none.
        if task.info.resources.volumes().next().is_none() {
            return Vec::new();
        }
        let Some(record) = self.agents.get(&task.agent) else { return Vec::new() };
        let known = |(role, id)| find(&record.volumes, role, id).map(|known| known.volume.clone());
        task.info.resources.volumes().filter_map(known).collect()
    }

    /// Whether an agent has a volume of this name, or would have if it were large enough.
    pub fn has_volume(&self, agent: &AgentId, role: &Role, id: &VolumeId) -> bool {
        self.agents.get(agent).is_some_and(|record| find(&record.volumes, role, id).is_some())
    }

    /// Carries out what is no launch; false when it does not fit any more, and then nothing has changed.
    pub(crate) fn transform(&mut self, agent: &AgentId, operation: &Operation, index: u64) -> bool {
        let refused = match operation {
            Operation::CreateVolume(v) => v.disk_bytes == 0 || self.has_volume(agent, &v.role, &v.volume),
            // Data is never taken from under a task, whatever the leader thought that proposed this.
            Operation::DestroyVolume(v) => {
                self.tasks_on(agent).any(|task| task.info.resources.has_volume(&v.role, &v.volume))
            }
            Operation::Launch(_)
            | Operation::LaunchGroup(_)
            | Operation::Reserve(_)
            | Operation::Unreserve(_) => false,
        };
        let Some(record) = self.agents.get_mut(agent).filter(|record| record.state != AgentState::Gone)
        else {
            return false;
        };
        let Some((from, to)) = transformation(operation, &record.total).filter(|_| !refused) else {
            return false;
        };
        if !record.total.try_sub(&from) {
            return false;
        }
        record.total.add(&to);
        match operation {
            Operation::CreateVolume(v) => {
                // Several can be made at one index.
                record.last_birth = index.max(record.last_birth + 1);
                let volume = Volume { role: v.role.clone(), id: v.volume.clone(), birth: record.last_birth };
                record.volumes.push(VolumeRecord { volume, disk_bytes: v.disk_bytes });
            }
            Operation::DestroyVolume(v) => {
                let found = find(&record.volumes, &v.role, &v.volume).map(|known| known.volume.clone());
                record.volumes.retain(|known| Some(&known.volume) != found.as_ref());
                record.destroyed.extend(found);
            }
            Operation::Launch(_)
            | Operation::LaunchGroup(_)
            | Operation::Reserve(_)
            | Operation::Unreserve(_) => {}
        }
        true
    }

    /// What an operator said an agent's resources are kept for: all of it, or nothing where a part of it does not fit any
    /// more. What tasks have is never taken from under them, whatever the leader thought that proposed this.
    pub(crate) fn operate_agent(&mut self, inner: &AgentOperated, index: u64) -> Effect {
        let Some(before) = self.agents.get(&inner.agent).cloned() else { return Effect::Nothing };
        let mut used = Resources::EMPTY;
        self.tasks_on(&inner.agent).for_each(|task| used.add(&task.info.resources));
        for operation in &inner.operations {
            let free = self.agents.get(&inner.agent).map(|record| record.total.saturating_sub(&used));
            let is_free = free.zip(self.agents.get(&inner.agent)).is_some_and(|(free, record)| {
                transformation(operation, &record.total).is_some_and(|(from, _)| free.contains(&from))
            });
            if !is_free || !self.transform(&inner.agent, operation, index) {
                self.agents.insert(inner.agent.clone(), before);
                return Effect::Nothing;
            }
        }
        Effect::Done
    }

    pub(crate) fn forget_volumes(&mut self, inner: &VolumesForgotten) -> Effect {
        let Some(record) = self.agents.get_mut(&inner.agent) else { return Effect::Nothing };
        let before = record.destroyed.len();
        record.destroyed.retain(|volume| !inner.volumes.contains(volume));
        if record.destroyed.len() < before { Effect::Done } else { Effect::Nothing }
    }

    /// A registry of before volumes held data knows them from the totals only.
    pub(crate) fn adopt_volumes(&mut self) {
        for record in self.agents.values_mut() {
            for portion in record.total.portions() {
                if let (Some(role), Some(id)) = (&portion.reservation, &portion.volume)
                    && find(&record.volumes, role, id).is_none()
                {
                    let volume = Volume { role: role.clone(), id: id.clone(), birth: 0 };
                    let disk_bytes = portion.amount.scalars.disk_bytes();
                    record.volumes.push(VolumeRecord { volume, disk_bytes });
                }
            }
        }
    }
}
