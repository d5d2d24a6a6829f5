//! `stoa describe`: everything about one thing, with what belongs to it.

use std::collections::BTreeMap;

use proto::operator::{AgentView, FrameworkView, List, OfferView, Reply, RoleView, SecretView, TaskView};

use super::get::{cells, headers, volumes};
use super::resolve::{Natural, find};
use super::{list, resolve, written};
use crate::args::{DescribeArgs, Format, Noun};
use crate::client::{Client, Gather};
use crate::exit::Exit;
use crate::failure::Stop;
use crate::nouns::View;
use crate::nouns::reservation::Reservation;
use crate::shapes::document;
use crate::sheet::Sheet;
use crate::table::Table;
use crate::terminal::Terminal;

/// At most so many lines of what belongs to a thing; `stoa get` has them all.
const RELATED_MAX: usize = 20;

/// Describes one thing.
pub async fn run(client: &Client, args: &DescribeArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let (now_ms, colours) = (terminal.now_ms(), terminal.colours);
    let all = List { stale: args.stale, ..List::default() };
    if args.stale {
        // Asked first: all that follows is of this index or a later one.
        let first = list::<RoleView>(client, all.clone()).await?;
        super::say_as_of(first.as_of, first.from_leader, terminal);
    }
    let text = match args.noun {
        Noun::Agents => {
            let agent = find::<AgentView>(client, all.clone(), &args.id).await?;
            let on_it = List { agent: agent.info.id.to_string(), ..all.clone() };
            let mut sheet = agent.sheet(now_ms);
            related::<TaskView>(client, on_it.clone(), &mut sheet, now_ms, colours).await?;
            related::<OfferView>(client, on_it, &mut sheet, now_ms, colours).await?;
            write(args, &agent, &sheet)?
        }
        Noun::Frameworks => {
            let framework = find::<FrameworkView>(client, all.clone(), &args.id).await?;
            let of_it = List { framework: framework.id.to_string(), ..all.clone() };
            let mut sheet = framework.sheet(now_ms);
            related::<TaskView>(client, of_it.clone(), &mut sheet, now_ms, colours).await?;
            related::<OfferView>(client, of_it, &mut sheet, now_ms, colours).await?;
            write(args, &framework, &sheet)?
        }
        Noun::Tasks => {
            let task = task(client, &args.id, true).await?;
            write(args, &task, &task.sheet(now_ms))?
        }
        Noun::Offers => {
            let offer = find::<OfferView>(client, all.clone(), &args.id).await?;
            write(args, &offer, &offer.sheet(now_ms))?
        }
        Noun::Roles => {
            let role = find::<RoleView>(client, all.clone(), &args.id).await?;
            write(args, &role, &role.sheet(now_ms))?
        }
        Noun::Reservations => {
            let reservation = find::<Reservation>(client, all.clone(), &args.id).await?;
            write(args, &reservation, &reservation.sheet(now_ms))?
        }
        Noun::Secrets => {
            let secret = find::<SecretView>(client, all.clone(), &args.id).await?;
            write(args, &secret, &secret.sheet(now_ms))?
        }
        Noun::Volumes => {
            let all = volumes(client, all.clone()).await?.items;
            let volume = resolve::one(&all, &args.id)?;
            write(args, volume, &volume.sheet(now_ms))?
        }
    };
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

fn write<V: View>(args: &DescribeArgs, item: &V, sheet: &Sheet) -> Result<String, Stop> {
    written(args.output, &document(V::KIND, item.shape()), || sheet.render())
}

/// The task that was meant: `TASK`, or `FRAMEWORK/TASK` where the framework goes by id or name.
pub async fn task(client: &Client, wanted: &str, ended: bool) -> Result<TaskView, Stop> {
    let among = Among::tasks(client, wanted, ended).await?;
    Ok(resolve::one(&among.items, &among.id)?.clone())
}

/// The tasks of which one was meant, and by what.
pub struct Among {
    pub items: Vec<TaskView>,
    /// Empty: of any.
    pub framework: String,
    pub id: String,
}

impl Among {
    /// `FRAMEWORK/TASK`; or a name that has a `/` in it, as those have that belong to an instance of several tasks.
    pub async fn tasks(client: &Client, wanted: &str, ended: bool) -> Result<Among, Stop> {
        let (framework, id) = split(wanted);
        let selection = |framework: &str| List { framework: framework.to_owned(), ended, ..List::default() };
        let items = resolve::listed::<TaskView>(client, selection(framework), &[id.to_owned()]).await?.items;
        let among = Among { items, framework: framework.to_owned(), id: id.to_owned() };
        if framework.is_empty() || !among.items.is_empty() {
            return Ok(among);
        }
        // The framework's name may have a `/` in it as well.
        let behind = wanted.match_indices('/').map(|(at, _)| wanted[at + 1..].to_owned());
        let called = std::iter::once(wanted.to_owned()).chain(behind).take(List::CALLED_MAX).collect();
        let all = list::<TaskView>(client, List { called, ..selection("") }).await?.items;
        let whole = all.into_iter().filter_map(|task| Some((of_name(wanted, &task)?, task)));
        let (whose, items): (Vec<String>, Vec<TaskView>) = whole.unzip();
        match items.first().map(|task| task.info.name.clone()) {
            Some(id) => Ok(Among { items, framework: whose.into_iter().next().unwrap_or_default(), id }),
            None => Ok(among),
        }
    }
}

/// What stands before the name of a task if that is how it was meant: nothing, or its framework.
fn of_name(wanted: &str, task: &TaskView) -> Option<String> {
    let before = wanted.strip_suffix(&task.info.name).filter(|_| task.info.name.contains('/'))?;
    let framework = before.strip_suffix('/').unwrap_or_default();
    let is_whose = [task.framework.as_str(), &task.framework_name].contains(&framework);
    (before.is_empty() || is_whose).then(|| framework.to_owned())
}

/// `FRAMEWORK/TASK` in two; task ids hold no `/`, names of frameworks may.
pub fn split(wanted: &str) -> (&str, &str) {
    wanted.rsplit_once('/').unwrap_or(("", wanted))
}

async fn related<V: View>(
    client: &Client,
    selection: List,
    sheet: &mut Sheet,
    now_ms: u64,
    colours: bool,
) -> Result<(), Stop> {
    let mut first = First::<V> { items: BTreeMap::new(), count: 0 };
    client.gather(V::call(selection), &mut first).await?;
    if first.items.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(headers::<V>(Format::Table));
    for item in first.items.values() {
        table.push(cells(item, Format::Table, now_ms));
    }
    let more = first.count.saturating_sub(RELATED_MAX);
    let name = if more > 0 { format!("{} (and {more} more)", V::MANY) } else { V::MANY.to_owned() };
    sheet.table(&name, &table, colours);
    Ok(())
}

/// The first lines of a list, in order, and how many it has.
struct First<V> {
    items: BTreeMap<(Natural, Natural), V>,
    count: usize,
}

impl<V: View> Gather for First<V> {
    fn begin(&mut self) {
        self.items.clear();
        self.count = 0;
    }

    fn take(&mut self, part: Reply) -> bool {
        let Some(items) = V::of_reply(part.kind) else { return false };
        self.count += items.len();
        for item in items {
            let order = (Natural(item.id()), Natural(item.full_name()));
            let full = self.items.len() >= RELATED_MAX;
            if !full || self.items.last_key_value().is_some_and(|(last, _)| order < *last) {
                self.items.insert(order, item);
            }
            if self.items.len() > RELATED_MAX {
                self.items.pop_last();
            }
        }
        true
    }
}
