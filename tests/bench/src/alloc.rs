//! The allocator, in process and alone: the grids of Mesos' own benchmarks, and what event-driven offers add to them.
//!
//! Times are of one thread. `decline` is `HierarchicalAllocator_BENCHMARK_Test.DeclineOffers` of Mesos: all frameworks
//! in one role, agents of cpus:24 mem:4096M disk:4096M with cpus:16 mem:2014M disk:1024M and sixteen fragments of ports
//! in use; every offer is declined for 365 days. `quota` is its `LargeAndSmallQuota`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use master_allocator::{Account, Allocator, Change, Config, Grant};
use proto::agent::AgentInfo;
use proto::attributes::{Attributes, Constraints};
use proto::demand::Demand;
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto_machine::{Dice, Instant};
use serde_json::{Value, json};

use crate::figures::{Timings, resident_mib};

const MIB: u64 = 1 << 20;
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to measure.
pub struct Options {
    grids: Vec<String>,
    agents: Vec<usize>,
    frameworks: Vec<usize>,
    cycles: usize,
    events: usize,
}

impl Options {
    /// Reads the command line.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let numbers = |text: &str| -> Result<Vec<usize>, String> {
            let number = |n: &str| match n.strip_suffix('k') {
                Some(thousands) => thousands.parse::<usize>().map(|n| n * 1000),
                None => n.parse::<usize>(),
            };
            text.split(',').map(|n| number(n).map_err(|_| format!("{n:?} is not a number"))).collect()
        };
        let mut options = Options {
            grids: ["add", "decline", "suppress", "churn", "demand", "quota"].map(String::from).to_vec(),
            agents: Vec::new(),
            frameworks: Vec::new(),
            cycles: 30,
            events: 20_000,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--grid" => options.grids = value.split(',').map(String::from).collect(),
                "--agents" => options.agents = numbers(&value)?,
                "--frameworks" => options.frameworks = numbers(&value)?,
                "--cycles" => options.cycles = numbers(&value)?[0],
                "--events" => options.events = numbers(&value)?[0],
                _ => return Err(format!("{name:?} is not an option")),
            }
        }
        Ok(options)
    }

    /// The sizes asked for, or those of the charts.
    fn sizes(&self) -> Vec<(usize, usize)> {
        if self.agents.is_empty() && self.frameworks.is_empty() {
            return vec![(1_000, 100), (10_000, 1_000), (20_000, 2_000), (50_000, 6_000), (100_000, 10_000)];
        }
        let or =
            |given: &[usize], default: usize| if given.is_empty() { vec![default] } else { given.to_vec() };
        let frameworks = or(&self.frameworks, 1_000);
        let pairs = or(&self.agents, 10_000).into_iter();
        pairs.flat_map(|a| frameworks.iter().map(move |f| (a, *f))).collect()
    }
}

/// Measures what was asked for.
pub fn run(options: &Options) {
    let print = |grid: &str, (agents, frameworks): (usize, usize), figures: Value| {
        let head = json!({ "bench": "alloc", "grid": grid, "agents": agents, "frameworks": frameworks });
        let (mut all, Value::Object(figures)) = (head, figures) else { return };
        if let Value::Object(all) = &mut all {
            all.extend(figures);
        }
        println!("{all}");
    };
    for grid in &options.grids {
        for size in options.sizes() {
            match grid.as_str() {
                "add" => print("add", size, add(size)),
                "decline" => print("decline", size, decline(size, options.cycles)),
                "saturate" => print("saturate", size, saturate(size)),
                "suppress" => print("suppress", size, suppress(size, options.cycles)),
                "churn" => {
                    for kind in [Churn::Plain, Churn::Demands, Churn::Blocked, Churn::Declined] {
                        print("churn", size, churn(size, kind, options.events));
                    }
                }
                "demand" => print("demand", size, demand(size, options.events)),
                "quota" => {}
                other => eprintln!("{other:?} is not a grid"),
            }
        }
        if grid == "quota" {
            for (small, large) in [(25, 5), (250, 50), (2500, 500)] {
                let size = (small / 5 + large * 5, small + large);
                print("quota", size, quota(small, large, options.cycles));
            }
        }
    }
}

