//! Volumes that were destroyed: their agent is told until it has deleted what was on them, and then they are forgotten.

use proto::agent_link::{DestroyVolumes, ToAgentKind, VolumesDestroyed};
use proto::id::AgentId;
use proto::log::{Entry, VolumesForgotten};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::input::LinkId;

/// Tells whoever is on a link what this agent has to delete. That it is in the log is true for ever, so it may be told
/// again and again.
pub(crate) fn tell(d: &mut Desk<'_>, link: LinkId, id: &AgentId) {
    let registry = d.registry;
    let Some(record) = registry.agent(id).filter(|record| !record.destroyed.is_empty()) else { return };
    let volumes = record.destroyed.clone();
    d.tell_link(link, ToAgentKind::DestroyVolumes(DestroyVolumes { volumes }));
}

/// The agent has deleted what was on them.
pub(crate) fn destroyed(d: &mut Desk<'_>, from: &AgentId, word: VolumesDestroyed) {
    let registry = d.registry;
    let Some(record) = registry.agent(from) else { return };
    // Each once, however often it was said.
    let volumes: Vec<_> =
        record.destroyed.iter().filter(|volume| word.volumes.contains(volume)).cloned().collect();
    if !volumes.is_empty() {
        let entry = Entry::VolumesForgotten(VolumesForgotten { agent: from.clone(), volumes });
        d.batch.propose(entry, Pending::Nothing);
    }
}
