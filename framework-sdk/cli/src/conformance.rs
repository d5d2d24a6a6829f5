//! `stoa sdk conformance CMD...`: runs any framework against pretend masters over real sockets, makes things go wrong, and
//! prints a report card.

mod card;
mod checks;
mod play;
mod subject;

use std::io;
use std::time::Duration;

use clap::Args;

use crate::args::Form;
use crate::duration::parse_duration;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::terminal::Terminal;

pub use card::{Card, Finding, Mark};
pub use checks::Check;
pub use subject::{Inside, Subject};

const EXAMPLES: &str = "Examples:
  stoa sdk conformance target/debug/examples/hello
  stoa sdk conformance --only hoarding --patience 10s ./my-framework --role dev
  stoa sdk conformance --work 'my-client submit job.json' -o json -- ./my-framework

The command is started anew for each check. It finds the masters and its certificate in the directory that STOA_CONTEXT
names (ca.pem, cert.pem, key.pem, and masters with one host:port a line), and may keep its data in the empty directory that
STOA_DATA names. What it writes goes nowhere, but for the last line on its standard error when it dies. A script around it
should end with `exec`.

A framework that has nothing to do by itself is given something with --work: a command that runs once it has subscribed, as
a user of the same pretend cluster, whose masters say where the framework's own door is. Exit code 0: every check is passed.";

/// Examines a framework.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConformanceArgs {
    /// How long the framework may take to answer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub patience: Duration,
    /// Only these checks; once for each
    #[arg(long, value_enum, value_name = "CHECK")]
    pub only: Vec<Check>,
    /// A shell command that gives the framework something to do, once it has subscribed
    #[arg(long, value_name = "COMMAND")]
    pub work: Option<String>,
    /// The principal in its certificate
    #[arg(long, value_name = "NAME", default_value = "conformance")]
    pub principal: String,
    /// How
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Form,
    /// The framework, and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Examines the framework on the terminal of this process; the exit code.
pub async fn run(args: &ConformanceArgs) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut nobody = io::empty();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut nobody);
    let subject = Subject::Command { argv: args.command.clone(), work: args.work.clone() };
    match examine(args, &subject, terminal).await {
        Ok(exit) => exit.code(),
        Err(Stop::HungUp) => Exit::Ok.code(),
        Err(Stop::Failed(failure)) => {
            failure.report(args.output == Form::Json, terminal);
            failure.exit.code()
        }
    }
}

/// Examines a framework, however it is started.
pub async fn examine(
    args: &ConformanceArgs,
    subject: &Subject,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let wanted = |check: &Check| args.only.is_empty() || args.only.contains(check);
    let mut card = Card::of(args.command.join(" "));
    for check in Check::ALL.into_iter().filter(wanted) {
        card.enter(check, examine_once(args, subject, check).await?);
    }
    terminal.print(&card.render(args.output, terminal.colours)?)?;
    Ok(if card.is_passed() { Exit::Ok } else { Exit::Bad })
}

/// One check of a framework. An error when it cannot be made at all, such as when the command does not start.
pub async fn examine_once(
    args: &ConformanceArgs,
    subject: &Subject,
    check: Check,
) -> Result<Finding, Failure> {
    let mut play = play::Play::begin(subject, &args.principal, args.patience).await?;
    let result = checks::make(check, &mut play).await;
    play.end().await;
    Ok(result)
}
