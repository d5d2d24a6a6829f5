//! A framework that may have now this and now that of an agent, and wants neither, is not asked for each again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use master_allocator::{Allocator, Change, Config};
use proto::agent::AgentInfo;
use proto::attributes::Attributes;
use proto::id::{AgentId, FrameworkId};
use proto::quantities::{Quantities, Scalar};
use proto::quota::{Limits, Quota};
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto_machine::Instant;

const GIB: u64 = 1 << 30;
const START: Instant = Instant::from_nanos(1 << 40);

fn pool() -> Allocator {
    let mut allocator = Allocator::new(Config::default());
    let mut tell = |change| assert!(allocator.apply(START, change));
    for name in ["one", "two"] {
        let total = Resources::unreserved(Amount::scalars(Quantities::of(2_000, 7 * GIB)));
        let info = AgentInfo {
            id: AgentId::new(name).unwrap(),
            hostname: name.to_owned(),
            address: String::new(),
            resources: total.clone(),
            attributes: Attributes::default(),
            version: String::new(),
        };
        tell(Change::AgentAdded { info: Arc::new(info), total, active: true });
    }
    let role = Role::new("eng").unwrap();
    let limits = BTreeMap::from([(Scalar::Cpus, 2_500), (Scalar::Mem, 6 * GIB)]);
    let quota = Quota { guarantees: Quantities::ZERO, limits: Limits(limits) };
    tell(Change::QuotaSet { role: role.clone(), quota });
    let id = FrameworkId::new("idle").unwrap();
    tell(Change::FrameworkAdded { id, roles: vec![role], suppressed: vec![] });
    allocator
}

/// Declines everything for so long, each time at once, until nothing more is offered; how often something was.
fn declines_all(allocator: &mut Allocator, mut now: Instant, refuse: Duration) -> usize {
    for round in 0..100 {
        let grants = allocator.allocate(now);
        if grants.is_empty() {
            return round;
        }
        for grant in grants {
            let declined = Change::Declined {
                framework: grant.framework,
                role: grant.role,
                agent: grant.agent,
                resources: grant.resources,
                demand: grant.demand,
                until: now + refuse,
            };
            assert!(allocator.apply(now, declined));
        }
        assert_eq!(allocator.faults(), Vec::<String>::new());
        now = now + Duration::from_millis(4);
    }
    panic!("in vain it declines, a hundred times in less than half a second");
}

#[test]
fn pieces_of_an_agent_that_were_declined_do_not_come_back_in_turn() {
    let mut allocator = pool();
    let rounds = declines_all(&mut allocator, START, Duration::from_secs(5));
    assert!((2..=4).contains(&rounds), "{rounds} rounds");
    // Each is offered again when its own time is over.
    let first = allocator.wake_at().expect("filters end");
    assert!(first >= START + Duration::from_secs(5) && first < START + Duration::from_millis(5_040));
    assert!(declines_all(&mut allocator, first + Duration::from_millis(40), Duration::from_secs(5)) >= 1);
}

#[test]
fn more_than_any_piece_that_was_declined_is_offered() {
    let mut allocator = pool();
    declines_all(&mut allocator, START, Duration::from_secs(3_600));
    let quota = Quota { guarantees: Quantities::ZERO, limits: Limits::default() };
    assert!(allocator.apply(START, Change::QuotaSet { role: Role::new("eng").unwrap(), quota }));
    let offered: Vec<u64> = allocator
        .allocate(START + Duration::from_secs(1))
        .iter()
        .map(|g| g.resources.quantities().cpus_milli())
        .collect();
    assert_eq!(offered, [2_000, 2_000], "whole agents were never declined");
}
