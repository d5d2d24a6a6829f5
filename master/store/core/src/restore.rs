//! What a backup remembers of the store, as the first snapshot of a new log.

pub use master_store::BadImage;
use master_store::Store;

/// The image of a store whose log begins anew, with numbers from `floor` on.
///
/// # Errors
/// [`BadImage`]: the bytes are no store that this version reads.
pub fn restored(image: &[u8], floor: u64) -> Result<Vec<u8>, BadImage> {
    Ok(Store::from_image(image)?.restored(floor).to_image())
}
