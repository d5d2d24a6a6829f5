//! Masters that come and go: an operator who adds, removes and replaces them, takes that back, and lets another one lead, as
//! `stoa raft` does; and disks of masters of which nothing is left that can be read.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use master_core::{OperatorCall, Ticket};
use master_raft::{ConfState, NodeId};
use proto::id::MasterId;
use proto::operator::{ChangeMasters, MemberView, Raft, ReplyKind, TransferLead};
use proto::roster::{Master as Listed, Roster, Standing};
use proto_machine::Dice;

use crate::check::Verdict;
use crate::check::durable::decides;
use crate::check::members::{Confs, Rosters};
use crate::disk::{Harm, LogDisk};
use crate::masters::{MasterNode, address};
use crate::node::{Node, Process};
use crate::options::SECOND;
use crate::shell::{Shell, id_of};
use crate::store::StoreNode;
use crate::world::{Event, World};

/// From this seed on, masters come and go.
pub const FIRST: u64 = 3 << 32;

/// So many seeds have seen everything.
pub const ENOUGH: u64 = 500;

/// More masters are not wanted.
const MOST: usize = 5;

/// In calm times the operator looks so often.
const LOOKS_EVERY: u64 = SECOND;

/// So long after an order, what it will lead to may be in no log yet: no disk is harmed meanwhile.
const ORDER_TAKES: u64 = 5 * SECOND;

/// One of the two groups that the masters make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What the masters know of the pool.
    Registry,
    /// What frameworks keep on the masters.
    Store,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Registry => "the registry",
            Group::Store => "the frameworks' state",
        })
    }
}

/// What happens around the list of masters.
#[derive(Clone, Copy, Debug)]
pub enum MembersEvent {
    /// The operator looks, and perhaps wants something.
    Wish,
    /// A master without a certificate asks to be let in.
    Comes(Node),
    /// A master in this life tries the doors of the others.
    Knock(Node, u32),
    /// A master in this life hears that it was removed.
    Removed(Node, u32),
}

impl MembersEvent {
    /// Whose it is.
    pub fn node(&self) -> Option<Node> {
        match self {
            MembersEvent::Wish => None,
            MembersEvent::Comes(node) | MembersEvent::Knock(node, _) | MembersEvent::Removed(node, _) => {
                Some(*node)
            }
        }
    }
}

impl fmt::Display for MembersEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MembersEvent::Wish => "an operator looks at the masters",
            MembersEvent::Comes(_) => "asks to be let in",
            MembersEvent::Knock(..) => "tries the doors of the others",
            MembersEvent::Removed(..) => "hears that it was removed",
        })
    }
}

/// What the operator waits for.
#[derive(Clone, Debug)]
enum Asked {
    /// To see how the masters stand.
    Look,
    /// That an order is taken. With the number of who comes.
    Order(&'static str, Option<u64>),
}

/// The operator of the masters, and what was seen of them.
pub struct Members {
    /// Its own randomness.
    pub dice: Dice,
    asked: Option<(Ticket, Asked)>,
    ordered_at: Option<u64>,
    harmed_at: Option<u64>,
    /// Of damaged ones, those whose replacement was counted.
    replaced: BTreeSet<MasterId>,
    /// The members of each group, as the log made them.
    pub registry: Confs,
    /// The same of the frameworks' state.
    pub store: Confs,
    rosters: Rosters,
}

impl Members {
    /// Of a world that has just begun.
    pub fn new(seed: u64) -> Members {
        Members {
            dice: Dice::new(seed ^ 0x0e3b_0000_0000_0000),
            asked: None,
            ordered_at: None,
            harmed_at: None,
            replaced: BTreeSet::new(),
            registry: Confs::default(),
            store: Confs::default(),
            rosters: Rosters::default(),
        }
    }
}

impl World {
    // === what the operator wants ===

    pub(crate) fn plan_members_wish(&mut self) {
        let every = self.options.changes_masters;
        if every > 0 {
            let after = if self.calm { LOOKS_EVERY } else { self.members.dice.below(2 * every) + 1 };
            self.queue.push(self.now + after, Event::Members(MembersEvent::Wish));
        }
    }

