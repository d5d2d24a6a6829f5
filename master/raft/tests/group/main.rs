//! A group of members in a small world of their own: a network that loses, doubles, delays and parts, disks that
//! forget what was not synced, and a witness who notices every broken promise.

mod course;
mod disk;
mod hostile;
mod net;
mod room;
mod slow;
mod starts;
mod stories;
mod storms;
mod witness;
