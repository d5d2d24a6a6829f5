//! Agents: how they are driven, with a pretended ledger and keeper that outlive the agent's process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use agent_core::{
    Agent, CheckOutcome, Checked, Config, Contain, Container, FailureKind, FoundState, Input, LinkId, Output,
    Restore, Room,
};
use proto::agent::AgentInfo;
use proto::agent_link::{TaskRun, ToMaster};
use proto::attributes::Attributes;
use proto::check::CheckRole;
use proto::id::{AgentId, Epoch, RunId};
use proto::ledger::Record;
use proto::quantities::{Quantities, Scalar};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::task::{Exit, StatusReason};
use proto_machine::{Dice, Machine, Outbox};

use crate::check::launches::Launches;
use crate::check::{Verdict, broken};
use crate::containers::Keeper;
use crate::disk::LedgerDisk;
use crate::network::{Down, End, Up};
use crate::node::{Node, Process};
use crate::options::MS;
use crate::volumes::VolumesDisk;
use crate::words;
use crate::world::{Event, World};

const GIB: u64 = 1 << 30;
/// A ledger of so many records is rewritten.
const REWRITE_AFTER: usize = 150;
/// Of a thousand turns in rough times, so many are the last of a life, in the middle of what they wanted done.
const DIES_MIDWAY_PERMILLE: u64 = 2;

/// What happens in a container.
#[derive(Clone, Copy, Debug)]
pub enum KeeperEvent {
    /// It is executed, or cannot be.
    Execute(RunId),
    /// It ends.
    Exit(RunId, Exit),
    /// It answers a check: while it runs it is well, and ready.
    Check(RunId, CheckRole, u64),
}

/// An agent and its pretended surroundings.
pub struct AgentNode {
    /// Its process.
    pub process: Process,
    /// Itself, while it lives.
    pub machine: Option<Agent>,
    /// What it has not yet seen.
    pub mailbox: VecDeque<Input>,
    /// What it says of itself.
    pub info: AgentInfo,
    /// Its ledger.
    pub ledger: LedgerDisk,
    /// Its keeper.
    pub keeper: Keeper,
    /// What is on its volumes.
    pub volumes: VolumesDisk,
    /// Counts the starts of its machine.
    pub boot: u32,
    /// The pool did not want it any more.
    pub left: bool,
    /// It has not yet written down what became of the runs of before the last boot.
    rebooted: bool,
    /// What it has said and is not yet done, in order.
    performing: VecDeque<Output>,
    /// It waits for room on its disk with all of that.
    waits_for_room: bool,
    /// Its newest connection, and the world's number of it.
    stream: Option<(LinkId, u64)>,
    /// The masters that it remembers beside its ledger.
    pub masters: Vec<String>,
}

impl AgentNode {
    /// An agent with an empty ledger.
    pub fn new(number: u64, process: Process, dice: &mut Dice) -> Self {
        let cpus = 2000 + 1000 * dice.below(4);
        let amount = Amount::scalars(Quantities::of(cpus, (2 + dice.below(7)) * GIB))
            .with_ports(Ranges::single(31_000, 31_000 + 3 + dice.below(8)));
        let name = format!("agent-{number}");
        let info = AgentInfo {
            id: AgentId::new(&name).expect("a name that is an id"),
            hostname: name.clone(),
            address: format!("{name}:5051"),
            resources: Resources::unreserved(amount),
            attributes: Attributes::default(),
            version: String::new(),
        };
        AgentNode {
            process,
            machine: None,
            mailbox: VecDeque::new(),
            info,
            ledger: LedgerDisk::default(),
            keeper: Keeper::default(),
            volumes: VolumesDisk::default(),
            boot: 0,
            left: false,
            rebooted: false,
            performing: VecDeque::new(),
            waits_for_room: false,
            stream: None,
            masters: Vec::new(),
        }
    }

    /// Its disk is so large from now on, in GiB.
    pub fn set_disk(&mut self, gib: u64) {
        let mut amount = self.info.resources.flatten();
        amount.scalars.set(&Scalar::Disk, gib * GIB);
        self.info.resources = Resources::unreserved(amount);
    }
}

