//! The list of masters: who votes, who comes, who goes, and which numbers are used up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::MasterId;
use crate::refusal::{Code, Refusal};

/// How a master stands in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It votes, and is to stay.
    #[default]
    Votes,
    /// It comes: it votes from when it has all that was committed.
    Joins,
    /// It goes: it votes until the group does without it.
    Leaves,
}

/// A master of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its number.
    pub id: MasterId,
    /// Its door, as others reach it.
    pub address: String,
    /// How it stands.
    pub standing: Standing,
}

/// The list of masters.
///
/// It says where the two groups are to get to, not where they are: each of them goes there by itself, and who leads it
/// next goes on. That both are there is a version of the list, too: then nobody joins or leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Where in the log it was set last; 0: at the founding.
    pub version: u64,
    /// By id.
    pub masters: Vec<Master>,
    /// Numbers of those who have left: nobody is given them again.
    pub retired: Vec<MasterId>,
}

/// Where the masters are, for those who look for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    /// `host:port` of each, those that are to stay first.
    pub addresses: Vec<String>,
}

/// Doors that one remembers: those that were told last, and what is left of older ones, which cost a try each.
const DOORS_MAX: usize = 16;

// === impl Masters ===

impl Masters {
    /// Puts these before those that are known already, and forgets the oldest where there are very many. Whether it was
    /// news.
    ///
    /// Older ones are kept: who told this may itself know less than somebody else did.
    pub fn learn(&self, known: &mut Vec<String>) -> bool {
        let mut doors: Vec<String> = Vec::new();
        for address in self.addresses.iter().chain(known.iter()) {
            if !address.is_empty() && !doors.contains(address) && doors.len() < DOORS_MAX {
                doors.push(address.clone());
            }
        }
        let news = doors != *known;
        *known = doors;
        news
    }
}

// === impl Standing ===

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Votes => "votes",
            Standing::Joins => "joins",
            Standing::Leaves => "leaves",
        }
    }
}

// === impl Roster ===

impl Roster {
    /// That of a founding.
    pub fn founded(members: &BTreeMap<MasterId, String>) -> Roster {
        let master = |(id, address): (&MasterId, &String)| Master {
            id: *id,
            address: address.clone(),
            standing: Standing::Votes,
        };
        Roster { version: 0, masters: members.iter().map(master).collect(), retired: Vec::new() }
    }

    /// A master of the list.
    pub fn get(&self, id: MasterId) -> Option<&Master> {
        self.masters.iter().find(|master| master.id == id)
    }

    /// Whether this number has left.
    pub fn is_retired(&self, id: MasterId) -> bool {
        self.retired.contains(&id)
    }

    /// Whether somebody joins or leaves.
    pub fn is_changing(&self) -> bool {
        self.masters.iter().any(|master| master.standing != Standing::Votes)
    }

    /// Those of one standing.
    pub fn standing(&self, standing: Standing) -> impl Iterator<Item = &Master> {
        self.masters.iter().filter(move |master| master.standing == standing)
    }

    /// Those that are to vote, in the end.
    pub fn wanted(&self) -> BTreeSet<MasterId> {
        let stays = |master: &&Master| master.standing != Standing::Leaves;
        self.masters.iter().filter(stays).map(|master| master.id).collect()
    }

    /// Their doors, by id.
    pub fn addresses(&self) -> BTreeMap<MasterId, String> {
        self.masters.iter().map(|master| (master.id, master.address.clone())).collect()
    }

    /// Where to look for them: those that are to stay first.
    pub fn doors(&self) -> Masters {
        let order = [Standing::Votes, Standing::Joins, Standing::Leaves];
        let mut addresses: Vec<String> = Vec::new();
        for master in order.into_iter().flat_map(|standing| self.standing(standing)) {
            if !addresses.contains(&master.address) {
                addresses.push(master.address.clone());
            }
        }
        Masters { addresses }
    }

    /// The lowest number that nobody has had.
    pub fn next_id(&self) -> MasterId {
        let ids = self.masters.iter().map(|master| master.id).chain(self.retired.iter().copied());
        MasterId(ids.map(|id| id.0).max().unwrap_or(0) + 1)
    }

