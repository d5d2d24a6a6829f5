//! The jobs framework in its session, told anything by its master: the SDK's machine, the reconciler and the jobs at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::framework::FrameworkInfo;
use framework_sdk::role::Role;
use framework_sdk::{Config, Driver, Input, Link, Output};
use frameworks_jobs::scheduler::{self, Jobs, Order, Ticket};
use frameworks_jobs::spec::JobSpec;
use frameworks_jobs::store::{Record, State};
use frameworks_jobs::wire;
use prost::Message as _;
use proto::id::{Epoch, OfferId, TaskId};
use proto::operation::Operation;
use proto::scheduler::{Call, CallKind, Event, EventKind};
use proto::wire::Wire;
use proto_machine::{Now, Outbox};

use super::{STEPS_MAX, Surroundings, World};
use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(in super::super) const JOBS: Target = Target::new(
    "session",
    "whatever its master says, a framework launches each task once, and what it has stored is where it begins again",
    Kind::Wire,
    jobs,
)
.costs(8 << 10);

type Machine = Driver<Jobs>;

#[derive(Default)]
struct Around {
    disk: State,
    link: Option<Link>,
    sequence: u64,
    asked: Vec<proto::id::OperationId>,
    tasks: Vec<TaskId>,
    replied: usize,
    said: usize,
}

impl Surroundings<Machine> for Around {
    fn perform(
        &mut self,
        _: &mut Machine,
        _: Now,
        output: Output<scheduler::Output>,
        _: &mut Outbox<Output<scheduler::Output>>,
    ) -> Result<(), String> {
        match output {
            Output::Connect { link, .. } => (self.link, self.sequence) = (Some(link), 0),
            Output::Send { call, .. } => self.hear(call)?,
            Output::Author(scheduler::Output::Store(records)) => {
                for record in records {
                    self.disk.apply(record);
                }
            }
            Output::Author(scheduler::Output::Reply(..)) => self.replied += 1,
            Output::Author(_) | Output::Disconnect { .. } | Output::Ended { .. } => {}
        }
        Ok(())
    }
}

impl Around {
    fn hear(&mut self, call: Call) -> Result<(), String> {
        self.said += 1;
        let travelled =
            Call::decode(&call.encode()).map_err(|bad| format!("{call:?} does not travel: {bad}"))?;
        ensure(travelled == call, || format!("{call:?} arrives as {travelled:?}"))?;
        self.asked.extend(call.operation.clone());
        let CallKind::Accept(accept) = call.kind else { return Ok(()) };
        for operation in accept.parts.iter().flat_map(|part| &part.operations) {
            let tasks = match operation {
                Operation::Launch(launch) => &launch.tasks,
                Operation::LaunchGroup(group) => &group.tasks,
                _ => continue,
            };
            self.tasks.extend(tasks.iter().map(|task| task.id.clone()));
        }
        Ok(())
    }
}

fn machine(disk: &State, life: u64) -> Result<Machine, String> {
    let info = FrameworkInfo {
        name: "jobs".to_owned(),
        roles: Vec::new(),
        failover_timeout: Duration::from_secs(60),
        address: String::new(),
        labels: BTreeMap::new(),
    };
    let jobs = Jobs::new(info, Role::default_role(), disk.clone(), life);
    let config = Config {
        info: jobs.info().clone(),
        id: disk.framework.clone(),
        operation_prefix: format!("fuzz.{life}"),
        masters: vec!["m1:1".to_owned(), "m2:1".to_owned()],
        seed: life,
        believed: jobs.believed(),
    };
    Driver::new(config, jobs).map_err(|bad| bad.to_string())
}

fn jobs(input: &[u8]) -> Verdict {
    let mut around = Around::default();
    around.disk.apply(Record::Header { format: 3, prefix: "fuzz".to_owned() });
    let mut life = 1;
    let mut world = World::new(machine(&around.disk, life)?, around);
    world.pass(0)?;
    for (kind, step) in tree::messages(input).take(STEPS_MAX) {
        let loose = tree::number(step, 3) != 0;
        match kind {
            1 => {
                let Ok(mut event) = Event::decode(tree::bytes(step, 2)) else { continue };
                let Some(link) = world.around.link else { continue };
                if loose {
                    near(&mut world.around, &mut event);
                }
                world.say(Input::Event { link, event })?;
            }
            2 => {
                let Some(link) = world.around.link else { continue };
                world.say(Input::Lost { link })?;
            }
            3 => world.pass(tree::number(step, 1))?,
            4 => {
                let Ok(spec) = wire::JobSpec::decode(tree::bytes(step, 2)) else { continue };
                let Ok(spec) = JobSpec::from_wire(spec) else { continue };
                // What a person asks for by the thousand takes the time of thousands.
                if spec.instances > 8 {
                    continue;
                }
                let (ticket, request) = (Ticket(1), format!("request-{}", tree::number(step, 1)));
                let order =
                    Order::Submit { ticket, request, spec: Arc::new(spec), ephemeral: false, replace: loose };
                world.say(Input::Author(order))?;
            }
            5 => {
                life += 1;
                world.around.link = None;
                world.machine = machine(&world.around.disk, life)?;
                world.pass(0)?;
            }
            _ => {}
        }
    }
    world.pass(1_000)?;
    Ok(if world.around.said > 1 { Taken::Yes } else { Taken::No })
}

/// The event comes next in its session and speaks of what is known there.
fn near(around: &mut Around, event: &mut Event) {
    if event.sequence > 0 || !matches!(event.kind, EventKind::Heartbeat) {
        around.sequence += 1;
        event.sequence = around.sequence;
    }
    match &mut event.kind {
        EventKind::Subscribed(subscribed) => {
            (around.sequence, event.sequence) = (subscribed.resumed.into(), subscribed.resumed.into());
            for status in &mut subscribed.tasks {
                known(&around.tasks, &mut status.task, status.sequence);
            }
        }
        EventKind::Update(status) => known(&around.tasks, &mut status.task, status.sequence),
        EventKind::Answer(answer) => {
            let at = answer.operation.as_str().len() as u64;
            known(&around.asked, &mut answer.operation, at);
        }
        EventKind::Offers(offers) => {
            for (offer, number) in offers.offers.iter_mut().zip(1..) {
                offer.id = OfferId { epoch: Epoch(1), number: around.sequence * 100 + number };
            }
        }
        _ => {}
    }
}

/// One of the latest that are known.
fn known<T: Clone>(all: &[T], one: &mut T, number: u64) {
    if let Some(found) = all.iter().rev().nth((number % 4) as usize).or(all.last()) {
        *one = found.clone();
    }
}
