//! `stoa job promote|rollback`.

use framework_sdk::Profile;

use super::ChangeArgs;
use super::client::Client;
use super::failure::Stop;
use super::printer::Printer;
use super::wait::{self, Wanted};
use crate::spec::Kind;

pub(super) async fn promote(args: &ChangeArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let mut client = Client::new(profile);
    let revision = client.promote(&args.name).await?.revision;
    printer.data(format!("{} promoted (revision {revision})\n", args.name)).await?;
    brought_about(&mut client, args, revision, printer).await
}

pub(super) async fn roll_back(args: &ChangeArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let mut client = Client::new(profile);
    let revision = client.rollback(&args.name).await?.revision;
    printer.data(format!("{} rolled back (revision {revision})\n", args.name)).await?;
    brought_about(&mut client, args, revision, printer).await
}

async fn brought_about(
    client: &mut Client,
    args: &ChangeArgs,
    revision: u64,
    printer: &Printer,
) -> Result<u8, Stop> {
    if !args.wait {
        return Ok(0);
    }
    // Nothing but a service is changed so.
    let wanted = Wanted { name: &args.name, kind: Kind::Service, cron: None, revision };
    wait::for_all(client, &[wanted], args.timeout, printer).await
}
