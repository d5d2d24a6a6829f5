//! `Witness`: sees every output at the moment it takes effect, and knows what may never happen.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use master_raft::{ConfState, Image, NodeId, Output, Persist, Role, Why};

/// What one member's state machine has become: a digest of all it applied.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub index: u64,
    pub digest: u64,
    pub count: u64,
}

#[derive(Debug, Default)]
pub struct Witness {
    /// What was committed anywhere, ever: term, data, digest of all up to it.
    pub ledger: BTreeMap<u64, (u64, Bytes, u64)>,
    /// The members as each change made them.
    pub members: BTreeMap<u64, ConfState>,
    /// Who led in which term.
    pub leaders: BTreeMap<u64, NodeId>,
    /// Who is ready to lead now, by his own account.
    pub roles: BTreeMap<NodeId, Role>,
    /// Proposals and changes that have not ended: by member, by tag.
    pub open: BTreeMap<NodeId, BTreeMap<u64, Bytes>>,
    /// Reads that have not ended, with what they must see.
    pub reads: BTreeMap<NodeId, BTreeMap<u64, u64>>,
    pub committed: u64,
    pub dropped: Vec<(u64, Why)>,
    pub reads_done: u64,
    pub members_tags: Vec<u64>,
    pub refused: u64,
    /// A lying network makes members lie; then only survival counts.
    pub blind: bool,
}

impl Applied {
    pub fn image(&self) -> Image {
        let parts = [self.index, self.digest, self.count];
        Image::Bytes(parts.iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<_>>().into())
    }

    fn of(image: &Image) -> Self {
        let Image::Bytes(bytes) = image else { panic!("images are inline here") };
        if bytes.is_empty() {
            return Self::default();
        }
        let mut parts = bytes.chunks_exact(8).map(|part| u64::from_be_bytes(part.try_into().expect("8")));
        let mut next = || parts.next().expect("three numbers");
        Self { index: next(), digest: next(), count: next() }
    }

    fn apply(&mut self, index: u64, data: &[u8]) {
        assert!(index > self.index, "entry {index} handed out twice or out of order");
        self.index = index;
        self.count += 1;
        let mut digest = self.digest ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in data {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.digest = digest;
    }
}

impl Witness {
    pub fn last(&self) -> u64 {
        self.ledger.last_key_value().map_or(0, |(index, _)| *index)
    }

    pub fn leader(&self) -> Option<NodeId> {
        let leads = |(id, role): (&NodeId, &Role)| match role {
            Role::Leader { term } => Some((*term, *id)),
            Role::Follower { .. } | Role::Candidate { .. } => None,
        };
        self.roles.iter().filter_map(leads).max().map(|(_, id)| id)
    }

    pub fn forget(&mut self, id: NodeId) {
        self.roles.remove(&id);
        self.open.remove(&id);
        self.reads.remove(&id);
    }

    pub fn see(&mut self, id: NodeId, applied: &mut Applied, output: &Output) {
        if self.blind {
            return;
        }
        match output {
            Output::Commit { index, term, tag, data } => {
                self.commit(id, applied, (*index, *term), *tag, data)
            }
            Output::InstallSnapshot { index, image, .. } => self.install(applied, *index, image),
            Output::Role(role) => self.role(id, applied, *role),
            Output::Dropped { tag, why } => {
                self.end(id, *tag);
                self.dropped.push((*tag, *why));
            }
            Output::Members { index, conf_state } => {
                let known = self.members.entry(*index).or_insert_with(|| conf_state.clone());
                assert_eq!(known, conf_state, "{id} has other members after {index}");
            }
            Output::MembersChanged { tag } => {
                self.end(id, *tag);
                self.members_tags.push(*tag);
            }
            Output::Persist(Persist { snapshot: Some(snapshot), .. }) => {
                let known = self.members.range(..=snapshot.index).next_back();
                let right = known.is_none_or(|(_, members)| *members == snapshot.conf_state);
                assert!(right, "{id}: a snapshot at {} with other members than {known:?}", snapshot.index);
            }
            Output::ReadReady { tag, index } => {
                let floor = self.end_read(id, *tag);
                assert!(*index >= floor, "{id}: a read at {index} does not see {floor}");
                assert!(applied.index >= floor, "{id}: a read ready at {} misses {floor}", applied.index);
                self.reads_done += 1;
            }
            Output::ReadDropped { tag } => {
                self.end_read(id, *tag);
            }
            Output::Refused { from, why } => {
                self.refused += 1;
                let stranger = *why == master_raft::Refusal::Stranger;
                assert!(stranger, "{id} refused {from}: {why:?}, but nobody lies here");
            }
            Output::SnapshotWanted { .. }
            | Output::Send { .. }
            | Output::SendSnapshot { .. }
            | Output::Persist(Persist { snapshot: None, .. }) => {}
        }
    }

    fn commit(&mut self, id: NodeId, applied: &mut Applied, at: (u64, u64), tag: Option<u64>, data: &Bytes) {
        let (index, term) = at;
        applied.apply(index, data);
        let seen = (term, data.clone(), applied.digest);
        let known = self.ledger.entry(index).or_insert_with(|| seen.clone());
        assert_eq!(*known, seen, "{id} committed something else at {index}, or missed something before it");
        if let Some(tag) = tag {
            let proposed = self.end(id, tag);
            assert_eq!(proposed, data, "tag {tag} names another proposal");
            self.committed += 1;
        }
    }

    fn install(&mut self, applied: &mut Applied, index: u64, image: &Image) {
        *applied = Applied::of(image);
        let known = self.ledger.range(..=index).next_back();
        let digest = known.map_or(0, |(_, (_, _, digest))| *digest);
        assert_eq!(applied.digest, digest, "a snapshot at {index} is not the state there");
        applied.index = index;
    }

    fn role(&mut self, id: NodeId, applied: &Applied, role: Role) {
        if let Role::Leader { term } = role {
            let leader = *self.leaders.entry(term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {term}");
            let earlier = self.ledger.iter().rev().find(|(_, (of, _, _))| *of < term);
            let complete = earlier.is_none_or(|(index, _)| applied.index >= *index);
            assert!(complete, "{id} leads term {term} without {earlier:?}");
        }
        self.roles.insert(id, role);
    }

    fn end(&mut self, id: NodeId, tag: u64) -> Bytes {
        let open = self.open.entry(id).or_default().remove(&tag);
        open.unwrap_or_else(|| panic!("{id}: tag {tag} ended twice, or was never open"))
    }

    fn end_read(&mut self, id: NodeId, tag: u64) -> u64 {
        let open = self.reads.entry(id).or_default().remove(&tag);
        open.unwrap_or_else(|| panic!("{id}: read {tag} ended twice, or was never open"))
    }

    /// Every proposal and read of these members has ended.
    pub fn assert_ended(&self, alive: &BTreeSet<NodeId>) {
        for id in alive {
            assert!(self.open.get(id).is_none_or(BTreeMap::is_empty), "{id}: {:?}", self.open.get(id));
            assert!(self.reads.get(id).is_none_or(BTreeMap::is_empty), "{id}: {:?}", self.reads.get(id));
        }
    }
}
