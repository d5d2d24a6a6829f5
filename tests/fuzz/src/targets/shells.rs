//! Settings and command lines of the long-lived processes.

use std::fs;

use clap::{Args, Command, FromArgMatches};
use framework_sdk_cli::settings::{self, Role};
use frameworks_jobs::config::JobsArgs;

use crate::scratch::Scratch;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

thread_local! {
    static COMMAND: Command = command();
    static DIR: Scratch = Scratch::new("settings");
}

/// The processes, as the program has them.
fn command() -> Command {
    let role = |name: &'static str| Command::new(name);
    let whole = Command::new("stoa")
        .subcommand(master::MasterArgs::augment_args(role("master")))
        .subcommand(agent::AgentArgs::augment_args(role("agent")))
        .subcommand(Command::new("framework").subcommand(JobsArgs::augment_args(role("jobs"))));
    settings::with_variables(whole)
}

fn fits(role: Role, matches: &clap::ArgMatches) -> Result<(), String> {
    let unread = |error: clap::Error| error.to_string();
    match role {
        Role::Master => master::MasterArgs::from_arg_matches(matches).map_err(unread)?.config().map(drop),
        Role::Agent => {
            let args = agent::AgentArgs::from_arg_matches(matches).map_err(unread)?;
            agent::Config::from(args).check().map(drop).map_err(|error| error.to_string())
        }
        Role::Jobs => JobsArgs::from_arg_matches(matches).map(drop).map_err(unread),
    }
}

const WORDS: &[&str] = &[
    "[master]\n",
    "[agent]\n",
    "[jobs]\n",
    "data_dir",
    "listen",
    "member",
    "credentials",
    "work_dir",
    "resources",
    "attributes",
    "attribute",
    "master",
    "join",
    "advertise",
    "role",
    " = \"",
    "\"\n",
    "= [\"",
    "\", \"",
    "\"]\n",
    "127.0.0.1:7070",
    "1=127.0.0.1:7070",
    "cpus:4;mem:8GiB",
    "zone=b",
    "true",
    "0",
    "10s",
    "--",
    "--data-dir",
    "--listen",
    "--member",
    "--work-dir",
    "--master",
    "--join",
    "--resources",
    "--attribute",
    "--credentials",
    "--role",
    "--offer-timeout",
    "--keep-sandboxes",
    "/tmp/x",
    "\n",
    "=",
    "::1",
    "[::]:80",
    "localhost:7070",
];

pub(super) const SETTINGS: Target = Target::new(
    "settings",
    "a file of settings is refused with its faults, or says the same of each setting when it is asked",
    Kind::Text,
    settings_file,
)
.words(WORDS)
.costs(64 << 10);

fn settings_file(input: &[u8]) -> Verdict {
    COMMAND.with(|command| {
        DIR.with(|dir| {
            let path = dir.path().join("stoa.toml");
            fs::write(&path, input).map_err(|error| error.to_string())?;
            let roles = match settings::check(command, &path, &fits) {
                Ok(roles) => roles,
                Err(error) => {
                    ensure(!error.to_string().is_empty(), || "refused without a word".to_owned())?;
                    return Ok(Taken::No);
                }
            };
            for role in &roles {
                let all = settings::settings(command, *role, Some(&path), &[])
                    .map_err(|error| format!("a file that was taken is refused: {error}"))?;
                let hidden = all.iter().all(|setting| {
                    setting.name != "join" || setting.values.iter().all(|value| value == "(secret)")
                });
                ensure(hidden, || "a secret is shown".to_owned())?;
            }
            Ok(if roles.is_empty() { Taken::No } else { Taken::Yes })
        })
    })
}

pub(super) const ARGUMENTS: Target = Target::new(
    "arguments",
    "a command line is refused with a word, or makes a configuration that is checked",
    Kind::Text,
    arguments,
)
.up_to(600)
.words(WORDS)
.costs(64 << 10);

/// The first word is the role, each line a word.
fn arguments(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let mut words = text.split('\n');
    let path: &[&str] = match words.next() {
        Some("master") => &["master"],
        Some("agent") => &["agent"],
        Some("jobs") => &["framework", "jobs"],
        Some(_) | None => return Ok(Taken::No),
    };
    COMMAND.with(|command| {
        let line = std::iter::once("stoa").chain(path.iter().copied()).chain(words);
        let matches = match command.clone().try_get_matches_from(line) {
            Ok(matches) => matches,
            Err(error) => {
                ensure(!error.to_string().is_empty(), || "refused without a word".to_owned())?;
                return Ok(Taken::No);
            }
        };
        let own = path.iter().try_fold(&matches, |at, word| at.subcommand_matches(word));
        let role = match path {
            ["master"] => Role::Master,
            ["agent"] => Role::Agent,
            _ => Role::Jobs,
        };
        let fits = own.is_some_and(|own| fits(role, own).is_ok());
        Ok(if fits { Taken::Yes } else { Taken::No })
    })
}
