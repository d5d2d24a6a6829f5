//! Members of the store's group in a small world of their own: what frameworks are promised, over deaths and partitions.

mod backups;
mod disk;
mod leases;
mod members;
mod promises;
mod storm;
mod world;