// --- pools ---

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1 << 40) + Duration::from_millis(millis)
}

fn framework(n: usize) -> FrameworkId {
    FrameworkId::new(&format!("f{n:05}")).expect("a good id")
}

fn agent(n: usize) -> Arc<AgentInfo> {
    Arc::new(AgentInfo {
        id: AgentId::new(&format!("agent-{n:06}")).expect("a good id"),
        hostname: format!("host-{n:06}"),
        address: String::new(),
        resources: Resources::EMPTY,
        attributes: Attributes::default(),
        version: String::new(),
    })
}

fn scalars(cpus: u64, mem: u64, disk: u64) -> Amount {
    Amount::scalars(Quantities::of(cpus * 1000, mem * MIB).with_disk(disk * MIB))
}

fn role(path: &str) -> Role {
    Role::new(path).expect("a good role")
}

fn total() -> Resources {
    Resources::unreserved(scalars(24, 4096, 4096).with_ports(Ranges::single(31_000, 32_000)))
}

/// Sixteen fragments of ports, and two thirds of the rest.
fn in_use() -> Resources {
    let fragments = (0..16).map(|n| (31_000 + n * 60, 31_000 + n * 60 + 29));
    Resources::unreserved(scalars(16, 2014, 1024).with_ports(Ranges::from_pairs(fragments)))
}

fn add_frameworks(allocator: &mut Allocator, frameworks: usize) {
    for n in 0..frameworks {
        let roles = vec![role("default")];
        allocator.apply(at(0), Change::FrameworkAdded { id: framework(n), roles, suppressed: Vec::new() });
    }
}

/// The pool of Mesos' benchmark.
fn pool(agents: usize, frameworks: usize) -> Allocator {
    let mut allocator = Allocator::new(Config::default());
    add_frameworks(&mut allocator, frameworks);
    for n in 0..agents {
        let info = agent(n);
        let id = info.id.clone();
        allocator.apply(at(0), Change::AgentAdded { info, total: total(), active: true });
        let (framework, role, resources) = (framework(n % frameworks), role("default"), in_use());
        allocator.apply(at(0), Change::Charged { framework, role, agent: id, resources });
    }
    allocator
}

fn declined(grant: Grant, until: Instant) -> Change {
    Change::Declined {
        framework: grant.framework,
        role: grant.role,
        agent: grant.agent,
        resources: grant.resources,
        demand: grant.demand,
        until,
    }
}

fn rescinded(grant: Grant) -> Change {
    Change::Recovered {
        framework: grant.framework,
        role: grant.role,
        agent: grant.agent,
        resources: grant.resources,
        from: Account::Offered,
        demand: grant.demand,
    }
}

fn sound(allocator: &Allocator, agents: usize) -> bool {
    let faults = if agents <= 1_000 { allocator.faults() } else { Vec::new() };
    assert!(faults.is_empty(), "{faults:?}");
    agents <= 1_000
}

// --- grids ---

/// Agents come one by one, each with an allocation of its own.
fn add((agents, frameworks): (usize, usize)) -> Value {
    let mut allocator = Allocator::new(Config::default());
    add_frameworks(&mut allocator, frameworks);
    let infos: Vec<Arc<AgentInfo>> = (0..agents).map(agent).collect();
    let mut each = Timings::default();
    let mut offers = 0;
    for info in infos {
        let total = total();
        let grants = each.time(|| {
            allocator.apply(at(0), Change::AgentAdded { info, total, active: true });
            allocator.allocate(at(0))
        });
        offers += grants.len();
    }
    json!({ "offers": offers, "total_ms": each.sum_micros() / 1000.0, "each": each.json() })
}

