//! Takes note of what the framework has seen; a run that is over and seen is forgotten.

use proto::agent_link::{Acknowledge, Update};
use proto::id::RunId;
use proto::ledger::{Acknowledged, Forgotten, Record};
use proto_machine::Outbox;

use crate::output::{Contain, Output};
use crate::state::State;
use crate::tables::updates::Progress;

/// The framework has every status of a run up to this one.
pub(crate) fn acknowledge(s: &mut State, word: &Acknowledge, out: &mut Outbox<Output>) {
    let Acknowledge { run, sequence } = *word;
    match s.updates.acknowledge(run, sequence) {
        Progress::Nothing => {}
        Progress::Some => {
            let record = Record::Acknowledged(Acknowledged { run, sequence });
            out.push(Output::Store { record, sync: false });
        }
        Progress::Done => {
            out.push(Output::Store { record: Record::Forgotten(Forgotten { run }), sync: false });
            out.push(Output::Contain(Contain::Destroy(run)));
            forget(s, run);
        }
    }
}

/// Takes a run out of the tables; how it ended is kept for a while.
pub(crate) fn forget(s: &mut State, run: RunId) {
    if let (Some(known), Some(status)) = (s.runs.remove(run), s.updates.remove(run)) {
        s.forgotten.keep(run, Update { framework: known.given.framework.clone(), status });
    }
}
