//! The file of a backup.

use proto_wire::backup as w;

use crate::backup::{Backup, Member, Part, Save, SavedBytes};

message!(Save = w::Save {});
message!(SavedBytes = w::SavedBytes { plain bytes: bytes });
message!(Part = w::Part { plain index: index, plain term: term, plain image: image });
message!(Member = w::Member { plain id: id, plain address: address });
message!(Backup = w::Backup {
    plain format: format,
    plain cluster: cluster,
    plain made_ms: made_ms,
    plain by: by,
    plain version: version,
    rep members: members,
    req registry: registry,
    req store: store,
});
