//! The frameworks' state in this process: a machine of its own beside the registry's, with its own thread, disk and door.

mod api;
mod doors;
mod meters;
mod perform;

use std::sync::{Arc, Mutex, PoisonError};

use master_raft::{Bearing, NodeId};
use master_store_core::{Input, Member, Saved};
use proto::roster::Roster;
use proto_drive::{Ended, Handle};
use tokio::sync::watch;

use crate::audit::Audit;
use crate::begun::Begun;
use crate::peers::{Own, Peers, Reporting, Talk, Tell};
use crate::{Config, RunError, chain};

pub(crate) use api::StoreDoor;
pub(crate) use perform::STORE;

/// Gives all that the store holds, as of when it is asked or later.
#[derive(Clone)]
pub(crate) struct Saving {
    doors: Arc<doors::Doors>,
    handle: Handle<Input>,
}

impl Saving {
    /// `None`: no leader confirmed in time what is committed, or this master is stopping.
    pub async fn save(&self) -> Option<Saved> {
        let (ticket, answer) = self.doors.open_save();
        self.handle.send_async(Input::Save { ticket }).await.ok()?;
        answer.await.ok().flatten()
    }
}

/// What the rest of the process needs of it.
pub(crate) struct Running {
    /// The frameworks' door.
    pub door: StoreDoor,
    /// Gives all of it.
    pub saving: Saving,
    /// Sets its gauges, for somebody who looks.
    pub show: Box<dyn Fn() + Send + Sync>,
    /// Brings it what its peers say.
    pub tell: Tell,
    /// Tells it which masters there are.
    pub tell_roster: Box<dyn Fn(Arc<Roster>) + Send>,
    /// Its members, as far as this one knows, and the version of the list that its log has.
    pub members: watch::Receiver<Bearing>,
    /// Ends it, after all that is queued.
    pub close: Box<dyn FnOnce() + Send>,
}

/// Where the end of its thread is told.
#[derive(Clone)]
pub(crate) struct Ending(Arc<watch::Sender<Option<String>>>);

impl Default for Ending {
    fn default() -> Self {
        Ending(Arc::new(watch::Sender::new(None)))
    }
}

impl Ending {
    /// How it ended, once it has.
    pub async fn why(&self) -> String {
        let mut ending = self.0.subscribe();
        match ending.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "its thread is gone".to_owned(),
        }
    }
}

/// Starts it.
pub(crate) fn start(
    config: &Config,
    own: Own,
    seed: u64,
    ending: Ending,
    audit: Arc<Audit>,
) -> Result<Running, RunError> {
    // A directory of its own: what frameworks write never waits for a launch to be stored, nor the other way round.
    let begun = Begun::new(config.data_dir.join("begun-store"));
    let (store, recovered) = crate::recover(config, &config.data_dir.join("store"), perform::STORE, &begun)?;
    let mut core = master_store_core::Config::new(config.id, config.members.clone(), seed);
    core.limits = config.store_limits;
    core.founds = config.founds;
    let member = Member::recover(core, recovered).map_err(|unfit| RunError::Unfit {
        id: config.id,
        dir: config.data_dir.clone(),
        unfit: Box::new(unfit),
    })?;
    let doors = Arc::new(doors::Doors::default());
    let book = own.book.clone();
    let reporting = Reporting::default();
    let peers = Peers::start(own, Talk::Store, reporting.clone());
    let (members, told) = watch::channel(Bearing::default());
    let board = Arc::new(meters::Board::default());
    let hands = perform::Hands {
        store,
        doors: doors.clone(),
        peers,
        members: Arc::new(members),
        begun,
        meters: meters::Meters::new(board.clone()),
    };
    let handle = proto_drive::spawn("store", member, hands, move |how| {
        ending.0.send_replace(Some(match how {
            Ended::Closed => "it was closed".to_owned(),
            Ended::Failed(fault) => chain(&fault),
            Ended::Panicked => "it panicked; see the lines above".to_owned(),
        }));
    })?;
    let to_machine = handle.clone();
    let tell: Tell = Arc::new(move |input| to_machine.send(Input::Raft(input)).is_ok());
    let _ = reporting.set(tell.clone());
    let learning = handle.clone();
    let tell_roster = Box::new(move |roster| {
        // Stopped: nobody needs to know.
        let _ = learning.send(Input::Roster(roster));
    });
    let closing = handle.clone();
    let close = Box::new(move || closing.close());
    let listening = doors.clone();
    let show = Box::new(move || board.show(&listening));
    let saving = Saving { doors: doors.clone(), handle: handle.clone() };
    Ok(Running {
        door: StoreDoor { doors, handle, book, audit },
        saving,
        show,
        tell,
        tell_roster,
        members: told,
        close,
    })
}

/// Nobody panics while holding these locks, and a map is whole between any two calls: poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a snapshot's end means to consensus.
fn undelivered(peer: NodeId) -> Input {
    Input::Raft(master_raft::Input::SnapshotReport { peer, delivered: false })
}
