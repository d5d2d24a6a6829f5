//! The searches of histories, against a second opinion, and against histories that are known to be true or spoilt.

mod oracle;
mod play;
mod whole;
