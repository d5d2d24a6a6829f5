//! `stoa token create`: what lets somebody join.

use proto::operator::{Call, CreateToken, ReplyKind, Token, TokenKind};
use proto::rights::Rights;
use serde::Serialize;

use super::{Said, order, other_answer, written};
use crate::args::{Form, TokenArgs, TokenFor, TokenVerb};
use crate::client::Client;
use crate::duration::show_duration;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::shapes::document;
use crate::terminal::Terminal;

#[derive(Debug, Serialize)]
struct Shape {
    token: String,
    expires_ms: u64,
    uses: u32,
    /// What its use lets a framework take offers in; null: what it may already.
    roles: Option<Vec<String>>,
}

/// Makes a token. It alone is on stdout, so that it can be piped; what it is for is said beside it.
pub async fn run(client: &Client, verb: &TokenVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let TokenVerb::Create(args) = verb;
    let (kind, name) = whom(args);
    if kind != TokenKind::Framework && !args.roles.is_empty() {
        return Err(Failure::usage(
            "--role is for the tokens of frameworks",
            "people may do all that operators may, and agents take no offers",
        )
        .into());
    }
    let rights = (!args.roles.is_empty()).then(|| Rights { roles: args.roles.clone() });
    let call = Call::CreateToken(CreateToken {
        kind,
        ttl: args.ttl,
        uses: args.uses,
        name: name.clone(),
        rights: rights.clone(),
    });
    let what = in_words(args, kind, &name, rights.as_ref());
    if args.order.dry_run {
        order(client, call, true).await?;
        Said { order: &args.order, undo: "" }.note(&what, terminal)?;
        return Ok(Exit::Ok);
    }
    let ReplyKind::Token(token) = client.ask(call).await?.kind else {
        return Err(other_answer("a token").into());
    };
    let Token { token, expires_ms } = token;
    let roles = rights.map(|rights| rights.roles.iter().map(ToString::to_string).collect());
    let shape = Shape { token: token.clone(), expires_ms, uses: args.uses, roles };
    let text = written(args.order.output, &document("Token", shape), || format!("{token}\n"))?;
    terminal.print(&text)?;
    if args.order.output == Form::Text {
        terminal.note(&format!("{what}; it is not shown again"));
    }
    Ok(Exit::Ok)
}

fn in_words(args: &TokenArgs, kind: TokenKind, name: &str, rights: Option<&Rights>) -> String {
    let whom = match (kind, rights) {
        (TokenKind::Agent, _) => "an agent".to_owned(),
        (TokenKind::Framework, Some(rights)) => {
            format!("the framework {name} join and take offers in {rights}")
        }
        (TokenKind::Framework, None) => format!("the framework {name}"),
        (TokenKind::Master, _) => format!("the master {name}"),
        (TokenKind::User, _) => format!("the user {name}"),
    };
    let join = if rights.is_some() { "" } else { " join" };
    let times = if args.uses == 1 { "once".to_owned() } else { format!("{} times", args.uses) };
    format!("lets {whom}{join}, {times}, within {}", show_duration(args.ttl))
}

/// For what, and for whom.
fn whom(args: &TokenArgs) -> (TokenKind, String) {
    let name = || args.name.clone().unwrap_or_default();
    match (args.kind, &args.framework) {
        (Some(TokenFor::Agent), _) => (TokenKind::Agent, name()),
        (Some(TokenFor::Framework), _) => (TokenKind::Framework, name()),
        (Some(TokenFor::Master), _) => (TokenKind::Master, name()),
        (Some(TokenFor::User), _) => (TokenKind::User, name()),
        (None, Some(name)) => (TokenKind::Framework, name.clone()),
        (None, None) => (TokenKind::Agent, String::new()),
    }
}
