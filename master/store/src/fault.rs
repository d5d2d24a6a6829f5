//! Why a call is not carried out; each has its place among the stable codes.

use std::fmt;

use proto::refusal::{Code, Refusal};
use proto::store::{
    KEY_BYTES_MAX, LEASE_TTL_MAX_MS, TXN_ANSWER_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX,
};

use crate::{LEASES_MAX, SPACES_MAX};

/// Why a call is not carried out. What is named behind each is what etcd calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `ErrGRPCCompacted`: that revision is no longer remembered.
    Compacted {
        /// The first that is.
        compacted: u64,
    },
    /// `ErrGRPCFutureRev`: that revision does not exist yet.
    Future {
        /// The present one.
        revision: u64,
    },
    /// `ErrGRPCEmptyKey`.
    EmptyKey,
    /// `ErrGRPCDuplicateKey`: a transaction changes a key twice.
    DuplicateKey,
    /// `ErrGRPCTooManyOps`: a transaction is too long.
    TooManyOperations,
    /// Transactions nest too deeply.
    TooDeep,
    /// A transaction would find too much.
    AnswerTooLarge,
    /// `ErrGRPCKeyNotFound`: what is there is to be kept, and nothing is there.
    KeyNotFound,
    /// `ErrGRPCValueProvided`: what is there is to be kept, and something is given.
    ValueProvided,
    /// `ErrGRPCLeaseProvided`: the same of a lease.
    LeaseProvided,
    /// `ErrGRPCLeaseNotFound`.
    LeaseNotFound,
    /// `ErrGRPCLeaseExist`.
    LeaseExists,
    /// `ErrGRPCLeaseTTLTooLarge`.
    LeaseTooLong,
    /// Too many leases.
    TooManyLeases,
    /// A key that is too long.
    KeyTooLarge,
    /// `ErrGRPCRequestTooLarge`: a value that is too long.
    ValueTooLarge {
        /// How many bytes it may have.
        max: u64,
    },
    /// `ErrGRPCNoSpace`: the space is full.
    NoSpace {
        /// What it holds.
        live: u64,
        /// What it may hold.
        max: u64,
    },
    /// The principal has too many spaces.
    TooManySpaces,
    /// Somebody claimed the space later.
    Fenced {
        /// The space's epoch.
        epoch: u64,
    },
}

impl Fault {
    /// Its stable code.
    pub fn code(self) -> Code {
        match self {
            Fault::Compacted { .. } => Code::Compacted,
            Fault::Fenced { .. } => Code::Fenced,
            Fault::KeyNotFound | Fault::LeaseNotFound => Code::NotFound,
            Fault::LeaseExists => Code::Conflict,
            Fault::Future { .. }
            | Fault::EmptyKey
            | Fault::DuplicateKey
            | Fault::ValueProvided
            | Fault::LeaseProvided
            | Fault::LeaseTooLong => Code::Invalid,
            Fault::TooManyOperations
            | Fault::TooDeep
            | Fault::AnswerTooLarge
            | Fault::TooManyLeases
            | Fault::KeyTooLarge
            | Fault::ValueTooLarge { .. }
            | Fault::NoSpace { .. }
            | Fault::TooManySpaces => Code::TooMuch,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Compacted { compacted } => {
                write!(f, "that revision is compacted; the first that is remembered is {compacted}")
            }
            Fault::Future { revision } => {
                write!(f, "that revision does not exist yet; the present one is {revision}")
            }
            Fault::EmptyKey => f.write_str("the key is empty"),
            Fault::DuplicateKey => f.write_str("the transaction changes a key twice"),
            Fault::TooManyOperations => {
                write!(f, "the transaction has more than {TXN_OPERATIONS_MAX} comparisons or steps")
            }
            Fault::TooDeep => write!(f, "transactions nest more than {TXN_DEPTH_MAX} deep"),
            Fault::AnswerTooLarge => {
                write!(f, "the transaction's ranges find more than {TXN_ANSWER_BYTES_MAX} bytes")
            }
            Fault::KeyNotFound => f.write_str("there is no such key whose value or lease could be kept"),
            Fault::ValueProvided => f.write_str("ignore_value is set and a value is given"),
            Fault::LeaseProvided => f.write_str("ignore_lease is set and a lease is given"),
            Fault::LeaseNotFound => f.write_str("there is no such lease; it may have run out"),
            Fault::LeaseExists => f.write_str("there is a lease of this id"),
            Fault::LeaseTooLong => write!(f, "the lease is longer than {LEASE_TTL_MAX_MS} ms"),
            Fault::TooManyLeases => write!(f, "the space has {LEASES_MAX} leases"),
            Fault::KeyTooLarge => write!(f, "the key has more than {KEY_BYTES_MAX} bytes"),
            Fault::ValueTooLarge { max } => write!(f, "the value has more than {max} bytes"),
            Fault::NoSpace { live, max } => {
                write!(f, "the space holds {live} bytes and would hold more than {max}")
            }
            Fault::TooManySpaces => write!(f, "the principal has {SPACES_MAX} spaces"),
            Fault::Fenced { epoch } => write!(f, "the space was claimed later, with epoch {epoch}"),
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        let refusal = Refusal::new(fault.code(), fault.to_string());
        match fault {
            Fault::NoSpace { .. } => refusal.with_help(
                "delete keys that are not needed, or have the masters started with a larger --store-space-limit",
            ),
            Fault::ValueTooLarge { .. } => refusal.with_help(
                "split the value over several keys, or have the masters started with a larger --store-value-limit",
            ),
            Fault::KeyTooLarge => refusal.with_help("put what is long into the value"),
            Fault::TooManyOperations | Fault::TooDeep => {
                refusal.with_help("split it into several transactions, each of which compares what it rests on")
            }
            Fault::AnswerTooLarge => refusal.with_help("look at fewer keys at a time, by limits or smaller ranges"),
            Fault::TooManyLeases => {
                refusal.with_help("revoke leases that are not needed, or bind several keys to one lease")
            }
            Fault::TooManySpaces => {
                refusal.with_help("use a space that is there, and tell things apart by the beginnings of keys")
            }
            Fault::LeaseNotFound => refusal.with_help("grant a new lease, and put what belonged to it again"),
            _ => refusal,
        }
    }
}
