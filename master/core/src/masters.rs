//! Who the masters are: the list in the log, and how the two groups get to where it says.
//!
//! The order is the store's group first and the registry's behind it. A master that leaves hears of the list for as long as
//! it is in the registry's group, so whoever leads the store's group knows where it is to go. When both are there an entry
//! says so, and only then numbers are retired, and those who have them told to stop.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use master_raft::{Aim, Bearing, NodeId, Room};
use proto::agent_link::ToAgentKind;
use proto::caller::Caller;
use proto::id::MasterId;
use proto::log::{Entry, MastersChanged};
use proto::operator::{ChangeMasters, MemberView, ReplyKind, TransferLead};
use proto::refusal::{Code, Refusal};
use proto::roster::{Roster, Standing};
use proto::scheduler::EventKind;
use proto_machine::mutants::{self, Mutant};
use proto_machine::{Machine, Now, Outbox};

use crate::batch::Pending;
use crate::consensus::Question;
use crate::desk::Desk;
use crate::input::{LinkId, OperatorCall, SessionId, Ticket};
use crate::master::Master;
use crate::output::{Note, Output};

/// A master that was not heard for so long is not counted on: a dozen heartbeats.
const SILENT: Duration = Duration::from_secs(1);

/// That a change is through is said again after so long, if it is not in the log by then.
const SAID_AGAIN: Duration = Duration::from_secs(2);

/// What an order about masters comes to.
enum Plan {
    Entry(Entry),
    HandOver(MasterId),
}

