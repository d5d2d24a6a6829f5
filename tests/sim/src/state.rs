//! How a node stands, as lines: what replays compare before and after each step.

use master_core::Master;
use master_raft::Role;

use crate::node::{Node, Process};
use crate::workload::Standing;
use crate::world::World;

/// How a node stands.
pub fn of(world: &World, node: Node) -> Vec<String> {
    match node {
        Node::Master(_) => master(world, node),
        Node::Agent(_) => agent(world, node),
        Node::Framework(_) => framework(world, node),
    }
}

/// How everybody and the network stand.
pub fn of_all(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for node in world.nodes() {
        lines.extend(of(world, node).into_iter().map(|line| format!("{node}: {line}")));
    }
    lines.extend(world.network.blocked().map(|(from, to)| format!("{from} cannot reach {to}")));
    lines
}

fn process(process: &Process, now: u64) -> Vec<String> {
    let mut lines = vec![match process.up {
        true => format!("lives (life {})", process.life),
        false => format!("is down (behind life {})", process.life),
    }];
    if process.busy {
        lines.push("waits for its disk".to_owned());
    }
    if process.paused_until == u64::MAX {
        lines.push("sleeps until it is succeeded".to_owned());
    } else if process.paused_until > now {
        lines.push(format!("sleeps until {:.3}s", process.paused_until as f64 / 1e9));
    }
    lines
}

fn master(world: &World, node: Node) -> Vec<String> {
    let master = &world.masters[node.index()];
    let mut lines = process(&master.process, world.now);
    let hard_state = master.disk.hard_state();
    let vote = hard_state.vote.map_or("nobody".to_owned(), |vote| format!("master-{}", vote.0));
    lines.push(format!("disk: log up to {}", master.disk.last_index()));
    lines.push(format!("disk: term {}, vote for {vote}", hard_state.term));
    if let Some(machine) = &master.machine {
        lines.extend(lives_as_master(machine));
        lines.extend(world.checks.conservation.open_at(node).map(|offer| format!("offer {offer} is open")));
    }
    lines
}

fn lives_as_master(machine: &Master) -> Vec<String> {
    let mut lines = vec![match machine.role() {
        Role::Leader { term } => format!("leads in term {term}"),
        Role::Candidate { term } => format!("is a candidate in term {term}"),
        Role::Follower { term, leader: Some(leader) } => {
            format!("follows master-{} in term {term}", leader.0)
        }
        Role::Follower { term, leader: None } => format!("follows nobody in term {term}"),
    }];
    lines.push(format!("has applied {}", machine.applied()));
    let registry = machine.registry();
    for agent in registry.agents() {
        lines.push(format!("{} is {}", agent.info.id, agent.state.as_str()));
    }
    for framework in registry.frameworks() {
        let (id, name) = (&framework.record.id, &framework.record.info.name);
        lines.push(format!("framework {id} is {name}"));
    }
    for task in registry.tasks() {
        let run = task.status.run.map_or(String::new(), |run| format!(" as run {run}"));
        let kill = if task.kill_grace.is_some() { ", and is to end" } else { "" };
        let (framework, id, state) = (&task.framework, &task.info.id, task.status.state.as_str());
        lines.push(format!("task {framework}/{id}{run} on {} is {state}{kill}", task.agent));
    }
    for role in registry.roles() {
        lines.push(format!(
            "role {}: limits {:?}, weight {}",
            role.role,
            role.quota.limits.0,
            role.weight.milli()
        ));
    }
    lines
}

fn agent(world: &World, node: Node) -> Vec<String> {
    let agent = &world.agents[node.index()];
    let mut lines = process(&agent.process, world.now);
    lines.push(format!(
        "disk: {} records, {} of them not synced",
        agent.ledger.len(),
        agent.ledger.unsynced()
    ));
    if agent.left {
        lines.push("was sent away".to_owned());
    }
    if let Some(machine) = &agent.machine {
        let joined = if machine.is_joined() { "has joined" } else { "has not joined" };
        lines.push(joined.to_owned());
        lines.push(format!("knows {} runs", machine.runs_known()));
    }
    for found in agent.keeper.found() {
        let task = agent.keeper.get(found.run).map(|slot| slot.given.task.id.to_string()).unwrap_or_default();
        lines.push(format!("run {} ({task}): {:?}", found.run, found.state));
    }
    for volume in agent.volumes.volumes() {
        lines.push(format!("volume {} of {} #{}", volume.id, volume.role, volume.birth));
    }
    lines
}

fn framework(world: &World, node: Node) -> Vec<String> {
    let framework = &world.frameworks[node.index()];
    let mut lines = process(&framework.process, world.now);
    lines.push(format!("part: {:?}", framework.part));
    if let Some(id) = &framework.memory.framework {
        lines.push(format!("is {id}"));
    }
    if let Some(driver) = &framework.driver {
        let session = if driver.is_connected() { "has a session" } else { "has no session" };
        lines.push(session.to_owned());
    }
    for (number, job) in (1..).zip(&framework.memory.jobs) {
        if job.standing != Standing::Done {
            lines.push(format!("job {number}, attempt {}: {:?}", job.attempt, job.standing));
        }
    }
    lines
}
