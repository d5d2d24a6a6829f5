//! `stoa job promote|rollback`.

use framework_sdk::Profile;

use super::NamedArgs;
use super::client::Client;
use super::failure::Stop;
use super::printer::Printer;

pub(super) async fn promote(args: &NamedArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let reply = Client::new(profile).promote(&args.name).await?;
    printer.data(format!("{} promoted (revision {})\n", args.name, reply.revision)).await?;
    Ok(0)
}

pub(super) async fn roll_back(args: &NamedArgs, profile: &Profile, printer: &Printer) -> Result<u8, Stop> {
    let reply = Client::new(profile).rollback(&args.name).await?;
    printer.data(format!("{} rolled back (revision {})\n", args.name, reply.revision)).await?;
    Ok(0)
}
