//! A bench for one agent: gives it inputs and time, keeps its ledger, and says in short what it wants done.

use std::time::Duration;

use proto::agent_link::{Acknowledge, Kill, Launch, Registered, TaskRun, ToAgent, ToAgentKind, ToMaster};
use proto::id::{Epoch, RunId};
use proto::ledger::Record;
use proto::task::TaskState;
use proto::volume::Volume;
use proto_machine::{Instant, Machine, Now, Outbox, WallTime};

use super::fixtures;
use crate::{Agent, Config, Contain, Container, End, Found, Input, LinkId, Output, Restore};

pub(super) struct Rig {
    pub agent: Agent,
    pub now: Now,
    pub link: LinkId,
    pub address: String,
    pub epoch: u64,
    pub ledger: Vec<Record>,
}

pub(super) const MASTERS: [&str; 3] = ["m1:1", "m2:1", "m3:1"];

pub(super) fn config() -> Config {
    Config::new(fixtures::info(), MASTERS.map(String::from).to_vec(), 7)
}

impl Rig {
    /// An agent that was just born, with this ledger.
    pub fn new(records: Vec<Record>) -> Rig {
        let mut rig = Rig {
            agent: Agent::new(config()),
            now: Now { monotonic: Instant::from_nanos(1), wall: WallTime::from_millis(1_000_000) },
            link: LinkId(0),
            address: String::new(),
            epoch: 1,
            ledger: records.clone(),
        };
        let out = rig.step(Input::Restore(Restore { records, rebooted: false }));
        assert_eq!(out, []);
        rig
    }

    /// A fresh agent that a master has admitted.
    pub fn joined() -> Rig {
        let mut rig = Rig::new(Vec::new());
        rig.step(Input::Recovered(Vec::new()));
        rig.join();
        rig
    }

    /// The same agent after its process died: it has its ledger, and the keeper says this.
    pub fn restarted(&self, rebooted: bool, found: Vec<Found>) -> (Rig, Vec<Output>) {
        let mut rig = Rig::new(Vec::new());
        rig.ledger.clone_from(&self.ledger);
        rig.epoch = self.epoch;
        rig.agent = Agent::new(config());
        assert_eq!(rig.step(Input::Restore(Restore { records: self.ledger.clone(), rebooted })), []);
        let out = rig.step(Input::Recovered(found));
        (rig, out)
    }

