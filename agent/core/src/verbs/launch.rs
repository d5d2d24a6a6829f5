//! Takes runs on: each is written down, then started, and never again; or refuses them, for want of room.

use std::sync::Arc;

use proto::agent_link::{Launch, TaskRun, ToMaster};
use proto::ledger::{Record, RunTaken};
use proto::task::{StatusReason, TaskState};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

use crate::input::Room;
use crate::output::{Contain, Note, Output};
use crate::state::State;
use crate::verbs::contain;
use crate::verbs::report::{self, Said};

/// The master wants these to run. All records of a batch come before the first start, so that one sync serves all.
pub(crate) fn launch(s: &mut State, now: Now, order: Launch, out: &mut Outbox<Output>) {
    let mut starts = Vec::with_capacity(order.runs.len());
    for given in order.runs {
        let id = given.run;
        if s.runs.get(id).is_some() {
            // The master does not know that this one was taken on: whatever became of it, it is told again.
            report::send_again(s, now, id, out);
            continue;
        }
        if let Some(update) = s.forgotten.get(id) {
            out.push(Output::Note(Note::ForgottenLaunch { run: id }));
            out.push(Output::ToMaster(ToMaster::Update(update.clone())));
            continue;
        }
        if s.room == Room::None {
            refuse(s, now, given, out);
            continue;
        }
        let given = Arc::new(given);
        s.runs.add(given.clone());
        out.push(Output::Store {
            record: Record::RunTaken(RunTaken {
                run: id,
                framework: given.framework.clone(),
                task: given.task.clone(),
                principal: given.principal.clone(),
                volumes: given.volumes.clone(),
            }),
            sync: !mutants::is(Mutant::TakeUnsynced),
        });
        starts.push(given);
    }
    if s.ending {
        // An agent that ends starts nothing more, and says so.
        for given in starts {
            let said = Said::plain(TaskState::Dropped, StatusReason::AgentDraining, "the agent ends", now);
            contain::over(s, now, given.run, said, true, out);
        }
    } else {
        out.extend(starts.into_iter().map(|given| Output::Contain(Contain::Launch(given))));
    }
}

/// How much room there is. The agent goes on by itself when there is enough.
pub(crate) fn room(s: &mut State, room: Room) {
    s.room = room;
}

/// There is no room for a run: that is written down, and the run is not, for it may be large. A framework may have heard it
/// already when the process dies, so a run that was refused is never started later.
fn refuse(s: &mut State, now: Now, given: TaskRun, out: &mut Outbox<Output>) {
    let id = given.run;
    s.runs.add(Arc::new(given));
    s.runs.set_refused(id);
    let why = "the disk of the agent is full; make room where its work directory is, and it takes tasks again by itself";
    let said = Said::plain(TaskState::Dropped, StatusReason::AgentDiskFull, why, now);
    contain::over(s, now, id, said, true, out);
}
