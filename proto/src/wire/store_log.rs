//! The store's log and its snapshot on disk.

use proto_wire::store_log as w;

use crate::store_log::{
    Batch, Entry, EntryKind, LeaseExpired, LeaseRecord, Limits, SpaceRecord, StoreImage, VersionRecord,
};

message!(LeaseExpired = w::LeaseExpired { plain id: id, plain grant: grant });
oneof!(EntryKind = w::entry::Kind {
    msg Put: Put,
    msg DeleteRange: DeleteRange,
    msg Txn: Txn,
    msg Compact: Compact,
    msg LeaseGrant: LeaseGrant,
    msg LeaseRevoke: LeaseRevoke,
    msg LeaseExpired: LeaseExpired,
    msg Claim: Claim,
});
message!(Entry = w::Entry { plain owner: owner, plain space: space, optp epoch: epoch, one kind: kind });
message!(Limits = w::Limits { plain space_bytes: space_bytes, plain value_bytes: value_bytes });
message!(Batch = w::Batch { rep entries: entries, opt limits: limits, opt roster: roster });
message!(VersionRecord = w::VersionRecord {
    plain key: key,
    plain value: value,
    plain create_revision: create_revision,
    plain mod_revision: mod_revision,
    plain sub: sub,
    plain version: version,
    plain lease: lease,
});
message!(LeaseRecord = w::LeaseRecord { plain id: id, plain ttl_ms: ttl_ms, plain grant: grant });
message!(SpaceRecord = w::SpaceRecord {
    plain owner: owner,
    plain space: space,
    plain epoch: epoch,
    plain revision: revision,
    plain compacted: compacted,
    plain grants: grants,
    rep leases: leases,
    rep versions: versions,
});
message!(StoreImage = w::Image { plain format: format, rep spaces: spaces, opt roster: roster });
