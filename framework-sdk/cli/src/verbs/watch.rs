//! `stoa get --watch`: the masters tell every change; nobody polls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::operator::{Event, List, Watch};
use tonic::Streaming;

use super::get::{cells, headers};
use super::{json_line, resolve, yaml};
use crate::args::{Format, GetArgs};
use crate::client::{AskError, Client};
use crate::exit::Exit;
use crate::failure::Stop;
use crate::nouns::{Change, View};
use crate::shapes::{self, Document, document};
use crate::table::{Cell, Table, Widths};
use crate::terminal::Terminal;

/// A watch outlives an election, and gives up when the cluster is gone.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// The event stream of the masters, taken up again when it breaks.
pub struct Watcher<'a> {
    client: &'a Client,
    stream: Option<Streaming<Event>>,
    at: Watch,
}

// === impl Watcher ===

impl<'a> Watcher<'a> {
    /// From everything there is.
    pub fn from_snapshot(client: &'a Client) -> Self {
        Watcher { client, stream: None, at: Watch::default() }
    }

    /// The next event.
    pub async fn next(&mut self, terminal: &mut Terminal<'_>) -> Result<Event, Stop> {
        let mut broken_since: Option<Instant> = None;
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => match self.client.watch(self.at).await {
                    Ok(stream) => self.stream.insert(stream),
                    Err(error) => {
                        let since = *broken_since.get_or_insert_with(Instant::now);
                        let started = self.at != Watch::default();
                        let passing = matches!(error, AskError::Unreachable(_) | AskError::TooLate { .. });
                        if !(started && passing) || since.elapsed() > RECONNECT_PATIENCE {
                            return Err(error.into());
                        }
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                },
            };
            match stream.message().await {
                Ok(Some(event)) => {
                    self.at = Watch { epoch: event.epoch, sequence: event.sequence };
                    return Ok(event);
                }
                Ok(None) | Err(_) => {
                    self.stream = None;
                    if broken_since.is_none() {
                        broken_since = Some(Instant::now());
                        terminal.note("the master is gone; asking another");
                    }
                }
            }
        }
    }
}

/// Prints everything selected, then every change, until nobody reads.
pub async fn run<V: View>(
    client: &Client,
    selection: &List,
    args: &GetArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let mut watcher = Watcher::from_snapshot(client);
    let mut seen = Seen::<V>::new(selection.clone(), args.clone());
    loop {
        let event = watcher.next(terminal).await?;
        let text = seen.take(event, terminal.now_ms(), terminal.colours)?;
        if !text.is_empty() {
            terminal.print(&text)?;
        }
    }
}

/// What was printed so far, so that only differences are.
pub struct Seen<V> {
    selection: List,
    args: GetArgs,
    items: BTreeMap<String, V>,
    widths: Widths,
    begun: bool,
}

// === impl Seen ===

impl<V: View> Seen<V> {
    /// Nothing yet.
    pub fn new(selection: List, args: GetArgs) -> Self {
        Seen { selection, args, items: BTreeMap::new(), widths: Widths::default(), begun: false }
    }

    /// What an event has to say, as text.
    pub fn take(&mut self, event: Event, now_ms: u64, colours: bool) -> Result<String, Stop> {
        let (epoch, sequence) = (event.epoch.0, event.sequence);
        let mut lines: Vec<(&'static str, V)> = Vec::new();
        match V::of_event(event.kind) {
            Change::All(all) => {
                let mut rest = std::mem::take(&mut self.items);
                let mut all: Vec<V> = all.into_iter().filter(|item| self.wants(item)).collect();
                all.sort_by_cached_key(|item| resolve::Natural(item.id()));
                for item in all {
                    if rest.remove(&item.full_name()).as_ref() != Some(&item) {
                        lines.push((if self.begun { "changed" } else { "current" }, item.clone()));
                    }
                    self.items.insert(item.full_name(), item);
                }
                lines.extend(rest.into_values().map(|item| ("removed", item)));
            }
            Change::Put(item) => {
                // What ends is told once more even if ended ones are not selected, but only if it was seen before.
                let known = self.items.remove(&item.full_name());
                if self.wants(&item) {
                    if known.as_ref() != Some(&item) {
                        lines.push(("changed", item.clone()));
                    }
                    self.items.insert(item.full_name(), item);
                } else if known.is_some() {
                    lines.push(("changed", item));
                }
            }
            Change::Gone(name, how) => {
                if let Some(item) = self.items.remove(&name) {
                    lines.push((how, item));
                }
            }
            Change::Other => {}
        }
        let text = self.render(&lines, epoch, sequence, now_ms, colours)?;
        self.begun = true;
        Ok(text)
    }

    fn wants(&self, item: &V) -> bool {
        let ids = &self.args.ids;
        let named = |id: &String| item.id().starts_with(id.as_str()) || item.full_name() == *id;
        item.selected(&self.selection) && (ids.is_empty() || ids.iter().any(named))
    }

    fn render(
        &mut self,
        lines: &[(&'static str, V)],
        epoch: u64,
        sequence: u64,
        now_ms: u64,
        colours: bool,
    ) -> Result<String, Stop> {
        fn shaped<'v, V: View>(
            (epoch, sequence): (u64, u64),
            change: &'static str,
            item: &'v V,
        ) -> Document<shapes::Change<V::Shape<'v>>> {
            document(V::CHANGE, shapes::Change { epoch, sequence, change, item: item.shape() })
        }
        let at = (epoch, sequence);
        let format = self.args.output;
        match format {
            Format::Table | Format::Wide => {
                let mut table = Table::new(std::iter::once("CHANGE").chain(headers::<V>(format)).collect());
                for (change, item) in lines {
                    let row = std::iter::once(Cell::new(change)).chain(cells(item, format, now_ms));
                    table.push(row.collect());
                }
                Ok(table.render_on(&mut self.widths, !self.begun, colours))
            }
            Format::Name => Ok(lines.iter().map(|(_, item)| item.full_name() + "\n").collect()),
            Format::Json => lines.iter().map(|(change, item)| json_line(&shaped(at, change, item))).collect(),
            Format::Yaml => {
                let documents = lines.iter().map(|(change, item)| yaml(&shaped(at, change, item)));
                documents.map(|text| text.map(|text| format!("---\n{text}"))).collect()
            }
        }
    }
}
