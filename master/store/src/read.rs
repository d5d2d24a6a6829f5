//! Ranges: keys in their order, now or as of a revision.

use std::sync::Arc;

use proto::store::{Bytes, Keys, Range, RangeReply};

use crate::chain::Version;
use crate::{Fault, Space};

impl Space {
    /// Looks. `Range::serializable` is the caller's business: here is one state only.
    pub fn range(&self, range: &Range) -> Result<RangeReply, Fault> {
        self.check_range(range)?;
        Ok(self.look(range))
    }

    fn found<'a>(&'a self, range: &'a Range, keys: &'a Keys) -> impl Iterator<Item = &'a Arc<Version>> {
        self.chains_of(keys).filter_map(|(_, chain)| match range.revision {
            0 => chain.live(),
            revision => chain.at(revision),
        })
    }

    /// What that takes in an answer at most, in bytes.
    pub(crate) fn finds(&self, range: &Range) -> u64 {
        let keys = Keys { key: range.key.clone(), end: range.range_end.clone() };
        let most = match range.limit {
            _ if range.count_only => 0,
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        self.found(range, &keys).take(most).map(|version| version.cost()).sum()
    }

    /// What a range that was checked finds.
    pub(crate) fn look(&self, range: &Range) -> RangeReply {
        let keys = Keys { key: range.key.clone(), end: range.range_end.clone() };
        let mut reply = RangeReply::default();
        for version in self.found(range, &keys) {
            reply.count += 1;
            if range.count_only {
                continue;
            }
            if range.limit > 0 && reply.kvs.len() as u64 >= range.limit {
                reply.more = true;
                continue;
            }
            let mut kv = version.to_kv();
            if range.keys_only {
                kv.value = Bytes::new();
            }
            reply.kvs.push(kv);
        }
        reply
    }
}
