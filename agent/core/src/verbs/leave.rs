//! Leaves: when the pool sends the agent away, and when the operator wants it to end with all that it runs.

use proto::ledger::Record;
use proto::refusal::{Code, Refusal};
use proto_machine::{Now, Outbox};

use crate::output::{Contain, Output};
use crate::state::State;
use crate::tables::membership::Stage;
use crate::tables::runs::Cause;
use crate::verbs::{acknowledge, join, kill};

/// The pool sends the agent away.
pub(crate) fn leave(s: &mut State, now: Now, refusal: Refusal, out: &mut Outbox<Output>) {
    join::close(s, out);
    s.membership.stage = Stage::Left;
    if refusal.code == Code::AgentGone {
        // Its tasks were reported as gone for good: whatever replaced them must not have a twin here.
        s.leaving = Some(refusal);
        end_all(s, now, Cause::AgentGone, out);
    } else {
        out.push(Output::Leave(refusal));
    }
}

/// The operator wants the agent to end with all that it runs.
pub(crate) fn end_runs(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    if !s.ending {
        s.ending = true;
        end_all(s, now, Cause::AgentEnding, out);
    }
}

fn end_all(s: &mut State, now: Now, cause: Cause, out: &mut Outbox<Output>) {
    for id in s.runs.alive_ids() {
        let grace = s.runs.get(id).map(|run| run.given.task.kill_grace).unwrap_or_default();
        kill::kill(s, now, id, grace, cause, out);
    }
    one_less(s, out);
}

/// A run is over: the last one makes way for leaving.
pub(crate) fn one_less(s: &mut State, out: &mut Outbox<Output>) {
    if s.runs.alive() > 0 {
        return;
    }
    given_up(s, out);
    if s.ending && s.membership.stage != Stage::Left {
        ended(s, out);
    }
}

/// An agent that was declared gone leaves when nothing runs on it and what was on its volumes is deleted.
pub(crate) fn given_up(s: &mut State, out: &mut Outbox<Output>) {
    if s.runs.alive() > 0 || !s.volumes.is_empty() {
        return;
    }
    if let Some(refusal) = s.leaving.take() {
        acknowledge::part(s, out);
        out.push(Output::Leave(refusal));
    }
}

/// Nothing runs any more: nobody needs the keeper, so all it knows is given up. What is written down of the ends must be
/// on disk before that; any synced record puts it there.
fn ended(s: &mut State, out: &mut Outbox<Output>) {
    out.push(Output::Store { record: Record::EpochSeen(s.membership.epoch), sync: true });
    out.extend(s.parting.take().into_iter().map(|run| Output::Contain(Contain::Destroy(run))));
    out.extend(s.runs.iter().map(|(id, _)| Output::Contain(Contain::Destroy(id))));
    out.push(Output::Ended);
    s.updates.rest();
    s.membership.stage = Stage::Left;
}
