//! Keys, values and calls of a history as the store's door speaks of them.

use framework_sdk::state::{
    Bytes, CallKind, Compare, Comparison, DeleteRange, KeyValue, Keys, Operand, Operation, OperationReply,
    Put, Range, ReplyKind, Txn,
};
use tests_history::store::{Answer, Asked, Guard, Key, Kv};

/// Names a key; the names are in the order of the numbers.
pub fn key(number: Key) -> Bytes {
    let mut name = vec![b'k'];
    name.extend(number.to_be_bytes());
    Bytes::from(name)
}

/// All keys from one to another, that one too.
pub fn keys(from: Key, to: Key) -> Keys {
    let end = to.checked_add(1).map_or(Bytes::from_static(b"l"), key);
    Keys { key: key(from), end }
}

fn value(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The number of a key, if it is one of ours.
pub fn number_of(key: &[u8]) -> Result<Key, String> {
    let digits = key.strip_prefix(b"k").and_then(|digits| digits.try_into().ok());
    digits.map(u32::from_be_bytes).ok_or_else(|| format!("a key that nobody has put: {key:?}"))
}

/// What a key holds.
pub fn held(kv: &KeyValue) -> Result<Kv, String> {
    let value = kv.value.as_ref().try_into().map(u64::from_be_bytes);
    Ok(Kv {
        value: value.map_err(|_| format!("a value that nobody has put: {kv:?}"))?,
        created: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
    })
}

/// The call.
pub fn call(asked: &Asked) -> CallKind {
    let put = |number: Key, what: u64| {
        Operation::Put(Put { key: key(number), value: value(what), ..Put::default() })
    };
    match *asked {
        Asked::Get { key: number, stale } => {
            CallKind::Range(Range { key: key(number), serializable: stale, ..Range::default() })
        }
        Asked::List { from, to } => {
            let Keys { key, end } = keys(from, to);
            CallKind::Range(Range { key, range_end: end, ..Range::default() })
        }
        Asked::Put { key: number, value: what } => {
            CallKind::Put(Put { key: key(number), value: value(what), ..Put::default() })
        }
        Asked::Swap { key: number, guard, value: what, also } => {
            let operand = match guard {
                Guard::Modified(seen) => Operand::ModRevision(seen),
                Guard::Version(seen) => Operand::Version(seen),
            };
            let compare =
                Compare { key: key(number), range_end: Bytes::new(), comparison: Comparison::Equal, operand };
            let success = [number].into_iter().chain(also).map(|number| put(number, what)).collect();
            let failure = vec![Operation::Range(Range { key: key(number), ..Range::default() })];
            CallKind::Txn(Txn { compare: vec![compare], success, failure })
        }
        Asked::Delete { key: number } => {
            CallKind::DeleteRange(DeleteRange { key: key(number), range_end: Bytes::new(), prev_kv: false })
        }
    }
}

/// What the answer says.
pub fn answer(asked: &Asked, reply: ReplyKind) -> Result<Answer, String> {
    let found = |kvs: &[KeyValue]| kvs.first().map(held).transpose();
    match (asked, reply) {
        (Asked::Get { .. }, ReplyKind::Range(range)) => Ok(Answer::Found(found(&range.kvs)?)),
        (Asked::List { .. }, ReplyKind::Range(range)) => {
            let listed = range.kvs.iter().map(|kv| Ok((number_of(&kv.key)?, held(kv)?)));
            Ok(Answer::Listed(listed.collect::<Result<_, String>>()?))
        }
        (Asked::Put { .. }, ReplyKind::Put(_)) => Ok(Answer::Done),
        (Asked::Swap { .. }, ReplyKind::Txn(txn)) => match (txn.succeeded, txn.responses.first()) {
            (true, _) => Ok(Answer::Done),
            (false, Some(OperationReply::Range(range))) => Ok(Answer::Otherwise(found(&range.kvs)?)),
            (false, other) => Err(format!("a refused swap answers {other:?}")),
        },
        (Asked::Delete { .. }, ReplyKind::DeleteRange(reply)) => Ok(Answer::Deleted(reply.deleted > 0)),
        (asked, reply) => Err(format!("{asked:?} was answered with {reply:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_numbers_and_are_read_back() {
        let numbers = [0, 1, 255, 256, 70_000, Key::MAX];
        assert!(numbers.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        for number in numbers {
            assert_eq!(number_of(&key(number)), Ok(number));
            assert!(keys(number, number).contains(&key(number)));
        }
        assert!(number_of(b"other").is_err());
        assert!(keys(3, 4).contains(&key(4)) && !keys(3, 4).contains(&key(5)));
        assert!(keys(0, Key::MAX).contains(&key(Key::MAX)));
    }
}
