//! `stoa config`: what is in a file of settings, and which value each setting has and where it comes from.

mod running;

use std::io;

use clap::{ArgMatches, Command};
use framework_sdk::Profile;
use serde::Serialize;

use super::doctor::{self, Report, Verdict};
use super::written;
use crate::args::{ConfigCheckArgs, ConfigPrintArgs, ConfigVerb, ContextArgs, Form};
use crate::client::Client;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop, chain};
use crate::profile;
use crate::settings::{self, FileError, Origin, Role, Setting};
use crate::shapes::document;
use crate::table::{Cell, Table, Tone};
use crate::terminal::Terminal;

/// The word for the settings of this command itself.
const CLI: &str = "cli";

/// What somebody else knows of a role: whether its values fit together.
pub type Whole<'a> = &'a dyn Fn(Role, &ArgMatches) -> Result<(), String>;

/// One setting in JSON.
#[derive(Debug, Serialize)]
struct Shape {
    role: &'static str,
    name: String,
    /// Empty: not set.
    values: Vec<String>,
    /// `default`, `file`, `environment` or `flag`.
    origin: &'static str,
    /// The file with its line, or the variable; null for the others.
    place: Option<String>,
}

/// Does it on the terminal of this process; the exit code.
pub fn run(verb: &ConfigVerb, context: &ContextArgs, command: &Command, whole: Whole<'_>) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut answers = io::stdin().lock();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut answers);
    run_on(verb, context, command, whole, terminal).code()
}

/// Checks a file against the cluster that runs, on the terminal of this process; the exit code.
pub async fn run_check(
    args: &ConfigCheckArgs,
    context: &ContextArgs,
    command: &Command,
    whole: Whole<'_>,
) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut answers = io::stdin().lock();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut answers);
    let exit = match profile::find(context.context.as_deref()) {
        Ok(found) => run_check_on(args, found, command, whole, terminal).await,
        Err(error) => ended(Err(Failure::from(error).into()), args.output, terminal),
    };
    exit.code()
}

/// The same with this profile on this terminal.
pub async fn run_check_on(
    args: &ConfigCheckArgs,
    mut profile: Profile,
    command: &Command,
    whole: Whole<'_>,
    terminal: &mut Terminal<'_>,
) -> Exit {
    if !args.masters.is_empty() {
        profile.masters = args.masters.clone();
    }
    let done = async {
        let roles = settings::check(command, &args.file, whole).map_err(Failure::from)?;
        let said = settings::said(command, &args.file).map_err(Failure::from)?;
        let checks = running::check(&Client::new(&profile), &said, terminal.clock).await?;
        told(args, roles, Some(Report::of(checks)), terminal)
    };
    ended(done.await, args.output, terminal)
}

/// Does it on this terminal.
pub fn run_on(
    verb: &ConfigVerb,
    context: &ContextArgs,
    command: &Command,
    whole: Whole<'_>,
    terminal: &mut Terminal<'_>,
) -> Exit {
    let (done, form) = match verb {
        ConfigVerb::Check(args) => (check(args, command, whole, terminal), args.output),
        ConfigVerb::Print(args) => (print(args, context, command, terminal), args.output),
    };
    ended(done, form, terminal)
}

fn ended(done: Result<Exit, Stop>, form: Form, terminal: &mut Terminal<'_>) -> Exit {
    match done {
        Ok(exit) => exit,
        Err(Stop::HungUp) => Exit::Ok,
        Err(Stop::Failed(failure)) => {
            report(&failure, form, terminal);
            failure.exit
        }
    }
}

/// Each fault of a file on a line of its own.
fn report(failure: &Failure, form: Form, terminal: &mut Terminal<'_>) {
    if form == Form::Json {
        return failure.report(true, terminal);
    }
    let mut lines = failure.message.lines().peekable();
    while let Some(line) = lines.next() {
        let hint = if lines.peek().is_none() { failure.hint.as_str() } else { "" };
        Failure::new(failure.exit, failure.code, line, hint).report(false, terminal);
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let hint = match &error {
            FileError::Read { .. } => "name a file that is there with -c FILE",
            FileError::Faults { .. } => "`stoa config print` shows every setting with its name",
            FileError::Flags { .. } => "they are the flags of that process, behind --",
        };
        Failure::usage(chain(&error), hint)
    }
}

fn check(
    args: &ConfigCheckArgs,
    command: &Command,
    whole: Whole<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let roles = settings::check(command, &args.file, whole)?;
    told(args, roles, None, terminal)
}

