//! Which agents have room for how much: a grid over free cpus and memory, so that no search walks over all agents.

use std::ops::ControlFlow;

use proto::quantities::Quantities;

use crate::bits::Bits;

/// Steps in each direction: 16 powers of two, four steps each.
const STEPS: usize = 64;

/// Below 2^5 thousandths of a cpu is one step, and so is all from 1500 cpus on.
const CPUS_FROM: u32 = 5;

/// Below 2^25 bytes (32 MiB) is one step, and so is all from 1.5 TiB on.
const MEM_FROM: u32 = 25;

const NOWHERE: u32 = u32::MAX;

/// Active agents by the room they have. Placing an agent is O(1) and put off until somebody searches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    /// `STEPS * STEPS`, empty until the first agent.
    cells: Vec<Vec<u32>>,
    /// For each step of cpus, which steps of memory have agents.
    rows: Vec<u64>,
    /// For each agent, its cell and its place there.
    places: Vec<(u32, u32)>,
    moved: Vec<u32>,
    is_moved: Bits,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// Those with the most room.
    Roomy,
    /// Those with the least room that may be enough.
    Tight,
}

// === impl Grid ===

impl Grid {
    /// The room of an agent may have changed.
    pub fn moved(&mut self, agent: u32) {
        if self.is_moved.insert(agent) {
            self.moved.push(agent);
        }
    }

