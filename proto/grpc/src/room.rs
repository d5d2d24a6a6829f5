//! How many connections there may be at once: in all, from one address, and from one address that nobody knows yet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds of a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections in all; more wait in the kernel's queue.
    pub all: usize,
    /// Connections of one address; more are closed at once.
    pub of_address: usize,
    /// Those of them that are not through TLS yet.
    pub unknown_of_address: usize,
}

/// A room, shared by whoever lets connections in.
#[derive(Clone)]
pub(crate) struct Room {
    bounds: Bounds,
    all: Arc<Semaphore>,
    of: Arc<Mutex<HashMap<IpAddr, Count>>>,
}

/// What one address has.
#[derive(Clone, Copy, Default)]
struct Count {
    connections: usize,
    unknown: usize,
}

/// A place in the room, until it is dropped.
pub(crate) struct Place {
    room: Room,
    address: IpAddr,
    unknown: bool,
    _permit: OwnedSemaphorePermit,
}

// === impl Room ===

impl Room {
    pub(crate) fn new(bounds: Bounds) -> Room {
        Room { bounds, all: Arc::new(Semaphore::new(bounds.all)), of: Arc::default() }
    }

    /// Waits until there is room for one more connection.
    pub(crate) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed, so a permit always comes.
        self.all.clone().acquire_owned().await.ok()
    }

    /// Gives a connection its place, unless its address has as many as it may have.
    pub(crate) fn enter(&self, from: SocketAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let address = whose(from.ip());
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of.entry(address).or_default();
        if count.connections >= self.bounds.of_address || count.unknown >= self.bounds.unknown_of_address {
            return None;
        }
        count.connections += 1;
        count.unknown += 1;
        Some(Place { room: self.clone(), address, unknown: true, _permit: permit })
    }

    fn leave(&self, address: IpAddr, connections: usize, unknown: usize) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of.get_mut(&address) {
            count.connections -= connections;
            count.unknown -= unknown;
            if count.connections == 0 {
                of.remove(&address);
            }
        }
    }
}

/// Whom an address stands for: who has one of the sixth version has 2^64 of them (RFC 6177).
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
        four @ IpAddr::V4(_) => four,
    }
}

// === impl Place ===

impl Place {
    /// It is through TLS: whoever it is, it speaks.
    pub(crate) fn through(&mut self) {
        if std::mem::take(&mut self.unknown) {
            self.room.leave(self.address, 0, 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.leave(self.address, 1, usize::from(self.unknown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { all: 100, of_address: 4, unknown_of_address: 2 };

    async fn enter(room: &Room, from: &str) -> Option<Place> {
        room.enter(from.parse().unwrap(), room.free().await.unwrap())
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_takes_no_room_from_others() {
        let room = Room::new(BOUNDS);
        let mut silent =
            vec![enter(&room, "10.0.0.1:1").await.unwrap(), enter(&room, "10.0.0.1:2").await.unwrap()];
        assert!(enter(&room, "10.0.0.1:3").await.is_none());
        assert!(enter(&room, "10.0.0.2:1").await.is_some());
        silent[0].through();
        let third = enter(&room, "10.0.0.1:3").await;
        assert!(third.is_some() && enter(&room, "10.0.0.1:4").await.is_none());
        drop(silent);
        assert!(enter(&room, "10.0.0.1:5").await.is_some());
    }

    #[tokio::test]
    async fn an_address_that_speaks_has_its_bound_too_and_what_it_leaves_is_free() {
        let room = Room::new(BOUNDS);
        let mut places = Vec::new();
        for number in 0..4 {
            let mut place = enter(&room, &format!("[2001:db8:0:1::{number}]:1")).await.unwrap();
            place.through();
            places.push(place);
        }
        assert!(
            enter(&room, "[2001:db8:0:1::ff]:1").await.is_none(),
            "a network of the sixth version is one"
        );
        assert!(enter(&room, "[2001:db8:0:2::1]:1").await.is_some());
        places.clear();
        assert_eq!(room.all.available_permits(), BOUNDS.all);
        assert!(room.of.lock().unwrap().is_empty(), "nothing is remembered of who has left");
    }
}
