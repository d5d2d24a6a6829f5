//! Framework personalities on the SDK: each has jobs to bring to a good end, remembers durably how they stand, and
//! tries again what failed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use framework_sdk_core::{Calls, Room, Scheduler, Session, Update, task};
use proto::demand::{DeclineReason, Demand, Filter};
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, DemandId, Epoch, FrameworkId, GroupId, OfferId, TaskId, VolumeId};
use proto::offer::Offer;
use proto::operation::{CreateVolume, DestroyVolume, Operation, Reserve, Unreserve};
use proto::quantities::Quantities;
use proto::resources::{Amount, Portion};
use proto::role::Role;
use proto::scheduler::RescindReason;
use proto::task::{StatusReason, TaskState, TaskStatus};
use proto_machine::{Dice, Instant, Now};

use crate::options::{FrameworkPlan, Habits, Personality};

const GIB: u64 = 1 << 30;

/// How long a slow framework thinks about an offer at most, in milliseconds: in rough times often longer than the shortest
/// lease, in calm ones always shorter.
const THINKS: (u64, u64) = (6000, 2500);

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be launched.
    Waiting,
    /// Launched, or about to be: written down before it is asked for.
    Launched,
    /// Brought to a good end.
    Done,
}

/// One job.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Counts its tasks: each try is a task of its own.
    pub attempt: u32,
    /// How it stands.
    pub standing: Standing,
}

impl Job {
    const NEW: Job = Job { attempt: 1, standing: Standing::Waiting };
}

/// What the world around it tells a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Times are calm: it answers while its offers stand.
    Calm,
    /// Times are calm no more.
    Rough,
    /// There are so many more jobs.
    Jobs(u32),
}

/// What a framework must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Its id.
    Framework(FrameworkId),
    /// The current attempt of this job is about to be launched.
    Launching(u32),
    /// It is over, and well or not.
    Over(u32, bool),
    /// Nothing to remember: for the checkers, what it was told.
    Told(Box<TaskStatus>),
    /// Nothing to remember: for the checkers, what it has taken in.
    TakenIn(Box<TaskStatus>),
    /// Nothing to remember: for the checkers, that it was offered what it had not asked for.
    Unasked(OfferId),
}

/// What a framework remembers over its lives.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Its id, once it has one.
    pub framework: Option<FrameworkId>,
    /// How often it was started.
    pub starts: u64,
    /// Its jobs.
    pub jobs: Vec<Job>,
    /// It has ended itself once.
    pub ended_itself: bool,
}

/// A framework's brain.
#[derive(Debug)]
pub struct Workload {
    personality: Personality,
    habits: Habits,
    info: FrameworkInfo,
    role: Role,
    shape: Amount,
    jobs: Vec<Job>,
    framework: Option<FrameworkId>,
    held: BTreeMap<OfferId, (Instant, Offer)>,
    late: VecDeque<(Instant, Update)>,
    demanded: Option<u64>,
    suppressed: bool,
    /// It may still end itself.
    may_end: bool,
    /// How often it may still want what cannot be had.
    mischief: u32,
    /// How long it thinks about an offer at most, in milliseconds.
    thinks: u64,
    dice: Dice,
}

// === impl Memory ===

impl Memory {
    /// A framework that never ran.
    pub fn new(jobs: u32) -> Self {
        Memory { framework: None, starts: 0, jobs: vec![Job::NEW; jobs as usize], ended_itself: false }
    }

    /// Takes a note.
    pub fn take(&mut self, note: &Note) {
        match note {
            Note::Framework(id) => self.framework = Some(id.clone()),
            Note::Launching(job) => launching(&mut self.jobs, *job),
            Note::Over(job, well) => over(&mut self.jobs, *job, *well),
            Note::Told(_) | Note::TakenIn(_) | Note::Unasked(_) => {}
        }
    }

    /// The framework was removed: it begins as a new one, and what ran is lost.
    pub fn begin_anew(&mut self) {
        self.framework = None;
        for job in self.jobs.iter_mut().filter(|job| job.standing == Standing::Launched) {
            job.standing = Standing::Waiting;
            job.attempt += 1;
        }
    }

