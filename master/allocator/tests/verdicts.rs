//! Each verdict of an explanation, in the smallest pool that gives it, with what is near and what would help.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use master_allocator::{Allocator, Away, Change, Config, Grant, Outside};
use proto::agent::AgentInfo;
use proto::attributes::{AttributeValue, Attributes, Constraint, Constraints};
use proto::demand::Demand;
use proto::explain::Explanation;
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto_machine::Instant;

struct Pool {
    allocator: Allocator,
    now: Instant,
}

impl Pool {
    fn new() -> Pool {
        Pool::with(Config::default())
    }

    fn with(config: Config) -> Pool {
        Pool { allocator: Allocator::new(config), now: Instant::from_nanos(1 << 40) }
    }

    fn tell(&mut self, change: Change) {
        let told = format!("{change:?}");
        assert!(self.allocator.apply(self.now, change), "{told}");
    }

    fn agent(&mut self, name: &str, total: Resources) {
        let zone = AttributeValue::Text("a".into());
        let info = AgentInfo {
            id: AgentId::new(name).unwrap(),
            hostname: format!("host-{name}"),
            address: String::new(),
            resources: Resources::EMPTY,
            attributes: Attributes(BTreeMap::from([("zone".to_owned(), zone)])),
            version: String::new(),
        };
        self.tell(Change::AgentAdded { info: Arc::new(info), total, active: true });
    }

    /// One in a role of its own name.
    fn framework(&mut self, name: &str) {
        self.tell(Change::FrameworkAdded { id: id(name), roles: vec![role(name)], suppressed: vec![] });
    }

    /// A framework that wants `count` times so many cpus.
    fn wants(&mut self, name: &str, milli: u64, count: u64) {
        self.wants_where(name, milli, count, Constraints::default());
    }

    fn wants_where(&mut self, name: &str, milli: u64, count: u64, constraints: Constraints) {
        self.framework(name);
        let demand = Demand {
            id: web(),
            role: role(name),
            shape: Amount::scalars(cpus(milli)),
            count,
            constraints,
            priority: 0,
        };
        self.tell(Change::Demands { framework: id(name), demands: vec![demand], demand_driven: true });
    }

    fn uses(&mut self, name: &str, agent: &str, milli: u64) {
        self.tell(Change::Charged {
            framework: id(name),
            role: role(name),
            agent: AgentId::new(agent).unwrap(),
            resources: open(milli),
        });
    }

    fn quota(&mut self, name: &str, guaranteed: u64, limit: Option<u64>) {
        let limits = Limits(limit.map(|milli| (Scalar::Cpus, milli)).into_iter().collect());
        self.tell(Change::QuotaSet {
            role: role(name),
            quota: Quota { guarantees: cpus(guaranteed), limits },
        });
    }

    fn allocate(&mut self) -> Vec<Grant> {
        self.allocator.allocate(self.now)
    }

    /// The only explanation of a framework.
    fn explain(&self, name: &str) -> Explanation {
        let mut all = self.explain_all(name, None);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn explain_all(&self, name: &str, demand: Option<&DemandId>) -> Vec<Explanation> {
        asked(|outside| self.allocator.explain(&id(name), demand, outside, self.now))
    }
}

/// Asks with nothing from outside but names.
fn asked<T>(answer: impl FnOnce(&Outside<'_>) -> T) -> T {
    answer(&Outside {
        name: &|id| format!("<{id}>"),
        away: &|_| Away::default(),
        tasks: &|_| Vec::new(),
        absent: &[],
    })
}

fn id(name: &str) -> FrameworkId {
    FrameworkId::new(name).unwrap()
}

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

fn web() -> DemandId {
    DemandId::new("web").unwrap()
}

fn cpus(milli: u64) -> Quantities {
    Quantities::of(milli, 0)
}

fn open(milli: u64) -> Resources {
    Resources::unreserved(Amount::scalars(cpus(milli)))
}

fn steps(told: &Explanation) -> Vec<(&str, u64)> {
    told.funnel.iter().map(|step| (step.name.as_str(), step.left)).collect()
}

#[test]
fn what_the_next_allocation_gives_is_served_and_so_is_what_is_offered() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.wants("jobs", 1000, 1);
    let told = pool.explain("jobs");
    assert_eq!((&*told.code, &*told.verdict), ("served", "an offer for it is about to be made"));
    assert_eq!(pool.allocate().len(), 1);
    let told = pool.explain("jobs");
    assert_eq!(told.code, "served");
    assert!(told.verdict.contains("all 1 are open"), "{told:?}");
    assert!(told.subject.contains("<jobs>"), "names, not ids: {told:?}");
}

#[test]
fn who_declares_nothing_wants_nothing() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.framework("jobs");
    pool.tell(Change::Demands { framework: id("jobs"), demands: vec![], demand_driven: true });
    assert_eq!(pool.explain("jobs").code, "wants-nothing");
    pool.wants("jobs", 1000, 0);
    assert_eq!(pool.explain("jobs").code, "wants-nothing");
    assert!(pool.explain_all("other", None).is_empty());
}

