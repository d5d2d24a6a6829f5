//! `Identity`: what a certificate says of its holder, as a SPIFFE URI.

use std::fmt;
use std::str::FromStr;

use proto::caller::Caller;
use proto::id::{AgentId, BadId, MasterId};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest cluster name, in bytes (a DNS label's bound).
const CLUSTER_BYTES_MAX: usize = 63;

/// Who somebody is within a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A member of the master group.
    Master(MasterId),
    /// An agent.
    Agent(AgentId),
    /// A framework, by its principal.
    Framework(String),
    /// A person, by name.
    User(String),
}

/// What kind of server is expected behind an address. It is the TLS server name that a client asks for, so that
/// addresses can change and nobody can stand in for a process of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerRole {
    /// A master: `master.stoa`.
    Master,
    /// An agent: `agent.stoa`.
    Agent,
    /// A framework: `framework.stoa`.
    Framework,
}

/// Why something is not an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// The bytes are not a certificate.
    #[error("the bytes are not an X.509 certificate")]
    NotACertificate,
    /// The certificate names nobody, or several.
    #[error("the certificate must hold exactly one URI name, spiffe://<cluster>/<kind>/<name>")]
    NotOneUri,
    /// The URI is of another form.
    #[error("{0:?} is not of the form spiffe://<cluster>/<kind>/<name>")]
    NotSpiffe(String),
    /// The kind is unknown.
    #[error("{0:?} is not a kind of identity; master, agent, framework and user are")]
    UnknownKind(String),
    /// The name is not allowed.
    #[error("the name {name:?} {why}")]
    BadName {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cluster's name is not allowed.
    #[error("{0:?} is not a cluster name; use at most 63 of a-z, 0-9, '-' and '.'")]
    BadCluster(String),
}

// === impl PeerRole ===

impl PeerRole {
    /// The DNS name in the certificates of this role.
    pub fn server_name(self) -> &'static str {
        match self {
            PeerRole::Master => "master.stoa",
            PeerRole::Agent => "agent.stoa",
            PeerRole::Framework => "framework.stoa",
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerRole::Master => "master",
            PeerRole::Agent => "agent",
            PeerRole::Framework => "framework",
        })
    }
}

// === impl Identity ===

impl Identity {
    /// The kind as it stands in the URI: `master`, `agent`, `framework` or `user`.
    pub fn kind(&self) -> &'static str {
        match self {
            Identity::Master(_) => "master",
            Identity::Agent(_) => "agent",
            Identity::Framework(_) => "framework",
            Identity::User(_) => "user",
        }
    }

    /// The name without the kind.
    pub fn name(&self) -> String {
        match self {
            Identity::Master(id) => id.to_string(),
            Identity::Agent(id) => id.to_string(),
            Identity::Framework(name) | Identity::User(name) => name.clone(),
        }
    }

    /// As what it may serve; people serve nothing.
    pub fn server_role(&self) -> Option<PeerRole> {
        match self {
            Identity::Master(_) => Some(PeerRole::Master),
            Identity::Agent(_) => Some(PeerRole::Agent),
            Identity::Framework(_) => Some(PeerRole::Framework),
            Identity::User(_) => None,
        }
    }

    /// The SPIFFE URI in a cluster. Refuses names that an id would refuse.
    pub fn uri(&self, cluster: &str) -> Result<String, BadIdentity> {
        check_cluster(cluster)?;
        let name = self.name();
        if let Identity::Framework(name) | Identity::User(name) = self {
            check_name(name)?;
        }
        if self == &Identity::Master(MasterId(0)) {
            return Err(BadIdentity::BadName { name, why: "is zero; members count from 1".to_owned() });
        }
        Ok(format!("spiffe://{cluster}/{}/{}", self.kind(), percent_encode(&name)))
    }

    /// The cluster and identity of a SPIFFE URI. Only the one spelling that [`Identity::uri`] writes is taken, so that
    /// no two texts mean the same and no text means two.
    pub fn from_uri(uri: &str) -> Result<(String, Identity), BadIdentity> {
        let not_spiffe = || BadIdentity::NotSpiffe(uri.to_owned());
        let rest = uri.strip_prefix("spiffe://").ok_or_else(not_spiffe)?;
        let (cluster, path) = rest.split_once('/').ok_or_else(not_spiffe)?;
        let (kind, encoded) = path.split_once('/').ok_or_else(not_spiffe)?;
        let name = percent_decode(encoded).ok_or_else(not_spiffe)?;
        let identity = Identity::of_kind(kind, &name)?;
        if identity.uri(cluster)? != uri {
            return Err(not_spiffe());
        }
        Ok((cluster.to_owned(), identity))
    }

    /// The cluster and identity that a certificate names. The certificate's chain is not checked here: TLS did.
    pub fn of_certificate(der: &[u8]) -> Result<(String, Identity), BadIdentity> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| BadIdentity::NotACertificate)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| BadIdentity::NotACertificate)?
            .ok_or(BadIdentity::NotOneUri)?;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => Identity::from_uri(uri),
            (None, _) | (Some(_), Some(_)) => Err(BadIdentity::NotOneUri),
        }
    }

    fn of_kind(kind: &str, name: &str) -> Result<Identity, BadIdentity> {
        let bad_name = |why: String| BadIdentity::BadName { name: name.to_owned(), why };
        match kind {
            "master" => name
                .parse()
                .map(|id| Identity::Master(MasterId(id)))
                .map_err(|_| bad_name("is not a number".to_owned())),
            "agent" => {
                AgentId::new(name).map(Identity::Agent).map_err(|why: BadId| bad_name(why.to_string()))
            }
            "framework" => check_name(name).map(|()| Identity::Framework(name.to_owned())),
            "user" => check_name(name).map(|()| Identity::User(name.to_owned())),
            other => Err(BadIdentity::UnknownKind(other.to_owned())),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}

impl FromStr for Identity {
    type Err = BadIdentity;
    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let (kind, name) = text.split_once('/').ok_or_else(|| BadIdentity::UnknownKind(text.to_owned()))?;
        Identity::of_kind(kind, name)
    }
}

