//! Frames: how records stand in the file, so that each can be told from half of one.
//!
//! ```text
//! file    = header frame*  zeros
//! header  = magic[8] version:u32 salt:u64 made:u64 crc32:u32
//! frame   = length:u32 crc32:u32 synced:u64 kind:u8 body[length - 1]
//! ```
//!
//! Numbers are little endian. A frame's checksum covers the salt and all of the frame but itself. The salt is the
//! file's own and random: nobody who gets bytes of his into a record can make them pass for a frame.
//!
//! `synced` is the length of the file that was known to be on disk when the frame was written. That is how damage is
//! told from a write that was under way when the power went: of the bytes behind the last sync the disk may hold any
//! part, but what a later frame calls synced was there. `made` says the same of the file as it was when it got its
//! name.

use proto::wire::Malformed;

/// The version of this format.
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 32;
/// Nothing an agent writes down is larger than the message it came in (4 MiB), and little is added.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

const MAGIC: [u8; 8] = *b"STOALEDG";
const FRAME_HEAD_BYTES: usize = 16;
const KIND_BOOT: u8 = 1;
const KIND_RECORD: u8 = 2;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// The machine has been started anew, and all that follows from it stands before this.
    Boot(&'a [u8]),
    /// An encoded record.
    Record(&'a [u8]),
    /// Of a later version.
    Unknown(u8),
}

/// A frame as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) body: Body<'a>,
    pub(crate) synced: u64,
    /// Of the whole frame in the file.
    pub(crate) bytes: usize,
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u64,
    /// How long the file was when it was made, and synced.
    pub(crate) made: u64,
}

/// Why the start of a file is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It is something else, or damaged.
    Damaged,
    /// It is of another version.
    Version(u32),
}

pub(crate) fn header(header: Header) -> [u8; HEADER_BYTES] {
    let crc = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&header.salt.to_le_bytes());
    bytes.extend_from_slice(&header.made.to_le_bytes());
    bytes.extend_from_slice(&crc(&bytes));
    let mut fixed = [0; HEADER_BYTES];
    fixed.copy_from_slice(&bytes);
    fixed
}

pub(crate) fn read_header(file: &[u8]) -> Result<Header, BadHeader> {
    let header = file.get(..HEADER_BYTES).ok_or(BadHeader::Damaged)?;
    let (body, crc) = header.split_at(HEADER_BYTES - 4);
    if !body.starts_with(&MAGIC) || u32_at(crc, 0) != Some(crc32fast::hash(body)) {
        return Err(BadHeader::Damaged);
    }
    match (u32_at(body, 8), u64_at(body, 12), u64_at(body, 20)) {
        (Some(VERSION), Some(salt), Some(made)) => Ok(Header { salt, made }),
        (Some(other), _, _) => Err(BadHeader::Version(other)),
        (None, _, _) => Err(BadHeader::Damaged),
    }
}

pub(crate) fn put_boot(out: &mut Vec<u8>, salt: u64, synced: u64, boot_id: &str) {
    put(out, salt, synced, KIND_BOOT, boot_id.as_bytes());
}

pub(crate) fn put_record(out: &mut Vec<u8>, salt: u64, synced: u64, record: &[u8]) {
    put(out, salt, synced, KIND_RECORD, record);
}

fn put(out: &mut Vec<u8>, salt: u64, synced: u64, kind: u8, body: &[u8]) {
    // The bound on bodies is far below what a u32 holds.
    let length = u32::try_from(body.len() + 1).unwrap_or(u32::MAX).to_le_bytes();
    let synced = synced.to_le_bytes();
    let crc = checksum(salt, &length, &[&synced, &[kind], body]);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&synced);
    out.push(kind);
    out.extend_from_slice(body);
}

/// The frame at an offset; `None` when what stands there is none.
pub(crate) fn read(file: &[u8], salt: u64, offset: usize) -> Option<Frame<'_>> {
    let rest = file.get(offset..)?;
    let length = usize::try_from(u32_at(rest, 0)?).ok()?;
    if length == 0 || length > BODY_BYTES_MAX + 1 {
        return None;
    }
    let bytes = FRAME_HEAD_BYTES + length;
    let crc = u32_at(rest, 4)?;
    if crc != checksum(salt, rest.get(..4)?, &[rest.get(8..bytes)?]) {
        return None;
    }
    let (kind, body) = rest.get(FRAME_HEAD_BYTES..bytes)?.split_first()?;
    let body = match *kind {
        KIND_BOOT => Body::Boot(body),
        KIND_RECORD => Body::Record(body),
        other => Body::Unknown(other),
    };
    Some(Frame { body, synced: u64_at(rest, 8)?, bytes })
}

/// Whether a frame behind `offset` says that what stands at `offset` was synced.
pub(crate) fn was_synced(file: &[u8], salt: u64, offset: usize) -> bool {
    let mut at = offset + 1;
    // Behind the last of it there are only zeros, and no frame begins with one.
    let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    while at < used {
        match read(file, salt, at) {
            Some(frame) if frame.synced > offset as u64 => return true,
            Some(frame) => at += frame.bytes,
            None => at += 1,
        }
    }
    false
}

/// The boot id of a frame's body.
pub(crate) fn boot_id(body: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(body.to_vec()).map_err(|_| Malformed::at("boot_id", "is not text"))
}

fn checksum(salt: u64, length: &[u8], parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(length);
    for part in parts {
        crc.update(part);
    }
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x0123_4567_89ab_cdef;

    #[test]
    fn a_frame_reads_back_and_no_flipped_bit_passes() {
        let mut file = Vec::new();
        put_record(&mut file, SALT, 77, b"hello");
        let frame = read(&file, SALT, 0).unwrap();
        assert_eq!(frame, Frame { body: Body::Record(b"hello"), synced: 77, bytes: file.len() });
        assert_eq!(read(&file, SALT + 1, 0), None);
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped, SALT, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let ours = Header { salt: SALT, made: 99 };
        let file = header(ours);
        assert_eq!(read_header(&file), Ok(ours));
        for bit in 0..file.len() * 8 {
            let mut flipped = file;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_another_version_is_not_called_damaged() {
        let mut file = header(Header { salt: SALT, made: 99 });
        file[8] = 9;
        let crc = crc32fast::hash(&file[..HEADER_BYTES - 4]).to_le_bytes();
        file[HEADER_BYTES - 4..].copy_from_slice(&crc);
        assert_eq!(read_header(&file), Err(BadHeader::Version(9)));
    }

    #[test]
    fn only_a_frame_with_the_files_own_salt_bears_witness() {
        let file = |salt| {
            let mut file = vec![7; 33];
            put_record(&mut file, salt, 1, b"inside of a record that a task's owner wrote");
            file
        };
        assert!(was_synced(&file(SALT), SALT, 0));
        assert!(!was_synced(&file(SALT ^ 1), SALT, 0));
        assert!(!was_synced(&file(SALT), SALT, 5), "it says nothing of what stands at 5");
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(read(&[0; 64], SALT, 0), None);
        assert!(!was_synced(&[0; 64], SALT, 0));
    }
}
