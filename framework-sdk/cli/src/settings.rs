//! Settings of the long-lived processes: what may stand on their command lines may stand in the environment and in a file
//! too, under the same names, and is checked by the same rules.
//!
//! A file is TOML with a table for each role, `[master]`, `[agent]` and `[jobs]`, whose keys are the flags' names with `_`
//! for `-`. A flag wins over the environment, that over the file, and that over the default.

mod file;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

pub use file::{Fault, FileError};

use file::{Placed, Settings};

/// The flag that names the file: `-c FILE`.
pub const FILE_FLAG: &str = "config";
/// Values that are never shown.
const SECRETS: [&str; 1] = ["join"];

/// A kind of long-lived process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// `stoa master`.
    Master,
    /// `stoa agent`.
    Agent,
    /// `stoa framework jobs`.
    Jobs,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// A variable.
    Environment(String),
    /// The command line.
    Flag,
}

/// One setting, with the values it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As in a file.
    pub name: String,
    /// None: it is not set, and has no default that is the same everywhere.
    pub values: Vec<String>,
    /// Where they come from.
    pub origin: Origin,
}

// === impl Role ===

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Master, Role::Agent, Role::Jobs];

    /// Its word: of its table in a file, and of its variables.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Agent => "agent",
            Role::Jobs => "jobs",
        }
    }

    /// What is typed to start it.
    fn path(self) -> &'static [&'static str] {
        match self {
            Role::Master => &["master"],
            Role::Agent => &["agent"],
            Role::Jobs => &["framework", "jobs"],
        }
    }

    /// Its command below the whole one.
    fn command(self, whole: &Command) -> Command {
        let found = self.path().iter().try_fold(whole, |command, word| command.find_subcommand(word));
        found.cloned().unwrap_or_default()
    }

    fn variable(self, arg: &Arg) -> String {
        format!("STOA_{}_{}", self.as_str(), key_of(arg)).to_uppercase()
    }
}

/// Whether an argument of a role's command is one of its settings.
fn is_setting(arg: &Arg) -> bool {
    let valued = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
    valued && arg.get_long().is_some() && !matches!(arg.get_id().as_str(), FILE_FLAG | "context")
}