/// Full cycles, every offer declined for a year.
fn decline((agents, frameworks): (usize, usize), cycles: usize) -> Value {
    let mut allocator = pool(agents, frameworks);
    let (mut cycle, mut back) = (Timings::default(), Timings::default());
    let mut offers = 0;
    for n in 0..cycles + 2 {
        let now = at(n as u64);
        let mut warm = Timings::default();
        let measured = if n < 2 { &mut warm } else { &mut cycle };
        let grants = measured.time(|| allocator.allocate(now));
        offers = grants.len();
        for grant in grants {
            let change = declined(grant, now + YEAR);
            back.time(|| allocator.apply(now, change));
        }
    }
    let per_offer = cycle.micros(50) * 1000.0 / offers.max(1) as f64;
    json!({
        "offers": offers,
        "cycle": cycle.json(),
        "ns_per_offer": per_offer,
        "decline": back.json(),
        "rss_mib": resident_mib(),
        "checked": sound(&allocator, agents),
    })
}

/// Cycles until everybody has declined everything; then cycles that find nothing.
fn saturate((agents, frameworks): (usize, usize)) -> Value {
    let mut allocator = pool(agents, frameworks);
    let mut cycle = Timings::default();
    let (mut cycles, mut filters) = (0, 0);
    loop {
        let now = at(cycles);
        let grants = cycle.time(|| allocator.allocate(now));
        if grants.is_empty() {
            break;
        }
        cycles += 1;
        filters += grants.len();
        for grant in grants {
            allocator.apply(now, declined(grant, now + YEAR));
        }
    }
    let mut idle = Timings::default();
    for _ in 0..1000 {
        assert!(idle.time(|| allocator.allocate(at(cycles))).is_empty());
    }
    // Something is applied that changes nothing for anybody.
    let mut touched = Timings::default();
    for n in 0..1000 {
        allocator.apply(
            at(cycles),
            Change::Suppress { framework: framework(n % frameworks), roles: vec![role("none")] },
        );
        assert!(touched.time(|| allocator.allocate(at(cycles))).is_empty());
    }
    json!({
        "cycles": cycles,
        "filters": filters,
        "cycle": cycle.json(),
        "idle": idle.json(),
        "idle_touched": touched.json(),
        "rss_mib": resident_mib(),
        "checked": sound(&allocator, agents),
    })
}

/// Full cycles while 99 of 100 frameworks are suppressed.
fn suppress((agents, frameworks): (usize, usize), cycles: usize) -> Value {
    let mut allocator = pool(agents, frameworks);
    let mut each = Timings::default();
    for n in (0..frameworks).filter(|n| n % 100 != 0) {
        let change = Change::Suppress { framework: framework(n), roles: Vec::new() };
        each.time(|| allocator.apply(at(0), change));
    }
    let mut cycle = Timings::default();
    let mut offers = 0;
    for n in 0..cycles {
        let now = at(n as u64);
        let grants = cycle.time(|| allocator.allocate(now));
        offers = offers.max(grants.len());
        for grant in grants {
            allocator.apply(now, rescinded(grant));
        }
    }
    json!({
        "offers": offers,
        "cycle": cycle.json(),
        "suppress": each.json(),
        "checked": sound(&allocator, agents),
    })
}

/// What frameworks are like while tasks end.
#[derive(Clone, Copy, Debug)]
enum Churn {
    /// Without demands: whoever has least gets what is free.
    Plain,
    /// Every framework wants more of the shape that ends.
    Demands,
    /// Every framework wants more, but nothing that fits.
    Blocked,
    /// Without demands, and everybody has declined the agents with more in them: the walk past all of them.
    Declined,
}

