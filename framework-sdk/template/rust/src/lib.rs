//! A framework that keeps so many copies of a command running: put what yours decides in its place.

use std::collections::BTreeSet;

use framework_sdk::demand::{Demand, Filter};
use framework_sdk::id::{DemandId, FrameworkId, TaskId};
use framework_sdk::offer::Offer;
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::Amount;
use framework_sdk::role::Role;
use framework_sdk::task::TaskState;
use framework_sdk::{Calls, Now, Packing, Room, Scheduler, Session, Update, choose, tasks};

/// Keeps so many copies running.
#[derive(Debug)]
pub struct Keep {
    wanted: usize,
    next: u32,
    /// Those that have not ended, as far as is known.
    pub alive: BTreeSet<TaskId>,
}

impl Keep {
    /// So many, and none yet.
    pub fn new(wanted: usize) -> Self {
        Keep { wanted, next: 0, alive: BTreeSet::new() }
    }

    fn shape() -> Amount {
        Amount::scalars(Quantities::of(500, 64 << 20))
    }

    fn missing(&self) -> Vec<Demand> {
        let count = self.wanted.saturating_sub(self.alive.len());
        let demand = Demand {
            id: DemandId::new("copies").expect("an id"),
            role: Role::default_role(),
            shape: Keep::shape(),
            count: count as u64,
            constraints: Default::default(),
            priority: 0,
        };
        if count == 0 { Vec::new() } else { vec![demand] }
    }
}

impl Scheduler for Keep {
    /// So many copies from now on.
    type Input = usize;
    /// Its id, to be kept.
    type Output = FrameworkId;

    fn demands(&self) -> Option<Vec<Demand>> {
        Some(self.missing())
    }

    fn subscribed(&mut self, _: Now, session: &Session, out: &mut Calls<FrameworkId>) {
        out.emit(session.framework.clone());
    }

    fn offers(&mut self, _: Now, offers: Vec<Offer>, out: &mut Calls<FrameworkId>) {
        let mut rooms: Vec<Room> = offers.into_iter().map(Room::new).collect();
        while self.alive.len() < self.wanted {
            let Some(at) = choose(&rooms, &Keep::shape(), Packing::Spread) else { break };
            self.next += 1;
            let id = TaskId::new(&format!("copy.{}", self.next)).expect("an id");
            if rooms[at].place(&Keep::shape(), tasks::shell(id.clone(), "exec sleep 1d")).is_err() {
                break;
            }
            self.alive.insert(id);
        }
        out.accept(rooms, Filter::DEFAULT);
        out.demand(self.missing());
    }

    fn update(&mut self, _: Now, update: Update, out: &mut Calls<FrameworkId>) {
        let status = update.status();
        if status.state.is_terminal() || status.state == TaskState::Unknown {
            self.alive.remove(&status.task);
        } else {
            // One of an earlier life is as good as one of this.
            self.alive.insert(status.task.clone());
            let number = status.task.as_str().trim_start_matches("copy.").parse().unwrap_or(0);
            self.next = self.next.max(number);
        }
        out.done(update);
        out.demand(self.missing());
    }

    fn input(&mut self, _: Now, wanted: usize, out: &mut Calls<FrameworkId>) {
        self.wanted = wanted;
        let surplus: Vec<TaskId> = self.alive.iter().skip(wanted).cloned().collect();
        surplus.into_iter().for_each(|task| out.kill(task, None));
        out.demand(self.missing());
    }
}
