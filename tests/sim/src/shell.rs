//! What of a master's process and data directory is not its machine: its certificate, its book of masters, the mark of one
//! that was removed, and the doors through which masters speak.

use std::collections::BTreeMap;
use std::sync::Arc;

use master_core::Input;
use master_raft::Bearing;
use master_store_core::Input as StoreInput;
use proto::id::MasterId;
use proto::roster::{Known, Roster, Standing};
use proto_machine::mutants::{self, Mutant};

use crate::disk::Harm;
use crate::masters::address;
use crate::members::MembersEvent;
use crate::node::Node;
use crate::options::{MS, SECOND};
use crate::world::{Event, World};

/// So often a master tries the doors of the others to which it has no stream.
const KNOCKS_EVERY: u64 = SECOND;

/// What surrounds a master's machine, and survives its process as far as it is on its disk.
#[derive(Debug)]
pub struct Shell {
    /// The masters that it was told of when it was let in; the founders, if it is one.
    members: BTreeMap<MasterId, String>,
    /// Whether it founds.
    founds: bool,
    /// It has a certificate. Who comes into a group that runs has none before a door lets it in.
    certified: bool,
    /// It still tries to be let in.
    trying: bool,
    /// It was told that it was removed, and does not start again.
    removed: bool,
    /// It does not start with what is on its disk.
    refuses: bool,
    /// Its process began when its number was retired already.
    pub stale: bool,
    /// What this process knows of the masters.
    known: Known,
}

impl Shell {
    /// Of one that founds a group of so many.
    pub fn founder(masters: u64) -> Shell {
        let members = (1..=masters).map(|n| (MasterId(n), address(n))).collect();
        Shell { members, founds: true, certified: true, ..Shell::comer() }
    }

    /// Of one that is to come into a group that runs.
    pub fn comer() -> Shell {
        Shell {
            members: BTreeMap::new(),
            founds: false,
            certified: false,
            trying: false,
            removed: false,
            refuses: false,
            stale: false,
            known: Known::default(),
        }
    }

    /// With whom it starts, and whether it is one of the founders.
    pub fn founding(&self) -> (BTreeMap<MasterId, String>, bool) {
        (self.members.clone(), self.founds)
    }

    /// Whether no process of it begins.
    pub fn stays_away(&self) -> bool {
        !self.certified || self.removed || self.refuses
    }

    /// Whether anybody ever had this number.
    pub fn is_used(&self) -> bool {
        self.certified || self.refuses
    }

    /// Whether what was on its disk is lost: it says so, and names what is to be done.
    pub fn refuses(&self) -> bool {
        self.refuses
    }

    /// Its disk was found damaged, or its log gone.
    pub fn must_not_start(&mut self) {
        self.refuses = true;
    }

    /// A process begins, and knows what its directory says.
    pub fn begins(&mut self) {
        self.known = Known::of(&self.members);
    }

    /// The log says this.
    pub fn learn(&mut self, roster: Arc<Roster>) {
        self.known.learn(roster);
    }

    /// Somebody with a certificate of the cluster speaks here.
    fn meet(&mut self, id: MasterId) {
        self.known.meet(id, &address(id.0));
    }

    /// Whether it knows where this master is.
    pub fn knows(&self, id: MasterId) -> bool {
        self.known.address(id).is_some()
    }

    /// Whether this door sends a master away.
    pub fn sends_away(&self, id: MasterId) -> bool {
        self.known.roster.is_retired(id)
    }
}

pub(crate) fn id_of(node: Node) -> MasterId {
    MasterId(node.number())
}

impl World {
    /// Where masters are, as the people know who put them there.
    pub(crate) fn doors(&self) -> Vec<String> {
        let listed = self.newest_roster().doors().addresses;
        match listed.is_empty() || self.options.changes_masters == 0 {
            true => (1..=self.options.masters).map(address).collect(),
            false => listed,
        }
    }

    /// Whether what one master says gets through the door of another; whoever was removed is told so.
    pub(crate) fn door_opens(&mut self, from: Node, to: Node) -> bool {
        if self.masters[to.index()].shell.sends_away(id_of(from)) {
            self.send_away(from, to);
            return mutants::is(Mutant::StayRemoved);
        }
        self.masters[to.index()].shell.meet(id_of(from));
        true
    }

    /// Whether a master has a stream to another.
    pub(crate) fn has_stream(&self, from: Node, to: u64) -> bool {
        self.masters[from.index()].shell.knows(MasterId(to))
    }

    fn send_away(&mut self, who: Node, by: Node) {
        if !self.network.blocks(by, who) && self.life(who).1 {
            let at = self.now + self.network.delay(&self.options, &mut self.members.dice);
            let life = self.life(who).0;
            self.queue.push(at, Event::Members(MembersEvent::Removed(who, life)));
        }
    }

    /// A master begins to open streams.
    pub(crate) fn begins_to_knock(&mut self, node: Node) {
        if self.options.changes_masters > 0 {
            let newest = self.newest_roster();
            self.masters[node.index()].shell.stale = newest.is_retired(id_of(node));
            let knock = MembersEvent::Knock(node, self.life(node).0);
            let at = self.now + self.members.dice.below(100 * MS);
            self.queue.push(at, Event::Members(knock));
        }
    }