impl World {
    pub(crate) fn begin_agent(&mut self, node: Node) {
        let clock = self.clock();
        let seed = self.dice.next_u64();
        // It remembers some, and whoever starts it names those of now.
        let mut masters = self.doors();
        let addresses = self.agents[node.index()].masters.iter().take(10).cloned().collect();
        proto::roster::Masters { addresses }.learn(&mut masters);
        self.agents[node.index()].masters.clone_from(&masters);
        let changing = self.options.changing_agents;
        let agent = &mut self.agents[node.index()];
        agent.process.begin(clock);
        if changing {
            // Tasks use no disk but that of volumes, and agents do not enforce its size: less of it takes nothing from under
            // them.
            let life = u64::from(agent.process.life);
            agent.info.version = life.to_string();
            if agent.info.resources.quantities().disk_bytes() > 0 {
                agent.set_disk([20, 3, 11][life as usize % 3]);
            }
        }
        let mut config = Config::new(agent.info.clone(), masters, seed);
        config.resend_first = Duration::from_secs(2);
        config.resend_cap = Duration::from_secs(30);
        agent.machine = Some(Agent::new(config));
        let records = agent.ledger.open();
        let seen = records.iter().filter_map(|record| match record {
            Record::EpochSeen(Epoch(epoch)) => Some(*epoch),
            Record::RunTaken(_)
            | Record::Reached(_)
            | Record::Acknowledged(_)
            | Record::KillTaken(_)
            | Record::Started(_)
            | Record::Forgotten(_) => None,
        });
        self.checks.fencing.forget(node, seen.max().unwrap_or_default());
        agent.mailbox.push_back(Input::Restore(Restore { records, rebooted: agent.rebooted }));
        self.agent_sees_room(node);
        let agent = &mut self.agents[node.index()];
        agent.mailbox.push_back(Input::Recovered(agent.keeper.found()));
    }

    /// An agent that lives looks how much room there is.
    pub(crate) fn agent_sees_room(&mut self, node: Node) {
        if !matches!(node, Node::Agent(_)) || self.agents[node.index()].machine.is_none() {
            return;
        }
        let room = if self.disk_is_full(node) { Room::None } else { Room::Enough };
        self.agents[node.index()].mailbox.push_back(Input::Room(room));
        self.plan(node);
    }

    pub(crate) fn agent_dies(&mut self, node: Node) {
        let agent = &mut self.agents[node.index()];
        agent.machine = None;
        agent.mailbox.clear();
        agent.performing.clear();
        agent.waits_for_room = false;
        agent.stream = None;
    }

    /// The machine of an agent loses its power.
    pub(crate) fn agent_reboots(&mut self, node: Node) {
        self.mark("an agent's machine was restarted");
        let at_ms = self.agents[node.index()].process.clock.now(self.now).wall.as_millis();
        if self.life(node).1 {
            self.die(node);
        }
        let agent = &mut self.agents[node.index()];
        let alive: Vec<RunId> = agent.keeper.alive().map(|(run, _)| run).collect();
        alive.iter().for_each(|run| self.checks.one_place.lost(*run));
        let lost = self.dice.below(agent.ledger.unsynced() as u64 + 1) as usize;
        agent.ledger.lose(lost);
        agent.keeper.lose_power(at_ms, &mut self.dice);
        agent.boot += 1;
        agent.rebooted = true;
    }

