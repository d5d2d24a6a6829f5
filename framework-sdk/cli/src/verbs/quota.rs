//! `stoa quota` and `stoa weight`: what roles are guaranteed, may not pass, and how they share.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use proto::operator::{Call, List, RoleView, SetQuota, SetWeight};
use proto::quantities::{Quantities, Scalar, parse_bytes, parse_milli, show_milli};
use proto::quota::{Limits, Quota};
use proto::role::{Role, Weight};

use super::{Said, list, order};
use crate::args::{QuotaArgs, QuotaVerb, WeightVerb};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::terminal::Terminal;

/// `cpus=4,mem=8GiB`: amounts by name. Zero is an amount too: a limit of nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<Scalar, u64>);

// === impl Amounts ===

impl Amounts {
    fn guarantees(&self) -> Quantities {
        let mut all = Quantities::ZERO;
        for (scalar, amount) in &self.0 {
            all.set(scalar, *amount);
        }
        all
    }
}

impl FromStr for Amounts {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut amounts = BTreeMap::new();
        for part in text.split(',').map(str::trim) {
            let (name, amount) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not NAME=AMOUNT; write cpus=4,mem=8GiB"))?;
            let good_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
            if name.is_empty() || !name.chars().all(good_name) {
                return Err(format!("{name:?} is not the name of a resource; cpus, mem, disk and gpus are"));
            }
            let scalar = Scalar::named(name);
            let amount = match &scalar {
                Scalar::Cpus | Scalar::Custom(_) => parse_milli(amount).map_err(|bad| bad.to_string())?,
                Scalar::Mem | Scalar::Disk => parse_bytes(amount).map_err(|bad| bad.to_string())?,
                Scalar::Gpus => {
                    amount.parse().map_err(|_| format!("{amount:?} is not a whole number of gpus"))?
                }
            };
            if amounts.insert(scalar, amount).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(Amounts(amounts))
    }
}

impl fmt::Display for Amounts {
    /// As it can be typed again, exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.iter().map(|(scalar, amount)| format!("{scalar}={}", typed(scalar, *amount)));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

/// An amount as it can be typed again, exactly.
pub(super) fn typed(scalar: &Scalar, amount: u64) -> String {
    match scalar {
        Scalar::Cpus | Scalar::Custom(_) => show_milli(amount),
        Scalar::Mem | Scalar::Disk => exact_bytes(amount),
        Scalar::Gpus => amount.to_string(),
    }
}

fn exact_bytes(bytes: u64) -> String {
    let units = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// Sets or clears the quota of a role, and says how to undo it.
pub async fn run(client: &Client, verb: &QuotaVerb, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
    let (role, quota, how) = match verb {
        QuotaVerb::Set(QuotaArgs { role, guarantee, limit, order }) => {
            let guarantees = guarantee.as_ref().map_or(Quantities::ZERO, Amounts::guarantees);
            let limits = Limits(limit.as_ref().map(|limit| limit.0.clone()).unwrap_or_default());
            (role, Quota { guarantees, limits }, order)
        }
        QuotaVerb::Clear(args) => (&args.role, Quota::default(), &args.order),
    };
    let before = role_now(client, role).await?.map(|view| view.quota).unwrap_or_default();
    let call = Call::SetQuota(SetQuota { role: role.clone(), quota: quota.clone() });
    order(client, call, how.dry_run).await?;
    Said { order: how, undo: &command(role, &before) }
        .note(&format!("{role}: {}, was {}", in_words(&quota), in_words(&before)), terminal)?;
    Ok(Exit::Ok)
}

/// Sets the weight of a role, and says how to undo it.
pub async fn run_weight(
    client: &Client,
    verb: &WeightVerb,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Stop> {
    let WeightVerb::Set(args) = verb;
    let before = role_now(client, &args.role).await?.map(|view| view.weight).unwrap_or_default();
    let call = Call::SetWeight(SetWeight { role: args.role.clone(), weight: args.weight });
    order(client, call, args.order.dry_run).await?;
    let shown = |weight: Weight| show_milli(u64::from(weight.milli()));
    let undo = format!("stoa weight set {} {}", args.role, shown(before));
    Said { order: &args.order, undo: &undo }
        .note(&format!("{}: weight {}, was {}", args.role, shown(args.weight), shown(before)), terminal)?;
    Ok(Exit::Ok)
}

async fn role_now(client: &Client, role: &Role) -> Result<Option<RoleView>, Stop> {
    let roles = list::<RoleView>(client, List::default()).await?.items;
    Ok(roles.into_iter().find(|view| view.role == *role))
}

fn amounts(quota: &Quota) -> (Amounts, Amounts) {
    (Amounts(quota.guarantees.iter().collect()), Amounts(quota.limits.0.clone()))
}

fn in_words(quota: &Quota) -> String {
    let (guarantees, limits) = amounts(quota);
    match (guarantees.0.is_empty(), limits.0.is_empty()) {
        (true, true) => "no quota".to_owned(),
        (false, true) => format!("guaranteed {guarantees}"),
        (true, false) => format!("limited to {limits}"),
        (false, false) => format!("guaranteed {guarantees}, limited to {limits}"),
    }
}

/// What to type to have this quota.
fn command(role: &Role, quota: &Quota) -> String {
    let (guarantees, limits) = amounts(quota);
    if guarantees.0.is_empty() && limits.0.is_empty() {
        return format!("stoa quota clear {role}");
    }
    let mut text = format!("stoa quota set {role}");
    if !guarantees.0.is_empty() {
        text.push_str(&format!(" --guarantee {guarantees}"));
    }
    if !limits.0.is_empty() {
        text.push_str(&format!(" --limit {limits}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_back_exactly() {
        for text in ["cpus=4", "cpus=0.125,mem=8GiB,disk=1025,gpus=2,fpga=1", "cpus=0", "mem=1536MiB"] {
            let amounts: Amounts = text.parse().unwrap();
            assert_eq!(amounts.to_string().parse(), Ok(amounts), "{text}");
        }
        for bad in ["", "cpus", "cpus=", "=4", "cpus=4,cpus=5", "gpus=0.5", "mem=lots", "cp us=4", "cpus=4,"]
        {
            assert!(bad.parse::<Amounts>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_undo_is_the_command_that_makes_what_was() {
        let role = Role::new("eng").unwrap();
        let limit: Amounts = "cpus=0,mem=1GiB".parse().unwrap();
        let guarantee: Amounts = "cpus=1.5".parse().unwrap();
        let quota = Quota { guarantees: guarantee.guarantees(), limits: Limits(limit.0) };
        assert_eq!(command(&role, &quota), "stoa quota set eng --guarantee cpus=1.5 --limit cpus=0,mem=1GiB");
        assert_eq!(command(&role, &Quota::default()), "stoa quota clear eng");
    }
}
