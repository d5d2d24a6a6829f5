//! An operator wants something changed.

use master_registry::Effect;
use proto::caller::Caller;
use proto::id::FrameworkId;
use proto::log::{Entry, KillWanted, QuotaSet, RightsSet, TokenCreated, WeightSet};
use proto::operator::{KillTask, ReplyKind, TokenKind};
use proto::refusal::{Code, Refusal};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::input::{OperatorCall, Ticket};
use crate::output::{Note, Output};
use crate::validate;
use crate::verbs::{drain, earmark, quota, rights, secrets};

/// The first half. The switchboard has asked whether the caller may. A refusal says how things stand, and who leads as far as it
/// knows may have slept while others changed them: unless it is `sure`, because a majority has confirmed since how far the log is,
/// the order is given back to be asked again then. What goes into the log needs no such word.
pub(crate) fn operate(
    d: &mut Desk<'_>,
    ticket: Ticket,
    caller: &Caller,
    call: OperatorCall,
    sure: bool,
) -> Option<OperatorCall> {
    let again = (!sure).then(|| call.clone());
    let (dry, call) = match call {
        OperatorCall::DryRun(order) => (true, *order),
        order => (false, order),
    };
    if let (false, OperatorCall::Explain(what)) = (dry, &call) {
        let kind = super::explain::explain(d, what).unwrap_or_else(ReplyKind::Refused);
        d.reply(ticket, kind);
        return None;
    }
    let planned = match call {
        OperatorCall::OperateAgent(call) => earmark::plan(d, &call).map(|plan| match dry {
            true => plan.entry(caller),
            false => earmark::book(d, plan, caller),
        }),
        call => entry(d, caller, call),
    };
    if again.is_some() && (dry || planned.is_err()) {
        return again;
    }
    match planned {
        Ok(_) if dry => d.reply(ticket, ReplyKind::Done(0)),
        Ok(entry) => d.batch.propose(entry, Pending::Reply { ticket }),
        Err(refusal) => {
            let note = Note::Refused {
                caller: caller.to_string(),
                code: refusal.code,
                message: refusal.message.clone(),
            };
            d.out.push(Output::Note(note));
            d.reply(ticket, ReplyKind::Refused(refusal));
        }
    }
    None
}

/// What an order changes, if it can be carried out as things stand.
fn entry(d: &Desk<'_>, caller: &Caller, call: OperatorCall) -> Result<Entry, Refusal> {
    Ok(match call {
        OperatorCall::KillTask(call) => kill(d, call)?,
        OperatorCall::SetQuota(call) => {
            quota::check(d.registry, &call.role, &call.quota)?;
            Entry::QuotaSet(QuotaSet { role: call.role, quota: call.quota })
        }
        OperatorCall::SetWeight(call) => Entry::WeightSet(WeightSet { role: call.role, weight: call.weight }),
        OperatorCall::TeardownFramework(call) => match d.registry.framework(&call.framework) {
            Some(_) => Entry::FrameworkRemoved(call.framework),
            None => return Err(not_found("framework", call.framework.as_str())),
        },
        OperatorCall::MarkAgentGone(call) => match d.registry.agent(&call.agent) {
            Some(_) => Entry::AgentGone(call.agent),
            None => return Err(not_found("agent", call.agent.as_str())),
        },
        OperatorCall::DrainAgent(call) => drain::drain(d, caller, call)?,
        OperatorCall::ResumeAgent(call) => drain::resume(d, call.agent)?,
        OperatorCall::SetRights(call) => {
            rights::check(&call)?;
            Entry::RightsSet(RightsSet { principal: call.principal, rights: call.rights })
        }
        OperatorCall::SetSecret(call) => secrets::set(d, caller, call)?,
        OperatorCall::RemoveSecret(call) => secrets::remove(d, caller, call)?,
        OperatorCall::CreateToken(token) => {
            if token.uses == 0 || token.expires_ms <= d.at_ms() {
                return Err(Refusal::new(Code::Invalid, "a token needs a ttl and at least one use"));
            }
            if token.rights.is_some() && token.kind != TokenKind::Framework {
                let message = "rights are for tokens of frameworks; people may do all that operators may";
                return Err(Refusal::new(Code::Invalid, message));
            }
            rights::check_count(token.rights.as_ref().map_or(0, |rights| rights.roles.len()))?;
            Entry::TokenCreated(token)
        }
        OperatorCall::RedeemToken { id, secret_sha256, becomes } => {
            redeem(d, &id, &secret_sha256, &becomes)?;
            Entry::TokenUsed(id)
        }
        // The switchboard has answered the questions, what moves the books has a plan of its own, and a rehearsal of a
        // rehearsal is none.
        OperatorCall::Raft
        | OperatorCall::WhoAmI
        | OperatorCall::CanI(_)
        | OperatorCall::Principals
        | OperatorCall::Explain(_)
        | OperatorCall::OperateAgent(_)
        | OperatorCall::ChangeMasters(_)
        | OperatorCall::CancelMasters
        | OperatorCall::TransferLead(_)
        | OperatorCall::DryRun(_) => {
            return Err(Refusal::new(
                Code::Invalid,
                "dry_run is not an order; name one that changes something",
            ));
        }
    })
}