    /// There are so many more jobs.
    pub fn more(&mut self, jobs: u32) {
        self.jobs.extend(std::iter::repeat_n(Job::NEW, jobs as usize));
    }

    /// Tasks that may be alive.
    pub fn believed(&self) -> Vec<TaskId> {
        let launched = self.jobs.iter().zip(0..).filter(|(job, _)| job.standing == Standing::Launched);
        launched.filter_map(|(job, number)| task_id(number, job.attempt)).collect()
    }

    /// A job that was not brought to a good end and is no task that runs, by its number from 1.
    pub fn unfinished(&self, runs: impl Fn(&TaskId) -> bool) -> Option<(u32, Job)> {
        let mut open = (0..).zip(&self.jobs).filter(|(_, job)| job.standing != Standing::Done);
        let runs = |number: u32, job: &Job| {
            job.standing == Standing::Launched && task_id(number, job.attempt).is_some_and(|task| runs(&task))
        };
        open.find(|(number, job)| !runs(*number, job)).map(|(number, job)| (number + 1, *job))
    }

    /// Whether every job was brought to a good end.
    pub fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.standing == Standing::Done)
    }
}

fn launching(jobs: &mut [Job], job: u32) {
    if let Some(job) = jobs.get_mut(job as usize) {
        job.standing = Standing::Launched;
    }
}

fn over(jobs: &mut [Job], job: u32, well: bool) {
    let Some(job) = jobs.get_mut(job as usize) else { return };
    if well {
        job.standing = Standing::Done;
    } else {
        job.standing = Standing::Waiting;
        job.attempt += 1;
    }
}

fn task_id(job: u32, attempt: u32) -> Option<TaskId> {
    TaskId::new(&format!("job{}.{attempt}", job + 1)).ok()
}

fn job_of(task: &TaskId) -> Option<(u32, u32)> {
    let (job, attempt) = task.as_str().strip_prefix("job")?.split_once('.')?;
    Some((job.parse::<u32>().ok()?.checked_sub(1)?, attempt.parse().ok()?))
}

// === impl Workload ===

impl Workload {
    /// A framework's brain, as it remembers itself.
    pub fn new(plan: FrameworkPlan, info: FrameworkInfo, shape: Amount, memory: &Memory, seed: u64) -> Self {
        let jobs = &memory.jobs;
        let waiting = jobs.iter().filter(|job| job.standing == Standing::Waiting).count() as u64;
        Workload {
            personality: plan.personality,
            habits: plan.habits,
            role: info.roles.first().cloned().unwrap_or_else(Role::default_role),
            info,
            shape,
            jobs: memory.jobs.clone(),
            framework: memory.framework.clone(),
            held: BTreeMap::new(),
            late: VecDeque::new(),
            demanded: Some(waiting),
            suppressed: false,
            may_end: plan.habits.tears_down && !memory.ended_itself,
            mischief: 4,
            thinks: THINKS.0,
            dice: Dice::new(seed),
        }
    }

    fn waiting(&self) -> u64 {
        self.jobs.iter().filter(|job| job.standing == Standing::Waiting).count() as u64
    }

    /// Its waiting jobs as demands.
    fn wanted(&self) -> Vec<Demand> {
        let demand = DemandId::new("jobs").map(|id| Demand {
            id,
            role: self.role.clone(),
            shape: self.shape.clone(),
            count: self.waiting(),
            constraints: Default::default(),
            priority: 0,
        });
        demand.into_iter().filter(|demand| demand.count > 0).collect()
    }

    /// Says what is wanted, if that has changed.
    fn want(&mut self, out: &mut Calls<Note>) {
        let waiting = self.waiting();
        match self.personality {
            Personality::Demanding => {
                if self.demanded != Some(waiting) {
                    self.demanded = Some(waiting);
                    out.demand(self.wanted());
                }
            }
            Personality::Greedy | Personality::Slow | Personality::Picky | Personality::Wrong => {
                if waiting == 0 && !self.suppressed {
                    self.suppressed = true;
                    out.suppress(Vec::new());
                } else if waiting > 0 && self.suppressed {
                    self.suppressed = false;
                    out.revive(Vec::new());
                }
            }
            Personality::Declining | Personality::Silent => {}
        }
    }

