//! `stoa job apply|get|stop`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use framework_sdk::Profile;

use super::client::Client;
use super::failure::{BAD, Failure, Stop, USAGE};
use super::printer::Printer;
use super::run::new_id;
use super::show::{
    Format, Jobs, VOLUME_HEAD, document, escaped, job_head, job_row, next_run, table, task_head, task_row,
    volume_row,
};
use super::wait::{self, Wanted};
use super::{ApplyArgs, GetArgs, Output};
use crate::spec::{FILE_BYTES_MAX, JobSpec, parse_file};
use crate::wire::{GetReply, GetRequest, SubmitOutcome, SubmitRequest, WatchRequest};

pub(super) async fn apply(args: &ApplyArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let specs = read(&args.file)?;
    let mut client = Client::new(profile);
    let mut revisions = Vec::new();
    for spec in &specs {
        let request = SubmitRequest {
            request_id: new_id(16)?,
            spec: Some(spec.to_wire()),
            ephemeral: false,
            replace: true,
        };
        let reply = client.submit(request).await?;
        revisions.push(reply.revision);
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
    let wanted = specs.iter().zip(revisions).map(|(spec, revision)| Wanted {
        name: &spec.name,
        kind: spec.kind,
        cron: spec.cron.as_ref(),
        revision,
    });
    wait::for_all(&mut client, &wanted.collect::<Vec<_>>(), args.timeout, printer).await
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
                for change in reply.jobs.iter().filter_map(wait::change) {
                    text.push_str(&format!("\nchange: {change}\n"));
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
