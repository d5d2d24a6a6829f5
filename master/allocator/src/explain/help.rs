//! What would help: each line was tried on a copy of the picture, and there the offer came.

use std::cell::Cell;

use proto::explain::{NearMiss, Verdict};
use proto::id::FrameworkId;
use proto_machine::Instant;

use super::ask::Ask;
use crate::Allocator;
use crate::allocate::Grant;
use crate::change::Change;

/// Tries at most, for all demands of one question together.
const TRIES_MAX: usize = 4;

/// Each try copies the whole picture, and the leader does nothing else meanwhile: all tries together copy so many agents at
/// most, so that a question never costs the lead.
const COPIED_MAX: usize = 20_000;

/// So many filters cost a try as much as one agent.
const FILTERS_AS_AGENT: usize = 8;

/// How many tries one question still has.
pub(super) struct Budget(Cell<usize>);

/// Something that could be done, and how it is said once the offer came.
pub(super) struct Try {
    pub changes: Vec<Change>,
    pub at: Instant,
    pub words: String,
}

// === impl Budget ===

impl Budget {
    /// As many tries as may be made of a picture: in a large pool few, in a huge one none.
    pub fn of(picture: &Allocator) -> Self {
        let weight = picture.agents.rows.count() + picture.filters.all_count() / FILTERS_AS_AGENT;
        Budget(Cell::new(TRIES_MAX.min(COPIED_MAX / weight.max(1))))
    }

    /// Spends one try, if there is one.
    fn spend(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

impl Allocator {
    /// Everything that helps by itself, the smallest change first, as far as the budget goes.
    pub(super) fn help(
        &self,
        ask: &Ask<'_>,
        verdict: Verdict,
        nearest: &[NearMiss],
        budget: &Budget,
    ) -> Vec<String> {
        let who = &self.clients.clients[ask.client];
        let Some(framework) = who.id.clone() else { return Vec::new() };
        let near: Vec<u32> = nearest.iter().filter_map(|miss| self.agents.find(&miss.agent)).collect();
        let mut tries = Vec::new();
        match verdict {
            Verdict::Disconnected => tries.push(Try {
                changes: vec![Change::FrameworkActive { id: framework.clone(), active: true }],
                at: ask.now,
                words: "when the framework connects".to_owned(),
            }),
            Verdict::Suppressed => tries.push(Try {
                changes: vec![Change::Revive { framework: framework.clone(), roles: vec![ask.role.clone()] }],
                at: ask.now,
                words: format!("when the framework revives role {}", ask.role),
            }),
            Verdict::Filtered => self.try_filters(ask, &framework, &mut tries),
            Verdict::Constraints => self.try_constraints(ask, &framework, &mut tries),
            Verdict::QuotaLimit => self.try_limits(ask, &mut tries),
            Verdict::QuotaHeadroom => self.try_guarantees(ask, &mut tries),
            Verdict::Reserved => self.try_reservations(ask, &mut tries),
            Verdict::HoldsTooMuch => self.try_own_offers(ask, &framework, &mut tries),
            Verdict::Offered | Verdict::FairShare => self.try_offers(ask, &mut tries),
            Verdict::NoRoom | Verdict::TooLarge => {}
            Verdict::Served | Verdict::WantsNothing | Verdict::NoAgents => return Vec::new(),
        }
        if matches!(verdict, Verdict::NoRoom | Verdict::Offered | Verdict::FairShare | Verdict::Reserved) {
            self.try_ends(ask, &near, &mut tries);
        }
        self.try_smaller(ask, &framework, &near, verdict, &mut tries);
        let came = |attempt: Try| {
            let grant = self.try_out(ask, &framework, attempt.changes, attempt.at)?;
            let host = self.agents.find(&grant.agent).map(|agent| self.hostname(agent)).unwrap_or_default();
            Some(format!("{}: then it is offered {host}", attempt.words))
        };
        tries.into_iter().take_while(|_| budget.spend()).filter_map(came).collect()
    }

    /// Applies changes to a copy and allocates there; the grant that answers the ask.
    fn try_out(
        &self,
        ask: &Ask<'_>,
        framework: &FrameworkId,
        changes: Vec<Change>,
        at: Instant,
    ) -> Option<Grant> {
        let mut copy = self.clone();
        if !changes.into_iter().all(|change| copy.apply(at, change)) {
            return None;
        }
        let demand = ask.demand.map(|demand| &demand.id);
        let mine = |grant: &Grant| {
            grant.framework == *framework && grant.role == ask.role && grant.demand.as_ref() == demand
        };
        copy.allocate(at).into_iter().find(mine)
    }
}
