//! The store as a snapshot, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use proto::store::Bytes;
use proto::store_log::{LeaseRecord, SpaceRecord, StoreImage, VersionRecord};
use proto::wire::{Malformed, Wire};

use crate::chain::Version;
use crate::lease::Lease;
use crate::store::SpaceId;
use crate::{Space, Store};

/// The newest layout that this version knows.
const FORMAT: u64 = 2;
/// From this layout on the list of masters may have been changed. Written only where it was.
const HOLDS_ROSTER: u64 = 2;

/// Why bytes are not a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadImage {
    /// They do not decode.
    Malformed(Malformed),
    /// They were written by a newer version.
    Newer(u64),
    /// Versions do not follow each other.
    Disordered,
}

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadImage::Malformed(bad) => write!(f, "the snapshot of the store is malformed: {bad}"),
            BadImage::Newer(format) => write!(
                f,
                "the snapshot of the store has format {format}, this version reads up to {FORMAT}; upgrade this master"
            ),
            BadImage::Disordered => f.write_str("the snapshot of the store holds versions out of order"),
        }
    }
}

impl Store {
    /// Everything, as bytes.
    pub fn to_image(&self) -> Vec<u8> {
        let spaces = self.spaces.iter().map(|(id, space)| space.to_record(id)).collect();
        let format = if self.roster.is_some() { HOLDS_ROSTER } else { 1 };
        StoreImage { format, spaces, roster: self.roster.clone() }.encode()
    }

    /// From bytes that [`to_image`](Store::to_image) wrote; no bytes are an empty store.
    pub fn from_image(bytes: &[u8]) -> Result<Store, BadImage> {
        if bytes.is_empty() {
            return Ok(Store::default());
        }
        let image = StoreImage::decode(bytes).map_err(BadImage::Malformed)?;
        if image.format > FORMAT {
            return Err(BadImage::Newer(image.format));
        }
        let spaces = image.spaces.into_iter().map(|mut record| {
            let id =
                SpaceId { owner: std::mem::take(&mut record.owner), name: std::mem::take(&mut record.space) };
            Ok((id, Space::from_record(record)?))
        });
        Ok(Store { spaces: spaces.collect::<Result<_, _>>()?, roster: image.roster })
    }
}

impl Space {
    /// Versions stand by revision. A tombstone that was compacted is in the history alone, and stands among them.
    fn to_record(&self, id: &SpaceId) -> SpaceRecord {
        let mut versions: BTreeMap<(u64, u32), &Arc<Version>> = BTreeMap::new();
        let all = self.chains.values().flat_map(|chain| chain.iter()).chain(&self.history);
        versions.extend(all.map(|version| ((version.mod_revision, version.sub), version)));
        let leases = self.leases.by_id.iter();
        SpaceRecord {
            owner: id.owner.clone(),
            space: id.name.clone(),
            epoch: self.epoch,
            revision: self.revision,
            compacted: self.compacted,
            grants: self.leases.grants,
            leases: leases
                .map(|(id, lease)| LeaseRecord { id: *id, ttl_ms: lease.ttl_ms, grant: lease.grant })
                .collect(),
            versions: versions.into_values().map(|version| to_record(version)).collect(),
        }
    }

    fn from_record(record: SpaceRecord) -> Result<Space, BadImage> {
        let mut space = Space {
            epoch: record.epoch,
            revision: record.revision,
            compacted: record.compacted,
            ..Space::default()
        };
        space.leases.grants = record.grants;
        for LeaseRecord { id, ttl_ms, grant } in record.leases {
            space.leases.by_id.insert(id, Lease { ttl_ms, grant, ..Lease::default() });
        }
        let mut last = None;
        for record in record.versions {
            let place = (record.mod_revision, record.sub);
            if last.replace(place).is_some_and(|last| last >= place) || record.mod_revision > space.revision {
                return Err(BadImage::Disordered);
            }
            space.remember(record)?;
        }
        Ok(space)
    }

    fn remember(&mut self, record: VersionRecord) -> Result<(), BadImage> {
        let chain = self.chains.get(&record.key);
        // One copy of a key for all its versions.
        let key: Bytes =
            chain.and_then(|chain| chain.iter().next()).map_or(record.key, |version| version.key.clone());
        let before = chain.and_then(|chain| chain.live()).cloned();
        let newest = chain.and_then(|chain| chain.iter().last()).map(|version| version.mod_revision);
        if newest.is_some_and(|newest| newest >= record.mod_revision) {
            return Err(BadImage::Disordered);
        }
        let version = Arc::new(Version {
            key,
            value: record.value,
            create_revision: record.create_revision,
            mod_revision: record.mod_revision,
            sub: record.sub,
            version: record.version,
            lease: record.lease,
        });
        if version.mod_revision >= self.compacted {
            self.history.push_back(version.clone());
        }
        if version.is_tombstone() && version.mod_revision <= self.compacted {
            return Ok(());
        }
        self.leases.bind(&version.key, before.as_ref().map_or(0, |before| before.lease), version.lease);
        self.bytes += version.cost();
        self.live_bytes -= before.as_ref().map_or(0, |before| before.cost());
        self.live_keys -= u64::from(before.is_some());
        if !version.is_tombstone() {
            self.live_bytes += version.cost();
            self.live_keys += 1;
        }
        self.chains.entry(version.key.clone()).or_default().push(version);
        Ok(())
    }
}

fn to_record(version: &Version) -> VersionRecord {
    VersionRecord {
        key: version.key.clone(),
        value: version.value.clone(),
        create_revision: version.create_revision,
        mod_revision: version.mod_revision,
        sub: version.sub,
        version: version.version,
        lease: version.lease,
    }
}
