//! The situations, one by one.

use std::time::Duration;

use proto::id::VolumeId;
use proto::operation::{CreateVolume, Operation, Reserve};
use proto::quantities::Quantities;
use proto::resources::Amount;
use proto::rights::Rights;

use super::super::rig::GIB;
use super::Situation;
use super::script::{Script, amount, cpus, role};

/// Long enough for an agent without a link to be called unreachable.
const LOST_AFTER: Duration = Duration::from_secs(15 * 60);

/// The framework that waits, and an agent.
fn web_and_agent(script: &mut Script) {
    script.framework("web", "web");
    script.agent("a", 4000);
}

fn reserve(script: &mut Script, agent: &str, who: &str, milli: u64) {
    let like = format!("agent={agent}");
    script.framework(who, who);
    script.wants(who, 1, amount(milli, 8), &[&like]);
    let kept = Reserve { role: role(who), amount: amount(milli, 8) };
    script.accepts(who, vec![Operation::Reserve(kept)]);
    script.suppresses(who);
}

pub(super) const SITUATIONS: &[Situation] = &[
    Situation {
        name: "no agents",
        build: |s| {
            s.framework("web", "web");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "no-agents",
        says: &["=there is no agent"],
        helps: &[&["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "the only agent is not connected",
        build: |s| {
            web_and_agent(s);
            s.leaves("a");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "agent-disconnected",
        says: &["host-a would do, but it is not connected"],
        fell_out: Some(("alive", &["host-a"])),
        helps: &[&["agent-returns"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "all agents are out of sight",
        build: |s| {
            web_and_agent(s);
            s.agent("b", 4000);
            s.leaves("a");
            s.leaves("b");
            s.pass(LOST_AFTER);
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "agent-unreachable",
        says: &["it is out of sight", "none of the 2 agents may be offered"],
        fell_out: Some(("alive", &["host-a", "host-b"])),
        helps: &[&["agent-returns"], &["agent-returns"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "all agents drain",
        build: |s| {
            web_and_agent(s);
            s.agent("b", 4000);
            s.drains("a");
            s.drains("b");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "agent-draining",
        says: &["host-a would do, but it drains", "none of the 2 agents may be offered"],
        fell_out: Some(("not-draining", &["host-a", "host-b"])),
        helps: &[&["resume-agent"], &["resume-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "one drains and is not connected either",
        build: |s| {
            web_and_agent(s);
            s.drains("a");
            s.leaves("a");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "agent-draining",
        says: &["it drains and is not connected"],
        fell_out: Some(("alive", &["host-a"])),
        helps: &[&["agent-returns", "resume-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "the one with room drains",
        build: |s| {
            web_and_agent(s);
            s.agent("b", 4000);
            s.occupies("batch", "a", &[("etl", 4000)]);
            s.drains("b");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "agent-draining",
        says: &["host-b would do, but it drains"],
        fell_out: Some(("cpus", &["host-a"])),
        helps: &[&["resume-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "too large by cpus",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(8000), &[]);
        },
        code: "too-large",
        says: &["cpus:8 is more than any agent has", "the most is 4 on host-a"],
        fell_out: Some(("cpus", &["host-a"])),
        helps: &[&["smaller"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "too large by memory",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, amount(1000, 64), &[]);
        },
        code: "too-large",
        says: &["mem:64GiB is more than any agent has"],
        fell_out: Some(("mem", &["host-a"])),
        helps: &[&["smaller"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "no agent has disk",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, Amount::scalars(Quantities::of(1000, GIB).with_disk(GIB)), &[]);
        },
        code: "too-large",
        says: &["disk:1GiB is more than any agent has", "the most is 0"],
        fell_out: Some(("disk", &["host-a"])),
        helps: &[&["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "no agent has ports",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(1000).with_ports(proto::ranges::Ranges::single(1, 2)), &[]);
        },
        code: "too-large",
        says: &["2 of ports is more than any agent has"],
        fell_out: Some(("ports", &["host-a"])),
        helps: &[&["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "each agent lacks something else",
        build: |s| {
            s.framework("web", "web");
            s.agent_like("a", amount(8000, 2), "zone=a");
            s.agent_like("b", amount(1000, 32), "zone=a");
            s.wants("web", 1, amount(4000, 16), &[]);
        },
        code: "too-large",
        says: &["at once, not even an empty one"],
        fell_out: Some(("cpus", &["host-b"])),
        helps: &[&["smaller"], &["smaller"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "an attribute that no agent has",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(1000), &["gpu_model=x100"]);
        },
        code: "constraints",
        says: &["gpu_model=x100", "no agent has an attribute gpu_model"],
        fell_out: Some(("constraints", &["host-a"])),
        helps: &[&["constraint"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "an attribute of another value",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(1000), &["zone=b"]);
        },
        code: "constraints",
        says: &["no agent meets the constraint zone=b: there is zone=a on 1"],
        fell_out: Some(("constraints", &["host-a"])),
        helps: &[&["constraint"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "each constraint is met, all are not",
        build: |s| {
            s.framework("web", "web");
            s.agent_like("a", amount(4000, 8), "zone=a,disk=ssd");
            s.agent_like("b", amount(4000, 8), "zone=b,disk=tape");
            s.wants("web", 1, cpus(1000), &["zone=b", "disk=ssd"]);
        },
        code: "constraints",
        says: &["no agent meets all of zone=b, disk=ssd"],
        fell_out: Some(("constraints", &["host-a", "host-b"])),
        helps: &[&["constraint"], &["constraint"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "a machine that is not there",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(1000), &["hostname=host-z"]);
        },
        code: "constraints",
        says: &["there is no such agent"],
        helps: &[&["constraint"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "the role was taken from it",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(8000), &[]);
            s.grants("web", Rights::default());
        },
        code: "role-not-granted",
        says: &["it was cut off", "stoa auth grant"],
        ..Situation::PLAIN
    },
    Situation {
        name: "its role is at the limit",
        build: |s| {
            web_and_agent(s);
            s.quota("web", 0, Some(1000));
            s.wants("web", 1, cpus(2000), &[]);
        },
        code: "quota-limit",
        says: &["role web would pass its limit of cpus:1"],
        fell_out: Some(("quota", &["host-a"])),
        helps: &[&["limit"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "the role above is at the limit",
        build: |s| {
            s.framework("web", "eng/web");
            s.agent("a", 4000);
            s.quota("eng", 0, Some(1000));
            s.quota("eng/web", 0, Some(3000));
            s.wants("web", 1, cpus(2000), &[]);
        },
        code: "quota-limit",
        says: &["role eng would pass its limit of cpus:1"],
        helps: &[&["limit"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "what is free is kept for a guarantee",
        build: |s| {
            web_and_agent(s);
            s.quota("db", 4000, None);
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "quota-headroom",
        says: &["kept for guarantees", "cpus:4 are not fulfilled"],
        fell_out: Some(("quota", &["host-a"])),
        helps: &[&["guarantee"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "what would fit is reserved for another role",
        build: |s| {
            web_and_agent(s);
            reserve(s, "a", "db", 4000);
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "reserved",
        says: &["what would fit on host-a is reserved for role db"],
        fell_out: Some(("role", &["host-a"])),
        helps: &[&["unreserve"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "its own reservation is elsewhere",
        build: |s| {
            web_and_agent(s);
            s.agent("b", 4000);
            s.wants("web", 1, amount(4000, 8), &["agent=a"]);
            let kept = Reserve { role: role("web"), amount: amount(4000, 8) };
            s.accepts("web", vec![Operation::Reserve(kept)]);
            s.occupies("batch", "b", &[("etl", 4000)]);
            s.framework("other", "other");
            s.wants("web", 1, cpus(2000), &["agent=b"]);
        },
        demand: "second",
        code: "no-room",
        says: &["host-b if that were empty"],
        fell_out: Some(("cpus", &["host-b"])),
        helps: &[&["task-ends"], &["tasks-end"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "its volume is on an agent without room",
        build: |s| {
            s.framework("web", "web");
            let disk = |gib: u64| Amount::scalars(Quantities::of(4000, 8 * GIB).with_disk(gib * GIB));
            s.agent_like("a", disk(10), "zone=a");
            s.agent_like("b", disk(10), "zone=a");
            let kept = Amount::scalars(Quantities::ZERO.with_disk(4 * GIB));
            s.wants("web", 1, kept.clone(), &["agent=a"]);
            let volume = VolumeId::new("data").unwrap();
            let create = CreateVolume { role: role("web"), volume, disk_bytes: 4 * GIB };
            let reserve = Reserve { role: role("web"), amount: kept };
            s.accepts("web", vec![Operation::Reserve(reserve), Operation::CreateVolume(create)]);
            s.occupies("batch", "a", &[("etl", 3000)]);
            s.wants("web", 1, cpus(2000), &["agent=a"]);
        },
        demand: "second",
        code: "no-room",
        says: &["host-a if that were empty"],
        fell_out: Some(("constraints", &["host-b"])),
        helps: &[&["task-ends"], &["tasks-end"], &["smaller"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "others use what would fit",
        build: |s| {
            web_and_agent(s);
            s.occupies("batch", "a", &[("small", 1000), ("large", 2000)]);
            s.wants("web", 1, cpus(2000), &[]);
        },
        code: "no-room",
        fell_out: Some(("cpus", &["host-a"])),
        helps: &[&["task-ends"], &["task-ends"], &["tasks-end"], &["smaller"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "no single task is large enough",
        build: |s| {
            web_and_agent(s);
            s.occupies("batch", "a", &[("etl", 2000)]);
            s.occupies("cron", "a", &[("night", 2000)]);
            s.wants("web", 1, cpus(4000), &[]);
        },
        code: "no-room",
        helps: &[&["tasks-end"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "it declined what would fit",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(1000), &[]);
            s.declines("web", None, 60);
        },
        code: "filtered",
        says: &["the framework declined what would fit, host-a for one for 6"],
        fell_out: Some(("filters", &["host-a"])),
        helps: &[&["revive"], &["wait"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "it is suppressed",
        build: |s| {
            web_and_agent(s);
            s.suppresses("web");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "suppressed",
        says: &["wants no offers in role web"],
        helps: &[&["revive"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "it is not connected",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(1000), &[]);
            s.disconnects("web");
        },
        code: "framework-disconnected",
        says: &["is not connected", "until its failover timeout"],
        helps: &[&["connect"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "it was torn down",
        build: |s| {
            web_and_agent(s);
            s.tears_down("web");
        },
        demand: "",
        code: "framework-removed",
        says: &["it was torn down"],
        ..Situation::PLAIN
    },
    Situation {
        name: "others come first by their share",
        build: |s| {
            web_and_agent(s);
            s.agent("b", 4000);
            s.occupies("web", "b", &[("own", 2000)]);
            s.occupies("poor", "b", &[("first", 1000)]);
        },
        at_once: |s| {
            let one = s.wanting("web", 1, cpus(4000), &["agent=a"]);
            vec![one, s.wanting("poor", 1, cpus(4000), &["agent=a"])]
        },
        code: "fair-share",
        says: &["poor gets host-a", "newer than the last allocation"],
        helps: &[&["weight"], &["decline"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "another has not answered its offer",
        build: |s| {
            web_and_agent(s);
            s.plain_framework("slow", "slow");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "offered",
        says: &["what would fit on host-a is offered to slow"],
        fell_out: Some(("cpus", &["host-a"])),
        helps: &[&["decline"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "it has not answered its own offer for something else",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, cpus(3000), &[]);
            s.wants("web", 1, cpus(2000), &[]);
        },
        demand: "second",
        code: "offered",
        says: &["offered to the framework itself for something else"],
        // To decline it sets a filter, which covers the smaller one too: it does not help.
        helps: &[&["smaller"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "it holds as many offers as it may",
        build: |s| {
            s.framework("web", "web");
            for name in ["a", "b", "c", "d"] {
                s.agent(name, 4000);
            }
            s.framework("rival", "rival");
            s.wants("rival", 1, cpus(9000), &[]);
            s.wants("web", 4, amount(4000, 8), &[]);
        },
        code: "holds-too-much",
        says: &["2 of 4 are offered; for the rest", "one may hold no more while others wait"],
        fell_out: Some(("hold", &["host-c", "host-d"])),
        helps: &[&["decline"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "part of it is offered",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 3, cpus(3000), &[]);
        },
        code: "no-room",
        says: &["1 of 3 are offered; for the rest"],
        helps: &[&["smaller"], &["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "newer than the last allocation",
        build: web_and_agent,
        at_once: |s| vec![s.wanting("web", 1, cpus(1000), &[])],
        code: "served",
        says: &["about to be made", "newer than the last allocation"],
        ..Situation::PLAIN
    },
    Situation {
        name: "it has offers to answer",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 2, cpus(1000), &[]);
        },
        code: "served",
        says: &["offers for all 2 are open"],
        ..Situation::PLAIN
    },
    Situation {
        name: "the only agent is gone for good",
        build: |s| {
            web_and_agent(s);
            s.gone("a");
            s.wants("web", 1, cpus(1000), &[]);
        },
        code: "no-agents",
        says: &["=there is no agent; 1 was declared gone"],
        helps: &[&["add-agent"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "what it asked for was refused",
        build: |s| {
            web_and_agent(s);
            s.wants("web", 1, Amount::default(), &[]);
        },
        demand: "",
        code: "wants-nothing",
        says: &["it declares no demand", "was refused"],
        ..Situation::PLAIN
    },
    Situation {
        name: "it has never said what it wants",
        build: |s| {
            s.plain_framework("web", "web");
            s.agent("a", 4000);
            s.declines("web", None, 60);
        },
        demand: "",
        code: "filtered",
        says: &["declares no demands: what it waits for, or whether it does, is not known"],
        helps: &[&["revive"], &["wait"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "a limit and no room",
        build: |s| {
            web_and_agent(s);
            s.quota("web", 0, Some(1000));
            s.occupies("batch", "a", &[("etl", 3000)]);
            s.wants("web", 1, cpus(2000), &[]);
        },
        code: "quota-limit",
        says: &["and it is not the only rule in the way"],
        helps: &[&["limit", "task-ends"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "a drain and a limit",
        build: |s| {
            web_and_agent(s);
            s.quota("web", 0, Some(1000));
            s.drains("a");
            s.wants("web", 1, cpus(2000), &[]);
        },
        code: "agent-draining",
        says: &["host-a would do, but it drains"],
        helps: &[&["resume-agent", "limit"]],
        ..Situation::PLAIN
    },
    Situation {
        name: "a reservation and somebody's task",
        build: |s| {
            web_and_agent(s);
            s.agent("b", 4000);
            s.occupies("batch", "b", &[("etl", 4000)]);
            reserve(s, "a", "db", 4000);
            s.wants("web", 1, cpus(4000), &[]);
        },
        code: "reserved",
        says: &["reserved for role db"],
        helps: &[&["unreserve"], &["task-ends"], &["tasks-end"], &["add-agent"]],
        ..Situation::PLAIN
    },
];
