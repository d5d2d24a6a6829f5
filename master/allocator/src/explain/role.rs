//! Why what wants something in a role waits.

use std::collections::BTreeMap;

use proto::explain::{Explanation, Verdict};
use proto::quantities::show_milli;
use proto::role::Role;
use proto_machine::Instant;

use super::outside::Outside;
use super::verdict::Said;
use super::{Pictures, Question, plain};
use crate::Allocator;

/// Demands that are explained one by one after the sum.
const SHOWN_MAX: usize = 10;

impl Allocator {
    /// What waits in exactly this role: first in sum, then the demands that wait, those that miss most first. Roles that
    /// nothing names are answered too: nobody takes offers in them.
    pub fn explain_role(&self, role: &Role, outside: &Outside<'_>, now: Instant) -> Vec<Explanation> {
        self.with_pictures(outside, now, |pictures, question| pictures.explain_role(role, question))
    }
}

impl Pictures<'_> {
    fn explain_role(&self, role: &Role, question: Question<'_>) -> Vec<Explanation> {
        let settled = self.settled;
        let node = settled.roles.find(role);
        let clients: Vec<u32> = node.map_or_else(Vec::new, |node| {
            let all = settled.roles.nodes[node].clients.iter().copied();
            all.filter(|client| settled.clients.clients[*client].subscribed).collect()
        });
        let subject = format!("role {role}");
        if clients.is_empty() {
            let words = "no framework takes offers in it";
            return vec![plain(subject, Said::new(Verdict::NoFrameworks, words))];
        }
        let looked = self.look_into(self.waiters(|_, demand| demand.role == *role), question);
        let waiting = looked.iter().map(|one| one.waiters.len()).sum::<usize>();
        let mut codes: BTreeMap<&'static str, usize> = BTreeMap::new();
        for one in &looked {
            let code = one.said.as_ref().map_or("not looked into", |said| said.verdict.code());
            *codes.entry(code).or_default() += one.waiters.len();
        }
        let mut codes: Vec<(&'static str, usize)> = codes.into_iter().collect();
        codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let declares = |client: &&u32| {
            let owner = settled.clients.clients[**client].framework;
            settled.clients.frameworks[owner].demand_driven
        };
        let undeclared = clients.len() - clients.iter().filter(declares).count();
        let wants = clients.iter().any(|client| !settled.clients.clients[*client].wants.is_empty());
        let (code, words) = match codes.first() {
            Some((code, _)) => {
                let parts: Vec<String> =
                    codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
                let verb = if waiting == 1 { "demand waits" } else { "demands wait" };
                (*code, format!("{waiting} {verb}: {}", parts.join(", ")))
            }
            None if wants => (Verdict::Served.code(), "nothing that it wants waits".to_owned()),
            None => (Verdict::WantsNothing.code(), "nothing in it is declared as wanted".to_owned()),
        };
        let mut sum = plain(subject, Said::new(Verdict::Served, words));
        sum.code = code.to_owned();
        sum.verdict.push_str(&self.standing(role));
        if undeclared > 0 {
            let verb = if undeclared == 1 { "framework declares" } else { "frameworks declare" };
            sum.notes.push(format!("{undeclared} {verb} no demands: whether they wait is not known"));
        }
        let mut all = vec![sum];
        let each = looked.iter().flat_map(|one| &one.waiters);
        all.extend(
            each.take(SHOWN_MAX).map(|waiter| self.explain_stated(waiter.framework, waiter.demand, question)),
        );
        if waiting > SHOWN_MAX {
            let more = waiting - SHOWN_MAX;
            all[0].notes.push(format!("{more} more wait and are not shown one by one"));
        }
        all
    }

    /// What the role has and may have.
    fn standing(&self, role: &Role) -> String {
        let tree = &self.settled.roles;
        let Some(row) = tree.find(role).map(|node| &tree.nodes[node]) else { return String::new() };
        let mut words = format!("; it holds {}", row.held);
        for (scalar, limit) in &row.limits.0 {
            let (used, limit) = (scalar.show(row.consumed.get(scalar)), scalar.show(*limit));
            words.push_str(&format!(", {used} of a limit of {scalar}:{limit}"));
        }
        if !row.guarantee.is_zero() {
            words.push_str(&format!(", guaranteed {}", row.guarantee));
        }
        if row.weight() != 1000 {
            words.push_str(&format!(", weight {}", show_milli(u64::from(row.weight()))));
        }
        words
    }
}
