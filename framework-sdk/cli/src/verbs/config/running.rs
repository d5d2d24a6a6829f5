//! A file of settings against the cluster that runs: whether what it names is there, is of this cluster, and may be had.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proto::operator::{Call, CanI, MemberView, ReplyKind};
use proto_grpc::PeerRole;
use proto_pki::{Credentials, Identity, JoinToken};

use crate::client::Client;
use crate::failure::{Failure, Stop};
use crate::settings::{Origin, Role, Setting};
use crate::verbs::doctor::vitals::{self, Whose};
use crate::verbs::doctor::{Check, PATIENCE, certificate, fail, names, nobody, ok, reachable, warn};
use crate::verbs::other_answer;

/// What somebody does who takes offers.
const TAKES_OFFERS: &str = "subscribe";

/// What a file says of one role.
pub(super) type Said = (Role, Vec<Setting>);

/// The cluster as it is found.
struct Running<'a> {
    client: &'a Client,
    members: Vec<MemberView>,
    ca_sha256: Option<[u8; 32]>,
    now_ms: u64,
}

/// Everything that can be said of a file from here.
pub(super) async fn check(client: &Client, said: &[Said], clock: fn() -> u64) -> Result<Vec<Check>, Stop> {
    let members = match client.ask(Call::Raft).await {
        Ok(reply) => match reply.kind {
            ReplyKind::Raft(raft) => raft.members,
            _ => return Err(other_answer("the group of masters").into()),
        },
        Err(error) => return Ok(vec![nobody(error)]),
    };
    let ca_sha256 = client.credentials().ca_sha256().ok();
    let running = Running { client, members, ca_sha256, now_ms: clock() };
    let mut checks = vec![certificate(client.credentials(), clock())];
    for (role, settings) in said {
        let of = |name: &str| settings.iter().find(|setting| setting.name == name);
        match role {
            Role::Master => checks.extend(of("member").map(|setting| running.members_of(setting))),
            Role::Agent | Role::Jobs => {
                if let Some(setting) = of("master") {
                    checks.extend(running.masters(*role, setting).await);
                }
            }
        }
        checks.extend(of("join").map(|setting| running.token(*role, setting)));
        checks.extend(of("credentials").and_then(|setting| running.credentials(*role, setting)));
        if let Some(setting) = of("role").filter(|_| *role == Role::Jobs) {
            checks.extend(running.takes_offers(setting).await);
        }
    }
    let doors = running.members.iter().filter(|member| member.alive).map(|member| Whose {
        name: format!("master {}", member.id),
        address: member.address.clone(),
        role: PeerRole::Master,
    });
    checks.extend(vitals::clocks_of(&vitals::look(doors.collect(), client.credentials(), clock).await));
    Ok(checks)
}

/// Where a setting stands, for people.
fn place(role: Role, setting: &Setting) -> String {
    let line = match &setting.origin {
        Origin::File(_, line) => format!(" (line {line})"),
        Origin::Default | Origin::Environment(_) | Origin::Flag => String::new(),
    };
    format!("{}.{}{line}", role.as_str(), setting.name)
}

// === impl Running ===

