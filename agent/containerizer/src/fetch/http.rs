//! `http://` and `https://` artifacts.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::{Source, Trouble};

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A server that sends nothing for this long has hung.
const SILENCE_MAX: Duration = Duration::from_secs(60);

const REDIRECTS_MAX: u32 = 5;

/// Where the distributions keep the root certificates of the web: Debian, Fedora, openSUSE, Alpine.
const CA_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client made at the first use: most agents never fetch by https, and reading the certificates takes a while.
pub(super) struct Client {
    ca_file: Option<PathBuf>,
    agent: OnceLock<ureq::Agent>,
}

impl Client {
    pub(super) fn new(ca_file: Option<PathBuf>) -> Client {
        Client { ca_file, agent: OnceLock::new() }
    }

    /// Begins to fetch; reading the bytes must end within `patience` too.
    pub(super) fn open(&self, uri: &str, patience: Duration) -> Result<Source, Trouble> {
        let agent = self.agent.get_or_init(|| self.make());
        let request = agent.get(uri).config().timeout_global(Some(patience)).build();
        let response = request.call().map_err(trouble)?;
        let status = response.status();
        if !status.is_success() {
            let why = format!("the server answers {status}");
            return Err(if status.is_server_error() { Trouble::Passing(why) } else { Trouble::Final(why) });
        }
        let body = response.into_body();
        let length = body.content_length();
        // The limit of size is kept by whoever reads.
        let bytes = body.into_with_config().limit(u64::MAX).reader();
        Ok(Source { bytes: Box::new(bytes), length })
    }

    fn make(&self) -> ureq::Agent {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&self.certificates()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .timeout_connect(Some(CONNECT_PATIENCE))
            .timeout_per_read(Some(SILENCE_MAX))
            .user_agent(concat!("stoa/", env!("CARGO_PKG_VERSION")))
            .build();
        config.new_agent()
    }

    fn certificates(&self) -> Vec<Certificate<'static>> {
        let files = match &self.ca_file {
            Some(file) => vec![file.clone()],
            None => CA_FILES.iter().map(PathBuf::from).collect(),
        };
        let Some(pem) = files.iter().find_map(|file| fs::read(file).ok()) else {
            tracing::warn!(?files, "no root certificates found: https artifacts cannot be fetched");
            return Vec::new();
        };
        let certificate = |item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        };
        parse_pem(&pem).filter_map(certificate).collect()
    }
}

fn trouble(error: ureq::Error) -> Trouble {
    let text = error.to_string();
    match error {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => Trouble::Passing(text),
        // Including kinds this crate may add: what is not known to pass is not tried again.
        _ => Trouble::Final(text),
    }
}
