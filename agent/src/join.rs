//! Joins a cluster with a token: a key is made here, a master certifies it, and both stay in the credentials directory.

use std::error::Error as StdError;
use std::path::Path;

use proto::id::AgentId;
use proto::operator::{Join, Joined};
use proto_grpc::joining_channel;
use proto_grpc::services::operator::operator_client::OperatorClient;
use proto_pki::{Credentials, JoinToken, KeyAndRequest, PkiError};
use tracing::info;

use crate::config::Settings;
use crate::error::Error;
use crate::facts;

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
    let mut tried = Vec::new();
    for address in settings.masters.clone() {
        match ask(&address, &token, &id).await {
            Ok((credentials, masters)) => {
                credentials.save(&dir).map_err(|source| Error::Credentials { dir, source })?;
                info!(agent_id = %id, master = address, "joined the cluster");
                let new = |master: &String| !settings.masters.contains(master);
                let more: Vec<String> = masters.into_iter().filter(new).collect();
                settings.masters.extend(more);
                return Ok(credentials);
            }
            Err(why) => tried.push(format!("{address}: {why}")),
        }
    }
    Err(Error::Join(tried.join("; ")))
}

fn load(dir: &Path) -> Result<Credentials, Error> {
    Credentials::load(dir).map_err(|source: PkiError| Error::Credentials { dir: dir.to_owned(), source })
}

async fn ask(address: &str, token: &JoinToken, id: &AgentId) -> Result<(Credentials, Vec<String>), String> {
    let request = KeyAndRequest::generate().map_err(|error| chain(&error))?;
    let channel = joining_channel(address, token.ca_sha256).await.map_err(|error| chain(&error))?;
    let call = Join { token: token.to_string(), csr_pem: request.csr_pem.clone(), name: id.to_string() };
    let Joined { certificate_pem, ca_pem, masters } = OperatorClient::new(channel)
        .join(call)
        .await
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let credentials = request.complete(certificate_pem, ca_pem).map_err(|error| chain(&error))?;
    // A master that answers with another authority than the token named is not believed.
    match credentials.ca_sha256() {
        Ok(hash) if hash == token.ca_sha256 => Ok((credentials, masters)),
        Ok(_) => Err("it answered with the CA of another cluster".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
