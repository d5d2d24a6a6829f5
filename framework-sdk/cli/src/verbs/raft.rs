//! `stoa raft status`: who the masters are, and who leads.

use proto::operator::{Call, MemberView, Raft, Reply, ReplyKind};
use proto::roster::Standing;
use serde::Serialize;

use super::{masters, other_answer, written};
use crate::args::{Form, RaftVerb};
use crate::client::Client;
use crate::escape::escaped;
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
    /// What the change of masters that is under way waits for; null if none is.
    change: Option<String>,
    /// The lowest number that no master has had.
    next_id: u64,
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
    /// votes, joins or leaves
    standing: &'static str,
}

/// Shows the group of masters.
pub async fn run(client: &Client, verb: &RaftVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let args = match verb {
        RaftVerb::Status(args) => args,
        RaftVerb::Add(args) => return masters::add(client, args, terminal).await,
        RaftVerb::Remove(args) => return masters::remove(client, args, terminal).await,
        RaftVerb::Replace(args) => return masters::replace(client, args, terminal).await,
        RaftVerb::Cancel(args) => return masters::cancel(client, args, terminal).await,
        RaftVerb::Transfer(args) => return masters::transfer(client, args, terminal).await,
    };
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
        change: Some(raft.change.clone()).filter(|change| !change.is_empty()),
        next_id: raft.next_id,
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
        standing: view.standing.as_str(),
    }
}

fn text(raft: &Raft, colours: bool) -> String {
    let known = |number: u64| if number > 0 { number.to_string() } else { String::new() };
    let mut table = Table::new(vec!["ID", "ADDRESS", "ROLE", "HEARD", "STORED", "PID"]);
    for member in &raft.members {
        table.push(vec![
            Cell::new(member.id.to_string()),
            Cell::new(&member.address),
            role(member),
            if member.alive { Cell::new("yes") } else { Cell::toned("no", Tone::Bad) },
            Cell::new(known(member.matched)),
            Cell::new(known(u64::from(member.pid))),
        ]);
    }
    let change = match raft.change.as_str() {
        "" => String::new(),
        change => format!("change under way: {}\n", escaped(change)),
    };
    format!("term {}, applied {}\n{change}{}", raft.term, raft.applied, table.render(colours))
}

fn role(member: &MemberView) -> Cell {
    match (member.leader, member.standing) {
        (true, Standing::Votes | Standing::Joins) => Cell::toned("leader", Tone::Good),
        (true, Standing::Leaves) => Cell::toned("leader, leaving", Tone::Good),
        (false, Standing::Votes) => Cell::new("follower"),
        (false, Standing::Joins) => Cell::new("joining"),
        (false, Standing::Leaves) => Cell::new("leaving"),
    }
}
