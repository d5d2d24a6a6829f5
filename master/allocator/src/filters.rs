//! Filters: who declined what of which agent, for how long; an index that takes the declined out of sight.

mod pieces;

use std::collections::{BTreeMap, BTreeSet};

use proto::resources::Resources;
use proto_machine::Instant;

use crate::bits::Bits;
use pieces::{Piece, Pieces};

/// Filters end on ticks of 2^24 ns (17 ms), so that many end at once; at most that much later than asked.
const TICK_BITS: u32 = 24;

/// What ends within so many ticks (69 s) is timed one by one; what ends later is looked through once in that time, so
/// that a filter of a year costs no timer.
const NEAR: u32 = 4096;

/// Set in [`Filter::group`] when the filter has a timer of its own.
const TIMED: u32 = 1 << 31;

/// Every filter, found from the agent and from the client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    agents: Vec<OnAgent>,
    clients: Vec<OfClient>,
    /// The tick that counts as zero: the first one seen.
    base: Option<u64>,
    near: BTreeMap<u32, Bucket>,
    far: BTreeSet<(u32, u32)>,
    /// What else was declined, and ends later than the filter there.
    also: Pieces,
}

/// The filters on one agent.
#[derive(Clone, Debug, Default)]
struct OnAgent {
    groups: Vec<Group>,
    /// Sorted by client.
    filters: Vec<Filter>,
    /// Clients whose filter ended while the agent was on offer elsewhere: others come first, once.
    asked: Vec<u32>,
}

/// Filters that declined the same.
#[derive(Clone, Debug, Default)]
struct Group {
    declined: Resources,
    /// The role of its clients, where that makes a difference: on agents with reservations.
    node: Option<u32>,
    members: u32,
    /// All that is free and that its clients may have is in `declined`: they stand in [`OfClient::blocked`].
    active: bool,
}

/// One filter: 12 bytes, there may be one for each agent and client.
#[derive(Clone, Copy, Debug)]
struct Filter {
    client: u32,
    /// It ends with this tick.
    tick: u32,
    group: u32,
}

/// The filters of one client, as sets of agents.
#[derive(Clone, Debug, Default)]
struct OfClient {
    /// There is a filter.
    filtered: Bits,
    /// There is one and it certainly forbids an offer: all that is free was declined.
    blocked: Bits,
    /// Others come first.
    asked: Bits,
    /// The tick at which filters that end late are looked through.
    far: Option<u32>,
}

/// Filters that end with one tick.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Client and agent; some may be void.
    pairs: Vec<(u32, u32)>,
    /// How many are not.
    live: u32,
}

// === impl Table ===

impl Table {
    /// Something was declined until then. `blocks`: all that is free for the client is in it.
    pub fn decline(
        &mut self,
        pair: (u32, u32),
        declined: Resources,
        node: Option<u32>,
        (now, until): (Instant, Instant),
        blocks: bool,
    ) {
        let now = self.tick_up(now);
        let new = Piece { declined, node, tick: self.tick_up(until), blocks };
        let Some(old) = self.take(pair) else { return self.set(pair, new, now) };
        let mut pieces = self.also.take(pair);
        pieces.push(old);
        if let Some(first) = self.also.keep(pair, pieces::with(pieces, new)) {
            self.set(pair, first, now);
        }
    }

    /// What ends first is the filter of a client on an agent.
    fn set(&mut self, (client, agent): (u32, u32), piece: Piece, now: u32) {
        let Piece { declined, node, tick, blocks } = piece;
        let row = row_of(&mut self.agents, agent);
        let same =
            |g: &Group| g.members > 0 && g.node == node && g.active == blocks && g.declined == declined;
        let group = match row.groups.iter().position(same) {
            Some(group) => group,
            None => {
                let fresh = Group { declined, node, members: 0, active: blocks };
                match row.groups.iter().position(|g| g.members == 0) {
                    Some(group) => {
                        row.groups[group] = fresh;
                        group
                    }
                    None => {
                        row.groups.push(fresh);
                        row.groups.len() - 1
                    }
                }
            }
        };
        row.groups[group].members += 1;
        let filter = Filter { client, tick, group: group as u32 };
        let at = row.filters.partition_point(|f| f.client < client);
        grow_by_quarter(&mut row.filters);
        row.filters.insert(at, filter);
        let own = row_of(&mut self.clients, client);
        own.filtered.insert(agent);
        own.blocked.set(agent, blocks);
        self.time((client, agent), now, tick);
    }

