//! The two properties of a type that travels.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message;
use proto::wire::Wire;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::messages::Messages;

/// A type, its message, and what is tried on them.
pub struct Trip {
    package: &'static str,
    message: &'static str,
    pub whole: fn(&Trip, &Messages),
    pub damaged: fn(&Trip, &Messages),
}

/// The trip of one type.
pub const fn trip<T: Wire + PartialEq + Debug>(package: &'static str, message: &'static str) -> Trip {
    Trip { package, message, whole: whole::<T>, damaged: damaged::<T> }
}

impl Trip {
    fn name(&self) -> String {
        match self.package {
            "v1" => format!("stoa.v1.{}", self.message),
            package => format!("stoa.v1.{package}.{}", self.message),
        }
    }

    /// Tries a property on many inputs, the same ones each time; `PROPTEST_CASES` says how many.
    fn tries<S: Strategy>(&self, inputs: &S, holds: impl Fn(S::Value) -> Result<(), TestCaseError>) {
        let config = Config { failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        if let Err(failure) = runner.run(inputs, holds) {
            panic!("{}: {failure}", self.name());
        }
    }
}

/// A message that means something becomes a value and the very same message again: no field is lost on the way.
fn whole<T: Wire + PartialEq + Debug>(trip: &Trip, messages: &Messages) {
    let descriptor = messages.descriptor(&trip.name());
    trip.tries(&messages.of(&descriptor), |message| {
        let bytes = message.encode_to_vec();
        let value = T::decode(&bytes).map_err(|bad| {
            TestCaseError::fail(format!("{bad}; if the field has rules, add them to messages.rs"))
        })?;
        let again = value.encode();
        prop_assert_eq!(read(&descriptor, &again), read(&descriptor, &bytes));
        prop_assert_eq!(T::decode(&again), Ok(value));
        Ok(())
    });
}

/// Whatever arrives is refused, or is a value that reads back as it was written.
fn damaged<T: Wire + PartialEq + Debug>(trip: &Trip, messages: &Messages) {
    let descriptor = messages.descriptor(&trip.name());
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 1..4);
    let inputs = (messages.of(&descriptor), changes, prop::option::of(any::<Index>()));
    trip.tries(&inputs, |(message, changes, cut)| {
        let mut bytes = message.encode_to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        understood::<T>(&bytes)
    });
    trip.tries(&prop::collection::vec(any::<u8>(), 0..64), |bytes| understood::<T>(&bytes));
}

fn understood<T: Wire + PartialEq + Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = T::decode(bytes) {
        prop_assert_eq!(T::decode(&value.encode()), Ok(value));
    }
    Ok(())
}

fn read(descriptor: &MessageDescriptor, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), bytes).expect("what was written is of the contract")
}