impl Running<'_> {
    fn addresses(&self) -> String {
        names(self.members.iter().map(|member| member.address.as_str()))
    }

    /// The masters that an agent or a framework is to find.
    async fn masters(&self, role: Role, setting: &Setting) -> Vec<Check> {
        let mut checks = Vec::new();
        let (mut found, mut any_other) = (BTreeSet::new(), false);
        for address in &setting.values {
            match self.members.iter().find(|member| member.address == *address) {
                Some(member) => {
                    found.insert(member.id);
                    checks.push(reachable(self.client, address).await);
                }
                None => match self.by_another_name(address).await {
                    Ok(()) => {
                        any_other = true;
                        checks.push(ok("masters", format!("a master of this cluster answers at {address}")));
                    }
                    Err(why) => checks.push(fail(
                        "masters",
                        format!(
                            "{}: no master of this cluster answers at {address}: {why}",
                            place(role, setting)
                        ),
                        format!("they are at {}", self.addresses()),
                    )),
                },
            }
        }
        let missing: Vec<&str> = (self.members.iter().filter(|member| !found.contains(&member.id)))
            .map(|member| member.address.as_str())
            .collect();
        // Which of them is behind another name cannot be said.
        if !missing.is_empty() && !found.is_empty() && !any_other {
            let what = format!("{} does not name {}", place(role, setting), names(missing.into_iter()));
            let fix = "name all masters, so that the group is found whichever of them is down";
            checks.push(warn("masters", what, fix));
        }
        checks
    }

    /// Who answers at an address that the group does not know itself by.
    async fn by_another_name(&self, address: &str) -> Result<(), String> {
        let there = self.client.only(address).with_patience(PATIENCE);
        there.ask(Call::RaftHere).await.map(drop).map_err(|error| Failure::from(error).message)
    }

    /// The members that a master is started with: those of the founding, or where one that comes later looks first.
    fn members_of(&self, setting: &Setting) -> Check {
        let told: BTreeSet<&str> = setting.values.iter().map(String::as_str).collect();
        let known: BTreeSet<String> =
            self.members.iter().map(|member| format!("{}={}", member.id, member.address)).collect();
        let strange: Vec<&str> = told.iter().filter(|member| !known.contains(**member)).copied().collect();
        let missing: Vec<&str> =
            known.iter().map(String::as_str).filter(|member| !told.contains(member)).collect();
        if strange.is_empty() && missing.is_empty() {
            return ok("members", format!("the {} members are those of the group", known.len()));
        }
        let nobody = strange.len() == told.len();
        let mut differs = Vec::new();
        differs.extend(
            (!strange.is_empty()).then(|| format!("are not of the group: {}", names(strange.into_iter()))),
        );
        differs
            .extend((!missing.is_empty()).then(|| format!("are not named: {}", names(missing.into_iter()))));
        let what = format!("{}: {}", place(Role::Master, setting), differs.join("; "));
        let fix = "name the masters that there are: `stoa raft status`; once their list was changed, those that run go by \
                   what they remember of it";
        if nobody { fail("members", what, fix) } else { warn("members", what, fix) }
    }

    fn token(&self, role: Role, setting: &Setting) -> Check {
        let (name, fix) = ("token", "make one with `stoa token create`, and copy it whole");
        let of_setting = place(role, setting);
        let token = setting.values.first().map(|text| text.parse::<JoinToken>());
        match token {
            Some(Ok(token)) if Some(token.ca_sha256) == self.ca_sha256 => ok(
                name,
                format!("{of_setting} is of this cluster; whether it is used up is seen when it is used"),
            ),
            Some(Ok(_)) => fail(name, format!("{of_setting} is of another cluster"), fix),
            Some(Err(bad)) => fail(name, format!("{of_setting}: {bad}"), fix),
            None => fail(name, format!("{of_setting} is empty"), fix),
        }
    }

    /// The certificate that a process is to show; nothing where it has none yet and is to join.
    fn credentials(&self, role: Role, setting: &Setting) -> Option<Check> {
        let (name, of_setting) = ("credentials", place(role, setting));
        let dir = Path::new(setting.values.first()?);
        if !Credentials::exist(dir) {
            let what = format!("{of_setting}: {} holds none yet", dir.display());
            return Some(warn(name, what, "the process needs a token the first time (--join)"));
        }
        let fix = "take them from this cluster, or ask for new ones: `stoa token create`, then `stoa join`";
        let credentials = match Credentials::load(dir) {
            Ok(credentials) => credentials,
            Err(error) => return Some(fail(name, format!("{of_setting}: {error}"), fix)),
        };
        if credentials.ca_sha256().ok() != self.ca_sha256 {
            return Some(fail(name, format!("{of_setting}: they are of another cluster"), fix));
        }
        let identity = match credentials.identity() {
            Ok((_, identity)) => identity,
            Err(error) => return Some(fail(name, format!("{of_setting}: {error}"), fix)),
        };
        let fits = matches!(
            (role, &identity),
            (Role::Master, Identity::Master(_))
                | (Role::Agent, Identity::Agent(_))
                | (Role::Jobs, Identity::Framework(_))
        );
        if !fits {
            let what = format!("{of_setting}: they are {identity}'s, which is no {}", role.as_str());
            return Some(fail(name, what, fix));
        }
        let left = credentials.expires_ms().map(|at| Duration::from_millis(at.saturating_sub(self.now_ms)));
        Some(match left {
            Ok(Duration::ZERO) => fail(name, format!("{of_setting}: they are out of time"), fix),
            Ok(_) => ok(name, format!("{of_setting}: {identity} of this cluster")),
            Err(error) => fail(name, format!("{of_setting}: {error}"), fix),
        })
    }

    /// Whether the jobs framework may take offers in its role.
    async fn takes_offers(&self, setting: &Setting) -> Option<Check> {
        let role = setting.values.first()?.parse().ok()?;
        let asked = CanI {
            verb: TAKES_OFFERS.to_owned(),
            role: Some(role),
            user: String::new(),
            owner: String::new(),
            principal: "framework/jobs".parse().ok(),
        };
        let of_setting = place(Role::Jobs, setting);
        // Who may not ask is told nothing.
        let ReplyKind::Verdict(verdict) = self.client.ask(Call::CanI(asked)).await.ok()?.kind else {
            return None;
        };
        Some(match verdict.allowed {
            true => ok("rights", format!("{of_setting}: {} may take offers there", verdict.principal)),
            false => fail("rights", format!("{of_setting}: {}", verdict.why), verdict.help),
        })
    }
}