/// How a setting is called in a file.
fn key_of(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

fn change(command: Command, path: &[&'static str], how: &dyn Fn(Command) -> Command) -> Command {
    match path {
        [] => how(command),
        [first, rest @ ..] => command.mut_subcommand(*first, |below| change(below, rest, how)),
    }
}

/// Nothing is required: what is missing here may stand elsewhere.
fn lenient(command: Command) -> Command {
    command.mut_args(|arg| arg.required(false))
}

/// The whole command, with a variable for each setting of a role that takes one value.
pub fn with_variables(command: Command) -> Command {
    let named = |role: Role, arg: Arg| {
        let many = matches!(arg.get_action(), ArgAction::Append);
        match is_setting(&arg) && !many && arg.get_env().is_none() {
            true => {
                // Named once in the life of the process.
                let variable: &'static str = role.variable(&arg).leak();
                arg.env(variable).hide_env(true)
            }
            false => arg,
        }
    };
    Role::ALL.into_iter().fold(command, |command, role| {
        change(command, role.path(), &|own| own.mut_args(|arg| named(role, arg)))
    })
}

/// The command line `line` with what its `-c FILE` says of the role that it starts, as flags behind what was typed; only
/// where neither a flag nor a variable says something.
pub fn with_file(command: &Command, mut line: Vec<OsString>) -> Result<Vec<OsString>, FileError> {
    // Most lines name none.
    let may_name = |word: &OsString| {
        let text = word.to_string_lossy();
        text.starts_with("-c") || text.starts_with("--c")
    };
    if !line.iter().any(may_name) {
        return Ok(line);
    }
    let Some((role, typed)) = starts(command, &line) else { return Ok(line) };
    let Ok(Some(path)) = typed.try_get_one::<PathBuf>(FILE_FLAG) else { return Ok(line) };
    let settings = Settings::read(command, path)?;
    for placed in settings.of(role).filter(|placed| !is_said(&typed, &placed.arg)) {
        line.extend(placed.words().into_iter().map(OsString::from));
    }
    Ok(line)
}

fn is_said(typed: &ArgMatches, arg: &Arg) -> bool {
    let source = typed.value_source(arg.get_id().as_str());
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The role that a line starts, and what its flags say.
fn starts(command: &Command, line: &[OsString]) -> Option<(Role, ArgMatches)> {
    let all = Role::ALL.into_iter();
    let command = all.fold(command.clone(), |command, role| change(command, role.path(), &lenient));
    // What is wrong with it is said when it is read in earnest.
    let matches = command.try_get_matches_from(line).ok()?;
    Role::ALL.into_iter().find_map(|role| {
        let own = role.path().iter().try_fold(&matches, |at, word| at.subcommand_matches(word))?;
        own.subcommand().is_none().then(|| (role, own.clone()))
    })
}

/// Reads a file and says everything that is wrong with it. `whole` has the last word on a role whose values are good one
/// by one and complete. Returns the roles that it speaks of.
pub fn check(
    command: &Command,
    path: &Path,
    whole: &dyn Fn(Role, &ArgMatches) -> Result<(), String>,
) -> Result<Vec<Role>, FileError> {
    let settings = Settings::read(command, path)?;
    let mut faults = Vec::new();
    for role in settings.roles() {
        let words = settings.of(role).flat_map(Placed::words);
        let own = role.command(command);
        // Together they may still clash; that something is missing is no fault of a file.
        let Ok(matches) = own.try_get_matches_from(std::iter::once("stoa".to_owned()).chain(words)) else {
            continue;
        };
        faults.extend(whole(role, &matches).err().map(|why| Fault::of_role(role, why)));
    }
    match faults.is_empty() {
        true => Ok(settings.roles()),
        false => Err(FileError::Faults { path: path.to_owned(), faults }),
    }
}

/// What a file says of each role that it speaks of, secrets too.
pub(crate) fn said(command: &Command, path: &Path) -> Result<Vec<(Role, Vec<Setting>)>, FileError> {
    let settings = Settings::read(command, path)?;
    let one = |placed: &Placed| Setting {
        name: key_of(&placed.arg),
        values: placed.values.clone(),
        origin: Origin::File(path.to_path_buf(), placed.line),
    };
    let roles = settings.roles().into_iter();
    Ok(roles.map(|role| (role, settings.of(role).map(one).collect())).collect())
}

/// The settings of a role, as a process would take them that was started with this file and these flags.
pub fn settings(
    command: &Command,
    role: Role,
    file: Option<&Path>,
    flags: &[String],
) -> Result<Vec<Setting>, FileError> {
    let own = role.command(command);
    let line = std::iter::once("stoa".to_owned()).chain(flags.iter().cloned());
    let typed = lenient(own.clone())
        .try_get_matches_from(line)
        .map_err(|error| FileError::Flags { role, why: file::in_short(&error) })?;
    let read = file.map(|path| Settings::read(command, path).map(|settings| (path, settings))).transpose()?;
    let one = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let typed_values = || -> Vec<String> {
            let raw = typed.get_raw(id).into_iter().flatten();
            raw.map(|value| value.to_string_lossy().into_owned()).collect()
        };
        let placed = read.as_ref().and_then(|(path, settings)| {
            settings.of(role).find(|placed| placed.arg.get_id() == arg.get_id()).map(|placed| (path, placed))
        });
        let (values, origin) = match (typed.value_source(id), placed) {
            (Some(ValueSource::CommandLine), _) => (typed_values(), Origin::Flag),
            (Some(ValueSource::EnvVariable), _) => {
                let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                (typed_values(), Origin::Environment(variable.unwrap_or_default()))
            }
            (_, Some((path, placed))) => {
                (placed.values.clone(), Origin::File(path.to_path_buf(), placed.line))
            }
            (_, None) => (typed_values(), Origin::Default),
        };
        let values = match SECRETS.contains(&id) && !values.is_empty() {
            true => vec!["(secret)".to_owned()],
            false => values,
        };
        Setting { name: key_of(arg), values, origin }
    };
    Ok(own.get_arguments().filter(|arg| is_setting(arg)).map(one).collect())
}
