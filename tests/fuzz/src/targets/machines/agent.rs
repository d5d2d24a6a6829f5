//! An agent whose master and whose containers say anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent_core::{
    Agent, CheckOutcome, Checked, Config, Contain, Container, End, FailureKind, Found, FoundState, How,
    Input, LinkId, Loss, Output, Restore, Room, StartFailure,
};
use proto::agent::AgentInfo;
use proto::agent_link::{Registered, ToAgent, ToAgentKind, ToMaster};
use proto::attributes::Attributes;
use proto::check::CheckRole;
use proto::id::{AgentId, Epoch, RunId};
use proto::ledger::Record;
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto::task::Exit;
use proto::wire::Wire;
use proto_machine::{Now, Outbox};

use super::{STEPS_MAX, Surroundings, World};
use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(in super::super) const AGENT: Target = Target::new(
    "agent-core",
    "whatever a master and containers say, a run starts once, its statuses are numbered without gaps, and the ledger says it all",
    Kind::Wire,
    agent,
);

#[derive(Default)]
struct Around {
    ledger: Vec<Record>,
    link: LinkId,
    /// The highest epoch that was obeyed.
    epoch: u64,
    /// Every run that was ever to start, in the order of their starts.
    launched: Vec<RunId>,
    /// The numbers that were told of each run.
    told: BTreeMap<RunId, BTreeSet<u64>>,
    checks: Vec<(RunId, CheckRole, u64)>,
}

impl Surroundings<Agent> for Around {
    fn perform(
        &mut self,
        _: &mut Agent,
        _: Now,
        output: Output,
        _: &mut Outbox<Output>,
    ) -> Result<(), String> {
        match output {
            Output::Store { record, .. } => {
                if let Record::EpochSeen(epoch) = &record {
                    ensure(epoch.0 >= self.epoch, || format!("{epoch} is obeyed after {}", self.epoch))?;
                    self.epoch = epoch.0;
                }
                self.ledger.push(record);
            }
            Output::Rewrite(records) => self.ledger = records,
            Output::Connect { link, .. } => self.link = link,
            Output::Contain(Contain::Launch(given)) => {
                let taken =
                    |record: &Record| matches!(record, Record::RunTaken(taken) if taken.run == given.run);
                ensure(self.ledger.iter().any(taken), || {
                    format!("{} starts and is not written down", given.run)
                })?;
                ensure(!self.launched.contains(&given.run), || format!("{} starts twice", given.run))?;
                self.launched.push(given.run);
            }
            Output::Contain(Contain::Check(ask)) => self.checks.push((ask.given.run, ask.role, ask.number)),
            Output::ToMaster(ToMaster::Update(update)) => {
                let Some(run) = update.status.run else { return Err(format!("{update:?} is of no run")) };
                let sequence = update.status.sequence;
                let told = self.told.entry(run).or_default();
                let fits = sequence > 0 && (told.contains(&sequence) || told.len() as u64 + 1 == sequence);
                // What a ledger of before began is not begun at 1 here.
                ensure(fits || told.is_empty(), || format!("number {sequence} of {run} after {told:?}"))?;
                told.extend(1..=sequence);
            }
            Output::ToMaster(_)
            | Output::Contain(_)
            | Output::Disconnect(_)
            | Output::Leave(_)
            | Output::Masters(_)
            | Output::Ended
            | Output::Note(_) => {}
        }
        Ok(())
    }
}

fn config() -> Config {
    let info = AgentInfo {
        id: AgentId::new("a1").expect("an id"),
        hostname: "a1".into(),
        address: String::new(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(4_000, 8 << 30))),
        attributes: Attributes::default(),
        version: String::new(),
    };
    Config::new(info, vec!["m1:1".to_owned(), "m2:1".to_owned()], 7)
}

fn agent(input: &[u8]) -> Verdict {
    let mut world = World::new(Agent::new(config()), Around::default());
    // The ledger that it finds stands in the script.
    let records = tree::messages(input)
        .filter(|(kind, _)| *kind == 9)
        .filter_map(|(_, step)| Record::decode(step).ok());
    world.around.ledger = records.take(STEPS_MAX).collect();
    begin(&mut world, false)?;
    for (kind, step) in tree::messages(input).take(STEPS_MAX) {
        let loose = tree::number(step, 3) != 0;
        match kind {
            1 => {
                let Ok(mut message) = ToAgent::decode(tree::bytes(step, 2)) else { continue };
                if loose {
                    message.epoch = Epoch(world.around.epoch);
                    known_run(&world.around, &mut message.kind);
                }
                world.say(Input::FromMaster(world.around.link, message))?;
            }
            2 => world.say(if loose {
                Input::Unlinked(world.around.link)
            } else {
                Input::Linked(world.around.link)
            })?,
            3 => container(&mut world, step)?,
            4 => world.pass(tree::number(step, 1))?,
            5 => {
                world.machine = Agent::new(config());
                begin(&mut world, loose)?;
            }
            6 => world.say(Input::Rewrite)?,
            7 => {
                join(&mut world, tree::number(step, 1).max(1))?;
            }
            8 if tree::number(step, 1) == 13 => world.say(Input::EndRuns)?,
            8 => world.say(Input::Room(if loose { Room::None } else { Room::Enough }))?,
            _ => {}
        }
    }
    world.pass(1_000)?;
    remembers(&mut world)?;
    Ok(if world.around.told.is_empty() { Taken::No } else { Taken::Yes })
}

