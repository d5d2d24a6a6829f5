//! Frames: how batches stand in a file, so that each is found whole or not at all.
//!
//! ```text
//! file    = header frame* zeros
//! header  = magic[8] version:u32 number:u64 salt:u64 oldest:u64 before:u64 made:u64 zeros crc32:u32   (one sector)
//! frame   = sector+
//! sector  = bytes[511] stamp:u8
//! ```
//!
//! The bytes of a frame's sectors, strung together, are `length:u64 body_crc:u32 head_crc:u32 body[length] zeros`.
//! Numbers are little endian. `body_crc` covers the zeros too; `head_crc` covers length, `body_crc`, the place of the
//! frame in the file, and the salt. The salt is the file's own and random: nothing left over from another file, and
//! nobody who gets bytes of his into an entry, can pass for a frame.
//!
//! # Torn or damaged
//!
//! A frame goes into a part of the file that holds zeros, and the next one is not written before it is synced. So the
//! power can only tear the last one, and what it tears is missing by whole sectors: their stamps are zero. Whatever has
//! all its stamps was there, and must match its checksums; whatever has a frame behind it was there too. Sectors are
//! never written twice.

/// The version of this format and of the records inside.
pub(crate) const VERSION: u32 = 1;
pub(crate) const SECTOR: usize = 512;

const MAGIC: [u8; 8] = *b"STOA-LOG";
/// More than one bit: no flip makes it zero.
const STAMP: u8 = 0xa5;
/// What a sector carries besides its stamp.
const ROOM: usize = SECTOR - 1;
const HEAD: usize = 16;

/// What a file says of itself. It is written, synced, before the file has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub number: u64,
    pub salt: u64,
    /// The first file that was still needed.
    pub oldest: u64,
    /// Where the file before this one ended: all up to there was durable.
    pub before: u64,
    /// How long this file was when it got its name.
    pub made: u64,
}

/// Why the start of a file is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    Version(u32),
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Frame {
        body: Vec<u8>,
        /// Of the whole frame in the file.
        bytes: usize,
    },
    /// Nothing, or a frame of which some sectors were never written.
    Unfinished,
    /// Something that was once whole.
    Damaged(&'static str),
}

// === impl Header ===