    /// The agents of which everything free was declined by the client: nothing of them can be offered to it.
    pub fn blocked(&self, client: u32) -> &Bits {
        self.clients.get(client as usize).map_or(&NONE, |row| &row.blocked)
    }

    /// Whether `count` clients of some kind all have a filter that certainly forbids an offer of the agent.
    pub fn all_blocked(&self, agent: u32, count: usize, of_kind: impl Fn(u32) -> bool) -> bool {
        let Some(row) = self.agents.get(agent as usize) else { return false };
        let active = row.groups.iter().filter(|group| group.active).map(|group| group.members as usize);
        if active.sum::<usize>() < count {
            return false;
        }
        let blocking = |f: &&Filter| row.groups[(f.group & !TIMED) as usize].active && of_kind(f.client);
        row.filters.iter().filter(blocking).count() == count
    }

    /// The agents that others may have first.
    pub fn asked(&self, client: u32) -> &Bits {
        self.clients.get(client as usize).map_or(&NONE, |row| &row.asked)
    }

    /// On how many agents the client has a filter.
    pub fn count(&self, client: u32) -> usize {
        self.clients.get(client as usize).map_or(0, |row| row.filtered.count())
    }

    /// How many filters there are.
    pub fn all_count(&self) -> usize {
        self.clients.iter().map(|row| row.filtered.count()).sum()
    }

    /// What the client declined of the agent, and until when; each holds by itself.
    pub fn declined(&self, client: u32, agent: u32) -> impl Iterator<Item = (&Resources, Instant)> {
        let also = self.also.of((client, agent)).iter();
        let also = also.map(|piece| (&piece.declined, self.ends(piece.tick)));
        self.first_declined(client, agent).into_iter().chain(also)
    }

    /// When what ends with a tick ends.
    fn ends(&self, tick: u32) -> Instant {
        let until = self.base.unwrap_or(0).saturating_add(u64::from(tick));
        Instant::from_nanos(until.saturating_mul(1 << TICK_BITS))
    }

    /// What ends first.
    fn first_declined(&self, client: u32, agent: u32) -> Option<(&Resources, Instant)> {
        if !self.clients.get(client as usize)?.filtered.has(agent) {
            return None;
        }
        let row = self.agents.get(agent as usize)?;
        let at = row.filters.binary_search_by_key(&client, |f| f.client).ok()?;
        let filter = row.filters[at];
        Some((&row.groups[(filter.group & !TIMED) as usize].declined, self.ends(filter.tick)))
    }

    /// More of the agent is free: filters that declined less do not block any more. `contains` tells, of what was
    /// declined in a role, whether all that is free for it is in that.
    pub fn grown(&mut self, agent: u32, contains: impl Fn(&Resources, Option<u32>) -> bool) {
        let Some(row) = self.agents.get_mut(agent as usize) else { return };
        for at in 0..row.groups.len() {
            let group = &mut row.groups[at];
            if group.members > 0 && group.active && !contains(&group.declined, group.node) {
                group.active = false;
                for filter in row.filters.iter().filter(|f| (f.group & !TIMED) as usize == at) {
                    self.clients[filter.client as usize].blocked.remove(agent);
                }
            }
        }
    }

    /// The agent has something that was not there to be declined: nobody was asked yet.
    pub fn forget_asked(&mut self, agent: u32) {
        let Some(row) = self.agents.get_mut(agent as usize) else { return };
        for client in std::mem::take(&mut row.asked) {
            if let Some(own) = self.clients.get_mut(client as usize) {
                own.asked.remove(agent);
            }
        }
    }

    /// Others come before this client for this agent, once.
    pub fn ask_others_first(&mut self, client: u32, agent: u32) {
        if row_of(&mut self.clients, client).asked.insert(agent) {
            row_of(&mut self.agents, agent).asked.push(client);
        }
    }

    /// The client was offered the agent: its turn among those asked is over.
    pub fn offered(&mut self, client: u32, agent: u32) {
        let Some(own) = self.clients.get_mut(client as usize) else { return };
        if own.asked.remove(agent)
            && let Some(row) = self.agents.get_mut(agent as usize)
        {
            row.asked.retain(|other| *other != client);
        }
    }

    /// Drops all that a client declined of an agent; whether there was anything.
    pub fn clear(&mut self, client: u32, agent: u32) -> bool {
        let there = self.take((client, agent)).is_some();
        if there {
            self.also.take((client, agent));
        }
        there
    }

