//! What follows from the facts: how much each holds and is owed, and who comes next, computed from scratch by the definitions.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use master_allocator::Account;
use proto::id::{AgentId, FrameworkId};
use proto::quantities::{Quantities, Scalar};
use proto::resources::Resources;
use proto::role::Role;

use crate::model::{Client, Model, Piece, Wanted};

/// A share as a fraction.
#[derive(Clone, Copy, Debug)]
pub struct Share(u128, u128);

impl Share {
    pub fn compare(self, other: Share) -> Ordering {
        (self.0 * other.1).cmp(&(other.0 * self.1))
    }
}

impl Model {
    // --- sums ---

    pub fn free(&self, id: &AgentId) -> Resources {
        let mut free = self.agents[id].total.clone();
        for piece in self.pieces.iter().filter(|p| p.agent == *id) {
            free = free.saturating_sub(&piece.resources);
        }
        free
    }

    pub fn is_over(&self, id: &AgentId) -> bool {
        let mut held = Resources::EMPTY;
        self.pieces.iter().filter(|p| p.agent == *id).for_each(|p| held.add(&p.resources));
        !self.agents[id].total.contains(&held)
    }

    pub fn is_offerable(&self, id: &AgentId) -> bool {
        let free = self.free(id).quantities();
        self.agents[id].active && self.is_enough(&free)
    }

    pub fn is_enough(&self, scalars: &Quantities) -> bool {
        scalars.cpus_milli() >= self.config.min_cpus_milli || scalars.mem_bytes() >= self.config.min_mem_bytes
    }

    pub fn totals(&self) -> Quantities {
        sum(self.agents.values().map(|row| row.total.quantities()))
    }

    /// Free, on active agents, kept for nobody.
    pub fn room(&self) -> Quantities {
        let active = self.agents.iter().filter(|(_, row)| row.active);
        sum(active.flat_map(|(id, _)| unreserved(&self.free(id))))
    }

    pub fn held(&self, mine: impl Fn(&Client) -> bool) -> Quantities {
        sum(self.pieces.iter().filter(|p| mine(&p.client)).map(|p| p.resources.quantities()))
    }

    pub fn offered(&self, framework: &FrameworkId) -> Quantities {
        let open = self.pieces.iter().filter(|p| p.client.0 == *framework && p.account == Account::Offered);
        sum(open.map(|p| p.resources.quantities()))
    }

    /// Every role that is named, and those above.
    pub fn all_roles(&self) -> BTreeSet<Role> {
        let mut all: BTreeSet<Role> = self.quotas.keys().cloned().collect();
        all.extend(self.pieces.iter().map(|p| p.client.1.clone()));
        all.extend(self.frameworks.values().flat_map(|f| f.roles.keys().cloned()));
        for row in self.agents.values() {
            all.extend(row.total.portions().iter().filter_map(|p| p.reservation.clone()));
        }
        for role in all.clone() {
            all.extend(std::iter::successors(Some(role), Role::parent));
        }
        all
    }

    /// What a role consumes, if its clients of `extra`'s role held that much more that is kept for nobody.
    pub fn consumed(&self, role: &Role, extra: Option<(&Role, &Quantities)>) -> Quantities {
        let reserved = self.agents.values().flat_map(|row| row.total.portions()).filter_map(|p| {
            p.reservation.as_ref().filter(|kept| kept.is_within(role)).map(|_| p.amount.scalars.clone())
        });
        let held = self.pieces.iter().filter(|p| p.client.1.is_within(role));
        let beyond = held.flat_map(|p| p.resources.portions()).filter_map(|p| {
            let counted = p.reservation.as_ref().is_some_and(|kept| kept.is_within(role));
            (!counted).then(|| p.amount.scalars.clone())
        });
        let extra = extra.filter(|(who, _)| who.is_within(role)).map(|(_, q)| q.clone());
        sum(reserved.chain(beyond).chain(extra))
    }

    /// What is missing of the guarantees of a role and those below; at the top (`None`) of all.
    pub fn missing(
        &self,
        role: Option<&Role>,
        roles: &BTreeSet<Role>,
        extra: Option<(&Role, &Quantities)>,
    ) -> Quantities {
        let children = roles.iter().filter(|r| r.parent().as_ref() == role);
        let below = sum(children.map(|child| self.missing(Some(child), roles, extra)));
        let Some(role) = role else { return below };
        let guarantee = self.quotas.get(role).map(|q| q.guarantees.clone()).unwrap_or_default();
        let own = guarantee.saturating_sub(&self.consumed(role, extra));
        let mut more = own.saturating_sub(&below);
        more.add(&below);
        more
    }

    /// Whether a role's own guarantee, beyond what those below miss, is not fulfilled.
    pub fn has_credit(&self, role: &Role, roles: &BTreeSet<Role>) -> bool {
        let children = roles.iter().filter(|r| r.parent().as_ref() == Some(role));
        let below = sum(children.map(|child| self.missing(Some(child), roles, None)));
        self.missing(Some(role), roles, None) != below
    }

