//! `stoa auth`: who I am to the cluster, what I may, and what frameworks may.

use proto::caller::Caller;
use proto::operator::{Call, CanI, PrincipalView, ReplyKind, SetRights};
use proto::rights::Rights;
use serde::Serialize;

use super::{Said, order, other_answer, written};
use crate::args::{AuthVerb, CanIArgs, FormArgs, GrantArgs, OrderArgs, RevokeArgs};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::shapes::document;
use crate::sheet::Sheet;
use crate::table::{Cell, Table};
use crate::terminal::Terminal;

/// A principal in JSON.
#[derive(Debug, Serialize)]
struct Shape {
    principal: String,
    /// The roles it may take offers in.
    roles: Vec<String>,
    /// Whether somebody set them; else they are those of its kind.
    set: bool,
    may: Vec<String>,
}

#[derive(Debug, Serialize)]
struct VerdictShape {
    principal: String,
    verb: String,
    allowed: bool,
    why: String,
    help: String,
}

/// Asks or says what principals may.
pub async fn run(client: &Client, verb: &AuthVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    match verb {
        AuthVerb::Whoami(args) => whoami(client, args, terminal).await,
        AuthVerb::CanI(args) => can_i(client, args, terminal).await,
        AuthVerb::Principals(args) => principals(client, args, terminal).await,
        AuthVerb::Grant(args) => grant(client, args, terminal).await,
        AuthVerb::Revoke(args) => revoke(client, args, terminal).await,
    }
}

fn shape(view: &PrincipalView) -> Shape {
    Shape {
        principal: view.principal.to_string(),
        roles: view.rights.roles.iter().map(ToString::to_string).collect(),
        set: view.set,
        may: view.may.clone(),
    }
}

async fn whoami(client: &Client, args: &FormArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let ReplyKind::Principal(view) = client.ask(Call::WhoAmI).await?.kind else {
        return Err(other_answer("who I am").into());
    };
    let text = written(args.output, &document("Principal", shape(&view)), || {
        let mut sheet = Sheet::default();
        let roles = match (&view.principal, view.set) {
            (Caller::Framework(_), false) => format!("{} (as every framework of this name)", view.rights),
            _ => view.rights.to_string(),
        };
        sheet
            .fact("Principal", view.principal.to_string())
            .fact("Roles", roles)
            .fact("May", view.may.join(", "));
        sheet.render()
    })?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

async fn can_i(client: &Client, args: &CanIArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let asked = CanI {
        verb: args.verb.clone(),
        role: args.role.clone(),
        user: args.user.clone().unwrap_or_default(),
        owner: args.owner.clone().unwrap_or_default(),
        principal: args.principal.clone(),
    };
    let ReplyKind::Verdict(verdict) = client.ask(Call::CanI(asked)).await?.kind else {
        return Err(other_answer("whether somebody may").into());
    };
    let shape = VerdictShape {
        principal: verdict.principal,
        verb: args.verb.clone(),
        allowed: verdict.allowed,
        why: verdict.why.clone(),
        help: verdict.help.clone(),
    };
    let text = written(args.output, &document("Verdict", shape), || {
        if verdict.allowed { "yes\n".to_owned() } else { "no\n".to_owned() }
    })?;
    terminal.print(&text)?;
    if verdict.allowed {
        return Ok(Exit::Ok);
    }
    if args.output == crate::args::Form::Text {
        terminal.note(&crate::escape::escaped(&format!("{}; {}", verdict.why, verdict.help)));
    }
    Ok(Exit::Bad)
}

async fn known(client: &Client) -> Result<Vec<PrincipalView>, Stop> {
    match client.ask(Call::Principals).await?.kind {
        ReplyKind::Principals(all) => Ok(all),
        _ => Err(other_answer("principals").into()),
    }
}

async fn principals(client: &Client, args: &FormArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    #[derive(Debug, Serialize)]
    struct List {
        items: Vec<Shape>,
    }
    let all = known(client).await?;
    if all.is_empty() && args.output == crate::args::Form::Text {
        terminal.note("nobody was granted anything: frameworks take offers in default and in their own name");
        return Ok(Exit::Ok);
    }
    let list = List { items: all.iter().map(shape).collect() };
    let colours = terminal.colours;
    let text = written(args.output, &document("PrincipalList", list), || {
        let mut table = Table::new(vec!["PRINCIPAL", "ROLES"]);
        for view in &all {
            table.push(vec![Cell::new(view.principal.to_string()), Cell::new(view.rights.to_string())]);
        }
        table.render(colours)
    })?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

async fn grant(client: &Client, args: &GrantArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let rights = Rights { roles: args.roles.clone() };
    set(client, &args.principal, Some(rights), &args.order, terminal).await
}

async fn revoke(client: &Client, args: &RevokeArgs, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    set(client, &args.principal, None, &args.order, terminal).await
}

async fn set(
    client: &Client,
    principal: &Caller,
    rights: Option<Rights>,
    how: &OrderArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let before = known(client).await?.into_iter().find(|view| view.principal == *principal);
    let call = SetRights { principal: principal.clone(), rights: rights.clone() };
    order(client, Call::SetRights(call), how.dry_run).await?;
    let in_words = |rights: Option<&Rights>| match rights {
        Some(rights) => rights.to_string(),
        None => format!("{}, as every framework of its name", Rights::of_kind(principal)),
    };
    let was = before.map(|view| view.rights);
    let undo = match &was {
        Some(rights) => command(principal, rights),
        None => format!("stoa auth revoke {principal}"),
    };
    let (now, was) = (in_words(rights.as_ref()), in_words(was.as_ref()));
    Said { order: how, undo: &undo }
        .note(&format!("{principal}: takes offers in {now}; was {was}"), terminal)?;
    Ok(Exit::Ok)
}

/// What to type for a principal to have these rights.
fn command(principal: &Caller, rights: &Rights) -> String {
    let roles = rights.roles.iter().map(|pattern| match pattern.to_string() {
        // A shell would read it.
        text if text.contains('*') => format!(" --role '{text}'"),
        text => format!(" --role {text}"),
    });
    format!("stoa auth grant {principal}{}", roles.collect::<String>())
}