    /// Puts waiting jobs into offers.
    fn place(&mut self, offers: Vec<Offer>, out: &mut Calls<Note>) {
        let mut rooms: Vec<Room> = offers.into_iter().map(Room::new).collect();
        self.dice.shuffle(&mut rooms);
        // An accept that makes volumes may be refused for a name that stands already: not every one does, or none gets through.
        let makes_volumes = self.habits.reserves && self.dice.chance(1, 2);
        for number in 0..self.jobs.len() as u32 {
            let job = self.jobs[number as usize];
            if job.standing != Standing::Waiting {
                continue;
            }
            let Some(id) = task_id(number, job.attempt) else { continue };
            let fitting = rooms.iter_mut().find(|room| room.fits(&self.shape));
            let Some(room) = fitting else { break };
            if self.habits.groups && self.dice.chance(1, 3) {
                place_group(&mut self.jobs, number, room, &self.shape, out);
                continue;
            }
            if self.habits.reserves && self.dice.chance(2, 3) {
                place_with_volume(id, room, &self.shape, makes_volumes, &mut self.dice);
                launching(&mut self.jobs, number);
                out.emit(Note::Launching(number));
                continue;
            }
            if room.place(&self.shape, task::argv(id, ["work"])).is_ok() {
                launching(&mut self.jobs, number);
                out.emit(Note::Launching(number));
            }
        }
        if self.habits.reserves {
            rooms.iter_mut().for_each(|room| self.reserve(room));
        }
        let filter = Filter { refuse: Duration::from_secs(1) };
        if self.habits.gangs && self.dice.chance(1, 2) {
            out.accept_together(rooms, filter);
        } else {
            out.accept(rooms, filter);
        }
        self.want(out);
    }

    /// Now and then it says that they were an earlier leader's.
    fn forged(&mut self, mut offers: Vec<Offer>) -> Vec<Offer> {
        if self.habits.forges && self.mischief > 0 && self.dice.chance(1, 4) {
            self.mischief -= 1;
            for offer in &mut offers {
                offer.id.epoch = Epoch(offer.id.epoch.0.saturating_sub(1));
            }
        }
        offers
    }

    /// Does something with the disk of an offer, behind the launches.
    fn reserve(&mut self, room: &mut Room) {
        if !self.dice.chance(1, 3) {
            return;
        }
        let role = room.offer().role.clone();
        let wanted = if self.mischief > 0 && self.dice.chance(1, 6) {
            self.mischief -= 1;
            1000 * GIB
        } else {
            GIB
        };
        let portions = room.offer().resources.portions().to_vec();
        let some = self.dice.pick(&portions).filter(|portion| portion.amount.scalars.disk_bytes() > 0);
        let operation = match some.map(|portion| (&portion.reservation, &portion.volume)) {
            None => return,
            Some((None, _)) => Operation::Reserve(Reserve { role, amount: disk(wanted) }),
            Some((Some(role), Some(volume))) => {
                Operation::DestroyVolume(DestroyVolume { role: role.clone(), volume: volume.clone() })
            }
            Some((Some(role), None)) if self.dice.chance(1, 2) => {
                let Some(volume) = volume_id(&mut self.dice) else { return };
                Operation::CreateVolume(CreateVolume { role: role.clone(), volume, disk_bytes: wanted })
            }
            Some((Some(role), None)) => {
                Operation::Unreserve(Unreserve { role: role.clone(), amount: disk(wanted) })
            }
        };
        room.operate(operation);
    }

