//! Between the library's structs, the wire messages of `stoa.v1.raft`, and the plain structs of this crate.
//!
//! The library's own codec (protobuf 2) is never asked to read bytes.

use bytes::Bytes;
use prost::Message as _;
use proto_wire::raft as wire;
use raft::eraftpb::{self, EntryType, MessageType};

use crate::{ConfState, Entry, EntryKind, HardState, MemberChange, NodeId};

/// The bytes are no message, or one that members do not send each other.
#[derive(Debug)]
pub(crate) struct Malformed;

// === messages ===

pub(crate) fn encode(message: eraftpb::Message) -> Option<Bytes> {
    let kind = kind_to_wire(message.msg_type)?;
    let mut message = message;
    let snapshot = message.snapshot.take().map(|mut snapshot| {
        let mut meta = snapshot.take_metadata();
        wire::Snapshot {
            index: meta.index,
            term: meta.term,
            members: Some(members_to_wire(&meta.take_conf_state())),
            data: Default::default(),
        }
    });
    let wire = wire::Message {
        kind: kind as i32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().into_iter().map(|entry| entry_to_wire(plain_entry(entry))).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot,
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.into(),
        priority: message.priority,
    };
    Some(wire.encode_to_vec().into())
}

pub(crate) fn decode(bytes: Bytes) -> Result<eraftpb::Message, Malformed> {
    let wire = wire::Message::decode(bytes).map_err(|_| Malformed)?;
    let kind = wire::MessageKind::try_from(wire.kind).map_err(|_| Malformed)?;
    let msg_type = kind_from_wire(kind).ok_or(Malformed)?;
    let entries: Result<Vec<_>, _> = wire.entries.into_iter().map(entry_from_wire).collect();
    let snapshot = wire.snapshot.map(|snapshot| {
        let members = members_from_wire(snapshot.members.ok_or(Malformed)?);
        Ok(library_snapshot(snapshot.index, snapshot.term, &members))
    });
    Ok(eraftpb::Message {
        msg_type,
        to: wire.to,
        from: wire.from,
        term: wire.term,
        log_term: wire.log_term,
        index: wire.index,
        entries: entries?.into(),
        commit: wire.commit,
        commit_term: wire.commit_term,
        snapshot: snapshot.transpose()?.into(),
        request_snapshot: wire.request_snapshot,
        reject: wire.reject,
        reject_hint: wire.reject_hint,
        context: wire.context.into(),
        priority: wire.priority,
        ..Default::default()
    })
}

fn kind_to_wire(kind: MessageType) -> Option<wire::MessageKind> {
    match kind {
        MessageType::MsgAppend => Some(wire::MessageKind::Append),
        MessageType::MsgAppendResponse => Some(wire::MessageKind::AppendResponse),
        MessageType::MsgRequestVote => Some(wire::MessageKind::RequestVote),
        MessageType::MsgRequestVoteResponse => Some(wire::MessageKind::RequestVoteResponse),
        MessageType::MsgRequestPreVote => Some(wire::MessageKind::RequestPreVote),
        MessageType::MsgRequestPreVoteResponse => Some(wire::MessageKind::RequestPreVoteResponse),
        MessageType::MsgSnapshot => Some(wire::MessageKind::Snapshot),
        MessageType::MsgHeartbeat => Some(wire::MessageKind::Heartbeat),
        MessageType::MsgHeartbeatResponse => Some(wire::MessageKind::HeartbeatResponse),
        MessageType::MsgReadIndex => Some(wire::MessageKind::ReadIndex),
        MessageType::MsgReadIndexResp => Some(wire::MessageKind::ReadIndexResponse),
        MessageType::MsgTimeoutNow => Some(wire::MessageKind::TimeoutNow),
        // Local, or forwarded by followers, which this crate never lets the library do.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => None,
    }
}

