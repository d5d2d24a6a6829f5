//! The doors: tonic services over domain types, and the TLS that stands before each of them.

pub mod codec;
pub mod connect;
pub mod services;
pub mod serve;

pub use connect::{ConnectError, channel};
pub use serve::{ServeError, caller, serve};