    pub(crate) fn agent_turn(&mut self, node: Node) -> Verdict {
        let agent = &mut self.agents[node.index()];
        let Some(machine) = agent.machine.as_mut() else { return Ok(()) };
        let now = agent.process.clock.now(self.now);
        let mut out = Outbox::new();
        if agent.ledger.len() > REWRITE_AFTER && self.dice.chance(1, 50) {
            agent.mailbox.push_back(Input::Rewrite);
        }
        let mut outputs = Vec::new();
        for input in agent.mailbox.drain(..) {
            let heard = match &input {
                Input::FromMaster(_, message) => Some(message.clone()),
                Input::Restore(_)
                | Input::Recovered(_)
                | Input::Linked(_)
                | Input::Unlinked(_)
                | Input::Container(_)
                | Input::VolumeRemoved(_)
                | Input::InfoChanged(_)
                | Input::Room(_)
                | Input::EndRuns
                | Input::Rewrite => None,
            };
            machine.step(now, input, &mut out);
            let wanted = out.take();
            if let Some(message) = heard {
                self.checks.fencing.heard(node, &message, &wanted)?;
            }
            outputs.extend(wanted);
        }
        if machine.wake_at().is_some_and(|at| at <= now.monotonic) {
            machine.wake(now, &mut out);
        }
        machine.settle(now, &mut out);
        outputs.extend(out.take());
        self.trace.event(self.now, node.number(), 7);
        self.trace.number(outputs.len() as u64);
        let dies = !self.calm && self.options.midway && self.options.faults.crash_agent > 0;
        if dies && !outputs.is_empty() && self.dice.chance(DIES_MIDWAY_PERMILLE, 1000) {
            self.mark("an agent died midway");
            outputs.truncate(self.dice.below(outputs.len() as u64 + 1) as usize);
            let agent = &mut self.agents[node.index()];
            let rebooted = agent.rebooted;
            agent.performing.extend(outputs);
            self.perform_agent(node)?;
            // Not all of it was done.
            self.agents[node.index()].rebooted = rebooted;
            self.crash(node);
            return Ok(());
        }
        self.agents[node.index()].performing.extend(outputs);
        self.perform_agent(node)
    }

    pub(crate) fn agent_stored(&mut self, node: Node) -> Verdict {
        let agent = &mut self.agents[node.index()];
        if !std::mem::take(&mut agent.waits_for_room) {
            agent.ledger.sync();
        }
        self.perform_agent(node)
    }

    /// Of what is not synced only a first part reached the disk, if any.
    pub(crate) fn agent_wrote_in_part(&mut self, node: Node) {
        let ledger = &mut self.agents[node.index()].ledger;
        let lost = self.dice.below(ledger.unsynced_of_batch() as u64 + 1) as usize;
        ledger.lose(lost);
    }

    /// Performs in order; the records of a batch go to its front, but past no rewriting.
    fn perform_agent(&mut self, node: Node) -> Verdict {
        let is_full = self.disk_is_full(node);
        let has_reserve = !self.process(node).hardware.no_reserve;
        let agent = &mut self.agents[node.index()];
        let writes = agent.performing.iter().any(|output| matches!(output, Output::Store { .. }));
        if is_full && writes && !has_reserve {
            agent.waits_for_room = true;
            self.mark("an agent waited for room on its disk");
            return self.agent_waits_for(node, 100 * MS);
        }
        let mut sync = false;
        let mut rest = VecDeque::new();
        let mut rewritten = false;
        agent.ledger.begin_batch();
        for output in agent.performing.drain(..) {
            match output {
                Output::Store { record, sync: wanted } if !rewritten => {
                    agent.ledger.write(record);
                    sync |= wanted;
                }
                output => {
                    rewritten |= matches!(output, Output::Rewrite(_));
                    rest.push_back(output);
                }
            }
        }
        agent.performing = rest;
        if sync {
            return self.agent_waits(node);
        }
        while let Some(output) = self.agents[node.index()].performing.pop_front() {
            if let Output::Rewrite(records) = output {
                if is_full {
                    // Without room for another one the ledger stays as it is, synced or not.
                    return self.perform_agent(node);
                }
                let agent = &mut self.agents[node.index()];
                agent.ledger.rewrite(records);
                self.mark("a ledger was rewritten");
                return self.agent_waits(node);
            }
            self.perform_agent_one(node, output)?;
            if self.agents[node.index()].left {
                self.die(node);
                return Ok(());
            }
        }
        let agent = &mut self.agents[node.index()];
        if agent.rebooted && agent.machine.is_some() {
            // The outputs of the first `Recovered` are performed.
            agent.ledger.sync();
            agent.rebooted = false;
        }
        Ok(())
    }

    fn agent_waits(&mut self, node: Node) -> Verdict {
        let time = self.sync_time(node);
        self.agent_waits_for(node, time)
    }

