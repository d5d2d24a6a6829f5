//! `Credentials`: what a process shows and trusts; `KeyAndRequest`: what one sends that has none yet.

use std::fmt;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::CLOCK_SKEW;
use crate::error::PkiError;
use crate::identity::Identity;
use crate::{files, sha256_of};

const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
/// The key of a certificate that is about to take the place of another.
const NEXT_KEY_FILE: &str = "key.next.pem";

/// What a process shows to others and trusts of them, as PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The cluster's authority.
    pub ca_pem: String,
    /// The process's own certificate.
    pub certificate_pem: String,
    /// The key of that certificate.
    pub key_pem: String,
}

// === impl Credentials ===

impl Credentials {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` of a directory.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let mut found = Credentials {
            ca_pem: files::read(dir, CA_FILE)?,
            certificate_pem: files::read(dir, CERTIFICATE_FILE)?,
            key_pem: files::read(dir, KEY_FILE)?,
        };
        if !found.fits(&found.key_pem)
            && let Ok(next) = files::read(dir, NEXT_KEY_FILE)
            && found.fits(&next)
        {
            // Whoever wrote the certificate ended before its key was in its place.
            found.key_pem = next;
        }
        Ok(found)
    }

    /// Writes the three files, readable by their owner only, and syncs them. Makes the directory. Wherever the process ends
    /// meanwhile, what was there or what is written can be loaded.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        files::private_dir(dir)?;
        files::write(dir, CA_FILE, &self.ca_pem)?;
        if !Credentials::exist(dir) {
            files::write(dir, KEY_FILE, &self.key_pem)?;
            // The certificate last: whoever finds it finds its key.
            return files::write(dir, CERTIFICATE_FILE, &self.certificate_pem);
        }
        let there = Credentials::load(dir)?;
        if there.key_pem != files::read(dir, KEY_FILE)? {
            // It was in the place of the next one, which is needed now.
            files::write(dir, KEY_FILE, &there.key_pem)?;
        }
        files::write(dir, NEXT_KEY_FILE, &self.key_pem)?;
        files::write(dir, CERTIFICATE_FILE, &self.certificate_pem)?;
        files::rename(dir, NEXT_KEY_FILE, KEY_FILE)
    }

    /// Whether a key is that of the certificate. What cannot be read is for whoever uses it to refuse.
    fn fits(&self, key_pem: &str) -> bool {
        let (Ok(certificate), Ok(key)) = (self.certificate(), KeyPair::from_pem(key_pem)) else {
            return true;
        };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&certificate) else { return true };
        *parsed.public_key().subject_public_key.data == *key.public_key_raw()
    }

    /// Whether a directory holds all three files.
    pub fn exist(dir: &Path) -> bool {
        [CA_FILE, CERTIFICATE_FILE, KEY_FILE].iter().all(|name| dir.join(name).is_file())
    }

    /// The cluster and the identity that the certificate names.
    pub fn identity(&self) -> Result<(String, Identity), PkiError> {
        Ok(Identity::of_certificate(&self.certificate()?)?)
    }

    /// The certificate of the cluster's authority.
    pub fn ca(&self) -> Result<CertificateDer<'static>, PkiError> {
        certificate_of(&self.ca_pem, "the CA certificate")
    }

    /// The process's own certificate.
    pub fn certificate(&self) -> Result<CertificateDer<'static>, PkiError> {
        certificate_of(&self.certificate_pem, "the certificate")
    }

    /// The process's key.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|_| PkiError::NotPem { what: "the key" })
    }

    /// Until when the certificate is good, in milliseconds since 1970.
    pub fn expires_ms(&self) -> Result<u64, PkiError> {
        ends_ms(&self.certificate()?)
    }

    /// When it is time for the next certificate, in milliseconds since 1970: when two thirds of this one's time are over.
    pub fn renew_at_ms(&self) -> Result<u64, PkiError> {
        let (from, until) = times_ms(&self.certificate()?)?;
        // Certificates hold from before they were made.
        let made = from.saturating_add(CLOCK_SKEW.as_millis() as u64);
        Ok(until - until.saturating_sub(made) / 3)
    }

    /// SHA-256 of the authority's certificate, as join tokens carry it.
    pub fn ca_sha256(&self) -> Result<[u8; 32], PkiError> {
        Ok(sha256_of(&self.ca()?))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self
            .identity()
            .map_or_else(|bad| bad.to_string(), |(cluster, who)| format!("{who} of {cluster}"));
        write!(f, "Credentials({who})")
    }
}

/// Until when a certificate is good, in milliseconds since 1970.
pub fn ends_ms(certificate: &CertificateDer<'_>) -> Result<u64, PkiError> {
    times_ms(certificate).map(|(_, until)| until)
}

fn times_ms(certificate: &CertificateDer<'_>) -> Result<(u64, u64), PkiError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| PkiError::NotPem { what: "the certificate" })?;
    let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let validity = parsed.validity();
    Ok((ms(validity.not_before.timestamp()), ms(validity.not_after.timestamp())))
}

pub(crate) fn certificate_of(pem: &str, what: &'static str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::NotPem { what })
}

/// A fresh key and the request to certify it. The request names nobody: who it is for, the authority decides.
pub struct KeyAndRequest {
    /// The key, PEM; it never leaves the machine.
    pub key_pem: String,
    /// The PKCS#10 request, PEM.
    pub csr_pem: String,
}

// === impl KeyAndRequest ===

impl KeyAndRequest {
    /// Makes a fresh ECDSA P-256 key and its request.
    pub fn generate() -> Result<Self, PkiError> {
        let key = KeyPair::generate()
            .map_err(|source| PkiError::Certificate { operation: "make a key", source })?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr_pem = params
            .serialize_request(&key)
            .and_then(|request| request.pem())
            .map_err(|source| PkiError::Certificate { operation: "make a certificate request", source })?;
        Ok(KeyAndRequest { key_pem: key.serialize_pem(), csr_pem })
    }

    /// With the answer to the request: credentials. Refuses a certificate of another key.
    pub fn complete(self, certificate_pem: String, ca_pem: String) -> Result<Credentials, PkiError> {
        let credentials = Credentials { ca_pem, certificate_pem, key_pem: self.key_pem };
        let certificate = credentials.certificate()?;
        credentials.ca()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|_| PkiError::NotPem { what: "the certificate" })?;
        let key = KeyPair::from_pem(&credentials.key_pem)
            .map_err(|source| PkiError::Certificate { operation: "read the key", source })?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(PkiError::Mismatch("the certificate is for another key"));
        }
        Ok(credentials)
    }
}

impl fmt::Debug for KeyAndRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyAndRequest")
    }
}
