//! `Group`: the output of several tasks, line by line, each with the name of its task; what one task said stays in order.

use std::collections::{BTreeMap, BTreeSet};

use framework_sdk::logs::Lines;
use futures::StreamExt;
use futures::stream::{LocalBoxStream, SelectAll, unfold};
use proto::operator::{List, TaskView};
use proto::task::TaskState;

use super::reading::{Reading, Said};
use crate::args::LogsArgs;
use crate::client::Client;
use crate::escape::{Sanitizer, escaped};
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::{Change, View};
use crate::terminal::Terminal;
use crate::verbs::list;
use crate::verbs::resolve::natural;
use crate::verbs::watch::Watcher;

/// The label that every task has: its name.
const NAME: &str = "name";
/// Colours of names, one after the other: none of them means anything.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 95];

/// Which tasks belong to it.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// Those of this name.
    Named { framework: String, name: String },
    /// Those that have all of these labels.
    Labelled(Vec<(String, String)>),
}

/// The output of several tasks.
pub(super) struct Group<'a> {
    client: &'a Client,
    args: &'a LogsArgs,
    /// Named one by one.
    tasks: Vec<TaskView>,
    wanted: Vec<Wanted>,
    /// Full names of tasks that are read.
    known: BTreeSet<String>,
    /// The colour of each name.
    colours: BTreeMap<String, u8>,
}

/// A piece of one of them.
enum Piece {
    Lines(Vec<u8>),
    Note(String),
    /// Its output cannot be read, or not to its end.
    Failed(String, Failure),
}

type Readings<'a> = SelectAll<LocalBoxStream<'a, Result<Piece, Stop>>>;

// === impl Wanted ===

impl Wanted {
    fn has(&self, task: &TaskView) -> bool {
        match self {
            Wanted::Named { framework, name } => {
                let whose = [task.framework.as_str(), task.framework_name.as_str()];
                is_called(task, name) && (framework.is_empty() || whose.contains(&framework.as_str()))
            }
            Wanted::Labelled(labels) => labels.iter().all(|(key, value)| match task.info.labels.get(key) {
                Some(found) => found == value,
                None => key == NAME && is_called(task, value),
            }),
        }
    }
}

// === impl Group ===

impl<'a> Group<'a> {
    pub fn new(client: &'a Client, args: &'a LogsArgs, tasks: Vec<TaskView>, wanted: Vec<Wanted>) -> Self {
        Group { client, args, tasks, wanted, known: BTreeSet::new(), colours: BTreeMap::new() }
    }

    /// Prints what there is; with `--follow` goes on until nobody reads.
    pub async fn run(mut self, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
        if self.args.follow { self.follow(terminal).await } else { self.print(terminal).await }
    }

    /// One task after the other, by name.
    async fn print(&mut self, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
        let all = list::<TaskView>(self.client, List { ended: true, ..List::default() }).await?.items;
        let mut tasks = std::mem::take(&mut self.tasks);
        tasks.extend(newest(all.into_iter().filter(|task| self.wants(task))));
        tasks.sort_by(|a, b| natural(&label(a), &label(b)).then_with(|| a.since_ms().cmp(&b.since_ms())));
        tasks.dedup_by(|a, b| a.full_name() == b.full_name());
        if tasks.is_empty() {
            let hint = "`stoa get tasks -o json` shows their names and labels";
            return Err(Failure::not_found("no task is meant", hint).into());
        }
        let (mut read, mut failed) = (false, None);
        for task in tasks {
            let mut pieces = self.open(task, terminal);
            let mut whole = true;
            while let Some(piece) = pieces.next().await {
                if let Some(failure) = show(piece?, terminal)? {
                    (whole, failed) = (false, failed.or(Some(failure)));
                }
            }
            read |= whole;
        }
        match failed {
            Some(failure) if !read => Err(failure.into()),
            Some(_) | None => Ok(Exit::Ok),
        }
    }

    /// All at once, and those that come.
    async fn follow(&mut self, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
        let mut readings: Readings<'a> = SelectAll::new();
        for task in std::mem::take(&mut self.tasks) {
            readings.push(self.open(task, terminal));
        }
        let mut watcher = Watcher::from_snapshot(self.client);
        loop {
            let come = tokio::select! {
                Some(piece) = readings.next() => {
                    // What cannot be read was said; others go on.
                    let _ = show(piece?, terminal)?;
                    continue;
                }
                event = watcher.next(terminal) => match TaskView::of_event(event?.kind) {
                    Change::All(all) => all,
                    Change::Put(task) => vec![task],
                    Change::Gone(..) | Change::Other => continue,
                },
            };
            for task in come {
                let begun = task.status.state != TaskState::Staging && !task.is_over();
                if begun && self.wants(&task) && !self.known.contains(&task.full_name()) {
                    readings.push(self.open(task, terminal));
                }
            }
        }
    }

    fn wants(&self, task: &TaskView) -> bool {
        self.wanted.iter().any(|wanted| wanted.has(task))
    }

