//! What the keeper's log holds: one record per fact, and how a record looks on disk.
//!
//! On disk a record is a `u32` length, a `u32` CRC-32 of its body, and the body: a tag byte and fields as in the protocol.
//! Unused space behind the last record is zero, so a length of 0 ends the log.

use crate::crc::crc32;
use crate::protocol::{
    Exit, Failure, Malformed, Reader, RunId, Writer, get_exit, get_failure, put_exit, put_failure,
};

/// The version of this format, in the log's head.
pub(crate) const FORMAT: u16 = 1;

/// No body is longer; a greater length is damage.
const BODY_BYTES_MAX: usize = 256;

const HEADER_BYTES: usize = 8;

/// A fact worth surviving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// Opens the log: the boot in which it was written.
    Head {
        /// The version of its format.
        format: u16,
        /// Which boot.
        boot_id: [u8; 16],
    },
    /// A run's first process may now execute its command.
    Started {
        /// Which run.
        run_id: RunId,
        /// Its first process.
        pid: i32,
        /// When that began, as the kernel counts: no later process has both.
        start_time: u64,
    },
    /// A run is over.
    Exited {
        /// Which run.
        run_id: RunId,
        /// How it ended.
        exit: Exit,
    },
    /// A run's command was never executed.
    Failed {
        /// Which run.
        run_id: RunId,
        /// Why not.
        failure: Failure,
    },
    /// The agent has the end; the run is unknown from here on.
    Forgotten {
        /// Which run.
        run_id: RunId,
    },
}

mod tag {
    pub(super) const HEAD: u8 = 1;
    pub(super) const STARTED: u8 = 2;
    pub(super) const EXITED: u8 = 3;
    pub(super) const FAILED: u8 = 4;
    pub(super) const FORGOTTEN: u8 = 5;
}

impl Record {
    /// Appends the record in its form on disk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let mut w = Writer::new(out);
        match self {
            Record::Head { format, boot_id } => {
                w.u8(tag::HEAD);
                w.u16(*format);
                w.bytes16(boot_id);
            }
            Record::Started { run_id, pid, start_time } => {
                w.u8(tag::STARTED);
                w.run_id(*run_id);
                w.i32(*pid);
                w.u64(*start_time);
            }
            Record::Exited { run_id, exit } => {
                w.u8(tag::EXITED);
                w.run_id(*run_id);
                put_exit(&mut w, exit);
            }
            Record::Failed { run_id, failure } => {
                w.u8(tag::FAILED);
                w.run_id(*run_id);
                put_failure(&mut w, failure);
            }
            Record::Forgotten { run_id } => {
                w.u8(tag::FORGOTTEN);
                w.run_id(*run_id);
            }
        }
        let (header, body) = out[at..].split_at_mut(HEADER_BYTES);
        header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[4..].copy_from_slice(&crc32(body).to_le_bytes());
    }

    fn decode(body: &[u8]) -> Result<Record, Malformed> {
        let mut r = Reader::new(body);
        let record = match r.u8("record")? {
            tag::HEAD => Record::Head { format: r.u16("format")?, boot_id: r.bytes16("boot id")? },
            tag::STARTED => {
                Record::Started { run_id: r.run_id()?, pid: r.i32("pid")?, start_time: r.u64("start time")? }
            }
            tag::EXITED => Record::Exited { run_id: r.run_id()?, exit: get_exit(&mut r)? },
            tag::FAILED => Record::Failed { run_id: r.run_id()?, failure: get_failure(&mut r)? },
            tag::FORGOTTEN => Record::Forgotten { run_id: r.run_id()? },
            0 | 6.. => return Err(Malformed { what: "known record" }),
        };
        r.end()?;
        Ok(record)
    }
}

/// Where reading a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// At unused space or the end of the file.
    Clean,
    /// At something that is no record: a torn write, or damage.
    Torn,
}

/// All whole records from the start of `bytes`.
pub fn read_log(bytes: &[u8]) -> (Vec<Record>, Ending) {
    let mut records = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return (records, if rest.iter().all(|byte| *byte == 0) { Ending::Clean } else { Ending::Torn });
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        if length == 0 {
            return (records, if rest.iter().all(|byte| *byte == 0) { Ending::Clean } else { Ending::Torn });
        }
        let body = after.get(..length).filter(|body| length <= BODY_BYTES_MAX && crc32(body) == crc);
        match body.map(Record::decode) {
            Some(Ok(record)) => records.push(record),
            Some(Err(_)) | None => return (records, Ending::Torn),
        }
        rest = after.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{How, Loss, Rusage, Stage};

    fn all() -> Vec<Record> {
        let run_id = RunId([7; 16]);
        let exit =
            |how| Exit { how, rusage: Rusage { user_us: 1, system_us: 2, max_rss_bytes: 3 }, at_ms: 4 };
        vec![
            Record::Head { format: FORMAT, boot_id: [9; 16] },
            Record::Started { run_id, pid: 12, start_time: 34 },
            Record::Exited { run_id, exit: exit(How::Code(3)) },
            Record::Exited { run_id, exit: exit(How::Signal(9)) },
            Record::Exited { run_id, exit: exit(How::Lost(Loss::Rebooted)) },
            Record::Failed { run_id, failure: Failure { stage: Stage::Exec, index: 1, errno: 2 } },
            Record::Forgotten { run_id },
        ]
    }

    fn bytes_of(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        bytes
    }

    #[test]
    fn what_is_written_is_read_with_unused_space_behind_it() {
        let mut bytes = bytes_of(&all());
        assert_eq!(read_log(&bytes), (all(), Ending::Clean));
        bytes.resize(bytes.len() + 100, 0);
        assert_eq!(read_log(&bytes), (all(), Ending::Clean));
    }

    #[test]
    fn a_log_torn_at_any_byte_keeps_what_was_whole() {
        let bytes = bytes_of(&all());
        let first = bytes_of(&all()[..1]).len();
        for cut in first..bytes.len() {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(bytes.len() + 8, 0);
            let (records, _) = read_log(&torn);
            assert!(records.len() < all().len());
            assert_eq!(records[..], all()[..records.len()]);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let bytes = bytes_of(&all());
        for n in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[n / 8] ^= 1 << (n % 8);
            let (records, ending) = read_log(&bad);
            assert_eq!(ending, Ending::Torn, "bit {n}");
            assert_eq!(records[..], all()[..records.len()]);
        }
    }
}
