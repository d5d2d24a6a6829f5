//! `stoa reserve`, `unreserve` and `volume`: what an agent's resources are kept for.

use proto::operation::{CreateVolume, DestroyVolume, Operation, Reserve, Unreserve};
use proto::operator::{AgentView, Call, List, OperateAgent};
use proto::quantities::Scalar;
use proto::resources::Amount;
use proto::role::Role;

use super::get::{self, volumes};
use super::quota::typed;
use super::remove::confirmed;
use super::resolve::find;
use super::{Said, order};
use crate::args::{
    GetArgs, Noun, OrderArgs, ReserveArgs, VolumeCreateArgs, VolumeDestroyArgs, VolumeListArgs, VolumeVerb,
};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::nouns::View;
use crate::nouns::volume::Volume;
use crate::terminal::Terminal;

/// Keeps resources of an agent for a role.
pub async fn reserve(client: &Client, args: &ReserveArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let agent = find::<AgentView>(client, List::default(), &args.agent).await?;
    let amount = args.amount();
    let operation = Operation::Reserve(Reserve { role: args.role.clone(), amount: amount.clone() });
    operate(client, &agent, operation, &args.order).await?;
    let what = format!("{}: {amount} reserved for {}", name(&agent), args.role);
    let undo = command("unreserve", &agent, &args.role, &amount);
    Said { order: &args.order, undo: &undo }.note(&what, terminal)?;
    Ok(Exit::Ok)
}

/// Gives back what was kept for a role.
pub async fn unreserve(
    client: &Client,
    args: &ReserveArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let agent = find::<AgentView>(client, List::default(), &args.agent).await?;
    let amount = args.amount();
    let operation = Operation::Unreserve(Unreserve { role: args.role.clone(), amount: amount.clone() });
    operate(client, &agent, operation, &args.order).await?;
    let what = format!("{}: {amount} not reserved for {} any more", name(&agent), args.role);
    let undo = command("reserve", &agent, &args.role, &amount);
    Said { order: &args.order, undo: &undo }.note(&what, terminal)?;
    Ok(Exit::Ok)
}

/// Makes, lists or destroys volumes.
pub async fn volume(client: &Client, verb: &VolumeVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    match verb {
        VolumeVerb::Create(args) => create(client, args, terminal).await,
        VolumeVerb::List(VolumeListArgs { agent, output }) => {
            let args = GetArgs {
                noun: Noun::Volumes,
                ids: Vec::new(),
                output: *output,
                watch: false,
                framework: None,
                agent: agent.clone(),
                all: false,
                stale: false,
            };
            get::run(client, &args, terminal).await
        }
        VolumeVerb::Destroy(args) => destroy(client, args, terminal).await,
    }
}

async fn create(client: &Client, args: &VolumeCreateArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let agent = find::<AgentView>(client, List::default(), &args.agent).await?;
    let VolumeCreateArgs { volume, role, size, .. } = args;
    let wanted = CreateVolume { role: role.clone(), volume: volume.clone(), disk_bytes: *size };
    operate(client, &agent, Operation::CreateVolume(wanted), &args.order).await?;
    let what = format!("{}: volume {volume} of {} for {role}", name(&agent), Scalar::Disk.show(*size));
    let undo = format!("stoa volume destroy {} {volume} --role {role}", agent.info.id);
    Said { order: &args.order, undo: &undo }.note(&what, terminal)?;
    Ok(Exit::Ok)
}

async fn destroy(
    client: &Client,
    args: &VolumeDestroyArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let agent = find::<AgentView>(client, List::default(), &args.agent).await?;
    let found = the_one(client, &agent, args).await?;
    let what = format!(
        "{}: volume {} of {} for {}, and what is on it",
        name(&agent),
        found.id,
        Scalar::Disk.show(found.disk_bytes),
        found.role
    );
    let operation = DestroyVolume { role: found.role.clone(), volume: found.id.clone() };
    if !args.order.dry_run {
        // Whoever would be refused is not asked.
        let rehearsed = OrderArgs { dry_run: true, ..args.order };
        operate(client, &agent, Operation::DestroyVolume(operation.clone()), &rehearsed).await?;
        confirmed(&format!("destroy for good {what}?"), args.yes, terminal)?;
    }
    operate(client, &agent, Operation::DestroyVolume(operation), &args.order).await?;
    Said { order: &args.order, undo: "" }.note(&format!("destroyed {what}"), terminal)?;
    Ok(Exit::Ok)
}

/// The volume that was meant, of those on the agent.
async fn the_one(client: &Client, agent: &AgentView, args: &VolumeDestroyArgs) -> Result<Volume, Stop> {
    let on_it = List { agent: agent.info.id.to_string(), ..List::default() };
    let mut found = volumes(client, on_it).await?.items;
    found.retain(|volume| {
        volume.id == args.volume && args.role.as_ref().is_none_or(|role| volume.role == *role)
    });
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let of = args.role.as_ref().map(|role| format!(" of role {role}")).unwrap_or_default();
            let message = format!("there is no volume {}{of} on {}", args.volume, name(agent));
            Err(Failure::not_found(message, "see `stoa get volumes`").into())
        }
        several => {
            let names: Vec<String> = several.iter().map(View::full_name).collect();
            let message = format!("{} may be any of {}", args.volume, names.join(", "));
            Err(Failure::usage(message, "say which with --role").into())
        }
    }
}

async fn operate(
    client: &Client,
    agent: &AgentView,
    operation: Operation,
    how: &OrderArgs,
) -> Result<u64, Stop> {
    let call = OperateAgent { agent: agent.info.id.clone(), operations: vec![operation] };
    order(client, Call::OperateAgent(call), how.dry_run).await
}

fn name(agent: &AgentView) -> String {
    format!("{} ({})", agent.info.hostname, agent.info.id)
}

/// What to type to reserve or give back this much.
fn command(verb: &str, agent: &AgentView, role: &Role, amount: &Amount) -> String {
    let mut text = format!("stoa {verb} {} --role {role}", agent.info.id);
    for (scalar, amount) in amount.scalars.iter() {
        text.push_str(&format!(" --{scalar} {}", typed(&scalar, amount)));
    }
    let ports = amount.range("ports");
    if !ports.is_empty() {
        text.push_str(&format!(" --ports {}", ports.to_string().trim_matches(['[', ']'])));
    }
    text
}