/// Whether a cluster may be called so.
pub(crate) fn check_cluster(cluster: &str) -> Result<(), BadIdentity> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !cluster.is_empty() && cluster.len() <= CLUSTER_BYTES_MAX && cluster.chars().all(good) {
        Ok(())
    } else {
        Err(BadIdentity::BadCluster(cluster.to_owned()))
    }
}

/// Principals follow the rules of ids: they become metric labels and terminal output too.
fn check_name(name: &str) -> Result<(), BadIdentity> {
    AgentId::new(name)
        .map(|_| ())
        .map_err(|why| BadIdentity::BadName { name: name.to_owned(), why: why.to_string() })
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn percent_encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a certificate names is who speaks.
impl From<Identity> for Caller {
    fn from(identity: Identity) -> Caller {
        match identity {
            Identity::Master(id) => Caller::Master(id),
            Identity::Agent(id) => Caller::Agent(id),
            Identity::Framework(name) => Caller::Framework(name),
            Identity::User(name) => Caller::User(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back() {
        let agent = AgentId::new("a1@rack:7").map(Identity::Agent);
        let all = [
            Ok(Identity::Master(MasterId(3))),
            agent,
            Ok(Identity::Framework("jobs".into())),
            Ok(Identity::User("ada löve".replace(' ', "-"))),
        ];
        for identity in all.into_iter().flatten() {
            let uri = identity.uri("pool-1").unwrap();
            assert_eq!(Identity::from_uri(&uri), Ok(("pool-1".to_owned(), identity.clone())), "{uri}");
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
        assert_eq!(
            Identity::Master(MasterId(1)).uri("c").as_deref(),
            Ok("spiffe://c/master/1"),
            "the documented form"
        );
    }

    #[test]
    fn there_is_one_spelling() {
        for bad in [
            "spiffe://c/master/01",
            "spiffe://c/master/0",
            "spiffe://c/master/+1",
            "spiffe://C/master/1",
            "spiffe://c/user/%61da",
            "spiffe://c/user/a%2Fb",
            "spiffe://c/user/a/b",
            "spiffe://c/user/",
            "spiffe://c/user/a%4",
            "spiffe://c/god/ada",
            "spiffe:///user/ada",
            "https://c/user/ada",
            "spiffe://c/user",
        ] {
            assert!(Identity::from_uri(bad).is_err(), "{bad}");
        }
    }
}
