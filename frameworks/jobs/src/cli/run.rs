//! `stoa run`: a batch job that lives as long as somebody waits for it, with its output and its exit code.

use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::attributes::{Constraint, Constraints};
use framework_sdk::role::Role;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::Streaming;

use super::RunArgs;
use super::client::Client;
use super::failure::{BAD, Failure, Stop, UNAVAILABLE, USAGE};
use super::follow::Followed;
use super::logs::Readers;
use super::printer::{Printer, Screen};
use super::show::escaped;
use crate::spec::{Command, JobSpec, Kind, show_duration};
use crate::token::random_hex;
use crate::wire::{JobEvent, StopRequest, SubmitRequest, WatchRequest};

/// The output of more tasks than this at once is for nobody to read.
const COUNT_SHOWN_MAX: u32 = 20;
/// When nothing runs for so long, somebody wants to know why.
const EXPLAIN_AFTER: Duration = Duration::from_secs(2);
/// A watch that breaks is not begun again in a circle.
const WATCH_PAUSE: Duration = Duration::from_millis(100);
/// How often progress is shown at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How long after a stop the tasks are waited for, besides their own time to end.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The exit code that each interruption asks for: 130 of Ctrl-C, 143 of TERM.
pub(super) fn interrupts() -> mpsc::Receiver<u8> {
    let (sender, interrupts) = mpsc::channel(1);
    for (kind, code) in [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143)] {
        // Without the handler the signal ends this process at once, as it would any other.
        if let Ok(mut signals) = signal(kind) {
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(code).await.is_ok() {}
            });
        }
    }
    interrupts
}

pub(super) async fn run(
    args: &RunArgs,
    profile: &Profile,
    screen: Screen,
    mut interrupts: mpsc::Receiver<u8>,
) -> u8 {
    let printer = Printer::start(screen);
    let result = submit_and_follow(args, profile, &printer, &mut interrupts).await;
    tokio::select! {
        code = printer.end(result) => code,
        // Whoever reads the output has stopped reading and not gone.
        Some(code) = interrupts.recv() => code,
    }
}

async fn submit_and_follow(
    args: &RunArgs,
    profile: &Profile,
    printer: &Printer,
    interrupts: &mut mpsc::Receiver<u8>,
) -> Result<u8, Stop> {
    let spec = spec_of(args)?;
    let mut client = Client::new(profile);
    let request = SubmitRequest {
        request_id: new_id(16)?,
        spec: Some(spec.to_wire()),
        ephemeral: true,
        replace: false,
    };
    let reply = tokio::select! {
        reply = client.submit(request) => reply?,
        // Whether it was taken on is not known; that it ends, is.
        Some(code) = interrupts.recv() => {
            let _ = client.stop(StopRequest { name: spec.name.clone(), purge: false }).await;
            return Ok(code);
        }
    };
    if args.detach {
        printer.data(format!("{}\n", reply.name)).await?;
        printer
            .note(&format!("look at it with `stoa job get {0}`, end it with `stoa job stop {0}`", reply.name))
            .await;
        return Ok(0);
    }
    let shows_output = !args.no_logs && args.count <= COUNT_SHOWN_MAX;
    let mut follower = Follower {
        name: reply.name,
        framework: reply.framework_id,
        client: client.clone(),
        printer: printer.clone(),
        job: Followed::default(),
        readers: shows_output.then(|| Readers::new(client, printer.clone(), args.count > 1)),
        grace: spec.kill_grace,
        shows_progress: !shows_output && printer.interactive,
        progress_at: Instant::now(),
        ended_by: None,
    };
    let result = tokio::select! {
        result = follower.follow(args.timeout, interrupts) => result,
        // A task that says nothing more must not outlive the reader it was run for.
        () = printer.hung_up() => Err(Stop::HungUp),
    };
    if result == Err(Stop::HungUp) {
        // Nobody wants its output any more.
        follower.stop().await?;
    }
    result
}

/// Follows one job to its end.
struct Follower {
    name: String,
    framework: String,
    client: Client,
    printer: Printer,
    job: Followed,
    readers: Option<Readers>,
    grace: Duration,
    shows_progress: bool,
    progress_at: Instant,
    /// Why it was stopped from here: the exit code.
    ended_by: Option<u8>,
}

// === impl Follower ===

