//! `stoa snapshot save|inspect`: all that the masters remember, as a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use proto::backup::Backup;
use proto::log::RegistryImage;
use proto::store_log::StoreImage;
use proto::wire::Wire;
use serde::Serialize;

use super::written;
use crate::args::{Form, InspectArgs, SaveArgs};
use crate::client::Client;
use crate::duration::show_age;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::sheet::Sheet;
use crate::terminal::Terminal;

/// Only who saves it reads it: it holds what tasks are told in confidence.
const MODE: u32 = 0o600;

#[derive(Debug, Serialize)]
struct Shape {
    file: PathBuf,
    bytes: u64,
    cluster: String,
    made_ms: u64,
    by: String,
    version: String,
    members: Vec<Member>,
    agents: usize,
    frameworks: usize,
    /// Those that have not ended.
    tasks: usize,
    roles: usize,
    /// Spaces of frameworks.
    spaces: usize,
    /// What is in them, old versions too.
    versions: usize,
    registry_index: u64,
    store_index: u64,
}

#[derive(Debug, Serialize)]
struct Member {
    id: u64,
    address: String,
}

/// Saves one. What came is read once more before it has its name: a file that is there is whole.
pub async fn save(client: &Client, args: &SaveArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    if args.file.exists() {
        let message = format!("{} is there already", args.file.display());
        return Err(
            Failure::new(Exit::Conflict, "conflict", message, "name another file, or move it away").into()
        );
    }
    let bytes = client.save().await?;
    let part = part_of(&args.file);
    let backup = read(&bytes, &part)?;
    let done =
        write(&part, &bytes).and_then(|()| fs::rename(&part, &args.file)).and_then(|()| settle(&args.file));
    if let Err(error) = done {
        let _ = fs::remove_file(&part);
        return Err(not_written(&args.file, &error).into());
    }
    let shape = shape(&args.file, bytes.len(), backup)?;
    let text = written(args.output, &document("Snapshot", &shape), || {
        format!(
            "{} of {}: {} agents, {} frameworks, {} tasks, {} bytes\n",
            args.file.display(),
            shape.cluster,
            shape.agents,
            shape.frameworks,
            shape.tasks,
            shape.bytes
        )
    })?;
    terminal.print(&text)?;
    if args.output == Form::Text {
        terminal.note(
            "the cluster's authority is not in it, and is needed to restore it: keep a copy of that too",
        );
    }
    Ok(Exit::Ok)
}

/// Looks into one. It needs no cluster.
pub fn inspect(args: &InspectArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let bytes = fs::read(&args.file).map_err(|error| {
        let message = format!("cannot read {}: {error}", args.file.display());
        Failure::not_found(message, "name a file that `stoa snapshot save` has made")
    })?;
    let backup = read(&bytes, &args.file)?;
    let shape = shape(&args.file, bytes.len(), backup)?;
    let age = show_age(shape.made_ms, terminal.now_ms());
    let text = written(args.output, &document("Snapshot", &shape), || sheet(&shape, &age))?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

fn sheet(shape: &Shape, age: &str) -> String {
    let members: Vec<String> =
        shape.members.iter().map(|member| format!("{}={}", member.id, member.address)).collect();
    let mut sheet = Sheet::default();
    sheet.fact("Cluster", &shape.cluster);
    sheet.fact("Made", format!("{age} ago, by {}", shape.by));
    sheet.fact("Version", &shape.version);
    sheet.fact("Masters", members.join(", "));
    sheet.fact("Agents", shape.agents.to_string());
    sheet.fact("Frameworks", shape.frameworks.to_string());
    sheet.fact("Tasks", shape.tasks.to_string());
    sheet.fact("Roles", shape.roles.to_string());
    sheet.fact("State", format!("{} spaces, {} versions of keys", shape.spaces, shape.versions));
    sheet.fact("Log", format!("up to {}, of the state up to {}", shape.registry_index, shape.store_index));
    sheet.fact("Size", format!("{} bytes, whole", shape.bytes));
    sheet.render()
}

fn read(bytes: &[u8], file: &Path) -> Result<Backup, Failure> {
    Backup::from_file(bytes).map_err(|bad| {
        let message = format!("{}: {bad}", file.display());
        Failure::new(Exit::Bad, "damaged", message, "take another copy, or `stoa snapshot save` a new one")
    })
}

fn shape(file: &Path, bytes: usize, backup: Backup) -> Result<Shape, Failure> {
    let unread = |bad: proto::wire::Malformed| {
        let message = format!("{}: what is in it cannot be read: {bad}", file.display());
        Failure::new(Exit::Bad, "damaged", message, "use the version that made it")
    };
    let registry = RegistryImage::decode(backup.registry.image.as_slice()).map_err(unread)?;
    let store = StoreImage::decode(backup.store.image.as_slice()).map_err(unread)?;
    let member = |member: proto::backup::Member| Member { id: member.id.0, address: member.address };
    Ok(Shape {
        file: file.to_owned(),
        bytes: bytes as u64,
        cluster: backup.cluster,
        made_ms: backup.made_ms,
        by: backup.by,
        version: backup.version,
        members: backup.members.into_iter().map(member).collect(),
        agents: registry.agents.len(),
        frameworks: registry.frameworks.len(),
        tasks: registry.tasks.len(),
        roles: registry.roles.len(),
        spaces: store.spaces.len(),
        versions: store.spaces.iter().map(|space| space.versions.len()).sum(),
        registry_index: backup.registry.index,
        store_index: backup.store.index,
    })
}

/// Beside it, so that it can be given its name in one step.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Its name is durable, too.
fn settle(file: &Path) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn not_written(file: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", file.display());
    Failure::new(Exit::Bad, "not-written", message, "name a file in a directory that you may write to")
}