#[test]
fn without_agents_there_is_nothing_to_offer() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.wants("jobs", 1000, 1);
    pool.tell(Change::AgentActive { agent: AgentId::new("a").unwrap(), active: false });
    let told = pool.explain("jobs");
    assert_eq!(told.code, "agent-disconnected");
    assert_eq!(steps(&told)[..2], [("all", 1), ("alive", 0)]);
    assert_eq!(told.funnel[1].fell_out, ["host-a"]);
    assert_eq!(told.help, ["when host-a comes back: then it is offered host-a"]);
    pool.tell(Change::AgentRemoved { agent: AgentId::new("a").unwrap() });
    let told = pool.explain("jobs");
    assert_eq!(told.code, "no-agents");
    assert_eq!(told.help, ["with an agent of cpus:1: then it is offered the new agent"]);
}

#[test]
fn a_disconnected_framework_is_served_once_it_connects() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.framework("jobs");
    pool.tell(Change::FrameworkActive { id: id("jobs"), active: false });
    let told = pool.explain("jobs");
    assert_eq!(told.code, "framework-disconnected");
    assert_eq!(told.help, ["when the framework connects: then it is offered host-a"]);
}

#[test]
fn a_suppressed_role_is_served_once_it_is_revived() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.framework("jobs");
    pool.tell(Change::Suppress { framework: id("jobs"), roles: vec![] });
    let told = pool.explain("jobs");
    assert_eq!(told.code, "suppressed");
    assert_eq!(told.help, ["when the framework revives role jobs: then it is offered host-a"]);
}

#[test]
fn a_constraint_that_no_agent_meets_is_named() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    let there = ["zone=b", "zone", "!zone"].map(|text| Constraint::parse(text).unwrap());
    pool.wants_where("jobs", 1000, 1, Constraints(there[..2].to_vec()));
    let told = pool.explain("jobs");
    assert_eq!(told.code, "constraints");
    assert!(told.verdict.contains("there is zone=a on 1"), "{told:?}");
    assert_eq!(told.nearest[0].rule, "constraint zone=b");
    let added = "with an agent of cpus:1 and zone=b, zone: then it is offered the new agent";
    assert_eq!(told.help, ["without the constraint zone=b: then it is offered host-a", added]);
    // Where two are in the way, neither alone would do.
    pool.wants_where("jobs", 1000, 1, Constraints(there.to_vec()));
    let told = pool.explain("jobs");
    assert_eq!((&*told.code, told.help.len()), ("constraints", 0));
    assert!(told.tried.iter().all(|remedy| remedy.code == "constraints"), "{told:?}");
}

#[test]
fn what_no_empty_agent_could_hold_is_too_large() {
    let mut pool = Pool::new();
    pool.agent("a", open(2000));
    pool.agent("b", open(4000));
    pool.wants("jobs", 8000, 1);
    let told = pool.explain("jobs");
    assert_eq!(told.code, "too-large");
    let near: Vec<_> = told.nearest.iter().map(|miss| (&*miss.hostname, &miss.lacking.scalars)).collect();
    assert_eq!(near, [("host-b", &cpus(4000)), ("host-a", &cpus(6000))], "the nearest first");
    assert!(told.help[0].starts_with("with cpus:4 instead of cpus:8"), "{told:?}");
    let last = told.funnel.last().unwrap();
    assert_eq!((&*last.name, last.left), ("cpus", 0));
}

