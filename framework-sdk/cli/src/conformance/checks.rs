//! What is checked: one function each, which makes something happen and judges what the framework does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use framework_sdk::harness::{Fake, resources};
use framework_sdk::tasks;
use framework_sdk::testing::{Behaviour, Journal, Mishap, Noted};
use proto::id::{OfferId, RunId, TaskId};
use proto::scheduler::{CallKind, EventKind, Subscribe};
use proto::task::{Exit, TaskState};

use super::card::Finding;
use super::play::{Play, tore_itself_down};

/// How long tasks run that end by themselves.
const SHORT: Duration = Duration::from_millis(200);
/// How long a framework is watched where only time can tell.
const WATCHED: Duration = Duration::from_secs(3);
/// A framework may be silent for so long: three heartbeats, then its master gives it up.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Sessions broken one after the other in the storm.
const BREAKS: usize = 10;
/// So many tries in [`WATCHED`] are too many for one framework: a thousand of them would keep the masters down.
const TRIES_MAX: usize = 100;

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Check {
    /// Offers are answered.
    Hoarding,
    /// Updates are acknowledged.
    Acknowledgement,
    /// Another leader takes over.
    Failover,
    /// Updates come twice.
    Duplicates,
    /// Much happens at once.
    SlowHandler,
    /// Sessions break again and again.
    ReconnectStorm,
    /// Tasks that only one side knows.
    UnknownTask,
}

// === impl Check ===

impl Check {
    /// All, in the order in which they are made.
    pub const ALL: [Check; 7] = [
        Check::Hoarding,
        Check::Acknowledgement,
        Check::Failover,
        Check::Duplicates,
        Check::SlowHandler,
        Check::ReconnectStorm,
        Check::UnknownTask,
    ];

    /// Its name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Check::Hoarding => "hoarding",
            Check::Acknowledgement => "acknowledgement",
            Check::Failover => "failover",
            Check::Duplicates => "duplicates",
            Check::SlowHandler => "slow-handler",
            Check::ReconnectStorm => "reconnect-storm",
            Check::UnknownTask => "unknown-task",
        }
    }

    /// What is asked of a framework.
    pub fn advice(self) -> &'static str {
        match self {
            Check::Hoarding => {
                "answer every offer soon: accept it or decline it; an offer that is kept is kept from others"
            }
            Check::Acknowledgement => {
                "acknowledge every update with a sequence above 0, with its run and sequence, once it is taken in"
            }
            Check::Failover => {
                "subscribe again with the id that was given and no new one, follow Redirect, and send calls without an \
                 answer again under their operation ids"
            }
            Check::Duplicates => "take an update that comes twice in once, and acknowledge it each time",
            Check::SlowHandler => {
                "go on answering and sending heartbeats while much is to be done: do slow work elsewhere"
            }
            Check::ReconnectStorm => {
                "come back whenever the session breaks, and wait a little longer after each failed try"
            }
            Check::UnknownTask => {
                "after a session that is not resumed, reconcile tasks that are not in the snapshot, and acknowledge updates \
                 of tasks that are not yours"
            }
        }
    }
}

/// Makes one check.
pub(super) async fn make(check: Check, play: &mut Play) -> Finding {
    let judged = match check {
        Check::Hoarding => hoarding(play).await,
        Check::Acknowledgement => acknowledgement(play).await,
        Check::Failover => failover(play).await,
        Check::Duplicates => duplicates(play).await,
        Check::SlowHandler => slow_handler(play).await,
        Check::ReconnectStorm => reconnect_storm(play).await,
        Check::UnknownTask => unknown_task(play).await,
    };
    let result = judged.unwrap_or_else(|result| result);
    if result.mark == super::Mark::Passed
        && let Some(how) = play.death()
    {
        return Finding::failed(format!("it died, {how}"));
    }
    result
}

type Judged = Result<Finding, Finding>;

async fn begin(play: &mut Play) -> Result<(), Finding> {
    play.subscribed().await.map_err(Finding::failed)
}

/// Waits until the framework has something running; a framework that wants nothing cannot be judged.
async fn running(play: &mut Play) -> Result<TaskId, Finding> {
    let runs = |fake: &Fake, _: &Journal| {
        fake.tasks().find(|(_, task)| task.state() == TaskState::Running).map(|(id, _)| id.clone())
    };
    match play.find(runs).await {
        Some(task) => Ok(task),
        None => Err(Finding::untried(play.miss("it launches nothing (see --work)"))),
    }
}

