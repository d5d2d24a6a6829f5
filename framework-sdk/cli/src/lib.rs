//! The operator's verbs: `stoa get`, `describe`, `logs`, `kill`, `explain`, `status` and their like, as a client of the
//! masters.
//!
//! `args` is what can be typed, `verbs` what each of it does (one file each), `nouns` how each kind of thing is listed,
//! described and written as JSON. `client` finds a master that answers; `profile` says which masters and with which
//! certificate. Exit codes are in [`Exit`]; every failure is a [`Failure`] with a hint.

pub mod args;
pub mod client;
pub mod completion;
pub mod conformance;
mod duration;
mod escape;
mod exit;
mod failure;
pub mod join;
mod nouns;
pub mod profile;
mod run;
pub mod settings;
mod shapes;
mod sheet;
mod table;
pub mod template;
mod terminal;
pub mod up;
mod verbs;

pub use args::{
    AgentVerb, ConfigVerb, ContextArgs, ExplainSummaryArgs, ExplainVerb, SdkVerb, SnapshotVerb, TeardownArgs,
    Verb,
};
pub use completion::CompletionArgs;
pub use duration::{parse_duration, show_age, show_duration};
pub use escape::{Sanitizer, escaped};
pub use exit::{EXIT_CODES, Exit};
pub use failure::{Failure, Stop};
pub use join::JoinArgs;
pub use run::{Action, inspect, run, run_on};
pub use table::{Cell, Table, Tone, Widths};
pub use terminal::Terminal;
pub use verbs::config::{
    run as run_config, run_check as run_config_check, run_check_on as run_config_check_on,
    run_on as run_config_on,
};
pub use verbs::explain::{ExplainView, show as show_explanations};