impl Follower {
    async fn follow(
        &mut self,
        limit: Option<Duration>,
        interrupts: &mut mpsc::Receiver<u8>,
    ) -> Result<u8, Stop> {
        let mut events = None;
        let mut pause = Duration::ZERO;
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        let limit_at = limit.and_then(|limit| Instant::now().checked_add(limit)).unwrap_or(far);
        let mut limit_over = std::pin::pin!(sleep_until(limit_at));
        let mut stop_over = std::pin::pin!(sleep_until(far));
        let mut explain: Option<std::pin::Pin<Box<Sleep>>> = Some(Box::pin(sleep(EXPLAIN_AFTER)));
        while !self.job.over {
            tokio::select! {
                opened = watch(&mut self.client, &self.name, pause), if events.is_none() => events = Some(opened?),
                event = next_event(&mut events) => match event {
                    Some(event) => self.take(event).await?,
                    // A framework that was killed is back soon, and knows the job.
                    None => {
                        self.client.forget();
                        (events, pause) = (None, WATCH_PAUSE);
                    }
                },
                Some(ended) = next_end(&mut self.readers) => ended?,
                Some(code) = interrupts.recv() => {
                    if self.ended_by.is_some() {
                        return self.leave(code).await;
                    }
                    self.ended_by = Some(code);
                    self.printer.note("stopping (once more to not wait for it)").await;
                    tokio::select! {
                        stopped = self.stop() => stopped?,
                        Some(code) = interrupts.recv() => return self.leave(code).await,
                    }
                    stop_over.as_mut().reset(Instant::now() + STOP_LIMIT + self.grace);
                }
                () = &mut limit_over, if self.ended_by.is_none() => {
                    self.ended_by = Some(UNAVAILABLE);
                    let time = show_duration(limit.unwrap_or_default());
                    let hint = "give it more time with --timeout, or look with `stoa explain job`";
                    self.printer.failure(&Failure::new(UNAVAILABLE, format!("not over after {time}: stopping"), hint)).await;
                    self.stop().await?;
                    stop_over.as_mut().reset(Instant::now() + STOP_LIMIT + self.grace);
                }
                () = &mut stop_over => {
                    let hint = format!("look with `stoa job get {}`", self.name);
                    self.printer.failure(&Failure::new(UNAVAILABLE, "its tasks have not ended yet", hint)).await;
                    return Ok(self.ended_by.unwrap_or(UNAVAILABLE));
                }
                () = due(&mut explain), if self.ended_by.is_none() => {
                    explain = None;
                    if !self.job.has_run() {
                        self.explain().await;
                    }
                }
            }
        }
        self.drain(interrupts).await
    }

    /// The job is over; its output may not be.
    async fn drain(&mut self, interrupts: &mut mpsc::Receiver<u8>) -> Result<u8, Stop> {
        while self.readers.as_ref().is_some_and(|readers| !readers.is_idle()) {
            tokio::select! {
                Some(ended) = next_end(&mut self.readers) => ended?,
                Some(code) = interrupts.recv() => return Ok(code),
            }
        }
        if self.shows_progress {
            self.show_progress().await?;
            self.printer.raw_message("\n").await?;
        }
        const SHOWN: usize = 5;
        if self.ended_by.is_none() {
            let mishaps: Vec<String> = self.job.mishaps().take(SHOWN).map(mishap).collect();
            for text in mishaps {
                self.printer.note(&text).await;
            }
            let summary = self.job.summary;
            if summary.wanted > 1 && summary.failed > 0 {
                self.printer.note(&format!("{} of {} failed", summary.failed, summary.wanted)).await;
            }
        }
        Ok(self.ended_by.unwrap_or_else(|| self.job.exit_code()))
    }

    async fn take(&mut self, event: JobEvent) -> Result<(), Stop> {
        let changed = self.job.take(event);
        if !self.job.framework_id.is_empty() {
            self.framework.clone_from(&self.job.framework_id);
        }
        if let Some(readers) = &mut self.readers {
            for task in &changed {
                if self.job.begins_output(task) {
                    readers.read(&self.framework, task);
                }
                if task.state().is_terminal() {
                    readers.ended(&task.task_id);
                }
            }
        }
        if self.shows_progress && self.progress_at.elapsed() >= PROGRESS_INTERVAL {
            self.progress_at = Instant::now();
            self.show_progress().await?;
        }
        Ok(())
    }

