//! `Calls`: what a scheduler wants done, in the order in which it wants it.

use std::time::Duration;

use proto::demand::{DeclineReason, Demand, Filter};
use proto::framework::FrameworkInfo;
use proto::id::{OfferId, TaskId};
use proto::offer::Offer;
use proto::operation::{Launch, Operation};
use proto::role::Role;
use proto::scheduler::{Accept, AcceptPart, Decline, Kill, UpdateDemands};
use proto::task::{TaskInfo, TaskStatus};

use crate::place::Room;

/// How many tasks one accept holds at most; more go out as several. It keeps a call far below the 4 MiB that gRPC
/// takes by default, with a kilobyte and more for each task.
pub const ACCEPT_TASKS_MAX: usize = 1000;

/// One status that the scheduler has to take in. The agent sends it again until [`Calls::done`] is told; a terminal one
/// should be durable before that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an update that is not given to `Calls::done` comes again"]
pub struct Update {
    pub(crate) status: TaskStatus,
}

/// What a scheduler wants done, collected during one call of it and carried out in order. `O` is what the scheduler
/// itself needs of its shell (storing, answering people); nothing behind such an output leaves before it is performed.
#[derive(Debug)]
pub struct Calls<O> {
    pub(crate) wants: Vec<(u64, Want<O>)>,
    tag: u64,
}

/// One thing wanted.
#[derive(Debug)]
pub(crate) enum Want<O> {
    Accept(Accept),
    Decline(Decline),
    Hold(OfferId, Duration),
    Suppress(Vec<Role>),
    Revive(Vec<Role>),
    Demands(UpdateDemands),
    Kill(Kill),
    Done(Update),
    Reconcile(Vec<TaskId>),
    Framework(FrameworkInfo),
    Teardown,
    Output(O),
}

// === impl Update ===

impl Update {
    /// The status itself.
    pub fn status(&self) -> &TaskStatus {
        &self.status
    }
}

// === impl Calls ===

impl<O> Default for Calls<O> {
    fn default() -> Self {
        Calls { wants: Vec::new(), tag: 0 }
    }
}

impl<O> Calls<O> {
    fn push(&mut self, want: Want<O>) {
        self.wants.push((self.tag, want));
    }

    /// Marks the calls after this one, until the next: their answers carry the tag.
    pub fn tag(&mut self, tag: u64) {
        self.tag = tag;
    }

    /// Uses these offers, each on its own: a fault in one does not touch the others, unless it has a reservation or a
    /// volume; then all is refused, since nothing but the answer could tell. A room in which nothing was placed
    /// is declined. `filter` is for what is left over.
    pub fn accept(&mut self, rooms: impl IntoIterator<Item = Room>, filter: Filter) {
        let mut parts: Vec<AcceptPart> = Vec::new();
        let mut tasks = 0;
        for room in rooms {
            let Some(room) = self.used(room) else { continue };
            let more: usize = room.operations.iter().map(tasks_in).sum();
            if !parts.is_empty() && tasks + more > ACCEPT_TASKS_MAX {
                self.push_accept(std::mem::take(&mut parts), false, filter);
                tasks = 0;
            }
            tasks += more;
            parts.push(AcceptPart { offers: vec![room.offer.id], operations: room.operations });
        }
        if !parts.is_empty() {
            self.push_accept(parts, false, filter);
        }
    }

    /// Uses these offers all or none (a gang).
    pub fn accept_together(&mut self, rooms: impl IntoIterator<Item = Room>, filter: Filter) {
        let mut parts = Vec::new();
        for room in rooms {
            let Some(room) = self.used(room) else { continue };
            parts.push(AcceptPart { offers: vec![room.offer.id], operations: room.operations });
        }
        if !parts.is_empty() {
            self.push_accept(parts, true, filter);
        }
    }

    fn used(&mut self, room: Room) -> Option<Room> {
        if room.operations.is_empty() {
            self.decline(room.offer, DeclineReason::Unused, Filter::DEFAULT);
            return None;
        }
        Some(room)
    }

    fn push_accept(&mut self, parts: Vec<AcceptPart>, all_or_nothing: bool, filter: Filter) {
        self.push(Want::Accept(Accept { parts, all_or_nothing, filter }));
    }

    /// Gives an offer back and says why.
    pub fn decline(&mut self, offer: Offer, reason: DeclineReason, filter: Filter) {
        if let Some(Want::Decline(last)) = self.wants.last_mut().map(|(_, want)| want)
            && last.reason == reason
            && last.filter == filter
        {
            last.offers.push(offer.id);
            return;
        }
        self.push(Want::Decline(Decline { offers: vec![offer.id], reason, filter }));
    }

    /// Keeps an offer for later. Unless it is answered in time, [`crate::Scheduler::rescinded`] is told that it expired.
    pub fn hold(&mut self, offer: &Offer) {
        self.push(Want::Hold(offer.id, offer.expires_in));
    }

