//! `stoa job apply|get|stop`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use framework_sdk::Profile;
use tokio::time::timeout;

use super::client::Client;
use super::failure::{BAD, Failure, Stop, UNAVAILABLE, USAGE};
use super::follow::Followed;
use super::printer::Printer;
use super::run::new_id;
use super::show::{
    Format, Jobs, VOLUME_HEAD, document, escaped, job_head, job_row, next_run, now_ms, table, task_head,
    task_row, volume_row,
};
use super::{ApplyArgs, GetArgs, Output};
use crate::spec::{FILE_BYTES_MAX, JobSpec, Kind, parse_file, show_duration};
use crate::wire::{GetReply, GetRequest, SubmitOutcome, SubmitRequest, WatchRequest};

pub(super) async fn apply(args: &ApplyArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let specs = read(&args.file)?;
    let mut client = Client::new(profile);
    for spec in &specs {
        let request = SubmitRequest {
            request_id: new_id(16)?,
            spec: Some(spec.to_wire()),
            ephemeral: false,
            replace: true,
        };
        let reply = client.submit(request).await?;
        let done = match reply.outcome() {
            SubmitOutcome::SubmitCreated => "created",
            SubmitOutcome::SubmitUpdated => "updated",
            SubmitOutcome::SubmitUnchanged => "unchanged",
            SubmitOutcome::Unspecified => "taken on",
        };
        printer.data(format!("{} {done} (revision {})\n", reply.name, reply.revision)).await?;
    }
    if !args.wait {
        if let Some(spec) = specs.first() {
            printer
                .note(&format!("look with `stoa job get {0}`, end it with `stoa job stop {0}`", spec.name))
                .await;
        }
        return Ok(0);
    }
    let all = async {
        let mut code = 0;
        for spec in &specs {
            code = code.max(wait_for(&mut client, spec, printer).await?);
        }
        Ok(code)
    };
    match args.timeout {
        None => all.await,
        Some(limit) => timeout(limit, all).await.unwrap_or_else(|_| {
            let message = format!("not all there after {}; the jobs go on", show_duration(limit));
            Err(Failure::new(UNAVAILABLE, message, "look with `stoa job get` and `stoa explain job`").into())
        }),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<JobSpec>, Failure> {
    let failed = |why: String| Failure::new(USAGE, format!("cannot read {}: {why}", path.display()), "");
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = Vec::new();
    // One byte more than allowed tells a file that is too large without reading all of it.
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| failed("it is not text".to_owned()))?;
    parse_file(path, &text).map_err(|faults| {
        Failure::new(USAGE, faults.to_string(), "nothing was changed; mend the file and try again")
    })
}

/// Until a service runs, or a batch job is over. A cron job waits for its time, which nobody wants to wait for here.
async fn wait_for(client: &mut Client, spec: &JobSpec, printer: &Printer) -> Result<u8, Stop> {
    if let Some(cron) = &spec.cron {
        let next = cron.next(now_ms()).map_or("it is paused".to_owned(), |at| cron.timezone.show(at));
        printer.note(&format!("{} is scheduled; next run: {next}", spec.name)).await;
        return Ok(0);
    }
    let mut job = Followed::default();
    loop {
        let request = WatchRequest { name: spec.name.clone(), until_over: true };
        let mut events = client.watch(request).await?;
        while let Ok(Some(event)) = events.message().await {
            job.take(event);
            let s = job.summary;
            if job.over {
                let (finished, wanted, failed) = (s.finished, s.wanted, s.failed);
                printer
                    .note(&format!("{} is over: {finished} of {wanted} finished, {failed} failed", spec.name))
                    .await;
                // Of a service that was stopped, none is wanted.
                let good = failed == 0 && wanted > 0 && finished >= wanted;
                return Ok(if good { 0 } else { BAD });
            }
            if spec.kind == Kind::Service && s.wanted > 0 && s.running >= s.wanted {
                printer.note(&format!("{} runs ({} of {})", spec.name, s.running, s.wanted)).await;
                return Ok(0);
            }
        }
        client.forget();
        // A stream that ends at once is not asked for in a circle.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) async fn get(args: &GetArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let mut client = Client::new(profile);
    let programs = matches!(args.output, Output::Json | Output::Yaml);
    let asked =
        GetRequest { name: args.name.clone().unwrap_or_default(), tasks: args.name.is_some() || programs };
    if !args.watch {
        let reply = client.get(asked).await?;
        let failed = args.name.is_some() && reply.jobs.iter().any(|job| super::show::state(job) == "failed");
        printer.data(shown(args, reply)?).await?;
        return Ok(if failed { BAD } else { 0 });
    }
    // The first event holds everything, so nothing that changes between the two calls is missed.
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let request = WatchRequest { name: asked.name.clone(), until_over: false };
        let mut events = client.watch(request).await?;
        loop {
            let reply = client.get(asked.clone()).await?;
            printer.data(changed(args, reply, &mut before)?).await?;
            if !matches!(events.message().await, Ok(Some(_))) {
                break;
            }
        }
        client.forget();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn shown(args: &GetArgs, reply: GetReply) -> Result<String, Failure> {
    let wide = args.output == Output::Wide;
    match args.output {
        Output::Table | Output::Wide => {
            let rows: Vec<Vec<String>> = reply.jobs.iter().map(|job| job_row(job, wide)).collect();
            let mut text = table(&job_head(wide), &rows);
            if args.name.is_some() {
                let tasks: Vec<Vec<String>> =
                    reply.jobs.iter().flat_map(|job| &job.tasks).map(|task| task_row(task, wide)).collect();
                text.push('\n');
                text.push_str(&table(&task_head(wide), &tasks));
                let volumes: Vec<Vec<String>> =
                    reply.jobs.iter().flat_map(|job| &job.volumes).map(volume_row).collect();
                if !volumes.is_empty() {
                    text.push('\n');
                    text.push_str(&table(&VOLUME_HEAD, &volumes));
                }
                for (_, at) in reply.jobs.iter().filter_map(next_run) {
                    text.push_str(&format!("\nnext run: {at}\n"));
                }
            }
            Ok(text)
        }
        Output::Name => {
            Ok(reply.jobs.iter().flat_map(|job| &job.spec).map(|s| escaped(&s.name) + "\n").collect())
        }
        Output::Json => document(&Jobs::new(reply.framework_id, reply.jobs), Format::Json),
        Output::Yaml => document(&Jobs::new(reply.framework_id, reply.jobs), Format::Yaml),
    }
}

/// Of a watch: what is new since it was last shown; all of a document if anything is.
fn changed(
    args: &GetArgs,
    reply: GetReply,
    before: &mut BTreeMap<String, String>,
) -> Result<String, Failure> {
    let text = shown(args, reply)?;
    if matches!(args.output, Output::Json | Output::Yaml) {
        let whole = before.insert(String::new(), text.clone());
        return Ok(if whole.as_ref() == Some(&text) { String::new() } else { text });
    }
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines
        .filter_map(|line| {
            let key = line.split_whitespace().next().unwrap_or_default().to_owned();
            // Columns move when others grow; that is no news.
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            (before.insert(key, words.clone()).as_ref() != Some(&words)).then(|| format!("{line}\n"))
        })
        .collect())
}