    /// Takes out what ends first.
    fn take(&mut self, (client, agent): (u32, u32)) -> Option<Piece> {
        let there = self.clients.get(client as usize).is_some_and(|own| own.filtered.has(agent));
        if !there {
            return None;
        }
        let row = self.agents.get_mut(agent as usize)?;
        let at = row.filters.binary_search_by_key(&client, |f| f.client).ok()?;
        let filter = row.filters.remove(at);
        let group = &mut row.groups[(filter.group & !TIMED) as usize];
        group.members -= 1;
        let (node, blocks) = (group.node, group.active);
        let declined = match group.members {
            0 => std::mem::take(group).declined,
            _ => group.declined.clone(),
        };
        if row.filters.is_empty() {
            (row.filters, row.groups) = (Vec::new(), Vec::new());
        }
        if filter.group & TIMED != 0
            && let Some(bucket) = self.near.get_mut(&filter.tick)
        {
            bucket.live = bucket.live.saturating_sub(1);
            if bucket.live == 0 {
                self.near.remove(&filter.tick);
            }
        }
        let own = &mut self.clients[client as usize];
        own.filtered.remove(agent);
        own.blocked.remove(agent);
        if own.filtered.is_empty() {
            own.filtered.clear();
            own.blocked.clear();
            if let Some(tick) = own.far.take() {
                self.far.remove(&(tick, client));
            }
        }
        Some(Piece { declined, node, tick: filter.tick, blocks })
    }

    /// Drops all filters of a client; whether there were any.
    pub fn clear_client(&mut self, client: u32) -> bool {
        let Some(own) = self.clients.get_mut(client as usize) else { return false };
        let agents: Vec<u32> = own.filtered.iter().collect();
        for agent in std::mem::take(&mut own.asked).iter() {
            if let Some(row) = self.agents.get_mut(agent as usize) {
                row.asked.retain(|other| *other != client);
            }
        }
        agents.iter().filter(|agent| self.clear(client, **agent)).count() > 0
    }

    /// Drops all filters on an agent; returns whose they were.
    pub fn clear_agent(&mut self, agent: u32) -> Vec<u32> {
        self.forget_asked(agent);
        let Some(row) = self.agents.get(agent as usize) else { return Vec::new() };
        let clients: Vec<u32> = row.filters.iter().map(|f| f.client).collect();
        for client in &clients {
            self.clear(*client, agent);
        }
        clients
    }

    /// Takes out the filters that have ended.
    pub fn expire(&mut self, now: Instant) -> Vec<(u32, u32)> {
        let Some(base) = self.base else { return Vec::new() };
        let tick = to_u32((now.as_nanos() >> TICK_BITS).saturating_sub(base));
        while let Some((due, client)) = self.far.first().copied().filter(|(due, _)| *due <= tick) {
            self.far.remove(&(due, client));
            self.look_through(client, tick);
        }
        let mut ended = Vec::new();
        while let Some(entry) = self.near.first_entry().filter(|entry| *entry.key() <= tick) {
            let (due, bucket) = entry.remove_entry();
            for (client, agent) in bucket.pairs {
                let holds = self.agents.get(agent as usize).and_then(|row| {
                    row.filters.binary_search_by_key(&client, |f| f.client).ok().map(|at| row.filters[at])
                });
                if holds.is_some_and(|f| f.tick == due && f.group & TIMED != 0) {
                    self.take((client, agent));
                    let mut pieces = self.also.take((client, agent));
                    pieces.retain(|piece| piece.tick > tick);
                    if let Some(first) = self.also.keep((client, agent), pieces) {
                        self.set((client, agent), Piece { blocks: false, ..first }, tick);
                    }
                    ended.push((client, agent));
                }
            }
        }
        ended
    }

    /// When the next filter ends, or those that end late must be looked through.
    pub fn wake_at(&self) -> Option<Instant> {
        let near = self.near.first_key_value().map(|(tick, _)| *tick);
        let far = self.far.first().map(|(tick, _)| *tick);
        let tick = near.into_iter().chain(far).min()?;
        let nanos = self.base?.saturating_add(u64::from(tick)).checked_mul(1 << TICK_BITS)?;
        Some(Instant::from_nanos(nanos))
    }

    /// The tick with which a filter until then ends, from the base.
    fn tick_up(&mut self, until: Instant) -> u32 {
        let tick = until.as_nanos().div_ceil(1 << TICK_BITS);
        let base = *self.base.get_or_insert(tick.saturating_sub(1));
        to_u32(tick.saturating_sub(base))
    }