/// A full pool in which tasks end: the time from the change to its offer.
fn churn((agents, frameworks): (usize, usize), kind: Churn, events: usize) -> Value {
    let mut allocator = Allocator::new(Config::default());
    add_frameworks(&mut allocator, frameworks);
    let unit = Resources::unreserved(scalars(1, 512, 0));
    let mut dice = Dice::new(1);
    let mut tasks: Vec<(FrameworkId, AgentId)> = Vec::new();
    let agents = if matches!(kind, Churn::Declined) { agents.min(64) } else { agents };
    for n in 0..agents {
        let total = Resources::unreserved(scalars(8, 4096, 0).with_ports(Ranges::single(31_000, 31_099)));
        allocator.apply(at(0), Change::AgentAdded { info: agent(n), total, active: true });
    }
    if matches!(kind, Churn::Declined) {
        loop {
            let grants = allocator.allocate(at(0));
            if grants.is_empty() {
                break;
            }
            for grant in grants {
                allocator.apply(at(0), declined(grant, at(0) + YEAR));
            }
        }
    }
    for n in 0..agents * 8 {
        let (framework, agent, resources) =
            (framework(n % frameworks), agent(n / 8).id.clone(), unit.clone());
        tasks.push((framework.clone(), agent.clone()));
        allocator.apply(at(0), Change::Charged { framework, role: role("default"), agent, resources });
    }
    let shape = match kind {
        Churn::Blocked => scalars(4, 2048, 0),
        Churn::Plain | Churn::Demands | Churn::Declined => scalars(1, 512, 0),
    };
    if matches!(kind, Churn::Demands | Churn::Blocked) {
        for n in 0..frameworks {
            let demands = vec![demand_of(shape.clone(), 1_000_000)];
            allocator.apply(at(0), Change::Demands { framework: framework(n), demands, demand_driven: true });
        }
    }
    allocator.allocate(at(0));
    let (mut apply, mut offer, mut accept) = (Timings::default(), Timings::default(), Timings::default());
    let mut offers = 0;
    for n in 0..events {
        let now = at(n as u64);
        let task = dice.below(tasks.len() as u64) as usize;
        let (framework, agent) = tasks.swap_remove(task);
        let of_agent = agent.clone();
        let change = Change::Recovered {
            framework,
            role: role("default"),
            agent,
            resources: unit.clone(),
            from: Account::Used,
            demand: None,
        };
        apply.time(|| assert!(allocator.apply(now, change)));
        let grants = offer.time(|| allocator.allocate(now));
        offers += grants.len();
        for grant in grants {
            tasks.push((grant.framework.clone(), grant.agent.clone()));
            let taken = Change::Taken {
                framework: grant.framework.clone(),
                role: grant.role.clone(),
                agent: grant.agent.clone(),
                resources: grant.resources.clone(),
                demand: grant.demand,
            };
            let change = Change::Accepted {
                framework: grant.framework,
                role: grant.role,
                agent: grant.agent,
                offered: grant.resources,
                transforms: Vec::new(),
                used: unit.clone(),
                until: now,
            };
            accept.time(|| {
                assert!(allocator.apply(now, taken));
                assert!(allocator.apply(now, change));
            });
        }
        // What an accept leaves over may be offered once more: not part of the figure.
        for grant in allocator.allocate(now) {
            allocator.apply(now, declined(grant, now + YEAR));
        }
        if tasks.is_empty() {
            break;
        }
        if matches!(kind, Churn::Declined) {
            // Nobody took it: it is used again, so that the next event meets the same pool.
            let (framework, agent) = (self::framework(n % frameworks), of_agent);
            tasks.push((framework.clone(), agent.clone()));
            let (role, resources) = (role("default"), unit.clone());
            allocator.apply(now, Change::Charged { framework, role, agent, resources });
        }
    }
    json!({
        "kind": format!("{kind:?}").to_lowercase(),
        "offers": offers,
        "apply": apply.json(),
        "offer": offer.json(),
        "accept": accept.json(),
        "checked": sound(&allocator, agents),
    })
}

fn demand_of(shape: Amount, count: u64) -> Demand {
    Demand {
        id: DemandId::new("d").expect("a good id"),
        role: role("default"),
        shape,
        count,
        constraints: Constraints::default(),
        priority: 0,
    }
}

