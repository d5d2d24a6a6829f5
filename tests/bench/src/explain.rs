//! What it costs the leader to say why something waits: one demand, and all that waits, in the allocator alone.
//!
//! The leader does nothing else meanwhile. The pool is full: every demand is looked for on every agent, and nothing is found. `alike` has
//! twenty shapes, as jobs of a few kinds have; in `apart` no two demands have the same, which is the worst case.

use std::sync::Arc;
use std::time::Duration;

use master_allocator::{Allocator, Away, Change, Config, Outside};
use proto::agent::AgentInfo;
use proto::attributes::{Attributes, Constraints};
use proto::demand::Demand;
use proto::id::{AgentId, DemandId, FrameworkId};
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto_machine::Instant;
use serde_json::json;

use crate::figures::Timings;
use crate::flags::Flags;

/// What can be said on the command line.
pub const FLAGS: [&str; 3] = ["agents", "demands", "rounds"];

const GIB: u64 = 1 << 30;

/// Demands of one framework.
const OF_EACH: usize = 100;

/// Measures.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let agents = flags.get("agents", 1000usize)?;
    let demands = flags.get("demands", 1000usize)?;
    let rounds = flags.get("rounds", 20usize)?;
    for (name, shapes) in [("alike", 20), ("apart", usize::MAX)] {
        let allocator = full(agents, demands, shapes);
        let (mut all, mut one) = (Timings::default(), Timings::default());
        let outside = Outside {
            name: &ToString::to_string,
            away: &|_| Away::default(),
            tasks: &|_| Vec::new(),
            absent: &[],
        };
        let mut waiting = proto::explain::Waiting::default();
        for _ in 0..rounds {
            waiting = all.time(|| allocator.waiting(&outside, now()));
            one.time(|| allocator.explain(&framework(0), Some(&demand(0)), &outside, now()));
        }
        let figures = json!({
            "bench": "explain", "demands": name, "agents": agents, "waiting": waiting.demands,
            "unexamined": waiting.unexamined, "tried": waiting.tried, "summary": all.json(), "one": one.json(),
        });
        println!("{figures}");
    }
    Ok(())
}

fn now() -> Instant {
    Instant::from_nanos(1 << 40) + Duration::from_secs(60)
}

fn framework(n: usize) -> FrameworkId {
    FrameworkId::new(&format!("f{n:03}")).expect("a good id")
}

fn demand(n: usize) -> DemandId {
    DemandId::new(&format!("d{n:04}")).expect("a good id")
}

fn cpus(milli: u64, gib: u64) -> Amount {
    Amount::scalars(Quantities::of(milli, gib * GIB))
}

/// Agents of which 2 cpus are left, and demands that ask for more.
fn full(agents: usize, demands: usize, shapes: usize) -> Allocator {
    let mut allocator = Allocator::new(Config::default());
    let role = Role::new("eng").expect("a good role");
    let mut tell = |change| assert!(allocator.apply(now(), change), "the pool is well made");
    for n in 0..demands.div_ceil(OF_EACH) {
        tell(Change::FrameworkAdded { id: framework(n), roles: vec![role.clone()], suppressed: Vec::new() });
        let own = (n * OF_EACH)..demands.min((n + 1) * OF_EACH);
        let demands = own.map(|n| Demand {
            id: demand(n),
            role: role.clone(),
            shape: cpus(3000 + (n % shapes) as u64, 4),
            count: 1,
            constraints: Constraints::default(),
            priority: 0,
        });
        let demands = demands.collect();
        tell(Change::Demands { framework: framework(n), demands, demand_driven: true });
    }
    for n in 0..agents {
        let info = AgentInfo {
            id: AgentId::new(&format!("agent-{n:06}")).expect("a good id"),
            hostname: format!("host-{n:06}"),
            address: String::new(),
            resources: Resources::EMPTY,
            attributes: Attributes::default(),
            version: String::new(),
        };
        let (id, total) = (info.id.clone(), Resources::unreserved(cpus(24_000, 96)));
        tell(Change::AgentAdded { info: Arc::new(info), total, active: true });
        let resources = Resources::unreserved(cpus(22_000, 64));
        tell(Change::Charged { framework: framework(0), role: role.clone(), agent: id, resources });
    }
    allocator.allocate(now());
    allocator
}
