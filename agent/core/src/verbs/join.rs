//! Joins a pool: finds the leader, registers, stays in touch, and obeys no older epoch.

use proto::agent::AgentInfo;
use proto::agent_link::{Register, Registered, RunReport, ToMaster};
use proto::id::Epoch;
use proto::ledger::Record;
use proto::roster::Masters;
use proto::scheduler::Redirect;
use proto::task::{StatusReason, StatusSource, TaskState, TaskStatus};
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Now, Outbox};

use crate::input::LinkId;
use crate::output::{Note, Output};
use crate::state::State;
use crate::tables::membership::{Due, Stage};
use crate::tables::runs::Run;
use crate::verbs::report;

/// The keeper has been heard: there is something true to register with.
pub(crate) fn start(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    if s.membership.stage == Stage::Waiting {
        connect(s, now, out);
    }
}

/// The link is open: the agent presents itself.
pub(crate) fn linked(s: &mut State, now: Now, link: LinkId, out: &mut Outbox<Output>) {
    if !s.membership.listens_to(link) || !matches!(s.membership.stage, Stage::Connecting { .. }) {
        return;
    }
    s.membership.linked(now.monotonic);
    let runs = s
        .runs
        .iter()
        .map(|(id, run)| RunReport {
            framework: run.given.framework.clone(),
            run: id,
            status: s.updates.latest(id).cloned().unwrap_or_else(|| staging(&s.info, run, now)),
            task: run.given.task.clone(),
        })
        .collect();
    let epoch = if mutants::is(Mutant::ObeyAnyone) { Epoch(0) } else { s.membership.epoch };
    let register = Register { agent: s.info.clone(), epoch, runs };
    out.push(Output::ToMaster(ToMaster::Register(register)));
}

/// What is said of a run of which nothing was heard: it is known and there is nothing to acknowledge.
fn staging(info: &AgentInfo, run: &Run, now: Now) -> TaskStatus {
    TaskStatus {
        task: run.given.task.id.clone(),
        state: TaskState::Staging,
        reason: StatusReason::None,
        source: StatusSource::Agent,
        message: String::new(),
        at_ms: now.wall.as_millis(),
        agent: Some(info.id.clone()),
        run: Some(run.given.run),
        sequence: 0,
        exit: None,
        pid: 0,
        healthy: None,
        ready: None,
        grace: None,
    }
}

/// The link could not be opened, or broke.
pub(crate) fn unlinked(s: &mut State, now: Now, link: LinkId, out: &mut Outbox<Output>) {
    if s.membership.listens_to(link) {
        lost(s, now, out);
    }
}

/// Whether a word with this epoch is obeyed; a higher one than ever is written down first.
pub(crate) fn obeys(s: &mut State, now: Now, epoch: Epoch, out: &mut Outbox<Output>) -> bool {
    let obeyed = s.membership.epoch;
    if epoch < obeyed && !mutants::is(Mutant::ObeyAnyone) {
        out.push(Output::Note(Note::OldEpoch { epoch, obeyed }));
        drop_link(s, now, out);
        return false;
    }
    if epoch > obeyed {
        s.membership.epoch = epoch;
        out.push(Output::Store { record: Record::EpochSeen(epoch), sync: true });
    }
    true
}

/// Admitted: what is not acknowledged is told to this master too.
pub(crate) fn registered(s: &mut State, now: Now, word: &Registered, out: &mut Outbox<Output>) {
    match s.membership.stage {
        Stage::Registering { .. } => {}
        // Said twice, or before Register: there is nothing new in it.
        Stage::Joined { .. }
        | Stage::Connecting { .. }
        | Stage::Waiting
        | Stage::Resting { .. }
        | Stage::Left => return,
    }
    s.membership.admitted(now.monotonic, word.heartbeat_interval, word.silence_limit);
    let address = s.membership.address.clone();
    out.push(Output::Note(Note::Joined { address, epoch: s.membership.epoch }));
    report::send_all(s, now, out);
}

/// Another master leads, or nobody known does.
pub(crate) fn redirected(s: &mut State, now: Now, redirect: Redirect, out: &mut Outbox<Output>) {
    let was_joined = s.membership.joined();
    if redirect.leader_address.is_empty() || !s.membership.may_hop() {
        // One that has just lost the lead: the others may know more already.
        return if was_joined { close_and_retry(s, now, out) } else { drop_link(s, now, out) };
    }
    close(s, out);
    let (link, address) = s.membership.attempt(now.monotonic, redirect.leader_address);
    out.push(Output::Connect { link, address });
}

/// Where the masters are now: the next start must find them too, when none of those that it was started with is left.
pub(crate) fn told_of(s: &mut State, masters: &Masters, out: &mut Outbox<Output>) {
    if let Some(known) = s.membership.told_of(masters) {
        out.push(Output::Masters(known));
    }
}

/// What the agent says of itself has changed: a session begins with Register, so it begins anew.
pub(crate) fn info_changed(s: &mut State, now: Now, info: AgentInfo, out: &mut Outbox<Output>) {
    s.info = info;
    if s.membership.has_link() {
        close(s, out);
        let address = s.membership.address.clone();
        let (link, address) = s.membership.attempt(now.monotonic, address);
        out.push(Output::Connect { link, address });
    }
}

/// Time has brought something.
pub(crate) fn wake(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    match s.membership.due(now.monotonic) {
        None => {}
        Some(Due::Connect) => connect(s, now, out),
        Some(Due::GiveUp) => drop_link(s, now, out),
        Some(Due::Silent) => {
            out.push(Output::Note(Note::Silent { address: s.membership.address.clone() }));
            close_and_retry(s, now, out);
        }
        Some(Due::Heartbeat) => {
            s.membership.said(now.monotonic);
            out.push(Output::ToMaster(ToMaster::Heartbeat));
        }
    }
}

fn connect(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    if let Some((link, address)) = s.membership.next_attempt(now.monotonic) {
        out.push(Output::Connect { link, address });
    }
}

/// Closes the link and tries the next master after a pause.
fn drop_link(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    close(s, out);
    s.membership.failed(now.monotonic);
}

/// Closes the link and tries the next master, at once if this one was a good one until now.
fn close_and_retry(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    out.push(Output::Disconnect(s.membership.link));
    lost(s, now, out);
}

fn lost(s: &mut State, now: Now, out: &mut Outbox<Output>) {
    s.updates.rest();
    if s.membership.joined() {
        out.push(Output::Note(Note::Lost { address: s.membership.address.clone() }));
    }
    if s.membership.broke(now.monotonic) {
        connect(s, now, out);
    }
}

pub(crate) fn close(s: &mut State, out: &mut Outbox<Output>) {
    s.updates.rest();
    if s.membership.has_link() {
        if s.membership.joined() {
            out.push(Output::Note(Note::Lost { address: s.membership.address.clone() }));
        }
        out.push(Output::Disconnect(s.membership.link));
    }
}