    /// The list once these come and those go, with the same version. While a change is under way more can be let go, so that one
    /// that counts on a lost master comes to an end; nobody else can come.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be changed so, whoever is heard.
    pub fn changed(&self, add: &[Master], remove: &[MasterId]) -> Result<Roster, Refusal> {
        if self.is_changing() && !add.is_empty() {
            return Err(Refusal::new(
                Code::Conflict,
                format!("a change is under way: {}", self.change_in_words()),
            )
            .with_help(
                "wait until it is through (`stoa raft status`), take it back with `stoa raft cancel`, or, if a master that it counts \
                 on is lost, give that one up with `stoa raft remove`",
            ));
        }
        if add.is_empty() && remove.is_empty() {
            return Err(Refusal::new(Code::Invalid, "the change names no master"));
        }
        let mut next = self.clone();
        for id in remove {
            let Some(master) = next.masters.iter_mut().find(|master| master.id == *id) else {
                let gone = if self.is_retired(*id) { "has left already" } else { "is not one of them" };
                let known: Vec<String> = self.masters.iter().map(|master| master.id.to_string()).collect();
                let message = format!("master {id} {gone}: they are {}", known.join(", "));
                return Err(Refusal::new(Code::NotFound, message));
            };
            if master.standing == Standing::Leaves {
                return Err(Refusal::new(Code::Conflict, format!("master {id} leaves already")));
            }
            master.standing = Standing::Leaves;
        }
        for new in add {
            if self.get(new.id).is_some() || self.is_retired(new.id) {
                let message =
                    format!("number {} was given already, and a number is never given again", new.id);
                return Err(Refusal::new(Code::Conflict, message)
                    .with_help(format!("the next free one is {}", self.next_id())));
            }
            if !is_door(&new.address) {
                let message = format!("address: {:?} is not HOST:PORT, such as 10.0.0.4:7070", new.address);
                return Err(Refusal::new(Code::Invalid, message));
            }
            let taken = next
                .masters
                .iter()
                .find(|master| master.address == new.address && master.standing != Standing::Leaves);
            if let Some(taken) = taken {
                let message = format!("{} is the address of master {}", new.address, taken.id);
                return Err(Refusal::new(Code::Conflict, message)
                    .with_help(format!("if its disk was lost: `stoa raft replace {}`", taken.id)));
            }
            next.masters.push(Master { standing: Standing::Joins, ..new.clone() });
        }
        next.masters.sort_by_key(|master| master.id);
        if next.wanted().is_empty() {
            return Err(Refusal::new(Code::Invalid, "nobody would be left"));
        }
        if next.wanted().len() > MASTERS_MAX {
            let message = format!("there would be {} masters; at most {MASTERS_MAX}", next.wanted().len());
            return Err(Refusal::new(Code::TooMuch, message));
        }
        Ok(next)
    }

    /// The list once the change that is under way is taken back.
    ///
    /// # Errors
    /// [`Refusal`]: none is.
    pub fn cancelled(&self) -> Result<Roster, Refusal> {
        if !self.is_changing() {
            return Err(Refusal::new(Code::NotFound, "no change of masters is under way"));
        }
        let mut next = self.clone();
        for master in &mut next.masters {
            master.standing = match master.standing {
                Standing::Joins => Standing::Leaves,
                Standing::Leaves | Standing::Votes => Standing::Votes,
            };
        }
        match next.wanted().is_empty() {
            true => Err(Refusal::new(Code::Invalid, "nobody would be left")),
            false => Ok(next),
        }
    }

    /// The list once both groups are where it says.
    pub fn settled(&self) -> Roster {
        let mut next = self.clone();
        next.retired.extend(self.standing(Standing::Leaves).map(|master| master.id));
        next.retired.sort_unstable();
        next.masters.retain(|master| master.standing != Standing::Leaves);
        next.masters.iter_mut().for_each(|master| master.standing = Standing::Votes);
        next
    }

    /// The list of a group that begins anew from a backup: these, whoever was there before.
    pub fn restored(&self, version: u64, masters: &BTreeMap<MasterId, String>) -> Roster {
        let before = self.masters.iter().map(|master| master.id).chain(self.retired.iter().copied());
        let gone: BTreeSet<MasterId> = before.filter(|id| !masters.contains_key(id)).collect();
        Roster { version, retired: gone.into_iter().collect(), ..Roster::founded(masters) }
    }

    /// The change that is under way, in words; empty if none is.
    pub fn change_in_words(&self) -> String {
        let named = |standing: Standing, verb: &str| {
            let ids: Vec<String> = self.standing(standing).map(|master| master.id.to_string()).collect();
            (!ids.is_empty()).then(|| format!("master {} {verb}", ids.join(" and ")))
        };
        let parts = [named(Standing::Joins, "joins"), named(Standing::Leaves, "leaves")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// More masters bear no more failures that happen, and each makes every commit wait.
pub const MASTERS_MAX: usize = 9;

fn is_door(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '=' | ',' | '/'))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// What a process knows of the masters.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The newest list.
    pub roster: Arc<Roster>,
    /// Masters of the cluster that have spoken here and are not on that list, which may be an old one: whoever was away while
    /// masters came and went is told by them what has happened.
    met: BTreeMap<MasterId, String>,
}

impl Known {
    /// The list that a process was started with.
    pub fn of(members: &BTreeMap<MasterId, String>) -> Known {
        Known { roster: Arc::new(Roster::founded(members)), met: BTreeMap::new() }
    }

    /// The log says this.
    pub fn learn(&mut self, roster: Arc<Roster>) {
        self.met.retain(|id, _| roster.get(*id).is_none() && !roster.is_retired(*id));
        self.roster = roster;
    }