    fn agent_waits_for(&mut self, node: Node, time: u64) -> Verdict {
        let life = self.life(node).0;
        self.process(node).busy = true;
        let at = self.now + time;
        self.queue.push(at, Event::Stored(node, life));
        Ok(())
    }

    fn perform_agent_one(&mut self, node: Node, output: Output) -> Verdict {
        match output {
            Output::Store { .. } | Output::Rewrite(_) => {}
            Output::ToMaster(message) => {
                if let ToMaster::Update(update) = &message {
                    if update.status.reason == StatusReason::AgentDiskFull {
                        self.mark("an agent refused a task for want of room");
                    }
                    Launches::said(update, &self.checks.one_place)?;
                }
                let Some((_, id)) = self.agents[node.index()].stream else { return Ok(()) };
                let Some(stream) = self.network.stream(id).filter(|stream| stream.client_open) else {
                    return Ok(());
                };
                let to = stream.master;
                if !matches!(message, ToMaster::Heartbeat) {
                    self.say(node, to, |_| words::to_master(&message).unwrap_or_default());
                }
                self.send_up(id, Up::Agent(Box::new(message)));
            }
            Output::Contain(order) => self.contain(node, order)?,
            Output::Connect { link, address } => {
                self.agent_hangs_up(node);
                match self.connect(node, link.0, &address) {
                    Some(id) => self.agents[node.index()].stream = Some((link, id)),
                    None => self.agents[node.index()].mailbox.push_back(Input::Unlinked(link)),
                }
            }
            Output::Disconnect(link) => {
                if self.agents[node.index()].stream.is_some_and(|(newest, _)| newest == link) {
                    self.agent_hangs_up(node);
                }
            }
            Output::Leave(refusal) => {
                self.tell(node, |_| format!("leaves: {refusal}"));
                self.agents[node.index()].left = true;
            }
            // Only whoever ends the agent's runs on purpose waits for this.
            Output::Ended => {}
            Output::Masters(known) => self.agents[node.index()].masters = known,
            Output::Note(note) => self.trace.line(self.now, || format!("{node} notes {note:?}")),
        }
        Ok(())
    }

    fn agent_hangs_up(&mut self, node: Node) {
        if let Some((_, id)) = self.agents[node.index()].stream.take()
            && self.network.stream(id).is_some_and(|stream| stream.client_open)
        {
            self.send_up(id, Up::Close);
            self.network.close(id, End::Client);
        }
    }

    pub(crate) fn agent_hears(&mut self, node: Node, link: u64, down: Down) {
        let link = LinkId(link);
        let input = match down {
            Down::Opened => Input::Linked(link),
            Down::Agent(message) => Input::FromMaster(link, *message),
            Down::Close => Input::Unlinked(link),
            Down::Event(_) => return,
        };
        self.agents[node.index()].mailbox.push_back(input);
    }

    // === containers ===

    fn contain(&mut self, node: Node, order: Contain) -> Verdict {
        let boot = self.agents[node.index()].boot;
        let soon = self.now + MS + self.dice.below(10) * MS;
        match order {
            Contain::Launch(given) => self.take_on(node, boot, given, soon)?,
            Contain::Kill { run, grace } => {
                let Some(slot) = self.agents[node.index()].keeper.get(run) else { return Ok(()) };
                self.checks.alive.ends(node, &slot.given)?;
                match slot.state {
                    FoundState::Starting => {
                        let event = self.agents[node.index()].keeper.fail(run, FailureKind::Canceled);
                        self.agents[node.index()].mailbox.extend(event.map(Input::Container));
                    }
                    FoundState::Running { .. } => {
                        let (at, exit) = if slot.deaf {
                            (soon + grace.as_nanos() as u64, Exit::Signal(9))
                        } else {
                            (soon, Exit::Signal(15))
                        };
                        let event = KeeperEvent::Exit(run, exit);
                        self.queue.push(at, Event::Keeper { agent: node, boot, event });
                    }
                    FoundState::Exited(_) | FoundState::StartFailed(_) => {}
                }
            }
            Contain::Destroy(run) => {
                if !self.agents[node.index()].keeper.forget(run) {
                    return broken("P7 tasks live on", format!("{node} destroyed {run}, which is alive"));
                }
            }
            Contain::RemoveVolume(volume) => self.volume_goes(node, volume),
            Contain::Check(ask) => {
                let event = KeeperEvent::Check(ask.given.run, ask.role, ask.number);
                self.queue.push(soon, Event::Keeper { agent: node, boot, event });
            }
        }
        Ok(())
    }