fn kind_from_wire(kind: wire::MessageKind) -> Option<MessageType> {
    match kind {
        wire::MessageKind::Append => Some(MessageType::MsgAppend),
        wire::MessageKind::AppendResponse => Some(MessageType::MsgAppendResponse),
        wire::MessageKind::RequestVote => Some(MessageType::MsgRequestVote),
        wire::MessageKind::RequestVoteResponse => Some(MessageType::MsgRequestVoteResponse),
        wire::MessageKind::RequestPreVote => Some(MessageType::MsgRequestPreVote),
        wire::MessageKind::RequestPreVoteResponse => Some(MessageType::MsgRequestPreVoteResponse),
        wire::MessageKind::Snapshot => Some(MessageType::MsgSnapshot),
        wire::MessageKind::Heartbeat => Some(MessageType::MsgHeartbeat),
        wire::MessageKind::HeartbeatResponse => Some(MessageType::MsgHeartbeatResponse),
        wire::MessageKind::ReadIndex => Some(MessageType::MsgReadIndex),
        wire::MessageKind::ReadIndexResponse => Some(MessageType::MsgReadIndexResp),
        wire::MessageKind::TimeoutNow => Some(MessageType::MsgTimeoutNow),
        wire::MessageKind::Unspecified | wire::MessageKind::TransferLeader => None,
    }
}

// === entries ===

fn entry_to_wire(entry: Entry) -> wire::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => wire::EntryKind::Normal,
        EntryKind::Members => wire::EntryKind::ConfChange,
    };
    wire::Entry {
        kind: kind as i32,
        term: entry.term,
        index: entry.index,
        data: entry.data.into(),
        context: Default::default(),
    }
}

fn entry_from_wire(entry: wire::Entry) -> Result<eraftpb::Entry, Malformed> {
    let kind = match wire::EntryKind::try_from(entry.kind).map_err(|_| Malformed)? {
        wire::EntryKind::Normal => EntryKind::Normal,
        wire::EntryKind::ConfChange => EntryKind::Members,
    };
    let data = entry.data.into();
    Ok(library_entry(&Entry { index: entry.index, term: entry.term, kind, data }))
}

/// The plain form of the library's entry. A change of members carries this crate's encoding in `context` until it
/// leaves the library for the first time, and from then on in `data`.
pub(crate) fn plain_entry(entry: eraftpb::Entry) -> Entry {
    let (kind, data) = match entry.entry_type {
        EntryType::EntryNormal => (EntryKind::Normal, entry.data),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            let fresh = !entry.context.is_empty();
            (EntryKind::Members, if fresh { entry.context } else { entry.data })
        }
    };
    Entry { index: entry.index, term: entry.term, kind, data }
}

pub(crate) fn library_entry(entry: &Entry) -> eraftpb::Entry {
    eraftpb::Entry {
        entry_type: match entry.kind {
            EntryKind::Normal => EntryType::EntryNormal,
            EntryKind::Members => EntryType::EntryConfChangeV2,
        },
        index: entry.index,
        term: entry.term,
        data: entry.data.clone(),
        ..Default::default()
    }
}

// === changes of members ===

pub(crate) fn encode_change(change: &MemberChange) -> Vec<u8> {
    let plain = |list: &[NodeId]| list.iter().map(|id| id.0).collect();
    wire::ConfChange {
        add_voters: plain(&change.add_voters),
        add_learners: plain(&change.add_learners),
        remove: plain(&change.remove),
    }
    .encode_to_vec()
}

pub(crate) fn decode_change(data: &[u8]) -> Result<MemberChange, Malformed> {
    let change = wire::ConfChange::decode(data).map_err(|_| Malformed)?;
    let ids = |list: Vec<u64>| list.into_iter().map(NodeId).collect();
    Ok(MemberChange {
        add_voters: ids(change.add_voters),
        add_learners: ids(change.add_learners),
        remove: ids(change.remove),
    })
}

// === members, hard state, snapshots ===

fn members_to_wire(conf: &eraftpb::ConfState) -> wire::ConfState {
    wire::ConfState {
        voters: conf.voters.clone(),
        learners: conf.learners.clone(),
        voters_outgoing: conf.voters_outgoing.clone(),
        learners_next: conf.learners_next.clone(),
        auto_leave: conf.auto_leave,
    }
}

fn members_from_wire(conf: wire::ConfState) -> ConfState {
    let ids = |list: Vec<u64>| {
        let mut ids: Vec<_> = list.into_iter().map(NodeId).collect();
        ids.sort_unstable();
        ids
    };
    ConfState {
        voters: ids(conf.voters),
        learners: ids(conf.learners),
        voters_outgoing: ids(conf.voters_outgoing),
        learners_next: ids(conf.learners_next),
        auto_leave: conf.auto_leave,
    }
}

