//! A world that crashes an agent everywhere: no run starts twice, statuses come in order, nothing is lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::agent_link::{
    Acknowledge, Kill, Launch, Register, Registered, ToAgent, ToAgentKind, ToMaster, Update,
};
use proto::check::Checks;
use proto::id::{Epoch, RunId};
use proto::ledger::Record;
use proto::scheduler::Redirect;
use proto::task::{Exit, TaskState};
use proto_machine::{Dice, Instant, Machine, Now, Outbox, WallTime};

use super::{fixtures, rig};
use crate::{
    Agent, CheckOutcome, Checked, Contain, Container, End, FailureKind, Found, FoundState, How, Input,
    LinkId, Loss, Output, Restore, Room, StartFailure,
};

/// A run as the master has it.
#[derive(Default)]
struct Wanted {
    /// The states it accepted, in order; the first has sequence 1.
    states: Vec<TaskState>,
    acknowledged: u64,
    kill_asked: bool,
}

/// Some are watched, all launches of one run alike.
fn checks(run: RunId) -> Checks {
    match (run.0 >> 64) % 3 {
        0 => Checks { health: Some(fixtures::health()), readiness: Some(fixtures::health()) },
        _ => Checks::default(),
    }
}

fn longest_run(run: RunId) -> Option<Duration> {
    (run.0 >> 64).is_multiple_of(5).then_some(Duration::from_secs(30))
}