impl Header {
    pub(crate) fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = Vec::with_capacity(SECTOR);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        for number in [self.number, self.salt, self.oldest, self.before, self.made] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(SECTOR - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut sector = [0; SECTOR];
        sector.copy_from_slice(&bytes);
        sector
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Self, BadHeader> {
        let sector = file.get(..SECTOR).ok_or(BadHeader::Damaged)?;
        let (fields, crc) = sector.split_at(SECTOR - 4);
        if !fields.starts_with(&MAGIC) || u32_at(crc, 0) != Some(crc32fast::hash(fields)) {
            return Err(BadHeader::Damaged);
        }
        match u32_at(fields, 8) {
            Some(VERSION) => {}
            Some(other) => return Err(BadHeader::Version(other)),
            None => return Err(BadHeader::Damaged),
        }
        let field = |n: usize| u64_at(fields, 12 + 8 * n).ok_or(BadHeader::Damaged);
        Ok(Self { number: field(0)?, salt: field(1)?, oldest: field(2)?, before: field(3)?, made: field(4)? })
    }
}

// === frames ===

/// How much of a file a frame takes.
pub(crate) fn bytes(body: usize) -> u64 {
    (HEAD + body).div_ceil(ROOM) as u64 * SECTOR as u64
}

/// Appends the frame of a body that is to stand at `offset`.
pub(crate) fn put(out: &mut Vec<u8>, salt: u64, offset: u64, body: &[u8]) {
    let sectors = (HEAD + body.len()).div_ceil(ROOM);
    let zeros = [0; ROOM];
    let padding = zeros.get(..sectors * ROOM - HEAD - body.len()).unwrap_or_default();
    let mut crc = crc32fast::Hasher::new();
    crc.update(body);
    crc.update(padding);
    let length = body.len() as u64;
    let body_crc = crc.finalize();
    out.reserve(sectors * SECTOR);
    out.extend(length.to_le_bytes());
    out.extend(body_crc.to_le_bytes());
    out.extend(head_crc(salt, offset, length, body_crc).to_le_bytes());
    let (first, rest) = body.split_at(body.len().min(ROOM - HEAD));
    out.extend_from_slice(first);
    for piece in rest.chunks(ROOM) {
        // The sector before is full.
        out.push(STAMP);
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(padding);
    out.push(STAMP);
}

/// Looks at an offset that is a multiple of a sector.
pub(crate) fn read(file: &[u8], salt: u64, offset: usize) -> Found {
    let Some(first) = written(file, offset) else { return Found::Unfinished };
    let Some((length, body_crc)) = head(first, salt, offset) else {
        return Found::Damaged("no batch begins here, but something was written");
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= file.len() - offset);
    let Some(length) = length else { return Found::Unfinished };
    let sectors = (HEAD + length).div_ceil(ROOM);
    let mut text = Vec::with_capacity(sectors * ROOM);
    let mut stamped = true;
    for n in 0..sectors {
        let Some(sector) = written(file, offset + n * SECTOR) else { return Found::Unfinished };
        let (room, stamp) = sector.split_at(ROOM);
        stamped &= stamp == [STAMP];
        text.extend_from_slice(room);
    }
    let body = text.split_off(HEAD);
    if !stamped || crc32fast::hash(&body) != body_crc {
        return Found::Damaged("a batch does not match its checksum");
    }
    let mut body = body;
    body.truncate(length);
    Found::Frame { body, bytes: sectors * SECTOR }
}

/// Whether a frame begins anywhere behind `offset`: then what stands at `offset` was durable.
pub(crate) fn any_behind(file: &[u8], salt: u64, offset: usize) -> bool {
    (offset + SECTOR..file.len())
        .step_by(SECTOR)
        .any(|at| written(file, at).is_some_and(|sector| head(sector, salt, at).is_some()))
}

/// The sector at an offset, unless it was never written to its end.
fn written(file: &[u8], offset: usize) -> Option<&[u8]> {
    let sector = file.get(offset..offset.checked_add(SECTOR)?)?;
    sector.last().filter(|stamp| **stamp != 0).map(|_| sector)
}

/// Length and checksum of the body of a frame that begins with this sector.
fn head(sector: &[u8], salt: u64, offset: usize) -> Option<(u64, u32)> {
    let (length, body_crc) = (u64_at(sector, 0)?, u32_at(sector, 8)?);
    let right = u32_at(sector, 12)? == head_crc(salt, offset as u64, length, body_crc);
    right.then_some((length, body_crc))
}

fn head_crc(salt: u64, offset: u64, length: u64, body_crc: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in [salt, offset, length] {
        crc.update(&number.to_le_bytes());
    }
    crc.update(&body_crc.to_le_bytes());
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

    /// A frame at the second sector, and zeros behind it.
    fn file(body: &[u8]) -> Vec<u8> {
        let mut file = vec![0; SECTOR];
        put(&mut file, SALT, SECTOR as u64, body);
        assert_eq!(file.len() as u64, SECTOR as u64 + bytes(body.len()));
        file.extend([0; 3 * SECTOR]);
        file
    }

    #[test]
    fn a_frame_of_any_size_reads_back() {
        for size in [0, 1, ROOM - HEAD - 1, ROOM - HEAD, ROOM - HEAD + 1, 2 * ROOM - HEAD, 5_000] {
            let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let bytes = bytes(size) as usize;
            assert_eq!(read(&file(&body), SALT, SECTOR), Found::Frame { body, bytes });
        }
        assert_eq!(read(&file(b"x"), SALT, 2 * SECTOR), Found::Unfinished);
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let sound = file(&[7; 1200]);
        for bit in SECTOR * 8..(SECTOR * 4) * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = read(&flipped, SALT, SECTOR);
            assert!(matches!(found, Found::Damaged(_)), "bit {bit}: {found:?}");
        }
    }

    #[test]
    fn every_cut_and_every_missing_sector_is_an_unfinished_write() {
        let sound = file(&[7; 1200]);
        let end = SECTOR * 4;
        for at in SECTOR..end {
            assert_eq!(read(&sound[..at], SALT, SECTOR), Found::Unfinished, "cut at {at}");
            let mut zeros = sound.clone();
            zeros[at..].fill(0);
            assert_eq!(read(&zeros, SALT, SECTOR), Found::Unfinished, "zeros from {at}");
        }
        for lost in 1..8 {
            let mut torn = sound.clone();
            for sector in (0..3).filter(|sector| lost & 1 << sector != 0) {
                torn[SECTOR * (sector + 1)..][..SECTOR].fill(0);
            }
            assert_eq!(read(&torn, SALT, SECTOR), Found::Unfinished, "lost {lost:03b}");
        }
    }

    #[test]
    fn a_frame_counts_only_in_its_place_and_file() {
        let mut file = file(b"a batch");
        assert!(matches!(read(&file, SALT ^ 1, SECTOR), Found::Damaged(_)));
        assert!(any_behind(&file, SALT, 0));
        assert!(!any_behind(&file, SALT ^ 1, 0));
        assert!(!any_behind(&file, SALT, SECTOR), "it says nothing of itself");
        file.drain(..SECTOR);
        assert!(matches!(read(&file, SALT, 0), Found::Damaged(_)));
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let ours = Header { number: 3, salt: SALT, oldest: 2, before: 4096, made: 1024 };
        let sector = ours.encode();
        assert_eq!(Header::decode(&sector), Ok(ours));
        for bit in 0..SECTOR * 8 {
            let mut flipped = sector;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
        let mut other = sector;
        other[8] = 9;
        let crc = crc32fast::hash(&other[..SECTOR - 4]).to_le_bytes();
        other[SECTOR - 4..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&other), Err(BadHeader::Version(9)));
    }
}
