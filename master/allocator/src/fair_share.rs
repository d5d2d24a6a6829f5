//! Fair share: who comes next, by weighted dominant share down the tree of roles.

use std::cmp::Ordering;

use crate::Allocator;
use crate::order::{Cursor, Entry, Order};
use crate::quota::Stage;
use crate::roles::ROOT;
use crate::share::Scale;

/// The orders below one role. A role's own clients stand together as one more child, which comes first among equals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues {
    /// Eligible clients of exactly this role.
    pub members: Order,
    /// Children with eligible clients below.
    pub subs: Order,
    /// Those of them with guarantees to fulfil.
    pub unmet: Order,
    stamp: u32,
    at_member: Cursor,
    at_sub: Cursor,
    at_unmet: Cursor,
}

impl Allocator {
    // --- who stands where ---

    /// A client became eligible: it takes its place, and so do roles that had nobody.
    pub(crate) fn enlist(&mut self, client: u32) {
        let row = &mut self.clients.clients[client];
        row.share = self.scale.share(&row.held, 1000);
        let (entry, mut at) = (row.entry(client), row.node);
        self.queue_rows();
        let table = &self.clients;
        self.queues[at as usize].members.insert(entry, |a, b| table.compare(a, b));
        while at != ROOT {
            let row = &mut self.roles.nodes[at];
            let parent = row.parent;
            row.eligible += 1;
            if row.eligible == 1 {
                self.place(at);
            }
            at = parent;
        }
    }

    /// A client is not eligible any more.
    pub(crate) fn delist(&mut self, client: u32) {
        let row = &self.clients.clients[client];
        let (entry, mut at) = (row.entry(client), row.node);
        let table = &self.clients;
        self.queues[at as usize].members.remove(entry, |a, b| table.compare(a, b));
        while at != ROOT {
            let row = &mut self.roles.nodes[at];
            let parent = row.parent;
            row.eligible -= 1;
            if row.eligible == 0 {
                self.unplace(at);
            }
            at = parent;
        }
    }

    fn place(&mut self, node: u32) {
        let row = &mut self.roles.nodes[node];
        row.share = self.scale.share(&row.held, row.weight());
        row.in_unmet = !row.missing.is_zero();
        let (entry, unmet, parent) = (row.entry(node), row.in_unmet, row.parent as usize);
        let tree = &self.roles;
        self.queues[parent].subs.insert(entry, |a, b| tree.compare(a, b));
        if unmet {
            self.queues[parent].unmet.insert(entry, |a, b| tree.compare(a, b));
        }
    }

    fn unplace(&mut self, node: u32) {
        let row = &self.roles.nodes[node];
        let (entry, parent) = (row.entry(node), row.parent as usize);
        let tree = &self.roles;
        self.queues[parent].subs.remove(entry, |a, b| tree.compare(a, b));
        if row.in_unmet {
            self.queues[parent].unmet.remove(entry, |a, b| tree.compare(a, b));
            self.roles.nodes[node].in_unmet = false;
        }
    }

    fn queue_rows(&mut self) {
        let bound = self.roles.nodes.bound();
        if self.queues.len() < bound {
            self.queues.resize_with(bound, Queues::default);
        }
    }

    /// What a client holds has changed: it and the roles above stand wrong until the next [`Allocator::reorder`].
    pub(crate) fn mark_stale(&mut self, client: u32) {
        let row = &mut self.clients.clients[client];
        if !std::mem::replace(&mut row.stale, true) {
            self.work.stale_clients.push(client);
        }
        let mut at = row.node;
        while at != ROOT {
            self.mark_node_stale(at);
            at = self.roles.nodes[at].parent;
        }
    }

    pub(crate) fn mark_node_stale(&mut self, node: u32) {
        if !std::mem::replace(&mut self.roles.nodes[node].stale, true) {
            self.work.stale_nodes.push(node);
        }
    }

