//! The gate before the library: it stops the process on messages no correct peer sends, so they must not reach it.
//!
//! Each check names what the library would do otherwise. A check may only refuse what cannot come from a peer that
//! follows the protocol and kept its disk.

use raft::eraftpb::{Message, MessageType};
use raft::{Raft, StateRole};

use crate::memory::MemoryLog;
use crate::{NodeId, Refusal, codec};

/// Terms and indexes beyond this are nonsense; below it, no sum in the library overflows.
const HIGHEST: u64 = 1 << 62;

/// What is to be done with a message that is in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The library may have it.
    Step,
    /// It was overtaken and says nothing any more.
    Stale,
}

pub(crate) fn admit(raft: &Raft<MemoryLog>, from: NodeId, message: &mut Message) -> Result<Verdict, Refusal> {
    if message.to != raft.id || message.from != from.0 || from.0 == raft.id || from.0 == raft::INVALID_ID {
        return Err(Refusal::Misaddressed);
    }
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
    ];
    if numbers.iter().any(|number| *number > HIGHEST) {
        return Err(Refusal::Malformed);
    }
    // A term of zero means "from this process" to the library and skips its checks of terms.
    if (message.term == 0) != (message.msg_type == MessageType::MsgReadIndex) {
        return Err(Refusal::Malformed);
    }
    // Nobody here has a priority; a negative one makes a member that has not heard of any term refuse a vote in a way
    // the library stops at.
    if message.priority != 0 {
        return Err(Refusal::Malformed);
    }
    match message.msg_type {
        MessageType::MsgAppend => admit_append(raft, message).map(|()| Verdict::Step),
        MessageType::MsgSnapshot => admit_snapshot(message).map(|()| Verdict::Step),
        // The library takes the commit index on trust and stops when the log does not reach it. A leader says no
        // more than what this member once acknowledged.
        MessageType::MsgHeartbeat if message.commit > raft.raft_log.last_index() => Err(Refusal::Forgotten),
        MessageType::MsgAppendResponse => admit_append_response(raft, message),
        // The library takes the first of the entries without looking whether there is one.
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp if message.entries.len() != 1 => {
            Err(Refusal::Malformed)
        }
        // It would be passed on to whom this member takes for the leader. The asker does that himself, when he knows.
        MessageType::MsgReadIndex if raft.state != StateRole::Leader => Ok(Verdict::Stale),
        MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp
        | MessageType::MsgTimeoutNow => Ok(Verdict::Step),
        // The decoder lets none of these through.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => Err(Refusal::Malformed),
    }
}

fn admit_append(raft: &Raft<MemoryLog>, message: &Message) -> Result<(), Refusal> {
    // A previous entry of term zero would match any place behind our log, and leave a gap.
    if (message.log_term == 0) != (message.index == 0) || message.log_term > message.term {
        return Err(Refusal::Malformed);
    }
    let mut before = (message.index, message.log_term);
    for entry in message.entries.iter() {
        if entry.index != before.0 + 1
            || entry.term < before.1
            || entry.term == 0
            || entry.term > message.term
        {
            return Err(Refusal::Malformed);
        }
        before = (entry.index, entry.term);
    }
    // An append of the past is answered before it is looked at; one that starts at the committed entry with
    // another term is the one contradiction the library reports as an ordinary mismatch, for ever.
    let log = &raft.raft_log;
    let known = message.term >= raft.term && message.index == log.committed && message.index > 0;
    if known && log.term(message.index).is_ok_and(|term| term != message.log_term) {
        return Err(Refusal::Contradiction);
    }
    Ok(())
}

