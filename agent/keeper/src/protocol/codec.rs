//! Reading and writing of single values: little endian, length-prefixed, bounded, without a way to panic.

use super::RunId;

/// Bytes that are not a message of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What was expected where reading stopped.
    pub what: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed message: expected {}", self.what)
    }
}

impl std::error::Error for Malformed {}

/// A request that does not fit into one frame; nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes its frame would have had.
    pub bytes: usize,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "message of {} bytes exceeds the limit of {}", self.bytes, super::FRAME_BYTES_MAX)
    }
}

impl std::error::Error for TooLong {}

/// Takes values off the front of a frame's body.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body }
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed { what })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed { what })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            2.. => Err(Malformed { what }),
        }
    }

    pub(crate) fn run_id(&mut self) -> Result<RunId, Malformed> {
        Ok(RunId(self.array("run id")?))
    }

    pub(crate) fn bytes16(&mut self, what: &'static str) -> Result<[u8; 16], Malformed> {
        self.array(what)
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Vec<u8>, Malformed> {
        let len = self.u32(what)? as usize;
        Ok(self.take(len, what)?.to_vec())
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, Malformed> {
        String::from_utf8(self.bytes(what)?).map_err(|_| Malformed { what })
    }

    /// A list whose items take at least `item_bytes_min` each, so that a forged count cannot reserve much memory.
    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32(what)? as usize;
        if count > self.rest.len() / item_bytes_min.max(1) {
            return Err(Malformed { what });
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Says that the body ends here.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed { what: "end of message" }) }
    }
}

/// Appends values to a buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    pub(crate) fn run_id(&mut self, id: RunId) {
        self.out.extend_from_slice(&id.0);
    }

    pub(crate) fn bytes16(&mut self, value: &[u8; 16]) {
        self.out.extend_from_slice(value);
    }

    /// A count or length. What does not fit into 32 bits makes a frame that is too long anyway and is refused as such.
    pub(crate) fn count(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.out.extend_from_slice(value);
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Writer<'_>, &T)) {
        self.count(items.len());
        for each in items {
            item(self, each);
        }
    }
}
