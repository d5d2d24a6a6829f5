//! The rules of the reconciler, each against a pretend master.

mod changes;
mod drains;
mod ends;
mod lives;
mod places;
mod rollouts;
mod together;
mod turns;
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use proto::agent::AgentInfo;
use proto::attributes::AttributeValue;
use proto::id::TaskId;
use proto::task::TaskState;

use super::{Event, Order, Output, Reconciler, Ticket};
use crate::Config;
use crate::desired::{Birth, Group, TaskSpec};
use crate::harness::{Fake, Harness, agent, config, resources};

/// A framework, its master, and what it saved.
struct Play {
    harness: Harness<Reconciler>,
    lives: u64,
    memory: BTreeMap<String, String>,
    /// What was told so far, in words.
    told: Vec<String>,
    /// Tickets that wait for an answer.
    tickets: Vec<Ticket>,
}

fn spec() -> TaskSpec {
    TaskSpec::shell("serve")
}

fn group(name: &str) -> Group {
    Group::of(spec()).named(name).expect("a name")
}

/// An agent in a zone, with room for ten.
fn zoned(name: &str, zone: &str) -> AgentInfo {
    let mut info = agent(name, resources(1000, 4 << 30));
    info.attributes.0.insert("zone".to_owned(), AttributeValue::Text(zone.to_owned()));
    info
}

fn life(lives: u64, memory: &BTreeMap<String, String>) -> (Config, Reconciler) {
    let config = config("play");
    let id = super::remembered_framework(memory);
    let reconciler = Reconciler::new(config.info.clone(), memory.clone(), lives);
    (Config { id, operation_prefix: format!("life{lives}"), ..config }, reconciler)
}

impl Play {
    /// A framework that has subscribed for the first time, and these agents.
    fn new(agents: impl IntoIterator<Item = AgentInfo>) -> Play {
        Play::with(agents, |reconciler| reconciler)
    }

    fn with(agents: impl IntoIterator<Item = AgentInfo>, how: impl FnOnce(Reconciler) -> Reconciler) -> Play {
        let memory = BTreeMap::new();
        let (config, reconciler) = life(1, &memory);
        let mut harness = Harness::new(config, how(reconciler)).expect("a harness");
        agents.into_iter().for_each(|info| harness.master.add_agent(info));
        let mut play = Play { harness, lives: 1, memory, told: Vec::new(), tickets: Vec::new() };
        play.go();
        play
    }

    /// One agent with room for ten.
    fn small() -> Play {
        Play::new([zoned("a1", "x")])
    }

    /// All that is on its way arrives, and is kept.
    fn go(&mut self) {
        self.harness.run();
        self.keep();
    }

    fn keep(&mut self) {
        for output in std::mem::take(&mut self.harness.outputs) {
            match output {
                Output::Save(changes) => {
                    changes.into_iter().for_each(|change| change.apply_to(&mut self.memory));
                }
                Output::Tell(event, ticket) => {
                    self.told.push(in_words(&event));
                    self.tickets.extend(ticket);
                }
            }
        }
    }

    fn order(&mut self, order: Order) {
        self.harness.input(order);
        self.offers();
    }

    fn submit(&mut self, group: Group) {
        self.order(Order::Submit(group));
    }

    /// The master makes offers until nobody wants any that it could make.
    fn offers(&mut self) {
        for _ in 0..20 {
            let before = self.harness.master.accepted.len();
            self.harness.offer();
            self.keep();
            if self.harness.master.accepted.len() == before {
                return;
            }
        }
        panic!("there is no end of launches");
    }

    fn wait(&mut self, seconds: u64) {
        self.harness.advance(Duration::from_secs(seconds));
        self.keep();
        self.offers();
    }

    /// The tasks that live, each as its instance.
    fn alive(&self) -> Vec<String> {
        self.alive_tasks().iter().map(instance_of).collect()
    }

    fn alive_tasks(&self) -> Vec<TaskId> {
        let tasks = self.harness.master.tasks();
        tasks.filter(|(_, task)| !task.state().is_terminal()).map(|(id, _)| id.clone()).collect()
    }

    /// The latest task of an instance.
    fn task(&self, instance: &str) -> TaskId {
        let accepted = &self.harness.master.accepted;
        let found = accepted.iter().rev().find(|id| instance_of(id) == instance);
        found.unwrap_or_else(|| panic!("{instance} was never started")).clone()
    }

    fn report(&mut self, instance: &str, state: TaskState) {
        let task = self.task(instance);
        self.harness.master.report(&task, state, None);
        self.go();
        self.offers();
    }

    fn declare(&mut self, instance: &str, state: TaskState) {
        let task = self.task(instance);
        self.harness.master.declare(&task, state);
        self.go();
        self.offers();
    }

    /// Whatever was started and lives runs.
    fn all_run(&mut self) {
        for id in self.alive_tasks() {
            if self.harness.master.task(id.as_str()).is_some_and(|task| task.state() == TaskState::Staging) {
                self.harness.master.report(&id, TaskState::Running, None);
            }
        }
        self.go();
        self.offers();
    }

    /// The process dies, and another takes up what it left.
    fn restart(self) -> Play {
        self.restart_remembering(true)
    }

    fn restart_remembering(mut self, everything: bool) -> Play {
        let now = self.harness.now().wall;
        let master = self.harness.crash();
        if !everything {
            self.memory.retain(|key, _| key == "framework");
        }
        Play::reborn(self.lives + 1, self.memory, master, now)
    }

    fn reborn(
        lives: u64,
        memory: BTreeMap<String, String>,
        master: Fake,
        now: proto_machine::WallTime,
    ) -> Play {
        let (config, reconciler) = life(lives, &memory);
        let harness = Harness::with_master(config, reconciler, master).expect("a harness").at(now);
        let mut play = Play { harness, lives, memory, told: Vec::new(), tickets: Vec::new() };
        play.go();
        play
    }

    fn tells(&mut self, wanted: &str) -> bool {
        let found = self.told.iter().any(|told| told == wanted);
        self.told.clear();
        found
    }

    fn revisions(&self) -> usize {
        let births = self.alive_tasks().into_iter().filter_map(|id| Birth::parse(&id));
        births.map(|birth| birth.revision).collect::<std::collections::BTreeSet<_>>().len()
    }
}

fn instance_of(task: &TaskId) -> String {
    Birth::parse(task).map_or_else(|| task.to_string(), |birth| birth.instance.to_string())
}

fn in_words(event: &Event) -> String {
    match event {
        Event::Session(_) => "session".to_owned(),
        Event::Task(task) => format!("{} {}", task.instance, task.status.state.as_str()),
        Event::Drain { instance, .. } => format!("drain {instance}"),
        Event::GivenUp { instance, .. } => format!("given up {instance}"),
        Event::Rollout { group, step, .. } => format!("change of {group} {step}"),
        Event::Volume { instance, step, .. } => format!("volume of {instance} {step:?}"),
        Event::AsStated(group) => format!("{group} is as stated"),
        Event::Over(group) => format!("{group} is over"),
        Event::Withdrawn(group) => format!("{group} is withdrawn"),
        Event::Unclaimed(group) => format!("{group} is unclaimed"),
        Event::AgentDraining(notice) => format!("{} drains", notice.agent),
        Event::AgentResumed(agent) => format!("{agent} is back"),
        Event::Refused { what, .. } => format!("refused {what}"),
        Event::Ended(_) => "ended".to_owned(),
    }
}
