//! Ranges: keys in their order, now or as of a revision.

use proto::store::{Bytes, Keys, Range, RangeReply};

use crate::{Fault, Space};

impl Space {
    /// Looks. `Range::serializable` is the caller's business: here is one state only.
    pub fn range(&self, range: &Range) -> Result<RangeReply, Fault> {
        self.check_range(range)?;
        Ok(self.look(range))
    }

    /// What a range that was checked finds.
    pub(crate) fn look(&self, range: &Range) -> RangeReply {
        let keys = Keys { key: range.key.clone(), end: range.range_end.clone() };
        let mut reply = RangeReply::default();
        for (_, chain) in self.chains_of(&keys) {
            let version = match range.revision {
                0 => chain.live(),
                revision => chain.at(revision),
            };
            let Some(version) = version else { continue };
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
