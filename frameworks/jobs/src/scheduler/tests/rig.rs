//! A jobs framework with a disk and a pretend master: it is asked, it works, it dies and is started again.

use std::collections::BTreeMap;
use std::sync::Arc;

use framework_sdk::conversation::CallKind;
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::harness::{Fake, Harness, agent, resources};
use framework_sdk::refusal::Refusal;
use framework_sdk::role::Role;
use framework_sdk::task::{Exit, TaskState};
use framework_sdk::{Config, Dice};

use super::super::report::Totals;
use super::super::work::Sums;
use super::super::{Jobs, Order, Output, Reply, Ticket, Watcher};
use crate::spec::{Command, JobSpec, Kind};
use crate::store::{Record, State};
use crate::wire;

/// A framework process: the scheduler in its harness, and the disk that outlives it.
pub(super) struct Process {
    pub(super) harness: Harness<Jobs>,
    pub(super) disk: State,
    pub(super) life: u64,
    pub(super) tickets: u64,
}

pub(super) fn info() -> FrameworkInfo {
    framework_sdk::harness::config("jobs").info
}

pub(super) fn boot(mut disk: State, master: Fake, life: u64) -> Process {
    if disk.prefix.is_empty() {
        disk.apply(Record::Header { format: 3, prefix: "test".to_owned() });
    }
    let jobs = Jobs::new(info(), Role::default_role(), disk.clone(), life);
    let config = Config {
        info: jobs.info().clone(),
        id: disk.framework.clone(),
        operation_prefix: format!("test.{life}"),
        believed: jobs.believed(),
        seed: life,
        ..framework_sdk::harness::config("jobs")
    };
    let harness = Harness::with_master(config, jobs, master).expect("a good configuration");
    Process { harness, disk, life, tickets: 0 }
}

pub(super) fn start() -> Process {
    let mut master = Fake::new();
    master.add_agent(agent("a1", resources(4000, 4 << 30)));
    let mut process = boot(State::default(), master, 1);
    process.harness.run();
    process
}

pub(super) fn spec(name: &str, kind: Kind, instances: u32) -> JobSpec {
    JobSpec { instances, ..JobSpec::new(name, kind, Command::Shell("true".to_owned())) }
}

impl Process {
    /// What was stored so far is on the disk, whatever happens next.
    pub(super) fn sync(&mut self) -> Vec<Output> {
        let outputs = std::mem::take(&mut self.harness.outputs);
        for output in &outputs {
            if let Output::Store(records) = output {
                records.iter().for_each(|record| self.disk.apply(record.clone()));
            }
        }
        outputs
    }

    /// Dies and starts anew from its disk.
    pub(super) fn restart(mut self) -> Process {
        self.sync();
        let wall = self.harness.now().wall;
        let mut process = boot(self.disk, self.harness.crash(), self.life + 1);
        process.harness = process.harness.at(wall);
        process
    }

    /// If it has died, some of what it had sent may still arrive; then it starts anew.
    pub(super) fn buried(mut self, dice: &mut Dice) -> Process {
        if !self.harness.is_dead() {
            return self;
        }
        while dice.chance(3, 4) && self.harness.deliver_one() {}
        self.restart()
    }

    pub(super) fn order(&mut self, make: impl FnOnce(Ticket) -> Order) -> Option<Reply> {
        self.sync();
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.harness.input(make(ticket));
        let outputs = self.sync();
        outputs.into_iter().find_map(|output| match output {
            Output::Reply(of, reply) if of == ticket => Some(reply),
            _ => None,
        })
    }

    pub(super) fn submit(&mut self, spec: JobSpec) -> Result<wire::SubmitReply, Refusal> {
        let request = format!("request-{}-{}", self.life, self.tickets);
        self.submit_as(&request, spec, true)
    }

