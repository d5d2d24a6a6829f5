//! How somebody gets a certificate.

use crate::roster::Roster;

/// A token and a certificate request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// As `stoa token create` printed it; empty for whoever shows a certificate and wants the next one.
    pub token: String,
    /// PKCS#10, PEM.
    pub csr_pem: String,
    /// The name to be certified.
    pub name: String,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Joined {
    /// The leaf, PEM.
    pub certificate_pem: String,
    /// The cluster's CA, PEM.
    pub ca_pem: String,
    /// `host:port` of every master.
    pub masters: Vec<String>,
    /// The authority's key, PEM; for masters only, empty for others.
    pub authority_key_pem: String,
    /// For a master that comes into a group which runs: who is there. It begins empty and founds nothing.
    pub roster: Option<Roster>,
}

impl std::fmt::Debug for Joined {
    /// Without the key: it must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("masters", &self.masters).finish_non_exhaustive()
    }
}
