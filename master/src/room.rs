//! How much room there is where a master stores what it must: looked at often, and told to both groups when it changes.

use std::path::PathBuf;
use std::time::Duration;

use master_raft::{Input, Room};
use proto_drive::Space;
use tracing::{error, info, warn};

use crate::peers::Tell;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// Less free than this, or than a quarter of a small disk, is low: two groups, each with a file of the log and a snapshot under
/// way, and time for somebody to act.
const LOW_BYTES: u64 = 64 << 20;

/// Tells it, for as long as somebody listens.
pub(crate) async fn watch(dir: PathBuf, groups: Vec<Tell>) {
    let mut told = Room::Enough;
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let Some(space) = Space::at(&dir) else { continue };
        let room = room(space);
        if room == told {
            continue;
        }
        let free_mib = space.free >> 20;
        match room {
            Room::Enough => info!(free_mib, "there is room again"),
            Room::Low => {
                warn!(free_mib, dir = %dir.display(), "room runs low: this master leads no more if another can")
            }
            Room::None => {
                error!(free_mib, dir = %dir.display(), "the disk is full: nothing more is stored until there is room")
            }
        }
        told = room;
        if !groups.iter().all(|tell| tell(Input::Room(room))) {
            return;
        }
    }
}

fn room(space: Space) -> Room {
    if space.is_full() {
        Room::None
    } else if space.free < LOW_BYTES.min(space.total / 4) {
        Room::Low
    } else {
        Room::Enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_low_and_next_to_nothing_is_none() {
        let of = |total: u64| move |free: u64| room(Space { free, total });
        const NONE_BYTES: u64 = 32 << 20;
        let looks = [0, NONE_BYTES - 1, NONE_BYTES, LOW_BYTES - 1, LOW_BYTES, 1 << 39].map(of(1 << 40));
        let expected = [Room::None, Room::None, Room::Low, Room::Low, Room::Enough, Room::Enough];
        assert_eq!(looks, expected);
        // A small disk is not full from the beginning.
        let looks = [1 << 20, 9 << 20, 17 << 20].map(of(64 << 20));
        assert_eq!(looks, [Room::None, Room::Low, Room::Enough]);
    }
}
