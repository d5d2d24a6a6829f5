//! What a backup remembers of the registry, as the first snapshot of a new log.

pub use master_registry::BadImage;
use master_registry::Registry;
use proto::log::Restored;

/// The image of a registry whose log begins anew.
///
/// # Errors
/// [`BadImage`]: the bytes are no registry that this version reads.
pub fn restored(image: &[u8], restored: Restored) -> Result<Vec<u8>, BadImage> {
    Ok(Registry::from_image(image)?.restored(restored).to_image())
}
