//! Does each output, in order: nothing behind a `Persist` leaves before it is on disk.

use std::sync::Arc;

use master_core::{Input, Note, Output};
use master_storage::{Disk, Fatal, Group, LogStore};
use proto_drive::Perform;
use proto_machine::Now;
use tracing::{error, info, warn};

use crate::doors::Doors;
use crate::peers::Peers;
use crate::read_model::ReadModel;

/// The registry's place among the groups of a store.
pub(crate) const REGISTRY: Group = Group(1);

/// The hands of the machine.
pub(crate) struct Hands {
    pub store: Disk,
    pub doors: Arc<Doors>,
    pub peers: Peers,
    pub model: Arc<ReadModel>,
}

/// Why a master cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The disk failed: what was promised may not be there, so nothing more may be promised.
    #[error("the log could not be stored; this master stops and must not go on with this disk")]
    Store(#[from] Fatal),
    /// A committed entry cannot be read.
    #[error("entry {index} of the log cannot be read ({why}); was it written by a newer version?")]
    Unreadable {
        /// Where in the log.
        index: u64,
        /// Why.
        why: String,
    },
}

impl Perform<Output, Input> for Hands {
    type Error = Fault;

    fn perform(&mut self, _now: Now, mut outputs: Vec<Output>, feed: &mut Vec<Input>) -> Result<(), Fault> {
        // All that is to be stored in this batch is stored in one sync, at the place of the first.
        let mut persists = Vec::new();
        for output in &mut outputs {
            if let Output::Persist(persist) = output {
                persists.push((REGISTRY, std::mem::take(persist)));
            }
        }
        let mut folded = self.model.fold();
        for output in outputs {
            match output {
                Output::Persist(_) => {
                    if let Some(last) = persists.last().map(|(_, persist)| persist.sequence) {
                        self.store.persist(&persists)?;
                        persists.clear();
                        feed.push(Input::Raft(master_raft::Input::Stored { sequence: last }));
                    }
                }
                Output::ToPeer { to, bytes } => self.peers.send(to, bytes),
                Output::SnapshotToPeer { to, bytes, index } => {
                    match self.store.snapshots().read(REGISTRY, index) {
                        Ok(image) => self.peers.send_snapshot(to, bytes, image.into()),
                        Err(fault) => {
                            warn!(peer = to.0, index, %fault, "a snapshot for a peer cannot be read");
                            let report = master_raft::Input::SnapshotReport { peer: to, delivered: false };
                            feed.push(Input::Raft(report));
                        }
                    }
                }
                Output::ToFramework { session, event } => self.doors.say_to_session(session, event),
                Output::CloseFramework { session } => self.doors.close_session(session),
                Output::ToAgent { link, message } => self.doors.say_to_link(link, message),
                Output::CloseAgent { link } => self.doors.close_link(link),
                Output::Reply { ticket, kind } => self.doors.answer(ticket, kind),
                Output::Changed(kind) => folded.changed(kind),
                Output::Part { term, leads, leader } => {
                    info!(term, leads, leader = leader.map(|id| id.0), "part");
                    metrics::gauge!("master_leads").set(if leads { 1.0 } else { 0.0 });
                    metrics::gauge!("master_term").set(term as f64);
                    folded.part(term, leads, leader);
                }
                Output::Applied(index) => folded.applied(index),
                Output::Note(note) => write(note)?,
            }
        }
        Ok(())
    }
}

/// One line of the log for each fact an operator would act on.
fn write(note: Note) -> Result<(), Fault> {
    match note {
        Note::Refused { caller, code, message } => {
            metrics::counter!("calls_refused_total", "code" => code.as_str()).increment(1);
            warn!(caller, code = code.as_str(), message, "refused");
        }
        Note::Agent { agent, state } => info!(agent = agent.as_str(), state = state.as_str(), "agent"),
        Note::Framework { framework, what } => info!(framework = framework.as_str(), what, "framework"),
        Note::Peer { from, why } => warn!(peer = from, why, "a peer's message was refused"),
        Note::Books { what } => {
            metrics::counter!("allocator_refusals_total").increment(1);
            error!(what, "the allocator refused a fact");
        }
        Note::Unreadable { index, why } => {
            error!(index, why, "a committed entry cannot be read");
            return Err(Fault::Unreadable { index, why });
        }
    }
    Ok(())
}