    /// The pieces of one task.
    fn open(&mut self, task: TaskView, terminal: &Terminal<'_>) -> LocalBoxStream<'a, Result<Piece, Stop>> {
        self.known.insert(task.full_name());
        let name = escaped(&label(&task)).into_owned();
        let next = COLOURS[self.colours.len() % COLOURS.len()];
        let colour = *self.colours.entry(name.clone()).or_insert(next);
        let prefix = match terminal.colours {
            true => format!("\u{1b}[{colour}m{name}|\u{1b}[0m "),
            false => format!("{name}| "),
        };
        let one = One {
            reading: Some(Reading::new(self.client, self.args, task)),
            // Raw bytes belong in a pipe or a file; a terminal would obey what is in them.
            sanitizer: terminal.interactive.then(Sanitizer::default),
            lines: Lines::new(prefix),
            name,
        };
        unfold(one, |mut one| async move { one.next().await.map(|piece| (piece, one)) }).boxed_local()
    }
}

/// One of the tasks.
struct One<'a> {
    /// `None` when it is over.
    reading: Option<Reading<'a>>,
    sanitizer: Option<Sanitizer>,
    lines: Lines,
    name: String,
}

// === impl One ===

impl One<'_> {
    async fn next(&mut self) -> Option<Result<Piece, Stop>> {
        loop {
            match self.reading.as_mut()?.next().await {
                Ok(Some(Said::Data(data))) => {
                    let lines = match &mut self.sanitizer {
                        None => self.lines.push(&data),
                        Some(sanitizer) => self.lines.push(sanitizer.push(&data).as_bytes()),
                    };
                    if !lines.is_empty() {
                        return Some(Ok(Piece::Lines(lines)));
                    }
                }
                Ok(Some(Said::Note(note))) => return Some(Ok(Piece::Note(note))),
                Ok(None) => {
                    self.reading = None;
                    let held = self.sanitizer.take().map(Sanitizer::finish).unwrap_or_default();
                    let mut lines = self.lines.push(held.as_bytes());
                    lines.extend(self.lines.rest());
                    return (!lines.is_empty()).then_some(Ok(Piece::Lines(lines)));
                }
                Err(Stop::HungUp) => return Some(Err(Stop::HungUp)),
                Err(Stop::Failed(failure)) => {
                    self.reading = None;
                    return Some(Ok(Piece::Failed(self.name.clone(), *failure)));
                }
            }
        }
    }
}

/// Prints a piece; returns the failure that it is.
fn show(piece: Piece, terminal: &mut Terminal<'_>) -> Result<Option<Failure>, Stop> {
    match piece {
        Piece::Lines(lines) => terminal.print_bytes(&lines)?,
        Piece::Note(note) => terminal.note(&note),
        Piece::Failed(name, failure) => {
            terminal.note(&format!("warning: {name}: {}", escaped(&failure.message)));
            return Ok(Some(failure));
        }
    }
    Ok(None)
}

/// What comes before the number of an instance: `web` of `web.0`, as the SDK names those of a group.
fn group_of(name: &str) -> Option<&str> {
    let (group, number) = name.rsplit_once('.')?;
    (!group.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(group)
}

/// Whether a task has this name, or is an instance of what has it, or one of several tasks of that.
pub(super) fn is_called(task: &TaskView, name: &str) -> bool {
    let instance = in_two(&task.info.name).0;
    task.info.name == name || instance == name || group_of(instance) == Some(name)
}

/// A name as that of an instance, and what is behind it where that is several tasks: `web.0` and `/log`.
fn in_two(name: &str) -> (&str, &str) {
    name.split_at(name.find('/').unwrap_or(name.len()))
}

/// What people call it: its name with the number of the instance, which may stand in the id only (`web.0` of
/// `web.0-1ab2c3d-9xyz01k4`).
fn label(task: &TaskView) -> String {
    let (id, (name, part)) = (task.info.id.as_str(), in_two(&task.info.name));
    if group_of(name).is_some() {
        return format!("{name}{part}");
    }
    let number = id.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
    let digits: String = number.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    match digits.is_empty() || name.is_empty() {
        true => id.to_owned(),
        false => format!("{name}.{digits}{part}"),
    }
}

/// Of each that was started several times, the starts that live, or else the newest.
fn newest(tasks: impl Iterator<Item = TaskView>) -> Vec<TaskView> {
    let mut by_label: BTreeMap<(String, String), Vec<TaskView>> = BTreeMap::new();
    for task in tasks {
        by_label.entry((task.framework.to_string(), label(&task))).or_default().push(task);
    }
    let pick = |mut starts: Vec<TaskView>| {
        if starts.iter().any(|task| !task.is_over()) {
            starts.retain(|task| !task.is_over());
            return starts;
        }
        starts.sort_by_key(View::since_ms);
        starts.split_off(starts.len().saturating_sub(1))
    };
    by_label.into_values().flat_map(pick).collect()
}
