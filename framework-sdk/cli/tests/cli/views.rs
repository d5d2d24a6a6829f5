//! Fixed things to show, some of them hostile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::agent::{AgentInfo, AgentState};
use proto::attributes::{AttributeValue, Attributes};
use proto::authorize::{action_of, authorize, verbs_of};
use proto::caller::Caller;
use proto::explain::{Explanation, FunnelStep, NearMiss, Remedy, RemedyStep, Waiting, WaitingGroup};
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, Epoch, FrameworkId, MasterId, OfferId, RunId, SecretName, TaskId, VolumeId};
use proto::operator::{
    AgentView, CanI, Drain, FrameworkView, Happened, MemberView, OfferView, PrincipalView, Raft, ReplyKind,
    RoleView, SecretView, Snapshot, Status, TaskView, Verdict,
};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::ranges::Ranges;
use proto::resources::{Amount, Portion, Resources};
use proto::rights::Rights;
use proto::role::{Role, Weight};
use proto::roster::Standing;
use proto::task::{CommandInfo, Exit, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus};

pub const GIB: u64 = 1 << 30;
/// The time of every test.
pub const NOW_MS: u64 = 1_760_000_000_000;
/// What nobody may do to a terminal.
pub const HOSTILE: &str = "evil\u{1b}[2J\u{1b}]0;pwned\u{7}\nroot\u{202e}txt";

pub fn ago(seconds: u64) -> u64 {
    NOW_MS - seconds * 1000
}

fn resources(cpus_milli: u64, mem: u64) -> Resources {
    Resources::unreserved(Amount::scalars(Quantities::of(cpus_milli, mem)))
}

pub fn agent(id: &str, state: AgentState, address: &str) -> AgentView {
    let amount = Amount::scalars(Quantities::of(4000, 8 * GIB).with_disk(100 * GIB))
        .with_ports(Ranges::single(31000, 32000));
    let mut attributes = BTreeMap::new();
    attributes.insert("zone".to_owned(), AttributeValue::Text("b".to_owned()));
    attributes.insert("rack".to_owned(), AttributeValue::Scalar(12_000));
    AgentView {
        info: AgentInfo {
            id: AgentId::new(id).unwrap(),
            hostname: format!("node-{id}"),
            address: address.to_owned(),
            resources: Resources::unreserved(amount.clone()),
            attributes: Attributes(attributes),
            version: "0.1.0".to_owned(),
        },
        state,
        total: Resources::unreserved(amount),
        used: Quantities::of(1500, GIB),
        offered: Quantities::of(2500, 7 * GIB),
        tasks: 2,
        since_ms: ago(3700),
        drain: None,
    }
}

pub fn framework() -> FrameworkView {
    FrameworkView {
        id: FrameworkId::new("F-1").unwrap(),
        info: FrameworkInfo {
            name: "jobs".to_owned(),
            roles: vec![Role::new("default").unwrap(), Role::new("eng/web").unwrap()],
            failover_timeout: Duration::from_secs(7 * 24 * 3600),
            address: "127.0.0.1:9001".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        },
        principal: "jobs".to_owned(),
        connected: true,
        used: Quantities::of(1500, GIB),
        offered: Quantities::ZERO,
        tasks: 2,
        since_ms: ago(90),
        suppressed_roles: vec![Role::new("eng/web").unwrap()],
    }
}

pub fn task(id: &str, state: TaskState) -> TaskView {
    let mut status = TaskStatus::by_master(TaskId::new(id).unwrap(), state, StatusReason::None, "", ago(60));
    status.source = StatusSource::Agent;
    status.run = Some(RunId::at(9, 1));
    if state == TaskState::Running {
        status.pid = 4711;
    }
    TaskView {
        framework: FrameworkId::new("F-1").unwrap(),
        framework_name: "jobs".to_owned(),
        info: TaskInfo {
            id: TaskId::new(id).unwrap(),
            name: "web".to_owned(),
            command: CommandInfo {
                argv: vec!["serve".to_owned(), "--port".to_owned(), "31000".to_owned()],
                env: BTreeMap::from([("PASSWORD".to_owned(), "hunter2".to_owned())]),
                ..CommandInfo::default()
            },
            resources: resources(500, GIB / 2),
            kill_grace: Duration::from_secs(3),
            labels: BTreeMap::new(),
            group: None,
            checks: proto::check::Checks::default(),
            longest_run: None,
        }
        .into(),
        agent: AgentId::new("a1").unwrap(),
        hostname: "node-a1".to_owned(),
        status,
        role: Role::new("eng/web").unwrap(),
        accepted_ms: ago(7200),
    }
}

