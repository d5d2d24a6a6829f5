//! The tree of roles: weights, quota, and what is held and reserved below each.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use proto::quantities::Quantities;
use proto::quota::Limits;
use proto::resources::Portion;
use proto::role::Role;

use crate::order::Entry;
use crate::share::Share;
use crate::slots::Slots;

/// The node above all roles.
pub(crate) const ROOT: u32 = 0;

/// Every role that is named by anything, and those above them.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub nodes: Slots<Node>,
    pub by_role: BTreeMap<Role, u32>,
    /// How many roles have a guarantee.
    pub guarantees: u32,
    /// Somewhere more may be taken for a role's own guarantee than before, though all guarantees together may keep as
    /// much free as they did. Whoever looks at it takes it back.
    pub credit_grew: bool,
}

/// One role. "Below" includes the role itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// `None` at the root.
    pub role: Option<Role>,
    pub parent: u32,
    /// Names in the path: 0 at the root.
    pub depth: u16,
    pub children: Vec<u32>,
    /// Clients of exactly this role.
    pub clients: Vec<u32>,
    /// In thousandths; 0 is read as 1000, so that the default row is the default weight.
    pub weight_milli: u32,
    pub guarantee: Quantities,
    pub limits: Limits,
    /// Held by all clients below, reserved things included: what its share counts.
    pub held: Quantities,
    /// Held by clients of exactly this role.
    pub direct: Quantities,
    /// What counts against the quota: all that is reserved for roles below, plus what clients below hold of anything
    /// that is not.
    pub consumed: Quantities,
    /// The sum of `missing` of the children.
    pub children_missing: Quantities,
    /// How much must stay free for the guarantees below: what is not consumed of its own, but at least what the
    /// children miss.
    pub missing: Quantities,
    /// Agents whose total has something reserved for exactly this role.
    pub reserved_on: BTreeSet<u32>,
    /// Eligible clients below.
    pub eligible: u32,
    /// The share under which it stands in its parent's order.
    pub share: Share,
    pub stale: bool,
    /// It stands in its parent's order of those with a guarantee to fulfil.
    pub in_unmet: bool,
    /// A client below was held back by the limits here: wake them when something comes back.
    pub limit_hit: bool,
}

impl Default for Tree {
    fn default() -> Self {
        let mut nodes = Slots::default();
        nodes.insert(Node::default());
        Tree { nodes, by_role: BTreeMap::new(), guarantees: 0, credit_grew: false }
    }
}

// === impl Tree ===

impl Tree {
    /// The node of a role.
    pub fn find(&self, role: &Role) -> Option<u32> {
        self.by_role.get(role).copied()
    }

    /// The node of a role, with those above it; made when they are not there.
    pub fn intern(&mut self, role: &Role) -> u32 {
        if let Some(node) = self.find(role) {
            return node;
        }
        let parent = role.parent().map_or(ROOT, |parent| self.intern(&parent));
        let depth = self.nodes[parent].depth + 1;
        let node = self.nodes.insert(Node { role: Some(role.clone()), parent, depth, ..Node::default() });
        self.nodes[parent].children.push(node);
        self.by_role.insert(role.clone(), node);
        node
    }

    /// Takes nodes out, from this one upwards, that nothing names any more.
    pub fn prune(&mut self, mut node: u32) {
        while node != ROOT {
            let row = &self.nodes[node];
            let Some(role) = &row.role else { return };
            let named = !row.children.is_empty()
                || !row.clients.is_empty()
                || row.weight() != 1000
                || !row.guarantee.is_zero()
                || !row.limits.is_unbounded()
                || !row.reserved_on.is_empty();
            if named {
                return;
            }
            self.by_role.remove(role);
            let parent = row.parent;
            self.nodes.remove(node);
            self.nodes[parent].children.retain(|child| *child != node);
            node = parent;
        }
    }

    /// The node and those above it, without the root.
    pub fn path(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let mut at = node;
        std::iter::from_fn(move || {
            let here = (at != ROOT).then_some(at)?;
            at = self.nodes[here].parent;
            Some(here)
        })
    }

    /// Every node below one, itself included.
    pub fn below(&self, node: u32) -> Vec<u32> {
        let mut all = vec![node];
        let mut at = 0;
        while at < all.len() {
            all.extend(&self.nodes[all[at]].children);
            at += 1;
        }
        all
    }

    /// Computes what is missing at a node and above from what is consumed there.
    pub fn recount_missing(&mut self, node: u32) {
        if self.guarantees == 0 && self.nodes[ROOT].children_missing.is_zero() {
            return;
        }
        let mut at = node;
        let mut credit_before = self.nodes[at].own_credit();
        while at != ROOT {
            let row = &mut self.nodes[at];
            let own = row.guarantee.saturating_sub(&row.consumed);
            let missing = more_of(&own, &row.children_missing);
            let before = std::mem::replace(&mut row.missing, missing.clone());
            self.credit_grew |= !credit_before.contains(&row.own_credit());
            at = row.parent;
            let above = &mut self.nodes[at];
            credit_before = above.own_credit();
            above.children_missing.sub(&before);
            above.children_missing.add(&missing);
        }
    }

    /// What must stay free for all guarantees together.
    pub fn required(&self) -> &Quantities {
        &self.nodes[ROOT].children_missing
    }

