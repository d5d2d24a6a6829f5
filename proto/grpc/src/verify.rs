//! How a client checks a server: TLS 1.3 only, by the cluster's authority, or by its hash when joining.

use std::sync::Arc;

use proto_pki::{secret_matches, sha256_of};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The one cryptography of the house.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A trust store of one authority.
pub(crate) fn roots(ca: CertificateDer<'static>) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    Ok(Arc::new(roots))
}

/// Whether servers of this authority would take this certificate of a client; if not, why.
pub(crate) fn as_a_client(ca: CertificateDer<'static>, own: &CertificateDer<'_>) -> Result<(), String> {
    let roots = roots(ca).map_err(|error| error.to_string())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let verifier = verifier.map_err(|error| error.to_string())?;
    match verifier.verify_client_cert(own, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            Err("another authority issued it".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What a server must prove.
#[derive(Debug)]
pub(crate) enum Trust {
    /// A certificate of this authority.
    Authority(Arc<WebPkiServerVerifier>),
    /// A certificate of the authority with this hash, which the server sends along.
    Hash([u8; 32]),
}

/// A server's certificate is checked against a [`Trust`].
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

// === impl Verifier ===

impl Verifier {
    pub(crate) fn of_authority(ca: CertificateDer<'static>) -> Result<Self, Error> {
        let verifier = web_pki(ca)?;
        Ok(Verifier { trust: Trust::Authority(verifier), provider: provider() })
    }

    pub(crate) fn of_hash(ca_sha256: [u8; 32]) -> Self {
        Verifier { trust: Trust::Hash(ca_sha256), provider: provider() }
    }
}

fn web_pki(ca: CertificateDer<'static>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Authority(verifier) => {
                verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
            }
            Trust::Hash(expected) => {
                let ca = intermediates
                    .iter()
                    .find(|certificate| secret_matches(expected, &sha256_of(certificate)))
                    .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let verifier = web_pki(ca.clone().into_owned())?;
                verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // tonic compiles TLS 1.2 in; nobody of the house speaks it.
        Err(Error::General("the server speaks TLS 1.2 only; 1.3 is needed".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
