//! Certificates that end are replaced in time, and those that somebody puts into the directory are taken up: neither needs
//! a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::operator::{Join, Joined};
use proto_pki::{Credentials, KeyAndRequest, PeerRole, PkiError};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::connect::channel;
use crate::join::{JoinError, chain};
use crate::services::operator::operator_client::OperatorClient;
use crate::shown::Shown;

/// How often it is looked whether something is to be done.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause before a renewal that failed is tried again; nearer to the end of the certificate it is tried more often.
const RETRY_MAX_MS: u64 = 3_600_000;

/// Asks the masters in turn for a certificate of the same name, for a fresh key. Any of them can give it.
///
/// # Errors
/// [`JoinError`]: none did, with what each said.
pub async fn renew(masters: &[String], credentials: &Credentials) -> Result<Credentials, JoinError> {
    let mut tried = Vec::new();
    for address in masters {
        match ask(address, credentials).await {
            Ok(renewed) => return Ok(renewed),
            Err(why) => tried.push(format!("{address}: {why}")),
        }
    }
    Err(JoinError::unanswered(&tried))
}

async fn ask(address: &str, credentials: &Credentials) -> Result<Credentials, String> {
    let request = KeyAndRequest::generate().map_err(|error| chain(&error))?;
    let channel = channel(address, PeerRole::Master, credentials).await.map_err(|error| chain(&error))?;
    let call = Join { token: String::new(), csr_pem: request.csr_pem.clone(), name: String::new() };
    let joined = OperatorClient::new(channel).join(call).await;
    let Joined { certificate_pem, ca_pem, .. } =
        joined.map_err(|status| status.message().to_owned())?.into_inner();
    request.complete(certificate_pem, ca_pem).map_err(|error| chain(&error))
}

/// Keeps what a process shows good, for as long as it is polled: when a third of a certificate's time is left, `certify` makes the
/// next, which is kept in `dir` and shown from then on. What somebody else puts into `dir` is shown, too.
pub async fn keep<F>(shown: Shown, dir: PathBuf, certify: impl Fn() -> F)
where
    F: Future<Output = Result<Credentials, String>>,
{
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Somebody may have been there since they were loaded.
    let mut stamp = [None; 2];
    let mut not_before = 0;
    loop {
        ticks.tick().await;
        let there = stamp_of(&dir);
        if there != stamp {
            stamp = there;
            take_up(&shown, &dir);
        }
        let now = now_ms();
        if !is_due(&shown.now(), now) || now < not_before {
            continue;
        }
        match certify().await.and_then(|next| put(&shown, &dir, next).map_err(|error| chain(&error))) {
            Ok(()) => stamp = stamp_of(&dir),
            Err(why) => {
                let left = shown.now().expires_ms().unwrap_or_default().saturating_sub(now);
                not_before = now + (left / 10).min(RETRY_MAX_MS);
                warn!(why, hours_left = left / 3_600_000, "the certificate is not renewed yet");
            }
        }
    }
}

/// Whether a certificate is to be renewed.
fn is_due(credentials: &Credentials, now_ms: u64) -> bool {
    credentials.renew_at_ms().is_ok_and(|at| at <= now_ms)
}

fn put(shown: &Shown, dir: &Path, next: Credentials) -> Result<(), crate::ServeError> {
    // Shown first: what is not taken is not kept either. And what cannot be kept is not shown, so that it is still due.
    let before = shown.now();
    shown.replace(next.clone())?;
    if let Err(error) = next.save(dir) {
        shown.replace((*before).clone())?;
        return Err(error.into());
    }
    info!(ends_ms = next.expires_ms()?, "the certificate is renewed");
    Ok(())
}

/// Somebody has changed the files.
fn take_up(shown: &Shown, dir: &Path) {
    let found = match Credentials::load(dir) {
        Ok(found) if found == *shown.now() => return,
        Ok(found) => found,
        // It is being written.
        Err(PkiError::File { .. }) => return,
        Err(error) => return warn!(error = chain(&error), "what was put into the credentials is not used"),
    };
    match shown.replace(found) {
        Ok(()) => info!(dir = %dir.display(), "another certificate was found, and is shown from now on"),
        Err(error) => warn!(error = chain(&error), "what was put into the credentials is not used"),
    }
}

/// Tells the files from others in their places. Whoever copies them may take his time between one and the other.
fn stamp_of(dir: &Path) -> [Option<(SystemTime, u64)>; 2] {
    ["cert.pem", "key.pem"].map(|name| {
        let facts = fs::metadata(dir.join(name)).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    })
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
