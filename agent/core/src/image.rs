//! The whole ledger in as few records as will do.

use proto::ledger::{Acknowledged, Forgotten, KillTaken, Reached, Record, RunTaken, Started};

use crate::state::State;
use crate::tables::runs::Cause;
use crate::verbs::kill::own_reason;

/// Records that restore to the same tables. Why a run is to end is not in its record but follows from the order: a
/// wish that stands behind the bad end of another of the group came from that.
pub(crate) fn image(s: &State) -> Vec<Record> {
    let mut records = vec![Record::EpochSeen(s.membership.epoch)];
    for (run, update) in s.forgotten.iter() {
        let (framework, status) = (update.framework.clone(), update.status.clone());
        records.push(Record::Reached(Reached { framework, status }));
        records.push(Record::Forgotten(Forgotten { run }));
    }
    let (refused, taken): (Vec<_>, Vec<_>) = s.runs.iter().partition(|(_, run)| run.refused);
    for (id, run) in refused {
        let framework = run.given.framework.clone();
        let Some(status) = s.updates.latest(id).cloned() else { continue };
        records.push(Record::Reached(Reached { framework, status }));
    }
    for (id, run) in &taken {
        let (id, given) = (*id, &run.given);
        records.push(Record::RunTaken(RunTaken {
            run: id,
            framework: given.framework.clone(),
            task: given.task.clone(),
            principal: given.principal.clone(),
            volumes: given.volumes.clone(),
        }));
        if let Some(begun) = run.begun {
            records.push(Record::Started(Started { run: id, at_ms: begun.as_millis() }));
        }
    }
    let kills = |grouped: bool| {
        s.runs.iter().filter_map(move |(id, run)| {
            let kill = run.kill.filter(|kill| (kill.cause == Cause::GroupEnded) == grouped)?;
            let (reason, message) = (own_reason(kill.cause), run.why.clone());
            Some(Record::KillTaken(KillTaken { run: id, grace: kill.grace, reason, message }))
        })
    };
    records.extend(kills(false));
    for (id, run) in taken {
        for status in s.updates.kept(id) {
            let framework = run.given.framework.clone();
            records.push(Record::Reached(Reached { framework, status: status.clone() }));
        }
        match s.updates.acknowledged(id) {
            0 => {}
            sequence => records.push(Record::Acknowledged(Acknowledged { run: id, sequence })),
        }
    }
    records.extend(kills(true));
    records
}