    fn take_on(&mut self, node: Node, boot: u32, given: Arc<TaskRun>, soon: u64) -> Verdict {
        let deaf = self.dice.chance(self.options.deaf_permille, 1000);
        let run = given.run;
        let agent = &mut self.agents[node.index()];
        if agent.keeper.take(given, deaf) {
            let event = KeeperEvent::Execute(run);
            self.queue.push(soon, Event::Keeper { agent: node, boot, event });
            self.checks.conservation.running(node, &agent.keeper.used(), &agent.info.resources)?;
        }
        Ok(())
    }

    pub(crate) fn keeper_event(&mut self, node: Node, boot: u32, event: KeeperEvent) -> Verdict {
        let agent = &mut self.agents[node.index()];
        if agent.boot != boot {
            return Ok(());
        }
        let at_ms = agent.process.clock.now(self.now).wall.as_millis();
        let said = match event {
            KeeperEvent::Execute(run) => {
                let Some(given) = agent.keeper.get(run).map(|slot| slot.given.clone()) else { return Ok(()) };
                if !self.calm && self.dice.chance(self.options.unstartable_permille, 1000) {
                    agent.keeper.fail(run, FailureKind::Launch)
                } else {
                    let said = agent.keeper.execute(run);
                    if said.is_some() {
                        self.checks.one_place.executed(node, &given)?;
                        self.checks.launches.executed(&given)?;
                        self.volumes_used(node, &given)?;
                        self.plan_exit(node, boot, run);
                        self.tell(node, |_| format!("executes {}", given.task.id));
                    }
                    said
                }
            }
            KeeperEvent::Exit(run, exit) => {
                let said = agent.keeper.exit(run, exit, at_ms);
                if said.is_some() {
                    self.checks.one_place.ended(run, exit);
                }
                said
            }
            KeeperEvent::Check(run, role, number) => {
                let slot = agent.keeper.get(run);
                let runs = slot.is_some_and(|slot| matches!(slot.state, FoundState::Running { .. }));
                let result = match runs {
                    true => CheckOutcome::Good,
                    false => CheckOutcome::Bad("it does not run".to_owned()),
                };
                Some(Container::Checked(Checked { run, role, number, result }))
            }
        };
        self.trace.event(self.now, node.number(), 8);
        let agent = &mut self.agents[node.index()];
        if agent.process.up {
            agent.mailbox.extend(said.map(Input::Container));
            self.plan(node);
        }
        Ok(())
    }

    fn plan_exit(&mut self, agent: Node, boot: u32, run: RunId) {
        let long = self.options.long_permille > 0 && self.dice.chance(self.options.long_permille, 1000);
        let (least, most) = if long { self.options.long_time } else { self.options.run_time };
        let at = self.now + least + self.dice.below(most - least + 1);
        let fails = !self.calm && self.dice.chance(self.options.failing_permille, 1000);
        let exit = if !fails {
            Exit::Code(0)
        } else if self.dice.chance(1, 3) {
            Exit::Signal(11)
        } else {
            Exit::Code(1 + self.dice.below(3) as i32)
        };
        self.queue.push(at, Event::Keeper { agent, boot, event: KeeperEvent::Exit(run, exit) });
    }

    /// The tasks that run on agents now, by framework and id.
    pub fn running(&self) -> BTreeSet<(proto::id::FrameworkId, proto::id::TaskId)> {
        let slots = self.agents.iter().flat_map(|agent| agent.keeper.alive());
        slots.map(|(_, slot)| (slot.given.framework.clone(), slot.given.task.id.clone())).collect()
    }

    /// How much of each agent runs now, in milli-cpus.
    pub fn load(&self) -> BTreeMap<AgentId, u64> {
        let load = |agent: &AgentNode| agent.keeper.used().quantities().cpus_milli();
        self.agents.iter().map(|agent| (agent.info.id.clone(), load(agent))).collect()
    }
}