    /// Says something new of itself, or ends.
    fn turn_over(&mut self, out: &mut Calls<Note>) {
        if self.habits.changes && self.dice.chance(1, 5) {
            let mut info = self.info.clone();
            let more = Role::new("ops/more").expect("a role");
            if self.dice.chance(1, 2) && !info.roles.contains(&more) {
                info.roles.push(more);
            }
            info.labels.insert("turn".to_owned(), self.dice.below(1000).to_string());
            out.update_framework(info);
        }
        if self.may_end && self.dice.chance(1, 8) {
            self.may_end = false;
            out.teardown();
        }
    }

    fn take_in(&mut self, update: Update, out: &mut Calls<Note>) {
        let (state, task) = (update.status().state, update.status().task.clone());
        let over_now = state.is_terminal() || state == TaskState::Unknown;
        if let Some((number, attempt)) = job_of(&task).filter(|_| over_now)
            && let Some(job) = self.jobs.get(number as usize)
            && job.attempt == attempt
            && job.standing == Standing::Launched
        {
            let well = state == TaskState::Finished;
            over(&mut self.jobs, number, well);
            out.emit(Note::Over(number, well));
        }
        out.emit(Note::TakenIn(Box::new(update.status().clone())));
        out.done(update);
        self.want(out);
        self.turn_over(out);
    }
}

/// Two agents of three will do.
fn is_liked(agent: &AgentId) -> bool {
    agent.as_str().bytes().map(u32::from).sum::<u32>() % 3 > 0
}

fn disk(bytes: u64) -> Amount {
    Amount::scalars(Quantities::ZERO.with_disk(bytes))
}

/// Few names, so that one is given again soon, at times too soon.
fn volume_id(dice: &mut Dice) -> Option<VolumeId> {
    VolumeId::new(&format!("v{}", dice.below(3))).ok()
}

/// Launches a job that fits, with a volume that is there, with one made for it, or without.
fn place_with_volume(id: TaskId, room: &mut Room, shape: &Amount, makes: bool, dice: &mut Dice) {
    let mut task = task::argv(id, ["work"]);
    task.resources = room.take(shape).unwrap_or_default();
    let there = room.rest().volumes().next().map(|(_, volume)| volume.clone());
    if let Some(volume) = there.filter(|_| dice.chance(4, 5)) {
        task.resources.add(&room.take_volume(&volume).unwrap_or_default());
    } else if makes
        && let (Some(volume), Some(taken)) = (volume_id(dice), room.take(&disk(GIB)))
        && let [portion] = taken.portions()
    {
        let kept = portion.reservation.clone();
        let role = kept.clone().unwrap_or_else(|| room.offer().role.clone());
        if kept.is_none() {
            room.operate(Operation::Reserve(Reserve { role: role.clone(), amount: disk(GIB) }));
        }
        let create = CreateVolume { role: role.clone(), volume: volume.clone(), disk_bytes: GIB };
        room.operate(Operation::CreateVolume(create));
        task.resources.add_portion(&Portion {
            reservation: Some(role),
            volume: Some(volume),
            amount: disk(GIB),
        });
    }
    room.launch(task);
}

/// Launches a job together with the next one that waits, if there is room for both.
fn place_group(jobs: &mut [Job], number: u32, room: &mut Room, shape: &Amount, out: &mut Calls<Note>) {
    let waits = |job: &(u32, &Job)| job.1.standing == Standing::Waiting;
    let both: Vec<(u32, u32)> = (0..)
        .zip(&*jobs)
        .filter(waits)
        .skip_while(|(at, _)| *at < number)
        .take(2)
        .map(|(at, job)| (at, job.attempt))
        .collect();
    let mut tasks = Vec::new();
    for (number, attempt) in both {
        let Some(id) = task_id(number, attempt) else { continue };
        let Some(resources) = room.take(shape) else { continue };
        let mut task = task::argv(id, ["work"]);
        task.resources = resources;
        tasks.push(task);
        launching(jobs, number);
        out.emit(Note::Launching(number));
    }
    if let Some(group) = tasks.first().and_then(|task| GroupId::new(task.id.as_str()).ok()) {
        room.launch_group(group, tasks);
    }
}

impl Scheduler for Workload {
    type Input = Word;
    type Output = Note;

