//! What a launch needs of others before it can start: its artifacts, and then its secrets.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::config::Config;
use crate::event::StartFailure;
use crate::fetch::{CONCURRENT_MAX, Fetcher};
use crate::launch::{Artifact, Launch};
use crate::secrets::SecretSource;
use crate::workshop::Prepared;

/// A launch with what was made for it.
type Ready = (Box<Launch>, Prepared);

/// Where what launches need comes from.
pub(crate) struct Needs {
    fetcher: Arc<Fetcher>,
    fetches: Arc<Semaphore>,
    secrets: Option<Arc<dyn SecretSource>>,
}

// === impl Needs ===

impl Needs {
    pub(crate) fn new(config: &Config) -> Needs {
        Needs {
            fetcher: Arc::new(Fetcher::new(config)),
            fetches: Arc::new(Semaphore::new(CONCURRENT_MAX)),
            secrets: config.secrets.clone(),
        }
    }

    /// Brings all of it, until `stop` is set. Secrets last: as they are when it starts, and kept the shortest time.
    pub(crate) async fn bring(
        &self,
        launch: Box<Launch>,
        prepared: Prepared,
        stop: Arc<AtomicBool>,
    ) -> Result<Ready, StartFailure> {
        let (launch, mut prepared) = match launch.artifacts.is_empty() {
            true => (launch, prepared),
            false => self.bring_artifacts(launch, prepared, stop).await?,
        };
        if launch.has_secrets {
            let brought = match &self.secrets {
                Some(source) => source.fetch(launch.run_id).await,
                None => Err("this agent knows nobody to ask for them".to_owned()),
            };
            prepared.secrets = brought.map_err(StartFailure::Secrets)?;
        }
        Ok((launch, prepared))
    }

    /// On a thread that nobody waits for: a server that does not answer must not hold up the end of this process, as it
    /// would on one of tokio's.
    async fn bring_artifacts(
        &self,
        launch: Box<Launch>,
        prepared: Prepared,
        stop: Arc<AtomicBool>,
    ) -> Result<Ready, StartFailure> {
        // The semaphore is never closed; without a permit we would merely be one too many.
        let _permit = self.fetches.clone().acquire_owned().await;
        let first = launch.artifacts.first().map(|first| first.uri.clone()).unwrap_or_default();
        let (fetcher, (tell, told)) = (self.fetcher.clone(), oneshot::channel());
        let bring = move || {
            let result = bring_all(&fetcher, &prepared, &launch.artifacts, &stop);
            let _engine_gone = tell.send(result.map(|()| (launch, prepared)));
        };
        let failed = |why: String| StartFailure::Artifact { uri: first.clone(), why };
        thread::Builder::new().name("fetch".to_owned()).spawn(bring).map_err(|e| failed(e.to_string()))?;
        told.await.unwrap_or_else(|_| Err(failed("its thread is gone".to_owned())))
    }
}

fn bring_all(
    fetcher: &Fetcher,
    prepared: &Prepared,
    artifacts: &[Artifact],
    stop: &AtomicBool,
) -> Result<(), StartFailure> {
    for artifact in artifacts {
        fetcher
            .fetch(&prepared.sandbox, prepared.user.as_ref(), artifact, stop)
            .map_err(|why| StartFailure::Artifact { uri: artifact.uri.clone(), why })?;
    }
    Ok(())
}
