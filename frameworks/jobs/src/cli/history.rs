//! `stoa job history`: the runs of a cron job.

use framework_sdk::Profile;

use super::client::Client;
use super::failure::{Failure, LIST_HINT, NOT_FOUND, Stop};
use super::printer::Printer;
use super::show::{Format, Jobs, document, escaped, state, table};
use super::{DocumentOutput, HistoryArgs};
use crate::cron::Zone;
use crate::wire::{GetReply, GetRequest, JobView};

/// The runs that are remembered, the latest first.
pub(super) async fn history(args: &HistoryArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let tasks = args.output != DocumentOutput::Table;
    let GetReply { mut jobs, framework_id } =
        Client::new(profile).get(GetRequest { name: String::new(), tasks }).await?;
    let spec = jobs.iter().filter_map(|job| job.spec.as_ref()).find(|spec| spec.name == args.name);
    let Some(spec) = spec else {
        let message = format!("there is no job {:?}", args.name);
        return Err(Failure::new(NOT_FOUND, message, LIST_HINT).into());
    };
    let Some(cron) = &spec.cron else {
        let message = format!("{} is no cron job: it has no runs", escaped(&args.name));
        return Err(Failure::new(NOT_FOUND, message, LIST_HINT).into());
    };
    let zone = Zone::named(&cron.timezone).unwrap_or_else(|_| Zone::utc());
    jobs.retain(|job| job.parent == args.name);
    jobs.sort_by_key(|job| std::cmp::Reverse(job.created_ms));
    let text = match args.output {
        DocumentOutput::Json => document(&Jobs::new(framework_id, jobs), Format::Json)?,
        DocumentOutput::Yaml => document(&Jobs::new(framework_id, jobs), Format::Yaml)?,
        DocumentOutput::Table => {
            let rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, &zone)).collect();
            table(&["RUN", "STARTED", "STATE", "WANTED", "RUNNING", "FINISHED", "FAILED"], &rows)
        }
    };
    printer.data(text).await?;
    Ok(0)
}

fn row(job: &JobView, zone: &Zone) -> Vec<String> {
    let s = job.summary.unwrap_or_default();
    let name = job.spec.as_ref().map(|spec| escaped(&spec.name)).unwrap_or_default();
    let counts = [s.wanted, s.running, s.finished, s.failed].map(|count| count.to_string());
    // To the second, as schedules go.
    let started = zone.show(job.created_ms / 1000 * 1000);
    [vec![name, started, state(job).to_owned()], counts.to_vec()].concat()
}
