//! What can go wrong with keys, certificates and the files that hold them.

use std::io;
use std::path::PathBuf;

use crate::identity::BadIdentity;

/// A fault of a key, a certificate or a file that holds one.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file operation failed.
    #[error("cannot {operation} {path}")]
    File {
        /// What was tried: `read`, `write`, `create`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A PEM text does not hold what it should.
    #[error("{what} is not a PEM text of that kind")]
    NotPem {
        /// Which: `the CA certificate`, `the key`.
        what: &'static str,
    },
    /// The cryptography library refused.
    #[error("cannot {operation}")]
    Certificate {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: rcgen::Error,
    },
    /// A certificate request that will not be signed.
    #[error("the certificate request {0}")]
    BadRequest(&'static str),
    /// A certificate or key that do not belong together.
    #[error("{0}")]
    Mismatch(&'static str),
    /// Something could not be encrypted or decrypted.
    #[error("cannot {0}")]
    Seal(&'static str),
    /// A name that cannot be certified.
    #[error(transparent)]
    Identity(#[from] BadIdentity),
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// The clock stands before 1970 or after 9999.
    #[error("the system clock is out of range; set it")]
    BadClock,
}
