//! A master that leads, told anything by frameworks, agents and people.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use master_core::{Config, Input, LinkId, Master, Note, OperatorCall, Output, SessionId, Ticket};
use master_registry::Registry;
use proto::agent_link::{ToAgentKind, ToMaster};
use proto::caller::Caller;
use proto::id::{AgentId, FrameworkId, MasterId, OfferId, RunId, TaskId};
use proto::operator::{self, Call as Asked};
use proto::scheduler::{Call, CallKind, EventKind};
use proto::task::TaskStatus;
use proto::wire::Wire;
use proto_machine::{Machine, Now, Outbox};

use super::disk::Disk;
use super::{STEPS_MAX, Surroundings, World};
use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(in super::super) const MASTER: Target = Target::new(
    "master",
    "whatever frameworks, agents and people say, the allocator's books hold, people are answered once, and the log gives the same again",
    Kind::Wire,
    master,
)
.up_to(8 << 10)
.costs(8 << 10);

/// A master alone leads after this, in milliseconds.
const AWAKE: u64 = 1_200;

#[derive(Default)]
struct Around {
    disk: Disk,
    offers: BTreeMap<SessionId, Vec<OfferId>>,
    frameworks: BTreeMap<SessionId, FrameworkId>,
    runs: Vec<(FrameworkId, RunId, TaskId)>,
    asked: BTreeSet<u64>,
    said: usize,
}

impl Surroundings<Master> for Around {
    fn perform(
        &mut self,
        master: &mut Master,
        now: Now,
        output: Output,
        out: &mut Outbox<Output>,
    ) -> Result<(), String> {
        match output {
            Output::Persist(persist) => {
                let sequence = self.disk.keep(persist)?;
                master.step(now, Input::Raft(master_raft::Input::Stored { sequence }), out);
            }
            Output::ToFramework { session, event } => {
                self.said += 1;
                match event.kind {
                    EventKind::Offers(offers) => {
                        self.offers
                            .entry(session)
                            .or_default()
                            .extend(offers.offers.iter().map(|offer| offer.id));
                    }
                    EventKind::Subscribed(subscribed) => {
                        drop(self.frameworks.insert(session, subscribed.framework))
                    }
                    _ => {}
                }
            }
            Output::CloseFramework { session } => {
                self.offers.remove(&session);
                self.frameworks.remove(&session);
            }
            Output::ToAgent { message, .. } => {
                self.said += 1;
                if let ToAgentKind::Launch(launch) = message.kind {
                    for run in launch.runs {
                        let known = self
                            .runs
                            .iter()
                            .any(|(_, other, task)| *other == run.run && *task != run.task.id);
                        ensure(!known, || format!("{} is the run of two tasks", run.run))?;
                        self.runs.push((run.framework, run.run, run.task.id));
                    }
                }
            }
            Output::Reply { ticket, .. } => {
                ensure(self.asked.remove(&ticket.0), || format!("{ticket:?} is answered and was not asked"))?;
            }
            Output::Note(Note::Books { what }) => return Err(format!("the allocator's books: {what}")),
            Output::Note(Note::Unreadable { why, .. }) => {
                return Err(format!("it cannot read its own log: {why}"));
            }
            // The shell's business.
            _ => {}
        }
        Ok(())
    }
}

fn config() -> Config {
    let mut config = Config::new(MasterId(1), BTreeMap::from([(MasterId(1), "m1:1".to_owned())]), 7);
    config.snapshot_after_bytes = 8_000;
    config.root_tasks.insert(Caller::Framework("f0".into()));
    config
}

fn begin(disk: &mut Disk) -> Result<Master, String> {
    Master::recover(config(), disk.restarted()).map_err(|unfit| format!("its own disk is unfit: {unfit:?}"))
}

fn master(input: &[u8]) -> Verdict {
    let mut around = Around::default();
    let mut world = World::new(begin(&mut around.disk)?, around);
    world.pass(AWAKE)?;
    let mut next = 0;
    for (kind, step) in tree::messages(input).take(STEPS_MAX) {
        let (who, loose) = (tree::number(step, 1) % 4, tree::number(step, 3) != 0);
        let (session, link) = (SessionId(who), LinkId(who));
        next += 1;
        match kind {
            1 => {
                let Ok(mut call) = Call::decode(tree::bytes(step, 2)) else { continue };
                if loose {
                    known_call(&world.around, session, &mut call.kind);
                }
                let caller = Caller::Framework(format!("f{}", who / 2));
                world.say(Input::Framework { session, caller, call })?;
            }
            2 => world.say(Input::FrameworkClosed { session })?,
            3 => {
                let Ok(mut message) = ToMaster::decode(tree::bytes(step, 2)) else { continue };
                let agent = AgentId::new(&format!("a{}", who / 2)).expect("an id");
                if loose {
                    known_message(&world.around, &agent, &mut message);
                }
                world.say(Input::Agent { link, agent, message })?;
            }
            4 => world.say(Input::AgentClosed { link })?,
            5 => {
                let Ok(call) = operator::Call::decode(tree::bytes(step, 2)) else { continue };
                let Some(order) = order_of(call) else { continue };
                let caller =
                    if who == 3 { Caller::Framework("f0".into()) } else { Caller::User("ada".into()) };
                let call = if loose { OperatorCall::DryRun(Box::new(order)) } else { order };
                world.around.asked.insert(next);
                world.say(Input::Operator { ticket: Ticket(next), caller, call })?;
            }
            6 => world.pass(tree::number(step, 1))?,
            7 => {
                world.machine = begin(&mut world.around.disk)?;
                world.around = Around {
                    disk: std::mem::take(&mut world.around.disk),
                    runs: std::mem::take(&mut world.around.runs),
                    ..Around::default()
                };
                world.pass(AWAKE)?;
                ensure(world.machine.leads(), || "a master alone leads again".to_owned())?;
            }
            8 => {
                let bytes = Bytes::copy_from_slice(tree::bytes(step, 2));
                world.say(Input::Raft(master_raft::Input::Peer { from: master_raft::NodeId(who), bytes }))?;
            }
            9 => world.say(Input::Save { ticket: Ticket(next) })?,
            _ => {}
        }
    }
    world.pass(AWAKE)?;
    ensure(world.around.asked.is_empty(), || format!("{:?} were never answered", world.around.asked))?;
    let registry = world.machine.registry();
    let again = Registry::from_image(&registry.to_image())
        .map_err(|bad| format!("its own image is refused: {bad}"))?;
    ensure(again == *registry, || "its image gives another registry".to_owned())?;
    let mut later = World::new(
        begin(&mut world.around.disk)?,
        Around { disk: std::mem::take(&mut world.around.disk), ..Around::default() },
    );
    later.settle(Outbox::new())?;
    ensure(later.machine.registry() == &again, || "its log gives another registry".to_owned())?;
    Ok(if world.around.said > 0 { Taken::Yes } else { Taken::No })
}

