//! What the author wants is carried out: asked until it is answered, or said once.

use proto::id::OfferId;
use proto::scheduler::{
    Acknowledge, Call, CallKind, Reconcile, Revive, Suppress, UpdateDemands, UpdateFramework,
};
use proto::task::TaskStatus;
use proto_machine::{Now, Outbox};

use super::{Driver, Output};
use crate::calls::Want;
use crate::pending::{Purpose, launched_by};
use crate::scheduler::Scheduler;

/// Acknowledgements said again after a broken link, since nothing tells whether they arrived.
const RECENT_ACKS_MAX: usize = 4096;

impl<S: Scheduler> Driver<S> {
    pub(super) fn carry_out(
        &mut self,
        now: Now,
        want: Want<S::Output>,
        purpose: Purpose,
        out: &mut Outbox<Output<S::Output>>,
    ) {
        if let Want::Output(output) = want {
            out.push(Output::Author(output));
            return;
        }
        if self.line.has_ended() {
            return;
        }
        match want {
            Want::Output(_) => {}
            Want::Accept(accept) => {
                for offer in accept.parts.iter().flat_map(|part| &part.offers) {
                    self.answered(offer);
                }
                let call = CallKind::Accept(accept);
                for task in launched_by(&call) {
                    self.tracker.expect(task.clone());
                    self.launching.insert(task.clone());
                }
                self.ask(now, call, purpose, out);
            }
            Want::Decline(decline) => {
                for offer in &decline.offers {
                    self.answered(offer);
                }
                self.say(now, CallKind::Decline(decline), out);
            }
            Want::Hold(offer, expires_in) => {
                if self.open.remove(&offer) {
                    self.held.set(offer, now.monotonic + expires_in);
                }
            }
            Want::Suppress(roles) => {
                let named = if roles.is_empty() { self.line.info.roles.clone() } else { roles.clone() };
                self.line.suppressed.extend(named);
                self.say(now, CallKind::Suppress(Suppress { roles }), out);
            }
            Want::Revive(roles) => {
                if roles.is_empty() {
                    self.line.suppressed.clear();
                }
                for role in &roles {
                    self.line.suppressed.remove(role);
                }
                self.ask(now, CallKind::Revive(Revive { roles }), purpose, out);
            }
            Want::Demands(demands) => {
                // Each replaces the one before, so an older one without an answer need not be said again.
                self.pending.retain(|waiting| !matches!(waiting.call, CallKind::UpdateDemands(_)));
                if demands.demand_driven && self.line.demands.is_none() {
                    // Whatever the master says to these: plain offers are not wanted from now on.
                    self.line.demands = Some(UpdateDemands { demands: Vec::new(), demand_driven: true });
                }
                self.ask(now, CallKind::UpdateDemands(demands), purpose, out);
            }
            Want::Kill(kill) => {
                if self.launching.contains(&kill.task) {
                    self.to_kill.insert(kill.task, (kill.grace, purpose));
                } else {
                    self.ask(now, CallKind::Kill(kill), purpose, out);
                }
            }
            Want::Done(update) => {
                self.due.extend(self.tracker.done(&update.status));
                self.acknowledge(now, &update.status, out);
            }
            Want::Reconcile(tasks) => {
                self.ask(now, CallKind::Reconcile(Reconcile { tasks }), purpose, out);
            }
            Want::Framework(framework) => {
                self.agreed.get_or_insert_with(|| self.line.info.clone());
                self.line.info = framework.clone();
                self.ask(now, CallKind::UpdateFramework(UpdateFramework { framework }), purpose, out);
            }
            Want::Teardown => self.ask(now, CallKind::Teardown, purpose, out),
        }
    }

    fn answered(&mut self, offer: &OfferId) {
        self.open.remove(offer);
        self.held.cancel(offer);
    }

    /// Sends a call until it is answered.
    pub(super) fn ask(
        &mut self,
        now: Now,
        call: CallKind,
        purpose: Purpose,
        out: &mut Outbox<Output<S::Output>>,
    ) {
        let number = self.pending.add(call, purpose);
        self.send_pending(now, number, out);
    }

    pub(super) fn send_pending(&mut self, now: Now, number: u64, out: &mut Outbox<Output<S::Output>>) {
        if self.line.stands()
            && let Some(call) = self.pending.call(number)
        {
            self.line.send(now, call, out);
        }
    }

    /// Sends a call once: it means nothing to another session.
    pub(super) fn say(&mut self, now: Now, kind: CallKind, out: &mut Outbox<Output<S::Output>>) {
        if self.line.stands() {
            let call = self.pending.unkept(kind);
            self.line.send(now, call, out);
        }
    }

    pub(super) fn acknowledge(&mut self, now: Now, status: &TaskStatus, out: &mut Outbox<Output<S::Output>>) {
        let (Some(run), true) = (status.run, status.sequence > 0) else { return };
        let acknowledge = Acknowledge { task: status.task.clone(), run, sequence: status.sequence };
        self.acknowledged.push_back(acknowledge.clone());
        if self.acknowledged.len() > RECENT_ACKS_MAX {
            self.acknowledged.pop_front();
        }
        self.line.send(now, Call { operation: None, kind: CallKind::Acknowledge(acknowledge) }, out);
    }
}