    pub(crate) fn members_event(&mut self, event: MembersEvent) {
        match event {
            MembersEvent::Wish => {
                // First it looks, as `stoa raft` does before each order.
                let leaders = self.leaders();
                if let Some(leader) = self.members.dice.pick(&leaders).copied() {
                    let ticket = self.ask(leader, OperatorCall::Raft);
                    self.members.asked = Some((ticket, Asked::Look));
                }
                if self.calm {
                    self.cleans_up_behind_masters();
                }
                self.plan_members_wish();
            }
            MembersEvent::Comes(node) => self.comes(node),
            MembersEvent::Knock(node, life) => self.knocks(node, life),
            MembersEvent::Removed(node, life) => self.told_removed(node, life),
        }
    }

    /// Whether the answer was for this operator.
    pub(crate) fn operator_of_masters_hears(&mut self, ticket: Ticket, kind: &ReplyKind) -> bool {
        let Some((_, asked)) = self.members.asked.take_if(|(asked, _)| *asked == ticket) else {
            return false;
        };
        match (asked, kind) {
            (Asked::Look, ReplyKind::Raft(view)) => self.decides_about_masters(view),
            (Asked::Order(what, comes), ReplyKind::Done(_)) => {
                self.mark(what);
                if let Some(number) = comes {
                    self.is_a_new_machine(number);
                    self.somebody_starts(number);
                }
            }
            (Asked::Order(..), ReplyKind::Refused(_)) => self.mark("a change of masters was refused"),
            (Asked::Look | Asked::Order(..), _) => {}
        }
        true
    }

    fn decides_about_masters(&mut self, view: &Raft) {
        let of = |standing: Standing| view.members.iter().filter(move |member| member.standing == standing);
        let refuses = |member: &&MemberView| self.refuses(member.id);
        let lost = of(Standing::Votes).find(refuses).map(|member| member.id);
        let hopeless = of(Standing::Joins).any(|member| self.refuses(member.id));
        let given_up = of(Standing::Joins).chain(of(Standing::Votes)).find(refuses).map(|member| member.id);
        let changing = view.members.iter().any(|member| member.standing != Standing::Votes);
        let voters: Vec<MasterId> = of(Standing::Votes).map(|member| member.id).collect();
        let leads = view.members.iter().find(|member| member.leader).map(|member| member.id);
        if changing {
            // Who joins is started again by whoever was told to; a change that comes to no end is taken back.
            for member in of(Standing::Joins) {
                self.somebody_starts_if_there(member.id.0);
            }
            // Nor does one come to an end that counts on a lost disk.
            let waits_for_lost = lost.is_some() && (self.calm || self.members.dice.chance(1, 2));
            let counts_on_lost = hopeless || waits_for_lost;
            // He gives up who is lost, or takes all of it back. The first always comes to an end.
            if counts_on_lost
                && (self.calm || view.applied.is_multiple_of(2))
                && let Some(lost) = given_up
            {
                let change = ChangeMasters { add: Vec::new(), remove: vec![lost] };
                let what = "a lost master was given up during a change";
                self.orders(OperatorCall::ChangeMasters(change), what, None);
            } else if counts_on_lost || (!self.calm && self.members.dice.chance(1, 8)) {
                self.orders(OperatorCall::CancelMasters, "a change of masters was taken back", None);
            }
            return;
        }
        if let Some(lost) = lost {
            if self.calm || self.members.dice.chance(2, 3) {
                self.replaces(lost, view.next_id, "a master whose disk was lost was to be replaced");
            }
            return;
        }
        // A lost disk is seen before anybody healthy is sent away.
        let harmed = self.members.harmed_at.is_some_and(|at| at + ORDER_TAKES > self.now);
        if self.calm || harmed {
            return;
        }
        let Some(one) = self.members.dice.pick(&voters).copied() else { return };
        match self.members.dice.below(10) {
            0..3 if voters.len() < MOST => {
                let change = ChangeMasters { add: vec![self.newcomer(view.next_id)], remove: Vec::new() };
                self.orders(OperatorCall::ChangeMasters(change), "a master was added", Some(view.next_id));
            }
            0..5 if voters.len() > 1 => {
                let change = ChangeMasters { add: Vec::new(), remove: vec![one] };
                let what = if leads == Some(one) { "the leader was removed" } else { "a master was removed" };
                self.orders(OperatorCall::ChangeMasters(change), what, None);
            }
            0..8 => {
                let what =
                    if leads == Some(one) { "the leader was replaced" } else { "a master was replaced" };
                self.replaces(one, view.next_id, what);
            }
            _ => {
                let to = if self.members.dice.chance(1, 3) { 0 } else { one.0 };
                let call = OperatorCall::TransferLead(TransferLead { to });
                self.orders(call, "the lead was handed over", None);
            }
        }
    }