pub fn failed_task() -> TaskView {
    let mut task = task("batch.10", TaskState::Failed);
    task.status.reason = StatusReason::CommandExited;
    task.status.exit = Some(Exit::Code(3));
    task.status.message = HOSTILE.to_owned();
    task
}

pub fn offer() -> OfferView {
    OfferView {
        id: OfferId { epoch: Epoch(3), number: 42 },
        framework: FrameworkId::new("F-1").unwrap(),
        framework_name: "jobs".to_owned(),
        agent: AgentId::new("a1").unwrap(),
        hostname: "node-a1".to_owned(),
        role: Role::new("default").unwrap(),
        resources: resources(2500, 7 * GIB),
        made_ms: ago(4),
    }
}

pub fn role() -> RoleView {
    RoleView {
        role: Role::new("eng").unwrap(),
        weight: Weight::from_milli(2500).unwrap(),
        quota: Quota {
            guarantees: Quantities::of(2000, 0),
            limits: Limits(BTreeMap::from([(Scalar::Cpus, 8000), (Scalar::Mem, 16 * GIB)])),
        },
        used: Quantities::of(1500, GIB),
        offered: Quantities::ZERO,
        reserved: Quantities::ZERO,
        frameworks: 1,
    }
}

pub fn plain_role() -> RoleView {
    RoleView {
        role: Role::default_role(),
        weight: Weight::default(),
        quota: Quota::default(),
        used: Quantities::ZERO,
        offered: Quantities::of(2500, 7 * GIB),
        reserved: Quantities::ZERO,
        frameworks: 1,
    }
}

/// What happened to the small pool.
pub fn history() -> Vec<Happened> {
    let agent = AgentId::new("a1").ok();
    let framework = FrameworkId::new("F-1").ok();
    let told = |sequence, kind: &'static str| Happened {
        sequence,
        at_ms: ago(100 - sequence),
        index: 90,
        kind: kind.into(),
        ..Happened::default()
    };
    vec![
        Happened { agent: agent.clone(), ..told(7, "agent-admitted") },
        Happened {
            subject: "eng/web".to_owned(),
            message: "2500 thousandths".to_owned(),
            ..told(8, "weight-set")
        },
        Happened {
            agent: agent.clone(),
            framework: framework.clone(),
            task: TaskId::new("web.2").ok(),
            message: format!("failed: {HOSTILE}"),
            ..told(9, "task-ended")
        },
        Happened { agent, ..told(10, "agent-drained") },
    ]
}

/// A principal with all roles.
pub fn principal(name: &str, set: bool) -> PrincipalView {
    let principal: Caller = name.parse().unwrap();
    let may = verbs_of(&principal).into_iter().map(str::to_owned).collect();
    PrincipalView { principal, rights: Rights::all(), set, may }
}

/// What the masters would say of a principal with the rights of its kind.
pub fn verdict(asked: &CanI) -> ReplyKind {
    let principal = asked.principal.clone().unwrap_or(Caller::User("ada".to_owned()));
    match action_of(asked, &Rights::of_kind(&principal), &BTreeSet::new()) {
        Err(refusal) => ReplyKind::Refused(refusal),
        Ok(action) => {
            let refusal = authorize(&principal, &action).err();
            let allowed = refusal.is_none();
            let (why, help) = refusal.map(|refusal| (refusal.message, refusal.help)).unwrap_or_default();
            ReplyKind::Verdict(Verdict { allowed, principal: principal.to_string(), why, help })
        }
    }
}

