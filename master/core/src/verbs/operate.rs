//! An operator wants something changed.

use master_allocator::Change;
use proto::caller::Caller;
use proto::id::FrameworkId;
use proto::log::{Entry, QuotaSet, TokenCreated, WeightSet};
use proto::operator::{EventKind as Changed, KillTask, ReplyKind, TokenKind};
use proto::refusal::{Code, Refusal};
use proto::role::Role;

use crate::batch::Pending;
use crate::desk::Desk;
use crate::input::{OperatorCall, Ticket};
use crate::output::{Note, Output};
use crate::views;

/// The first half. The switchboard has asked whether the caller may.
pub(crate) fn operate(d: &mut Desk<'_>, ticket: Ticket, caller: &Caller, call: OperatorCall) {
    let outcome = match call {
        // The switchboard has answered it, since followers can.
        OperatorCall::Raft => return,
        OperatorCall::Explain(what) => {
            let reply = super::explain::explain(d, &what);
            return match reply {
                Ok(explanations) => d.reply(ticket, ReplyKind::Explain(explanations)),
                Err(refusal) => d.reply(ticket, ReplyKind::Refused(refusal)),
            };
        }
        OperatorCall::KillTask(call) => kill(d, ticket, call),
        OperatorCall::SetQuota(call) => {
            propose(d, ticket, Entry::QuotaSet(QuotaSet { role: call.role, quota: call.quota }))
        }
        OperatorCall::SetWeight(call) => {
            propose(d, ticket, Entry::WeightSet(WeightSet { role: call.role, weight: call.weight }))
        }
        OperatorCall::TeardownFramework(call) => match d.registry.framework(&call.framework) {
            Some(_) => propose(d, ticket, Entry::FrameworkRemoved(call.framework)),
            None => Err(not_found("framework", call.framework.as_str())),
        },
        OperatorCall::MarkAgentGone(call) => match d.registry.agent(&call.agent) {
            Some(_) => propose(d, ticket, Entry::AgentGone(call.agent)),
            None => Err(not_found("agent", call.agent.as_str())),
        },
        OperatorCall::CreateToken(token) => {
            if token.uses == 0 || token.expires_ms <= d.at_ms() {
                Err(Refusal::new(Code::Invalid, "a token needs a ttl and at least one use"))
            } else {
                propose(d, ticket, Entry::TokenCreated(token))
            }
        }
        OperatorCall::RedeemToken { id, secret_sha256, becomes } => {
            redeem(d, ticket, &id, &secret_sha256, &becomes)
        }
    };
    if let Err(refusal) = outcome {
        let note = Note::Refused {
            caller: caller.to_string(),
            code: refusal.code,
            message: refusal.message.clone(),
        };
        d.out.push(Output::Note(note));
        d.reply(ticket, ReplyKind::Refused(refusal));
    }
}

fn propose(d: &mut Desk<'_>, ticket: Ticket, entry: Entry) -> Result<(), Refusal> {
    d.batch.propose(entry, Pending::Reply { ticket });
    Ok(())
}

fn not_found(noun: &str, id: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no {noun} {id}"))
}

fn kill(d: &mut Desk<'_>, ticket: Ticket, call: KillTask) -> Result<(), Refusal> {
    let matches: Vec<_> = d
        .registry
        .tasks()
        .filter(|task| task.info.id == call.task)
        .filter(|task| call.framework.is_empty() || names(d, &task.framework, &call.framework))
        .collect();
    match matches.as_slice() {
        [] => Err(not_found("running task", call.task.as_str())),
        [task] => {
            let key = (task.framework.clone(), task.info.id.clone());
            let grace = call.grace.unwrap_or(task.info.kill_grace);
            super::kill::want(d, key, grace, Pending::Reply { ticket });
            Ok(())
        }
        many => {
            let owners: Vec<String> = many.iter().map(|task| task.framework.to_string()).collect();
            let message = format!("task {} runs in several frameworks: {}", call.task, owners.join(", "));
            Err(Refusal::new(Code::Conflict, message).with_help("name the framework with --framework"))
        }
    }
}

/// Whether a text names a framework, by id or by name.
pub(crate) fn names(d: &Desk<'_>, id: &FrameworkId, text: &str) -> bool {
    id.as_str() == text || d.registry.framework(id).is_some_and(|f| f.record.info.name == text)
}

fn redeem(
    d: &mut Desk<'_>,
    ticket: Ticket,
    id: &str,
    secret_sha256: &[u8],
    becomes: &Caller,
) -> Result<(), Refusal> {
    let bad = || Refusal::new(Code::BadToken, "the token is unknown, used up or out of time");
    let token: &TokenCreated = d.registry.token(id).ok_or_else(bad)?;
    // Hashes of a random secret: comparing them leaks nothing about the secret itself.
    if token.secret_sha256 != secret_sha256 || token.expires_ms <= d.at_ms() {
        return Err(bad());
    }
    let fits = match (token.kind, becomes) {
        (TokenKind::Agent, Caller::Agent(_)) => true,
        (TokenKind::Framework, Caller::Framework(name)) => *name == token.name,
        (TokenKind::Master, Caller::Master(id)) => id.to_string() == token.name,
        (TokenKind::User, Caller::User(name)) => *name == token.name,
        (TokenKind::Agent | TokenKind::Framework | TokenKind::Master | TokenKind::User, _) => false,
    };
    if !fits {
        return Err(Refusal::new(Code::Denied, format!("this token does not make anybody {becomes}")));
    }
    d.batch.propose(Entry::TokenUsed(id.to_owned()), Pending::Reply { ticket });
    Ok(())
}

/// The second half of what concerns roles.
pub(crate) fn role_set(d: &mut Desk<'_>, role: &Role) {
    d.change(Change::QuotaSet { role: role.clone(), quota: d.registry.quota(role) });
    d.change(Change::WeightSet { role: role.clone(), weight: d.registry.weight(role) });
    let view = views::role(d.registry, role);
    d.changed(Changed::RoleChanged(view));
}