    fn replaces(&mut self, leaves: MasterId, number: u64, what: &'static str) {
        let change = ChangeMasters { add: vec![self.newcomer(number)], remove: vec![leaves] };
        self.orders(OperatorCall::ChangeMasters(change), what, Some(number));
    }

    fn orders(&mut self, call: OperatorCall, what: &'static str, comes: Option<u64>) {
        let leaders = self.leaders();
        let Some(leader) = self.members.dice.pick(&leaders).copied() else { return };
        let ticket = self.ask(leader, call);
        self.members.ordered_at = Some(self.now);
        self.members.asked = Some((ticket, Asked::Order(what, comes)));
    }

    /// The masters take it that nobody has had this number: whoever is to have it has an empty disk, even if somebody did.
    fn is_a_new_machine(&mut self, number: u64) {
        let node = Node::Master(number as usize);
        if !self.masters[node.index()].shell.is_used() {
            return;
        }
        if self.life(node).1 {
            self.die(node);
        }
        let master = &mut self.masters[node.index()];
        (master.shell, master.disk) = (Shell::comer(), LogDisk::default());
        self.store.members[node.index()].disk = LogDisk::default();
    }

    /// A machine for a master of this number.
    fn newcomer(&mut self, number: u64) -> Listed {
        while (self.masters.len() as u64) < number {
            let clock = self.clock();
            self.masters.push(MasterNode::new(Process::new(clock), Shell::comer()));
            self.store.members.push(StoreNode::default());
        }
        Listed { id: MasterId(number), address: address(number), standing: Standing::Joins }
    }

    fn somebody_starts_if_there(&mut self, number: u64) {
        if self.masters.len() as u64 >= number {
            self.somebody_starts(number);
        }
    }

    /// In calm times: who was away while all masters that he knows left is told by people where they are, and a master that
    /// nobody knows any more is switched off.
    fn cleans_up_behind_masters(&mut self) {
        let listed = self.newest_roster();
        for number in 1..=self.masters.len() {
            let node = Node::Master(number);
            if self.life(node).1 && listed.get(id_of(node)).is_none() && !self.may_be_told(node) {
                self.is_switched_off(node);
            }
        }
        let doors = listed.doors().addresses;
        for node in self.nodes() {
            let knows = match node {
                Node::Master(_) => continue,
                Node::Agent(_) => &self.agents[node.index()].masters,
                Node::Framework(_) => &self.frameworks[node.index()].masters,
            };
            let lost = !knows.is_empty() && !knows.iter().any(|door| doors.contains(door));
            if lost && self.life(node).1 && !self.is_connected(node) {
                self.mark("somebody was told by people where the masters are");
                self.die(node);
                let life = self.life(node).0;
                self.queue.push(self.now, Event::Begin(node, life));
            }
        }
    }

    fn is_connected(&self, node: Node) -> bool {
        match node {
            Node::Master(_) => true,
            Node::Agent(_) => {
                self.agents[node.index()].machine.as_ref().is_some_and(agent_core::Agent::is_joined)
            }
            Node::Framework(_) => {
                let driver = self.frameworks[node.index()].driver.as_ref();
                driver.is_some_and(framework_sdk_core::Driver::is_connected)
            }
        }
    }

    fn refuses(&self, id: MasterId) -> bool {
        self.masters.get(id.0 as usize - 1).is_some_and(|master| master.shell.refuses())
    }

    /// The newest list that any master has applied.
    pub(crate) fn newest_roster(&self) -> Roster {
        let machines = self.masters.iter().filter_map(|master| master.machine.as_ref());
        let rosters = machines.map(|machine| machine.roster().into_owned());
        rosters.max_by_key(|roster| roster.version).unwrap_or_default()
    }

    // === what happens to disks ===

    /// A master dies, and one of its logs is lost: never so many that a majority could be missing what it has acknowledged.
    pub(crate) fn harm_disk(&mut self, node: Node, group: Group, harm: Harm) {
        if !self.life(node).1 || self.members.ordered_at.is_some_and(|at| at + ORDER_TAKES > self.now) {
            return;
        }
        if !self.is_spared_by(node) {
            return;
        }
        self.mark(match harm {
            Harm::Flipped => "a bit of a master's log flipped",
            Harm::Gone => "a master's log went away",
        });
        self.members.harmed_at = Some(self.now);
        self.crash(node);
        match group {
            Group::Registry => self.masters[node.index()].disk.suffers(harm),
            Group::Store => self.store.members[node.index()].disk.suffers(harm),
        }
    }