struct World {
    seed: u64,
    dice: Dice,
    now: Now,
    agent: Agent,
    /// What was written, and how much of it was synced.
    disk: Vec<Record>,
    synced: usize,
    /// What the keeper has in its log or its hands.
    keeper: BTreeMap<RunId, FoundState>,
    /// How often each run's command was executed.
    executed: BTreeMap<RunId, u32>,
    /// How each run really ended.
    truth: BTreeMap<RunId, Exit>,
    power_losses: u32,
    /// Whether power was lost and an agent has not yet come through the start after it.
    rebooted: bool,
    starts: u32,
    wanted: BTreeMap<RunId, Wanted>,
    epoch: u64,
    /// The link asked for, and whether it is open.
    link: LinkId,
    open: bool,
    asked: bool,
    from_master: VecDeque<ToAgent>,
    from_keeper: VecDeque<Container>,
    calm: bool,
    room: Room,
    /// Faults are rarer by this: some worlds are cruel, some almost peaceful.
    mildness: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            seed,
            dice: Dice::new(seed),
            now: Now { monotonic: Instant::from_nanos(1), wall: WallTime::from_millis(1_000_000) },
            agent: Agent::new(rig::config()),
            disk: Vec::new(),
            synced: 0,
            keeper: BTreeMap::new(),
            executed: BTreeMap::new(),
            truth: BTreeMap::new(),
            power_losses: 0,
            rebooted: false,
            starts: 0,
            wanted: BTreeMap::new(),
            epoch: 1,
            link: LinkId(0),
            open: false,
            asked: false,
            from_master: VecDeque::new(),
            from_keeper: VecDeque::new(),
            calm: false,
            room: Room::Enough,
            mildness: 1 + seed % 12,
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.starts += 1;
        let start = self.starts;
        self.open = false;
        self.asked = false;
        self.from_master.clear();
        self.from_keeper.clear();
        self.agent = Agent::new(crate::Config { seed: self.dice.next_u64(), ..rig::config() });
        // Whoever opens a ledger syncs what is in it before acting on it.
        self.synced = self.disk.len();
        self.give(Input::Restore(Restore { records: self.disk.clone(), rebooted: self.rebooted }));
        self.give(Input::Room(self.room));
        let found =
            self.keeper.iter().map(|(run, state)| Found { run: *run, state: state.clone() }).collect();
        self.give(Input::Recovered(found));
        if self.starts == start {
            self.rebooted = false;
        }
    }

    fn give(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.agent.step(self.now, input, &mut out);
        self.perform(out.take());
    }

    fn perform(&mut self, mut outputs: Vec<Output>) {
        if self.dice.chance(1, 2) {
            // A driver may take the records to the front.
            outputs.sort_by_key(|output| !matches!(output, Output::Store { .. }));
        }
        let dies = !self.calm && self.dice.chance(1, 60 * self.mildness);
        if dies {
            outputs.truncate(self.dice.below(outputs.len() as u64 + 1) as usize);
        }
        for output in outputs {
            match output {
                Output::Store { record, sync } => {
                    self.disk.push(record);
                    if sync {
                        self.synced = self.disk.len();
                    }
                }
                Output::Rewrite(records) => {
                    self.disk = records;
                    self.synced = self.disk.len();
                }
                Output::Contain(order) => self.contain(order),
                Output::Connect { link, .. } => {
                    (self.link, self.open, self.asked) = (link, false, true);
                    self.from_master.clear();
                }
                Output::Disconnect(link) => {
                    if link == self.link {
                        (self.open, self.asked) = (false, false);
                        self.from_master.clear();
                    }
                }
                Output::ToMaster(word) if self.open => self.master_hears(word),
                Output::ToMaster(_) | Output::Masters(_) | Output::Note(_) | Output::Ended => {}
                Output::Leave(refusal) => panic!("seed {}: left: {refusal}", self.seed),
            }
        }
        if dies {
            self.die();
        }
    }

    fn die(&mut self) {
        if self.dice.chance(1, 3) {
            self.lose_power();
        } else {
            self.restart();
        }
    }

    fn lose_power(&mut self) {
        self.power_losses += 1;
        let lost = self.dice.below((self.disk.len() - self.synced) as u64 + 1) as usize;
        self.disk.truncate(self.disk.len() - lost);
        let dice = &mut self.dice;
        self.keeper.retain(|_, state| match state {
            // Ends are on the keeper's disk before they are told; starts and failures may or may not be.
            FoundState::Exited(_) => true,
            FoundState::Starting => false,
            FoundState::StartFailed(_) => dice.chance(1, 2),
            FoundState::Running { .. } => {
                *state = FoundState::Exited(End { how: How::Lost(Loss::Rebooted), oom: false, at_ms: 1 });
                dice.chance(1, 2)
            }
        });
        self.rebooted = true;
        self.restart();
    }

    // === the keeper ===

    fn contain(&mut self, order: Contain) {
        match order {
            Contain::Launch(given) => {
                self.keeper.entry(given.run).or_insert(FoundState::Starting);
            }
            Contain::Kill { run, .. } => match self.keeper.get(&run) {
                Some(FoundState::Starting) => {
                    let failure =
                        StartFailure { kind: FailureKind::Canceled, message: "canceled".to_owned() };
                    self.keeper.insert(run, FoundState::StartFailed(failure.clone()));
                    self.from_keeper.push_back(Container::StartFailed { run, failure });
                }
                Some(FoundState::Running { .. }) => self.end(run, Exit::Signal(15)),
                Some(FoundState::Exited(_) | FoundState::StartFailed(_)) | None => {}
            },
            Contain::Destroy(run) => {
                let ended = match self.keeper.remove(&run) {
                    None | Some(FoundState::Exited(_) | FoundState::StartFailed(_)) => true,
                    Some(FoundState::Starting | FoundState::Running { .. }) => false,
                };
                assert!(ended, "seed {}: {run} destroyed while alive", self.seed);
            }
            Contain::Check(ask) => {
                let (run, role, number) = (ask.given.run, ask.role, ask.number);
                let running = matches!(self.keeper.get(&run), Some(FoundState::Running { .. }));
                let good = self.calm || self.dice.chance(2, 3);
                let result = match running && good {
                    true => CheckOutcome::Good,
                    false if self.dice.chance(1, 2) => CheckOutcome::NotCarriedOut,
                    false => CheckOutcome::Bad("not now".to_owned()),
                };
                // Some answers get lost with whoever was to give them.
                if self.calm || self.dice.chance(9, 10) {
                    self.from_keeper.push_back(Container::Checked(Checked { run, role, number, result }));
                }
            }
            Contain::RemoveVolume(volume) => panic!("seed {}: nobody asked: {volume:?}", self.seed),
        }
    }

    fn end(&mut self, run: RunId, exit: Exit) {
        let end = End { how: How::Exit(exit), oom: false, at_ms: self.now.wall.as_millis() };
        self.truth.insert(run, exit);
        self.keeper.insert(run, FoundState::Exited(end));
        self.from_keeper.push_back(Container::Exited { run, end });
    }

    fn keeper_works(&mut self) {
        let alive: Vec<RunId> = self
            .keeper
            .iter()
            .filter(|(_, state)| matches!(state, FoundState::Starting | FoundState::Running { .. }))
            .map(|(run, _)| *run)
            .collect();
        let Some(run) = self.dice.pick(&alive).copied() else { return };
        if matches!(self.keeper.get(&run), Some(FoundState::Running { .. })) {
            let exit = if self.dice.chance(3, 4) { Exit::Code(0) } else { Exit::Code(1) };
            self.end(run, exit);
        } else if !self.calm && self.dice.chance(1, 8) {
            let failure = StartFailure { kind: FailureKind::Launch, message: "no".to_owned() };
            self.keeper.insert(run, FoundState::StartFailed(failure.clone()));
            self.from_keeper.push_back(Container::StartFailed { run, failure });
        } else {
            let times = self.executed.entry(run).or_insert(0);
            *times += 1;
            assert_eq!(*times, 1, "seed {}: {run} executed twice", self.seed);
            self.keeper.insert(run, FoundState::Running { pid: 7 });
            self.from_keeper.push_back(Container::Started { run, pid: 7 });
        }
    }

    // === the master ===

    fn say(&mut self, kind: ToAgentKind) {
        if self.open {
            self.from_master.push_back(ToAgent { epoch: Epoch(self.epoch), kind });
        }
    }

    fn launch(&mut self, run: RunId) {
        let mut given = proto::agent_link::TaskRun { run, ..fixtures::task_run(0) };
        given.task.checks = checks(run);
        given.task.longest_run = longest_run(run);
        self.say(ToAgentKind::Launch(Launch { runs: vec![given] }));
    }

    fn master_hears(&mut self, word: ToMaster) {
        match word {
            ToMaster::Register(register) => self.registers(register),
            ToMaster::Update(update) => self.updates(&update),
            ToMaster::Heartbeat => {}
            ToMaster::VolumesDestroyed(word) => panic!("seed {}: nobody asked: {word:?}", self.seed),
        }
    }

    fn registers(&mut self, register: Register) {
        assert!(register.epoch.0 <= self.epoch, "seed {}", self.seed);
        self.say(ToAgentKind::Registered(Registered {
            epoch: Epoch(self.epoch),
            heartbeat_interval: Duration::from_secs(5),
            silence_limit: Duration::from_secs(60),
        }));
        let known: Vec<RunId> = register.runs.iter().map(|report| report.run).collect();
        let missing: Vec<RunId> = self
            .wanted
            .iter()
            .filter(|(run, wanted)| {
                let over = wanted.states.last().is_some_and(|state| state.is_terminal());
                let missing = !known.contains(run) && !over;
                assert!(!missing || wanted.states.is_empty(), "seed {}: {run} was forgotten", self.seed);
                missing
            })
            .map(|(run, _)| *run)
            .collect();
        for run in missing {
            self.launch(run);
        }
    }

    fn updates(&mut self, update: &Update) {
        let status = &update.status;
        let run = status.run.expect("a run");
        let wanted = self.wanted.get_mut(&run).expect("a run that was launched");
        let at = status.sequence as usize;
        assert!(at >= 1 && at <= wanted.states.len() + 1, "seed {}: {run} #{at} leaves a gap", self.seed);
        match wanted.states.get(at - 1) {
            None => {
                let over = wanted.states.last().is_some_and(|state| state.is_terminal());
                assert!(!over, "seed {}: {run} goes on after its end", self.seed);
                if status.state == TaskState::Killing {
                    let own = longest_run(run).is_some() || !checks(run).is_empty();
                    let right =
                        (wanted.kill_asked || own) && wanted.states.last() == Some(&TaskState::Running);
                    assert!(right, "seed {}: {run} is killed after {:?}", self.seed, wanted.states);
                }
                let killing = wanted.states.last() == Some(&TaskState::Killing);
                assert!(!killing || status.state.is_terminal(), "seed {}: {run} goes on", self.seed);
                wanted.states.push(status.state);
            }
            Some(earlier) => {
                let same = *earlier == status.state;
                // What was seen may be told again in other words, but for an end: the ledger or the keeper knows it.
                let seen = wanted.acknowledged >= status.sequence && !earlier.is_terminal();
                let restarted = *earlier == TaskState::Running && status.state == TaskState::Starting;
                assert!(
                    same || (self.power_losses > 0 && (seen || restarted)),
                    "seed {}: {run} #{at} was {earlier:?}, now {:?}",
                    self.seed,
                    status.state
                );
            }
        }
        if self.calm || self.dice.chance(1, 2) {
            let wanted = self.wanted.get_mut(&run).expect("as above");
            wanted.acknowledged = wanted.acknowledged.max(status.sequence);
            let word = Acknowledge { run, sequence: status.sequence };
            self.say(ToAgentKind::Acknowledge(word));
        }
    }

    // === the world ===

    fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic + time;
        self.now.wall = self.now.wall + time;
        let due = self.agent.wake_at().is_some_and(|at| at <= self.now.monotonic);
        if due {
            let mut out = Outbox::new();
            self.agent.wake(self.now, &mut out);
            self.perform(out.take());
        }
    }

    fn deliver_from_master(&mut self) {
        if let Some(message) = self.from_master.pop_front() {
            self.give(Input::FromMaster(self.link, message));
        }
    }

    fn deliver_from_keeper(&mut self) {
        if let Some(event) = self.from_keeper.pop_front() {
            self.give(Input::Container(event));
        }
    }

    fn answer_connect(&mut self) {
        if self.asked {
            self.asked = false;
            if self.calm || self.dice.chance(2, 3) {
                self.open = true;
                self.give(Input::Linked(self.link));
            } else {
                self.give(Input::Unlinked(self.link));
            }
        }
    }

    fn break_link(&mut self) {
        if self.open {
            self.open = false;
            self.from_master.clear();
            self.give(Input::Unlinked(self.link));
        }
    }

    /// One of the runs; most often one of the last.
    fn some_run(&mut self) -> Option<RunId> {
        let last = if self.dice.chance(3, 4) { 4 } else { usize::MAX };
        let runs: Vec<RunId> = self.wanted.keys().rev().take(last).copied().collect();
        self.dice.pick(&runs).copied()
    }

    fn rough(&mut self) {
        let what = self.dice.below(100);
        let fault = (18..30).contains(&what);
        if fault && !self.dice.chance(1, self.mildness) {
            return;
        }
        match what {
            0..10 => {
                let run = fixtures::run_id(self.wanted.len() as u64 + 1);
                self.wanted.insert(run, Wanted::default());
                self.launch(run);
            }
            10..15 => {
                if let Some(run) = self.some_run() {
                    self.wanted.entry(run).or_default().kill_asked = true;
                    self.say(ToAgentKind::Kill(Kill { run, grace: Duration::from_secs(3) }));
                }
            }
            // A launch said twice, also of what is long over.
            15..18 => {
                if let Some(run) = self.some_run() {
                    self.launch(run);
                }
            }
            18..20 => {
                let to = if self.dice.chance(1, 2) { String::new() } else { "m2:1".to_owned() };
                self.say(ToAgentKind::Redirect(Redirect { leader_address: to }));
            }
            20..22 => {
                self.epoch += 1;
                self.break_link();
            }
            // Somebody who led once says something.
            22..24 => {
                let obeyed = self.disk.contains(&Record::EpochSeen(Epoch(self.epoch)));
                if self.open && self.epoch > 1 && obeyed {
                    let run = fixtures::task_run(1_000_000);
                    let kind = ToAgentKind::Launch(Launch { runs: vec![run] });
                    self.give(Input::FromMaster(self.link, ToAgent { epoch: Epoch(self.epoch - 1), kind }));
                }
            }
            24..26 => self.break_link(),
            26 => {
                // The ledger is rewritten.
                self.give(Input::Rewrite);
            }
            27..30 => self.die(),
            30..45 => self.answer_connect(),
            45..60 => self.keeper_works(),
            60..75 => self.deliver_from_keeper(),
            75..92 => self.deliver_from_master(),
            92 => {
                self.room = if self.dice.chance(1, 3) { Room::None } else { Room::Enough };
                self.give(Input::Room(self.room));
            }
            _ => {
                let millis = self.dice.below(15_000);
                self.pass(Duration::from_millis(millis));
            }
        }
    }

    fn settled(&self) -> bool {
        self.wanted.values().all(|wanted| wanted.states.last().is_some_and(|state| state.is_terminal()))
            && self.agent.runs_known() == 0
            && self.keeper.is_empty()
    }

    fn calm_down(&mut self) {
        self.calm = true;
        self.room = Room::Enough;
        self.give(Input::Room(self.room));
        for _ in 0..20_000 {
            if self.settled() {
                return;
            }
            self.answer_connect();
            self.keeper_works();
            self.deliver_from_keeper();
            self.deliver_from_master();
            self.pass(Duration::from_millis(500));
            if self.open {
                self.say(ToAgentKind::Heartbeat);
            }
        }
        panic!("seed {}: not settled; {} runs, keeper {:?}", self.seed, self.agent.runs_known(), self.keeper);
    }

    fn check_truth(&self) {
        for (run, wanted) in &self.wanted {
            let end = wanted.states.last().expect("settled");
            let truth = self.truth.get(run);
            if *end == TaskState::Dropped {
                assert_eq!(self.executed.get(run), None, "seed {}: {run} was refused", self.seed);
                continue;
            }
            if *end == TaskState::Finished {
                assert_eq!(truth, Some(&Exit::Code(0)), "seed {}: {run}", self.seed);
            }
            // What the agent itself wants ended it may see end by itself.
            let own = longest_run(*run).is_some() || !checks(*run).is_empty();
            if self.power_losses == 0 && !wanted.kill_asked && !own {
                let right = match truth {
                    Some(Exit::Code(0)) => TaskState::Finished,
                    Some(Exit::Code(_) | Exit::Signal(_)) | None => TaskState::Failed,
                };
                assert_eq!(*end, right, "seed {}: {run} really ended with {truth:?}", self.seed);
            }
        }
    }
}

#[test]
fn whatever_crashes_no_run_starts_twice_and_every_end_arrives() {
    let (mut finished, mut gone, mut killed, mut killing, mut changes, mut lossless) = (0, 0, 0, 0, 0, 0);
    let mut refused = 0;
    for seed in 0..600 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.rough();
        }
        world.calm_down();
        world.check_truth();
        lossless += u32::from(world.power_losses == 0);
        for wanted in world.wanted.values() {
            let running = wanted.states.iter().filter(|state| **state == TaskState::Running).count();
            changes += u32::from(running > 1);
            killing += u32::from(wanted.states.contains(&TaskState::Killing));
            match wanted.states.last() {
                Some(TaskState::Finished) => finished += 1,
                Some(TaskState::Gone) => gone += 1,
                Some(TaskState::Killed) => killed += 1,
                Some(TaskState::Dropped) => refused += 1,
                Some(_) | None => {}
            }
        }
    }
    // The world was as rough as it was meant to be.
    assert!(
        finished > 1000 && gone > 100 && killed > 100 && killing > 100 && changes > 100 && refused > 100,
        "{finished} {gone} {killed} {killing} {changes} {refused}"
    );
    assert!(lossless > 0, "some worlds never lose power");
}