/// What no check forgives.
fn honest(fake: &Fake) -> Result<(), Finding> {
    if let Some(task) = fake.doubled.first() {
        return Err(Finding::failed(format!("it launched task {task} twice")));
    }
    if let Some(operation) = fake.reused.first() {
        return Err(Finding::failed(format!("it used operation id {operation} for two different calls")));
    }
    Ok(())
}

// --- hoarding ---

/// Offers told and not answered, oldest first.
fn open_offers(journal: &Journal) -> BTreeMap<OfferId, Instant> {
    let mut open = BTreeMap::new();
    for (at, noted) in journal.since(0) {
        match noted {
            Noted::Told(event) => match &event.kind {
                EventKind::Offers(offers) => {
                    open.extend(offers.offers.iter().map(|offer| (offer.id, at)));
                }
                EventKind::Rescind(rescind) => drop(open.remove(&rescind.offer)),
                _ => {}
            },
            Noted::Called(call) => match &call.kind {
                CallKind::Accept(accept) => {
                    for id in accept.parts.iter().flat_map(|part| &part.offers) {
                        open.remove(id);
                    }
                }
                CallKind::Decline(decline) => {
                    for id in &decline.offers {
                        open.remove(id);
                    }
                }
                _ => {}
            },
            // Every offer ends with its session.
            Noted::Broke => open.clear(),
            Noted::Dialled(_) => {}
        }
    }
    open
}

async fn hoarding(play: &mut Play) -> Judged {
    begin(play).await?;
    play.live(Behaviour::Finish(SHORT));
    let offered = |_: &Fake, journal: &Journal| {
        journal.told(0).any(|(_, event)| matches!(event, EventKind::Offers(_))).then_some(())
    };
    if play.find(offered).await.is_none() {
        return Err(Finding::untried(play.miss("it wants no offers (see --work)")));
    }
    play.watch(WATCHED).await;
    let mark = Instant::now();
    let answered = |_: &Fake, journal: &Journal| {
        (tore_itself_down(journal) || open_offers(journal).values().all(|at| *at > mark)).then_some(())
    };
    if play.find(answered).await.is_none() {
        let journal = play.cluster.journal();
        let oldest: Vec<Duration> = open_offers(&journal).values().map(|at| Play::age(*at)).collect();
        let age = oldest.iter().max().copied().unwrap_or_default();
        return Err(Finding::failed(format!(
            "{} offers without an answer, the oldest for {:.1} s",
            oldest.len(),
            age.as_secs_f64()
        )));
    }
    play.cluster.with(|fake| honest(fake))?;
    let journal = play.cluster.journal();
    let offers = journal.told(0).map(|(_, event)| match event {
        EventKind::Offers(offers) => offers.offers.len(),
        _ => 0,
    });
    Ok(Finding::passed(format!("{} offers, each answered", offers.sum::<usize>())))
}

// --- acknowledgements ---

type Place = (TaskId, RunId, u64);

/// When each update was last told, and when it was last acknowledged.
fn updates(journal: &Journal) -> (BTreeMap<Place, Instant>, BTreeMap<Place, Instant>) {
    let (mut told, mut taken) = (BTreeMap::new(), BTreeMap::new());
    for (at, noted) in journal.since(0) {
        match noted {
            Noted::Told(event) => {
                if let EventKind::Update(status) = &event.kind
                    && let (Some(run), 1..) = (status.run, status.sequence)
                {
                    told.insert((status.task.clone(), run, status.sequence), at);
                }
            }
            Noted::Called(call) => {
                if let CallKind::Acknowledge(ack) = &call.kind {
                    taken.insert((ack.task.clone(), ack.run, ack.sequence), at);
                }
            }
            Noted::Dialled(_) | Noted::Broke => {}
        }
    }
    (told, taken)
}

/// Updates that were not acknowledged after they were last told.
fn missing(journal: &Journal) -> Vec<Place> {
    let (told, taken) = updates(journal);
    let open = told.into_iter().filter(|(place, at)| taken.get(place).is_none_or(|taken| taken < at));
    open.map(|(place, _)| place).collect()
}

