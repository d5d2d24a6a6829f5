//! Cutting a byte stream into frames, and putting a body into one.

use super::{FRAME_BYTES_MAX, Malformed, TooLong, Writer};

const LENGTH_BYTES: usize = 4;

/// A buffer that bytes of a stream are put into and whole frame bodies are taken from.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    start: usize,
}

/// Once a burst is over, no more than this is kept for the next one.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Frames {
    /// An empty buffer.
    pub fn new() -> Frames {
        Frames::default()
    }

    /// Adds what was read from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole body, if there is one.
    ///
    /// # Errors
    /// [`Malformed`] if a length exceeds [`FRAME_BYTES_MAX`]; the stream cannot be read any further.
    pub fn next_body(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let pending = self.bytes.get(self.start..).unwrap_or_default();
        let Some((length, after)) = pending.split_first_chunk::<LENGTH_BYTES>() else {
            self.compact();
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(Malformed { what: "frame within the length limit" });
        }
        if after.len() < length {
            self.compact();
            return Ok(None);
        }
        let body_at = self.start + LENGTH_BYTES;
        self.start = body_at + length;
        Ok(self.bytes.get(body_at..self.start))
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

/// Appends one frame whose body `write` produces; takes everything back if it is too long.
pub(super) fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) -> Result<(), TooLong> {
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    write(&mut Writer::new(out));
    let body = out.len() - at - LENGTH_BYTES;
    let length = u32::try_from(body).ok().filter(|_| body <= FRAME_BYTES_MAX);
    match (length, out.get_mut(at..at + LENGTH_BYTES)) {
        (Some(length), Some(place)) => {
            place.copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        (None, _) | (_, None) => {
            out.truncate(at);
            Err(TooLong { bytes: body })
        }
    }
}