/// The same, with a reservation and a volume of the role eng.
fn keeping(total: &Resources) -> Resources {
    let role = Role::new("eng").unwrap();
    let kept = Amount::scalars(Quantities::of(1000, GIB)).with_ports(Ranges::single(31000, 31009));
    let disk = Amount::scalars(Quantities::ZERO.with_disk(20 * GIB));
    let mut rest = total.clone();
    assert!(rest.try_sub(&Resources::unreserved(kept.clone())));
    assert!(rest.try_sub(&Resources::unreserved(disk.clone())));
    rest.add(&Resources::reserved(role.clone(), kept));
    let volume = VolumeId::new("data").ok();
    rest.add_portion(&Portion { reservation: Some(role), volume, amount: disk });
    rest
}

/// A small pool: two agents, one hostile name, tasks that run and one that failed.
pub fn secrets() -> Vec<SecretView> {
    let secret = |role: &str, name: &str, version, size_bytes| SecretView {
        role: Role::new(role).unwrap(),
        name: SecretName::new(name).unwrap(),
        version,
        size_bytes,
        changed_ms: ago(3600 * version),
    };
    vec![secret("default", "db-password", 3, 24), secret("eng/web", "tls.key", 1, 3272)]
}

pub fn snapshot() -> Snapshot {
    let mut draining = agent("a3", AgentState::Active, "10.0.0.3:7100");
    draining.drain = Some(Drain {
        since_ms: ago(600),
        deadline_ms: NOW_MS + 1_800_000,
        reason: "new disk".to_owned(),
        by: "user/ada".to_owned(),
    });
    draining.total = keeping(&draining.total);
    let mut hostile = agent("a2", AgentState::Unreachable, "10.0.0.2:7100");
    hostile.info.hostname = HOSTILE.to_owned();
    Snapshot {
        agents: vec![agent("a1", AgentState::Active, "10.0.0.1:7100"), hostile, draining],
        frameworks: vec![framework()],
        tasks: vec![task("web.10", TaskState::Staging), task("web.2", TaskState::Running), failed_task()],
        offers: vec![offer()],
        roles: vec![role(), plain_role()],
    }
}

/// A page of metrics on which all is well.
pub fn page(log: &str) -> String {
    let labels = "role=\"x\",id=\"1\"";
    let now = NOW_MS / 1000;
    let value = |name: &str, value: u64| format!("{name}{{{labels}}} {value}\n");
    let mut page = [
        value("process_clock_seconds", now),
        value("certificate_ends_seconds", now + 20 * 3600),
        value("certificate_renews_seconds", now + 12 * 3600),
        value("directory_bytes", 1000),
        value("directory_free_bytes", 500),
        value("directory_inodes", 1000),
        value("directory_free_inodes", 900),
        value("process_open_fds", 20),
        value("process_max_fds", 65536),
        value("authority_key_exposed", 0),
    ]
    .concat();
    page.push_str(&format!("build_info{{{labels},version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION")));
    page.push_str(&format!("{log}_bucket{{{labels},le=\"0.025\"}} 1000\n{log}_count{{{labels}}} 1000\n"));
    page
}

