//! The command line of `stoa master`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proto::caller::Caller;
use proto::id::MasterId;
use proto_pki::LEAF_VALIDITY;

use crate::config::{Config, Limits, StoreLimits};
use crate::founding::{AUTHORITY, CREDENTIALS, Founding};

/// The command line of `stoa master`.
#[derive(Clone, Debug, clap::Args)]
pub struct MasterArgs {
    /// The number of this member, from 1; never used again after its disk was lost.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    id: u64,
    /// Where its door listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Every member of the group, this one included: NUMBER=HOST:PORT; once for each. The list that the group is founded with;
    /// once `stoa raft add`, `remove` or `replace` has changed it, the masters remember it themselves. Without, this master is
    /// the only one.
    #[arg(long = "member", value_parser = member)]
    members: Vec<(MasterId, String)>,
    /// Where its log and snapshots are kept. Empty at the first start: then it founds a cluster, or joins with a token.
    #[arg(long)]
    data_dir: PathBuf,
    /// The directory of its certificate: ca.pem, cert.pem, key.pem [default: credentials, in the data directory]
    #[arg(long)]
    credentials: Option<PathBuf>,
    /// The directory of the cluster's authority, with which others are let in [default: authority, in the data directory,
    /// if it is there]
    #[arg(long)]
    authority: Option<PathBuf>,
    /// A framework whose tasks may run as root, on agents that allow it too, such as framework/jobs; once for each.
    #[arg(long = "allow-root-tasks", value_name = "PRINCIPAL")]
    root_tasks: Vec<Caller>,
    /// The token that the founder printed for this member, for its first start.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "STOA_JOIN",
        hide_env_values = true,
        conflicts_with = "credentials"
    )]
    join: Option<String>,
    /// How long an unanswered offer stands, in seconds.
    #[arg(long)]
    offer_timeout_s: Option<u64>,
    /// How long an agent may be silent before its tasks are called unreachable, in seconds.
    #[arg(long)]
    agent_unreachable_after_s: Option<u64>,
    /// What a framework may keep in one space of the masters' store, from 64KiB to 64MiB. The same on all members: the leader's
    /// counts.
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = store_space_limit)]
    store_space_limit: u64,
    /// How large one value in it may be, from 1KiB to 2MiB.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = store_value_limit)]
    store_value_limit: u64,
    /// How many calls a second one principal may make, from 10 to 1,000,000; twice as many at once.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    calls_per_second: u64,
    /// How much of the pool one framework may hold in offers that it has not answered, in percent, while another wants something; 100:
    /// no bound.
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    hold_percent: u32,
    /// How much of the audit log is kept in the data directory, from 1MiB to 1TiB; the oldest goes first.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = audit_keep)]
    audit_keep: u64,
    /// How long a certificate is good that this master gives, in seconds, from 10 to ten years. Masters and agents renew theirs when
    /// two thirds of that are over; frameworks and people get a new one with a token.
    #[arg(long, value_name = "SECONDS", default_value_t = LEAF_VALIDITY.as_secs(), value_parser = clap::value_parser!(u64).range(10..=315_360_000))]
    certificate_lifetime_s: u64,
}

pub(crate) fn member(text: &str) -> Result<(MasterId, String), String> {
    let bad = || format!("{text:?} is not NUMBER=HOST:PORT, such as 1=10.0.0.1:7070");
    let (number, address) = text.split_once('=').ok_or_else(bad)?;
    let id = number.parse().ok().filter(|id| *id > 0).ok_or_else(bad)?;
    if !address.contains(':') {
        return Err(bad());
    }
    Ok((MasterId(id), address.to_owned()))
}

fn store_space_limit(text: &str) -> Result<u64, String> {
    size_within(text, (64 << 10, 64 << 20), "64KiB to 64MiB")
}

fn store_value_limit(text: &str) -> Result<u64, String> {
    size_within(text, (1 << 10, 2 << 20), "1KiB to 2MiB")
}

fn audit_keep(text: &str) -> Result<u64, String> {
    size_within(text, (1 << 20, 1 << 40), "1MiB to 1TiB")
}

fn size_within(text: &str, (least, most): (u64, u64), range: &str) -> Result<u64, String> {
    let bytes = proto::quantities::parse_bytes(text).map_err(|bad| bad.to_string())?;
    if (least..=most).contains(&bytes) { Ok(bytes) } else { Err(format!("it must be from {range}")) }
}

// === impl MasterArgs ===

impl MasterArgs {
    /// Every member; an error when this one is not among them.
    pub fn members(&self) -> Result<BTreeMap<MasterId, String>, String> {
        let id = MasterId(self.id);
        let mut members: BTreeMap<MasterId, String> = self.members.iter().cloned().collect();
        if members.is_empty() {
            members.insert(id, self.listen.to_string());
        }
        match members.contains_key(&id) {
            true => Ok(members),
            false => Err(format!("--id {id} is not among the members; add --member {id}=HOST:PORT")),
        }
    }

    /// How it founds a cluster or joins one, if it has no certificate yet; `operator` is what the founder is called. `None`:
    /// it was told where its certificate is.
    pub fn founding(&self, operator: String) -> Result<Option<Founding>, String> {
        let members = self.members()?;
        Ok(self.credentials.is_none().then(|| Founding {
            id: MasterId(self.id),
            members,
            data_dir: self.data_dir.clone(),
            join: self.join.clone(),
            operator,
        }))
    }

    /// What the process is told, once it has a certificate.
    pub fn config(self) -> Result<Config, String> {
        let mut members = self.members()?;
        let found = crate::founding::found_members(&self.data_dir)?;
        let founds = found.is_none();
        members.extend(found.into_iter().flatten());
        let own = self.data_dir.join(AUTHORITY);
        Ok(Config {
            id: MasterId(self.id),
            listen: self.listen,
            members,
            founds,
            credentials_dir: self.credentials.unwrap_or_else(|| self.data_dir.join(CREDENTIALS)),
            authority_dir: self.authority.or_else(|| Some(own).filter(|dir| dir.is_dir())),
            data_dir: self.data_dir,
            root_tasks: self.root_tasks.into_iter().collect(),
            offer_timeout: self.offer_timeout_s.map(Duration::from_secs),
            agent_unreachable_after: self.agent_unreachable_after_s.map(Duration::from_secs),
            store_limits: StoreLimits {
                space_bytes: self.store_space_limit,
                value_bytes: self.store_value_limit,
            },
            limits: Limits {
                calls_a_second: self.calls_per_second,
                hold_share_milli: self.hold_percent * 10,
                audit_bytes: self.audit_keep,
                certificate_lifetime: Duration::from_secs(self.certificate_lifetime_s),
            },
        })
    }
}