    async fn show_progress(&self) -> Result<(), Stop> {
        let s = &self.job.summary;
        let failed = if s.failed > 0 { format!(", {} failed", s.failed) } else { String::new() };
        let line = format!("\r\x1b[K{} of {} finished{failed}, {} running", s.finished, s.wanted, s.running);
        self.printer.raw_message(line).await
    }

    async fn leave(&self, code: u8) -> Result<u8, Stop> {
        let name = &self.name;
        self.printer.note(&format!("not waiting; `stoa job get {name}` shows what is left of it")).await;
        Ok(code)
    }

    async fn stop(&mut self) -> Result<(), Stop> {
        self.client.stop(StopRequest { name: self.name.clone(), purge: false }).await?;
        Ok(())
    }

    /// Said once, and only if there is something to say: that it cannot be explained is no failure of the job.
    async fn explain(&mut self) {
        if let Ok(lines) = super::explain::in_short(&mut self.client, &self.name).await {
            for line in lines {
                self.printer.note(&line).await;
            }
        }
    }
}

async fn watch(client: &mut Client, name: &str, pause: Duration) -> Result<Streaming<JobEvent>, Failure> {
    sleep(pause).await;
    client.watch(WatchRequest { name: name.to_owned(), until_over: true }).await
}

/// `None` when the stream broke or ended; waits for ever when there is none.
async fn next_event(events: &mut Option<Streaming<JobEvent>>) -> Option<JobEvent> {
    match events {
        Some(events) => events.message().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

async fn due(timer: &mut Option<std::pin::Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

async fn next_end(readers: &mut Option<Readers>) -> Option<Result<(), Stop>> {
    readers.as_mut()?.next_end().await
}

fn mishap(task: &crate::wire::Task) -> String {
    let host =
        if task.hostname.is_empty() { String::new() } else { format!(" on {}", escaped(&task.hostname)) };
    let signal = task.exit_signal.map_or_else(String::new, |signal| format!(" by signal {signal}"));
    let message =
        if task.message.is_empty() { String::new() } else { format!(": {}", escaped(&task.message)) };
    format!("{} {}{signal}{host}{message}", escaped(&task.name), task.state().word())
}

/// Made here and not at the framework, so that a request can be repeated.
pub(super) fn new_id(bytes: usize) -> Result<String, Failure> {
    random_hex(bytes).map_err(|error| Failure::new(BAD, format!("cannot read /dev/urandom: {error}"), ""))
}

fn spec_of(args: &RunArgs) -> Result<JobSpec, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => format!("{}-{}", stem(args.command.first().map_or("", String::as_str)), new_id(3)?),
    };
    let usage = |message: String| Failure::new(USAGE, message, "see `stoa run --help`");
    let mut spec = JobSpec::new(&name, Kind::Batch, Command::Argv(args.command.clone()));
    spec.instances = args.count;
    spec.cpus_milli = args.cpus;
    spec.mem_bytes = args.mem;
    spec.disk_bytes = args.disk;
    spec.env = args.env.iter().cloned().collect();
    spec.user = args.user.clone().unwrap_or_default();
    if let Some(role) = &args.role {
        spec.role = Some(Role::new(role).map_err(|bad| usage(bad.to_string()))?);
    }
    let constraints: Result<Vec<Constraint>, _> =
        args.constraints.iter().map(|text| Constraint::parse(text)).collect();
    spec.constraints = Constraints(constraints.map_err(|bad| usage(bad.to_string()))?);
    spec.checked().map_err(|faults| usage(faults.to_string()))
}

/// The program's name as the beginning of a job's name.
fn stem(program: &str) -> String {
    let last = program.rsplit('/').next().unwrap_or_default();
    let plain = last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let stem: String = plain.skip_while(|c| !c.is_ascii_alphanumeric()).take(32).collect();
    if stem.is_empty() { "run".to_owned() } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_after_its_program() {
        for (program, name) in [
            ("/usr/bin/python3", "python3"),
            ("./work.sh", "work.sh"),
            ("echo hi; ls", "echohils"),
            ("-", "run"),
            ("", "run"),
        ] {
            assert_eq!(stem(program), name);
        }
    }
}
