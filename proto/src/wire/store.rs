//! The conversation about frameworks' state on the wire.

use proto_wire::store as w;

use crate::store::{
    Call, CallKind, Claim, Claimed, Compact, Compare, Comparison, DeleteRange, DeleteRangeReply, Event,
    KeyValue, LeaseGrant, LeaseKeepAlive, LeaseList, LeaseLook, LeaseReply, LeaseRevoke, LeaseView, Operand,
    Operation, OperationReply, Put, PutReply, Range, RangeReply, Reply, ReplyKind, Txn, TxnReply, Watch,
    WatchReply,
};

message!(KeyValue = w::KeyValue {
    plain key: key,
    plain value: value,
    plain create_revision: create_revision,
    plain mod_revision: mod_revision,
    plain version: version,
    plain lease: lease,
});
message!(Range = w::Range {
    plain key: key,
    plain range_end: range_end,
    plain limit: limit,
    plain revision: revision,
    plain keys_only: keys_only,
    plain count_only: count_only,
    plain serializable: serializable,
});
message!(RangeReply = w::RangeReply { rep kvs: kvs, plain more: more, plain count: count });
message!(Put = w::Put {
    plain key: key,
    plain value: value,
    plain lease: lease,
    plain prev_kv: prev_kv,
    plain ignore_value: ignore_value,
    plain ignore_lease: ignore_lease,
});
message!(PutReply = w::PutReply { opt prev_kv: prev_kv });
message!(DeleteRange = w::DeleteRange { plain key: key, plain range_end: range_end, plain prev_kv: prev_kv });
message!(DeleteRangeReply = w::DeleteRangeReply { plain deleted: deleted, rep prev_kvs: prev_kvs });
numbered!(Comparison = w::Comparison { Equal: Equal, Greater: Greater, Less: Less, NotEqual: NotEqual });
oneof!(Operand = w::compare::Operand {
    text Version: Version,
    text CreateRevision: CreateRevision,
    text ModRevision: ModRevision,
    text Value: Value,
    text Lease: Lease,
});
message!(Compare = w::Compare {
    plain key: key,
    plain range_end: range_end,
    plain comparison: comparison,
    one operand: operand,
});
oneof!(Operation = w::operation::Kind {
    msg Range: Range,
    msg Put: Put,
    msg DeleteRange: DeleteRange,
    msg Txn: Txn,
});
oneof!(OperationReply = w::operation_reply::Kind {
    msg Range: Range,
    msg Put: Put,
    msg DeleteRange: DeleteRange,
    msg Txn: Txn,
});
only_oneof! { Operation = w::Operation; OperationReply = w::OperationReply; }
message!(Txn = w::Txn { rep compare: compare, rep success: success, rep failure: failure });
message!(TxnReply = w::TxnReply { plain succeeded: succeeded, rep responses: responses });

message!(Compact = w::Compact { plain revision: revision });
message!(LeaseGrant = w::LeaseGrant { plain ttl_ms: ttl_ms, plain id: id });
message!(LeaseReply = w::LeaseReply { plain id: id, plain ttl_ms: ttl_ms });
message!(LeaseRevoke = w::LeaseRevoke { plain id: id });
message!(LeaseKeepAlive = w::LeaseKeepAlive { plain id: id });
message!(LeaseLook = w::LeaseLook { plain id: id, plain keys: keys });
message!(LeaseView = w::LeaseView {
    plain id: id,
    plain ttl_ms: ttl_ms,
    plain remaining_ms: remaining_ms,
    repp keys: keys,
});
message!(LeaseList = w::LeaseList { repp ids: ids });
message!(Claim = w::Claim { plain lease: lease });
message!(Claimed = w::Claimed { plain epoch: epoch });

oneof!(CallKind = w::call::Kind {
    msg Range: Range,
    msg Put: Put,
    msg DeleteRange: DeleteRange,
    msg Txn: Txn,
    msg Compact: Compact,
    msg LeaseGrant: LeaseGrant,
    msg LeaseRevoke: LeaseRevoke,
    msg LeaseKeepAlive: LeaseKeepAlive,
    msg LeaseLook: LeaseLook,
    unit Leases: Leases,
    msg Claim: Claim,
});
message!(Call = w::Call { plain space: space, optp epoch: epoch, one kind: kind });
oneof!(ReplyKind = w::reply::Kind {
    msg Range: Range,
    msg Put: Put,
    msg DeleteRange: DeleteRange,
    msg Txn: Txn,
    unit Done: Done,
    msg Lease: Lease,
    msg LeaseView: LeaseView,
    msg Leases: Leases,
    msg Claimed: Claimed,
    msg Refused: Refused,
    text Redirect: Redirect,
});
message!(Reply = w::Reply { plain revision: revision, plain term: term, one kind: kind });

message!(Watch = w::Watch {
    plain space: space,
    plain key: key,
    plain range_end: range_end,
    plain start_revision: start_revision,
    plain prev_kv: prev_kv,
});
message!(Event = w::Event { req kv: kv, plain deleted: deleted, opt prev_kv: prev_kv });
message!(WatchReply = w::WatchReply { plain revision: revision, rep events: events, opt refused: refused });