    /// Puts everybody whose share has changed where they belong.
    pub(crate) fn reorder(&mut self) {
        if std::mem::take(&mut self.work.rescale) {
            self.rescale();
        }
        while let Some(client) = self.work.stale_clients.pop() {
            let row = &mut self.clients.clients[client];
            row.stale = false;
            if !row.eligible {
                continue;
            }
            let (node, old) = (row.node as usize, row.entry(client));
            let share = self.scale.share(&row.held, 1000);
            let members = &mut self.queues[node].members;
            members.remove(old, |a, b| self.clients.compare(a, b));
            let row = &mut self.clients.clients[client];
            row.share = share;
            let new = row.entry(client);
            members.insert(new, |a, b| self.clients.compare(a, b));
        }
        while let Some(node) = self.work.stale_nodes.pop() {
            let row = &mut self.roles.nodes[node];
            row.stale = false;
            if row.eligible == 0 {
                continue;
            }
            let alone = self.queues[row.parent as usize].subs.len() == 1;
            if alone && row.in_unmet != row.missing.is_zero() {
                // Nobody to stand before or behind: only the share is noted.
                row.share = self.scale.share(&row.held, row.weight());
                self.replace_only(node);
                continue;
            }
            self.unplace(node);
            self.place(node);
        }
    }

    /// The only child takes its new rank where it stands.
    fn replace_only(&mut self, node: u32) {
        let row = &self.roles.nodes[node];
        let entry = row.entry(node);
        let queue = &mut self.queues[row.parent as usize];
        queue.subs.replace_only(entry);
        if row.in_unmet {
            queue.unmet.replace_only(entry);
        }
    }

    /// The pool has another total: computes every share anew and sorts. Cheap as long as the order hardly changes.
    fn rescale(&mut self) {
        self.scale = Scale::new(&self.totals);
        self.work.stale_clients.clear();
        self.work.stale_nodes.clear();
        self.queue_rows();
        let nodes: Vec<u32> = self.roles.nodes.indices().collect();
        for node in nodes {
            let row = &mut self.roles.nodes[node];
            row.stale = false;
            row.share = self.scale.share(&row.held, row.weight());
            row.in_unmet = row.eligible > 0 && node != ROOT && !row.missing.is_zero();
            for client in &row.clients {
                let row = &mut self.clients.clients[*client];
                row.stale = false;
                row.share = self.scale.share(&row.held, 1000);
            }
        }
        self.rebuild_orders();
    }

    /// Sorts every order by the shares that are noted.
    pub(crate) fn rebuild_orders(&mut self) {
        for queue in &mut self.queues {
            let (table, tree) = (&self.clients, &self.roles);
            let members = queue.members.iter().map(|e| table.clients[e.item].entry(e.item)).collect();
            queue.members.rebuild(members, |a, b| table.compare(a, b));
            let subs: Vec<Entry> = queue.subs.iter().map(|e| tree.nodes[e.item].entry(e.item)).collect();
            let unmet = subs.iter().copied().filter(|e| tree.nodes[e.item].in_unmet).collect();
            queue.subs.rebuild(subs, |a, b| tree.compare(a, b));
            queue.unmet.rebuild(unmet, |a, b| tree.compare(a, b));
        }
    }

    // --- who comes next ---

    /// The next client that has not had its turn in this pass.
    pub(crate) fn next(&mut self, stage: Stage) -> Option<u32> {
        match stage {
            Stage::Guarantees => self.next_unmet(ROOT),
            Stage::Fair => self.next_below(ROOT),
        }
    }

    fn queue(&mut self, node: u32) -> &mut Queues {
        let queue = &mut self.queues[node as usize];
        if queue.stamp != self.work.stamp {
            queue.stamp = self.work.stamp;
            (queue.at_member, queue.at_sub, queue.at_unmet) = Default::default();
        }
        queue
    }

