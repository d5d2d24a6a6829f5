//! Takes note of what the framework has seen; a run that is over and seen is forgotten.

use proto::agent_link::{Acknowledge, Update};
use proto::id::RunId;
use proto::ledger::{Acknowledged, Forgotten, Record};
use proto_machine::{Now, Outbox};

use crate::output::{Contain, Output};
use crate::state::State;
use crate::tables::updates::Progress;
use crate::verbs::check;

/// The framework has every status of a run up to this one.
pub(crate) fn acknowledge(s: &mut State, now: Now, word: &Acknowledge, out: &mut Outbox<Output>) {
    let Acknowledge { run, sequence } = *word;
    match s.updates.acknowledge(run, sequence) {
        Progress::Nothing => {}
        Progress::Some => {
            let record = Record::Acknowledged(Acknowledged { run, sequence });
            out.push(Output::Store { record, sync: false });
            check::tell(s, now, run, out);
        }
        Progress::Done => {
            out.push(Output::Store { record: Record::Forgotten(Forgotten { run }), sync: false });
            forget(s, run);
            s.parting.add(run, now.monotonic);
        }
    }
}

/// The keeper has remembered long enough.
pub(crate) fn wake(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    if s.parting.due().is_some_and(|due| due <= now.monotonic) {
        part(s, out);
    }
}

/// The keeper may forget what was forgotten here. If power were lost with the end of a run only written and not on
/// disk, nobody else would know it: so any synced record goes first, which puts all before it there.
pub(crate) fn part(s: &mut State, out: &mut Outbox<Output>) {
    let runs = s.parting.take();
    if runs.is_empty() {
        return;
    }
    out.push(Output::Store { record: Record::EpochSeen(s.membership.epoch), sync: true });
    out.extend(runs.into_iter().map(|run| Output::Contain(Contain::Destroy(run))));
}

/// Takes a run out of the tables; how it ended is kept for a while.
pub(crate) fn forget(s: &mut State, run: RunId) {
    if let (Some(known), Some(status)) = (s.runs.remove(run), s.updates.remove(run)) {
        s.forgotten.keep(run, Update { framework: known.given.framework.clone(), status });
    }
}