/// A pool with room in which one framework after the other states a demand: the time from the demand to its offers.
fn demand((agents, frameworks): (usize, usize), events: usize) -> Value {
    let mut allocator = pool(agents, frameworks);
    for n in 0..frameworks {
        let change = Change::Demands { framework: framework(n), demands: Vec::new(), demand_driven: true };
        allocator.apply(at(0), change);
    }
    allocator.allocate(at(0));
    let mut by_kind: BTreeMap<&str, (Timings, usize)> = BTreeMap::new();
    let mut dice = Dice::new(3);
    for n in 0..events.min(5_000) {
        let now = at(n as u64);
        let who = framework(n % frameworks);
        let (kind, shape, count) = match n % 4 {
            0 => ("one", scalars(1, 128, 0), 1),
            1 => ("ten", scalars(1 + dice.below(3), 128, 0).with_ports(Ranges::single(1, 2)), 10),
            2 => ("hundred", scalars(1, 128, 64), 100),
            _ => ("too_large", scalars(20, 128, 0), 3),
        };
        let demands = vec![demand_of(shape, count)];
        let (each, offers) = by_kind.entry(kind).or_default();
        let grants = each.time(|| {
            allocator.apply(now, Change::Demands { framework: who.clone(), demands, demand_driven: true });
            allocator.allocate(now)
        });
        *offers += grants.len();
        allocator.apply(now, Change::Demands { framework: who, demands: Vec::new(), demand_driven: true });
        for grant in grants {
            allocator.apply(
                now,
                Change::Recovered {
                    framework: grant.framework,
                    role: grant.role,
                    agent: grant.agent,
                    resources: grant.resources,
                    from: Account::Offered,
                    demand: grant.demand,
                },
            );
        }
        allocator.allocate(now);
    }
    let kinds: BTreeMap<&str, Value> = by_kind
        .into_iter()
        .map(|(kind, (mut each, offers))| {
            (kind, json!({ "offers": offers, "demand_to_offers": each.json() }))
        })
        .collect();
    json!({ "kinds": kinds, "checked": sound(&allocator, agents) })
}

/// Mesos' LargeAndSmallQuota: a framework for each role, guarantees that are also limits; the cycle that fulfils all of
/// them, and one that looks at everything and finds nothing.
fn quota(small: usize, large: usize, cycles: usize) -> Value {
    let (mut first, mut idle, mut again) = (Timings::default(), Timings::default(), Timings::default());
    let mut offers = 0;
    for _ in 0..cycles.clamp(1, 10) {
        let mut allocator = Allocator::new(Config::default());
        for n in 0..small + large {
            let role = role(&format!("role{n:05}"));
            let amount = if n < small { scalars(1, 1024, 1024) } else { scalars(4, 4096, 4096) };
            let limits: BTreeMap<Scalar, u64> = amount.scalars.iter().collect();
            let quota = Quota { guarantees: amount.scalars, limits: Limits(limits) };
            allocator.apply(at(0), Change::QuotaSet { role: role.clone(), quota });
            let (id, roles) = (framework(n), vec![role]);
            allocator.apply(at(0), Change::FrameworkAdded { id, roles, suppressed: Vec::new() });
        }
        for n in 0..small / 5 + large * 5 {
            let total = Resources::unreserved(scalars(2, 2048, 2048));
            allocator.apply(at(0), Change::AgentAdded { info: agent(n), total, active: true });
        }
        offers = first.time(|| allocator.allocate(at(0))).len();
        for _ in 0..100 {
            assert!(idle.time(|| allocator.allocate(at(0))).is_empty());
        }
        // Everybody is woken: a cycle over all frameworks that finds every limit reached.
        for n in 0..small + large {
            allocator.apply(at(0), Change::Revive { framework: framework(n), roles: Vec::new() });
        }
        assert!(again.time(|| allocator.allocate(at(0))).is_empty());
        sound(&allocator, small + large);
    }
    json!({
        "roles": small + large,
        "offers": offers,
        "cycle": first.json(),
        "idle": idle.json(),
        "all_woken": again.json(),
    })
}
