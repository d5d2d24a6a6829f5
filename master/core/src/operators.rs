//! What operators ask: whether they may, what is answered at once, and what goes into the log.

use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::operator::ReplyKind;
use proto_machine::{Now, Outbox};

use crate::consensus::Question;
use crate::input::{OperatorCall, Ticket};
use crate::master::Master;
use crate::output::{Note, Output};
use crate::verbs::{operate, rights};

impl Master {
    /// The right that a call needs.
    fn action(caller: &Caller, call: &OperatorCall) -> Option<Action> {
        match call {
            OperatorCall::Raft | OperatorCall::Explain(_) => Some(Action::Read),
            OperatorCall::KillTask(_) => Some(Action::KillTask),
            OperatorCall::SetQuota(_) | OperatorCall::SetWeight(_) => Some(Action::SetRole),
            OperatorCall::TeardownFramework(_) => Some(Action::TeardownFramework),
            OperatorCall::MarkAgentGone(_) => Some(Action::MarkAgentGone),
            OperatorCall::DrainAgent(_) | OperatorCall::ResumeAgent(_) => Some(Action::DrainAgent),
            OperatorCall::OperateAgent(_) => Some(Action::Reserve),
            OperatorCall::SetSecret(_) | OperatorCall::RemoveSecret(_) => Some(Action::SetSecret),
            OperatorCall::CreateToken(_) => Some(Action::CreateToken),
            OperatorCall::ChangeMasters(_) | OperatorCall::CancelMasters | OperatorCall::TransferLead(_) => {
                Some(Action::ChangeMasters)
            }
            OperatorCall::Principals | OperatorCall::SetRights(_) => Some(Action::SetRights),
            OperatorCall::CanI(asked) if asked.principal.as_ref().is_some_and(|other| other != caller) => {
                Some(Action::SetRights)
            }
            OperatorCall::DryRun(order) => Self::action(caller, order),
            // Everybody may know of themselves; and the token is the right.
            OperatorCall::CanI(_) | OperatorCall::WhoAmI | OperatorCall::RedeemToken { .. } => None,
        }
    }

    /// What can be answered from the log alone: by the leader, and by whoever knows none.
    fn answer(&self, now: Now, caller: &Caller, call: &OperatorCall) -> Option<ReplyKind> {
        if matches!(call, OperatorCall::Raft) {
            return Some(ReplyKind::Raft(self.members(now)));
        }
        if self.leading.is_none() && !self.leader_address().is_empty() {
            return None;
        }
        match call {
            OperatorCall::WhoAmI => Some(ReplyKind::Principal(rights::view(&self.registry, caller))),
            OperatorCall::Principals => Some(ReplyKind::Principals(rights::all(&self.registry))),
            OperatorCall::CanI(asked) => {
                Some(rights::can_i(&self.registry, &self.config.root_tasks, caller, asked))
            }
            OperatorCall::Raft
            | OperatorCall::Explain(_)
            | OperatorCall::KillTask(_)
            | OperatorCall::SetQuota(_)
            | OperatorCall::SetWeight(_)
            | OperatorCall::TeardownFramework(_)
            | OperatorCall::MarkAgentGone(_)
            | OperatorCall::DrainAgent(_)
            | OperatorCall::ResumeAgent(_)
            | OperatorCall::OperateAgent(_)
            | OperatorCall::DryRun(_)
            | OperatorCall::SetRights(_)
            | OperatorCall::ChangeMasters(_)
            | OperatorCall::CancelMasters
            | OperatorCall::TransferLead(_)
            | OperatorCall::SetSecret(_)
            | OperatorCall::RemoveSecret(_)
            | OperatorCall::CreateToken(_)
            | OperatorCall::RedeemToken { .. } => None,
        }
    }

    pub(crate) fn operator(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        call: OperatorCall,
        out: &mut Outbox<Output>,
    ) {
        let action = Self::action(caller, &call);
        if let Some(Err(refusal)) = action.map(|action| authorize(caller, &action)) {
            out.push(Output::Note(Note::Refused {
                caller: caller.to_string(),
                code: refusal.code,
                message: refusal.message.clone(),
            }));
            return out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
        }
        if let Some(kind) = self.answer(now, caller, &call) {
            return out.push(Output::Reply { ticket, kind });
        }
        // Whoever leads otherwise is asked next; and if nobody does, this is why.
        if let Some(refusal) = self.has_no_room().filter(|_| !matches!(call, OperatorCall::Explain(_))) {
            return out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
        }
        self.order(now, ticket, caller, call, false, out);
    }

    /// Carries an order out, or asks first whether what stands in its way is so as of now.
    pub(crate) fn order(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        call: OperatorCall,
        sure: bool,
        out: &mut Outbox<Output>,
    ) {
        if self.leading.is_none() {
            let kind = ReplyKind::Redirect(self.leader_address());
            return out.push(Output::Reply { ticket, kind });
        }
        if self.operate_masters(now, ticket, caller, &call, sure, out) {
            return;
        }
        let again = self.at_desk(now, out, |d| operate::operate(d, ticket, caller, call, sure)).flatten();
        if let Some(call) = again {
            self.ask(now, Question::Order(ticket, caller.clone(), call));
        }
    }
}
