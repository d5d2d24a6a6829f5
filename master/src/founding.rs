//! The first start of a master by hand: it founds a cluster, or joins the group of a founder with a token.
//!
//! Everything is below the data directory: `credentials` (its own certificate), `authority` (of the cluster) and, where
//! it was founded, `context` (for the CLI) and `tokens` (what the other members named at the founding join with: a group
//! without a majority can commit nothing, so these cannot be in the log).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::id::MasterId;
use proto_grpc::join::{JoinError, join};
use proto_pki::{
    Authority, BadToken, Credentials, Identity, JoinToken, LEAF_VALIDITY, PkiError, secret_matches,
};

/// The tokens of a founding are good for a day: long enough to walk to the other machines.
const TOKENS_VALID: Duration = Duration::from_secs(24 * 3600);
const TOKENS_FILE: &str = "tokens";
/// Where its own certificate is, below the data directory.
pub(crate) const CREDENTIALS: &str = "credentials";
/// Where the authority is, below the data directory.
pub(crate) const AUTHORITY: &str = "authority";

/// The masters that one which came into a group that ran was told of, below its data directory. With this file a master
/// founds nothing, however empty its log is.
const FOUND: &str = "members";

/// What a master finds there; `None`: it is one of the founders.
pub(crate) fn found_members(data_dir: &Path) -> Result<Option<BTreeMap<MasterId, String>>, String> {
    let path = data_dir.join(FOUND);
    match fs::read_to_string(&path) {
        Ok(text) => text.lines().map(crate::args::member).collect::<Result<_, _>>().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// What a master that is started by hand is told.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Which member it is.
    pub id: MasterId,
    /// Every member's door, as others reach it.
    pub members: BTreeMap<MasterId, String>,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// The token of a founder.
    pub join: Option<String>,
    /// What the person who founds the cluster is called in its certificates.
    pub operator: String,
}

/// What became of a first start.
#[derive(Debug)]
pub enum Begun {
    /// It was no first start.
    Before,
    /// It joined.
    Joined,
    /// It founded a cluster.
    Founded(Founded),
}

/// A fresh cluster.
#[derive(Debug)]
pub struct Founded {
    /// Its name.
    pub cluster: String,
    /// Where the authority is kept.
    pub authority: PathBuf,
    /// Where the operator's context is.
    pub context: PathBuf,
    /// What the other members join with.
    pub tokens: Vec<(MasterId, String, JoinToken)>,
}

/// Why there is no master.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// The directory holds something, but no master.
    #[error(
        "{0} is not empty and holds no credentials of a master; name an empty --data-dir to found a cluster, or give \
         --join the token of one"
    )]
    NotEmpty(PathBuf),
    /// Another member founds.
    #[error(
        "member {id} does not found the cluster, member {first} does: start that one first, and give this one --join \
         with the token that it prints; to come into a group that runs, let `stoa raft add` \
         make the token"
    )]
    NotFirst {
        /// Who was started.
        id: MasterId,
        /// Who founds.
        first: MasterId,
    },
    /// The token is none.
    #[error("--join")]
    Token(#[from] BadToken),
    /// Nobody let it in.
    #[error("cannot join the group")]
    Join(#[from] JoinError),
    /// There is nobody else to ask.
    #[error("--join needs the doors of the other members: give --member NUMBER=HOST:PORT for each")]
    Alone,
    /// Nobody could reach it.
    #[error(
        "others cannot reach {0}; give --member NUMBER=HOST:PORT with an address of this machine for itself too"
    )]
    Nowhere(String),
    /// The certificates.
    #[error("the certificates cannot be made; is --data-dir one that this user may write to?")]
    Pki(#[from] PkiError),
    /// The directory.
    #[error("cannot {operation} {path}; name a --data-dir that this user may write to")]
    File {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

// === impl Founding ===

impl Founding {
    /// Where its certificate is.
    pub fn credentials_dir(&self) -> PathBuf {
        self.data_dir.join(CREDENTIALS)
    }

    /// Where the cluster's authority is.
    pub fn authority_dir(&self) -> PathBuf {
        self.data_dir.join(AUTHORITY)
    }

    /// Sees to it that this master has its certificate.
    ///
    /// # Errors
    /// [`FoundingError`]: it can neither found nor join.
    pub async fn begin(&self) -> Result<Begun, FoundingError> {
        if Credentials::exist(&self.credentials_dir()) {
            return Ok(Begun::Before);
        }
        match &self.join {
            Some(token) => self.join_with(&token.parse()?).await.map(|()| Begun::Joined),
            None => self.found().map(Begun::Founded),
        }
    }

    async fn join_with(&self, token: &JoinToken) -> Result<(), FoundingError> {
        let others: Vec<String> = self
            .members
            .iter()
            .filter(|(id, _)| **id != self.id)
            .map(|(_, address)| address.clone())
            .collect();
        if others.is_empty() {
            return Err(FoundingError::Alone);
        }
        let name = Identity::Master(self.id).to_string();
        let admitted = join(&others, token, &name).await?;
        if !admitted.authority_key_pem.is_empty() {
            Authority::from_pem(&admitted.credentials.ca_pem, &admitted.authority_key_pem)?
                .save(&self.authority_dir())?;
        }
        if let Some(roster) = &admitted.roster {
            let lines = roster.masters.iter().map(|master| format!("{}={}\n", master.id, master.address));
            write(&self.data_dir.join(FOUND), &lines.collect::<String>())?;
        }
        Ok(admitted.credentials.save(&self.credentials_dir())?)
    }

    fn found(&self) -> Result<Founded, FoundingError> {
        let first = self.members.keys().next().copied().unwrap_or(self.id);
        if first != self.id {
            return Err(FoundingError::NotFirst { id: self.id, first });
        }
        if let Some(address) = self.members.values().find(|address| is_nowhere(address)) {
            return Err(FoundingError::Nowhere(address.clone()));
        }
        let context = self.data_dir.join("context");
        // What a founding that was cut short has left behind is taken up.
        if !self.holds_only(&["authority", "context", "credentials"])? {
            return Err(FoundingError::NotEmpty(self.data_dir.clone()));
        }
        let authority = if Authority::exists(&self.authority_dir()) {
            Authority::load(&self.authority_dir())?
        } else {
            let authority = Authority::create(&format!("stoa-{:x}", now_ms()))?;
            authority.save(&self.authority_dir())?;
            authority
        };
        let operator = Identity::User(self.operator.clone());
        authority.issue(&operator, LEAF_VALIDITY)?.save(&context)?;
        let masters: String = self.members.values().map(|address| format!("{address}\n")).collect();
        write(&context.join("masters"), &masters)?;
        let mut tokens = Vec::new();
        let expires_ms = now_ms().saturating_add(u64::try_from(TOKENS_VALID.as_millis()).unwrap_or(u64::MAX));
        let mut kept = String::new();
        for (id, address) in self.members.iter().filter(|(id, _)| **id != self.id) {
            let token = JoinToken::generate(authority.ca_sha256())?;
            let hash: String = token.secret_sha256().iter().map(|byte| format!("{byte:02x}")).collect();
            kept.push_str(&format!("{id} {} {hash} {expires_ms}\n", token.id));
            tokens.push((*id, address.clone(), token));
        }
        write(&self.authority_dir().join(TOKENS_FILE), &kept)?;
        // Its own certificate last: with it, the founding is done.
        authority.issue(&Identity::Master(self.id), LEAF_VALIDITY)?.save(&self.credentials_dir())?;
        Ok(Founded {
            cluster: authority.cluster().to_owned(),
            authority: self.authority_dir(),
            context,
            tokens,
        })
    }

    fn holds_only(&self, known: &[&str]) -> Result<bool, FoundingError> {
        let entries = match fs::read_dir(&self.data_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(source) => {
                return Err(FoundingError::File { operation: "read", path: self.data_dir.clone(), source });
            }
        };
        Ok(entries.flatten().all(|entry| known.iter().any(|name| entry.file_name() == *name)))
    }
}

/// Whether a token of the founding lets somebody be this member: the founder needs no majority to say so.
pub(crate) fn admits(authority_dir: &Path, member: MasterId, token: &JoinToken) -> bool {
    let kept = fs::read_to_string(authority_dir.join(TOKENS_FILE)).unwrap_or_default();
    kept.lines().any(|line| {
        let mut parts = line.split(' ');
        let (number, id, hash, expires) = (parts.next(), parts.next(), parts.next(), parts.next());
        let hash: Vec<u8> = hash
            .unwrap_or_default()
            .as_bytes()
            .chunks(2)
            .filter_map(|two| std::str::from_utf8(two).ok().and_then(|two| u8::from_str_radix(two, 16).ok()))
            .collect();
        number.and_then(|number| number.parse().ok()) == Some(member.0)
            && id == Some(token.id.as_str())
            && expires.and_then(|expires| expires.parse().ok()).is_some_and(|at: u64| at > now_ms())
            && secret_matches(&token.secret_sha256(), &hash)
    })
}

/// Whether an address is one that a door can listen on and nobody can call.
fn is_nowhere(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_unspecified() || address.port() == 0,
        // A name.
        Err(_) => false,
    }
}

fn write(path: &Path, text: &str) -> Result<(), FoundingError> {
    fs::write(path, text).map_err(|source| FoundingError::File {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founding(name: &str, id: u64, members: &[(u64, &str)]) -> Founding {
        let data_dir = std::env::temp_dir().join(format!("stoa-founding-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data_dir);
        Founding {
            id: MasterId(id),
            members: members.iter().map(|(id, address)| (MasterId(*id), (*address).to_owned())).collect(),
            data_dir,
            join: None,
            operator: "ada".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_founder_makes_authority_certificate_context_and_tokens_once() {
        let founding = founding("once", 1, &[(1, "h1:7070"), (2, "h2:7070"), (3, "h3:7070")]);
        let Begun::Founded(founded) = founding.begin().await.unwrap() else { panic!("it founds") };
        let (cluster, who) = Credentials::load(&founding.credentials_dir()).unwrap().identity().unwrap();
        assert_eq!((&cluster, who), (&founded.cluster, Identity::Master(MasterId(1))));
        let (_, who) = Credentials::load(&founded.context).unwrap().identity().unwrap();
        assert_eq!(who, Identity::User("ada".to_owned()));
        assert_eq!(
            fs::read_to_string(founded.context.join("masters")).unwrap(),
            "h1:7070\nh2:7070\nh3:7070\n"
        );
        assert!(matches!(founding.begin().await.unwrap(), Begun::Before));

        let [(two, _, token), (three, ..)] = founded.tokens.as_slice() else { panic!("two tokens") };
        assert!(admits(&founded.authority, *two, token));
        assert!(!admits(&founded.authority, *three, token), "a token is for one member");
        let forged: JoinToken = token.to_string().replace(&token.id, "0011223344556677").parse().unwrap();
        assert!(!admits(&founded.authority, *two, &forged));
        let kept = fs::read_to_string(founded.authority.join(TOKENS_FILE)).unwrap();
        let old: String = kept
            .lines()
            .map(|line| {
                let (rest, _) = line.rsplit_once(' ').unwrap();
                format!("{rest} 1\n")
            })
            .collect();
        fs::write(founded.authority.join(TOKENS_FILE), old).unwrap();
        assert!(!admits(&founded.authority, *two, token), "out of time");
        fs::remove_dir_all(&founding.data_dir).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_founding_is_said_with_what_to_do() {
        let second = founding("second", 2, &[(1, "h1:7070"), (2, "h2:7070")]);
        let why = second.begin().await.unwrap_err().to_string();
        assert!(
            why.contains("member 1 does") && why.contains("--join") && why.contains("stoa raft add"),
            "{why}"
        );
        let everywhere = founding("everywhere", 1, &[(1, "0.0.0.0:7070")]);
        let why = everywhere.begin().await.unwrap_err().to_string();
        assert!(why.contains("0.0.0.0:7070") && why.contains("--member"), "{why}");
        let used = founding("used", 1, &[(1, "h1:7070")]);
        fs::create_dir_all(used.data_dir.join("photos")).unwrap();
        let why = used.begin().await.unwrap_err().to_string();
        assert!(why.contains("is not empty"), "{why}");
        fs::remove_dir_all(&used.data_dir).unwrap();
        let alone = Founding {
            join: Some(JoinToken::generate([7; 32]).unwrap().to_string()),
            ..founding("alone", 1, &[(1, "h1:7070")])
        };
        assert!(matches!(alone.begin().await.unwrap_err(), FoundingError::Alone));
        let nonsense = Founding { join: Some("nonsense".to_owned()), ..alone };
        assert!(matches!(nonsense.begin().await.unwrap_err(), FoundingError::Token(_)));
    }
}
