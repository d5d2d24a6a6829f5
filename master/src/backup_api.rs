//! The operators' door for backups: all that this master's two groups remember, as the bytes of one file.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use master_core::Input;
use proto::authorize::{Action, authorize};
use proto::backup::{Backup, Member, Part, Save, SavedBytes};
use proto::caller::Caller;
use proto::roster::{Master, Standing};
use proto_drive::Handle;
use proto_grpc::services::backups::backups_server::Backups;
use tonic::{Request, Response, Status};

use crate::audit::{Audit, Draft};
use crate::book::Book;
use crate::caller::{caller, from, status};
use crate::doors::Doors;
use crate::store::Saving;

/// How long the two groups may take to say what is committed.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of the file in one message.
const PIECE: usize = 1 << 20;

/// The operators' door for backups.
pub(crate) struct BackupDoor {
    pub cluster: String,
    pub book: Book,
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub store: Saving,
    pub audit: Arc<Audit>,
}

impl BackupDoor {
    /// The registry first, then the store: [`Backup`] says why. `None`: this master is stopping, or hears no leader.
    async fn backup(&self, caller: &Caller) -> Option<Backup> {
        let (ticket, answer) = self.doors.open_save();
        self.handle.send_async(Input::Save { ticket }).await.ok()?;
        let registry = answer.await.ok().flatten()?;
        let store = self.store.save().await?;
        let roster = self.book.roster();
        let wanted = roster.masters.iter().filter(|master| master.standing != Standing::Leaves);
        let member = |master: &Master| Member { id: master.id, address: master.address.clone() };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Backup {
            format: Backup::FORMAT,
            cluster: self.cluster.clone(),
            made_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            by: caller.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            members: wanted.map(member).collect(),
            registry: Part { index: registry.index, term: registry.term, image: registry.image.into() },
            store: Part { index: store.index, term: store.term, image: store.image.into() },
        })
    }
}

#[tonic::async_trait]
impl Backups for BackupDoor {
    type SaveStream = tokio_stream::Iter<std::vec::IntoIter<Result<SavedBytes, Status>>>;

    async fn save(&self, request: Request<Save>) -> Result<Response<Self::SaveStream>, Status> {
        let caller = caller(&request)?;
        authorize(&caller, &Action::SaveBackup).map_err(|refusal| status(&refusal))?;
        let from = from(&request);
        let saved = tokio::time::timeout(LIMIT, self.backup(&caller)).await.ok().flatten();
        let why = "no majority of the masters has confirmed in ten seconds what is committed; try again";
        let file = saved.ok_or_else(|| Status::unavailable(why))?.to_file();
        self.audit.say(Draft::done(&caller, from, "save-backup", ""));
        let pieces = file.chunks(PIECE).map(|piece| Ok(SavedBytes { bytes: piece.to_vec() }));
        Ok(Response::new(tokio_stream::iter(pieces.collect::<Vec<_>>())))
    }
}