    /// Sets a timer of its own, or leaves it to the client's next looking through.
    fn time(&mut self, (client, agent): (u32, u32), now: u32, tick: u32) {
        let own = row_of(&mut self.clients, client);
        if tick.saturating_sub(now) < NEAR && own.far.is_none_or(|far| tick < far) {
            self.time_near(client, agent, tick);
            return;
        }
        let due = match own.far {
            Some(due) if due <= tick => return,
            Some(due) => {
                self.far.remove(&(due, client));
                tick
            }
            None => tick,
        };
        own.far = Some(due);
        self.far.insert((due, client));
    }

    fn time_near(&mut self, client: u32, agent: u32, tick: u32) {
        let bucket = self.near.entry(tick).or_default();
        bucket.pairs.push((client, agent));
        bucket.live += 1;
        let row = &mut self.agents[agent as usize];
        if let Ok(at) = row.filters.binary_search_by_key(&client, |f| f.client) {
            row.filters[at].group |= TIMED;
        }
    }

    /// Gives timers to the client's filters that end soon, and says when to look again.
    fn look_through(&mut self, client: u32, now: u32) {
        let own = &mut self.clients[client as usize];
        own.far = None;
        let agents: Vec<u32> = own.filtered.iter().collect();
        let mut next = None;
        for agent in agents {
            let row = &self.agents[agent as usize];
            let Ok(at) = row.filters.binary_search_by_key(&client, |f| f.client) else { continue };
            let filter = row.filters[at];
            if filter.group & TIMED != 0 {
                continue;
            }
            if filter.tick <= now.saturating_add(NEAR) {
                self.time_near(client, agent, filter.tick);
            } else {
                next = Some(next.map_or(filter.tick, |tick: u32| tick.min(filter.tick)));
            }
        }
        if let Some(tick) = next {
            self.clients[client as usize].far = Some(tick);
            self.far.insert((tick, client));
        }
    }

    /// What does not hold together, for tests.
    pub fn faults(&self, faults: &mut Vec<String>) {
        for (agent, row) in self.agents.iter().enumerate() {
            for filter in &row.filters {
                let own = &self.clients[filter.client as usize];
                let group = &row.groups[(filter.group & !TIMED) as usize];
                if !own.filtered.has(agent as u32) || own.blocked.has(agent as u32) != group.active {
                    faults
                        .push(format!("filter of client {} on agent {agent} is not indexed", filter.client));
                }
                let timed = filter.group & TIMED != 0;
                let has_timer = match timed {
                    true => self.near.get(&filter.tick).is_some_and(|b| {
                        b.pairs.contains(&(filter.client, agent as u32)) && b.live as usize <= b.pairs.len()
                    }),
                    false => own
                        .far
                        .is_some_and(|far| far <= filter.tick && self.far.contains(&(far, filter.client))),
                };
                if !has_timer {
                    faults.push(format!("filter of client {} on agent {agent} never ends", filter.client));
                }
            }
            for (at, group) in row.groups.iter().enumerate() {
                let members = row.filters.iter().filter(|f| (f.group & !TIMED) as usize == at).count();
                if members != group.members as usize {
                    faults.push(format!(
                        "group {at} on agent {agent} has {members} members, not {}",
                        group.members
                    ));
                }
            }
        }
        for (client, agent) in self.also.pairs() {
            let first = self.first_declined(*client, *agent).map(|(_, until)| until);
            let ends = |tick| self.ends(tick);
            let late = |first| self.also.of((*client, *agent)).iter().all(|piece| ends(piece.tick) >= first);
            if !first.is_some_and(late) {
                faults.push(format!("client {client} declined more of agent {agent}, which ends first"));
            }
        }
        let indexed: usize = self.clients.iter().map(|own| own.filtered.count()).sum();
        let there: usize = self.agents.iter().map(|row| row.filters.len()).sum();
        if indexed != there {
            faults.push(format!("{there} filters, but {indexed} are indexed"));
        }
    }
}

static NONE: Bits = Bits::NONE;

fn row_of<T: Default>(rows: &mut Vec<T>, index: u32) -> &mut T {
    let at = index as usize;
    if at >= rows.len() {
        rows.resize_with(at + 1, T::default);
    }
    &mut rows[at]
}

/// Doubling would waste up to half of what may be millions of filters.
fn grow_by_quarter(filters: &mut Vec<Filter>) {
    if filters.len() == filters.capacity() && filters.len() >= 64 {
        filters.reserve_exact(filters.len() / 4);
    }
}

