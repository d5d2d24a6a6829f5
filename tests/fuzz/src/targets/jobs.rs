//! The jobs framework: its files, its schedules, its journal.

use std::fs;
use std::path::Path;

use frameworks_jobs::cron::{Schedule, Zone};
use frameworks_jobs::spec::{JobSpec, parse_file};
use frameworks_jobs::store::Store;

use crate::engine::tree;
use crate::scratch::Scratch;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

const WORDS: &[&str] = &[
    "name",
    "command",
    "kind",
    "instances",
    "cpus",
    "mem",
    "disk",
    "ports",
    "env",
    "artifacts",
    "secrets",
    "constraints",
    "prefer",
    "spread",
    "priority",
    "role",
    "user",
    "kill_grace",
    "health",
    "readiness",
    "restart",
    "update",
    "retries",
    "parallel",
    "time_limit",
    "after",
    "volumes",
    "task",
    "job",
    "service",
    "batch",
    "cron",
    "schedule",
    "timezone",
    "overlap",
    "missed",
    "history",
    "paused",
    "http",
    "tcp",
    "path",
    "port",
    "interval",
    "timeout",
    "failures",
    "delay",
    "max",
    "factor",
    "uri",
    "extract",
    "executable",
    "sha256",
    "size",
    "reset",
    "never",
    "always",
    "on-failure",
    "skip",
    "\"64MiB\"",
    "0.5",
    "= ",
    " = \"",
    "\"\"\"",
    "[[job]]\n",
    "[[task]]\n",
    "[env]\n",
    "---\n",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "{ }",
    "[ ]",
    "\"10s\"",
    "zone == b",
    "|\n  ",
    "# ",
    "true",
    "null",
    "~",
    "1e400",
    "0x10",
    "-1",
];

pub(super) const TOML: Target = Target::new(
    "job-toml",
    "a job file in TOML is refused with its faults, or means the same after it travelled",
    Kind::Text,
    |input| file("job.toml", input),
)
.words(WORDS)
.costs(16 << 10);

pub(super) const YAML: Target = Target::new(
    "job-yaml",
    "a job file in YAML is refused with its faults, or means the same after it travelled",
    Kind::Text,
    |input| file("job.yaml", input),
)
.words(WORDS)
.costs(16 << 10);

fn file(name: &str, input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let jobs = match parse_file(Path::new(name), text) {
        Ok(jobs) => jobs,
        Err(faults) => {
            // YAML begins a line after `\r` too.
            let lines = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 2;
            ensure(!faults.faults.is_empty() && !faults.to_string().is_empty(), || {
                "refused without a word".to_owned()
            })?;
            let inside =
                faults.faults.iter().all(|fault| fault.line.is_none_or(|line| (1..=lines).contains(&line)));
            ensure(inside, || format!("a fault where no line is: {faults}"))?;
            return Ok(Taken::No);
        }
    };
    for job in jobs {
        let again =
            JobSpec::from_wire(job.to_wire()).map_err(|bad| format!("{job:?} does not travel: {bad}"))?;
        ensure(again == job, || format!("{job:?}\narrives as\n{again:?}"))?;
        ensure(job.differences(&again).is_empty(), || "a job differs from itself".to_owned())?;
        job.clone().checked().map_err(|bad| format!("a job that was taken is not good: {bad}"))?;
        ensure(!job.lines().is_empty(), || "a plan shows nothing of it".to_owned())?;
    }
    Ok(Taken::Yes)
}

pub(super) const CRON: Target = Target::new(
    "cron",
    "a schedule is refused, or its times come one behind the other, the same for the schedule as it is shown",
    Kind::Text,
    cron,
)
.up_to(300)
.words(&[
    "* * * * *",
    "@daily",
    "@hourly",
    "mon-fri",
    "*/5",
    "sun",
    "jan",
    "29 2",
    "31",
    "1-5",
    ",",
    "/",
    "-",
    "*",
    "0",
    "59",
    "23",
    "L",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "UTC",
    "\n",
    "1772934000000",
    "1774746000000",
    "1793000000000",
]);

