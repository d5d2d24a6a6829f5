//! Secrets: set and removed by operators, named by tasks. What they hold is encrypted wherever this crate sees it.

use master_registry::{Effect, Registry};
use proto::caller::Caller;
use proto::log::{Entry, SecretRemoved, SecretSet};
use proto::operator::{RemoveSecret, ReplyKind};
use proto::refusal::{Code, Refusal};
use proto::role::Role;
use proto::secret::{SECRET_BYTES_MAX, SecretFile, TASK_SECRET_BYTES_MAX};
use proto::task::{StatusReason, TaskState};

use crate::batch::Pending;
use crate::desk::Desk;
use crate::output::Output;

/// What follows from an order to set one.
pub(crate) fn set(d: &Desk<'_>, caller: &Caller, call: SecretSet) -> Result<Entry, Refusal> {
    if !(1..=SECRET_BYTES_MAX as u64).contains(&call.size_bytes) {
        let message = match call.size_bytes {
            0 => "value is empty".to_owned(),
            bytes => format!("value has {bytes} bytes"),
        };
        let help =
            format!("a secret holds 1 to {SECRET_BYTES_MAX} bytes; bring what is larger as an artifact");
        return Err(Refusal::new(Code::Invalid, message).with_help(help));
    }
    let key = (call.role.clone(), call.name.clone());
    d.registry.room_for_secret(&key, call.ciphertext.len()).map_err(no_room)?;
    Ok(Entry::SecretSet(SecretSet { by: caller.to_string(), ..call }))
}

fn no_room(why: String) -> Refusal {
    Refusal::new(Code::TooMuch, why)
        .with_help("remove some with `stoa secret rm`; `stoa secret get` lists them")
}

/// What follows from an order to remove one.
pub(crate) fn remove(d: &Desk<'_>, caller: &Caller, call: RemoveSecret) -> Result<Entry, Refusal> {
    let RemoveSecret { role, name } = call;
    match d.registry.secrets().contains_key(&(role.clone(), name.clone())) {
        true => Ok(Entry::SecretRemoved(SecretRemoved { role, name, by: caller.to_string() })),
        false => Err(not_there(&format!("there is no secret {name} in role {role}"))),
    }
}

fn not_there(message: &str) -> Refusal {
    Refusal::new(Code::NotFound, message).with_help("`stoa secret get` lists what there is")
}

/// The second half of both: only now it is known whether there was room, or anything to remove.
pub(crate) fn settled(d: &mut Desk<'_>, index: u64, entry: &Entry, pending: &Pending, effect: &Effect) {
    d.out.push(Output::Secrets(d.registry.secrets().clone()));
    let Pending::Reply { ticket } = pending else { return };
    let kind = match (effect, entry) {
        (Effect::Nothing, Entry::SecretSet(_)) => {
            ReplyKind::Refused(no_room("another secret has taken the last room".to_owned()))
        }
        (Effect::Nothing, _) => ReplyKind::Refused(not_there("the secret was removed by somebody else")),
        (_, _) => ReplyKind::Done(index),
    };
    d.reply(*ticket, kind);
}

/// Whether a task in this role can be given the secrets that it names. One that is not there may be set at any time: so the same
/// task may be tried again.
pub(crate) fn known(
    registry: &Registry,
    role: &Role,
    files: &[SecretFile],
) -> Result<(), (TaskState, StatusReason, String)> {
    if let Some(missing) = registry.unknown_secrets(role, files).first() {
        let why = format!(
            "command.secrets names {missing}, and there is no such secret in role {role} or above it; set it with `stoa \
             secret set {missing} --role {role}`"
        );
        return Err((TaskState::Dropped, StatusReason::SecretUnknown, why));
    }
    let known = files.iter().filter_map(|file| registry.secret_for(role, &file.name));
    let bytes: u64 = known.map(|record| record.size_bytes).sum();
    if bytes > TASK_SECRET_BYTES_MAX {
        let why = format!(
            "command.secrets hold {bytes} bytes together; those of one task hold at most {TASK_SECRET_BYTES_MAX}"
        );
        return Err((TaskState::Error, StatusReason::TaskInvalid, why));
    }
    Ok(())
}