impl Master {
    /// The list of masters.
    pub fn roster(&self) -> Cow<'_, Roster> {
        match self.registry().roster() {
            Some(roster) if mutants::is(Mutant::NumberAgain) => {
                Cow::Owned(Roster { retired: Vec::new(), ..roster.clone() })
            }
            Some(roster) => Cow::Borrowed(roster),
            None => Cow::Owned(Roster::founded(&self.config.members)),
        }
    }

    pub(crate) fn address_of(&self, id: MasterId) -> Option<String> {
        match self.registry().roster() {
            Some(roster) => roster.get(id).map(|master| master.address.clone()),
            None => self.config.members.get(&id).cloned(),
        }
    }

    /// The masters, as far as consensus knows.
    pub(crate) fn members(&self, now: Now) -> proto::operator::Raft {
        let status = self.raft.status();
        let roster = self.roster();
        let members = roster.masters.iter().map(|master| {
            let progress = status.progress.iter().find(|progress| progress.id.0 == master.id.0);
            MemberView {
                id: master.id,
                address: master.address.clone(),
                pid: 0,
                leader: self.leader == Some(master.id),
                alive: self.hears(now, master.id),
                matched: progress.map_or(0, |progress| progress.matched),
                standing: master.standing,
            }
        });
        proto::operator::Raft {
            members: members.collect(),
            term: self.term,
            applied: self.applied(),
            next_id: roster.next_id().0,
            change: self.change_in_words(now, &roster),
        }
    }

    fn change_in_words(&self, now: Now, roster: &Roster) -> String {
        if !roster.is_changing() {
            return String::new();
        }
        let change = roster.change_in_words();
        if !self.leads() {
            return change;
        }
        let last = self.raft.status().last_index;
        let late = roster.standing(Standing::Joins).find_map(|master| {
            let id = NodeId(master.id.0);
            if !self.hears(now, master.id) {
                return Some(format!("master {} is not heard; is it started?", master.id));
            }
            let status = self.raft.status();
            let has = status.progress.iter().find(|progress| progress.id == id).map_or(0, |p| p.matched);
            (!self.raft.has_caught_up(id))
                .then(|| format!("master {} has {has} of {last} entries", master.id))
        });
        let waits = match late {
            Some(late) => late,
            None if !self.store_is_there() => "the group of the frameworks' state changes".to_owned(),
            None => "the group of the registry changes".to_owned(),
        };
        format!("{change}: {waits}")
    }

    /// Whether a master was heard lately; this one hears itself.
    fn hears(&self, now: Now, id: MasterId) -> bool {
        let lately = |at: &proto_machine::Instant| *at + SILENT > now.monotonic;
        id == self.config.id || self.heard.get(&id).is_some_and(lately)
    }

    // === where the groups are ===

    /// How the other group stands, as its member in this process knows.
    pub(crate) fn store_members(&mut self, now: Now, store: Bearing) {
        self.store = Some(store);
        self.take_aim(now);
    }

    fn wanted(&self) -> Option<Vec<NodeId>> {
        self.registry().roster().map(|roster| roster.wanted().into_iter().map(|id| NodeId(id.0)).collect())
    }

    /// Whether the other group is where the list says, and has that list in its own log: before, its members may be so from
    /// before a change that was taken back, and still be about to change, or have changed where this process has not heard of it.
    fn store_is_there(&self) -> bool {
        if mutants::is(Mutant::RetireEarly) {
            return true;
        }
        let (Some(roster), Some(voters)) = (self.registry().roster(), self.wanted()) else { return true };
        let is = |Bearing { members, list }: &Bearing| {
            let still = !members.is_joint() && members.learners.is_empty();
            *list >= roster.version && still && members.voters == voters
        };
        self.store.as_ref().is_some_and(is)
    }

    fn take_aim(&mut self, now: Now) {
        if let Some(voters) = self.wanted().filter(|_| self.leads() || !mutants::is(Mutant::LoseChange)) {
            let aim = Aim { voters, only_learn: !self.store_is_there() };
            self.raft.step(now, master_raft::Input::Aim(aim), &mut Outbox::new());
        }
    }

    /// The log has another list.
    pub(crate) fn roster_changed(&mut self, now: Now, out: &mut Outbox<Output>) {
        let Some(roster) = self.registry().roster().cloned() else { return };
        self.take_aim(now);
        self.at_desk(now, out, |d| {
            let sessions: Vec<SessionId> = d.l.frameworks.sessions().map(|(session, _)| session).collect();
            let links: Vec<LinkId> = d.l.agents.links().collect();
            sessions.into_iter().for_each(|session| tell_session(d, session));
            links.into_iter().for_each(|link| tell_link(d, link));
        });
        out.push(Output::Roster(Arc::new(roster)));
    }

    /// Says in the log that both groups are where the list says, once they are; and again, should that be lost.
    pub(crate) fn settle_roster(&mut self, now: Now) {
        let Some(roster) = self.registry().roster().filter(|roster| roster.is_changing()) else { return };
        let version = roster.version;
        let (said, until) = self.settled;
        let is_said = said == version && now.monotonic < until;
        if self.leads() && !is_said && self.raft.is_where_it_aims() && self.store_is_there() {
            self.settled = (version, now.monotonic + SAID_AGAIN);
            self.batch.propose(Entry::MastersSettled(version), Pending::Nothing);
        }
    }

    /// What is said to whoever wants something changed while the disk of this master is full.
    pub(crate) fn has_no_room(&self) -> Option<Refusal> {
        let full = || {
            Refusal::new(Code::Unavailable, "the disk of this master is full: nothing can be stored")
                .with_help("make room where its data directory is; it goes on by itself")
        };
        (self.raft.room() == Room::None).then(full)
    }

    // === what operators want ===

    /// Whether the call was one about masters, which the leader alone knows enough for. As with other orders nothing is said by
    /// what is known here unless it is `sure`.
    pub(crate) fn operate_masters(
        &mut self,
        now: Now,
        ticket: Ticket,
        caller: &Caller,
        call: &OperatorCall,
        sure: bool,
        out: &mut Outbox<Output>,
    ) -> bool {
        let (dry, order) = match call {
            OperatorCall::DryRun(order) => (true, order.as_ref()),
            order => (false, order),
        };
        let planned = match order {
            OperatorCall::ChangeMasters(change) => self.change(now, caller, change).map(Plan::Entry),
            OperatorCall::CancelMasters => self.cancel(caller).map(Plan::Entry),
            OperatorCall::TransferLead(transfer) => self.heir(now, *transfer).map(Plan::HandOver),
            _ => return false,
        };
        let goes_into_the_log = !dry && matches!(planned, Ok(Plan::Entry(_)));
        if !sure && !goes_into_the_log {
            self.ask(now, Question::Order(ticket, caller.clone(), call.clone()));
            return true;
        }
        match planned {
            Ok(Plan::Entry(entry)) if !dry => self.batch.propose(entry, Pending::Reply { ticket }),
            Ok(plan) => {
                if let (Plan::HandOver(to), false) = (plan, dry) {
                    let transfer = master_raft::Input::TransferLeader { to: NodeId(to.0) };
                    self.raft.step(now, transfer, &mut Outbox::new());
                }
                out.push(Output::Reply { ticket, kind: ReplyKind::Done(0) });
            }
            Err(refusal) => {
                out.push(Output::Note(Note::Refused {
                    caller: caller.to_string(),
                    code: refusal.code,
                    message: refusal.message.clone(),
                }));
                out.push(Output::Reply { ticket, kind: ReplyKind::Refused(refusal) });
            }
        }
        true
    }

    fn change(&self, now: Now, caller: &Caller, change: &ChangeMasters) -> Result<Entry, Refusal> {
        let roster = self.roster();
        let next = roster.changed(&change.add, &change.remove)?;
        if let Some(heard) = change.remove.iter().find(|id| roster.is_changing() && self.hears(now, **id)) {
            let message =
                format!("a change is under way: {}; master {heard} is heard", roster.change_in_words());
            return Err(Refusal::new(Code::Conflict, message).with_help(
                "wait until it is through (`stoa raft status`), or take it back with `stoa raft cancel`; only who is lost \
                 can be given up meanwhile",
            ));
        }
        self.check_majority(now, &next)?;
        Ok(entry(&roster, next, caller, None))
    }

    fn cancel(&self, caller: &Caller) -> Result<Entry, Refusal> {
        let roster = self.roster();
        let next = roster.cancelled()?;
        if self.raft.is_where_it_aims() && self.store_is_there() {
            let message = format!("it is through already: {}", roster.change_in_words());
            return Err(Refusal::new(Code::Conflict, message)
                .with_help("change the masters again instead: `stoa raft status` lists them"));
        }
        // To take back that somebody is not to come after all would let him vote without a change.
        let groups = [Some(self.raft.members()), self.store.as_ref().map(|store| &store.members)];
        let votes = |id: MasterId| {
            let lists =
                groups.iter().flatten().flat_map(|members| [&members.voters, &members.voters_outgoing]);
            lists.into_iter().any(|list| list.binary_search(&NodeId(id.0)).is_ok())
        };
        if let Some(gone) = roster.standing(Standing::Leaves).find(|master| !votes(master.id)) {
            let message =
                format!("master {} does not vote: that it comes is being taken back already", gone.id);
            return Err(Refusal::new(Code::Conflict, message)
                .with_help("wait until it is through: `stoa raft status`"));
        }
        let what = format!("taken back: {}", roster.change_in_words());
        Ok(entry(&roster, next, caller, Some(what)))
    }

    /// Whoever joins is counted on: until it is heard, and has everything, nobody leaves.
    fn check_majority(&self, now: Now, next: &Roster) -> Result<(), Refusal> {
        let stays: Vec<MasterId> = next.standing(Standing::Votes).map(|master| master.id).collect();
        let silent: Vec<MasterId> = stays.iter().filter(|id| !self.hears(now, **id)).copied().collect();
        let all = next.wanted().len();
        let needed = all / 2 + 1;
        if all - silent.len() >= needed || next.standing(Standing::Leaves).next().is_none() {
            return Ok(());
        }
        let names: Vec<String> = silent.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        let message = format!(
            "of the {all} masters that would be left {} would be heard, and {needed} are needed: {names} is silent",
            all - silent.len()
        );
        let first = silent.first().map_or(0, |id| id.0);
        Err(Refusal::new(Code::Conflict, message).with_help(format!(
            "start what is silent, or give it up first: `stoa raft remove {first}`, `stoa raft replace {first}`"
        )))
    }

    fn heir(&self, now: Now, transfer: TransferLead) -> Result<MasterId, Refusal> {
        let roster = self.roster();
        let conflict =
            |message: String, help: &str| Err(Refusal::new(Code::Conflict, message).with_help(help));
        let fits = |id: MasterId| {
            let node = NodeId(id.0);
            let votes = self.raft.members().voters.binary_search(&node).is_ok();
            (votes, self.hears(now, id), self.raft.has_caught_up(node))
        };
        if transfer.to == 0 {
            let others = roster.standing(Standing::Votes).filter(|master| master.id != self.config.id);
            let mut fit = others.filter(|master| fits(master.id) == (true, true, true));
            return match fit.next() {
                Some(master) => Ok(master.id),
                None => conflict(
                    "no other master is heard, votes and has everything".to_owned(),
                    "look at `stoa raft status`",
                ),
            };
        }
        let id = MasterId(transfer.to);
        if roster.get(id).is_none() {
            let known: Vec<String> = roster.masters.iter().map(|master| master.id.to_string()).collect();
            let message = format!("master {id} is not one of them: they are {}", known.join(", "));
            return Err(Refusal::new(Code::NotFound, message));
        }
        match fits(id) {
            _ if id == self.config.id => conflict(format!("master {id} leads already"), "name another one"),
            (false, _, _) => {
                conflict(format!("master {id} does not vote yet"), "wait until it does: `stoa raft status`")
            }
            (true, false, _) => conflict(
                format!("master {id} is not heard"),
                "start it, or name another one: `stoa raft status`",
            ),
            (true, true, false) => {
                conflict(format!("master {id} has not caught up"), "wait until it has: `stoa raft status`")
            }
            (true, true, true) => Ok(id),
        }
    }
}

fn entry(now: &Roster, next: Roster, caller: &Caller, what: Option<String>) -> Entry {
    let what = what.unwrap_or_else(|| next.change_in_words());
    Entry::MastersChanged(MastersChanged { roster: next, on: now.version, by: caller.to_string(), what })
}

/// Who sits at a session is told where the masters are, if that is not as at the founding.
pub(crate) fn tell_session(d: &mut Desk<'_>, session: SessionId) {
    if let Some(roster) = d.registry.roster() {
        d.tell_session(session, EventKind::Masters(roster.doors()));
    }
}

/// The same for an agent.
pub(crate) fn tell_link(d: &mut Desk<'_>, link: LinkId) {
    if let Some(roster) = d.registry.roster() {
        d.tell_link(link, ToAgentKind::Masters(roster.doors()));
    }
}
