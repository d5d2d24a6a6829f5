//! `stoa token create`: what lets somebody join.

use proto::operator::{Call, CreateToken, ReplyKind, Token, TokenKind};
use serde::Serialize;

use super::{other_answer, written};
use crate::args::{Form, TokenArgs, TokenFor, TokenVerb};
use crate::client::Client;
use crate::duration::show_duration;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::shapes::document;
use crate::terminal::Terminal;

#[derive(Debug, Serialize)]
struct Shape {
    token: String,
    expires_ms: u64,
    uses: u32,
}

/// Makes a token. It alone is on stdout, so that it can be piped; what it is for is said beside it.
pub async fn run(client: &Client, verb: &TokenVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let TokenVerb::Create(args) = verb;
    let token = create(client, args).await?;
    let shape = Shape { token: token.token.clone(), expires_ms: token.expires_ms, uses: args.uses };
    let text = written(args.output, &document("Token", shape), || format!("{}\n", token.token))?;
    terminal.print(&text)?;
    if args.output == Form::Text {
        let whom = match whom(args) {
            (TokenKind::Agent, _) => "an agent".to_owned(),
            (TokenKind::Framework, name) => format!("the framework {name}"),
            (TokenKind::Master, name) => format!("the master {name}"),
            (TokenKind::User, name) => format!("the user {name}"),
        };
        let times = if args.uses == 1 { "once".to_owned() } else { format!("{} times", args.uses) };
        let ttl = show_duration(args.ttl);
        terminal.note(&format!("lets {whom} join, {times}, within {ttl}; it is not shown again"));
    }
    Ok(Exit::Ok)
}

async fn create(client: &Client, args: &TokenArgs) -> Result<Token, Stop> {
    let (kind, name) = whom(args);
    let call = Call::CreateToken(CreateToken { kind, ttl: args.ttl, uses: args.uses, name });
    let ReplyKind::Token(token) = client.ask(call).await?.kind else {
        return Err(other_answer("a token").into());
    };
    Ok(token)
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