    /// A master of the cluster speaks here, and says where it is; whether that is news.
    pub fn meet(&mut self, id: MasterId, address: &str) -> bool {
        let is_news = self.roster.get(id).is_none()
            && !self.roster.is_retired(id)
            && self.met.get(&id).is_none_or(|met| met != address);
        if is_news {
            self.met.insert(id, address.to_owned());
        }
        is_news
    }

    /// Where a master is.
    pub fn address(&self, id: MasterId) -> Option<&str> {
        let listed = self.roster.get(id).map(|master| master.address.as_str());
        listed.or_else(|| self.met.get(&id).map(String::as_str))
    }

    /// All but this one, with where they are.
    pub fn others(&self, own: MasterId) -> BTreeMap<MasterId, &str> {
        let met = self.met.iter().map(|(id, address)| (*id, address.as_str()));
        let listed = self.roster.masters.iter().map(|master| (master.id, master.address.as_str()));
        met.chain(listed).filter(|(id, _)| *id != own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Roster {
        Roster::founded(&(1..=3).map(|id| (MasterId(id), format!("h{id}:7070"))).collect())
    }

    fn new(id: u64, address: &str) -> Master {
        Master { id: MasterId(id), address: address.to_owned(), standing: Standing::Joins }
    }

    #[test]
    fn a_replacement_comes_and_goes_and_no_number_is_given_twice() {
        let replacing = three().changed(&[new(4, "h3:7070")], &[MasterId(3)]).unwrap();
        assert_eq!(replacing.wanted(), [1, 2, 4].map(MasterId).into());
        assert_eq!(replacing.change_in_words(), "master 4 joins, master 3 leaves");
        assert_eq!(replacing.doors().addresses, ["h1:7070", "h2:7070", "h3:7070"]);
        let settled = replacing.settled();
        assert!(!settled.is_changing() && settled.is_retired(MasterId(3)));
        assert_eq!(settled.next_id(), MasterId(5));
        let again = settled.changed(&[new(3, "h9:7070")], &[]).unwrap_err();
        assert_eq!((again.code, again.help.as_str()), (Code::Conflict, "the next free one is 5"));
    }

    #[test]
    fn a_change_that_is_taken_back_leaves_who_was_there() {
        let replacing = three().changed(&[new(4, "h4:7070")], &[MasterId(3)]).unwrap();
        let back = replacing.cancelled().unwrap();
        assert_eq!(back.wanted(), three().wanted());
        assert_eq!(back.settled().masters, three().masters);
        assert!(
            back.settled().is_retired(MasterId(4)),
            "whoever has begun to join under it may have acknowledged"
        );
        assert_eq!(three().cancelled().unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn who_is_lost_can_be_given_up_while_a_change_counts_on_him_and_nobody_else_can_come() {
        let replacing = three().changed(&[new(4, "h4:7070")], &[MasterId(3)]).unwrap();
        let more = replacing.changed(&[new(5, "h5:7070")], &[MasterId(4)]).unwrap_err();
        assert!(more.code == Code::Conflict && more.help.contains("stoa raft remove"), "{more}");
        let without = replacing.changed(&[], &[MasterId(4)]).unwrap();
        assert_eq!(without.wanted(), [1, 2].map(MasterId).into());
        assert!([3, 4].iter().all(|id| without.settled().is_retired(MasterId(*id))));
        let twice = without.changed(&[], &[MasterId(4)]).unwrap_err();
        assert_eq!((twice.code, twice.message.as_str()), (Code::Conflict, "master 4 leaves already"));
    }

    #[test]
    fn doors_that_were_told_come_first_and_older_ones_stay() {
        let mut known = vec!["h1:1".to_owned(), "h2:1".to_owned()];
        let told = Masters { addresses: vec!["h4:1".into(), "h2:1".into()] };
        assert!(told.learn(&mut known) && !told.learn(&mut known));
        assert_eq!(known, ["h4:1", "h2:1", "h1:1"]);
        for more in 0..40 {
            Masters { addresses: vec![format!("x{more}:1")] }.learn(&mut known);
        }
        assert_eq!((known.len(), known[0].as_str()), (DOORS_MAX, "x39:1"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let one = Roster::founded(&[(MasterId(1), "h1:7070".to_owned())].into());
        let cases = [
            (one.changed(&[], &[MasterId(1)]), Code::Invalid),
            (three().changed(&[], &[]), Code::Invalid),
            (three().changed(&[], &[MasterId(7)]), Code::NotFound),
            (three().changed(&[new(2, "h4:7070")], &[]), Code::Conflict),
            (three().changed(&[new(4, "h2:7070")], &[]), Code::Conflict),
            (three().changed(&[new(4, "h4")], &[]), Code::Invalid),
            (three().changed(&[new(4, "h4:0")], &[]), Code::Invalid),
        ];
        for (came, code) in cases {
            assert_eq!(came.unwrap_err().code, code);
        }
        let busy = three().changed(&[new(4, "h4:7070")], &[]).unwrap();
        assert_eq!(busy.changed(&[new(5, "h5:7070")], &[]).unwrap_err().code, Code::Conflict);
    }
}