    /// Its connection opens and the master admits it; what it says from then on is returned.
    pub fn join(&mut self) -> Vec<Output> {
        self.step(Input::Linked(self.link));
        let word = Registered {
            epoch: Epoch(self.epoch),
            heartbeat_interval: Duration::from_secs(5),
            silence_limit: Duration::from_secs(15),
        };
        self.master(ToAgentKind::Registered(word))
    }

    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Outbox::new();
        self.agent.step(self.now, input, &mut out);
        self.perform(out.take())
    }

    /// What the ledger would be rewritten to.
    pub fn image(&mut self) -> Vec<Record> {
        let mut out = Outbox::new();
        self.agent.step(self.now, Input::Rewrite, &mut out);
        match &out.take()[..] {
            [Output::Rewrite(records)] => records.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn wake(&mut self) -> Vec<Output> {
        let mut out = Outbox::new();
        self.agent.wake(self.now, &mut out);
        self.perform(out.take())
    }

    fn perform(&mut self, out: Vec<Output>) -> Vec<Output> {
        for output in &out {
            match output {
                Output::Store { record, .. } => self.ledger.push(record.clone()),
                Output::Connect { link, address } => {
                    self.link = *link;
                    self.address.clone_from(address);
                }
                Output::Rewrite(records) => self.ledger.clone_from(records),
                Output::ToMaster(_)
                | Output::Contain(_)
                | Output::Masters(_)
                | Output::Disconnect(_)
                | Output::Leave(_)
                | Output::Ended
                | Output::Note(_) => {}
            }
        }
        out
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic + time;
        self.now.wall = self.now.wall + time;
    }

    /// Lets time go to the next deadline, which must be there.
    pub fn pass_to_wake(&mut self) -> Vec<Output> {
        let at = self.agent.wake_at().expect("a deadline");
        let wait = at.since(self.now.monotonic);
        self.pass(wait);
        self.wake()
    }

    pub fn master(&mut self, kind: ToAgentKind) -> Vec<Output> {
        let message = ToAgent { epoch: Epoch(self.epoch), kind };
        self.step(Input::FromMaster(self.link, message))
    }

    pub fn launch(&mut self, runs: Vec<TaskRun>) -> Vec<Output> {
        self.master(ToAgentKind::Launch(Launch { runs }))
    }

    pub fn kill(&mut self, run: RunId) -> Vec<Output> {
        self.master(ToAgentKind::Kill(Kill { run, grace: Duration::from_secs(3) }))
    }

    pub fn acknowledge(&mut self, run: RunId, sequence: u64) -> Vec<Output> {
        self.master(ToAgentKind::Acknowledge(Acknowledge { run, sequence }))
    }

    pub fn started(&mut self, run: RunId) -> Vec<Output> {
        self.step(Input::Container(Container::Started { run, pid: 100 }))
    }

    pub fn exited(&mut self, run: RunId, end: End) -> Vec<Output> {
        self.step(Input::Container(Container::Exited { run, end }))
    }

    /// A run that is launched and running, with Running acknowledged.
    pub fn running(&mut self, given: TaskRun) -> RunId {
        let run = given.run;
        self.launch(vec![given]);
        self.started(run);
        self.acknowledge(run, 1);
        run
    }
}

/// Outputs in short: `store+ taken 1.0` (with `+` for synced), `launch 1.0`, `update 1.0 #2 finished`.
pub(super) fn brief(out: &[Output]) -> Vec<String> {
    out.iter().map(brief_one).collect()
}

fn brief_one(output: &Output) -> String {
    match output {
        Output::Store { record, sync } => {
            let plus = if *sync { "+" } else { "" };
            let what = match record {
                Record::RunTaken(taken) => format!("taken {}", taken.run),
                Record::Reached(reached) => format!(
                    "reached {} #{} {}",
                    reached.status.run.unwrap(),
                    reached.status.sequence,
                    reached.status.state.as_str()
                ),
                Record::Acknowledged(word) => format!("acknowledged {} #{}", word.run, word.sequence),
                Record::KillTaken(taken) => format!("kill {}", taken.run),
                Record::Forgotten(forgotten) => format!("forgotten {}", forgotten.run),
                Record::Started(started) => format!("started {}", started.run),
                Record::EpochSeen(epoch) => format!("epoch {epoch}"),
            };
            format!("store{plus} {what}")
        }
        Output::Rewrite(records) => format!("rewrite {}", records.len()),
        Output::ToMaster(ToMaster::Register(register)) => format!("register {} runs", register.runs.len()),
        Output::ToMaster(ToMaster::Update(update)) => format!(
            "update {} #{} {}",
            update.status.run.unwrap(),
            update.status.sequence,
            update.status.state.as_str()
        ),
        Output::ToMaster(ToMaster::Heartbeat) => "heartbeat".into(),
        Output::ToMaster(ToMaster::VolumesDestroyed(word)) => {
            let one = |volume: &Volume| format!(" {}#{}", volume.id, volume.birth);
            format!("destroyed{}", word.volumes.iter().map(one).collect::<String>())
        }
        Output::Contain(Contain::Launch(given)) => format!("launch {}", given.run),
        Output::Contain(Contain::Kill { run, grace }) => format!("kill {run} {}s", grace.as_secs()),
        Output::Contain(Contain::Check(ask)) => format!("check {} {}", ask.given.run, ask.role.as_str()),
        Output::Contain(Contain::Destroy(run)) => format!("destroy {run}"),
        Output::Contain(Contain::RemoveVolume(volume)) => format!("remove {}#{}", volume.id, volume.birth),
        Output::Connect { address, .. } => format!("connect {address}"),
        Output::Masters(known) => format!("masters {}", known.join(" ")),
        Output::Disconnect(_) => "disconnect".into(),
        Output::Ended => "ended".into(),
        Output::Leave(refusal) => format!("leave {}", refusal.code.as_str()),
        Output::Note(note) => format!("note {}", format!("{note:?}").split(['{', '(', ' ']).next().unwrap()),
    }
}

/// The statuses sent, in order, with reason and message.
pub(super) fn sent(out: &[Output]) -> Vec<(TaskState, proto::task::StatusReason, String)> {
    out.iter()
        .filter_map(|output| match output {
            Output::ToMaster(ToMaster::Update(update)) => {
                Some((update.status.state, update.status.reason, update.status.message.clone()))
            }
            Output::ToMaster(_)
            | Output::Store { .. }
            | Output::Rewrite(_)
            | Output::Contain(_)
            | Output::Masters(_)
            | Output::Connect { .. }
            | Output::Disconnect(_)
            | Output::Leave(_)
            | Output::Ended
            | Output::Note(_) => None,
        })
        .collect()
}