fn admit_snapshot(message: &Message) -> Result<(), Refusal> {
    let meta = message.get_snapshot().get_metadata();
    let sound = codec::plain_members(meta.get_conf_state()).is_sound();
    if meta.index == 0 || meta.index > HIGHEST || meta.term == 0 || meta.term > message.term || !sound {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

fn admit_append_response(raft: &Raft<MemoryLog>, message: &mut Message) -> Result<Verdict, Refusal> {
    // Members of this house never ask for a snapshot by themselves.
    if message.request_snapshot != 0 {
        return Err(Refusal::Malformed);
    }
    if raft.state != StateRole::Leader || message.term != raft.term {
        return Ok(Verdict::Step);
    }
    if !message.reject {
        // The library would count on entries nobody has.
        let sound = message.index <= raft.raft_log.last_index();
        return if sound { Ok(Verdict::Step) } else { Err(Refusal::Contradiction) };
    }
    // A rejection that was overtaken by an acknowledgement would make the library walk back over what the follower
    // has (raft-rs #557, fixed after 0.7.0).
    if let Some(progress) = raft.prs().get(message.from) {
        if message.index <= progress.matched {
            return Ok(Verdict::Stale);
        }
        if message.reject_hint < progress.matched {
            message.reject_hint = progress.matched;
            message.log_term = 0;
        }
    }
    Ok(Verdict::Step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfState, Entry, EntryKind, HardState};
    use raft::eraftpb;

    const ME: u64 = 1;
    const PEER: NodeId = NodeId(2);

    fn raft() -> Raft<MemoryLog> {
        let conf = ConfState::of(&[NodeId(ME), PEER, NodeId(3)]);
        let entry = |index| Entry { index, term: 2, kind: EntryKind::Normal, data: "x".into() };
        let place = crate::memory::Place { index: 5, term: 1 };
        let hard_state = HardState { term: 2, vote: None, commit: 7 };
        let log = MemoryLog::new(Some((place, conf)), (6..=9).map(entry).collect(), &hard_state);
        let config = crate::Config::new(NodeId(ME), &[], 1).library(5);
        Raft::new(&config, log, &slog::Logger::root(slog::Discard, slog::o!())).expect("sound")
    }

    fn message(kind: MessageType) -> Message {
        Message { msg_type: kind, to: ME, from: PEER.0, term: 3, ..Default::default() }
    }

    fn append(index: u64, log_term: u64, entries: &[(u64, u64)]) -> Message {
        let mut message = message(MessageType::MsgAppend);
        message.index = index;
        message.log_term = log_term;
        let entry = |(index, term): &(u64, u64)| {
            codec::library_entry(&Entry {
                index: *index,
                term: *term,
                kind: EntryKind::Normal,
                data: "y".into(),
            })
        };
        message.set_entries(entries.iter().map(entry).collect::<Vec<eraftpb::Entry>>().into());
        message
    }

    fn heartbeat(commit: u64) -> Message {
        let mut message = message(MessageType::MsgHeartbeat);
        message.commit = commit;
        message
    }

    fn snapshot(index: u64, term: u64, conf: &ConfState) -> Message {
        let mut message = message(MessageType::MsgSnapshot);
        message.set_snapshot(codec::library_snapshot(index, term, conf));
        message
    }

    /// Each of these stops the process when it reaches the library, or leaves it in a wrong state.
    #[test]
    fn what_would_stop_the_process_is_refused() {
        let raft = raft();
        let conf = ConfState::of(&[NodeId(ME), PEER]);
        let mut stray = heartbeat(0);
        stray.to = 9;
        let mut forged = heartbeat(0);
        forged.from = 3;
        let mut local = heartbeat(0);
        local.term = 0;
        let mut huge = heartbeat(0);
        huge.term = u64::MAX;
        let mut wants_snapshot = message(MessageType::MsgAppendResponse);
        wants_snapshot.request_snapshot = 1;
        let mut bare_read = message(MessageType::MsgReadIndex);
        bare_read.term = 0;
        let cases = [
            (stray, Refusal::Misaddressed),
            (forged, Refusal::Misaddressed),
            (local, Refusal::Malformed),
            (huge, Refusal::Malformed),
            (heartbeat(10), Refusal::Forgotten),
            (append(50, 0, &[]), Refusal::Malformed),
            (append(9, 2, &[(11, 3)]), Refusal::Malformed),
            (append(9, 2, &[(10, 1)]), Refusal::Malformed),
            (append(9, 2, &[(10, 4)]), Refusal::Malformed),
            (append(7, 3, &[(8, 3)]), Refusal::Contradiction),
            (snapshot(0, 1, &conf), Refusal::Malformed),
            (snapshot(20, 0, &conf), Refusal::Malformed),
            (snapshot(20, 4, &conf), Refusal::Malformed),
            (snapshot(20, 2, &ConfState::default()), Refusal::Malformed),
            (wants_snapshot, Refusal::Malformed),
            (bare_read, Refusal::Malformed),
            (message(MessageType::MsgReadIndexResp), Refusal::Malformed),
            (message(MessageType::MsgHup), Refusal::Malformed),
        ];
        for (mut message, refusal) in cases {
            assert_eq!(admit(&raft, PEER, &mut message), Err(refusal), "{message:?}");
        }
    }

    #[test]
    fn what_peers_say_passes() {
        let raft = raft();
        let conf = ConfState::of(&[NodeId(ME), PEER]);
        let passes = [
            heartbeat(9),
            append(9, 2, &[(10, 3), (11, 3)]),
            append(7, 2, &[(8, 3)]),
            append(20, 3, &[]),
            append(3, 1, &[(4, 1)]),
            snapshot(20, 3, &conf),
            message(MessageType::MsgRequestPreVote),
            message(MessageType::MsgTimeoutNow),
        ];
        for mut message in passes {
            assert_eq!(admit(&raft, PEER, &mut message), Ok(Verdict::Step), "{message:?}");
        }
    }

    #[test]
    fn a_leader_believes_no_acknowledgement_of_what_it_never_made() {
        let mut raft = raft();
        raft.become_candidate();
        raft.become_leader();
        let mut answer = message(MessageType::MsgAppendResponse);
        answer.term = raft.term;
        answer.index = raft.raft_log.last_index();
        assert_eq!(admit(&raft, PEER, &mut answer), Ok(Verdict::Step));
        answer.index += 1;
        assert_eq!(admit(&raft, PEER, &mut answer), Err(Refusal::Contradiction));
    }

    #[test]
    fn an_overtaken_rejection_takes_nothing_back() {
        let mut raft = raft();
        raft.become_candidate();
        raft.become_leader();
        raft.mut_prs().get_mut(PEER.0).expect("a member").matched = 8;
        let mut answer = message(MessageType::MsgAppendResponse);
        answer.term = raft.term;
        answer.reject = true;
        answer.reject_hint = 6;
        answer.log_term = 2;
        answer.index = 8;
        assert_eq!(admit(&raft, PEER, &mut answer), Ok(Verdict::Stale));
        answer.index = 9;
        assert_eq!(admit(&raft, PEER, &mut answer), Ok(Verdict::Step));
        assert_eq!((answer.reject_hint, answer.log_term), (8, 0));
    }
}
