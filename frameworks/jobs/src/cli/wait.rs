//! Waiting until a job is as somebody asked for it.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::client::Client;
use super::failure::{BAD, CONFLICT, Failure, Stop, UNAVAILABLE};
use super::follow::Followed;
use super::printer::Printer;
use super::show::{escaped, now_ms};
use crate::spec::{Cron, Kind, show_duration};
use crate::wire::{JobEvent, JobView, Progress, Setback, Summary, Task, TaskState, WatchRequest};

/// A stream that ends at once is not asked for in a circle.
const PAUSE: Duration = Duration::from_millis(100);
/// After so long in which nothing changed it is said, once, why it waits.
const EXPLAIN_AFTER: Duration = Duration::from_secs(2);

/// So many tasks that end badly are told of.
const MISHAPS_MAX: usize = 3;

/// What is waited for.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub kind: Kind,
    /// Of a cron job.
    pub cron: Option<&'a Cron>,
    /// The revision that somebody asked for.
    pub revision: u64,
}

/// How it stands with that.
enum Standing {
    /// Not yet.
    OnItsWay,
    /// Not yet, and people should know.
    News(String),
    /// Over, with these words and this exit code.
    Over(String, u8),
}

/// Until each of them is there, at most so long in all.
pub(super) async fn for_all(
    client: &mut Client,
    all: &[Wanted<'_>],
    limit: Option<Duration>,
    printer: &Printer,
) -> Result<u8, Stop> {
    let waiting = async {
        let mut code = 0;
        for wanted in all {
            code = code.max(for_one(client, wanted, printer).await?);
        }
        Ok(code)
    };
    match limit {
        None => waiting.await,
        Some(limit) => timeout(limit, waiting).await.unwrap_or_else(|_| {
            let message = format!("not all there after {}; the jobs go on", show_duration(limit));
            Err(Failure::new(UNAVAILABLE, message, "look with `stoa job get` and `stoa explain job`").into())
        }),
    }
}

/// Until a service runs as it was asked for, its canaries wait, or its change has failed; until a batch job is over. A cron job
/// waits for its time, which nobody wants to wait for here.
async fn for_one(client: &mut Client, wanted: &Wanted<'_>, printer: &Printer) -> Result<u8, Stop> {
    let name = wanted.name;
    if let Some(cron) = wanted.cron {
        let next = cron.next(now_ms()).map_or("it is paused".to_owned(), |at| cron.timezone.show(at));
        printer.note(&format!("{name} is scheduled; next run: {next}")).await;
        return Ok(0);
    }
    let (mut job, mut told, mut mishaps) = (Followed::default(), String::new(), 0);
    let (mut seen, mut explained) = (false, false);
    loop {
        let request = WatchRequest { name: name.to_owned(), until_over: true };
        let mut events = client.watch(request).await?;
        loop {
            let next = match explained {
                true => events.message().await,
                false => match timeout(EXPLAIN_AFTER, events.message()).await {
                    Ok(next) => next,
                    Err(_) => {
                        explained = true;
                        explain(client, name, printer).await;
                        continue;
                    }
                },
            };
            let Ok(Some(event)) = next else { break };
            let standing = stands(wanted, event, &mut job);
            // What had ended before anybody looked is of an earlier spec, or is told by how the job stands.
            let new = if std::mem::replace(&mut seen, true) { standing.mishaps } else { Vec::new() };
            for words in new.iter().take(MISHAPS_MAX.saturating_sub(mishaps)) {
                printer.note(words).await;
            }
            mishaps += new.len();
            match standing.now? {
                Standing::OnItsWay => {}
                Standing::News(news) if news == told => {}
                Standing::News(news) => {
                    printer.note(&news).await;
                    told = news;
                }
                Standing::Over(words, code) => {
                    printer.note(&words).await;
                    return Ok(code);
                }
            }
        }
        client.forget();
        sleep(PAUSE).await;
    }
}

/// That it cannot be explained is no failure of the job.
async fn explain(client: &mut Client, name: &str, printer: &Printer) {
    for line in super::explain::in_short(client, name).await.unwrap_or_default() {
        printer.note(&line).await;
    }
}

/// What an event says.
struct Told {
    now: Result<Standing, Failure>,
    /// Tasks that ended badly.
    mishaps: Vec<String>,
}

fn stands(wanted: &Wanted<'_>, event: JobEvent, job: &mut Followed) -> Told {
    let revision = event.revision;
    let mishaps = job.take(event).iter().filter_map(mishap).collect();
    Told { now: stands_now(wanted, revision, job), mishaps }
}

/// That a task ended badly, and how.
fn mishap(task: &Task) -> Option<String> {
    let state = match task.state() {
        state @ (TaskState::TaskFailed | TaskState::TaskError | TaskState::TaskLost) => state.word(),
        _ => return None,
    };
    let how = match (task.message.as_str(), task.exit_code, task.exit_signal) {
        ("", Some(code), _) => format!(": exit code {code}"),
        ("", None, Some(signal)) => format!(": signal {signal}"),
        ("", None, None) => String::new(),
        (message, ..) => format!(": {}", escaped(message)),
    };
    Some(format!("{} {state}{how}", escaped(&task.name)))
}

fn stands_now(wanted: &Wanted<'_>, revision: u64, job: &Followed) -> Result<Standing, Failure> {
    let name = wanted.name;
    if revision > wanted.revision {
        let message = format!("{name} was changed again meanwhile: it is at revision {revision}");
        return Err(Failure::new(CONFLICT, message, format!("look at it with `stoa job get {name}`")));
    }
    let s = job.summary;
    if job.over {
        let words = format!("{name} is over: {} of {} finished, {} failed", s.finished, s.wanted, s.failed);
        // Of a service that was stopped, none is wanted.
        let good = s.failed == 0 && s.wanted > 0 && s.finished >= s.wanted;
        return Ok(Standing::Over(words, if good { 0 } else { BAD }));
    }
    Ok(if wanted.kind == Kind::Service { service(name, &s) } else { Standing::OnItsWay })
}

fn service(name: &str, s: &Summary) -> Standing {
    let why = setback(s.setback());
    let ended = s.finished.saturating_add(s.failed);
    match s.progress() {
        Progress::UnderWay if s.wanted > 0 && ended >= s.wanted => {
            let words = format!(
                "{name} is over: {} of {} finished, {} failed, and none is started again",
                s.finished, s.wanted, s.failed
            );
            Standing::Over(words, if s.failed > 0 { BAD } else { 0 })
        }
        Progress::UnderWay => Standing::OnItsWay,
        // A framework of an earlier version says nothing of it.
        Progress::Done | Progress::Unspecified => {
            if s.wanted == 0 || s.running.saturating_add(ended) < s.wanted {
                return Standing::OnItsWay;
            }
            let ended = match (s.finished, s.failed) {
                (0, 0) => String::new(),
                (finished, failed) => format!(", {finished} finished and {failed} failed for good"),
            };
            let words = format!("{name} runs ({} of {}{ended})", s.running, s.wanted);
            Standing::Over(words, if s.failed > 0 { BAD } else { 0 })
        }
        Progress::CanaryWaits => {
            let words = format!(
                "{name} waits for a word: its canaries are in service; go on with `stoa job promote {name}`, or go back with \
                 `stoa job rollback {name}`"
            );
            Standing::Over(words, 0)
        }
        Progress::GoesBack => {
            Standing::News(format!("the change of {name} failed: {why}; what ran before comes back"))
        }
        Progress::RolledBack => {
            let words = format!("the change of {name} failed: {why}; it runs what it ran before");
            Standing::Over(words, BAD)
        }
        Progress::Stopped => {
            let words = format!(
                "the change of {name} failed: {why}; it stays as it is: apply another, or go back with `stoa job rollback \
                 {name}`"
            );
            Standing::Over(words, BAD)
        }
    }
}

/// How far the change of a service is, where that is worth a word.
pub(super) fn change(job: &JobView) -> Option<String> {
    let (s, name) = (job.summary?, escaped(&job.spec.as_ref()?.name));
    let why = setback(s.setback());
    match s.progress() {
        Progress::Unspecified | Progress::Done => None,
        // What begins is no change.
        Progress::UnderWay if job.revision <= 1 => None,
        Progress::UnderWay => Some("under way".to_owned()),
        Progress::CanaryWaits => Some(format!(
            "canaries are in service, and wait for a word: `stoa job promote {name}` or `stoa job rollback {name}`"
        )),
        Progress::GoesBack => Some(format!("failed: {why}; what ran before comes back")),
        Progress::RolledBack => Some(format!("failed: {why}; it runs what it ran before")),
        Progress::Stopped => Some(format!("failed: {why}; it stays as it is")),
    }
}

/// Why a change failed, in words.
fn setback(why: Setback) -> &'static str {
    match why {
        Setback::Deadline => "no instance more came into service in time",
        Setback::Failures => "too many of its tasks failed in a row",
        Setback::Abandoned => "it was given up",
        Setback::Unspecified => "it is not known why",
    }
}