/// Waits until every update is acknowledged, and judges the acknowledgements.
async fn all_taken(play: &mut Play) -> Result<usize, Finding> {
    let taken = |_: &Fake, journal: &Journal| {
        (tore_itself_down(journal) || missing(journal).is_empty()).then_some(())
    };
    if play.find(taken).await.is_none() {
        let open = missing(&play.cluster.journal());
        let first = open.first().map(|(task, _, number)| format!("update {number} of task {task}"));
        let first = first.unwrap_or_default();
        return Err(Finding::failed(
            play.miss(&format!("{} updates are not acknowledged, such as {first},", open.len())),
        ));
    }
    let (told, taken) = updates(&play.cluster.journal());
    if let Some((task, _, number)) = taken.keys().find(|place| !told.contains_key(place)) {
        return Err(Finding::failed(format!(
            "it acknowledges update {number} of task {task}, which it was not told"
        )));
    }
    play.cluster.with(|fake| honest(fake))?;
    Ok(told.len())
}

/// Waits until a task has ended well, as its framework was told.
async fn finished(play: &mut Play) -> Result<(), Finding> {
    running(play).await?;
    let over = |fake: &Fake, journal: &Journal| {
        let ended = fake.tasks().any(|(_, task)| task.state() == TaskState::Finished);
        (ended || tore_itself_down(journal)).then_some(())
    };
    // It is told of the end only once it has acknowledged what came before.
    play.find(over).await;
    Ok(())
}

async fn acknowledgement(play: &mut Play) -> Judged {
    begin(play).await?;
    play.live(Behaviour::Finish(SHORT));
    finished(play).await?;
    let count = all_taken(play).await?;
    Ok(Finding::passed(format!("{count} updates, each acknowledged")))
}

async fn duplicates(play: &mut Play) -> Judged {
    begin(play).await?;
    // Whatever is told of tasks is told twice.
    play.cluster.with(|fake| (0..64).for_each(|_| fake.befall(Mishap::Duplicate)));
    play.live(Behaviour::Run);
    let task = running(play).await?;
    all_taken(play).await?;
    play.cluster.with(Fake::repeat);
    all_taken(play).await?;
    play.cluster.with(|fake| fake.report(&task, TaskState::Finished, Some(Exit::Code(0))));
    all_taken(play).await?;
    play.cluster.with(Fake::repeat);
    let count = all_taken(play).await?;
    let journal = play.cluster.journal();
    let told = journal.told(0).filter(|(_, event)| matches!(event, EventKind::Update(_))).count();
    if journal.since(0).filter(|(_, noted)| matches!(noted, Noted::Dialled(_))).count() > 2 {
        return Err(Finding::failed("it ends its session when an update comes twice"));
    }
    Ok(Finding::passed(format!("{count} updates told {told} times, taken in and acknowledged")))
}

// --- sessions ---

/// The subscribes since a place that a leader heard.
fn subscribes(journal: &Journal, place: usize) -> Vec<Subscribe> {
    let subscribe = |call: &CallKind| match call {
        CallKind::Subscribe(subscribe) => Some(subscribe.clone()),
        _ => None,
    };
    journal.calls(place).filter_map(|(_, call)| subscribe(call)).collect()
}

/// Waits until the framework is back, as who it was.
async fn back(play: &mut Play, place: usize, after: &str) -> Result<Subscribe, Finding> {
    let again = |_: &Fake, journal: &Journal| subscribes(journal, place).into_iter().next();
    let Some(subscribe) = play.find(again).await else {
        return Err(Finding::failed(play.miss(&format!("it is not back after {after}"))));
    };
    if subscribe.id.is_none() {
        return Err(Finding::failed(format!("it comes back as a new framework after {after}")));
    }
    Ok(subscribe)
}

async fn failover(play: &mut Play) -> Judged {
    begin(play).await?;
    // The first leader dies with a launch: committed, and its answer lost.
    play.cluster.fail_over_at_next_accept();
    let place = play.cluster.journal().len();
    play.live(Behaviour::Run);
    let launched = |fake: &Fake, _: &Journal| (!fake.accepted.is_empty()).then_some(());
    let launches = play.find(launched).await.is_some();
    if launches {
        back(play, place, "a leader that died with its launch").await?;
        running(play).await?;
    }
    let place = play.cluster.journal().len();
    play.cluster.fail_over();
    back(play, place, "its leader's death").await?;
    let standing = |fake: &Fake, _: &Journal| fake.is_connected().then_some(());
    if play.find(standing).await.is_none() {
        return Err(Finding::failed(play.miss("its session does not stand")));
    }
    // What it launches now that it should not have to would show here.
    play.watch(WATCHED).await;
    play.cluster.with(|fake| honest(fake))?;
    if !launches {
        return Err(Finding::untried("it is back as itself, and launches nothing (see --work)"));
    }
    Ok(Finding::passed("back with the next leader as itself, nothing launched twice"))
}

