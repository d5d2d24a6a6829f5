//! What people type, against a pretend cluster behind real doors: master, jobs framework and agent, over mutual TLS.

mod jobs;
mod plan;
mod pretend;
mod run;
mod wait;