    /// Whether the role's own guarantee, beyond what the roles below miss, is not fulfilled.
    pub fn has_credit(&self, node: u32) -> bool {
        let row = &self.nodes[node];
        node != ROOT && !row.missing.is_zero() && row.missing != row.children_missing
    }

    /// How much a client of the role may take that fulfils guarantees: its own role's or one above.
    pub fn credit(&self, node: u32) -> Quantities {
        let mut credit = Quantities::ZERO;
        if self.required().is_zero() {
            return credit;
        }
        for at in self.path(node) {
            // `missing` would fall with each unit taken until it is down to what the other children miss.
            let row = &self.nodes[at];
            let mut floor = row.children_missing.clone();
            floor.sub(&credit);
            credit = row.missing.saturating_sub(&floor);
        }
        credit
    }

    /// The exact order of two siblings.
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        a.share.compare(&b.share).then_with(|| a.role.cmp(&b.role))
    }
}

// === impl Node ===

impl Node {
    /// Whether something that a client below holds counts against the quota here: what is reserved for the role or one
    /// below counts already, held or not.
    pub fn counts(&self, portion: &Portion) -> bool {
        match (&portion.reservation, &self.role) {
            (Some(kept), Some(role)) => !kept.is_within(role),
            (Some(_), None) | (None, _) => true,
        }
    }

    /// What anybody below may take that fulfils the role's own guarantee: what is missing beyond what its children miss.
    fn own_credit(&self) -> Quantities {
        self.missing.saturating_sub(&self.children_missing)
    }

    /// It, standing in its parent's order.
    pub fn entry(&self, node: u32) -> Entry {
        Entry::named(node, &self.share)
    }

    /// The weight in thousandths.
    pub fn weight(&self) -> u32 {
        if self.weight_milli == 0 { 1000 } else { self.weight_milli }
    }
}

/// The larger amount of each scalar.
fn more_of(a: &Quantities, b: &Quantities) -> Quantities {
    let mut more = a.saturating_sub(b);
    more.add(b);
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(path: &str) -> Role {
        Role::new(path).unwrap()
    }

    fn cpus(milli: u64) -> Quantities {
        Quantities::of(milli, 0)
    }

    #[test]
    fn nodes_come_with_their_parents_and_go_with_their_last_use() {
        let mut tree = Tree::default();
        let web = tree.intern(&role("eng/web"));
        let eng = tree.find(&role("eng")).unwrap();
        assert!(tree.path(web).eq([web, eng]));
        assert_eq!(tree.below(ROOT), [ROOT, eng, web]);
        tree.nodes[eng].weight_milli = 2000;
        tree.prune(web);
        assert_eq!((tree.find(&role("eng/web")), tree.find(&role("eng"))), (None, Some(eng)));
        tree.nodes[eng].weight_milli = 0;
        tree.prune(eng);
        assert_eq!(tree.nodes.count(), 1);
    }

    #[test]
    fn a_parents_guarantee_covers_its_children() {
        let mut tree = Tree::default();
        let (web, db) = (tree.intern(&role("eng/web")), tree.intern(&role("eng/db")));
        let eng = tree.find(&role("eng")).unwrap();
        tree.guarantees = 2;
        tree.nodes[eng].guarantee = cpus(10_000);
        tree.nodes[web].guarantee = cpus(5_000);
        for (node, consumed) in [(db, 6_000), (eng, 6_000)] {
            tree.nodes[node].consumed = cpus(consumed);
        }
        [db, web].into_iter().for_each(|node| tree.recount_missing(node));
        // web misses 5, eng 4: five must stay free, and all of it for web.
        assert_eq!(*tree.required(), cpus(5_000));
        assert_eq!((tree.credit(web), tree.credit(db)), (cpus(5_000), cpus(0)));
        assert!(tree.has_credit(web) && !tree.has_credit(eng));
        // With less in db, eng misses more than web does: db may have the rest.
        tree.nodes[db].consumed = cpus(1_000);
        tree.nodes[eng].consumed = cpus(1_000);
        tree.recount_missing(db);
        assert_eq!(*tree.required(), cpus(9_000));
        assert_eq!((tree.credit(web), tree.credit(db)), (cpus(9_000), cpus(4_000)));
        assert!(tree.has_credit(eng));
    }

    #[test]
    fn less_guaranteed_to_one_child_leaves_its_siblings_more() {
        let mut tree = Tree::default();
        let (web, db) = (tree.intern(&role("eng/web")), tree.intern(&role("eng/db")));
        let eng = tree.find(&role("eng")).unwrap();
        tree.guarantees = 2;
        tree.nodes[eng].guarantee = cpus(10_000);
        tree.nodes[web].guarantee = cpus(10_000);
        [db, web].into_iter().for_each(|node| tree.recount_missing(node));
        assert_eq!((tree.required().clone(), tree.credit(db)), (cpus(10_000), cpus(0)));
        tree.credit_grew = false;
        // What web takes is eng's as well: nothing more for db.
        (tree.nodes[web].consumed, tree.nodes[eng].consumed) = (cpus(1_000), cpus(1_000));
        tree.recount_missing(web);
        assert_eq!((tree.credit(db), tree.credit_grew), (cpus(0), false));
        // As much as before is kept free for eng, but three of it is not web's any more.
        tree.nodes[web].guarantee = cpus(7_000);
        tree.recount_missing(web);
        assert_eq!((tree.required().clone(), tree.credit(db)), (cpus(9_000), cpus(3_000)));
        assert!(tree.credit_grew);
    }
}