/// Says what came of it; of the cluster that runs only where that was asked for.
fn told(
    args: &ConfigCheckArgs,
    roles: Vec<Role>,
    running: Option<Report>,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let words: Vec<&str> = roles.into_iter().map(Role::as_str).collect();
    #[derive(Serialize)]
    struct Checked<'a> {
        file: String,
        roles: &'a [&'a str],
        /// Null unless it was checked against the cluster that runs.
        running: Option<&'a Report>,
    }
    let failed = running.as_ref().is_some_and(|report| report.verdict == Verdict::Fail);
    let shape = Checked { file: args.file.display().to_string(), roles: &words, running: running.as_ref() };
    let colours = terminal.colours;
    let text = written(args.output, &document("ConfigCheck", shape), || {
        let spoken = if words.is_empty() { "nobody".to_owned() } else { words.join(", ") };
        let file = escaped(&args.file.display().to_string()).into_owned();
        let checks = running.as_ref().map(|report| doctor::text(report, colours)).unwrap_or_default();
        format!("{file} is good; it speaks of {spoken}\n{checks}")
    })?;
    terminal.print(&text)?;
    Ok(if failed { Exit::Bad } else { Exit::Ok })
}

fn print(
    args: &ConfigPrintArgs,
    context: &ContextArgs,
    command: &Command,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    if args.role.is_none() && !args.flags.is_empty() {
        let hint = "such as `stoa config print agent -- --listen 10.0.0.2:7071`";
        return Err(Failure::usage("flags are of one role; name it", hint).into());
    }
    let mut all: Vec<(&'static str, Setting)> = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| args.role.is_none_or(|wanted| wanted == *role)) {
        let of_role = settings::settings(command, role, args.file.as_deref(), &args.flags)?;
        all.extend(of_role.into_iter().map(|setting| (role.as_str(), setting)));
    }
    if args.role.is_none() {
        all.extend(own(context).into_iter().map(|setting| (CLI, setting)));
    }
    let shapes: Vec<Shape> = all.iter().map(|(role, setting)| shape(role, setting)).collect();
    let colours = terminal.colours;
    #[derive(Serialize)]
    struct Settings<'a> {
        settings: &'a [Shape],
    }
    let text = written(args.output, &document("Settings", Settings { settings: &shapes }), || {
        let mut headers = vec!["SETTING", "VALUE"];
        headers.extend(args.origin.then_some("ORIGIN"));
        let mut table = Table::new(headers);
        for shape in &shapes {
            let mut row =
                vec![Cell::new(format!("{}.{}", shape.role, shape.name)), Cell::new(shape.values.join(", "))];
            if args.origin {
                let tone = if shape.origin == "default" { Tone::Dim } else { Tone::Plain };
                let place = shape.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
                row.push(Cell::toned(format!("{}{place}", shape.origin), tone));
            }
            table.push(row);
        }
        table.render(colours)
    })?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

fn shape(role: &'static str, setting: &Setting) -> Shape {
    let (origin, place) = match &setting.origin {
        Origin::Default => ("default", None),
        Origin::File(path, line) => ("file", Some(format!("{}:{line}", path.display()))),
        Origin::Environment(variable) => ("environment", Some(variable.clone())),
        Origin::Flag => ("flag", None),
    };
    Shape { role, name: setting.name.clone(), values: setting.values.clone(), origin, place }
}

/// What this command itself goes by.
fn own(context: &ContextArgs) -> Vec<Setting> {
    let variable = |name: &str, variable: &str, otherwise: &str| {
        let set = std::env::var(variable).ok().filter(|value| !value.is_empty());
        let origin = if set.is_some() { Origin::Environment(variable.to_owned()) } else { Origin::Default };
        let values = vec![set.unwrap_or_else(|| otherwise.to_owned())];
        Setting { name: name.to_owned(), values, origin }
    };
    let which = match &context.context {
        Some(dir) => {
            let variable = framework_sdk::profile::PROFILE_VARIABLE;
            let is_set = std::env::var_os(variable).is_some_and(|value| value == dir.as_os_str());
            let origin = if is_set { Origin::Environment(variable.to_owned()) } else { Origin::Flag };
            (Some(dir.clone()), origin)
        }
        // Where there is none, none is meant.
        None => (profile::current_dir().ok(), Origin::Default),
    };
    let values = which.0.iter().map(|dir| dir.display().to_string()).collect();
    vec![
        Setting { name: "context".to_owned(), values, origin: which.1 },
        variable("log", "STOA_LOG", "info"),
        variable("log_format", "STOA_LOG_FORMAT", "human"),
    ]
}