    /// Whether each set of members that may count, in each group, has a majority without this master.
    fn is_spared_by(&self, node: Node) -> bool {
        let sound = |id: NodeId| {
            let at = id.0 as usize - 1;
            let whole = |master: &MasterNode| master.disk.is_sound() && !master.shell.stays_away();
            let store = |member: &StoreNode| member.disk.is_sound();
            at != node.index()
                && self.masters.get(at).is_some_and(whole)
                && self.store.members.get(at).is_some_and(store)
        };
        let registry = self.masters.iter().filter(|master| master.disk.is_sound());
        let store = self.store.members.iter().filter(|member| member.disk.is_sound());
        let mut confs: Vec<ConfState> =
            registry.filter_map(|master| master.disk.members().cloned()).collect();
        confs.extend(store.filter_map(|member| member.disk.members().cloned()));
        let roster = self.newest_roster();
        let nodes = |ids: BTreeSet<MasterId>| ids.into_iter().map(|id| NodeId(id.0)).collect::<Vec<_>>();
        confs.push(ConfState::of(&nodes(roster.wanted())));
        confs.iter().all(|conf| decides(conf, sound))
    }

    // === what is seen ===

    /// A leader dies while masters come or go.
    pub(crate) fn mark_who_dies(&mut self, node: Node) {
        let changes = self
            .master_machine(node)
            .is_some_and(|machine| machine.leads() && machine.roster().is_changing());
        if changes {
            self.mark("the leader died during a change of masters");
        }
    }

    /// A master's log has this list.
    pub(crate) fn sees_roster(&mut self, node: Node, roster: &Arc<Roster>) -> Verdict {
        let Members { registry, store, rosters, .. } = &mut self.members;
        rosters.says(node, roster, registry, store)?;
        for id in &roster.retired {
            if self.refuses(*id) && self.members.replaced.insert(*id) {
                self.mark("a master whose disk was lost was replaced");
            }
        }
        Ok(())
    }

    /// A group has stored something on a master.
    pub(crate) fn sees_stored(
        &mut self,
        node: Node,
        group: Group,
        persist: &master_raft::Persist,
        had: u64,
    ) -> Verdict {
        let me = NodeId(node.number());
        if let Some(snapshot) = &persist.snapshot
            && snapshot.index > had
            && had == 0
            && snapshot.conf_state.voters.binary_search(&me).is_err()
        {
            self.mark(match group {
                Group::Registry => "a snapshot was installed on a master that joins",
                Group::Store => "a snapshot of the store was installed on a master that joins",
            });
        }
        if persist.compact_to.is_some()
            && self
                .master_machine(node)
                .is_some_and(|machine| machine.roster().standing(Standing::Joins).next().is_some())
        {
            self.mark("the log was cut while a master caught up");
        }
        if let Some((index, conf)) = &persist.conf_state {
            let confs = match group {
                Group::Registry => &mut self.members.registry,
                Group::Store => &mut self.members.store,
            };
            confs.are(node, *index, conf)?;
        }
        Ok(())
    }

    /// What about the masters has not healed yet: each of the list votes in both groups, and nobody else runs.
    pub(crate) fn members_missing(&self) -> Option<String> {
        if self.options.changes_masters == 0 {
            return None;
        }
        let roster = self.newest_roster();
        if roster.is_changing() {
            return Some(format!("a change of masters is under way: {}", roster.change_in_words()));
        }
        let wanted: Vec<NodeId> = roster.wanted().into_iter().map(|id| NodeId(id.0)).collect();
        for number in 1..=self.masters.len() {
            let node = Node::Master(number);
            let (listed, up) = (roster.get(id_of(node)).is_some(), self.life(node).1);
            match (listed, up) {
                (true, false) => return Some(format!("{node} is on the list, and is down")),
                (false, true) => return Some(format!("{node} is not on the list, and runs")),
                (false, false) => continue,
                (true, true) => {}
            }
            let registry = self.master_machine(node).map(|machine| machine.raft_status().conf_state);
            let store = self.member_machine(node).map(|machine| machine.raft_status().conf_state);
            for (group, conf) in [(Group::Registry, registry), (Group::Store, store)] {
                let conf = conf.unwrap_or_default();
                if conf.is_joint() || !conf.learners.is_empty() || conf.voters != wanted {
                    return Some(format!("{node} counts on {:?} in the group of {group}", conf.voters));
                }
            }
        }
        None
    }
}
