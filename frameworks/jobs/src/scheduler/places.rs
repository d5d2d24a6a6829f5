//! Offers become launches, and what waits becomes demands.

use std::sync::Arc;

use framework_sdk::demand::{DeclineReason, Demand, Filter};
use framework_sdk::id::DemandId;
use framework_sdk::offer::Offer;
use framework_sdk::role::Role;
use framework_sdk::{ACCEPT_TASKS_MAX, Calls, Now, Room};

use super::report::Note;
use super::work::JobName;
use super::{Jobs, Output};
use crate::spec::task_id;
use crate::store::{Instance, Record};
use crate::wire::TaskState;

/// An accept stays below half of the 4 MiB that a master takes in one call.
const ACCEPT_BYTES_MAX: usize = 2 << 20;
/// Serial numbers are stored ahead by so many.
const SERIALS_AHEAD: u64 = 1000;
/// So many demands at most are declared at once (the master's own limit); other jobs wait for their turn.
const DEMANDS_MAX: usize = 1000;
/// Nothing is left over of an offer that was made to size, and what is may be offered again at once: the next job may
/// come any moment.
const AT_ONCE: Filter = Filter { refuse: std::time::Duration::ZERO };

/// Offers with tasks in them, in accepts of a size that a master takes.
pub(super) type Placed = Vec<Vec<Room>>;

impl Jobs {
    /// Fills the offers of this batch. The launches are recorded, not yet asked for.
    pub(super) fn place(&mut self, now: Now, out: &mut Calls<Output>) -> Placed {
        let mut placed: Placed = Vec::new();
        let (mut tasks, mut bytes) = (0, 0);
        for offer in std::mem::take(&mut self.offers) {
            let (room, why, size) = self.fill(now, offer);
            if room.is_unused() {
                let filter = if why == DeclineReason::Unused { AT_ONCE } else { Filter::DEFAULT };
                out.decline(room.into_offer(), why, filter);
                continue;
            }
            let full = tasks + room.placed() > ACCEPT_TASKS_MAX || bytes + size > ACCEPT_BYTES_MAX;
            if full || placed.is_empty() {
                placed.push(Vec::new());
                (tasks, bytes) = (0, 0);
            }
            tasks += room.placed();
            bytes += size;
            if let Some(last) = placed.last_mut() {
                last.push(room);
            }
        }
        placed
    }

    /// Asks for what was placed. Everything in it must be stored by now.
    pub(super) fn accept(&mut self, placed: Placed, out: &mut Calls<Output>) {
        for rooms in placed {
            out.accept(rooms, AT_ONCE);
        }
    }

    /// Fills one offer: with the job it was made for, else with any that may use it. Says why nothing fitted, and about
    /// how many bytes the tasks in it take.
    fn fill(&mut self, now: Now, offer: Offer) -> (Room, DeclineReason, usize) {
        let mut why = DeclineReason::Unused;
        let mut bytes = 0;
        let jobs: Vec<JobName> = match &offer.demand {
            Some(demand) => {
                self.work.get_key_value(demand.as_str()).map(|(name, _)| name.clone()).into_iter().collect()
            }
            None => self.work.keys().cloned().collect(),
        };
        let mut room = Room::new(offer);
        for job in jobs {
            if let Some(reason) = self.fill_with(now, &job, &mut room, &mut bytes) {
                why = reason;
            }
        }
        (room, why, bytes)
    }

    fn fill_with(
        &mut self,
        now: Now,
        job: &JobName,
        room: &mut Room,
        bytes: &mut usize,
    ) -> Option<DeclineReason> {
        let work = self.work.get(job).filter(|work| !work.ready.is_empty())?;
        let stored = self.state.jobs.get(&**job)?;
        let (spec, revision) = (stored.spec.clone(), stored.revision);
        if spec.role.as_ref().unwrap_or(&self.role) != &room.offer().role {
            return None;
        }
        let agent = room.offer().agent.clone();
        if !spec.constraints.allow(&agent) {
            return Some(DeclineReason::Constraints);
        }
        let (shape, task_bytes) = (work.shape.clone(), work.task_bytes);
        let mut launched = 0;
        while room.placed() < ACCEPT_TASKS_MAX && *bytes + task_bytes <= ACCEPT_BYTES_MAX.max(task_bytes) {
            let Some(number) = self.work.get(job).and_then(|work| work.ready.first().copied()) else { break };
            let Some(resources) = room.take(&shape) else {
                return (launched == 0).then_some(DeclineReason::TooSmall);
            };
            let Ok(id) = task_id(job, number, self.next_serial()) else { break };
            let stored = self.state.jobs.get(&**job);
            let before = stored.and_then(|job| job.instances.get(&number)).cloned();
            let before = before.unwrap_or_else(|| Instance::waiting(number, revision));
            let note = Note::Launch { job: job.to_string(), task: id.clone(), agent: agent.id.clone() };
            self.report(note);
            room.launch(spec.task(id.clone(), number, before.attempt, resources));
            *bytes += task_bytes;
            launched += 1;
            if let Some(work) = self.work.get_mut(job) {
                work.ready.remove(&number);
                work.fresh.insert(number);
            }
            self.tasks.insert(id.clone(), (job.clone(), number));
            self.put(
                job,
                Instance {
                    task: Some(id),
                    revision,
                    state: TaskState::TaskStaging,
                    agent: Some(agent.id.clone()),
                    hostname: agent.hostname.clone(),
                    agent_address: agent.address.clone(),
                    exit: None,
                    message: String::new(),
                    at_ms: now.wall.as_millis(),
                    not_before_ms: 0,
                    ..before
                },
            );
            self.demands_changed = true;
        }
        None
    }

    /// A number for a task id that was never used. When the stored ones run out, more are recorded.
    fn next_serial(&mut self) -> u64 {
        if self.serial >= self.state.serials_below {
            self.record(Record::SerialsReserved { below: self.serial.saturating_add(SERIALS_AHEAD) });
        }
        self.serial += 1;
        self.serial - 1
    }

    /// Says what is wanted, if that changed.
    pub(super) fn demand(&mut self, out: &mut Calls<Output>) {
        if !self.demands_changed || !self.connected {
            return;
        }
        self.demands_changed = false;
        let mut demands = Vec::new();
        for (name, work) in &self.work {
            let Some(job) = self.state.jobs.get(&**name) else { continue };
            let role = job.spec.role.as_ref().unwrap_or(&self.role);
            if work.ready.is_empty() || !self.granted.contains(role) || demands.len() == DEMANDS_MAX {
                continue;
            }
            let Ok(id) = DemandId::new(name) else { continue };
            demands.push(Demand {
                id,
                role: role.clone(),
                shape: work.shape.clone(),
                count: work.ready.len() as u64,
                constraints: job.spec.constraints.clone(),
                priority: 0,
            });
        }
        // Said at least once, or the master would send plain offers.
        if demands != self.demanded || !self.said_demands {
            self.demanded.clone_from(&demands);
            self.said_demands = true;
            out.demand(demands);
        }
    }

    /// A role that no job was in before: the master has to know it before anything is wanted in it.
    pub(super) fn take_role(&mut self, role: &Role) {
        if !self.info.roles.contains(role) {
            self.info.roles.push(role.clone());
            self.info_changed = true;
        }
    }
}

/// The name of a job as a key.
pub(super) fn key(name: &str) -> JobName {
    Arc::from(name)
}
