//! The operator's verbs: what can be typed, what is printed, and what is asked of masters over real sockets.

mod finding;
mod golden;
mod guide;
mod parsing;
mod pool;
mod verbs;
mod views;
mod watching;
