//! `stoa job stop`: what it ends, said first where it cannot be undone.

use std::io::IsTerminal;
use std::time::Duration;

use framework_sdk::Profile;

use super::StopArgs;
use super::client::Client;
use super::failure::{Failure, Stop, UNCONFIRMED};
use super::follow::Followed;
use super::printer::Printer;
use super::show::escaped;
use crate::wire::{GetRequest, JobView, StopRequest, TaskState, WatchRequest};

/// What would end.
struct Ends {
    name: String,
    tasks: usize,
    volumes: usize,
}

// === impl Ends ===

impl Ends {
    async fn of(client: &mut Client, name: &str) -> Result<Ends, Failure> {
        let mut reply = client.get(GetRequest { name: name.to_owned(), tasks: true }).await?;
        let is_cron = |job: &JobView| job.spec.as_ref().is_some_and(|spec| spec.cron.is_some());
        if reply.jobs.iter().any(is_cron) {
            // Its runs are jobs of their own, and end with it.
            let all = client.get(GetRequest { name: String::new(), tasks: true }).await?;
            reply.jobs.extend(all.jobs.into_iter().filter(|job| job.parent == name));
        }
        let live = |state: TaskState| !state.is_terminal() && state != TaskState::TaskWaiting;
        let tasks = reply.jobs.iter().flat_map(|job| &job.tasks).filter(|task| live(task.state())).count();
        let volumes = reply.jobs.iter().map(|job| job.volumes.len()).sum();
        Ok(Ends { name: escaped(name), tasks, volumes })
    }

    fn told(&self, purge: bool) -> String {
        let Ends { name, tasks, volumes } = self;
        let ends = match tasks {
            0 => format!("stop {name}"),
            1 => format!("stop {name} and its task"),
            n => format!("stop {name} and its {n} tasks"),
        };
        match (purge, volumes) {
            (false, 0) => ends,
            (false, 1) => format!("{ends}; its volume stays"),
            (false, n) => format!("{ends}; its {n} volumes stay"),
            (true, 0) => format!("{ends}, and forget it"),
            (true, 1) => format!("{ends}, forget it, and destroy its volume with what is on it"),
            (true, n) => format!("{ends}, forget it, and destroy its {n} volumes with what is on them"),
        }
    }
}

/// What cannot be undone is asked about, where somebody can answer.
async fn confirmed(what: &str, printer: &Printer) -> Result<(), Stop> {
    let refused = |message: &str, hint: &str| Err(Failure::new(UNCONFIRMED, message, hint).into());
    if !printer.interactive || !std::io::stdin().is_terminal() {
        return refused(
            &format!("this cannot be undone, and nobody is here to confirm it: {what}"),
            "add --yes",
        );
    }
    printer.raw_message(format!("{what}? [y/N] ")).await?;
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    // No answer is no.
    let answer = read.await.ok().and_then(Result::ok).unwrap_or_default();
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => refused("nothing was done", ""),
    }
}

pub(super) async fn stop(args: &StopArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let mut client = Client::new(profile);
    let what = match Ends::of(&mut client, &args.name).await {
        Ok(what) => what,
        Err(failure) if args.dry_run || args.purge => return Err(failure.into()),
        // Whoever may stop it need not be allowed to look; and that there is none, the stop itself says.
        Err(_) => Ends { name: escaped(&args.name), tasks: 0, volumes: 0 },
    };
    if args.dry_run {
        printer.note(&format!("dry run, nothing was done: {}", what.told(args.purge))).await;
        return Ok(0);
    }
    if args.purge && what.volumes > 0 && !args.yes {
        confirmed(&what.told(true), printer).await?;
    }
    // A job that is purged is not there to be watched afterwards.
    let watch = WatchRequest { name: args.name.clone(), until_over: true };
    let mut events = if args.wait { Some(client.watch(watch.clone()).await?) } else { None };
    let reply = client.stop(StopRequest { name: args.name.clone(), purge: args.purge }).await?;
    let already = if reply.was_stopped { "was already stopped" } else { "stopped" };
    printer.data(format!("{} {already} ({} tasks are being killed)\n", args.name, reply.killing)).await?;
    if what.volumes > 0 && !args.purge {
        let name = &args.name;
        printer.note(&format!("its volumes stay; `stoa job stop --purge {name}` destroys them")).await;
    }
    let mut job = Followed::default();
    while let Some(stream) = &mut events {
        match stream.message().await {
            Ok(Some(event)) => {
                job.take(event);
                if job.over {
                    return Ok(0);
                }
            }
            // Ended because it is over, or forgotten.
            Ok(None) => return Ok(0),
            Err(_) => {
                client.forget();
                tokio::time::sleep(Duration::from_millis(100)).await;
                events = match client.watch(watch.clone()).await {
                    Ok(stream) => Some(stream),
                    Err(_) if args.purge => return Ok(0),
                    Err(failure) => return Err(failure.into()),
                };
            }
        }
    }
    Ok(0)
}
