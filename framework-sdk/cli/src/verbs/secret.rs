//! `stoa secret`: what tasks are given in confidence.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use proto::operator::{Call, List, RemoveSecret, SecretView, SetSecret};
use proto::secret::{Confidential, SECRET_BYTES_MAX};

use super::get;
use super::remove::confirmed;
use super::{Said, list, order};
use crate::args::{GetArgs, Noun, OrderArgs, SecretGetArgs, SecretRmArgs, SecretSetArgs, SecretVerb};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::terminal::Terminal;

/// Sets, lists or removes secrets.
pub async fn run(client: &Client, verb: &SecretVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    match verb {
        SecretVerb::Set(args) => set(client, args, terminal).await,
        SecretVerb::Get(SecretGetArgs { names, output }) => {
            let args = GetArgs {
                noun: Noun::Secrets,
                ids: names.clone(),
                output: *output,
                watch: false,
                framework: None,
                agent: None,
                all: false,
                stale: false,
            };
            get::run(client, &args, terminal).await
        }
        SecretVerb::Rm(args) => remove(client, args, terminal).await,
    }
}

async fn set(client: &Client, args: &SecretSetArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let SecretSetArgs { secret, role, file, order: how } = args;
    let (role, name) = secret.with(role.as_ref())?;
    let value = value(file.as_deref(), terminal)?;
    let bytes = value.reveal().len();
    let before = secrets(client).await?.into_iter().find(|known| known.role == role && known.name == name);
    let call = SetSecret { role: role.clone(), name: name.clone(), value };
    order(client, Call::SetSecret(call), how.dry_run).await?;
    let (was, undo) = match before {
        None => (", new".to_owned(), format!("stoa secret rm {name} --role {role}")),
        // What it held is not known to anybody any more.
        Some(before) => (format!(", in place of version {}", before.version), String::new()),
    };
    let what = format!(
        "secret {name} of role {role}: {bytes} bytes{was}; tasks that start from now on are given it"
    );
    Said { order: how, undo: &undo }.note(&what, terminal)?;
    Ok(Exit::Ok)
}

async fn remove(client: &Client, args: &SecretRmArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let SecretRmArgs { secret, role, order: how, .. } = args;
    let (role, name) = secret.with(role.as_ref())?;
    let call = Call::RemoveSecret(RemoveSecret { role: role.clone(), name: name.clone() });
    let what = format!("secret {name} of role {role}");
    if !how.dry_run {
        // Whoever would be refused is not asked.
        let rehearsed = OrderArgs { dry_run: true, ..*how };
        order(client, call.clone(), rehearsed.dry_run).await?;
        confirmed(&format!("remove for good {what}?"), args.yes, terminal)?;
    }
    order(client, call, how.dry_run).await?;
    let what =
        format!("removed {what}; tasks that run keep what they were given, no other can start with it");
    Said { order: how, undo: "" }.note(&what, terminal)?;
    Ok(Exit::Ok)
}

async fn secrets(client: &Client) -> Result<Vec<SecretView>, Stop> {
    Ok(list::<SecretView>(client, List::default()).await?.items)
}

/// The value, never from the command line: there everybody on the machine could read it.
fn value(file: Option<&Path>, terminal: &mut Terminal<'_>) -> Result<Confidential, Stop> {
    // One more than there may be: the masters say what is too long.
    let most = SECRET_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = |from: &mut dyn Read, bytes: &mut Vec<u8>| from.take(most).read_to_end(bytes);
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let done = File::open(file).and_then(|mut from| read(&mut from, &mut bytes));
            done.map_err(|error| unreadable(&file.display().to_string(), &error))?;
        }
        None => {
            let Some(piped) = terminal.piped.as_mut() else {
                let message = "the value is missing";
                let hint = "name its file with --file FILE, or write it to standard input";
                return Err(Failure::usage(message, hint).into());
            };
            read(piped, &mut bytes).map_err(|error| unreadable("standard input", &error))?;
        }
    }
    Ok(Confidential::new(bytes))
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("{what} cannot be read: {error}"), "name a file with --file FILE")
}
