//! Does each output of the store's machine, in order: nothing behind a `Persist` leaves before it is on disk.

use std::sync::Arc;
use std::time::Instant;

use master_raft::Bearing;
use master_storage::{Disk, Group, LogStore};
use master_store_core::{Input, Note, Output};
use proto_drive::Perform;
use proto_machine::Now;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::doors::Doors;
use super::meters::Meters;
use super::undelivered;
use crate::begun::Begun;
use crate::peers::Peers;
use crate::perform::Fault;

/// The place of the frameworks' state among the groups of a disk.
pub(crate) const STORE: Group = Group(2);

/// The hands of the machine.
pub(crate) struct Hands<S = Disk> {
    pub store: S,
    pub doors: Arc<Doors>,
    pub peers: Peers,
    /// Where the members of this group are told, with the version of the list that its log has.
    pub members: Arc<watch::Sender<Bearing>>,
    pub begun: Begun,
    pub meters: Meters,
}

impl<S: LogStore> Perform<Output, Input> for Hands<S> {
    type Error = Fault;

    fn perform(&mut self, _now: Now, mut outputs: Vec<Output>, feed: &mut Vec<Input>) -> Result<(), Fault> {
        // All that is to be stored in this batch is stored in one sync, at the place of the first.
        let mut persists = Vec::new();
        for output in &mut outputs {
            if let Output::Persist(persist) = output {
                persists.push((STORE, std::mem::take(persist)));
            }
        }
        for output in outputs {
            match output {
                Output::Persist(_) => {
                    if let Some(sequence) = persists.last().map(|(_, persist)| persist.sequence) {
                        let begun = Instant::now();
                        self.store.persist(&persists)?;
                        self.begun.note()?;
                        self.meters.stored(begun);
                        persists.clear();
                        feed.push(Input::Raft(master_raft::Input::Stored { sequence }));
                    }
                }
                Output::ToPeer { to, bytes } => self.peers.send(to, bytes),
                Output::SnapshotToPeer { to, bytes, index } => {
                    match self.store.snapshots().read(STORE, index) {
                        Ok(image) => self.peers.send_snapshot(to, bytes, image.into()),
                        Err(fault) => {
                            warn!(peer = to.0, index, %fault, "a snapshot for a peer cannot be read");
                            feed.push(undelivered(to));
                        }
                    }
                }
                Output::Reply { ticket, reply } => {
                    self.meters.replied(&reply);
                    self.doors.answer(ticket, reply);
                }
                Output::Saved { ticket, saved } => self.doors.saved(ticket, saved),
                Output::ToWatch { watch, reply } => self.doors.tell(watch, reply),
                Output::CloseWatch { watch } => self.doors.close_watch(watch),
                Output::Part { term, leads, leader } => {
                    self.meters.part(leads, term);
                    info!(
                        term,
                        leads,
                        leader = leader.map(|id| id.0),
                        "part in the group of the frameworks' state"
                    );
                }
                Output::Members(now) => {
                    info!(members = ?now.members, list = now.list, "members of the group of the frameworks' state");
                    self.members.send_replace(now);
                }
                Output::Applied(index) => self.meters.applied(index),
                Output::Stands(standing) => self.meters.stands(standing),
                Output::Note(Note::Denied { caller, message }) => warn!(caller, message, "refused"),
                Output::Note(Note::Peer { from, why }) => {
                    warn!(peer = from, why, "a peer's message was refused");
                }
                Output::Note(Note::Unreadable { index, why }) => {
                    error!(index, why, "a committed entry cannot be read");
                    return Err(Fault::Unreadable { index, why });
                }
            }
        }
        Ok(())
    }
}