    pub(super) fn submit_as(
        &mut self,
        request: &str,
        spec: JobSpec,
        replace: bool,
    ) -> Result<wire::SubmitReply, Refusal> {
        let (request, spec) = (request.to_owned(), Arc::new(spec));
        match self.order(|ticket| Order::Submit { ticket, request, spec, ephemeral: false, replace }) {
            Some(Reply::Submitted(reply)) => Ok(reply),
            Some(Reply::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn stop(&mut self, name: &str, purge: bool) -> Result<wire::StopReply, Refusal> {
        match self.order(|ticket| Order::Stop { ticket, name: name.to_owned(), purge }) {
            Some(Reply::Stopped(reply)) => Ok(reply),
            Some(Reply::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn job(&mut self, name: &str) -> Option<wire::JobView> {
        match self.order(|ticket| Order::Get { ticket, name: name.to_owned(), tasks: true }) {
            Some(Reply::Got(reply)) => reply.jobs.into_iter().next(),
            Some(Reply::Refused(_)) => None,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn summary(&mut self, name: &str) -> wire::Summary {
        self.job(name).and_then(|job| job.summary).expect("the job is there")
    }

    pub(super) fn held(&mut self, name: &str) -> wire::ExplainReply {
        match self.order(|ticket| Order::Explain { ticket, name: name.to_owned() }) {
            Some(Reply::Explained(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn promote(&mut self, name: &str) -> Result<u64, Refusal> {
        match self.order(|ticket| Order::Promote { ticket, name: name.to_owned() }) {
            Some(Reply::Promoted(reply)) => Ok(reply.revision),
            Some(Reply::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn roll_back(&mut self, name: &str) -> Result<u64, Refusal> {
        match self.order(|ticket| Order::Rollback { ticket, name: name.to_owned() }) {
            Some(Reply::RolledBack(reply)) => Ok(reply.revision),
            Some(Reply::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// Watches a job from now on; what is told first.
    pub(super) fn watch(&mut self, name: &str) -> Vec<wire::JobEvent> {
        self.sync();
        let (watcher, name) = (Watcher(1), name.to_owned());
        self.harness.input(Order::Watch { watcher, name, until_over: false });
        self.told()
    }

    /// What watchers were told since.
    pub(super) fn told(&mut self) -> Vec<wire::JobEvent> {
        let told = |output| match output {
            Output::Tell(_, event) => Some(event),
            _ => None,
        };
        self.sync().into_iter().filter_map(told).collect()
    }

    /// The names of the jobs there are.
    pub(super) fn jobs(&self) -> Vec<&str> {
        self.disk.jobs.keys().map(String::as_str).collect()
    }

    /// What the tasks that live run, in order.
    pub(super) fn scripts(&self) -> Vec<String> {
        let tasks = self.harness.master.tasks().filter(|(_, task)| !task.state().is_terminal());
        let mut scripts: Vec<String> = tasks.map(|(_, task)| task.info.command.argv[0].clone()).collect();
        scripts.sort();
        scripts
    }

    /// Offers and good starts until nothing changes any more.
    pub(super) fn go_on(&mut self) {
        for _ in 0..20 {
            self.offer();
            let starts = |process: &Process, task: &String| {
                process.harness.master.task(task).is_some_and(|task| task.state() == TaskState::Staging)
            };
            let started: Vec<String> =
                self.harness.alive().into_iter().filter(|task| starts(self, task)).collect();
            for task in &started {
                self.harness.report(task, TaskState::Running, None);
            }
            self.sync();
            if started.is_empty() {
                return;
            }
        }
        panic!("there is no end of launches");
    }

    pub(super) fn offer(&mut self) {
        self.harness.offer();
        self.sync();
    }

    pub(super) fn report_all(&mut self, state: TaskState, exit: Option<Exit>) {
        for task in self.harness.alive() {
            self.harness.report(&task, state, exit);
        }
        self.sync();
    }

    pub(super) fn calls(&self, which: impl Fn(&CallKind) -> bool) -> usize {
        self.harness.calls.iter().filter(|call| which(call)).count()
    }

    /// What is told of all jobs is what they come to one by one.
    pub(super) fn totals_hold(&self) {
        let jobs = self.harness.scheduler();
        let mut totals = Totals { restarts: jobs.totals.restarts, ..Totals::default() };
        if jobs.has_begun {
            jobs.state.jobs.values().for_each(|job| totals.add(&Totals::of(job, &Sums::of(job))));
        }
        assert_eq!((jobs.totals, jobs.told), (totals, totals));
    }

    /// What each instance was started as, in the eyes of the master.
    pub(super) fn started(&self) -> BTreeMap<(String, String), Vec<String>> {
        let mut by: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for id in &self.harness.master.accepted {
            let labels = &self.harness.master.task(id.as_str()).expect("accepted").info.labels;
            by.entry((labels["job"].clone(), labels["instance"].clone())).or_default().push(id.to_string());
        }
        by
    }
}

pub(super) fn stores_come_first(outputs: &[Output]) -> bool {
    let reply = outputs.iter().position(|output| matches!(output, Output::Reply(..)));
    let store = outputs.iter().position(|output| matches!(output, Output::Store(_)));
    match (store, reply) {
        (Some(store), Some(reply)) => store < reply,
        (None, Some(_)) => false,
        (_, None) => true,
    }
}

impl Process {
    pub(super) fn offer_keeping(&mut self) {
        self.harness.offer();
    }

    pub(super) fn report_keeping(&mut self, state: TaskState) {
        for task in self.harness.alive() {
            self.harness.report(&task, state, None);
        }
    }
}
