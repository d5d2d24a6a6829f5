//! What ten thousand instances cost the scheduler, without its master.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framework_sdk::harness::{Harness, agent, resources};
use framework_sdk::offer::Offer;
use framework_sdk::role::Role;
use framework_sdk::task::{Exit, TaskState};
use framework_sdk::{Answered, Calls, Now, Scheduler, Session, Update, WallTime};

use super::super::{Jobs, Order, Output, Ticket};
use super::rig::{info, spec};
use crate::spec::{JobSpec, Kind};
use crate::store::{Record, State};

/// The scheduler, and the time that was spent in it.
struct Timed {
    jobs: Jobs,
    spent: Cell<Duration>,
}

impl Timed {
    fn time<R>(&mut self, act: impl FnOnce(&mut Jobs) -> R) -> R {
        let begun = Instant::now();
        let result = act(&mut self.jobs);
        self.spent.set(self.spent.get() + begun.elapsed());
        result
    }
}

impl Scheduler for Timed {
    type Input = Order;
    type Output = Output;

    fn demands(&self) -> Option<Vec<framework_sdk::demand::Demand>> {
        self.jobs.demands()
    }

    fn subscribed(&mut self, now: Now, session: &Session, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.subscribed(now, session, out));
    }

    fn offers(&mut self, now: Now, offers: Vec<Offer>, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.offers(now, offers, out));
    }

    fn update(&mut self, now: Now, update: Update, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.update(now, update, out));
    }

    fn answered(&mut self, now: Now, answered: &Answered, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.answered(now, answered, out));
    }

    fn input(&mut self, now: Now, order: Order, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.input(now, order, out));
    }

    fn wake(&mut self, now: Now, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.wake(now, out));
    }

    fn wake_at(&self) -> Option<framework_sdk::Instant> {
        self.jobs.wake_at()
    }

    fn settle(&mut self, now: Now, out: &mut Calls<Output>) {
        self.time(|jobs| jobs.settle(now, out));
    }
}

#[test]
fn an_instance_costs_the_same_however_many_there_are() {
    const INSTANCES: u32 = 10_000;
    let jobs = Jobs::new(info(), Role::default_role(), State::default(), 1);
    let timed = Timed { jobs, spent: Cell::new(Duration::ZERO) };
    let mut harness = Harness::new(framework_sdk::harness::config("jobs"), timed).expect("a harness");
    for at in 0..20 {
        harness.master.add_agent(agent(&format!("a{at}"), resources(64_000, 64 << 30)));
    }
    harness.run();
    let batch = JobSpec { cpus_milli: 10, mem_bytes: 4 << 20, ..spec("b", Kind::Batch, INSTANCES) };
    harness.input(Order::Submit {
        ticket: Ticket(1),
        request: "0123456789abcdef".to_owned(),
        spec: Arc::new(batch),
        ephemeral: true,
        replace: false,
    });
    while harness.master.accepted.len() < INSTANCES as usize {
        harness.offer();
    }
    let launched = harness.scheduler().spent.get();
    // Each status is a batch of its own: whatever a batch costs is paid 20,000 times.
    let tasks = harness.master.accepted.clone();
    let mut ends = Vec::new();
    for some in tasks.chunks(1000) {
        let before = harness.scheduler().spent.get();
        for task in some {
            harness.master.report(task, TaskState::Running, None);
            harness.run();
            harness.master.report(task, TaskState::Finished, Some(Exit::Code(0)));
            harness.run();
        }
        harness.outputs.clear();
        ends.push((harness.scheduler().spent.get() - before) / 1000);
    }
    let each = harness.scheduler().spent.get() / INSTANCES;
    println!("{each:?} for an instance; launched in {:?}; run and ended in {ends:?}", launched / INSTANCES);
    // Ten times what it takes without optimization. Were something done for each instance in each batch, it would be
    // thousands of times.
    assert!(each < Duration::from_millis(2), "{each:?}");
    let summary = harness.scheduler().jobs.view("b", false).and_then(|view| view.summary).expect("there");
    assert!(summary.over && summary.finished == INSTANCES, "{summary:?}");
}

#[test]
fn a_job_costs_the_same_however_many_fail_with_it() {
    const JOBS: usize = 10_000;
    let mut state = State::default();
    let name = |n: usize| format!("j{n:05}");
    for n in 0..JOBS {
        // The last one was stopped, and each comes after the next: it ends with all of them.
        let after = if n + 1 < JOBS { vec![name(n + 1)] } else { Vec::new() };
        let spec = Arc::new(JobSpec { after, ..spec(&name(n), Kind::Batch, 1) });
        let stored = state.store_job(spec, &format!("0123456789abcdef{n}"), 1, false);
        state.apply(stored);
    }
    state.apply(Record::JobStopped { name: name(JOBS - 1), purge: false });
    let mut jobs = Jobs::new(info(), Role::default_role(), state, 1);
    let now = Now { monotonic: framework_sdk::Instant::default(), wall: WallTime::from_millis(1) };
    let mut calls = Calls::default();
    let begun = Instant::now();
    jobs.wake(now, &mut calls);
    jobs.settle(now, &mut calls);
    let each = begun.elapsed() / JOBS as u32;
    println!("{each:?} for a job");
    assert_eq!(jobs.totals.over, JOBS as u64);
    // Some twenty times what it takes without optimization. Were all looked at for each, it would be a hundred times.
    assert!(each < Duration::from_micros(200), "{each:?}");
}