    fn demands(&self) -> Option<Vec<Demand>> {
        (self.personality == Personality::Demanding).then(|| self.wanted())
    }

    fn subscribed(&mut self, _now: Now, session: &Session, out: &mut Calls<Note>) {
        if self.framework.as_ref() != Some(&session.framework) {
            self.framework = Some(session.framework.clone());
            out.emit(Note::Framework(session.framework.clone()));
        }
        if !session.resumed {
            self.held.clear();
        }
        self.want(out);
    }

    fn offers(&mut self, now: Now, offers: Vec<Offer>, out: &mut Calls<Note>) {
        if self.personality == Personality::Demanding {
            let plain = offers.iter().filter(|offer| offer.demand.is_none());
            plain.for_each(|offer| out.emit(Note::Unasked(offer.id)));
        }
        match self.personality {
            Personality::Picky => {
                let (liked, others): (Vec<Offer>, Vec<Offer>) =
                    offers.into_iter().partition(|offer| is_liked(&offer.agent.id));
                let refuse = Duration::from_secs(10);
                for offer in others {
                    out.decline(offer, DeclineReason::Unused, Filter { refuse });
                }
                self.place(liked, out);
            }
            Personality::Demanding | Personality::Greedy | Personality::Wrong => {
                let offers = self.forged(offers);
                self.place(offers, out);
            }
            Personality::Declining => {
                let longest = if self.habits.content { 60 } else { 5 };
                let refuse = Duration::from_secs(1 + self.dice.below(longest));
                for offer in offers {
                    out.decline(offer, DeclineReason::Unused, Filter { refuse });
                }
            }
            Personality::Silent => offers.iter().for_each(|offer| out.hold(offer)),
            Personality::Slow => {
                for offer in offers {
                    out.hold(&offer);
                    let thinks = Duration::from_millis(self.dice.below(self.thinks));
                    self.held.insert(offer.id, (now.monotonic + thinks, offer));
                }
            }
        }
    }

    fn input(&mut self, _now: Now, word: Word, out: &mut Calls<Note>) {
        match word {
            Word::Calm => self.thinks = THINKS.1,
            Word::Rough => self.thinks = THINKS.0,
            Word::Jobs(count) => {
                self.jobs.extend(std::iter::repeat_n(Job::NEW, count as usize));
                self.want(out);
            }
        }
    }

    fn update(&mut self, now: Now, update: Update, out: &mut Calls<Note>) {
        out.emit(Note::Told(Box::new(update.status().clone())));
        let thinks = self.personality == Personality::Slow && self.dice.chance(1, 2);
        let is_refused = update.status().reason == StatusReason::AgentDiskFull;
        if !thinks && !is_refused && self.late.is_empty() {
            return self.take_in(update, out);
        }
        let at = match is_refused {
            // As in the SDK's reconciler, what was refused is not tried again at once.
            true => now.monotonic + Duration::from_secs(5),
            false => now.monotonic + Duration::from_millis(self.dice.below(1500)),
        };
        let at = self.late.back().map_or(at, |(last, _)| at.max(*last));
        self.late.push_back((at, update));
    }

    fn rescinded(&mut self, _now: Now, offer: OfferId, _why: RescindReason, _out: &mut Calls<Note>) {
        self.held.remove(&offer);
    }

    fn wake(&mut self, now: Now, out: &mut Calls<Note>) {
        while self.late.front().is_some_and(|(at, _)| *at <= now.monotonic) {
            if let Some((_, update)) = self.late.pop_front() {
                self.take_in(update, out);
            }
        }
        let due: Vec<OfferId> =
            self.held.iter().filter(|(_, (at, _))| *at <= now.monotonic).map(|(id, _)| *id).collect();
        let offers: Vec<Offer> =
            due.iter().filter_map(|id| self.held.remove(id)).map(|(_, offer)| offer).collect();
        if !offers.is_empty() {
            self.place(offers, out);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let late = self.late.front().map(|(at, _)| *at);
        let held = self.held.values().map(|(at, _)| *at).min();
        late.into_iter().chain(held).min()
    }
}
