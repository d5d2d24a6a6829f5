//! Deletes what is on destroyed volumes: only on the log's word, never under a run, and told when it is done.

use proto::agent_link::{DestroyVolumes, ToMaster, VolumesDestroyed};
use proto::volume::Volume;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

use crate::output::{Contain, Output};
use crate::state::State;
use crate::tables::runs::Phase;
use crate::verbs::leave;

/// It is in the log that these are destroyed. One that is being deleted is told when that is done.
pub(crate) fn destroy(s: &mut State, order: DestroyVolumes, out: &mut Outbox<Output>) {
    order.volumes.into_iter().for_each(|volume| s.volumes.add(volume));
    release(s, out);
}

/// What no run uses any more can be deleted.
pub(crate) fn release(s: &mut State, out: &mut Outbox<Output>) {
    if !s.volumes.any_held() || mutants::is(Mutant::KeepDestroyed) {
        return;
    }
    let runs = &s.runs;
    let is_used = |volume: &Volume| {
        runs.iter().any(|(_, run)| run.phase != Phase::Over && run.given.volumes.contains(volume))
    };
    let free = s.volumes.release(is_used);
    out.extend(free.into_iter().map(|volume| Output::Contain(Contain::RemoveVolume(volume))));
}

/// One is deleted. A master that cannot be told now says again that it is destroyed when it is back.
pub(crate) fn removed(s: &mut State, now: Now, volume: Volume, out: &mut Outbox<Output>) {
    if !s.volumes.remove(&volume) {
        return;
    }
    if s.membership.joined() {
        let word = VolumesDestroyed { volumes: vec![volume] };
        out.push(Output::ToMaster(ToMaster::VolumesDestroyed(word)));
        s.membership.said(now.monotonic);
    }
    leave::given_up(s, out);
}