/// Three lines: the schedule, the time zone, the time in milliseconds.
fn cron(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let mut lines = text.split('\n');
    let (schedule, zone) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("UTC"));
    let after: u64 = lines.next().and_then(|line| line.parse().ok()).unwrap_or(1_774_746_000_000);
    let Ok(zone) = Zone::named(zone) else { return Ok(Taken::No) };
    ensure(Zone::named(&zone.to_string()) == Ok(zone.clone()), || format!("{zone} is another than itself"))?;
    ensure(!zone.show(after).is_empty(), || format!("{after} is not shown"))?;
    let Ok(schedule) = Schedule::parse(schedule) else { return Ok(Taken::No) };
    let shown = schedule.to_string();
    ensure(Schedule::parse(&shown) == Ok(schedule.clone()), || format!("{shown} is another schedule"))?;
    let mut before = after;
    for _ in 0..3 {
        let Some(next) = schedule.next(&zone, before) else { break };
        ensure(next > before, || format!("{shown} in {zone}: {next} comes after {before}"))?;
        let between = next - 1;
        if between > before {
            let same = schedule.next(&zone, between);
            ensure(same == Some(next), || {
                format!("{shown} in {zone}: {next} after {before}, {same:?} after {between}")
            })?;
        }
        let latest = schedule.latest(&zone, before, next);
        ensure(latest == Some(next), || {
            format!("{shown} in {zone}: the latest in {before}..={next} is {latest:?}")
        })?;
        before = next;
    }
    Ok(Taken::Yes)
}

pub(super) const JOURNAL: Target = Target::new(
    "journal",
    "any file is read as the journal of the jobs framework, the same each time, or named as damaged",
    Kind::Wire,
    journal,
)
.up_to(8 << 10);

/// Field 1: the file as it is. Field 2: a record, in a frame of its own. Field 3: bytes.
fn journal(input: &[u8]) -> Verdict {
    thread_local! {
        static DIR: Scratch = Scratch::new("journal");
    }
    DIR.with(|dir| {
        dir.clear();
        let mut file = b"stoajob1".to_vec();
        for (number, message) in tree::messages(input) {
            match number {
                1 => file = message.to_vec(),
                2 => record(&mut file, message),
                3 => file.extend_from_slice(message),
                _ => {}
            }
        }
        fs::write(dir.path().join("journal"), &file).map_err(|error| error.to_string())?;
        let Ok(store) = Store::open(dir.path()) else { return Ok(Taken::No) };
        let state = store.state().clone();
        drop(store);
        let mut again =
            Store::open(dir.path()).map_err(|error| format!("it was read once, and then: {error}"))?;
        ensure(*again.state() == state, || format!("it was {state:?} and is {:?}", again.state()))?;
        again.compact().map_err(|error| format!("it cannot be written anew: {error}"))?;
        drop(again);
        let anew =
            Store::open(dir.path()).map_err(|error| format!("it was written anew, and then: {error}"))?;
        ensure(*anew.state() == state, || {
            format!("it was {state:?} and is written anew as {:?}", anew.state())
        })?;
        Ok(if state.jobs.is_empty() { Taken::No } else { Taken::Yes })
    })
}

/// A frame as the format says, written here once more.
fn record(file: &mut Vec<u8>, record: &[u8]) {
    let mut payload = Vec::new();
    tree::put_varint(&mut payload, record.len() as u64);
    payload.extend_from_slice(record);
    let length = (payload.len() as u32).to_le_bytes();
    let mut sum = (file.len() as u64).to_le_bytes().to_vec();
    sum.extend(length);
    sum.extend(&payload);
    file.extend(MARK);
    file.extend(length);
    file.extend(crc32fast::hash(&sum).to_le_bytes());
    file.extend(payload);
}

/// What a frame of the journal begins with.
const MARK: [u8; 4] = *b"\xfeJFr";