async fn reconnect_storm(play: &mut Play) -> Judged {
    begin(play).await?;
    play.live(Behaviour::Run);
    for number in 1..=BREAKS {
        let place = play.cluster.journal().len();
        play.cluster.break_session();
        back(play, place, &format!("break {number} of {BREAKS}")).await?;
    }
    let place = play.cluster.journal().len();
    play.cluster.shut(true);
    play.watch(WATCHED).await;
    let journal = play.cluster.journal();
    let tries = journal.since(place).filter(|(_, noted)| matches!(noted, Noted::Dialled(_))).count();
    if tries > TRIES_MAX {
        return Err(Finding::failed(format!(
            "it tries {tries} times within {} s while nobody leads",
            WATCHED.as_secs()
        )));
    }
    let place = journal.len();
    play.cluster.shut(false);
    back(play, place, "a time without a leader").await?;
    play.cluster.with(|fake| honest(fake))?;
    Ok(Finding::passed(format!("back after each of {BREAKS} breaks; {tries} tries while nobody led")))
}

// --- much at once, and strangers ---

async fn slow_handler(play: &mut Play) -> Judged {
    begin(play).await?;
    play.live(Behaviour::Run);
    let mark = Instant::now();
    // If it has tasks, there is more to do; if not, heartbeats and offers are enough.
    let launched = |fake: &Fake, _: &Journal| (!fake.accepted.is_empty()).then_some(());
    let launches = play.find(launched).await.is_some();
    play.cluster.with(|fake| {
        let tasks: Vec<TaskId> = fake.tasks().map(|(id, _)| id.clone()).collect();
        for _ in 0..50 {
            tasks.iter().for_each(|task| fake.report(task, TaskState::Running, None));
            fake.redeliver();
            fake.heartbeat();
        }
    });
    play.watch(WATCHED + Duration::from_secs(1)).await;
    let journal = play.cluster.journal();
    if !tore_itself_down(&journal) {
        let mut last = mark;
        let mut silence = Duration::ZERO;
        for at in journal.calls(0).map(|(at, _)| at).filter(|at| *at > mark).chain([Instant::now()]) {
            silence = silence.max(at - last);
            last = at;
        }
        if silence > SILENCE_MAX {
            return Err(Finding::failed(play.death().map_or_else(
                || format!("it says nothing for {:.1} s", silence.as_secs_f64()),
                |how| format!("it died, {how}"),
            )));
        }
    }
    let count = all_taken(play).await?;
    if !launches {
        return Err(Finding::untried("it sends heartbeats, and launches nothing (see --work)"));
    }
    Ok(Finding::passed(format!("{count} updates in a burst, heartbeats all along")))
}

async fn unknown_task(play: &mut Play) -> Judged {
    begin(play).await?;
    play.live(Behaviour::Run);
    let task = running(play).await?;
    all_taken(play).await?;
    // The log has forgotten it, as it forgets what ended long ago.
    let place = play.cluster.journal().len();
    play.cluster.with(|fake| fake.forget(&task));
    play.cluster.fail_over();
    back(play, place, "its leader's death").await?;
    let asked = |_: &Fake, journal: &Journal| {
        let about = |call: &CallKind| match call {
            CallKind::Reconcile(asked) => asked.tasks.is_empty() || asked.tasks.contains(&task),
            _ => false,
        };
        journal.calls(place).any(|(_, call)| about(call)).then_some(())
    };
    if play.find(asked).await.is_none() {
        return Err(Finding::failed(
            play.miss(&format!("it does not ask for task {task}, which is not in the snapshot,")),
        ));
    }
    let stranger = TaskId::new("conformance.stranger").map_err(|bad| Finding::untried(bad.to_string()))?;
    let mut info = tasks::shell(stranger.clone(), "true");
    info.resources = resources(1, 1 << 20);
    let adopted = play.cluster.with(|fake| {
        let adopted = fake.adopt(info);
        fake.report(&stranger, TaskState::Running, None);
        adopted
    });
    if !adopted {
        return Err(Finding::untried("it leaves no room for one more task"));
    }
    all_taken(play).await?;
    play.watch(Duration::from_millis(500)).await;
    let known: BTreeSet<TaskId> =
        updates(&play.cluster.journal()).1.into_keys().map(|(task, _, _)| task).collect();
    if !known.contains(&stranger) {
        return Err(Finding::failed("it does not acknowledge the update of a task that it does not know"));
    }
    Ok(Finding::passed("asks for what the snapshot lacks, and takes in what it does not know"))
}
