//! `stoa raft add`, `remove`, `replace`, `cancel` and `transfer`: who the masters are, and which of them leads.

use std::time::Duration;

use proto::id::MasterId;
use proto::operator::{
    Call, CancelMasters, ChangeMasters, CreateToken, MemberView, Raft, ReplyKind, Token, TokenKind,
    TransferLead,
};
use proto::roster::{Master, Standing};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Said, order, other_answer, written};
use crate::args::{
    AddArgs, CancelArgs, ComesArgs, Form, OrderArgs, RemoveArgs, ReplaceArgs, StaysArgs, TransferArgs,
};
use crate::client::{AskError, Client};
use crate::duration::show_duration;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::terminal::Terminal;

/// How long another one may take to lead: a transfer takes some milliseconds, an election instead of it half a second.
const TRANSFER_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at the group.
const PAUSE: Duration = Duration::from_millis(200);

/// A master that comes, in JSON.
#[derive(Debug, Serialize)]
struct Shape<'a> {
    dry_run: bool,
    what: &'a str,
    undo: Option<&'a str>,
    id: u64,
    address: &'a str,
    /// What it joins with; null if nothing was done.
    token: Option<&'a str>,
    /// What to type on its machine; null if nothing was done.
    command: Option<&'a str>,
}

/// Lets a master come.
pub async fn add(client: &Client, args: &AddArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let group = group(client).await?;
    let coming = Coming { address: &args.address, leaves: None, comes: &args.comes, order: &args.order };
    coming.order(client, &group, terminal).await?;
    stay(client, args.stays, &args.order, terminal).await
}

/// Lets a master come and another leave.
pub async fn replace(client: &Client, args: &ReplaceArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let group = group(client).await?;
    let leaves = member(&group, args.leaves)?;
    let address = args.address.as_deref().unwrap_or(&leaves.address);
    if address == leaves.address && leaves.alive {
        let message = format!("master {} is heard at {address}, where the new one is to be", leaves.id);
        let hint = "stop it first, and move its data directory away; or name another HOST:PORT";
        return Err(Failure::new(Exit::Conflict, "conflict", message, hint).into());
    }
    let coming = Coming { address, leaves: Some(leaves), comes: &args.comes, order: &args.order };
    coming.order(client, &group, terminal).await?;
    stay(client, args.stays, &args.order, terminal).await
}

struct Coming<'a> {
    address: &'a str,
    leaves: Option<&'a MemberView>,
    comes: &'a ComesArgs,
    order: &'a OrderArgs,
}

impl Coming<'_> {
    async fn order(&self, client: &Client, group: &Raft, terminal: &mut Terminal<'_>) -> Result<(), Stop> {
        let id = MasterId(self.comes.id.unwrap_or(group.next_id));
        let address = self.address;
        let add = vec![Master { id, address: address.to_owned(), standing: Standing::Joins }];
        let remove = self.leaves.iter().map(|master| master.id).collect();
        order(client, Call::ChangeMasters(ChangeMasters { add, remove }), self.order.dry_run).await?;
        let what = match self.leaves {
            None => format!("master {id} comes at {address}; it votes when it has everything"),
            Some(old) => {
                format!("master {id} comes at {address}, and master {} goes when it has everything", old.id)
            }
        };
        let undo = "stoa raft cancel";
        let token = match self.order.dry_run {
            true => None,
            false => Some(token(client, id, self.comes.ttl).await?),
        };
        let command = token.as_deref().map(|token| command(group, id, address, token));
        if self.order.output == Form::Text {
            Said { order: self.order, undo }.note(&what, terminal)?;
            if let Some(command) = &command {
                let within = show_duration(self.comes.ttl);
                terminal.note(&escaped(&format!("on its machine, within {within}:")));
                terminal.print(&format!("{}\n", escaped(command)))?;
            }
            return Ok(());
        }
        let shape = Shape {
            dry_run: self.order.dry_run,
            what: &what,
            undo: Some(undo),
            id: id.0,
            address,
            token: token.as_deref(),
            command: command.as_deref(),
        };
        let text = written(self.order.output, &document("ComingMaster", shape), String::new)?;
        terminal.print(&text)?;
        Ok(())
    }
}

/// What to type where the new one is to be.
fn command(group: &Raft, id: MasterId, address: &str, token: &str) -> String {
    let stays = |member: &&MemberView| member.standing == Standing::Votes && member.address != address;
    let others: String = group
        .members
        .iter()
        .filter(stays)
        .map(|member| format!(" --member {}={}", member.id, member.address))
        .collect();
    format!(
        "stoa master --id {id} --data-dir DIR --listen {address} --member {id}={address}{others} --join {token}"
    )
}

async fn token(client: &Client, id: MasterId, ttl: Duration) -> Result<String, Stop> {
    let call = CreateToken { kind: TokenKind::Master, ttl, uses: 1, name: id.to_string(), rights: None };
    let ReplyKind::Token(Token { token, .. }) = client.ask(Call::CreateToken(call)).await?.kind else {
        return Err(other_answer("a token").into());
    };
    Ok(token)
}