fn to_u32(ticks: u64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::quantities::Quantities;
    use proto::resources::Amount;
    use proto_machine::Dice;

    use super::*;

    fn cpus(milli: u64) -> Resources {
        Resources::unreserved(Amount::scalars(Quantities::of(milli, 0)))
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 40) + Duration::from_millis(millis)
    }

    fn sound(table: &Table) {
        let mut faults = Vec::new();
        table.faults(&mut faults);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn a_filter_lasts_at_least_as_long_as_asked_and_at_most_a_tick_longer() {
        let mut table = Table::default();
        table.decline((1, 2), cpus(8), None, (at(0), at(5_000)), true);
        assert!(table.blocked(1).has(2));
        assert_eq!(table.expire(at(4_999)), []);
        assert!(table.wake_at().is_some_and(|wake| wake >= at(5_000) && wake <= at(5_017)));
        assert_eq!(table.expire(at(5_017)), [(1, 2)]);
        assert_eq!((table.count(1), table.wake_at()), (0, None));
        sound(&table);
    }

    #[test]
    fn more_than_was_declined_is_not_blocked() {
        let mut table = Table::default();
        table.decline((1, 2), cpus(8), None, (at(0), at(5_000)), true);
        table.decline((3, 2), cpus(16), None, (at(0), at(5_000)), true);
        table.grown(2, |declined, _| declined.contains(&cpus(12)));
        assert!(!table.blocked(1).has(2) && table.blocked(3).has(2));
        assert_eq!(
            table.declined(1, 2).map(|(d, _)| d.clone()).collect::<Vec<_>>(),
            [cpus(8)],
            "it still holds for that much"
        );
        sound(&table);
    }

    #[test]
    fn filters_end_in_time_whatever_their_length_and_whatever_is_cleared() {
        let mut dice = Dice::new(9);
        for _ in 0..30 {
            let mut table = Table::default();
            let mut model: BTreeMap<(u32, u32), Vec<(u64, u64)>> = BTreeMap::new();
            let mut now = 0;
            for _ in 0..300 {
                let pair = (dice.below(5) as u32, dice.below(6) as u32);
                match dice.below(6) {
                    0 => {
                        assert_eq!(table.clear(pair.0, pair.1), model.remove(&pair).is_some());
                    }
                    1 if dice.chance(1, 5) => {
                        table.clear_client(pair.0);
                        model.retain(|(client, _), _| *client != pair.0);
                    }
                    1 if dice.chance(1, 5) => {
                        table.clear_agent(pair.1);
                        model.retain(|(_, agent), _| *agent != pair.1);
                    }
                    1..3 => {
                        let most = 1 << dice.below(20);
                        now += dice.below(most);
                        for pair in table.expire(at(now)) {
                            let pieces = model.get_mut(&pair).expect("there was a filter");
                            let before = pieces.len();
                            pieces.retain(|(_, until)| *until > now);
                            assert!(pieces.len() < before, "{pair:?} ended early");
                        }
                        model.retain(|_, pieces| !pieces.is_empty());
                        let all = model.values().flatten();
                        assert!(
                            all.clone().all(|(_, until)| *until + 17 > now),
                            "a filter outlived its time"
                        );
                    }
                    _ => {
                        let most = 1 << dice.below(25);
                        let (until, many) = (now + dice.below(most), dice.below(3));
                        let blocks = dice.chance(1, 2);
                        table.decline(pair, cpus(many), None, (at(now), at(until)), blocks);
                        // What is covered for as long says nothing.
                        let pieces = model.entry(pair).or_default();
                        if !pieces.iter().any(|(most, last)| *most >= many && *last >= until) {
                            pieces.retain(|(fewer, ends)| *fewer > many || *ends > until);
                            pieces.push((many, until));
                        }
                    }
                }
                sound(&table);
                let wake = table.wake_at();
                let first = model.values().flatten().map(|(_, until)| *until).min();
                assert!(first.is_none_or(|first| wake.is_some_and(|wake| wake <= at(first + 17))));
                for ((client, agent), pieces) in &model {
                    for (many, until) in pieces.iter().filter(|(_, until)| *until > now) {
                        let holds = table
                            .declined(*client, *agent)
                            .any(|(declined, ends)| declined.contains(&cpus(*many)) && ends >= at(*until));
                        assert!(holds, "{many} of agent {agent} was declined by {client} until {until}");
                    }
                }
            }
        }
    }
}