#[test]
fn what_an_empty_agent_could_hold_has_no_room_while_others_use_it() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.framework("batch");
    pool.uses("batch", "a", 3000);
    pool.tell(Change::Suppress { framework: id("batch"), roles: vec![] });
    pool.wants("jobs", 2000, 1);
    let told = pool.explain("jobs");
    assert_eq!(told.code, "no-room");
    assert_eq!((&told.nearest[0].lacking.scalars, &*told.nearest[0].rule), (&cpus(1000), "held by <batch>"));
    assert!(told.help[0].starts_with("when the tasks of <batch> on host-a end"), "{told:?}");
    assert!(told.help[1].starts_with("with cpus:1 instead of cpus:2"), "{told:?}");
}

#[test]
fn what_another_has_not_answered_is_offered() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.framework("slow");
    assert_eq!(pool.allocate().len(), 1);
    pool.wants("jobs", 1000, 1);
    let told = pool.explain("jobs");
    assert_eq!(told.code, "offered");
    assert!(told.verdict.contains("offered to <slow>"), "{told:?}");
    assert!(told.help[0].starts_with("when <slow> declines its offers of host-a"), "{told:?}");
}

#[test]
fn what_is_kept_for_another_role_is_reserved() {
    let mut pool = Pool::new();
    pool.agent("a", Resources::reserved(role("db"), Amount::scalars(cpus(4000))));
    pool.wants("jobs", 1000, 1);
    let told = pool.explain("jobs");
    assert_eq!(told.code, "reserved");
    assert!(told.verdict.contains("reserved for role db"), "{told:?}");
    assert!(told.help[0].contains("is reserved no more for role db"), "{told:?}");
    assert_eq!(told.tried[0].steps[0].command, "stoa unreserve a --role db --cpus 4");
    assert!(steps(&told).contains(&("role", 0)), "{told:?}");
}

#[test]
fn a_limit_that_would_be_passed_is_named_with_the_one_that_would_do() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.quota("jobs", 0, Some(1000));
    pool.wants("jobs", 2000, 1);
    let told = pool.explain("jobs");
    assert_eq!((&*told.code, &*told.verdict), ("quota-limit", "role jobs would pass its limit of cpus:1"));
    assert_eq!(told.help, ["with a limit of cpus:2 for role jobs: then it is offered host-a"]);
    assert_eq!(told.tried[0].steps[0].command, "stoa quota set jobs --limit cpus=2");
}

#[test]
fn what_is_kept_for_a_guarantee_is_headroom() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.quota("db", 4000, None);
    pool.wants("jobs", 1000, 1);
    let told = pool.explain("jobs");
    assert_eq!(told.code, "quota-headroom");
    assert!(told.help[0].starts_with("without the guarantee of role db"), "{told:?}");
}

#[test]
fn what_was_declined_is_filtered_until_the_filter_ends() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.wants("jobs", 1000, 1);
    let grant = pool.allocate().remove(0);
    pool.tell(Change::Declined {
        framework: grant.framework,
        role: grant.role,
        agent: grant.agent,
        resources: grant.resources,
        demand: grant.demand,
        until: pool.now + Duration::from_secs(60),
    });
    let told = pool.explain("jobs");
    assert_eq!(told.code, "filtered");
    assert!(told.help[0].starts_with("when the framework revives role jobs"), "{told:?}");
    assert!(told.help[1].starts_with("in 6"), "in about a minute: {told:?}");
    assert!(steps(&told).contains(&("filters", 0)), "{told:?}");
}

