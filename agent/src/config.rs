//! What an operator tells an agent: `Config` as it is given, `Settings` once it has been checked.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use proto::attributes::Attributes;
use proto_pki::{BadToken, JoinToken};
use serde::Deserialize;

pub use crate::args::AgentArgs;
use crate::declared::{BadDeclaration, Declared, parse_attributes};

const HOSTNAME_BYTES_MAX: usize = 253;
const ROOT: &str = "root";
/// The user that owns nothing, by convention of every Linux.
const NOBODY: &str = "nobody";
/// `LOGIN_NAME_MAX` of Linux, less its zero.
const USER_BYTES_MAX: usize = 255;

/// What an operator tells an agent, as it stands on the command line or in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the agent keeps its id, its ledger and the sandboxes.
    pub work_dir: PathBuf,
    /// `host:port` of the masters, at least one.
    pub masters: Vec<String>,
    /// Where the agent's own door listens. The default is a free port that only this machine reaches.
    #[serde(default = "local_port")]
    pub listen: SocketAddr,
    /// What others reach the door by, `host` or `host:port`; the default follows from `listen`.
    #[serde(default)]
    pub advertise: Option<String>,
    /// The name people know the machine by; the default is the system's.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Resources in place of those the machine has, such as `cpus:4;mem:8GiB`; what is not named stays as found.
    #[serde(default)]
    pub resources: Option<String>,
    /// What the machine is like, each `zone=b`.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// Where `ca.pem`, `cert.pem` and `key.pem` are.
    pub credentials_dir: PathBuf,
    /// The cgroup, below the root of each hierarchy, that holds the tasks' cgroups.
    #[serde(default = "cgroups_root")]
    pub cgroups_root: String,
    /// The user of tasks that name none. The default is the agent's own, and `nobody` where that is root.
    #[serde(default)]
    pub default_user: Option<String>,
    /// Let tasks run as root that name it, and whose framework the masters allow it. Who gives whole machines to one
    /// trusted framework wants it; nobody else does.
    #[serde(default)]
    pub allow_root_tasks: bool,
    /// A join token, for the first start: it gets the credentials that `credentials_dir` does not hold yet.
    #[serde(default)]
    pub join: Option<String>,
    /// So many agents share this machine: each offers its part of what is found.
    #[serde(default = "one")]
    pub share: u32,
    /// Directories that `file://` artifacts may come from; none by default, because an agent that runs as root can read
    /// what its tasks may not.
    #[serde(default)]
    pub artifact_roots: Vec<PathBuf>,
    /// Whether a task's cpus are a ceiling as well as a share. One operator wants a task's speed not to depend on its
    /// neighbours, another does not want idle cpus.
    #[serde(default = "yes")]
    pub cpu_quota: bool,
    /// For how long the sandbox of a task that is over is kept, in seconds; a day by default. Who reads logs late wants
    /// more, who runs many short tasks wants less.
    #[serde(default = "day")]
    pub sandbox_keep_s: u64,
    /// End all tasks, and the keeper, when the agent is asked to end: for clusters that must leave nothing behind.
    #[serde(default)]
    pub end_tasks_on_exit: bool,
}

/// A config that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Absolute.
    pub work_dir: PathBuf,
    /// `host:port` each, at least one, none twice.
    pub masters: Vec<String>,
    /// Where the agent's own door listens.
    pub listen: SocketAddr,
    /// The name people know the machine by, if not the system's.
    pub hostname: Option<String>,
    /// What stands in place of what the machine has.
    pub declared: Declared,
    /// What the machine is like.
    pub attributes: Attributes,
    /// Absolute.
    pub credentials_dir: PathBuf,
    /// Absolute below each hierarchy's root, without a slash at its end.
    pub cgroups_root: String,
    /// The user of tasks that name none, if not the usual one.
    pub default_user: Option<String>,
    /// Whether tasks may run as root.
    pub allow_root_tasks: bool,
    /// A join token.
    pub join: Option<JoinToken>,
    /// So many agents share this machine; at least one.
    pub share: u64,
    /// Absolute.
    pub artifact_roots: Vec<PathBuf>,
    /// Whether a task's cpus are a ceiling as well as a share.
    pub cpu_quota: bool,
    /// For how long the sandbox of a task that is over is kept.
    pub sandbox_keep: Duration,
    /// Whether all tasks end with the agent.
    pub end_tasks_on_exit: bool,
    advertise: Option<Advertised>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Advertised {
    host: String,
    port: Option<u16>,
}

