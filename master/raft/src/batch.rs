//! Fewer and larger appends: what a settle says to one follower in several messages goes in one.
//!
//! The library can do this itself (`batch_append`), but 0.7.0 also glues entries to an empty append that was meant for
//! another place of the log: its follower then acknowledges entries it does not have. The storms found it.

use std::collections::BTreeMap;

use raft::eraftpb::{Message, MessageType};

use crate::config::MAX_APPEND_BYTES;

/// Puts appends that continue each other together, as long as they stay below `MAX_APPEND_BYTES`.
pub(crate) fn join_appends(messages: Vec<Message>) -> Vec<Message> {
    let mut joined: Vec<Message> = Vec::with_capacity(messages.len());
    // By follower: the last append for it, and its bytes.
    let mut last: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for mut message in messages {
        if message.msg_type != MessageType::MsgAppend {
            joined.push(message);
            continue;
        }
        let bytes: u64 = message.entries.iter().map(|entry| entry.data.len() as u64).sum();
        if let Some((at, size)) = last.get_mut(&message.to)
            && let Some(before) = joined.get_mut(*at)
            && (message.entries.is_empty() || *size + bytes <= MAX_APPEND_BYTES)
            && continues(before, &message)
        {
            before.commit = before.commit.max(message.commit);
            before.mut_entries().extend(message.take_entries());
            *size += bytes;
            continue;
        }
        last.insert(message.to, (joined.len(), bytes));
        joined.push(message);
    }
    joined
}

fn continues(before: &Message, message: &Message) -> bool {
    let (index, term) =
        before.entries.last().map_or((before.index, before.log_term), |entry| (entry.index, entry.term));
    before.term == message.term && index == message.index && term == message.log_term
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, EntryKind, codec};

    fn append(to: u64, index: u64, entries: u64, commit: u64, size: usize) -> Message {
        let entry = |index| {
            let data = vec![0; size].into();
            codec::library_entry(&Entry { index, term: 1, kind: EntryKind::Normal, data })
        };
        let entries: Vec<_> = (index + 1..=index + entries).map(entry).collect();
        Message {
            msg_type: MessageType::MsgAppend,
            to,
            index,
            log_term: 1,
            commit,
            entries: entries.into(),
            ..Default::default()
        }
    }

    fn shape(messages: Vec<Message>) -> Vec<(u64, u64, usize, u64)> {
        join_appends(messages).iter().map(|m| (m.to, m.index, m.entries.len(), m.commit)).collect()
    }

    #[test]
    fn appends_that_continue_each_other_become_one() {
        let messages = vec![
            append(2, 10, 2, 8, 1),
            append(3, 10, 2, 8, 1),
            append(2, 12, 0, 9, 1),
            append(2, 12, 3, 9, 1),
            append(3, 12, 1, 11, 1),
        ];
        assert_eq!(shape(messages), [(2, 10, 5, 9), (3, 10, 3, 11)]);
    }

    #[test]
    fn an_append_elsewhere_stays_for_itself() {
        // What the library's own batching makes one message of, at the wrong place.
        let messages = vec![append(2, 310, 0, 300, 1), append(2, 304, 2, 300, 1), append(2, 306, 1, 300, 1)];
        assert_eq!(shape(messages), [(2, 310, 0, 300), (2, 304, 3, 300)]);
        let half = MAX_APPEND_BYTES as usize / 2;
        let large = vec![append(2, 1, 1, 1, half), append(2, 2, 1, 1, half), append(2, 3, 1, 1, half)];
        assert_eq!(shape(large), [(2, 1, 2, 1), (2, 3, 1, 1)]);
    }
}