    fn next_below(&mut self, node: u32) -> Option<u32> {
        self.queue(node);
        loop {
            let (table, tree, queue) = (&self.clients, &self.roles, &mut self.queues[node as usize]);
            let member = queue.members.peek(&mut queue.at_member, |a, b| table.compare(a, b));
            let sub = queue.subs.peek(&mut queue.at_sub, |a, b| tree.compare(a, b));
            let sub = match (member, sub) {
                (None, None) => return None,
                (Some(client), None) => return Some(client),
                (Some(client), Some(sub)) if self.own_first(node, sub) => return Some(client),
                (Some(_) | None, Some(sub)) => sub,
            };
            if let Some(client) = self.next_below(sub) {
                return Some(client);
            }
            let entry = self.roles.nodes[sub].entry(sub);
            let queue = &mut self.queues[node as usize];
            queue.at_sub.pass(entry, &queue.subs);
        }
    }

    fn next_unmet(&mut self, node: u32) -> Option<u32> {
        self.queue(node);
        loop {
            let (tree, queue) = (&self.roles, &mut self.queues[node as usize]);
            let Some(sub) = queue.unmet.peek(&mut queue.at_unmet, |a, b| tree.compare(a, b)) else { break };
            if let Some(client) = self.next_unmet(sub) {
                return Some(client);
            }
            let entry = self.roles.nodes[sub].entry(sub);
            let queue = &mut self.queues[node as usize];
            queue.at_unmet.pass(entry, &queue.unmet);
        }
        // What the roles below do not miss themselves, anybody below may have.
        if self.roles.has_credit(node) { self.next_below(node) } else { None }
    }

    /// Whether a role's own clients come before its child: by what they hold together, at the default weight.
    fn own_first(&self, node: u32, sub: u32) -> bool {
        let own = self.scale.share(&self.roles.nodes[node].direct, 1000);
        own.compare(&self.roles.nodes[sub].share) != Ordering::Greater
    }

    /// The client has had its turn in this pass.
    pub(crate) fn pass_over(&mut self, client: u32) {
        let stamp = self.work.stamp;
        let row = &mut self.clients.clients[client];
        row.turn(stamp).over = true;
        if row.eligible {
            let (entry, node) = (row.entry(client), row.node);
            let queue = self.queue(node);
            queue.at_member.pass(entry, &queue.members);
        }
    }

    /// Whether the client may have a turn in this stage and has not had it.
    pub(crate) fn is_able(&self, client: u32, stage: Stage) -> bool {
        let row = &self.clients.clients[client];
        row.eligible
            && !row.is_over(self.work.stamp)
            && (stage == Stage::Fair || self.roles.path(row.node).any(|node| self.roles.has_credit(node)))
    }

    /// The order of two clients anywhere in the tree, the same as [`Allocator::next`]: decided where their paths part.
    pub(crate) fn precedence(&self, a: u32, b: u32, stage: Stage) -> Ordering {
        let nodes = &self.roles.nodes;
        let (own_a, own_b) = (self.clients.clients[a].node, self.clients.clients[b].node);
        if own_a == own_b {
            return self.clients.compare(a, b);
        }
        let (mut at_a, mut at_b, mut sub_a, mut sub_b) = (own_a, own_b, None, None);
        while at_a != at_b {
            let (deep_a, deep_b) = (nodes[at_a].depth, nodes[at_b].depth);
            if deep_a >= deep_b {
                at_a = nodes[*sub_a.insert(at_a)].parent;
            }
            if deep_b >= deep_a {
                at_b = nodes[*sub_b.insert(at_b)].parent;
            }
        }
        if stage == Stage::Guarantees {
            // Below an unfulfilled guarantee of its own branch, a client comes before those who share this node's.
            let owed = |own: u32| {
                let branch = self.roles.path(own).take_while(|node| *node != at_a);
                branch.into_iter().any(|node| self.roles.has_credit(node))
            };
            let (owed_a, owed_b) = (owed(own_a), owed(own_b));
            if owed_a != owed_b {
                return owed_b.cmp(&owed_a);
            }
        }
        match (sub_a, sub_b) {
            (None, None) => self.clients.compare(a, b),
            (Some(x), Some(y)) => self.roles.compare(x, y),
            (None, Some(y)) if self.own_first(at_a, y) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(x), None) if self.own_first(at_a, x) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        }
    }
}
