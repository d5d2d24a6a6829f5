//! The book of masters in this process: who there is and where, for every door and every stream; the registry's machine writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::id::MasterId;
use proto::roster::{Known, Roster};
use proto_grpc::MASTERS;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// Says in the metadata of a refusal that whoever asks is a master that was removed.
const REMOVED: &str = "stoa-removed";
/// Says in the metadata of a stream where the door of the master is that opens it.
const DOOR: &str = "stoa-door";

/// What this process knows of the masters, shared.
#[derive(Clone, Debug)]
pub(crate) struct Book(Arc<watch::Sender<Known>>);

// === impl Book ===

impl Book {
    /// With the list that this process was started with.
    pub fn of(members: &BTreeMap<MasterId, String>) -> Book {
        Book(Arc::new(watch::Sender::new(Known::of(members))))
    }

    /// The log says this.
    pub fn learn(&self, roster: Arc<Roster>) {
        self.0.send_modify(|known| known.learn(roster));
    }

    /// A master of the cluster opens a stream, and says where it is.
    pub fn meet(&self, id: MasterId, said: &MetadataMap) {
        let Some(door) = said.get(DOOR).and_then(|door| door.to_str().ok()) else { return };
        self.0.send_if_modified(|known| known.meet(id, door));
    }

    /// The list now.
    pub fn roster(&self) -> Arc<Roster> {
        self.0.borrow().roster.clone()
    }

    /// Says with an answer where the masters are, if that is not as at the founding.
    pub fn stamp<T>(&self, answer: T) -> Response<T> {
        let mut response = Response::new(answer);
        let known = self.0.borrow();
        if known.roster.version > 0
            && let Ok(doors) = known.roster.doors().addresses.join(",").parse()
        {
            response.metadata_mut().insert(MASTERS, doors);
        }
        response
    }

    /// Says with a stream where the door of this master is.
    pub fn introduce(&self, own: MasterId, said: &mut MetadataMap) {
        if let Some(Ok(door)) = self.0.borrow().address(own).map(str::parse) {
            said.insert(DOOR, door);
        }
    }

    /// Where a master is.
    pub fn address(&self, id: MasterId) -> Option<String> {
        self.0.borrow().address(id).map(str::to_owned)
    }

    /// Tells of each change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Known> {
        self.0.subscribe()
    }
}

/// Resolves once a master was removed for good.
pub(crate) async fn removal(mut book: watch::Receiver<Known>, id: MasterId) {
    if book.wait_for(|known| known.roster.is_retired(id)).await.is_err() {
        // This process is stopping, which is another matter.
        std::future::pending::<()>().await;
    }
}

/// What a master is told that was removed.
pub(crate) fn removed(id: MasterId) -> Status {
    let mut status = Status::permission_denied(format!("master {id} was removed from this group"));
    if let Ok(value) = id.to_string().parse() {
        status.metadata_mut().insert(REMOVED, value);
    }
    status
}

/// Whether that is what we were told.
pub(crate) fn says_removed(status: &Status, id: MasterId) -> bool {
    let named = status.metadata().get(REMOVED).and_then(|value| value.to_str().ok());
    status.code() == Code::PermissionDenied && named == Some(id.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use proto::roster::Master;

    use super::*;

    #[test]
    fn only_the_word_for_this_very_number_says_that_it_was_removed() {
        assert!(says_removed(&removed(MasterId(3)), MasterId(3)));
        assert!(!says_removed(&removed(MasterId(3)), MasterId(4)));
        assert!(!says_removed(&Status::permission_denied("master 3 is not a member"), MasterId(3)));
    }

    #[test]
    fn a_stranger_is_answered_until_the_list_says_otherwise() {
        let book = Book::of(&[(MasterId(1), "h1:1".to_owned())].into());
        let other = Book::of(&[(MasterId(4), "h4:1".to_owned())].into());
        let mut said = MetadataMap::new();
        other.introduce(MasterId(4), &mut said);
        book.meet(MasterId(4), &said);
        assert_eq!(book.address(MasterId(4)).as_deref(), Some("h4:1"));
        assert_eq!(book.roster().masters.len(), 1, "it is on no list for that");
        let master = Master { id: MasterId(1), address: "h1:1".to_owned(), standing: Default::default() };
        let roster = Roster { version: 9, masters: vec![master], retired: vec![MasterId(4)] };
        book.learn(Arc::new(roster));
        book.meet(MasterId(4), &said);
        assert_eq!(book.address(MasterId(4)), None, "who has left is not answered");
    }
}
