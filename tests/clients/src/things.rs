//! `Thing`: something that the registry keeps: how it is set, how it is read, and what an answer says of it.

use std::collections::BTreeMap;

use proto::caller::Caller;
use proto::id::SecretName;
use proto::operator::{
    Call, List, RemoveSecret, Reply, ReplyKind, SetQuota, SetRights, SetSecret, SetWeight,
};
use proto::quantities::Scalar;
use proto::quota::{Limits, Quota};
use proto::refusal::Code;
use proto::rights::{Rights, RolePattern};
use proto::role::{Role, Weight};
use proto::secret::Confidential;
use tests_history::object::Action;

/// Objects of each kind.
const OBJECTS: u64 = 12;
/// A secret holds at most so many bytes; how many it holds is what is read of it.
const SECRET_BYTES: u64 = 2_000;

/// Something that the registry keeps.
#[derive(Clone)]
pub enum Thing {
    /// The weight of a role.
    Weight(Role),
    /// Its limit of cpus.
    Quota(Role),
    /// The role that a principal may take offers in.
    Rights(Caller),
    /// How many bytes a secret holds.
    Secret(Role, SecretName),
}

fn role(path: &str) -> Result<Role, String> {
    Role::new(path).map_err(|bad| bad.to_string())
}

/// All there are.
pub fn things() -> Result<Vec<Thing>, String> {
    let mut things = Vec::new();
    for number in 0..OBJECTS {
        things.push(Thing::Weight(role(&format!("weight-{number:02}"))?));
        things.push(Thing::Quota(role(&format!("quota-{number:02}"))?));
        things.push(Thing::Rights(Caller::Framework(format!("rights-{number:02}"))));
        let name = SecretName::new(&format!("secret-{number:02}")).map_err(|bad| bad.to_string())?;
        things.push(Thing::Secret(role("secrets")?, name));
    }
    Ok(things)
}

// === impl Thing ===

impl Thing {
    /// By which it is told apart.
    pub fn name(&self) -> String {
        match self {
            Thing::Weight(role) | Thing::Quota(role) => role.to_string(),
            Thing::Rights(principal) => principal.to_string(),
            Thing::Secret(role, name) => format!("{role}/{name}"),
        }
    }

    /// The question.
    pub fn read(&self) -> Call {
        match self {
            Thing::Weight(role) | Thing::Quota(role) => {
                Call::Roles(List { called: vec![role.to_string()], ..List::default() })
            }
            Thing::Rights(_) => Call::Principals,
            Thing::Secret(..) => Call::Secrets,
        }
    }

    /// The order to remove it, if that can be ordered.
    pub fn remove(&self) -> Option<Call> {
        match self {
            Thing::Secret(role, name) => {
                Some(Call::RemoveSecret(RemoveSecret { role: role.clone(), name: name.clone() }))
            }
            Thing::Weight(_) | Thing::Quota(_) | Thing::Rights(_) => None,
        }
    }

    /// The order to set it, and what is read of it afterwards.
    pub fn set(&self, number: u64) -> (Call, u64) {
        match self {
            Thing::Weight(role) => {
                let milli = u32::try_from(number).unwrap_or(u32::MAX);
                let weight = Weight::from_milli(milli).unwrap_or_default();
                (Call::SetWeight(SetWeight { role: role.clone(), weight }), u64::from(weight.milli()))
            }
            Thing::Quota(role) => {
                let limits = Limits(BTreeMap::from([(Scalar::Cpus, number)]));
                let quota = Quota { limits, ..Quota::default() };
                (Call::SetQuota(SetQuota { role: role.clone(), quota }), number)
            }
            Thing::Rights(principal) => {
                let one = Role::new(&number.to_string()).unwrap_or_else(|_| Role::default_role());
                let rights = Some(Rights { roles: vec![RolePattern::One(one)] });
                (Call::SetRights(SetRights { principal: principal.clone(), rights }), number)
            }
            Thing::Secret(role, name) => {
                let bytes = 1 + number % SECRET_BYTES;
                let value = Confidential::new(vec![b's'; usize::try_from(bytes).unwrap_or(1)]);
                (Call::SetSecret(SetSecret { role: role.clone(), name: name.clone(), value }), bytes)
            }
        }
    }

    /// What was done, by its answer; `None`: a read that was answered as of some time ago, and says so.
    pub fn action(&self, call: &Call, reply: Reply) -> Result<Option<Action>, String> {
        let Reply { from_leader, kind, .. } = reply;
        let read =
            |value: u64, version: Option<u64>| Ok(from_leader.then_some(Action::Read { value, version }));
        match (self, kind) {
            (_, ReplyKind::Done(_)) => match call {
                Call::RemoveSecret(_) => Ok(Some(Action::Remove(Some(true)))),
                Call::SetWeight(set) => Ok(Some(Action::Set(u64::from(set.weight.milli())))),
                Call::SetQuota(set) => Ok(Some(Action::Set(limit(&set.quota)))),
                Call::SetRights(set) => Ok(Some(Action::Set(granted(set.rights.as_ref())))),
                Call::SetSecret(set) => Ok(Some(Action::Set(set.value.reveal().len() as u64))),
                other => Err(format!("{other:?} was answered as if it were an order")),
            },
            (Thing::Secret(..), ReplyKind::Refused(refusal)) if refusal.code == Code::NotFound => {
                Ok(Some(Action::Remove(Some(false))))
            }
            (Thing::Weight(role), ReplyKind::Roles(roles)) => {
                let view = roles.iter().find(|view| view.role == *role);
                let milli = view.map_or(1000, |view| view.weight.milli());
                read(if milli == 1000 { 0 } else { u64::from(milli) }, None)
            }
            (Thing::Quota(role), ReplyKind::Roles(roles)) => {
                let view = roles.iter().find(|view| view.role == *role);
                read(view.map_or(0, |view| limit(&view.quota)), None)
            }
            (Thing::Rights(principal), ReplyKind::Principals(all)) => {
                let view = all.iter().find(|view| view.principal == *principal);
                read(granted(view.map(|view| &view.rights)), None)
            }
            (Thing::Secret(role, name), ReplyKind::Secrets(all)) => {
                let view = all.iter().find(|view| view.role == *role && view.name == *name);
                let (bytes, version) = view.map_or((0, 0), |view| (view.size_bytes, view.version));
                read(bytes, Some(version))
            }
            (_, other) => Err(format!("{call:?} was answered with {other:?}")),
        }
    }
}

fn limit(quota: &Quota) -> u64 {
    quota.limits.0.get(&Scalar::Cpus).copied().unwrap_or(0)
}

/// The number in the only role that was granted.
fn granted(rights: Option<&Rights>) -> u64 {
    match rights.and_then(|rights| rights.roles.first()) {
        Some(RolePattern::One(role)) => role.as_str().parse().unwrap_or(0),
        Some(RolePattern::Any | RolePattern::Below(_)) | None => 0,
    }
}
