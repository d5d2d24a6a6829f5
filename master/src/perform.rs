//! Does each output, in order: nothing behind a `Persist` leaves before it is on disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use master_core::{Input, Note, Output};
use master_storage::{Disk, Fatal, Group, LogStore};
use proto::roster::Roster;
use proto_drive::Perform;
use proto_machine::Now;
use tracing::{info, warn};

use crate::audit::Audit;
use crate::begun::Begun;
use crate::book::Book;
use crate::doors::Doors;
use crate::log;
use crate::meters::Meters;
use crate::peers::Peers;
use crate::read_model::ReadModel;
use crate::vault::Vault;

/// The registry's place among the groups of a store.
pub(crate) const REGISTRY: Group = Group(1);

/// The hands of the machine.
pub(crate) struct Hands<S = Disk> {
    pub store: S,
    pub doors: Arc<Doors>,
    pub peers: Peers,
    pub model: Arc<ReadModel>,
    pub vault: Arc<Vault>,
    pub book: Book,
    /// Tells the group of the frameworks' state which masters there are.
    pub tell_store: Box<dyn Fn(Arc<Roster>) + Send>,
    pub meters: Meters,
    pub audit: Arc<Audit>,
    pub begun: Begun,
}

/// Why a master cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The disk failed: what was promised may not be there, so nothing more may be promised.
    #[error("the log could not be stored; this master stops and must not go on with this disk")]
    Store(#[from] Fatal),
    /// That there is a log cannot be noted.
    #[error(
        "that this master has a log cannot be noted at {path}; is its data directory one that it may write to?"
    )]
    Note {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A committed entry cannot be read.
    #[error("entry {index} of the log cannot be read ({why}); was it written by a newer version?")]
    Unreadable {
        /// Where in the log.
        index: u64,
        /// Why.
        why: String,
    },
}

impl<S: LogStore> Perform<Output, Input> for Hands<S> {
    type Error = Fault;

    fn perform(&mut self, _now: Now, mut outputs: Vec<Output>, feed: &mut Vec<Input>) -> Result<(), Fault> {
        // All that is to be stored in this batch is stored in one sync, at the place of the first.
        let mut persists = Vec::new();
        for output in &mut outputs {
            if let Output::Persist(persist) = output {
                persists.push((REGISTRY, std::mem::take(persist)));
            }
        }
        self.doors.begin_turn();
        // Opened when there is something to fold, and never held across a sync: readers wait for it.
        let model = &self.model;
        let mut folded = None;
        for output in outputs {
            match output {
                Output::Persist(_) => {
                    if let Some(last) = persists.last().map(|(_, persist)| persist.sequence) {
                        folded = None;
                        self.meters.storing(persists.iter().map(|(_, persist)| persist));
                        let since = Instant::now();
                        self.store.persist(&persists)?;
                        self.begun.note()?;
                        self.meters.stored(since);
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
                Output::ToAgent { link, message } => {
                    log::told_agent(&message);
                    self.doors.say_to_link(link, message);
                }
                Output::CloseAgent { link } => self.doors.close_link(link),
                Output::Reply { ticket, kind } => self.doors.answer(ticket, kind),
                Output::Saved { ticket, saved } => self.doors.saved(ticket, saved),
                Output::Confirmed { ticket, confirmed } => self.doors.confirmed(ticket, confirmed),
                Output::Changed(kind) => {
                    let passed = folded.get_or_insert_with(|| model.fold()).changed(kind);
                    self.meters.passed(&passed);
                    if log::is_news(&passed) {
                        folded = None;
                    }
                    log::passed(&passed);
                }
                Output::Part { term, leads, leader } => {
                    info!(term, leads, leader = leader.map(|id| id.0), "part");
                    self.meters.part(term, leads);
                    folded.get_or_insert_with(|| model.fold()).part(term, leads, leader);
                }
                Output::Roster(roster) => {
                    self.book.learn(roster.clone());
                    (self.tell_store)(roster);
                }
                Output::Audit(audited) => self.audit.of_machine(audited),
                Output::Secrets(secrets) => self.vault.hold(secrets),
                Output::Happened(events) => model.history().happened(events),
                Output::Applied(index) => {
                    self.meters.applied(index);
                    folded.get_or_insert_with(|| model.fold()).applied(index);
                }
                Output::Note(note) => {
                    // A log may be as slow as a disk.
                    folded = None;
                    self.meters.note(&note);
                    log::note(&note);
                    if let Note::Unreadable { index, why } = note {
                        return Err(Fault::Unreadable { index, why });
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc;
    use std::time::Duration;

    use master_raft::{Persist, Recovered};
    use master_storage::{Error, Snapshots};
    use proto::id::MasterId;
    use proto_grpc::Shown;
    use proto_pki::{Authority, Identity, LEAF_VALIDITY};

    use super::*;
    use crate::peers::{Own, Reporting, Talk};

    /// A store that, in the middle of its sync, lets somebody read.
    struct Slow {
        model: Arc<ReadModel>,
        disk: Disk,
        read: Vec<u64>,
    }

    impl LogStore for Slow {
        fn recover(&mut self, group: Group) -> Result<Recovered, Error> {
            self.disk.recover(group)
        }

        fn persist(&mut self, _: &[(Group, Persist)]) -> Result<(), Fatal> {
            let (said, heard) = mpsc::channel();
            let model = self.model.clone();
            std::thread::spawn(move || said.send(model.as_of().0));
            self.read.push(heard.recv_timeout(Duration::from_secs(5)).expect("a reader waits for the sync"));
            Ok(())
        }

        fn snapshots(&self) -> &Snapshots {
            self.disk.snapshots()
        }
    }

    #[tokio::test]
    async fn readers_do_not_wait_for_a_sync() {
        let ca = Authority::create("pool").unwrap();
        let own = Own {
            id: MasterId(1),
            cluster: "pool".to_owned(),
            shown: Shown::new(ca.issue(&Identity::Master(MasterId(1)), LEAF_VALIDITY).unwrap()).unwrap(),
            removed: Arc::default(),
            book: Book::of(&BTreeMap::new()),
        };
        let model = Arc::new(ReadModel::default());
        let dir = std::env::temp_dir().join(format!("stoa-readers-{}", std::process::id()));
        let store = Slow { model: model.clone(), disk: Disk::open(&dir).unwrap(), read: Vec::new() };
        let book = own.book.clone();
        let peers = Peers::start(own, Talk::Registry, Reporting::default());
        let mut hands = Hands {
            store,
            doors: Arc::default(),
            peers,
            model: model.clone(),
            vault: Arc::default(),
            book: book.clone(),
            tell_store: Box::new(|_| {}),
            meters: Meters::default(),
            audit: Audit::start(&dir.join("audit"), MasterId(1), 1 << 20).unwrap(),
            begun: Begun::new(dir.join("begun")),
        };
        let outputs = vec![Output::Applied(3), Output::Persist(Persist::default()), Output::Applied(4)];
        let mut feed = Vec::new();
        hands.perform(Now::default(), outputs, &mut feed).unwrap();
        assert_eq!(hands.store.read, [3], "what came before the sync is there to be read in it");
        assert_eq!(model.as_of().0, 4);
        assert_eq!(feed.len(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