    /// Wants no offers in these roles; none named: all.
    pub fn suppress(&mut self, roles: Vec<Role>) {
        self.push(Want::Suppress(roles));
    }

    /// Wants offers again in these roles, and forgets the filters; none named: all.
    pub fn revive(&mut self, roles: Vec<Role>) {
        self.push(Want::Revive(roles));
    }

    /// Says all that is wanted from now on: offers come for these demands only, in their size. No demands, no offers.
    pub fn demand(&mut self, demands: Vec<Demand>) {
        self.push(Want::Demands(UpdateDemands { demands, demand_driven: true }));
    }

    /// Takes plain offers again, whatever the size.
    pub fn demand_nothing(&mut self) {
        self.push(Want::Demands(UpdateDemands { demands: Vec::new(), demand_driven: false }));
    }

    /// Ends a task; `grace` instead of its own. Once it is answered the log remembers it.
    pub fn kill(&mut self, task: TaskId, grace: Option<Duration>) {
        self.push(Want::Kill(Kill { task, grace }));
    }

    /// The update is taken in: it need not come again.
    pub fn done(&mut self, update: Update) {
        self.push(Want::Done(update));
    }

    /// Asks for the state of tasks; the answers come as updates. Seldom needed: a new session asks by itself.
    pub fn reconcile(&mut self, tasks: Vec<TaskId>) {
        self.push(Want::Reconcile(tasks));
    }

    /// Changes what the framework says of itself.
    pub fn update_framework(&mut self, info: FrameworkInfo) {
        self.push(Want::Framework(info));
    }

    /// Ends the framework and all its tasks. Its id is dead afterwards.
    pub fn teardown(&mut self) {
        self.push(Want::Teardown);
    }

    /// Something for the scheduler's own shell, performed before anything that is asked after it.
    pub fn emit(&mut self, output: O) {
        self.push(Want::Output(output));
    }

    /// Takes out what is for the shell, and leaves what is for the master: for a scheduler that contains another one and
    /// is its shell.
    pub fn take_outputs(&mut self) -> Vec<O> {
        let mut outputs = Vec::new();
        for (tag, want) in std::mem::take(&mut self.wants) {
            match want {
                Want::Output(output) => outputs.push(output),
                other => self.wants.push((tag, other)),
            }
        }
        outputs
    }

    /// Passes on what a scheduler that is contained in this one wants of the master, with each task that it starts
    /// completed by `dress`. What it wants of its shell is not passed on: see [`Calls::take_outputs`].
    pub fn relay<P>(&mut self, inner: Calls<P>, mut dress: impl FnMut(&mut TaskInfo)) {
        for (tag, want) in inner.wants {
            let want = match want {
                Want::Accept(mut accept) => {
                    let operations = accept.parts.iter_mut().flat_map(|part| &mut part.operations);
                    operations.flat_map(tasks_of_mut).for_each(&mut dress);
                    Want::Accept(accept)
                }
                Want::Decline(decline) => Want::Decline(decline),
                Want::Hold(offer, time) => Want::Hold(offer, time),
                Want::Suppress(roles) => Want::Suppress(roles),
                Want::Revive(roles) => Want::Revive(roles),
                Want::Demands(demands) => Want::Demands(demands),
                Want::Kill(kill) => Want::Kill(kill),
                Want::Done(update) => Want::Done(update),
                Want::Reconcile(tasks) => Want::Reconcile(tasks),
                Want::Framework(info) => Want::Framework(info),
                Want::Teardown => Want::Teardown,
                Want::Output(_) => continue,
            };
            self.wants.push((tag, want));
        }
    }
}

/// The tasks of one operation.
pub(crate) fn tasks_of(operation: &Operation) -> &[TaskInfo] {
    match operation {
        Operation::Launch(launch) => &launch.tasks,
        Operation::LaunchGroup(group) => &group.tasks,
        Operation::Reserve(_)
        | Operation::Unreserve(_)
        | Operation::CreateVolume(_)
        | Operation::DestroyVolume(_) => &[],
    }
}

fn tasks_of_mut(operation: &mut Operation) -> &mut [TaskInfo] {
    match operation {
        Operation::Launch(launch) => &mut launch.tasks,
        Operation::LaunchGroup(group) => &mut group.tasks,
        Operation::Reserve(_)
        | Operation::Unreserve(_)
        | Operation::CreateVolume(_)
        | Operation::DestroyVolume(_) => &mut [],
    }
}

fn tasks_in(operation: &Operation) -> usize {
    tasks_of(operation).len()
}

/// A launch of these tasks.
pub(crate) fn launch(tasks: Vec<TaskInfo>) -> Operation {
    Operation::Launch(Launch { tasks })
}