fn not_found(noun: &str, id: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no {noun} {id}"))
}

fn kill(d: &Desk<'_>, call: KillTask) -> Result<Entry, Refusal> {
    let matches: Vec<_> = d
        .registry
        .tasks()
        .filter(|task| task.info.id == call.task)
        .filter(|task| call.framework.is_empty() || names(d, &task.framework, &call.framework))
        .collect();
    match matches.as_slice() {
        [] => Err(not_found("running task", call.task.as_str())),
        [task] => {
            let grace = call.grace.unwrap_or(task.info.kill_grace);
            validate::kill_grace("grace", grace).map_err(|why| Refusal::new(Code::Invalid, why))?;
            let (framework, task) = (task.framework.clone(), task.info.id.clone());
            Ok(Entry::KillWanted(KillWanted { framework, task, grace }))
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

fn redeem(d: &Desk<'_>, id: &str, secret_sha256: &[u8], becomes: &Caller) -> Result<(), Refusal> {
    let token: &TokenCreated = d.registry.token(id).ok_or_else(bad_token)?;
    // Hashes of a random secret: comparing them leaks nothing about the secret itself.
    if token.secret_sha256 != secret_sha256 || token.expires_ms <= d.at_ms() {
        return Err(bad_token());
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
    // A token lets new agents in. Whoever holds one must not become an agent that is there already.
    if let Caller::Agent(agent) = becomes
        && d.registry.agent(agent).is_some()
    {
        let message = format!("there is an agent {agent} already; a token does not make anybody this agent");
        return Err(Refusal::new(Code::Conflict, message).with_help(
            "start the agent with the credentials it has, or with another id in a fresh work directory",
        ));
    }
    Ok(())
}

/// It is in the log that a token was used: whether it could still be used is known only now.
pub(crate) fn redeemed(d: &mut Desk<'_>, index: u64, pending: &Pending, effect: &Effect) {
    if let Effect::Granted(principal) = effect {
        rights::set(d, principal);
    }
    let Pending::Reply { ticket } = pending else { return };
    let kind = match effect {
        Effect::Nothing => ReplyKind::Refused(bad_token()),
        Effect::Done
        | Effect::Fenced(_)
        | Effect::Launched { .. }
        | Effect::Repeated(_)
        | Effect::OutOfSight(_)
        | Effect::Ended(_)
        | Effect::Granted(_)
        | Effect::ToKill(_) => ReplyKind::Done(index),
    };
    d.reply(*ticket, kind);
}

fn bad_token() -> Refusal {
    Refusal::new(Code::BadToken, "the token is unknown, used up or out of time")
}