    /// Places those that moved; `room` is `None` for those that are not to be found.
    pub fn refresh<'a>(&mut self, room: impl Fn(u32) -> Option<&'a Quantities>) {
        for agent in std::mem::take(&mut self.moved) {
            self.is_moved.remove(agent);
            let cell = room(agent).map_or(NOWHERE, |room| {
                let (cpus, mem) = steps(room.cpus_milli(), room.mem_bytes());
                (cpus * STEPS + mem) as u32
            });
            self.place(agent, cell);
        }
    }

    fn place(&mut self, agent: u32, cell: u32) {
        if self.places.len() <= agent as usize {
            self.places.resize(agent as usize + 1, (NOWHERE, 0));
        }
        let (old, at) = self.places[agent as usize];
        if old == cell {
            return;
        }
        if self.cells.is_empty() {
            self.cells = vec![Vec::new(); STEPS * STEPS];
            self.rows = vec![0; STEPS];
        }
        if old != NOWHERE {
            let row = &mut self.cells[old as usize];
            row.swap_remove(at as usize);
            if let Some(other) = row.get(at as usize) {
                self.places[*other as usize].1 = at;
            }
            if row.is_empty() {
                self.rows[old as usize / STEPS] &= !(1 << (old as usize % STEPS));
            }
        }
        let mut at = 0;
        if cell != NOWHERE {
            let row = &mut self.cells[cell as usize];
            at = row.len() as u32;
            row.push(agent);
            self.rows[cell as usize / STEPS] |= 1 << (cell as usize % STEPS);
        }
        self.places[agent as usize] = (cell, at);
    }

    /// How many agents may have room for that: no fewer than have.
    pub fn count(&self, wanted: &Quantities) -> u64 {
        let (cpus, mem) = steps(wanted.cpus_milli(), wanted.mem_bytes());
        let mut count = 0;
        for (at, row) in self.rows.iter().enumerate().skip(cpus) {
            let mut left = row & (!0 << mem);
            while left != 0 {
                count += self.cells[at * STEPS + left.trailing_zeros() as usize].len() as u64;
                left &= left - 1;
            }
        }
        count
    }

    /// Shows the agents that may have room for that until told to stop. Within a cell it begins at another agent with
    /// each `turn`, so that equals take turns.
    pub fn visit(
        &self,
        wanted: &Quantities,
        first: First,
        turn: u32,
        mut show: impl FnMut(u32) -> ControlFlow<()>,
    ) {
        if self.rows.is_empty() {
            return;
        }
        let (cpus, mem) = steps(wanted.cpus_milli(), wanted.mem_bytes());
        for nth in 0..STEPS - cpus {
            let row = match first {
                First::Roomy => STEPS - 1 - nth,
                First::Tight => cpus + nth,
            };
            let mut left = self.rows[row] & (!0 << mem);
            while left != 0 {
                let column = match first {
                    First::Roomy => 63 - left.leading_zeros(),
                    First::Tight => left.trailing_zeros(),
                };
                left &= !(1 << column);
                let cell = &self.cells[row * STEPS + column as usize];
                let (tail, head) = cell.split_at(turn as usize % cell.len().max(1));
                for agent in head.iter().chain(tail) {
                    if show(*agent).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether an agent stands where its room says, for tests.
    pub fn is_placed(&self, agent: u32, room: Option<&Quantities>) -> bool {
        let (cell, at) = self.places.get(agent as usize).copied().unwrap_or((NOWHERE, 0));
        let right = room.map_or(NOWHERE, |room| {
            let (cpus, mem) = steps(room.cpus_milli(), room.mem_bytes());
            (cpus * STEPS + mem) as u32
        });
        let there = cell == NOWHERE || self.cells[cell as usize].get(at as usize) == Some(&agent);
        self.is_moved.has(agent) || (cell == right && there)
    }
}

fn steps(cpus_milli: u64, mem_bytes: u64) -> (usize, usize) {
    (step(cpus_milli, CPUS_FROM), step(mem_bytes, MEM_FROM))
}

/// The step of an amount: growing with it, four to a doubling.
fn step(amount: u64, from: u32) -> usize {
    let Some(log) = amount.checked_ilog2().filter(|log| *log >= from) else { return 0 };
    let quarter = (amount >> (log - 2)) & 3;
    ((log - from) as usize * 4 + quarter as usize + 1).min(STEPS - 1)
}

#[cfg(test)]
mod tests {
    use proto_machine::Dice;

    use super::*;

    #[test]
    fn steps_never_fall() {
        let mut dice = Dice::new(1);
        for _ in 0..10_000 {
            let a = dice.next_u64() >> dice.below(64);
            let b = a.saturating_add(dice.below(a / 2 + 2));
            assert!(step(a, CPUS_FROM) <= step(b, CPUS_FROM), "{a} {b}");
        }
        assert_eq!((step(0, 5), step(u64::MAX, 5)), (0, STEPS - 1));
    }

    #[test]
    fn everybody_with_enough_room_is_shown_once() {
        let mut dice = Dice::new(2);
        let mut grid = Grid::default();
        let mut rooms: Vec<Option<Quantities>> = vec![None; 200];
        for round in 0..300 {
            for _ in 0..20 {
                let agent = dice.below(200) as usize;
                let room = Quantities::of(dice.below(64_000), dice.below(64 << 30));
                rooms[agent] = dice.chance(4, 5).then_some(room);
                grid.moved(agent as u32);
            }
            grid.refresh(|agent| rooms[agent as usize].as_ref());
            let wanted = Quantities::of(dice.below(64_000), dice.below(64 << 30));
            let fits = |agent: u32| rooms[agent as usize].as_ref().is_some_and(|room| room.contains(&wanted));
            let all: Vec<u32> = (0..200).filter(|agent| fits(*agent)).collect();
            for first in [First::Roomy, First::Tight] {
                let mut shown = Vec::new();
                grid.visit(&wanted, first, round, |agent| {
                    shown.push(agent);
                    ControlFlow::Continue(())
                });
                assert_eq!(grid.count(&wanted), shown.len() as u64);
                // The first cells hold the most, or the least, cpus.
                let cpus = |agent: &u32| rooms[*agent as usize].as_ref().map_or(0, Quantities::cpus_milli);
                let steps: Vec<usize> = shown.iter().map(|a| step(cpus(a), CPUS_FROM)).collect();
                assert!(match first {
                    First::Roomy => steps.is_sorted_by(|a, b| a >= b),
                    First::Tight => steps.is_sorted(),
                });
                shown.sort_unstable();
                let fitting: Vec<u32> = shown.iter().copied().filter(|agent| fits(*agent)).collect();
                assert_eq!(fitting, all);
                shown.dedup();
                assert_eq!(shown.len() as u64, grid.count(&wanted), "nobody twice");
            }
            assert!((0..200).all(|agent| grid.is_placed(agent, rooms[agent as usize].as_ref())));
        }
    }
}
