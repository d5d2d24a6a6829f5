//! The operator's verbs: what can be typed, what is printed, and what is asked of masters over real sockets.

mod doctoring;
mod finding;
mod golden;
mod guide;
mod lists;
mod logs;
mod parsing;
mod pool;
mod running;
mod secrets;
mod settings;
mod verbs;
mod views;
mod watching;