    /// How much of each scalar a client of the role may take that is kept for nobody: `None` for any amount.
    pub fn headroom(
        &self,
        role: &Role,
        roles: &BTreeSet<Role>,
        guarantees_only: bool,
    ) -> BTreeMap<Scalar, u64> {
        let required = self.missing(None, roles, None);
        let room = self.room();
        let mut bounds = BTreeMap::new();
        for (scalar, kept) in required.iter() {
            let after = |taken: u64| {
                let mut extra = Quantities::ZERO;
                extra.set(&scalar, taken);
                self.missing(None, roles, Some((role, &extra))).get(&scalar)
            };
            let slack = room.get(&scalar).saturating_sub(kept);
            // The most that leaves enough: everybody else's guarantees cost no more than was spare.
            let fits = |taken: u64| taken - (kept - after(taken)) <= slack;
            let (mut low, mut high) = (0, room.get(&scalar) + kept + 1);
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                if fits(middle) { low = middle } else { high = middle - 1 }
            }
            bounds.insert(scalar, low);
        }
        if guarantees_only {
            // Of what is guaranteed no more than that.
            let path = std::iter::successors(Some(role.clone()), Role::parent);
            let guaranteed =
                path.filter_map(|at| self.quotas.get(&at)).flat_map(|quota| quota.guarantees.iter());
            for (scalar, _) in guaranteed {
                let mut extra = Quantities::ZERO;
                extra.set(&scalar, u64::MAX / 4);
                let after = self.missing(None, roles, Some((role, &extra))).get(&scalar);
                bounds.insert(scalar.clone(), required.get(&scalar) - after);
            }
        }
        bounds
    }

    // --- order ---

    pub fn is_eligible(&self, client: &Client) -> bool {
        let Some(framework) = self.frameworks.get(&client.0) else { return false };
        let takes = framework.active && framework.roles.get(&client.1) == Some(&false);
        let wants = || self.wants(client).iter().any(|(_, missing)| *missing > 0);
        takes && (!framework.driven || wants())
    }

    /// The demands of a client in order, and how many units may still be offered.
    pub fn wants(&self, client: &Client) -> Vec<(Wanted, u64)> {
        let demands = self.frameworks[&client.0].demands.iter().filter(|w| w.demand.role == client.1);
        let open = |w: &Wanted| {
            let mine =
                |p: &&Piece| p.account == Account::Offered && p.demand.is_some() && p.serial == w.serial;
            self.pieces.iter().filter(mine).map(|p| p.units).sum::<u64>()
        };
        demands.map(|w| (w.clone(), w.demand.count.saturating_sub(open(w)))).collect()
    }

    pub fn clients(&self) -> Vec<Client> {
        let all = self.frameworks.iter();
        all.flat_map(|(id, f)| f.roles.keys().map(move |role| (id.clone(), role.clone()))).collect()
    }

    pub fn share(&self, held: &Quantities, weight: u32) -> Share {
        let totals = self.totals();
        let parts = held.iter().filter(|(name, _)| totals.get(name) > 0);
        let fractions = parts.map(|(name, amount)| Share(u128::from(amount), u128::from(totals.get(&name))));
        let most = fractions.fold(Share(0, 1), |a, b| if b.compare(a) == Ordering::Greater { b } else { a });
        Share(most.0 * 1000, most.1 * u128::from(weight))
    }

    fn role_share(&self, role: &Role) -> Share {
        let held = self.held(|(_, r)| r.is_within(role));
        self.share(&held, self.weights.get(role).copied().unwrap_or(1000))
    }

    /// Which of two clients comes first.
    pub fn precedence(&self, a: &Client, b: &Client, roles: &BTreeSet<Role>, guarantees: bool) -> Ordering {
        let line = |client: &Client| {
            let mut line: Vec<Role> = std::iter::successors(Some(client.1.clone()), Role::parent).collect();
            line.reverse();
            line
        };
        let (la, lb) = (line(a), line(b));
        let parted = la.iter().zip(&lb).take_while(|(a, b)| a == b).count();
        let owed = |line: &[Role]| guarantees && line[parted..].iter().any(|r| self.has_credit(r, roles));
        if owed(&la) != owed(&lb) {
            return owed(&lb).cmp(&owed(&la));
        }
        let own = |role: &Role| self.share(&self.held(|(_, r)| r == role), 1000);
        match (la.get(parted), lb.get(parted)) {
            (None, None) => {
                let share = |c: &Client| self.share(&self.held(|other| other == c), 1000);
                share(a).compare(share(b)).then_with(|| a.0.cmp(&b.0))
            }
            (Some(x), Some(y)) => self.role_share(x).compare(self.role_share(y)).then_with(|| x.cmp(y)),
            (None, Some(y)) => own(&a.1).compare(self.role_share(y)).then(Ordering::Less),
            (Some(x), None) => self.role_share(x).compare(own(&b.1)).then(Ordering::Greater),
        }
    }
}

pub fn sum(all: impl Iterator<Item = Quantities>) -> Quantities {
    all.fold(Quantities::ZERO, |mut sum, next| {
        sum.add(&next);
        sum
    })
}

/// The scalars of what is kept for nobody and is no volume.
pub fn unreserved(resources: &Resources) -> Vec<Quantities> {
    let open = resources.portions().iter().filter(|p| p.reservation.is_none() && p.volume.is_none());
    open.map(|p| p.amount.scalars.clone()).collect()
}