    /// Opens streams to all whom it knows, and hears at whose doors it is not wanted.
    pub(crate) fn knocks(&mut self, node: Node, life: u32) {
        if self.life(node) != (life, true) {
            return;
        }
        if self.process(node).paused_until <= self.now {
            for number in 1..=self.masters.len() {
                let other = Node::Master(number);
                let reaches = other != node && self.life(other).1 && !self.network.blocks(node, other);
                if reaches && self.has_stream(node, number as u64) {
                    self.door_opens(node, other);
                }
            }
        }
        let knock = MembersEvent::Knock(node, life);
        self.queue.push(self.now + KNOCKS_EVERY, Event::Members(knock));
    }

    /// Whether any master that runs could tell this one that it was removed.
    pub(crate) fn may_be_told(&self, node: Node) -> bool {
        let others = (1..=self.masters.len()).map(Node::Master).filter(|other| self.life(*other).1);
        let mut others = others.filter(|other| *other != node);
        others.any(|other| {
            self.has_stream(node, other.number()) && self.masters[other.index()].shell.sends_away(id_of(node))
        })
    }

    /// All whom a removed master knows have left before it could ask: it is switched off, and its directory moved away.
    pub(crate) fn is_switched_off(&mut self, node: Node) {
        self.mark("a removed master that nobody knew was switched off");
        self.masters[node.index()].shell.removed = true;
        self.die(node);
    }

    /// A master is told that it was removed: it stops, and its directory says so from now on.
    pub(crate) fn told_removed(&mut self, node: Node, life: u32) {
        if self.life(node) != (life, true) || mutants::is(Mutant::StayRemoved) {
            return;
        }
        let shell = &mut self.masters[node.index()].shell;
        shell.removed = true;
        let stale = shell.stale;
        self.mark("a removed master was told, and stopped");
        if stale {
            self.mark("a removed master came back, and was turned away");
        }
        self.tell(node, |_| "was removed, and stops".to_owned());
        self.die(node);
    }

    /// Somebody sits down at a machine where a master is to be.
    pub(crate) fn somebody_starts(&mut self, number: u64) {
        let shell = &mut self.masters[number as usize - 1].shell;
        if shell.certified || std::mem::replace(&mut shell.trying, true) {
            return;
        }
        let most = if self.members.dice.chance(1, 4) { 12 * SECOND } else { SECOND };
        let at = self.now + self.members.dice.below(most);
        self.queue.push(at, Event::Members(MembersEvent::Comes(Node::Master(number as usize))));
    }

    /// A master asks some door to be let in. It is, under a number that the list says is to join.
    pub(crate) fn comes(&mut self, node: Node) {
        let doors: Vec<Node> =
            (1..=self.masters.len()).map(Node::Master).filter(|door| self.life(*door).1).collect();
        let door = self.members.dice.pick(&doors).copied();
        let reached = door.filter(|door| !self.network.blocks(node, *door));
        let roster = reached.map(|door| self.masters[door.index()].shell.known.roster.clone());
        let id = id_of(node);
        if let Some(roster) = &roster
            && roster.get(id).is_some_and(|master| master.standing == Standing::Joins)
        {
            let shell = &mut self.masters[node.index()].shell;
            (shell.certified, shell.trying) = (true, false);
            shell.members = roster.addresses();
            let life = self.life(node).0;
            self.mark("a new master was let in");
            return self.queue.push(self.now, Event::Begin(node, life));
        }
        if roster.is_some_and(|roster| roster.is_retired(id)) {
            self.masters[node.index()].shell.trying = false;
            return;
        }
        let at = self.now + 100 * MS + self.members.dice.below(SECOND);
        self.queue.push(at, Event::Members(MembersEvent::Comes(node)));
    }

    /// The list in the log has changed, as this master sees it: its doors know, and so does the group of the frameworks' state.
    pub(crate) fn learns_roster(&mut self, node: Node, roster: Arc<Roster>) {
        self.masters[node.index()].shell.learn(roster.clone());
        if self.store.is_there() {
            self.member_hears(node, StoreInput::Roster(roster));
        }
    }

    /// A member of the store's group begins behind the registry's, and is told what that has said by then.
    pub(crate) fn tells_member_roster(&mut self, node: Node) {
        let roster = self.masters[node.index()].shell.known.roster.clone();
        if roster.version > 0 {
            self.member_hears(node, StoreInput::Roster(roster));
        }
    }

    /// How the store's group stands, for the registry's machine of the same process.
    pub(crate) fn tells_master_members(&mut self, node: Node, store: Bearing) {
        if self.options.changes_masters > 0 {
            self.masters[node.index()].mailbox.push_back(Input::StoreMembers(store));
            self.plan(node);
        }
    }

    /// What a master finds on its disks when it starts; nothing if it must not start with that.
    pub(crate) fn opens_disks(
        &mut self,
        node: Node,
    ) -> Option<(master_raft::Recovered, Option<master_raft::Recovered>)> {
        let anew = mutants::is(Mutant::BeginAnew);
        let open = |disk: &mut crate::disk::LogDisk| match disk.open() {
            Err(Harm::Gone) if anew => {
                disk.wipe();
                disk.open()
            }
            opened => opened,
        };
        let registry = open(&mut self.masters[node.index()].disk);
        let store = self.store.members.get_mut(node.index()).map(|member| open(&mut member.disk)).transpose();
        match (registry, store) {
            (Ok(registry), Ok(store)) => Some((registry, store)),
            (Err(harm), _) | (_, Err(harm)) => {
                self.mark(match harm {
                    Harm::Flipped => "a master did not start with a damaged log",
                    Harm::Gone => "a master did not start without its log",
                });
                self.tell(node, |_| format!("does not start: {harm:?}"));
                self.masters[node.index()].shell.must_not_start();
                None
            }
        }
    }
}