/// Which part of a config is not taken, why, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// A field.
    #[error("{field}: {given:?} {why}")]
    Field {
        /// Which, by its name in [`Config`].
        field: &'static str,
        /// What was given.
        given: String,
        /// What is wrong with it, and the fix.
        why: String,
    },
    /// No master is named.
    #[error("masters: none is named; give the host:port of at least one")]
    NoMasters,
    /// A part of the resources.
    #[error("resources: {0}")]
    Resources(#[source] BadDeclaration),
    /// One of the attributes.
    #[error("attributes: {0}")]
    Attributes(#[source] BadDeclaration),
    /// The join token.
    #[error("join: {0}")]
    Join(#[source] BadToken),
    /// The file.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, with the line.
        why: String,
    },
}

// === impl Config ===

impl Config {
    /// A config with the usual values.
    pub fn new(work_dir: PathBuf, masters: Vec<String>, credentials_dir: PathBuf) -> Config {
        Config {
            work_dir,
            masters,
            listen: local_port(),
            advertise: None,
            hostname: None,
            resources: None,
            attributes: Vec::new(),
            credentials_dir,
            cgroups_root: cgroups_root(),
            default_user: None,
            allow_root_tasks: false,
            join: None,
            share: one(),
            artifact_roots: Vec::new(),
            cpu_quota: yes(),
            sandbox_keep_s: day(),
            end_tasks_on_exit: false,
        }
    }

    /// Reads a TOML file.
    pub fn load(path: &Path) -> Result<Config, BadConfig> {
        let bad = |why: String| BadConfig::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        toml::from_str(&text).map_err(|error| bad(error.to_string()))
    }

    /// Checks every field. Relative directories are taken from the working directory of now.
    pub fn check(self) -> Result<Settings, BadConfig> {
        let mut masters: Vec<String> = Vec::with_capacity(self.masters.len());
        for master in self.masters {
            check_master(&master).map_err(|why| field("masters", &master, why))?;
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
        if masters.is_empty() {
            return Err(BadConfig::NoMasters);
        }
        let advertise = self
            .advertise
            .map(|text| Advertised::parse(&text).map_err(|why| field("advertise", &text, why)))
            .transpose()?;
        if let Some(name) = &self.hostname {
            check_host(name).map_err(|why| field("hostname", name, why))?;
        }
        if let Some(user) = &self.default_user {
            check_user(user).map_err(|why| field("default_user", user, why))?;
            if user == ROOT && !self.allow_root_tasks {
                return Err(field("default_user", user, "needs allow_root_tasks; better name another user"));
            }
        }
        if self.share == 0 {
            return Err(field(
                "share",
                "0",
                "is nobody; write how many agents share this machine, 1 for this one alone",
            ));
        }
        // The token is a secret: it is not shown again.
        let join = self.join.map(|text| text.parse::<JoinToken>().map_err(BadConfig::Join)).transpose()?;
        let roots = self.artifact_roots.iter().map(|root| absolute("artifact_roots", root));
        let artifact_roots = roots.collect::<Result<_, _>>()?;
        let declared = self.resources.as_deref().map(Declared::parse).transpose();
        Ok(Settings {
            work_dir: absolute("work_dir", &self.work_dir)?,
            masters,
            listen: self.listen,
            hostname: self.hostname,
            declared: declared.map_err(BadConfig::Resources)?.unwrap_or_default(),
            attributes: parse_attributes(&self.attributes).map_err(BadConfig::Attributes)?,
            credentials_dir: absolute("credentials_dir", &self.credentials_dir)?,
            cgroups_root: check_cgroup(&self.cgroups_root)
                .map_err(|why| field("cgroups_root", &self.cgroups_root, why))?,
            default_user: self.default_user,
            allow_root_tasks: self.allow_root_tasks,
            join,
            share: u64::from(self.share),
            artifact_roots,
            cpu_quota: self.cpu_quota,
            sandbox_keep: Duration::from_secs(self.sandbox_keep_s),
            end_tasks_on_exit: self.end_tasks_on_exit,
            advertise,
        })
    }
}

// === impl Settings ===

impl Settings {
    /// The user of tasks that name none; `None`: the agent's own. An agent that runs as root does not hand that on to
    /// whoever forgets to say otherwise.
    pub fn task_user(&self, agent_is_root: bool) -> Option<String> {
        self.default_user.clone().or_else(|| agent_is_root.then(|| NOBODY.to_owned()))
    }

    /// What others reach the door by, once it listens at `bound`. `hostname` is the name people know the machine by; it
    /// stands in where the door listens on every interface.
    pub fn address(&self, bound: SocketAddr, hostname: &str) -> String {
        match &self.advertise {
            Some(Advertised { host, port }) => format!("{host}:{}", port.unwrap_or(bound.port())),
            None if bound.ip().is_unspecified() => format!("{hostname}:{}", bound.port()),
            None => bound.to_string(),
        }
    }
}

// === impl Advertised ===

impl Advertised {
    fn parse(text: &str) -> Result<Advertised, String> {
        let (host, port) = split_port(text)?;
        Ok(Advertised { host: host.to_owned(), port })
    }
}

fn local_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn cgroups_root() -> String {
    "/stoa".to_owned()
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn day() -> u64 {
    24 * 60 * 60
}

fn field(field: &'static str, given: &str, why: impl Into<String>) -> BadConfig {
    BadConfig::Field { field, given: given.to_owned(), why: why.into() }
}

fn check_master(text: &str) -> Result<(), String> {
    match split_port(text)? {
        (_, Some(_)) => Ok(()),
        (host, None) => Err(format!("has no port; write it as {host}:PORT")),
    }
}

/// `host`, `host:port`, `[ipv6]` or `[ipv6]:port`.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of a bare address in brackets is inside them.
        Some(_) if text.ends_with(']') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => {}
        Some(_) => return Err("has no IPv6 address between its brackets; write it as [::1]:PORT".to_owned()),
        None if host.contains(':') => {
            return Err("is an IPv6 address without brackets; write it as [ADDRESS]:PORT".to_owned());
        }
        None => check_host(host)?,
    }
    let Some(port) = port else { return Ok((host, None)) };
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        Ok(_) | Err(_) => Err("has no proper port; use 1 to 65535 after the ':'".to_owned()),
    }
}

