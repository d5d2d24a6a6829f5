//! `Authority`: the cluster's certificate authority, made at first start.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber, date_time_ymd,
};

use crate::credentials::{Credentials, certificate_of};
use crate::error::PkiError;
use crate::identity::{BadIdentity, Identity, check_cluster};
use crate::seal::Sealer;
use crate::{files, random, sha256_of};

/// How long the authority's own certificate lasts: ten years, as kubeadm's.
pub const CA_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How long a leaf lasts if nobody says otherwise. A year: masters and agents renew theirs by themselves, people and frameworks do not.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// Leaves hold from an hour ago: clocks of machines that join differ.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// A P-256 request is half a kilobyte; this leaves room and no more.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";

/// The cluster's certificate authority, with its key.
pub struct Authority {
    cluster: String,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    key_pem: String,
    sha256: [u8; 32],
}

// === impl Authority ===

impl Authority {
    /// Makes the authority of a new cluster.
    pub fn create(cluster: &str) -> Result<Self, PkiError> {
        check_cluster(cluster)?;
        let key = KeyPair::generate().map_err(|source| failed("make a key", source))?;
        let mut params = dated(CA_VALIDITY)?;
        params.distinguished_name = named(&format!("stoa cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // The trust domain alone, as SPIFFE has it for signing certificates: so the cluster's name can be read back.
        params.subject_alt_names = vec![uri(format!("spiffe://{cluster}"))?];
        let certificate =
            params.self_signed(&key).map_err(|source| failed("sign the authority's certificate", source))?;
        Authority::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// From its certificate and key.
    pub fn from_pem(ca_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem).map_err(|source| failed("read the authority's key", source))?;
        let der = certificate_of(ca_pem, "the CA certificate")?;
        let cluster = {
            let (_, parsed) =
                x509_parser::parse_x509_certificate(&der).map_err(|_| BadIdentity::NotACertificate)?;
            if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
                return Err(PkiError::Mismatch("the authority's key and certificate do not belong together"));
            }
            cluster_of(&parsed)?
        };
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|source| failed("read the authority's certificate", source))?;
        Ok(Authority {
            cluster,
            issuer,
            ca_pem: ca_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            sha256: sha256_of(&der),
        })
    }

    /// Where its key is in a directory.
    pub fn key_path(dir: &Path) -> std::path::PathBuf {
        dir.join(CA_KEY_FILE)
    }

    /// Reads `ca.pem` and `ca-key.pem` of a directory.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        Authority::from_pem(&files::read(dir, CA_FILE)?, &files::read(dir, CA_KEY_FILE)?)
    }

    /// Writes the two files, readable by their owner only, and syncs them. Makes the directory.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        files::private_dir(dir)?;
        files::write(dir, CA_KEY_FILE, &self.key_pem)?;
        files::write(dir, CA_FILE, &self.ca_pem)
    }

    /// Whether a directory holds an authority.
    pub fn exists(dir: &Path) -> bool {
        dir.join(CA_FILE).is_file() && dir.join(CA_KEY_FILE).is_file()
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The authority's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The authority's key; it stays on masters.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What encrypts for one purpose, so that only who holds this authority's key can read it.
    pub fn sealer(&self, purpose: &str) -> Result<Sealer, PkiError> {
        // Not the text: how its lines break means nothing.
        Sealer::derive(&self.issuer.key().serialize_der(), purpose)
    }

    /// SHA-256 of the authority's certificate.
    pub fn ca_sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Makes a fresh key and certifies it.
    pub fn issue(&self, identity: &Identity, validity: Duration) -> Result<Credentials, PkiError> {
        let key = KeyPair::generate().map_err(|source| failed("make a key", source))?;
        let certificate_pem = self.certify(&key, identity, validity)?;
        Ok(Credentials { ca_pem: self.ca_pem.clone(), certificate_pem, key_pem: key.serialize_pem() })
    }

    /// Whether [`sign`](Authority::sign) would take a request.
    pub fn check_request(csr_pem: &str) -> Result<(), PkiError> {
        read_request(csr_pem).map(drop)
    }

    /// Certifies the key of a request, as PEM. Whatever the request claims of names, uses or powers is ignored.
    pub fn sign(&self, csr_pem: &str, identity: &Identity, validity: Duration) -> Result<String, PkiError> {
        self.certify(&read_request(csr_pem)?.public_key, identity, validity)
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        validity: Duration,
    ) -> Result<String, PkiError> {
        // A leaf that outlives its issuer cannot be verified anyway, and dates beyond 9999 cannot be written.
        let mut params = dated(validity.min(CA_VALIDITY))?;
        params.distinguished_name = named(&identity.to_string());
        params.subject_alt_names = vec![uri(identity.uri(&self.cluster)?)?];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        if let Some(role) = identity.server_role() {
            let name = role.server_name().try_into().map_err(|source| failed("write a name", source))?;
            params.subject_alt_names.push(SanType::DnsName(name));
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate =
            params.signed_by(key, &self.issuer).map_err(|source| failed("sign a certificate", source))?;
        Ok(certificate.pem())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.cluster)
    }
}

fn failed(operation: &'static str, source: rcgen::Error) -> PkiError {
    PkiError::Certificate { operation, source }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // X.520 bounds a common name at 64 characters; it is for people only.
    let short: String = common_name.chars().take(64).collect();
    name.push(DnType::CommonName, short);
    name
}

fn uri(text: String) -> Result<SanType, PkiError> {
    text.try_into().map(SanType::URI).map_err(|source| failed("write a name", source))
}

/// Parameters that hold from an hour ago until `validity` from now, with a random serial number.
fn dated(validity: Duration) -> Result<CertificateParams, PkiError> {
    /// 9990-01-01: nothing we make passes the last date X.509 can write.
    const LATEST: Duration = Duration::from_secs(253_086_940_800);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| PkiError::BadClock)?;
    let until = now.checked_add(validity).filter(|until| *until < LATEST).ok_or(PkiError::BadClock)?;
    let epoch = date_time_ymd(1970, 1, 1);
    let mut serial: [u8; 16] = random()?;
    serial[0] &= 0x7f;
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + until;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn cluster_of(ca: &x509_parser::prelude::X509Certificate<'_>) -> Result<String, PkiError> {
    let names = ca
        .subject_alternative_name()
        .map_err(|_| BadIdentity::NotACertificate)?
        .ok_or(BadIdentity::NotOneUri)?;
    let cluster = names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    let cluster = cluster.ok_or(BadIdentity::NotOneUri)?;
    check_cluster(cluster)?;
    Ok(cluster.to_owned())
}

/// Reads a request: of bounded size, signed with its own key, and for a key as all of the cluster's are.
fn read_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, PkiError> {
    if csr_pem.len() > REQUEST_BYTES_MAX {
        return Err(PkiError::BadRequest("is larger than 16 KiB"));
    }
    let request = CertificateSigningRequestParams::from_pem(csr_pem)
        .map_err(|_| PkiError::BadRequest("is not a signed PKCS#10 request in PEM"))?;
    if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(PkiError::BadRequest("is for a key that is not ECDSA P-256"));
    }
    Ok(request)
}
