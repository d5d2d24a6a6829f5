//! `stoa completion`: what a shell needs to complete the command line.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Prints a completion script.
#[derive(Clone, Debug, Args)]
pub struct CompletionArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The completion script of the whole command.
pub fn script(args: &CompletionArgs, command: &mut Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, command, name, &mut script);
    script
}

/// Prints the completion script of the whole command.
pub fn print(args: &CompletionArgs, command: &mut Command) {
    // Whoever closed our output does not want to read it.
    let _ = io::stdout().write_all(&script(args, command));
}