/// Its process starts. What the keeper has is what was launched.
fn begin(world: &mut World<Agent, Around>, rebooted: bool) -> Result<(), String> {
    let records = world.around.ledger.clone();
    world.say(Input::Restore(Restore { records, rebooted }))?;
    let state = |run: &RunId| match run.0 % 3 {
        0 => FoundState::Running { pid: 7 },
        1 => FoundState::Exited(End { how: How::Exit(Exit::Code(0)), oom: false, at_ms: 5 }),
        _ => FoundState::Starting,
    };
    let lost = FoundState::Exited(End { how: How::Lost(Loss::Rebooted), oom: false, at_ms: 5 });
    let found = world
        .around
        .launched
        .iter()
        .map(|run| Found { run: *run, state: if rebooted { lost.clone() } else { state(run) } });
    let found = found.collect();
    world.say(Input::Recovered(found))
}

fn join(world: &mut World<Agent, Around>, epoch: u64) -> Result<(), String> {
    world.say(Input::Linked(world.around.link))?;
    let epoch = Epoch(epoch.max(world.around.epoch));
    let kind = ToAgentKind::Registered(Registered {
        epoch,
        heartbeat_interval: Duration::from_secs(5),
        silence_limit: Duration::from_secs(15),
    });
    world.say(Input::FromMaster(world.around.link, ToAgent { epoch, kind }))
}

/// The run that is meant is one of those that were launched.
fn known_run(around: &Around, kind: &mut ToAgentKind) {
    let known = |run: &mut RunId| {
        let at = run.0 % around.launched.len().max(1) as u128;
        *run = around.launched.get(at as usize).copied().unwrap_or(*run);
    };
    match kind {
        ToAgentKind::Kill(kill) => known(&mut kill.run),
        ToAgentKind::Acknowledge(acknowledge) => known(&mut acknowledge.run),
        _ => {}
    }
}

fn container(world: &mut World<Agent, Around>, step: &[u8]) -> Result<(), String> {
    let (what, which) = (tree::number(step, 1), tree::number(step, 2) as usize);
    let around = &world.around;
    let run = match around.launched.len() {
        0 => RunId(which as u128),
        count => around.launched[which % count],
    };
    let end = |how| Container::Exited { run, end: End { how, oom: what % 3 == 1, at_ms: 9 } };
    let failure = |kind| StartFailure { kind, message: "no".to_owned() };
    let event = match what % 10 {
        0 | 1 => Container::Started { run, pid: 7 },
        2 => Container::StartFailed { run, failure: failure(FailureKind::Launch) },
        3 => Container::StartFailed { run, failure: failure(FailureKind::Canceled) },
        4 => end(How::Exit(Exit::Code(3))),
        5 => end(How::Exit(Exit::Signal(9))),
        6 => end(How::Lost(Loss::KeeperDied)),
        result => {
            let Some((run, role, number)) = around.checks.last().copied() else { return Ok(()) };
            let result = match result {
                7 => CheckOutcome::Good,
                8 => CheckOutcome::Bad("no".to_owned()),
                _ => CheckOutcome::NotCarriedOut,
            };
            Container::Checked(Checked { run, role, number, result })
        }
    };
    world.say(Input::Container(event))
}

/// The ledger as it would be written anew gives an agent that would write the same.
fn remembers(world: &mut World<Agent, Around>) -> Result<(), String> {
    world.say(Input::Rewrite)?;
    let image = world.around.ledger.clone();
    let mut again = World::new(Agent::new(config()), Around { ledger: image.clone(), ..Around::default() });
    let records = image.clone();
    again.say(Input::Restore(Restore { records, rebooted: false }))?;
    again.say(Input::Rewrite)?;
    ensure(again.around.ledger == image, || {
        format!("a ledger of\n{image:?}\nis written anew as\n{:?}", again.around.ledger)
    })
}