fn check_host(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > HOSTNAME_BYTES_MAX || !name.chars().all(good) {
        return Err("is not a host's name; use letters, digits and - _ .".to_owned());
    }
    Ok(())
}

fn check_user(name: &str) -> Result<(), String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/');
    if name.is_empty() || name.len() > USER_BYTES_MAX || name.contains(bad) {
        return Err("is not a user; name one as it stands in /etc/passwd".to_owned());
    }
    Ok(())
}

fn check_cgroup(text: &str) -> Result<String, String> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || path.parent().is_none() || text.contains(char::is_control) {
        return Err("is not a cgroup's path; write it as /stoa".to_owned());
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(format!("/{}", parts.join("/")))
}

fn absolute(name: &'static str, path: &Path) -> Result<PathBuf, BadConfig> {
    std::path::absolute(path).map_err(|error| {
        field(
            name,
            &path.to_string_lossy(),
            format!("is not a directory's path: {error}; give an absolute one"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new("/var/lib/stoa".into(), vec!["m1:5050".to_owned()], "/etc/stoa".into())
    }

    fn why(change: impl FnOnce(&mut Config)) -> String {
        let mut config = config();
        change(&mut config);
        config.check().expect_err("refused").to_string()
    }

    #[test]
    fn a_file_may_leave_out_all_that_has_a_default() {
        let text = "work_dir = '/var/lib/stoa'\nmasters = ['m1:5050']\ncredentials_dir = '/etc/stoa'";
        assert_eq!(toml::from_str::<Config>(text).unwrap(), config());
        let misspelt = format!("{text}\nresource = 'cpus:1'");
        assert!(toml::from_str::<Config>(&misspelt).unwrap_err().to_string().contains("resource"));
    }

    #[test]
    fn the_usual_values_are_good() {
        let settings = config().check().unwrap();
        assert_eq!(settings.cgroups_root, "/stoa");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:0");
        assert_eq!(settings.declared, Declared::default());
    }

    #[test]
    fn relative_directories_become_absolute() {
        let mut given = config();
        given.work_dir = "here".into();
        given.cgroups_root = "/a//b/".into();
        let settings = given.check().unwrap();
        assert!(settings.work_dir.is_absolute() && settings.work_dir.ends_with("here"));
        assert_eq!(settings.cgroups_root, "/a/b");
    }

    #[test]
    fn the_address_follows_from_what_is_advertised_and_bound() {
        let address = |advertise: Option<&str>, bound: &str| {
            let mut given = config();
            given.advertise = advertise.map(str::to_owned);
            given.check().unwrap().address(bound.parse().unwrap(), "node-1")
        };
        assert_eq!(address(None, "127.0.0.1:41"), "127.0.0.1:41");
        assert_eq!(address(None, "0.0.0.0:41"), "node-1:41");
        assert_eq!(address(Some("n1.example"), "0.0.0.0:41"), "n1.example:41");
        assert_eq!(address(Some("n1.example:7"), "0.0.0.0:41"), "n1.example:7");
        assert_eq!(address(Some("[fe80::1]"), "[::]:41"), "[fe80::1]:41");
        assert_eq!(address(Some("[fe80::1]:7"), "[::]:41"), "[fe80::1]:7");
    }

    #[test]
    fn root_is_nobodys_user_by_default() {
        let user = |change: fn(&mut Config), agent_is_root| {
            let mut config = config();
            change(&mut config);
            config.check().unwrap().task_user(agent_is_root)
        };
        assert_eq!(user(|_| {}, true).as_deref(), Some("nobody"));
        assert_eq!(user(|c| c.allow_root_tasks = true, true).as_deref(), Some("nobody"));
        assert_eq!(user(|_| {}, false), None);
        assert_eq!(user(|c| c.default_user = Some("web".into()), true).as_deref(), Some("web"));
        let root = |c: &mut Config| c.default_user = Some("root".into());
        assert!(why(root).contains("allow_root_tasks"));
        let granted = |c: &mut Config| (c.default_user, c.allow_root_tasks) = (Some("root".into()), true);
        assert_eq!(user(granted, true).as_deref(), Some("root"));
    }

    #[test]
    fn a_refusal_names_the_field_and_the_fix() {
        assert_eq!(why(|c| c.masters.clear()), BadConfig::NoMasters.to_string());
        assert_eq!(why(|c| c.masters.push("m2".into())), r#"masters: "m2" has no port; write it as m2:PORT"#);
        for master in ["", ":1", "m2:", "m2:0", "m2:70000", "http://m2:1", "::1:5", "[::1", "[x]:1", "m 2:1"]
        {
            let said = why(|c| c.masters.push(master.into()));
            assert!(said.starts_with("masters: "), "{master}: {said}");
        }
        assert!(why(|c| c.advertise = Some("a b".into())).starts_with("advertise: "));
        assert!(why(|c| c.hostname = Some(String::new())).starts_with("hostname: "));
        assert!(why(|c| c.default_user = Some("root:x".into())).starts_with("default_user: "));
        assert!(why(|c| c.resources = Some("mem:1".into())).starts_with("resources: \"mem:1\" "));
        assert!(why(|c| c.attributes.push("zone".into())).starts_with("attributes: \"zone\" "));
        assert!(why(|c| c.work_dir = PathBuf::new()).starts_with("work_dir: "));
        for root in ["", "/", "stoa", "/../x", "/a/../b"] {
            assert!(why(|c| c.cgroups_root = root.into()).starts_with("cgroups_root: "), "{root}");
        }
    }
}
