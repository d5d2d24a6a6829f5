//! Takes runs on: each is written down, then started, and never again.

use std::sync::Arc;

use proto::agent_link::{Launch, ToMaster};
use proto::ledger::{Record, RunTaken};
use proto::task::{StatusReason, TaskState};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

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
