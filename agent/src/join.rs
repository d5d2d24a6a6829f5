//! Joins a cluster with a token: a key is made here, a master certifies it, and both stay in the credentials directory.

use std::path::Path;

use proto_grpc::join::join;
use proto_grpc::{Shown, renew};
use proto_pki::{Credentials, PkiError};
use tracing::info;

use crate::config::Settings;
use crate::error::Error;
use crate::facts;
use crate::masters_file;

/// The agent's credentials: those in its directory, or with a join token fresh ones. Joining may name masters that the
/// settings do not know; they are added to them.
///
/// Whoever calls it must hold the ledger, lest two first starts make two ids.
pub(crate) async fn credentials(settings: &mut Settings) -> Result<Credentials, Error> {
    let dir = settings.credentials_dir.clone();
    if Credentials::exist(&dir) {
        return load(&dir);
    }
    let Some(token) = settings.join.clone() else { return Err(Error::NoCredentials(dir)) };
    let id = facts::agent_id_to_certify(&settings.work_dir)?;
    let admitted = join(&settings.masters, &token, id.as_str()).await?;
    admitted.credentials.save(&dir).map_err(|source| Error::Credentials { dir, source })?;
    info!(agent_id = %id, master = admitted.by, "joined the cluster");
    let new = |master: &String| !settings.masters.contains(master);
    let more: Vec<String> = admitted.masters.into_iter().filter(new).collect();
    settings.masters.extend(more);
    Ok(admitted.credentials)
}

fn load(dir: &Path) -> Result<Credentials, Error> {
    Credentials::load(dir).map_err(|source: PkiError| Error::Credentials { dir: dir.to_owned(), source })
}

/// Keeps the agent's certificate good: the masters that it knows of give it the next one in time.
pub(crate) fn keep(shown: Shown, settings: &Settings) -> impl Future<Output = ()> + Send + use<> {
    let (dir, first) = (settings.credentials_dir.clone(), settings.masters.clone());
    let learnt = masters_file::path(&settings.work_dir);
    renew::keep(shown.clone(), dir, move || {
        let masters = masters_file::before(&learnt, first.clone());
        let now = shown.now();
        async move { renew::renew(&masters, &now).await.map_err(|error| error.to_string()) }
    })
}
