//! A framework that is wrong, or hostile: beside what it should do it asks for what is others', and for nonsense. Nothing of
//! that may have any effect, which is for the checkers to see: they know nothing of what it asks here.

use std::time::Duration;

use framework_sdk_core::task;
use proto::demand::{DeclineReason, Filter};
use proto::id::{OfferId, OperationId, TaskId};
use proto::operation::{Launch, Operation};
use proto::resources::Resources;
use proto::scheduler::{Accept, AcceptPart, Acknowledge, Call, CallKind, Decline, Kill, Reconcile};

use crate::network::Up;
use crate::node::Node;
use crate::world::World;

impl World {
    /// Says something wrong on its stream.
    pub(crate) fn says_wrong(&mut self, node: Node, stream: u64) {
        let kind = match self.dice.below(5) {
            0 | 1 => self.uses_others_offer(node),
            2 => self.kills_others_task(node),
            3 => self.acknowledges_for_others(node),
            _ => Some(CallKind::Reconcile(Reconcile { tasks: TaskId::new("nobodys").into_iter().collect() })),
        };
        let Some(kind) = kind else { return };
        let number = self.dice.below(1 << 20);
        let named = !matches!(kind, CallKind::Acknowledge(_));
        let operation = OperationId::new(&format!("wrong-{number}")).ok().filter(|_| named);
        self.mark("a framework asked for what is others'");
        self.send_up(stream, Up::Call(Box::new(Call { operation, kind })));
    }

    /// Launches on an offer that was made to another, or gives that back.
    fn uses_others_offer(&mut self, node: Node) -> Option<CallKind> {
        let leader = *self.leaders().first()?;
        let own = self.frameworks[node.index()].memory.framework.clone()?;
        let offers: Vec<(OfferId, Resources)> = self.checks.quota.open_to_others(leader, &own).collect();
        let (offer, resources) = self.dice.pick(&offers).cloned()?;
        let filter = Filter { refuse: Duration::from_secs(60) };
        if self.dice.chance(1, 3) {
            let reason = DeclineReason::Unused;
            return Some(CallKind::Decline(Decline { offers: vec![offer], reason, filter }));
        }
        let mut stolen =
            task::argv(TaskId::new(&format!("stolen.{}", self.dice.below(1 << 20))).ok()?, ["work"]);
        stolen.resources = resources;
        let operations = vec![Operation::Launch(Launch { tasks: vec![stolen] })];
        let parts = vec![AcceptPart { offers: vec![offer], operations }];
        Some(CallKind::Accept(Accept { parts, all_or_nothing: self.dice.chance(1, 2), filter }))
    }

    fn kills_others_task(&mut self, node: Node) -> Option<CallKind> {
        let own = self.frameworks[node.index()].memory.framework.clone();
        let others: Vec<TaskId> = self
            .running()
            .into_iter()
            .filter(|(of, _)| Some(of) != own.as_ref())
            .map(|(_, task)| task)
            .collect();
        let task = self.dice.pick(&others).cloned()?;
        // A task of its own may have the same name, and that it may kill.
        let is_own = own.is_some_and(|own| self.checks.launches.is_asked_for(&own, &task));
        (!is_own).then_some(CallKind::Kill(Kill { task, grace: None }))
    }

    fn acknowledges_for_others(&mut self, node: Node) -> Option<CallKind> {
        let own = self.frameworks[node.index()].memory.framework.clone();
        let slots = self.agents.iter().flat_map(|agent| agent.keeper.alive());
        let others = slots.filter(|(_, slot)| Some(&slot.given.framework) != own.as_ref());
        let others: Vec<_> = others.map(|(run, slot)| (run, slot.given.task.id.clone())).collect();
        let (run, task) = self.dice.pick(&others).cloned()?;
        Some(CallKind::Acknowledge(Acknowledge { task, run, sequence: 1 + self.dice.below(4) }))
    }
}