pub fn explanation() -> Explanation {
    let step = |name: &str, left: u64, fell_out: &[&str], more: u64| FunnelStep {
        name: name.to_owned(),
        left,
        fell_out: fell_out.iter().map(|name| (*name).to_owned()).collect(),
        more,
        names: Vec::new(),
    };
    Explanation {
        subject: "task jobs/web.10".to_owned(),
        code: "no-room".to_owned(),
        verdict: "no agent has 4 cpus free; 3 would fit it if they were empty".to_owned(),
        funnel: vec![
            step("all", 50, &[], 0),
            step("alive", 49, &["node-a2"], 0),
            step("constraints", 5, &["n1", "n2", "n3", "n4", "n5"], 39),
            step("cpus", 0, &["n6", "n7", HOSTILE, "n8", "n9"], 0),
        ],
        nearest: vec![
            NearMiss {
                agent: AgentId::new("a6").unwrap(),
                hostname: "n6".to_owned(),
                lacking: Amount::scalars(Quantities::of(1500, 0)),
                rule: String::new(),
            },
            NearMiss {
                agent: AgentId::new("a7").unwrap(),
                hostname: "n7".to_owned(),
                lacking: Amount::default(),
                rule: "reserved for eng/web".to_owned(),
            },
        ],
        help: vec!["when n6 is resumed: then it is offered n6".to_owned()],
        tried: vec![
            Remedy {
                steps: vec![RemedyStep {
                    kind: "task-ends".to_owned(),
                    change: "when task jobs/etl.3 on n6 ends (cpus:1)".to_owned(),
                    agent: Some(AgentId::new("a6").unwrap()),
                    framework: Some(FrameworkId::new("f1").unwrap()),
                    task: Some(TaskId::new("etl.3").unwrap()),
                    ..RemedyStep::default()
                }],
                helps: false,
                outcome: "role eng would pass its limit of cpus:4".to_owned(),
                code: "quota-limit".to_owned(),
            },
            Remedy {
                steps: vec![RemedyStep {
                    kind: "resume-agent".to_owned(),
                    change: "when n6 is resumed".to_owned(),
                    command: "stoa agent resume a6".to_owned(),
                    agent: Some(AgentId::new("a6").unwrap()),
                    ..RemedyStep::default()
                }],
                helps: true,
                outcome: "it is offered n6".to_owned(),
                code: "served".to_owned(),
            },
        ],
        untried: 2,
        notes: vec![format!("this master leads since 3 s {HOSTILE}")],
        waiting_ms: 90_000,
        fits: 0,
    }
}

pub fn waiting() -> Waiting {
    let group = |code: &str, demands, units, example: &str| WaitingGroup {
        code: code.to_owned(),
        demands,
        units,
        frameworks: 2,
        oldest_ms: 3_725_000,
        framework: "spark".to_owned(),
        role: "eng".to_owned(),
        example: example.to_owned(),
        verdict: format!("too much is in use {HOSTILE}"),
    };
    Waiting {
        demands: 12,
        units: 40,
        oldest_ms: 3_725_000,
        groups: vec![group("no-room", 10, 38, "spark/web"), group("constraints", 2, 2, HOSTILE)],
        worst_framework: "spark".to_owned(),
        worst_role: "eng".to_owned(),
        best: Some(Remedy {
            steps: vec![RemedyStep {
                kind: "limit".to_owned(),
                change: "without the limits of role eng".to_owned(),
                command: "stoa quota clear eng".to_owned(),
                role: Some(Role::new("eng").unwrap()),
                ..RemedyStep::default()
            }],
            helps: true,
            outcome: "20 units of 5 demands are offered".to_owned(),
            code: "served".to_owned(),
        }),
        best_demands: 5,
        best_units: 20,
        tried: 4,
        unexamined: 3,
        undeclared: 1,
        notes: vec!["times are counted since this master leads, which is 40 s".to_owned()],
    }
}

pub fn members(leader: Option<u64>, silent: &[u64]) -> Raft {
    let member = |id: u64| MemberView {
        id: MasterId(id),
        address: format!("127.0.0.1:700{id}"),
        pid: if id == 3 { 0 } else { 100 + u32::try_from(id).unwrap() },
        leader: leader == Some(id),
        alive: !silent.contains(&id),
        matched: if leader.is_some() { 90 + id } else { 0 },
        standing: Standing::Votes,
    };
    Raft { members: (1..=3).map(member).collect(), term: 4, applied: 93, next_id: 4, ..Raft::default() }
}

pub fn status(agents_lost: u64) -> Status {
    Status {
        masters: 3,
        masters_alive: 3,
        agents_active: 3 - agents_lost,
        agents_lost,
        frameworks_connected: 1,
        frameworks_disconnected: 0,
        tasks_running: 2,
        total: Quantities::of(12_000, 24 * GIB),
        used: Quantities::of(1500, GIB),
    }
}