pub(crate) fn plain_members(conf: &eraftpb::ConfState) -> ConfState {
    members_from_wire(members_to_wire(conf))
}

pub(crate) fn library_members(conf: &ConfState) -> eraftpb::ConfState {
    let plain = |list: &[NodeId]| list.iter().map(|id| id.0).collect();
    eraftpb::ConfState {
        voters: plain(&conf.voters),
        learners: plain(&conf.learners),
        voters_outgoing: plain(&conf.voters_outgoing),
        learners_next: plain(&conf.learners_next),
        auto_leave: conf.auto_leave,
        ..Default::default()
    }
}

pub(crate) fn plain_hard_state(state: &eraftpb::HardState) -> HardState {
    let vote = (state.vote != raft::INVALID_ID).then_some(NodeId(state.vote));
    HardState { term: state.term, vote, commit: state.commit }
}

pub(crate) fn library_hard_state(state: &HardState) -> eraftpb::HardState {
    let vote = state.vote.map_or(raft::INVALID_ID, |id| id.0);
    eraftpb::HardState { term: state.term, vote, commit: state.commit, ..Default::default() }
}

/// The library's snapshot, without an image: the library only moves it about.
pub(crate) fn library_snapshot(index: u64, term: u64, conf: &ConfState) -> eraftpb::Snapshot {
    let mut snapshot = eraftpb::Snapshot::default();
    let meta = snapshot.mut_metadata();
    meta.index = index;
    meta.term = term;
    meta.set_conf_state(library_members(conf));
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        let conf = ConfState {
            voters: vec![NodeId(1), NodeId(2)],
            learners: vec![NodeId(7)],
            voters_outgoing: vec![NodeId(1), NodeId(3)],
            learners_next: vec![NodeId(3)],
            auto_leave: true,
        };
        let normal = Entry { index: 6, term: 3, kind: EntryKind::Normal, data: Bytes::from_static(b"x") };
        let members = Entry { index: 7, term: 3, kind: EntryKind::Members, data: Bytes::from_static(b"y") };
        let message = eraftpb::Message {
            msg_type: MessageType::MsgSnapshot,
            to: 2,
            from: 1,
            term: 3,
            log_term: 4,
            index: 5,
            entries: vec![library_entry(&normal), library_entry(&members)].into(),
            commit: 6,
            commit_term: 7,
            snapshot: Some(library_snapshot(10, 3, &conf)).into(),
            request_snapshot: 9,
            reject: true,
            reject_hint: 8,
            context: Bytes::from_static(b"ctx"),
            priority: -1,
            ..Default::default()
        };
        let bytes = encode(message.clone()).expect("a kind that travels");
        assert_eq!(decode(bytes).expect("what we encoded"), message);
    }

    #[test]
    fn garbage_and_kinds_that_do_not_travel_are_malformed() {
        assert!(decode(Bytes::from_static(&[0xff, 0xff, 0xff])).is_err());
        assert!(decode(Bytes::new()).is_err());
        let transfer =
            wire::Message { kind: wire::MessageKind::TransferLeader as i32, ..wire::Message::default() };
        assert!(decode(transfer.encode_to_vec().into()).is_err());
        let unknown = wire::Message { kind: 99, ..wire::Message::default() };
        assert!(decode(unknown.encode_to_vec().into()).is_err());
        let propose = eraftpb::Message { msg_type: MessageType::MsgPropose, ..Default::default() };
        assert!(encode(propose).is_none());
    }

    #[test]
    fn a_fresh_change_of_members_leaves_the_library_in_our_encoding() {
        let change = MemberChange { add_voters: vec![NodeId(4)], ..MemberChange::default() };
        let fresh = eraftpb::Entry {
            entry_type: EntryType::EntryConfChangeV2,
            data: Bytes::from_static(b"the library's own encoding"),
            context: encode_change(&change).into(),
            ..Default::default()
        };
        let plain = plain_entry(fresh);
        assert_eq!(decode_change(&plain.data).expect("ours"), change);
        assert_eq!(plain_entry(library_entry(&plain)), plain);
    }
}
