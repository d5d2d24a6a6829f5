//! `stoa raft status`: who the masters are, and who leads.

use proto::operator::{Call, MemberView, Raft, Reply, ReplyKind};
use serde::Serialize;

use super::{other_answer, written};
use crate::args::{Form, RaftVerb};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::shapes::document;
use crate::table::{Cell, Table, Tone};
use crate::terminal::Terminal;

#[derive(Debug, Serialize)]
struct Shape {
    as_of: u64,
    from_leader: bool,
    term: u64,
    applied: u64,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: u64,
    address: String,
    /// Null when unknown.
    pid: Option<u32>,
    leader: bool,
    alive: bool,
    /// Null when unknown.
    matched: Option<u64>,
}

/// Shows the group of masters.
pub async fn run(client: &Client, verb: &RaftVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let RaftVerb::Status(args) = verb;
    let reply = client.ask(if args.stale { Call::RaftHere } else { Call::Raft }).await?;
    if args.stale {
        super::say_as_of(reply.as_of, reply.from_leader, terminal);
    }
    let text = render(reply, args.output, terminal.colours)?;
    terminal.print(&text)?;
    Ok(Exit::Ok)
}

/// The answer in this form.
pub fn render(reply: Reply, form: Form, colours: bool) -> Result<String, Stop> {
    let ReplyKind::Raft(raft) = reply.kind else {
        return Err(other_answer("the group of masters").into());
    };
    let shape = Shape {
        as_of: reply.as_of,
        from_leader: reply.from_leader,
        term: raft.term,
        applied: raft.applied,
        members: raft.members.iter().map(member).collect(),
    };
    written(form, &document("RaftStatus", shape), || text(&raft, colours))
}

fn member(view: &MemberView) -> Member {
    Member {
        id: view.id.0,
        address: view.address.clone(),
        pid: (view.pid > 0).then_some(view.pid),
        leader: view.leader,
        alive: view.alive,
        matched: (view.matched > 0).then_some(view.matched),
    }
}

fn text(raft: &Raft, colours: bool) -> String {
    let known = |number: u64| if number > 0 { number.to_string() } else { String::new() };
    let mut table = Table::new(vec!["ID", "ADDRESS", "ROLE", "HEARD", "STORED", "PID"]);
    for member in &raft.members {
        table.push(vec![
            Cell::new(member.id.to_string()),
            Cell::new(&member.address),
            if member.leader { Cell::toned("leader", Tone::Good) } else { Cell::new("follower") },
            if member.alive { Cell::new("yes") } else { Cell::toned("no", Tone::Bad) },
            Cell::new(known(member.matched)),
            Cell::new(known(u64::from(member.pid))),
        ]);
    }
    format!("term {}, applied {}\n{}", raft.term, raft.applied, table.render(colours))
}
