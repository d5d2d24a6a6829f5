//! P13: soon after the last fault there is one leader, every agent is back, every job is done and everybody knows.

use std::collections::BTreeSet;

use proto::agent::AgentState;
use proto::id::{RunId, TaskId};
use proto::task::TaskState;

use super::{Verdict, broken, volumes};
use crate::frameworks::{FrameworkNode, Part};
use crate::node::Node;
use crate::world::World;

/// What is still missing; `None` when the world has healed.
pub fn missing(world: &World) -> Option<String> {
    let leaders: Vec<Node> = world.leaders();
    let [leader] = leaders[..] else { return Some(format!("leaders: {leaders:?}")) };
    if let Some(missing) = world.members_missing() {
        return Some(missing);
    }
    let machine = world.master_machine(leader)?;
    let applied = machine.applied();
    for (node, index) in world.masters_applied() {
        if index != applied {
            return Some(format!("{node} has applied {index}, {leader} {applied}"));
        }
    }
    let registry = machine.registry();
    // Tasks run for hours, and what runs is at rest.
    let stays = world.options.long_permille > 0;
    let mut running: BTreeSet<RunId> = BTreeSet::new();
    for agent in &world.agents {
        if let Some(unsettled) = volumes::unsettled(agent, registry) {
            return Some(unsettled);
        }
        if agent.left {
            continue;
        }
        let record = registry.agent(&agent.info.id);
        let gone = record.is_some_and(|record| record.state == AgentState::Gone);
        let joined = agent.machine.as_ref().is_some_and(|machine| machine.is_joined());
        if gone || !joined || record.is_none_or(|record| record.state != AgentState::Active) {
            return Some(format!("{} is not back: {:?}", agent.info.id, record.map(|record| record.state)));
        }
        let runs: BTreeSet<RunId> = match stays {
            true => agent.keeper.running().map(|(run, _)| run).collect(),
            false => BTreeSet::new(),
        };
        if let Some(machine) = agent.machine.as_ref().filter(|machine| machine.runs_known() > runs.len()) {
            return Some(format!("{} remembers {} runs", agent.info.id, machine.runs_known()));
        }
        if let Some(found) = agent.keeper.found().iter().find(|found| !runs.contains(&found.run)) {
            return Some(format!("the keeper of {} remembers {}", agent.info.id, found.run));
        }
        running.extend(runs);
    }
    for framework in &world.frameworks {
        match framework.part {
            Part::Plays => {}
            Part::Waits => continue,
            Part::Succeeded if framework.driver.is_none() => continue,
            Part::Succeeded => {
                return Some(format!("{} does not know that it was succeeded", framework.name));
            }
            Part::Gone if framework.plan.habits.is_succeeded => continue,
            Part::Gone => {
                match registry.frameworks().find(|known| known.record.info.name == framework.name) {
                    Some(known) => return Some(format!("{} went away and is waited for", known.record.id)),
                    None => continue,
                }
            }
        }
        if !framework.driver.as_ref().is_some_and(|driver| driver.is_connected()) {
            return Some(format!("{} is not connected", framework.name));
        }
        // What was said on a stream that is broken never comes, and it has yet to notice.
        let is_broken = |id: u64| world.network.stream(id).is_none_or(|stream| stream.broken);
        if framework.stream.is_some_and(|(_, id)| is_broken(id)) {
            return Some(format!("{} does not know that its stream is broken", framework.name));
        }
        let runs = |task: &TaskId| {
            let Some(id) = &framework.memory.framework else { return false };
            let known = registry.task(&(id.clone(), task.clone())).and_then(|known| known.status.run);
            let told = world.checks.launches.last_told(id, task);
            known.is_some_and(|run| running.contains(&run)) && told == Some(TaskState::Running)
        };
        if let Some((job, standing)) = framework.memory.unfinished(runs) {
            return Some(format!("{}: job {job} is {standing:?}", framework.name));
        }
    }
    let alive = registry.tasks().find(|task| !task.status.run.is_some_and(|run| running.contains(&run)));
    alive.map(|task| format!("{} has not ended in the log: {:?}", task.info.id, task.status.state))
}

/// In a world that has healed, every launch that was accepted has ended, and its framework knows.
pub fn nothing_forgotten(world: &World) -> Verdict {
    let running: BTreeSet<RunId> =
        world.agents.iter().flat_map(|agent| agent.keeper.running()).map(|(run, _)| run).collect();
    for ((framework, task), wish) in world.checks.launches.wishes() {
        // A framework that was removed is told nothing more.
        let here = |node: &FrameworkNode| {
            node.part == Part::Plays && node.memory.framework.as_ref() == Some(framework)
        };
        if !world.frameworks.iter().any(here) {
            continue;
        }
        let over = |state: TaskState| state.is_terminal() || state == TaskState::Unknown;
        let accepted = wish.committed || wish.run.is_some();
        if wish.run.is_some_and(|run| running.contains(&run)) {
            continue;
        }
        if accepted && !wish.told.is_some_and(over) {
            let how = format!("{task} of {framework} was accepted; last told: {:?}", wish.told);
            return broken("P3 accepted launches", how);
        }
    }
    Ok(())
}
