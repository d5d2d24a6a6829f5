//! `stoa get`: lists.

mod rows;

use proto::operator::{AgentView, FrameworkView, List, OfferView, RoleView, SecretView, TaskView};

use super::{json, list, resolve, watch, yaml};
use crate::args::{Format, GetArgs, Noun};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::nouns::reservation::Reservation;
use crate::nouns::volume::Volume;
use crate::shapes::{Listing, document};
use crate::table::{Cell, Table};
use crate::terminal::Terminal;
use crate::verbs::resolve::Natural;
use rows::Rows;

/// Lists, and with `--watch` stays.
pub async fn run(client: &Client, args: &GetArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    match args.noun {
        Noun::Agents => of::<AgentView>(client, args, terminal).await,
        Noun::Tasks => of::<TaskView>(client, args, terminal).await,
        Noun::Frameworks => of::<FrameworkView>(client, args, terminal).await,
        Noun::Offers => of::<OfferView>(client, args, terminal).await,
        Noun::Roles => of::<RoleView>(client, args, terminal).await,
        Noun::Reservations => of::<Reservation>(client, args, terminal).await,
        Noun::Volumes => {
            unwatched::<Volume>(args)?;
            let listing = volumes(client, selection(args)).await?;
            show(listing, args, terminal)
        }
        Noun::Secrets => of::<SecretView>(client, args, terminal).await,
    }
}

fn selection(args: &GetArgs) -> List {
    List {
        stale: args.stale,
        framework: args.framework.clone().unwrap_or_default(),
        agent: args.agent.clone().unwrap_or_default(),
        ended: args.all,
        called: Vec::new(),
    }
}

async fn of<V: View>(client: &Client, args: &GetArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    if matches!(args.noun, Noun::Reservations | Noun::Secrets) {
        unwatched::<V>(args)?;
    }
    if args.watch {
        return watch::run::<V>(client, &selection(args), args, terminal).await;
    }
    if args.ids.is_empty()
        && let Some(rows) = Rows::<V>::new(args.output, terminal.now_ms())
    {
        return as_it_comes(client, rows, args, terminal).await;
    }
    let listing = resolve::listed::<V>(client, selection(args), &args.ids).await?;
    show(listing, args, terminal)
}

/// All of a list: nothing of it needs the others to be written.
async fn as_it_comes<V: View>(
    client: &Client,
    mut rows: Rows<V>,
    args: &GetArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    client.gather(V::call(selection(args)), &mut rows).await?;
    if args.stale {
        let (as_of, from_leader) = rows.as_of();
        super::say_as_of(as_of, from_leader, terminal);
    }
    if rows.is_empty() && matches!(args.output, Format::Table | Format::Wide) {
        terminal.note(&format!("no {}", V::MANY));
        return Ok(Exit::Ok);
    }
    rows.print(terminal)?;
    Ok(Exit::Ok)
}

/// What is told as a part of agents, or to few, is not watched by itself.
fn unwatched<V: View>(args: &GetArgs) -> Result<(), Stop> {
    if !args.watch {
        return Ok(());
    }
    let hint = match args.noun {
        Noun::Secrets => "`stoa events --watch --kind secret` tells each change of them",
        _ => {
            "`stoa events --watch --kind reserved --kind unreserved --kind volume` tells each change of them"
        }
    };
    Err(Failure::usage(format!("{} cannot be watched", V::MANY), hint).into())
}

/// Volumes, each with the task that has it.
pub(super) async fn volumes(client: &Client, selection: List) -> Result<Listing<Volume>, Stop> {
    let tasks = list::<TaskView>(client, List { framework: String::new(), ..selection.clone() }).await?.items;
    let mut listing = list::<Volume>(client, selection).await?;
    listing.items.iter_mut().for_each(|volume| volume.find_task(&tasks));
    Ok(listing)
}

fn show<V: View>(mut listing: Listing<V>, args: &GetArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    if !args.ids.is_empty() {
        let mut picked: Vec<V> = Vec::new();
        for id in &args.ids {
            let item = resolve::one(&listing.items, id)?;
            if !picked.contains(item) {
                picked.push(item.clone());
            }
        }
        listing.items = picked;
    }
    listing.items.sort_by_cached_key(|item| (Natural(item.id()), Natural(item.full_name())));
    if args.stale {
        super::say_as_of(listing.as_of, listing.from_leader, terminal);
    }
    if listing.items.is_empty() && matches!(args.output, Format::Table | Format::Wide) {
        terminal.note(&format!("no {}", V::MANY));
        return Ok(Exit::Ok);
    }
    let text = render(&listing, args.output, terminal.now_ms(), terminal.colours)?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

/// A list in this format.
pub fn render<V: View>(
    listing: &Listing<V>,
    format: Format,
    now_ms: u64,
    colours: bool,
) -> Result<String, Stop> {
    let items = &listing.items;
    match format {
        Format::Table | Format::Wide => Ok(table(items, format, now_ms).render(colours)),
        Format::Name => Ok(items.iter().map(|item| item.full_name() + "\n").collect()),
        Format::Json => json(&shaped(listing)),
        Format::Yaml => yaml(&shaped(listing)),
    }
}

fn shaped<V: View>(listing: &Listing<V>) -> crate::shapes::Document<Listing<V::Shape<'_>>> {
    let items = listing.items.iter().map(View::shape).collect();
    document(V::LIST, Listing { as_of: listing.as_of, from_leader: listing.from_leader, items })
}

fn table<V: View>(items: &[V], format: Format, now_ms: u64) -> Table {
    let mut table = Table::new(headers::<V>(format));
    for item in items {
        table.push(cells(item, format, now_ms));
    }
    table
}

/// The headers of a table in this format.
pub fn headers<V: View>(format: Format) -> Vec<&'static str> {
    let more: &[&str] = if format == Format::Wide { V::WIDE } else { &[] };
    V::COLUMNS.iter().chain(more).copied().collect()
}

/// The cells of a row in this format.
pub fn cells<V: View>(item: &V, format: Format, now_ms: u64) -> Vec<Cell> {
    let mut cells = item.cells(now_ms);
    if format == Format::Wide {
        cells.extend(item.wide_cells(now_ms));
    }
    cells
}