#[test]
fn who_has_more_already_waits_for_fair_share() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.wants("poor", 3000, 1);
    pool.wants("rich", 3000, 1);
    pool.uses("rich", "a", 1000);
    let told = pool.explain("rich");
    assert_eq!(told.code, "fair-share");
    assert!(told.verdict.contains("<poor> gets host-a"), "{told:?}");
    assert_eq!(pool.explain("poor").code, "served");
    let grants = pool.allocate();
    assert_eq!(grants.iter().map(|grant| &grant.framework).collect::<Vec<_>>(), [&id("poor")]);
    assert_eq!(pool.explain("rich").code, "offered", "once the offer is made");
}

#[test]
fn who_does_not_answer_holds_too_much_while_others_wait() {
    let mut pool = Pool::with(Config { hold_share_milli: 250, ..Config::default() });
    for name in ["a", "b", "c", "d"] {
        pool.agent(name, open(4000));
    }
    pool.wants("jobs", 4000, 4);
    pool.wants("large", 9000, 1);
    assert_eq!(pool.allocate().len(), 1, "a quarter of the pool, and no more");
    let told = pool.explain("jobs");
    assert_eq!(told.code, "holds-too-much");
    assert!(told.verdict.starts_with("1 of 4 are offered"), "{told:?}");
    assert!(told.help[0].starts_with("when it declines the offers it holds"), "{told:?}");
    assert_eq!(steps(&told).last(), Some(&("hold", 0)));
}

#[test]
fn one_question_tries_no_more_for_many_demands_than_for_one() {
    let mut pool = Pool::new();
    pool.agent("a", open(4000));
    pool.framework("jobs");
    let demand = |n: u64| Demand {
        id: DemandId::new(&format!("web{n}")).unwrap(),
        role: role("jobs"),
        shape: Amount::scalars(cpus(8000 + n)),
        count: 1,
        constraints: Constraints::default(),
        priority: 0,
    };
    let demands = (0..20).map(demand).collect();
    pool.tell(Change::Demands { framework: id("jobs"), demands, demand_driven: true });
    let all = pool.explain_all("jobs", None);
    assert_eq!((all.len(), all.iter().map(|told| told.tried.len()).sum::<usize>()), (20, 8));
    assert_eq!((all[15].tried.len(), all[15].untried), (0, 2), "what was not tried is counted");
    // Beyond sixteen they are told in short.
    let short =
        |told: &Explanation| told.funnel.is_empty() && told.notes.iter().any(|n| n.contains("in short"));
    assert_eq!(all.iter().filter(|told| short(told)).count(), 4);
    assert!(all.iter().all(|told| told.code == "too-large"), "{all:?}");
    // Alone, the last has help as well.
    let last = DemandId::new("web19").unwrap();
    let told = pool.explain_all("jobs", Some(&last));
    // One more agent as large as the last would go to another of them.
    assert_eq!((told.len(), told[0].help.len(), told[0].untried), (1, 1, 0));
}

#[test]
fn the_sum_of_all_that_waits_is_bounded_and_says_what_it_left_out() {
    let mut pool = Pool::new();
    (0..30_000).for_each(|n| pool.agent(&format!("a{n:05}"), open(4000)));
    pool.framework("jobs");
    // Of each size two demands, which are looked into as one.
    let demand = |n: u64| Demand {
        id: DemandId::new(&format!("web{n}")).unwrap(),
        role: role("jobs"),
        shape: Amount::scalars(cpus(8000 + n / 2)),
        count: 1 + n / 2,
        constraints: Constraints::default(),
        priority: 0,
    };
    let demands = (0..80).map(demand).collect();
    pool.tell(Change::Demands { framework: id("jobs"), demands, demand_driven: true });
    pool.allocate();
    let all = asked(|outside| pool.allocator.waiting(outside, pool.now));
    assert_eq!((all.demands, all.units, all.unexamined), (80, 2 * (40 * 41 / 2), 2 * 7));
    let told: Vec<(&str, u64)> = all.groups.iter().map(|group| (&*group.code, group.demands)).collect();
    assert_eq!(told, [("too-large", 66)]);
    assert_eq!((&*all.worst_framework, &*all.worst_role), ("<jobs>", "jobs"));
}
