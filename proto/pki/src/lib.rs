//! Who is who: the cluster's authority, the identities it certifies, and the tokens that let a stranger join.
//!
//! Every process of a cluster holds [`Credentials`]: a certificate of the cluster's one [`Authority`], whose only
//! meaning is the [`Identity`] in its SPIFFE URI. A process that has none yet makes a [`KeyAndRequest`] and sends it
//! with a [`JoinToken`], whose first part lets it check the authority before it says the secret.

mod authority;
mod credentials;
mod error;
mod files;
mod identity;
mod seal;
mod token;

pub use authority::{Authority, CA_VALIDITY, LEAF_VALIDITY};
pub use credentials::{Credentials, KeyAndRequest, ends_ms};
pub use error::PkiError;
pub use identity::{BadIdentity, Identity, PeerRole};
pub use seal::{Sealed, Sealer};
pub use token::{BadToken, JoinToken, secret_matches};

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// SHA-256 of a certificate's DER: how join tokens name an authority.
pub fn sha256_of(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate.as_ref()).into()
}

/// Fills an array from the operating system's randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| PkiError::NoRandomness)?;
    Ok(bytes)
}

/// Bytes as lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lowercase or uppercase hex as bytes; `None` for anything else.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