/// Offers that are open in this session, in place of those that are named; tasks that were launched.
fn known_call(around: &Around, session: SessionId, kind: &mut CallKind) {
    let open = around.offers.get(&session).map(Vec::as_slice).unwrap_or_default();
    let offer = |id: &mut OfferId| {
        if !open.is_empty() {
            *id = open[(id.number % open.len() as u64) as usize];
        }
    };
    let task = |task: &mut TaskId, number: u64| {
        if let Some((_, _, known)) = around.runs.get((number % around.runs.len().max(1) as u64) as usize) {
            *task = known.clone();
        }
    };
    match kind {
        CallKind::Accept(accept) => accept.parts.iter_mut().flat_map(|part| &mut part.offers).for_each(offer),
        CallKind::Decline(decline) => decline.offers.iter_mut().for_each(offer),
        CallKind::Kill(kill) => task(&mut kill.task, kill.grace.map_or(0, |grace| grace.as_millis() as u64)),
        CallKind::Acknowledge(acknowledge) => {
            let at = (acknowledge.run.0 % around.runs.len().max(1) as u128) as usize;
            if let Some((_, run, task)) = around.runs.get(at) {
                (acknowledge.run, acknowledge.task) = (*run, task.clone());
            }
        }
        CallKind::Subscribe(subscribe) => {
            if let Some(id) = around.frameworks.values().next() {
                subscribe.id = subscribe.id.as_ref().map(|_| id.clone());
            }
        }
        _ => {}
    }
}

/// The agent is who it is, and its runs are some that were launched.
fn known_message(around: &Around, agent: &AgentId, message: &mut ToMaster) {
    let known = |framework: &mut FrameworkId, status: &mut TaskStatus| {
        let at = status.run.map_or(0, |run| run.0 % around.runs.len().max(1) as u128) as usize;
        let Some((owner, run, task)) = around.runs.get(at) else { return };
        *framework = owner.clone();
        (status.run, status.task) = (Some(*run), task.clone());
        status.agent = Some(agent.clone());
    };
    match message {
        ToMaster::Register(register) => {
            register.agent.id = agent.clone();
            for report in &mut register.runs {
                known(&mut report.framework, &mut report.status);
                report.run = report.status.run.unwrap_or(report.run);
                report.task.id = report.status.task.clone();
            }
        }
        ToMaster::Update(update) => known(&mut update.framework, &mut update.status),
        ToMaster::Heartbeat | ToMaster::VolumesDestroyed(_) => {}
    }
}

/// What people ask the machine, as the door hands it on.
fn order_of(call: operator::Call) -> Option<OperatorCall> {
    Some(match call {
        Asked::Explain(what) => OperatorCall::Explain(what),
        Asked::KillTask(call) => OperatorCall::KillTask(call),
        Asked::SetQuota(call) => OperatorCall::SetQuota(call),
        Asked::SetWeight(call) => OperatorCall::SetWeight(call),
        Asked::TeardownFramework(call) => OperatorCall::TeardownFramework(call),
        Asked::MarkAgentGone(call) => OperatorCall::MarkAgentGone(call),
        Asked::DrainAgent(call) => OperatorCall::DrainAgent(call),
        Asked::ResumeAgent(call) => OperatorCall::ResumeAgent(call),
        Asked::OperateAgent(call) => OperatorCall::OperateAgent(call),
        Asked::SetRights(call) => OperatorCall::SetRights(call),
        Asked::RemoveSecret(call) => OperatorCall::RemoveSecret(call),
        Asked::WhoAmI => OperatorCall::WhoAmI,
        Asked::CanI(asked) => OperatorCall::CanI(asked),
        Asked::Principals => OperatorCall::Principals,
        Asked::Raft => OperatorCall::Raft,
        _ => return None,
    })
}
