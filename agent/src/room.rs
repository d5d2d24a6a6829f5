//! How much room there is where an agent keeps its ledger and the sandboxes: looked at often, and told when it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::{Input, Room};
use proto_drive::{Handle, Space};
use tracing::{error, info};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// How much room there is now, for an agent that thought so far that there was so much.
pub(crate) fn look(dir: &Path, so_far: Room) -> Room {
    let now = Space::at(dir).map_or(so_far, |space| room(space, so_far));
    match now {
        _ if now == so_far => {}
        Room::Enough => info!("there is room again: this agent takes tasks"),
        Room::None => {
            error!(dir = %dir.display(), "the disk is full: this agent takes no tasks until there is room")
        }
    }
    now
}

/// Tells what changes, for as long as somebody listens.
pub(crate) async fn watch(dir: PathBuf, mut told: Room, machine: Handle<Input>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let room = look(&dir, told);
        if room == told {
            continue;
        }
        told = room;
        if machine.send(Input::Room(room)).is_err() {
            return;
        }
    }
}

/// Room that comes and goes by some blocks is none: there must be twice as much again as was too little.
fn room(space: Space, so_far: Room) -> Room {
    let Space { free, total } = space;
    let roomy = Space { free: free / 2, total };
    match so_far {
        Room::Enough if space.is_full() => Room::None,
        Room::None if !roomy.is_full() => Room::Enough,
        Room::Enough | Room::None => so_far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_room_again_when_there_is_twice_as_much() {
        let looks = [64 << 20, 31 << 20, 33 << 20, 63 << 20, 64 << 20, 33 << 20];
        let mut so_far = Room::Enough;
        let told = looks.map(|free| {
            so_far = room(Space { free, total: 1 << 40 }, so_far);
            so_far
        });
        assert_eq!(told, [Room::Enough, Room::None, Room::None, Room::None, Room::Enough, Room::Enough]);
    }
}
