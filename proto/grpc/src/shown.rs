//! `Shown`: what a process shows and trusts at present. It can be replaced while the process runs: connections that are opened
//! from then on, to others and by others, see the newer.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use proto_pki::{Credentials, PkiError};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::serve::ServeError;
use crate::verify;

/// What a process shows and trusts at present. Clones are the same.
#[derive(Clone)]
pub struct Shown(Arc<RwLock<Current>>);

struct Current {
    credentials: Arc<Credentials>,
    /// The same, as a server needs it.
    key: Arc<CertifiedKey>,
}

impl Current {
    fn of(credentials: Credentials) -> Result<Current, ServeError> {
        // The authority's own certificate goes along: joiners know it by its hash only.
        let chain = vec![credentials.certificate()?, credentials.ca()?];
        let key = CertifiedKey::from_der(chain, credentials.key()?, &verify::provider())?;
        Ok(Current { credentials: Arc::new(credentials), key: Arc::new(key) })
    }
}

// === impl Shown ===

impl Shown {
    /// With these.
    ///
    /// # Errors
    /// [`ServeError`]: they cannot be used, or do not belong together.
    pub fn new(credentials: Credentials) -> Result<Shown, ServeError> {
        Ok(Shown(Arc::new(RwLock::new(Current::of(credentials)?))))
    }

    /// What is shown now.
    pub fn now(&self) -> Arc<Credentials> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).credentials.clone()
    }

    /// When the certificate that is shown ends, and when it is time for the next one, in milliseconds since 1970; 0 where it does
    /// not say.
    pub fn times_ms(&self) -> (u64, u64) {
        let now = self.now();
        (now.expires_ms().unwrap_or_default(), now.renew_at_ms().unwrap_or_default())
    }

    /// Shows these from now on.
    ///
    /// # Errors
    /// [`ServeError`]: they cannot be used, or are somebody else's: a process is who it is for as long as it runs.
    pub fn replace(&self, credentials: Credentials) -> Result<(), ServeError> {
        let before = self.now();
        if credentials.identity()? != before.identity()? || credentials.ca_sha256()? != before.ca_sha256()? {
            let why = "the new certificate is of another name or another authority; this process keeps the one it has";
            return Err(PkiError::Mismatch(why).into());
        }
        let current = Current::of(credentials)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({:?})", self.now())
    }
}
