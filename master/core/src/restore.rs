//! What a backup remembers of the registry, as the first snapshot of a new log.

use std::collections::BTreeMap;

pub use master_registry::BadImage;
use master_registry::Registry;
use proto::id::MasterId;
use proto::log::Restored;

/// The image of a registry whose log begins anew, in a group of these masters.
///
/// # Errors
/// [`BadImage`]: the bytes are no registry that this version reads.
pub fn restored(
    image: &[u8],
    restored: Restored,
    masters: &BTreeMap<MasterId, String>,
) -> Result<Vec<u8>, BadImage> {
    Ok(Registry::from_image(image)?.restored(restored, masters).to_image())
}