/// Lets a master leave.
pub async fn remove(client: &Client, args: &RemoveArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let group = group(client).await?;
    let known = group.members.iter().find(|member| member.id.0 == args.id);
    let change = ChangeMasters { add: Vec::new(), remove: vec![MasterId(args.id)] };
    order(client, Call::ChangeMasters(change), args.order.dry_run).await?;
    let leads =
        if known.is_some_and(|member| member.leader) { "; it leads, and hands over first" } else { "" };
    let address = known.map(|member| member.address.as_str()).unwrap_or_default();
    let undo = "stoa raft cancel";
    let what = format!(
        "master {} ({address}) goes, and stops when it is gone{leads}; then only a new one, by `stoa raft add`, comes there",
        args.id
    );
    Said { order: &args.order, undo }.note(&what, terminal)?;
    stay(client, args.stays, &args.order, terminal).await
}

/// Takes a change back.
pub async fn cancel(client: &Client, args: &CancelArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let change = group(client).await?.change;
    order(client, Call::CancelMasters(CancelMasters), args.order.dry_run).await?;
    let what = format!("taken back: {change}");
    Said { order: &args.order, undo: "" }.note(&what, terminal)?;
    stay(client, args.stays, &args.order, terminal).await
}

/// Lets another master lead.
pub async fn transfer(
    client: &Client,
    args: &TransferArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let before = leader(&group(client).await?);
    let to = args.to.unwrap_or(0);
    order(client, Call::TransferLead(TransferLead { to }), args.order.dry_run).await?;
    let undo = before.map(|id| format!("stoa raft transfer {id}")).unwrap_or_default();
    if args.order.dry_run {
        let whom = args.to.map_or_else(|| "another master".to_owned(), |id| format!("master {id}"));
        Said { order: &args.order, undo: &undo }.note(&format!("{whom} would lead"), terminal)?;
        return Ok(Exit::Ok);
    }
    let until = Instant::now() + TRANSFER_LIMIT;
    loop {
        // Between two leaders nobody leads.
        let now = match group(client).await {
            Ok(group) => leader(&group),
            Err(_) => None,
        };
        let there = now.filter(|now| if to == 0 { Some(*now) != before } else { now.0 == to });
        if let Some(leader) = there {
            Said { order: &args.order, undo: &undo }.note(&format!("master {leader} leads"), terminal)?;
            return Ok(Exit::Ok);
        }
        if Instant::now() >= until {
            let message = format!("no other master leads after {}", show_duration(TRANSFER_LIMIT));
            return Err(Failure::unavailable(message, "look at `stoa raft status`, and try again").into());
        }
        sleep(PAUSE).await;
    }
}

fn leader(group: &Raft) -> Option<MasterId> {
    group.members.iter().find(|member| member.leader).map(|member| member.id)
}

async fn group(client: &Client) -> Result<Raft, Stop> {
    match client.ask(Call::Raft).await?.kind {
        ReplyKind::Raft(raft) => Ok(raft),
        _ => Err(other_answer("the group of masters").into()),
    }
}

fn member(group: &Raft, id: u64) -> Result<&MemberView, Stop> {
    group.members.iter().find(|member| member.id.0 == id).ok_or_else(|| {
        let known: Vec<String> = group.members.iter().map(|member| member.id.to_string()).collect();
        let message = format!("master {id} is not one of them: they are {}", known.join(", "));
        Failure::not_found(message, "`stoa raft status` lists them").into()
    })
}

/// Waits until the change is through, and says what it waits for whenever that is something else.
async fn stay(
    client: &Client,
    stays: StaysArgs,
    order: &OrderArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    if !stays.wait || order.dry_run {
        return Ok(Exit::Ok);
    }
    let until = stays.at_most.map(|at_most| Instant::now() + at_most);
    let mut said = String::new();
    loop {
        let change = match client.ask(Call::Raft).await {
            Ok(reply) => match reply.kind {
                ReplyKind::Raft(raft) => raft.change,
                _ => return Err(other_answer("the group of masters").into()),
            },
            // A leader that leaves hands over, and may be asked in that moment.
            Err(AskError::NoLeader(_) | AskError::TooLate { .. } | AskError::Unreachable(_)) => said.clone(),
            Err(error) => return Err(error.into()),
        };
        if change.is_empty() {
            terminal.note("the change is through");
            return Ok(Exit::Ok);
        }
        if change != said {
            terminal.note(&escaped(&change));
            said = change;
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            let message = format!("not through yet: {said}");
            let hint = "it goes on by itself: `stoa raft status`; `stoa raft cancel` takes it back";
            return Err(Failure::unavailable(message, hint).into());
        }
        sleep(PAUSE).await;
    }
}
